"""Formats: what a content is, told by its first bytes and never by its name, and which reader opens it.

The same answer chooses the reader, so that no parser runs on user data but those of `FORMATS`, and each only on its own
format: LibRaw never sees a TIFF without the marks of a RAW file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import cast

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from photocluster.errors import UndecodablePhoto

FORMATS = (
    "JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF", "JXL", "RAW",
)  # fmt: skip
"""What can be decoded, by Pillow's names, and "RAW" for the cameras' own formats. An MPO is read as the JPEG that it
begins with. PPM and PGM are here for the archives and face collections that are kept in them. JXL (JPEG XL) needs the
package pillow-jxl-plugin. Icons and drawings (ICO, PSD, EPS, SVG ...) are not photos."""

HEAD = 64
"""Bytes that suffice to tell a photo: the longest signature is the brand list of a HEIF file, of a few dozen bytes."""

_MAGIC: tuple[tuple[str, str], ...] = (
    ("JPEG", r"\xff\xd8\xff"),
    ("PNG", r"\x89PNG\r\n\x1a\n"),
    ("WEBP", r"RIFF.{4}WEBP"),
    ("RAW", r"II\*\0.{4}CR"),  # Canon CR2
    ("RAW", r"II\*\0IIII|MM\0\*MMMM|II\*\0.{4}IIII"),  # Phase One IIQ
    ("TIFF", r"II[*+]\0|MM\0[*+]"),
    ("GIF", r"GIF8[79]a"),
    ("BMP", r"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0"),  # the sizes of the known headers
    ("PPM", r"P[56]\s+[0-9#]"),
    ("JPEG2000", r"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51\0"),
    ("AVIF", r".{4}ftyp(?:avi[fs]|(?:mif1|msf1).{4}(?:.{4}){0,10}?avi[fs])"),
    ("HEIF", r".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)"),
    ("RAW", r".{4}ftypcrx "),  # Canon CR3
    ("RAW", r"II\x1a\0.{2}\0\0HEAPCCDR"),  # Canon CRW
    ("RAW", r"FUJIFILMCCD-RAW"),  # RAF
    ("RAW", r"IIR[OS]|MMOR"),  # Olympus ORF
    ("RAW", r"IIU\0"),  # Panasonic RW2, Leica RWL
    ("RAW", r"\0MRM"),  # Minolta MRW
    ("RAW", r"FOVb"),  # Sigma X3F
    ("JXL", r"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a"),
)
"""Signature of each format, matched at the start of the content; the other RAW formats are TIFFs (`is_raw_tiff`)."""

_SIGNATURES = tuple((name, re.compile(pattern.encode("latin-1"), re.DOTALL)) for name, pattern in _MAGIC)


def is_photo(head: bytes) -> bool:
    """Whether the content that begins with `head` (`HEAD` bytes suffice) is a photo, whatever the file is called."""
    return _signature_of(head) is not None


def format_of(content: bytes) -> str | None:
    """Return which of `FORMATS` the whole content is; None for what is no photo."""
    name = _signature_of(content)
    return "RAW" if name == "TIFF" and is_raw_tiff(content) else name


def _signature_of(content: bytes) -> str | None:
    head = content[:HEAD]
    return next((name for name, signature in _SIGNATURES if signature.match(head)), None)


_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 259, 262, 330, 50706
"""Tags of TIFF 6.0, of its Technical Note 1 (sub-IFDs), and of DNG."""

_RAW_PHOTOMETRIC = (32803, 34892)
"""Colour filter array and linear raw, of the DNG specification 1.4."""

_RAW_COMPRESSION = (32767, 32769, 32770, 34713, 65000, 65535)
"""Compressions that cameras alone use: Sony ARW, Epson ERF, Samsung SRW, Nikon NEF, Kodak DCR, Pentax PEF (exiftool's
table of compression values)."""

_MAX_SUB_IFDS = 16
"""Sub-IFDs that are looked at; cameras write up to five."""


def is_raw_tiff(content: bytes) -> bool:
    """Whether a TIFF is a camera's RAW file: DNG, NEF, ARW, PEF, SRW, 3FR and their like.

    Besides the marks of raw data in its first directory or those below it, a first picture that calls itself the
    reduced copy of another is one: so begin the RAW files whose other directories lie elsewhere.
    """
    try:
        first = _directory(content, None)
        if int(first.get(_SUBFILE, 0)) & 1 or _DNG_VERSION in first or _has_raw_data(first):
            return True
        below = first.get(_SUB_IFDS, ())
        offsets = below if isinstance(below, tuple) else (below,)
        return any(_has_raw_data(_directory(content, int(offset))) for offset in offsets[:_MAX_SUB_IFDS])
    except Exception:  # noqa: BLE001  Pillow raises almost anything on damaged data; its TIFF reader says what is wrong
        return False


def _directory(content: bytes, offset: int | None) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Read the TIFF directory at an offset, None for the first."""
    head = content[:16] if content[2:3] == b"+" or content[3:4] == b"+" else content[:8]
    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    file = io.BytesIO(content)
    file.seek(directory.next if offset is None else offset)
    directory.load(file)
    return directory


def _has_raw_data(directory: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    return directory.get(_PHOTOMETRIC) in _RAW_PHOTOMETRIC or directory.get(_COMPRESSION) in _RAW_COMPRESSION


_READERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}


def open_picture(content: bytes, name: str) -> ImageFile.ImageFile:
    """Read the header of a photo in one of Pillow's formats, or HEIF.

    Not by `Image.open`: its limit of pixels is global, and lower than a phone's 200 million.

    Raises
    ------
    UndecodablePhoto
        HEIF, and pillow-heif is not installed. Pillow's readers raise almost anything on damaged data.
    """
    if name != "HEIF":
        return _READERS[name](io.BytesIO(content))
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UndecodablePhoto("HEIF (HEIC) needs the package pillow-heif: pip install pillow-heif") from error
    return cast("ImageFile.ImageFile", HeifImageFile(io.BytesIO(content)))  # type: ignore[no-untyped-call]

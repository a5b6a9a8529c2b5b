"""Photos: read and hash content, decode upright RGB.

Whether a file is a photo is told by its content (the table `_MAGIC`), never by its name, and the same answer chooses
the decoder, so that no parser runs on user data but those of `FORMATS`. All functions may be called from several
threads at once.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from photocluster.errors import PhotoError, PhotoTooLarge, UndecodablePhoto, UnreadableFile
from photocluster.records import DecodedPhoto, FloatArray, ImageArray, PhotoFacts

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF")
"""What can be decoded, by Pillow's names. An MPO is read as the JPEG that it begins with. PPM and PGM are here for the
archives and face collections that are kept in them. Icons and drawings (ICO, PSD, EPS, SVG ...) are not photos."""

MAX_PIXELS = 80_000_000
"""Pixels that one decode may hold at full size. Pillow needs 4 bytes per pixel and the result 3, so a decode peaks at
about 560 MB, beside the file's own bytes. Decoders that keep copies are held to the same memory (`_DECODER_BYTES`), and
so to fewer pixels: 62 million in HEIF, 56 in AVIF, 33 in WebP, 28 in JPEG 2000. A JPEG counts at its reduced size."""

MAX_BYTES = 512 * 2**20
"""The largest file that is read: `MAX_PIXELS` of three 16-bit samples without compression are 480 MB."""

HEAD = 64
"""Bytes that suffice to tell a photo: the longest signature is the brand list of a HEIF file, of a few dozen bytes."""


def content_hash(content: bytes) -> str:
    """Return the SHA-256 of the content in hexadecimal, which `sha256sum` also prints: the photo's identity."""
    return hashlib.sha256(content).hexdigest()


def read(path: Path, *, limit: int = MAX_BYTES) -> bytes:
    """Return the whole content of a regular file.

    Raises
    ------
    UnreadableFile
        It is missing, locked, no regular file, or larger than `limit` bytes.
    """
    return _read(path, limit, None)


def sniff(path: Path) -> bool:
    """Whether the file is a photo; only its first bytes are read.

    Raises
    ------
    UnreadableFile
        See `read`.
    """
    return is_photo(_read(path, None, HEAD))


def _read(path: Path, limit: int | None, count: int | None) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # before it is opened: a pipe would wait for its writer
            raise UnreadableFile(f"{path} is no regular file")
        if limit is not None and status.st_size > limit:
            raise UnreadableFile(f"{path} has {status.st_size:,} bytes, more than the limit of {limit:,} for a photo")
        with path.open("rb") as file:
            return file.read(count)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UnreadableFile(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


_MAGIC: tuple[tuple[str, str], ...] = (
    ("JPEG", r"\xff\xd8\xff"),
    ("PNG", r"\x89PNG\r\n\x1a\n"),
    ("WEBP", r"RIFF.{4}WEBP"),
    ("RAW Canon CR2", r"II\*\0.{4}CR"),
    ("TIFF", r"II[*+]\0|MM\0[*+]"),
    ("GIF", r"GIF8[79]a"),
    ("BMP", r"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0"),  # the sizes of the known headers
    ("PPM", r"P[56]\s+[0-9#]"),
    ("JPEG2000", r"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51\0"),
    ("AVIF", r".{4}ftyp(?:avi[fs]|(?:mif1|msf1).{4}(?:.{4}){0,10}?avi[fs])"),
    ("HEIF", r".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)"),
    ("RAW Canon CR3", r".{4}ftypcrx "),
    ("RAW Fujifilm RAF", r"FUJIFILMCCD-RAW"),
    ("RAW Olympus ORF", r"IIR[OS]|MMOR"),
    ("RAW Panasonic RW2", r"IIU\0"),
    ("JPEG XL", r"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a"),
)
"""Signature of each format, matched at the start of the content. The RAW formats and JPEG XL are photos that cannot be
decoded here: their owner shall be told of each, rather than that they are passed over in silence."""

_SIGNATURES = tuple((name, re.compile(pattern.encode("latin-1"), re.DOTALL)) for name, pattern in _MAGIC)


def is_photo(head: bytes) -> bool:
    """Whether the content that begins with `head` (`HEAD` bytes suffice) is a photo, whatever the file is called."""
    return _format_of(head) is not None


def _format_of(content: bytes) -> str | None:
    head = content[:HEAD]
    return next((name for name, signature in _SIGNATURES if signature.match(head)), None)


def decode(content: bytes, *, longest_side: int | None = None, max_pixels: int = MAX_PIXELS) -> DecodedPhoto:
    """Decode a photo to upright RGB in sRGB.

    The EXIF orientation is applied; transparent parts become white (paper: what cut-out portraits are made for, and
    what keeps dark hair apart from its surroundings); an embedded ICC profile is followed, a damaged one ignored; of
    animations and multi-page files the first picture is taken. Grey pictures of more than 8 bits are scaled by the
    depth that their brightest pixel needs (8, 10, 12, 14 or 16 bits, or 1.0 in floating point). A JPEG that ends too
    early is refused, not decoded in part: mostly it is still being copied, and would stay in the library as a photo of
    its own once the copy is complete.

    Parameters
    ----------
    content
        The file's bytes.
    longest_side
        The caller needs no more pixels than this on the longer side: larger photos are reduced by a whole factor, never
        below it. JPEGs are then decoded at the reduced size, which is several times faster.
    max_pixels
        The limit of pixels decoded (for a JPEG: at the reduced size), see `MAX_PIXELS`.

    Returns
    -------
    DecodedPhoto
        `scale` is exactly 1 / factor. Where the factor does not divide the size, the picture's last row or column
        reaches over the edge by a part of a pixel.

    Raises
    ------
    UndecodablePhoto
        The content is damaged, or of no format of `FORMATS`.
    PhotoTooLarge
        More than `max_pixels`; nothing was allocated yet.
    """
    if longest_side is not None and longest_side < 1:
        raise ValueError(f"longest_side must be a positive number of pixels, not {longest_side}")
    try:
        with _IN_DECODING_THREAD.silenced():
            return _decode(content, longest_side, max_pixels)
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotoTooLarge(f"too large: {_one_line(error)}") from error
    except Exception as error:  # decoders raise almost anything on damaged data
        raise UndecodablePhoto(f"damaged: {_one_line(error)}") from error


def _decode(content: bytes, longest_side: int | None, max_pixels: int) -> DecodedPhoto:
    picture = _open(content)
    name = str(picture.format)
    size = picture.size
    factor = _draft(picture, longest_side)
    _refuse_too_large(picture, size, max_pixels)
    if name != "TIFF":
        picture.load()
    # After loading, as a PNG may keep its EXIF behind the pixels; but before it in a TIFF, whose tags loading changes.
    stored, captured_at, camera = _exif_facts(picture)
    picture.load()
    turn = 1 if name in _TURNED_BY_DECODER else stored
    if factor == 1:
        _refuse_too_large(picture, picture.size, max_pixels)  # a few decoders learn the true size while loading
        size = picture.size
    further = max(1, max(picture.size) // longest_side) if longest_side else 1
    rgb = _upright_rgb(picture, further, turn)
    width, height = size if turn < 5 else size[::-1]
    orientation = 1 if name in _TURNED_BY_CONTAINER else stored
    facts = PhotoFacts(width, height, orientation, name, captured_at, camera)
    return DecodedPhoto(rgb=rgb, scale=1 / (factor * further), facts=facts)


def _open(content: bytes) -> ImageFile.ImageFile:
    """Read the header. Not by `Image.open`: its limit of pixels is global, and lower than a phone's 200 million."""
    name = _format_of(content)
    if name is None:
        raise UndecodablePhoto("of no known photo format")
    if name not in FORMATS:
        raise UndecodablePhoto(f"{name} cannot be decoded here: export the photo as JPEG")
    if name != "HEIF":
        picture = _DECODERS[name](io.BytesIO(content))
    else:
        try:
            from pillow_heif import HeifImageFile
        except ImportError as error:
            raise UndecodablePhoto("HEIF (HEIC) needs the package pillow-heif: pip install pillow-heif") from error
        picture = cast("ImageFile.ImageFile", HeifImageFile(io.BytesIO(content)))  # type: ignore[no-untyped-call]
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        _refuse_raw(picture)
    return picture


_DECODERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
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

_TURNED_BY_DECODER = ("TIFF", "HEIF")
"""Pillow turns a TIFF, and libheif a HEIF, while loading."""

_TURNED_BY_CONTAINER = ("HEIF", "AVIF")
"""Their turn is a property of the container, which every reader applies; the EXIF tag says nothing."""

_RAW_PHOTOMETRIC = (32803, 34892)
"""Colour filter array and linear raw, of the DNG specification 1.4."""


def _refuse_raw(picture: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse DNG, NEF, ARW and their like, of which Pillow would decode a preview the size of a stamp."""
    tags = picture.tag_v2
    is_preview = bool(tags.get(254, 0) & 1)  # NewSubfileType: a reduced copy of another picture of the file
    if is_preview or 50706 in tags or tags.get(262) in _RAW_PHOTOMETRIC:  # 50706: DNGVersion
        raise UndecodablePhoto("RAW (DNG, NEF, ARW ...) cannot be decoded here: export the photo as JPEG")


_BYTES_PER_PIXEL = 7
"""Pillow's four and the three of the result."""

_DECODER_BYTES = {"WEBP": 17, "JPEG2000": 20, "AVIF": 10, "HEIF": 9}
"""Bytes per pixel at the peak, where the decoder keeps copies of its own; measured on photos of 24 million pixels."""


def _refuse_too_large(picture: ImageFile.ImageFile, full: tuple[int, int], max_pixels: int) -> None:
    width, height = picture.size
    name = str(picture.format)
    needed = width * height * _DECODER_BYTES.get(name, _BYTES_PER_PIXEL)
    if picture.info.get("progressive"):  # libjpeg then holds two bytes per coefficient, at full size
        needed = max(needed, 4 * width * height + 2 * len(picture.getbands()) * full[0] * full[1])
    if needed > max_pixels * _BYTES_PER_PIXEL:
        raise PhotoTooLarge(
            f"too large: {full[0]} x {full[1]} pixels would take {needed / 1e6:,.0f} MB to decode as {name}; the limit "
            f"of {max_pixels / 1e6:g} million pixels allows {max_pixels * _BYTES_PER_PIXEL / 1e6:,.0f} MB"
        )


def _draft(picture: ImageFile.ImageFile, longest_side: int | None) -> int:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8, but at `longest_side` or more; return the divisor."""
    if longest_side is None or not isinstance(picture, JpegImagePlugin.JpegImageFile):
        return 1
    width, height = picture.size
    drafted = picture.draft(None, (longest_side, 1) if width >= height else (1, longest_side))
    return round(width / drafted[1][2]) if drafted else 1


_STRIP_PIXELS = 2**20
"""Pixels that are converted at a time, so that conversions need little memory beside the picture's own."""


def _upright_rgb(picture: Image.Image, factor: int, orientation: int) -> ImageArray:
    """Convert to RGB, reduce and turn, strip by strip."""
    width, height = picture.size
    shape = (-(-height // factor), -(-width // factor), 3)
    swapped = orientation >= 5
    rgb = np.empty((shape[1], shape[0], 3) if swapped else shape, dtype=np.uint8)
    as_stored = _as_stored(rgb, orientation)
    white = _white_level(picture) if picture.mode in _DEEP_GREY else 255.0
    icc = picture.info.get("icc_profile")
    transform: ImageCms.ImageCmsTransform | None = None
    step = max(1, _STRIP_PIXELS // (width * factor))
    for top in range(0, shape[0], step):
        strip = picture.crop((0, top * factor, width, min((top + step) * factor, height)))
        strip = _plain(strip, white)
        if factor > 1:
            strip = strip.reduce(factor)
        if top == 0 and icc:
            transform = _transform_to_srgb(icc, strip.mode)
        strip = transform.apply(strip) if transform else strip.convert("RGB")
        as_stored[top : top + step] = np.asarray(strip)
    return rgb


def _as_stored(upright: ImageArray, orientation: int) -> ImageArray:
    """Return the view of the upright array that has the rows and columns of the file; EXIF 2.3, tag 0x0112."""
    turned = upright.swapaxes(0, 1) if orientation >= 5 else upright
    rows = -1 if orientation in (3, 4, 6, 7) else 1
    columns = -1 if orientation in (2, 3, 7, 8) else 1
    return turned[::rows, ::columns]


_DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def _plain(image: Image.Image, white: float) -> Image.Image:
    """Bring every mode to L, RGB, CMYK or LAB of 8 bits, without transparency."""
    if image.mode in _DEEP_GREY:
        grey = np.nan_to_num(np.asarray(image, dtype=np.float32)) * (255.0 / white)
        return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        opaque = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(opaque, mask=opaque)
        return paper
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB")


def _white_level(picture: Image.Image) -> float:
    """Return the value that stands for white in a grey picture of more than 8 bits."""
    values: FloatArray = np.asarray(picture, dtype=np.float32)
    brightest = float(np.max(values, where=np.isfinite(values), initial=0.0))
    if picture.mode == "F" and brightest <= 1.0:
        return 1.0
    depths = [2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if brightest < 2.0**bits]
    return depths[0] if depths else brightest


def _transform_to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from the embedded profile; None where it is sRGB already, damaged, or of another mode."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return None
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _exif_facts(picture: Image.Image) -> tuple[int, str | None, str | None]:
    """Return orientation, time and camera; damaged EXIF yields what could be read of it."""
    orientation, captured_at, camera = 1, None, None
    with suppress(Exception):  # EXIF is written by everybody, and its damages are as many; the picture is what counts
        exif = picture.getexif()
        stored = exif.get(ExifTags.Base.Orientation)
        orientation = stored if isinstance(stored, int) and 1 <= stored <= 8 else 1
        camera = _camera(exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Model))
        details = exif.get_ifd(ExifTags.IFD.Exif)
        # Not DateTime: programs set it to the time of the last change.
        times = (details.get(ExifTags.Base.DateTimeOriginal), details.get(ExifTags.Base.DateTimeDigitized))
        captured_at = next((time for time in map(_iso_time, times) if time), None)
    return orientation, captured_at, camera


_TIME = re.compile(r"\s*(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")


def _iso_time(value: Any) -> str | None:
    """Return EXIF's "2019:07:14 16:02:11" in ISO 8601; None for clocks never set, blanks and impossible dates."""
    found = _TIME.match(_text(value))
    if not found:
        return None
    try:
        return datetime.fromisoformat("{}-{}-{}T{}:{}:{}".format(*found.groups())).isoformat()
    except ValueError:
        return None


def _camera(make: Any, model: Any) -> str | None:
    """Join maker and model; "NIKON CORPORATION" and "NIKON D70" make "NIKON D70"."""
    maker, name = _text(make), _text(model)
    first_word = maker.casefold().split(" ")[0]
    joined = name if first_word and name.casefold().split(" ")[0] == first_word else f"{maker} {name}".strip()
    return joined or None


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return " ".join(text.split("\0")[0].split()) if isinstance(text, str) else ""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


class _InDecodingThread:
    """Stands for the module pattern of a warning filter: matches in threads that are within `decode`, nowhere else."""

    def __init__(self) -> None:
        self._thread = threading.local()
        self._lock = threading.Lock()

    def match(self, _: str) -> bool:
        return getattr(self._thread, "decoding", False)

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Pillow warns of odd files; `catch_warnings` would not do, as it changes the filters of all threads."""
        with self._lock:
            log = logging.getLogger("PIL")
            if not log.handlers:
                log.addHandler(logging.NullHandler())  # else Python prints to stderr what nobody asked to be logged
            filters = cast("list[tuple[Any, ...]]", warnings.filters)
            rule = ("ignore", None, Warning, self, 0)
            if not filters or filters[0] != rule:
                filters[:] = [rule, *(other for other in filters if other != rule)]
        self._thread.decoding = True
        try:
            yield
        finally:
            self._thread.decoding = False


_IN_DECODING_THREAD = _InDecodingThread()

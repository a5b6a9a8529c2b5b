"""JPEG XL, by the package pillow-jxl-plugin where it is installed (the extra ``jxl``).

Its Pillow plugin decodes while it opens; so the size is read from the header first (ISO/IEC 18181-1, C.2), and its
decoder is called itself. A JPEG that was packed without loss comes out as that JPEG.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from photocluster.errors import UndecodablePhoto

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height by the header's field, from 1."""


@dataclass(frozen=True, slots=True)
class UnpackedJxl:
    """What came out: the bytes of a JPEG, or a picture that lies upright, as its decoder turns it."""

    jpeg: bytes | None
    picture: Image.Image | None


def jxl_size(content: bytes) -> tuple[int, int]:
    """Return the numbers of columns and rows that the header of a JPEG XL file states.

    Raises
    ------
    UndecodablePhoto
        There is no header.
    """
    bits = _Bits(_codestream(content)[2:34])
    if bits.take(1):
        height = 8 * (bits.take(5) + 1)
        ratio = bits.take(3)
        width = _ratio(height, ratio) if ratio else 8 * (bits.take(5) + 1)
    else:
        height = _length(bits)
        ratio = bits.take(3)
        width = _ratio(height, ratio) if ratio else _length(bits)
    return width, height


def _codestream(content: bytes) -> bytes:
    """Return the beginning of the codestream, which may lie in a box (18181-2)."""
    if content[:2] == b"\xff\x0a":
        return content
    at = 0
    while at + 8 <= len(content):
        size, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        head = 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        if name in (b"jxlc", b"jxlp"):
            start = at + head + (4 if name == b"jxlp" else 0)
            return content[start : start + 64]
        if size < head:
            break
        at += size
    raise UndecodablePhoto("damaged: a JPEG XL file without a picture")


def _length(bits: _Bits) -> int:
    return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])


def _ratio(height: int, ratio: int) -> int:
    numerator, denominator = _RATIOS[ratio - 1]
    return height * numerator // denominator


class _Bits:
    """Bits in the order of the codestream: the lowest of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


def unpack(content: bytes) -> UnpackedJxl:
    """Decode a JPEG XL file.

    Raises
    ------
    UndecodablePhoto
        The package is not installed. On damaged data the decoder raises errors of its own.
    """
    try:
        from pillow_jxl import Decoder
    except ImportError as error:
        raise UndecodablePhoto("JPEG XL needs the package pillow-jxl-plugin: pip install pillow-jxl-plugin") from error
    is_jpeg, info, data, icc, boxes = Decoder(num_threads=0)(content)
    if is_jpeg:
        return UnpackedJxl(bytes(data), None)
    picture = Image.frombuffer(info.mode, (info.width, info.height), data, "raw", info.mode, 0, 1)
    if icc:
        picture.info["icc_profile"] = icc
    for box in boxes:
        if bytes(box.box_type) == b"Exif":
            data = bytes(box.data)  # a TIFF, after the offset of its header, which some writers leave out
            picture.info["exif"] = b"Exif\0\0" + (data[4:] if data[4:8] in (b"II*\0", b"MM\0*") else data)
            break
    return UnpackedJxl(None, picture)

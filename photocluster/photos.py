"""Photos: read and hash content, decode upright RGB in a bounded memory.

Whether a file is a photo, and of which format, is told by its content (`formats`). All functions may be called from
several threads at once.
"""

from __future__ import annotations

import hashlib
import logging
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from PIL import Image, ImageFile, Jpeg2KImagePlugin, JpegImagePlugin

from photocluster import heif, jxl, large
from photocluster.colour import upright_rgb
from photocluster.errors import IncompletePhoto, PhotoError, PhotoTooLarge, UndecodablePhoto, UnreadableFile
from photocluster.exif import ExifFacts, exif_facts
from photocluster.formats import FORMATS, HEAD, format_of, is_photo, open_picture
from photocluster.raw import open_raw
from photocluster.records import DecodedPhoto, PhotoFacts

__all__ = [
    "FORMATS", "HEAD", "MAX_BYTES", "MAX_PIXELS", "MAX_PIXELS_IN_PARTS",
    "content_hash", "decode", "is_photo", "read", "sniff",
]  # fmt: skip

MAX_PIXELS = 80_000_000
"""Pixels that one decode may hold at full size. Pillow needs 4 bytes per pixel and the result 3, so a decode peaks at
about 560 MB, beside the file's own bytes. Decoders that keep copies are held to the same memory (`_DECODER_BYTES`).
What needs more is decoded in parts, or at a reduced size, where the format allows: JPEG, HEIF, AVIF, JPEG 2000; and
PNG, TIFF and WebP by libvips (`large`)."""

MAX_PIXELS_IN_PARTS = 1_000_000_000
"""Limit for what is decoded in parts, where memory sets none: 20 seconds of work, twice what stitchers make."""

MAX_BYTES = 512 * 2**20
"""The largest file that is read: `MAX_PIXELS` of three 16-bit samples without compression are 480 MB."""


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


def decode(
    content: bytes, *, longest_side: int | None = None, max_pixels: int = MAX_PIXELS, whole: bool = False
) -> DecodedPhoto:
    """Decode a photo to upright RGB in sRGB.

    The EXIF orientation is applied; transparent parts become white (paper: what cut-out portraits are made for, and
    what keeps dark hair apart from its surroundings); an embedded ICC profile is followed, a damaged one ignored; of
    animations and multi-page files the first picture is taken. Grey pictures of more than 8 bits are scaled by the
    depth that their brightest pixel needs (8, 10, 12, 14 or 16 bits, or 1.0 in floating point). A JPEG that ends too
    early is decoded as far as it goes, as viewers show it, and is grey from there on. Of a RAW file the embedded
    preview is taken where it is large enough (`raw`).

    Parameters
    ----------
    content
        The file's bytes.
    longest_side
        The caller needs no more pixels than this on the longer side: larger photos are reduced by a whole factor, never
        below it. JPEGs are then decoded at the reduced size, which is several times faster.
    max_pixels
        The limit of pixels decoded (for a JPEG: at the reduced size), see `MAX_PIXELS`.
    whole
        Refuse a JPEG that ends too early: what was written a moment ago is perhaps still being copied, and would stay
        in the library as a photo of its own once the copy is complete.

    Returns
    -------
    DecodedPhoto
        `scale` is exactly 1 / factor, but for RAW files. Where the factor does not divide the size, the picture's last
        row or column reaches over the edge by a part of a pixel.

    Raises
    ------
    IncompletePhoto
        A JPEG that ends too early, if the photo is wanted `whole`.
    UndecodablePhoto
        The content is damaged, or of no format of `FORMATS`.
    PhotoTooLarge
        More than `max_pixels`; nothing was allocated yet.
    """
    if longest_side is not None and longest_side < 1:
        raise ValueError(f"longest_side must be a positive number of pixels, not {longest_side}")
    try:
        with _IN_DECODING_THREAD.silenced():
            return _decode(content, longest_side, max_pixels, whole=whole)
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotoTooLarge(f"too large: {_one_line(error)}") from error
    except Exception as error:  # decoders raise almost anything on damaged data
        raise UndecodablePhoto(f"damaged: {_one_line(error)}") from error


def _decode(content: bytes, longest_side: int | None, max_pixels: int, *, whole: bool) -> DecodedPhoto:
    name = format_of(content)
    if name is None:
        raise UndecodablePhoto("of no known photo format")
    if name == "RAW":
        return _decode_raw(content, longest_side, max_pixels)
    if name == "JXL":
        return _decode_jxl(content, longest_side, max_pixels)
    if name != "JPEG":
        return _decode_picture(content, name, longest_side, max_pixels)
    try:
        return _decode_picture(content, name, longest_side, max_pixels)
    except OSError as error:
        if not str(error).startswith("image file is truncated"):
            raise
        if whole:
            raise IncompletePhoto("it ends too early: it is still being copied, or was cut off") from error
    return _decode_picture(content + _END_OF_IMAGE, name, longest_side, max_pixels)


_END_OF_IMAGE = b"\xff\xd9"
"""The marker that ends a JPEG: what libjpeg has not seen by then it leaves grey."""


def _decode_picture(content: bytes, name: str, longest_side: int | None, max_pixels: int) -> DecodedPhoto:
    """Decode one of Pillow's formats, or HEIF."""
    picture = open_picture(content, name)
    size = picture.size
    factor = _draft(picture, name, content, longest_side)
    if longest_side and _bytes_needed(picture, name, size, factor) > MAX_PIXELS * _BYTES_PER_PIXEL:
        in_parts = _decode_in_parts(picture, name, content, longest_side, max_pixels)
        if in_parts is not None:
            return in_parts
    _refuse_too_large(picture, name, size, max_pixels, factor)
    if name != "TIFF":
        picture.load()
    # After loading, as a PNG may keep its EXIF behind the pixels; but before it in a TIFF, whose tags loading changes.
    exif = exif_facts(picture)
    picture.load()
    turn = 1 if name in _TURNED_BY_DECODER else exif.orientation or 1
    if factor == 1:
        _refuse_too_large(picture, name, picture.size, max_pixels)  # a few learn the true size while loading
        size = picture.size
    further = _further(picture, longest_side)
    rgb = upright_rgb(picture, further, turn, picture.info.get("icc_profile"))
    return DecodedPhoto(rgb=rgb, scale=1 / (factor * further), facts=_facts(size, turn, name, exif))


def _decode_in_parts(
    picture: ImageFile.ImageFile, name: str, content: bytes, longest_side: int, max_pixels: int
) -> DecodedPhoto | None:
    """Decode a picture that is too large to be held at its full size; None where there is no way."""
    size = picture.size
    factor = max(1, max(size) // longest_side)
    tiled = heif.open_tiles(content) if name == "HEIF" else None
    _refuse_result(size, name, factor, max_pixels, 0 if tiled else large.bytes_needed(content, name, size))
    # Pillow would load a PNG to look for EXIF behind its pixels.
    exif = exif_facts(picture) if name != "PNG" or "exif" in picture.info else ExifFacts()
    icc = picture.info.get("icc_profile")
    if tiled is not None:
        rgb = upright_rgb(tiled, factor, tiled.orientation, icc)
        turn = 1
    elif name in large.CODED and picture.mode in ("L", "RGB"):
        turned = name in _TURNED_BY_DECODER
        stored = heif.orientation_of(content) if turned else exif.orientation or 1
        small = large.reduced_planes(content, size[::-1] if turned and stored >= 5 else size, factor)
        if small is None:
            return None
        turn = 1 if turned else stored
        rgb = upright_rgb(small, 1, stored, icc)
    elif name in large.FORMATS:
        small = large.reduced(content, name, factor)
        if small is None:
            return None
        stored = exif.orientation or 1
        turn = 1 if name in _TURNED_BY_DECODER else stored  # a TIFF's header, as Pillow reads it, is turned already
        rgb = upright_rgb(small, 1, stored, icc)
    else:
        return None
    return DecodedPhoto(rgb=rgb, scale=1 / factor, facts=_facts(size, turn, name, exif))


def _decode_raw(content: bytes, longest_side: int | None, max_pixels: int) -> DecodedPhoto:
    raw = open_raw(content, longest_side, max_pixels * _BYTES_PER_PIXEL)
    picture, size = raw.picture, raw.picture.size
    factor = _draft(picture, "JPEG", b"", longest_side)
    _refuse_too_large(picture, "JPEG", size, max_pixels)
    picture.load()
    further = _further(picture, longest_side)
    rgb = upright_rgb(picture, further, raw.orientation, picture.info.get("icc_profile"))
    facts = replace(_facts(raw.size, raw.stored, "RAW", raw.facts), orientation=raw.stored)
    return DecodedPhoto(rgb=rgb, scale=max(size) / max(raw.size) / (factor * further), facts=facts)


def _decode_jxl(content: bytes, longest_side: int | None, max_pixels: int) -> DecodedPhoto:
    size = jxl.jxl_size(content)
    if size[0] * size[1] * _DECODER_BYTES["JXL"] > max_pixels * _BYTES_PER_PIXEL:
        raise _too_large(size, "JXL", size[0] * size[1] * _DECODER_BYTES["JXL"], max_pixels)
    unpacked = jxl.unpack(content)
    if unpacked.jpeg is not None:
        decoded = _decode_picture(unpacked.jpeg, "JPEG", longest_side, max_pixels)
        return replace(decoded, facts=replace(decoded.facts, format="JXL"))
    picture = cast("Image.Image", unpacked.picture)
    further = _further(picture, longest_side)
    rgb = upright_rgb(picture, further, 1, picture.info.get("icc_profile"))
    return DecodedPhoto(rgb=rgb, scale=1 / further, facts=_facts(picture.size, 1, "JXL", exif_facts(picture)))


_TURNED_BY_DECODER = ("TIFF", "HEIF")
"""Pillow turns a TIFF, and libheif a HEIF, while loading."""

_TURNED_BY_CONTAINER = ("HEIF", "AVIF", "JXL")
"""Their turn is a property of the container, which every reader applies; the EXIF tag says nothing."""


def _facts(size: tuple[int, int], turn: int, name: str, exif: ExifFacts) -> PhotoFacts:
    """Return the facts of a photo whose picture of `size` has yet to be turned by `turn`."""
    width, height = size if turn < 5 else size[::-1]
    orientation = 1 if name in _TURNED_BY_CONTAINER else exif.orientation or 1
    return PhotoFacts(width, height, orientation, name, exif.captured_at, exif.camera)


def _further(picture: Image.Image, longest_side: int | None) -> int:
    return max(1, max(picture.size) // longest_side) if longest_side else 1


_BYTES_PER_PIXEL = 7
"""Pillow's four and the three of the result."""

_DECODER_BYTES = {"WEBP": 17, "JPEG2000": 20, "AVIF": 10, "HEIF": 9, "JXL": 10}
"""Bytes per pixel at the peak, where the decoder keeps copies of its own; measured on photos of 24 and 50 million
pixels."""


def _bytes_needed(picture: Image.Image, name: str, full: tuple[int, int], factor: int = 1) -> int:
    """Return the memory that decoding takes at its peak, reduced by `factor`."""
    width, height = picture.size
    if name == "JPEG2000":  # whose size changes only with loading
        width, height = -(-width // factor), -(-height // factor)
    needed = width * height * _DECODER_BYTES.get(name, _BYTES_PER_PIXEL)
    if picture.info.get("progressive"):  # libjpeg then holds two bytes per coefficient, at full size
        needed = max(needed, 4 * width * height + 2 * _coefficients(picture, full))
    return needed


def _coefficients(picture: Image.Image, full: tuple[int, int]) -> int:
    """Return how many coefficients a JPEG has: as many as pixels, for each component at its own resolution."""
    steps: list[tuple[int, int]] = [layer[1:3] for layer in getattr(picture, "layer", ())]
    layers = steps or [(1, 1)] * len(picture.getbands())
    widest, highest = max(across for across, _ in layers), max(down for _, down in layers)
    return sum(full[0] * full[1] * across * down for across, down in layers) // (widest * highest)


def _refuse_too_large(picture: Image.Image, name: str, full: tuple[int, int], max_pixels: int, factor: int = 1) -> None:
    needed = _bytes_needed(picture, name, full, factor)
    if needed > max_pixels * _BYTES_PER_PIXEL:
        raise _too_large(full, name, needed, max_pixels)


def _refuse_result(size: tuple[int, int], name: str, factor: int, max_pixels: int, beside: int) -> None:
    """Refuse what is decoded in parts, and is too large even so: its result, with what it takes `beside`."""
    if size[0] * size[1] > MAX_PIXELS_IN_PARTS:
        raise PhotoTooLarge(
            f"too large: {size[0]} x {size[1]} pixels; the limit is {MAX_PIXELS_IN_PARTS / 1e6:,.0f} million"
        )
    needed = size[0] * size[1] * 2 * _BYTES_PER_PIXEL // factor**2 + beside
    if needed > max_pixels * _BYTES_PER_PIXEL:
        raise _too_large(size, name, needed, max_pixels)


_REMEDIES = {
    "JPEG": "save it as a JPEG that is not progressive",
    "PNG": large.REMEDY,
    "TIFF": large.REMEDY,
    "WEBP": large.REMEDY,
}


def _too_large(size: tuple[int, int], name: str, needed: int, max_pixels: int) -> PhotoTooLarge:
    return PhotoTooLarge(
        f"too large: {size[0]} x {size[1]} pixels would take {needed / 1e6:,.0f} MB to decode as {name}, the limit is "
        f"{max_pixels * _BYTES_PER_PIXEL / 1e6:,.0f} MB; {_REMEDIES.get(name, 'save it as JPEG')}"
    )


def _draft(picture: Image.Image, name: str, content: bytes, longest_side: int | None) -> int:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8, but at `longest_side` or more; return the divisor.

    So can JPEG 2000 be; but that is done only where the full size would need too much memory.
    """
    if longest_side is None:
        return 1
    if isinstance(picture, Jpeg2KImagePlugin.Jpeg2KImageFile):
        if _bytes_needed(picture, name, picture.size) <= MAX_PIXELS * _BYTES_PER_PIXEL:
            return 1
        halvings = max(0, min((max(picture.size) // longest_side).bit_length() - 1, _levels(content)))
        picture.reduce = halvings
        return 1 << halvings
    if not isinstance(picture, JpegImagePlugin.JpegImageFile):
        return 1
    width, height = picture.size
    drafted = picture.draft(None, (longest_side, 1) if width >= height else (1, longest_side))
    return round(width / drafted[1][2]) if drafted else 1


def _levels(content: bytes) -> int:
    """Return how often a JPEG 2000 picture can be halved: its COD segment, ISO/IEC 15444-1 (A.6.1)."""
    at = content.find(b"\xff\x52\x00")
    return content[at + 9] if 0 <= at < len(content) - 9 else 0


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

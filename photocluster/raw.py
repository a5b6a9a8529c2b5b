"""RAW files of cameras, by LibRaw (rawpy): the embedded preview where it is large enough, else the developed picture.

The camera's own JPEG looks as its owner knows the photo, and takes a tenth of the time. It is taken where it shows the
whole picture and has as many pixels as the caller needs, or as many as developing would give.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, JpegImagePlugin

from photocluster.errors import PhotoTooLarge, UndecodablePhoto
from photocluster.exif import ExifFacts, exif_facts, tiff_facts

if TYPE_CHECKING:
    import rawpy

_ORIENTATION = (1, 2, 4, 3, 5, 8, 6, 7)
"""EXIF orientation by LibRaw's flip: bit 0 mirrors left and right, bit 1 top and bottom, bit 2 swaps x and y."""

_SAME_SHAPE = 0.02
"""Relative difference of the ratios of sides up to which a preview shows the whole picture: borders of the sensor that
cameras leave off are below 1 %; the step from 3:2 to 4:3 or 16:9 is 12 % or more."""

_HALF_BYTES, _FULL_BYTES, _STACKED_BYTES = 5, 22, 26
"""Bytes at the peak for each of the sensor's pixels: LibRaw's samples of two bytes, its four of two for each pixel that
it makes, the interpolation's own, and the result. Stacked: several samples a pixel (linear DNG, Foveon)."""


@dataclass(frozen=True, slots=True)
class RawPicture:
    """What came out of a RAW file.

    `picture` is a JPEG of which only the header was read, or developed; `orientation` (EXIF, 1..8) is to be undone to
    have it upright; `size` is the sensor's picture as it lies in the file, in pixels.
    """

    picture: Image.Image
    size: tuple[int, int]
    orientation: int
    stored: int
    facts: ExifFacts


def open_raw(content: bytes, longest_side: int | None, max_bytes: int) -> RawPicture:
    """Return the preview or the developed picture of a RAW file.

    Half the size is developed (each four pixels of the sensor make one, without interpolation) unless that would be
    less than half of what the caller needs: then all, which for so small a sensor is quick too.

    Parameters
    ----------
    content
        The file's bytes, of which `formats.format_of` says "RAW".
    longest_side
        The caller needs no more pixels on the longer side; None: as many as there are.
    max_bytes
        Limit of the memory that developing may take.

    Raises
    ------
    UndecodablePhoto
        LibRaw does not know the camera, or the file is damaged; or rawpy is not installed.
    PhotoTooLarge
        Developing would take more than `max_bytes`.
    """
    try:
        import rawpy
    except ImportError as error:
        raise UndecodablePhoto("RAW needs the package rawpy: pip install rawpy") from error
    try:
        with rawpy.imread(io.BytesIO(content)) as raw:
            return _choose(raw, content, longest_side, max_bytes)
    except rawpy.LibRawError as error:
        said = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else error
        raise UndecodablePhoto(
            f"RAW, which LibRaw {'.'.join(map(str, rawpy.libraw_version))} cannot read ({said}): update rawpy, or "
            "export the photo as JPEG or, with Adobe's converter, as DNG"
        ) from error


def _choose(raw: rawpy.RawPy, content: bytes, longest_side: int | None, max_bytes: int) -> RawPicture:
    sizes = raw.sizes
    size = (sizes.width, sizes.height)
    stored = _ORIENTATION[sizes.flip] if 0 <= sizes.flip < 8 else 1
    half = longest_side is not None and max(size) >= longest_side
    wanted = max(size) if longest_side is None else min(longest_side, max(size) // 2 if half else max(size))
    preview = _preview(raw)
    facts = _facts(content, preview)
    if preview is not None and max(preview.size) >= wanted * (1 - _SAME_SHAPE):
        turn = _turn_of_preview(preview, size, stored)
        if turn is not None:
            return RawPicture(preview, size, turn, stored, facts)
    flat = raw.raw_pattern is not None
    bytes_a_pixel = (_HALF_BYTES if half else _FULL_BYTES) if flat else _STACKED_BYTES
    needed = bytes_a_pixel * size[0] * size[1] + len(content)
    if needed > max_bytes:
        raise PhotoTooLarge(
            f"too large: {size[0]} x {size[1]} pixels of RAW without a large preview would take {needed / 1e6:,.0f} MB "
            f"to develop, the limit is {max_bytes / 1e6:,.0f} MB; export the photo as JPEG"
        )
    return _developed(raw, size, stored, facts, half=half)


def _developed(raw: rawpy.RawPy, size: tuple[int, int], stored: int, facts: ExifFacts, *, half: bool) -> RawPicture:
    import rawpy

    rgb = raw.postprocess(
        half_size=half, use_camera_wb=True, user_flip=0, demosaic_algorithm=rawpy.DemosaicAlgorithm.PPG
    )
    picture = Image.fromarray(rgb)
    factor = max(1, round(max(size) / max(picture.size)))
    made = (picture.width * factor, picture.height * factor)
    if max(abs(a - b) for a, b in zip(made, size, strict=True)) > factor:
        size = made  # sensors that lie askew (Fujifilm's SuperCCD) come out with other sides
    return RawPicture(picture, size, stored, stored, facts)


def _preview(raw: rawpy.RawPy) -> JpegImagePlugin.JpegImageFile | None:
    """Return the largest embedded JPEG that LibRaw finds, its header read."""
    import rawpy

    with suppress(rawpy.LibRawError, OSError, SyntaxError):
        thumbnail = raw.extract_thumb()
        if thumbnail.format == rawpy.ThumbFormat.JPEG and isinstance(thumbnail.data, bytes):
            return JpegImagePlugin.JpegImageFile(io.BytesIO(thumbnail.data))
    return None


def _turn_of_preview(preview: Image.Image, size: tuple[int, int], stored: int) -> int | None:
    """Return the EXIF orientation that is to be undone in the preview; None where it does not show the whole picture.

    Cameras store it as the sensor saw it, with a tag of its own or none, or upright already. Its own tag counts where
    it leads to the shape that the photo has; else the shape tells, and a preview without a tag lies as the sensor did.
    """
    upright = size if stored < 5 else size[::-1]
    own = exif_facts(preview).orientation
    for turn in (own, stored, 1):
        if turn is None:
            continue
        width, height = preview.size if turn < 5 else preview.size[::-1]
        if abs(width / height / (upright[0] / upright[1]) - 1) <= _SAME_SHAPE:
            return turn
    return None


def _facts(content: bytes, preview: Image.Image | None) -> ExifFacts:
    """Return time and camera: the file's own tags where it is a TIFF, else those of its preview."""
    if content[4:12] == b"ftypcrx ":
        return _cr3_facts(content)
    if content[:2] in (b"II", b"MM"):
        return tiff_facts(content)
    return exif_facts(preview) if preview is not None else ExifFacts()


def _cr3_facts(content: bytes) -> ExifFacts:
    """Canon's CR3 keeps two TIFF directories in boxes of their own: CMT1 the first, CMT2 that of Exif."""
    found: dict[bytes, Any] = {}
    head = content[:65536]
    for name in (b"CMT1", b"CMT2"):
        at = head.find(name)
        if at >= 4:
            found[name] = tiff_facts(content[at + 4 : at - 4 + int.from_bytes(content[at - 4 : at], "big")])
    first, details = found.get(b"CMT1", ExifFacts()), found.get(b"CMT2", ExifFacts())
    return ExifFacts(first.orientation, details.captured_at or first.captured_at, first.camera)

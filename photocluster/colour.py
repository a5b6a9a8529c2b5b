"""Colour: any mode, depth and profile to upright RGB of 8 bits in sRGB, strip by strip."""

from __future__ import annotations

import io
from typing import Protocol

import numpy as np
from PIL import Image, ImageCms

from photocluster.records import FloatArray, ImageArray

_STRIP_PIXELS = 2**20
"""Pixels that are converted at a time, so that conversions need little memory beside the picture's own."""


class Picture(Protocol):
    """What is converted: a Pillow image, or one that is decoded as its parts are asked for."""

    @property
    def mode(self) -> str:
        """Pillow's mode."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels, as stored."""

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        """Return a part: left, top, right, bottom."""


def upright_rgb(picture: Picture, factor: int, orientation: int, icc: bytes | None) -> ImageArray:
    """Convert to RGB, reduce by a whole factor and turn.

    Parameters
    ----------
    picture
        As stored in the file.
    factor
        Pixels of the picture a side of one of the result.
    orientation
        EXIF orientation, 1..8, that is to be undone.
    icc
        The embedded colour profile; a damaged one, or one of another mode, is ignored.

    Returns
    -------
    uint8 (h, w, 3).
    """
    width, height = picture.size
    shape = (-(-height // factor), -(-width // factor), 3)
    swapped = orientation >= 5
    rgb = np.empty((shape[1], shape[0], 3) if swapped else shape, dtype=np.uint8)
    stored = as_stored(rgb, orientation)
    white = _white_level(picture) if picture.mode in _DEEP_GREY and isinstance(picture, Image.Image) else 255.0
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
        stored[top : top + step] = np.asarray(strip)
    return rgb


def as_stored(upright: ImageArray, orientation: int) -> ImageArray:
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

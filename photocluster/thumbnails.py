"""Thumbnails of faces: which part of a photo to show, how large the photo must be decoded for it, and the JPEG file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from photocluster.records import DecodedPhoto, FaceRow

THUMBNAIL_SIZE = 224
"""Side of a thumbnail in pixels: twice the 112 at which it is shown, for screens of double density. Smaller faces stay
smaller."""

MARGIN = 0.4
"""Space on each side of the face, as a part of the box's longer side: hair, ears and neck help a person to recognise a
person."""

JPEG_QUALITY = 85
"""Pillow's scale; its documentation calls 95 the highest that makes sense, and 75 the default."""


def thumbnail_key(row: FaceRow) -> str:
    """Return 12 hexadecimal digits that differ where the content, the frame, the box or the way of cutting differ."""
    box = row.detection.box
    key = f"{row.photo} {box.x0:.2f} {box.y0:.2f} {box.x1:.2f} {box.y1:.2f} {THUMBNAIL_SIZE} {MARGIN} {JPEG_QUALITY}"
    if row.time is not None:
        key += f" {row.time:.3f}"
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def shown_square(row: FaceRow) -> tuple[float, float, float]:
    """Return left, top and side of the part to show, in pixels of the full photo: square, and inside the photo."""
    box, facts = row.detection.box, row.facts
    side = min(max(box.width, box.height) * (1 + 2 * MARGIN), facts.width, facts.height)
    left = (box.x0 + box.x1 - side) / 2
    top = (box.y0 + box.y1 - side) / 2
    return min(max(left, 0.0), facts.width - side), min(max(top, 0.0), facts.height - side), side


def long_side_needed(faces: Sequence[FaceRow], size: int = THUMBNAIL_SIZE) -> int:
    """Return the least long side, in pixels, of a picture that serves for `size` wide thumbnails of a photo's faces."""
    facts = faces[0].facts
    long_side = max(facts.width, facts.height)
    smallest = max(1.0, min(shown_square(row)[2] for row in faces))
    return min(long_side, math.ceil(long_side * size / smallest))


def thumbnail(photo: DecodedPhoto, row: FaceRow, wide: int = THUMBNAIL_SIZE) -> bytes:
    """Return the square round a face as a JPEG file, `wide` pixels wide or, of a smaller part, as it is.

    Parameters
    ----------
    photo
        The face's photo at any scale.
    row
        The face; its box is in pixels of the full photo.
    wide
        The greatest width, in pixels.
    """
    height, width = photo.rgb.shape[:2]
    left, top, side = (value * photo.scale for value in shown_square(row))
    size = max(1, min(round(side), height, width))
    x, y = min(max(round(left), 0), width - size), min(max(round(top), 0), height - size)
    image = Image.fromarray(np.ascontiguousarray(photo.rgb[y : y + size, x : x + size]))
    if size > wide:
        image = image.resize((wide, wide), Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return file.getvalue()


def preview(photo: DecodedPhoto, long_side: int) -> bytes:
    """Return the whole photo as a JPEG file of at most `long_side` pixels."""
    image = Image.fromarray(photo.rgb)
    image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return file.getvalue()

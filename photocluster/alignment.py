"""Alignment: the similarity transform that brings five landmarks onto the ArcFace template, and the crop it makes.

Pure geometry on arrays; no model, no file. The template and its size are those that SFace and ArcFace were trained
with (insightface, ``utils/face_align.py``: ``arcface_dst``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photocluster.errors import DegenerateLandmarks
from photocluster.records import FloatArray, ImageArray

CROP_SIZE = 112
"""Side of the aligned crop in pixels: the input size of SFace and ArcFace."""

TEMPLATE: FloatArray = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""(5, 2) landmarks of the 112 x 112 crop, in insightface's convention: both spaces count from the centre of the first
pixel."""

TEMPLATE_NAME = "arcface-112"

MIN_SPREAD = 1e-3
"""Landmarks whose spread (root mean square distance from their centre) is below this many pixels are one point."""


def similarity_transform(landmarks: FloatArray) -> NDArray[np.float64]:
    """Return the least-squares similarity transform of the landmarks onto the template (Umeyama 1991).

    Parameters
    ----------
    landmarks
        (5, 2), x before y, in pixels.

    Returns
    -------
    (2, 3) float64 matrix M: crop = M @ [x, y, 1]. Rotation, uniform scale and shift; never a reflection.

    Raises
    ------
    DegenerateLandmarks
        The points are not finite, coincide, or lie so that no rotation is defined.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise DegenerateLandmarks(f"landmarks must be five finite points, not shape {points.shape}: {points.tolist()}")
    target = TEMPLATE.astype(np.float64)
    centre, target_centre = points.mean(axis=0), target.mean(axis=0)
    source, goal = points - centre, target - target_centre
    variance = float((source**2).sum())
    # In the plane the best rotation has a closed form: the angle of the summed complex products.
    a = float((source * goal).sum())
    b = float((source[:, 0] * goal[:, 1] - source[:, 1] * goal[:, 0]).sum())
    strength = np.hypot(a, b)
    if np.sqrt(variance / 5) < MIN_SPREAD or strength < 1e-9 * max(variance, 1.0):
        raise DegenerateLandmarks(f"the five landmarks define no face: {points.round(2).tolist()}")
    cos, sin = a / variance, b / variance  # scale times cosine and sine
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, target_centre - linear @ centre])


def align(rgb: ImageArray, landmarks: FloatArray) -> ImageArray:
    """Return the aligned crop of a face, uint8 (112, 112, 3) RGB; outside the picture it is black.

    Parameters
    ----------
    rgb
        uint8 (h, w, 3).
    landmarks
        (5, 2) in pixels of `rgb`.

    Raises
    ------
    DegenerateLandmarks
        See `similarity_transform`.
    """
    matrix = similarity_transform(landmarks)
    image, matrix = _reduced(rgb, matrix)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    # Pillow samples at pixel centres x + 0.5 and wants coordinates in which the picture spans 0..w: shift both sides.
    inverse[:, 2] += 0.5 - inverse[:, :2].sum(axis=1) * 0.5
    crop = image.transform(
        (CROP_SIZE, CROP_SIZE), Image.Transform.AFFINE, tuple(inverse.ravel()), Image.Resampling.BILINEAR
    )
    return np.asarray(crop)


def _reduced(rgb: ImageArray, matrix: NDArray[np.float64]) -> tuple[Image.Image, NDArray[np.float64]]:
    """Cut out the face's surroundings, and halve a large face until bilinear sampling skips no pixel of it."""
    corners = np.array([[-1, -1, 1], [CROP_SIZE, -1, 1], [-1, CROP_SIZE, 1], [CROP_SIZE, CROP_SIZE, 1]], dtype=float)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    area = (inverse @ corners.T)[:2]
    height, width = rgb.shape[:2]
    x0, y0 = np.clip(np.floor(area.min(axis=1)) - 2, 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(area.max(axis=1)) + 3, [x0 + 1, y0 + 1], [width, height]).astype(int)
    image = Image.fromarray(rgb[y0:y1, x0:x1])
    shift = np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1]], dtype=float)
    matrix = matrix @ shift
    factor = int(1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if factor >= 2:
        image = image.reduce(factor)
        matrix = matrix @ np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    return image, matrix

"""What can be measured on a face of how well it can be recognised; pure functions on arrays."""

from __future__ import annotations

import math

import numpy as np

from photocluster.records import Detection, FloatArray, ImageArray, Quality

FACE_POINTS = np.array(
    [[-31.5, 0.0, 0.0], [31.5, 0.0, 0.0], [0.0, 36.0, 33.0], [-26.0, 72.5, 5.0], [26.0, 72.5, 5.0]], dtype=np.float64
)
"""(5, 3) the landmarks of a mean adult face in millimetres: x to the picture's right, y down, z towards the camera. The
distance of the pupils is 63 mm (Dodgson 2004, "Variation and extrema of human interpupillary distance"); the other x
and y follow from the ArcFace template, in which it is 35.2 pixels; the nose's tip lies 33 mm before the pupils, the
mouth's corners 5 mm (Farkas 1994, "Anthropometry of the Head and Face", rounded)."""

LOWEST_NORM, HIGHEST_NORM = 8.0, 14.0
"""Norms of SFace's output that stand for quality 0 and 1. Faces brought down to 112, 40, 28, 20, 14 and 10 pixels have
mean norms of 11.4, 10.9, 10.3, 9.6, 8.8 and 8.1, and lie 0, .48, .69, .92, 1.12 and 1.27 from themselves at full size;
of a person's faces, those with larger norms lie closer to the person's mean (rank correlation .58; size .00, detector
score .25)."""


def measure(detection: Detection, crop: ImageArray, norm: float) -> Quality:
    """Return the quality of a face.

    Parameters
    ----------
    detection
        In pixels of the full photo.
    crop
        Its aligned crop, uint8 (112, 112, 3).
    norm
        L2 norm of the embedder's output for it.
    """
    yaw, pitch, roll = pose(detection.landmarks)
    return Quality(
        size=math.sqrt(detection.box.width * detection.box.height),
        sharpness=sharpness(crop),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        norm=float(norm),
        overall=min(1.0, max(0.0, (float(norm) - LOWEST_NORM) / (HIGHEST_NORM - LOWEST_NORM))),
    )


def sharpness(crop: ImageArray) -> float:
    """Return the standard deviation of the Laplacian of the luminance, relative to that of the luminance itself."""
    luminance = crop @ np.array([0.299, 0.587, 0.114])  # Rec. 601
    inner = luminance[1:-1, 1:-1]
    laplacian = luminance[:-2, 1:-1] + luminance[2:, 1:-1] + luminance[1:-1, :-2] + luminance[1:-1, 2:] - 4 * inner
    return float(laplacian.std() / max(float(inner.std()), 1.0))


def pose(landmarks: FloatArray) -> tuple[float, float, float]:
    """Return yaw, pitch and roll in degrees of a face, from its landmarks (5, 2).

    The camera is taken to be far away (scaled orthographic projection), so that the two rows of the least-squares
    affine map from `FACE_POINTS` are two rows of a scaled rotation. An estimate for sorting, good to some ten degrees.
    Positive yaw looks to the picture's right, positive pitch up, positive roll is clockwise in the picture.
    """
    model = FACE_POINTS - FACE_POINTS.mean(axis=0)
    points = np.asarray(landmarks, dtype=np.float64)
    affine, *_ = np.linalg.lstsq(model, points - points.mean(axis=0), rcond=None)  # (3, 2)
    right, down = affine.T
    scale = math.sqrt(max(float(np.linalg.norm(right) * np.linalg.norm(down)), 1e-12))
    roll = math.atan2(float(down[0] - right[1]), float(right[0] + down[1]))
    forward = (
        (right[2] + 1j * down[2]) / scale * complex(math.cos(roll), -math.sin(roll))
    )  # where the nose points, upright
    yaw = math.asin(min(1.0, max(-1.0, forward.real)))
    pitch = -math.asin(min(1.0, max(-1.0, forward.imag)))
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)

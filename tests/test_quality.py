from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from photocluster.quality import FACE_POINTS, pose, sharpness


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (FACE_POINTS @ (about_z @ about_y @ about_x).T)[:, :2].astype(np.float32)


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (30, 0, 0), (-45, 0, 0), (0, 20, 0), (0, -25, 0), (0, 0, 90), (-20, 10, -40)]
)
@pytest.mark.parametrize("size", [0.2, 5.0])
def test_pose_of_a_turned_face(angles, size):
    assert np.allclose(pose(turned(*angles) * size + 300), angles, atol=4)


def test_a_blurred_face_is_less_sharp():
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    values = [sharpness(np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))) for radius in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 5 * values[-1]


def test_a_flat_crop_has_no_sharpness():
    assert sharpness(np.full((112, 112, 3), 77, np.uint8)) == 0

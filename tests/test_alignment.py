from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photocluster.alignment import CROP_SIZE, TEMPLATE, align, similarity_transform
from photocluster.errors import DegenerateLandmarks

pytest.importorskip(
    "insightface.utils.face_align", reason="opencv's system libraries are missing", exc_type=ImportError
)


def placed(scale: float, angle: float, x: float, y: float) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (TEMPLATE @ turn.T * scale + [x, y]).astype(np.float32)


def insightface_matrix(landmarks: np.ndarray) -> np.ndarray:
    from insightface.utils.face_align import estimate_norm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls a deprecated method of scikit-image
        return np.asarray(estimate_norm(landmarks))


@given(
    scale=st.floats(0.15, 20),
    angle=st.floats(-np.pi, np.pi),
    shift=st.tuples(st.floats(-500, 5000), st.floats(-500, 5000)),
    seed=st.integers(0, 1000),
)
def test_agrees_with_insightface(scale, angle, shift, seed):
    noise = np.random.default_rng(seed).normal(0, 2 * scale, (5, 2))  # a real face is not the template
    landmarks = (placed(scale, angle, *shift) + noise).astype(np.float32)
    corners = np.array([[0, 0], [111, 0], [0, 111], [111, 111]])
    ours, theirs = similarity_transform(landmarks), insightface_matrix(landmarks)
    back = np.linalg.inv(np.vstack([theirs, [0, 0, 1]]))
    points = np.column_stack([corners, np.ones(4)]) @ back[:2].T  # the crop's corners in the photo
    crop = np.column_stack([points, np.ones(4)]) @ ours.T
    assert np.abs(crop - corners).max() < 0.5


def test_the_template_stays_where_it_is():
    assert np.allclose(similarity_transform(TEMPLATE), [[1, 0, 0], [0, 1, 0]], atol=1e-5)


def test_never_a_reflection():
    mirrored = TEMPLATE * [-1, 1] + [200, 0]
    assert np.linalg.det(similarity_transform(mirrored.astype(np.float32))[:, :2]) > 0


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((5, 2)),
        np.full((5, 2), 37.5),
        np.full((5, 2), np.nan),
        np.where(np.eye(5, 2) > 0, np.inf, TEMPLATE),
        TEMPLATE[:4],
    ],
    ids=["zero", "one point", "nan", "inf", "four points"],
)
def test_degenerate_landmarks_raise(landmarks):
    with pytest.raises(DegenerateLandmarks, match=r"landmarks"):
        similarity_transform(np.asarray(landmarks, dtype=np.float32))


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.3, 12.0])
@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi])
def test_the_crop_is_insightfaces_crop(scale, angle):
    """On a picture without detail finer than the crop's pixels, both samplers see the same."""
    from insightface.utils.face_align import norm_crop

    side = round(150 * scale)
    landmarks = placed(scale, angle, 0, 0)
    landmarks += side / 2 - landmarks.mean(axis=0)
    y, x = np.mgrid[:side, :side] / scale
    rgb = np.stack([127 + 100 * np.sin(x / 9), 127 + 100 * np.cos(y / 7), 127 + 100 * np.sin((x + y) / 11)], axis=-1)
    rgb = rgb.round().astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = norm_crop(rgb, landmarks)
    ours = align(rgb, landmarks)
    assert ours.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert ours.dtype == np.uint8
    inner = (slice(15, -15), slice(15, -15))
    assert np.abs(ours[inner].astype(int) - theirs[inner]).mean() < 2.5


def test_a_face_at_the_edge_has_black_outside():
    rgb = np.full((80, 80, 3), 200, dtype=np.uint8)
    crop = align(rgb, placed(1.0, 0, -50, 0))
    assert (crop[:, 0] == 0).all() or (crop[:, -1] == 0).all()
    assert crop.max() == 200


def test_a_large_face_is_averaged_not_sampled():
    """A checkerboard of single pixels, eight times too fine for the crop, must become grey."""
    side = 112 * 8
    board = ((np.indices((side, side)).sum(axis=0) % 2) * 255).astype(np.uint8)
    crop = align(np.repeat(board[:, :, None], 3, axis=2), (TEMPLATE * 8).astype(np.float32))
    assert abs(crop[8:-8, 8:-8].astype(float) - 127.5).max() < 8

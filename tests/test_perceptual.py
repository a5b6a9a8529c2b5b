"""Perceptual hashes: what moves them and what does not, and how near ones are found."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from photocluster.perceptual import (
    EACH_WITH,
    LEAST_SIDE,
    MAX_RADIUS,
    bits_apart,
    near_pairs,
    perceptual_hash,
)


def scene(seed: int, width: int = 480, height: int = 360) -> Image.Image:
    """Return a made picture with large shapes and fine grain, as photos have."""
    rng = np.random.default_rng(seed)
    large = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    grain = rng.normal(0, 12, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(large) + grain, 0, 255).astype(np.uint8))


def recoded(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def hash_of(picture: Image.Image) -> int:
    found = perceptual_hash(np.asarray(picture.convert("RGB")))
    assert found is not None
    return found


def apart(a: Image.Image, b: Image.Image) -> int:
    return int(bits_apart(np.array([hash_of(a)]), np.array([hash_of(b)]))[0])


@pytest.mark.parametrize("seed", range(4))
def test_copies_have_near_hashes(seed):
    picture = scene(seed)
    assert apart(picture, picture) == 0
    assert apart(picture, picture.resize((120, 90))) <= 4
    assert apart(picture, recoded(picture, 20)) <= 4
    assert apart(picture, ImageEnhance.Brightness(picture).enhance(0.7)) <= 4
    assert apart(picture, picture.convert("L")) <= 4
    assert apart(picture, scene(seed + 100)) > 16


def test_a_hash_is_a_signed_number_of_64_bits_whatever_the_memory_order():
    rgb = np.asarray(scene(1))
    found = perceptual_hash(rgb)
    assert isinstance(found, int)
    assert -(2**63) <= found < 2**63
    assert perceptual_hash(np.asfortranarray(rgb)) == found


def test_what_has_nothing_to_compare_has_no_hash():
    assert perceptual_hash(np.zeros((480, 640, 3), dtype=np.uint8)) is None
    grain = np.random.default_rng(0).integers(100, 103, (480, 640, 3), dtype=np.uint8)
    assert perceptual_hash(grain) is None
    assert perceptual_hash(np.asarray(scene(1, 200, LEAST_SIDE - 1))) is None
    assert perceptual_hash(np.asarray(scene(1, 200, LEAST_SIDE))) is not None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, MAX_RADIUS))
def test_near_pairs_are_those_of_a_search_through_all(seed, radius):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(-(2**63), 2**63, 60, dtype=np.int64)
    flipped = hashes.view(np.uint64).copy()
    for row in range(len(flipped)):
        for bit in rng.choice(64, rng.integers(0, MAX_RADIUS + 3), replace=False):
            flipped[row] ^= np.uint64(1 << int(bit))
    hashes = rng.permutation(np.concatenate([hashes, flipped.view(np.int64), hashes[:5]]))
    pairs = near_pairs(hashes, radius)
    i, j = np.triu_indices(len(hashes), 1)
    near = bits_apart(hashes[i], hashes[j]) <= radius
    np.testing.assert_array_equal(pairs, np.stack([i[near], j[near]], axis=1))


def test_many_equal_hashes_are_held_together_by_few_pairs():
    hashes = np.repeat(np.array([0, 1, -1]), 500)
    pairs = near_pairs(hashes, 3)
    assert len(pairs) < 1500 * (EACH_WITH + 1)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = coo_array((np.ones(len(pairs)), pairs.T), shape=(1500, 1500))
    assert connected_components(joined, directed=False)[0] == 2


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_near_to_nothing(count):
    assert near_pairs(np.zeros(count, dtype=np.int64), 7).shape == (0, 2)


def test_a_radius_that_would_miss_pairs_is_refused():
    with pytest.raises(ValueError, match="7"):
        near_pairs(np.zeros(2, dtype=np.int64), 8)

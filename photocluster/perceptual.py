"""Perceptual hashes: 64 bits that say what a picture looks like, whatever its size, compression and brightness.

The hash is pHash's (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010): the picture is
reduced to 32 x 32 grey values, of whose discrete cosine transform the 8 x 8 lowest frequencies, those without a row or
a column of their own left out, are compared with their median. Two hashes are compared by the number of bits that
differ: half of them between pictures that have nothing to do with each other. Turned and mirrored copies have other
hashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photocluster.records import ImageArray, IntArray

GRID = 32
"""Rows and columns of the grey values (Zauner, 2010)."""

KEPT = 8
"""Frequencies kept in each direction, from the first on (Zauner, 2010): 64 bits."""

LEAST_SIDE = 2 * GRID
"""Pixels of the shorter side below which a picture has no hash: with less than two pixels for each grey value there is
little to compare."""

LEAST_CONTRAST = 2.0
"""Standard deviation of the grey values (0..255) below which a picture has no hash: of a black frame, or a blank page,
the bits would tell the noise."""

SAMPLED_SIDE = 256
"""Pixels of the shorter side that are looked at, each of the grey values being the mean of 8 x 8 or more: hashes are as
steady under scaling and compression as with 512, at a third of the time."""

BANDS = 4
"""Parts of a hash by which near ones are looked up: of two hashes that differ in fewer than 8 bits, one of the four
parts of 16 bits differs in one bit or none."""

MAX_RADIUS = 2 * BANDS - 1
"""Bits in which hashes found by `near_pairs` may differ."""

EACH_WITH = 8
"""Rows of equal hashes that each row is paired with: enough to hold them together, and few when thousands are equal."""

BLOCK = 1 << 21
"""Pairs compared at a time: about 100 MB."""

HashArray = NDArray[np.int64]

_COSINES = np.cos(np.pi / (2 * GRID) * np.outer(np.arange(1, KEPT + 1), 2 * np.arange(GRID) + 1))
"""(KEPT, GRID): the rows of the discrete cosine transform (DCT-II) that are kept."""


def perceptual_hash(rgb: ImageArray) -> int | None:
    """Return the hash of a picture as a signed integer of 64 bits, or None where there is nothing to compare.

    Parameters
    ----------
    rgb
        uint8 (h, w, 3), the upright picture.
    """
    side = min(rgb.shape[:2])
    if side < LEAST_SIDE:
        return None
    step = max(1, side // SAMPLED_SIDE)
    sample = Image.fromarray(np.ascontiguousarray(rgb[::step, ::step])).convert("L")
    grey = np.asarray(sample.resize((GRID, GRID), Image.Resampling.BOX), dtype=np.float64)
    if grey.std() < LEAST_CONTRAST:
        return None
    low = (_COSINES @ grey @ _COSINES.T).ravel()
    return int(np.packbits(low > np.median(low)).view(">i8")[0])


def bits_apart(a: HashArray, b: HashArray) -> IntArray:
    """Return the number of bits (n,) in which hashes (n,) differ."""
    return np.asarray(np.bitwise_count(a.view(np.uint64) ^ b.view(np.uint64)), dtype=np.int64)


def near_pairs(hashes: HashArray, radius: int) -> IntArray:
    """Return the pairs of rows (m, 2) int64 whose hashes (n,) int64 differ in at most `radius` bits, in order.

    Exact for hashes: all near hashes are found. Of the rows with one hash, or with two near ones, not all pairs are
    returned if they are many (`EACH_WITH`), but enough to hold them together.

    Hashes are looked up by their four parts, of which one differs by a bit at the most: half a million take seconds.
    """
    if radius > MAX_RADIUS:
        raise ValueError(f"hashes are found up to {MAX_RADIUS} bits apart, not {radius}")
    distinct, place, count = np.unique(hashes.view(np.uint64), return_inverse=True, return_counts=True)
    by_hash = np.argsort(place, kind="stable")
    ends = np.cumsum(count)
    found = [np.empty((0, 2), dtype=np.int64)]
    for step in range(1, min(EACH_WITH, int(count.max(initial=1)) - 1) + 1):
        same = place[by_hash[:-step]] == place[by_hash[step:]]
        found.append(np.stack([by_hash[:-step][same], by_hash[step:][same]], axis=1))
    near = np.concatenate([np.empty((0, 2), dtype=np.int64), *_near_distinct(distinct, radius)])
    shown = np.minimum(count, EACH_WITH)
    sizes = shown[near[:, 0]] * shown[near[:, 1]]
    number = np.repeat(np.arange(len(near)), sizes)
    within = np.arange(len(number)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    left, right = near[number, 0], near[number, 1]
    rows = ends[left] - count[left] + within // shown[right], ends[right] - count[right] + within % shown[right]
    found.append(np.stack([by_hash[rows[0]], by_hash[rows[1]]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _near_distinct(values: NDArray[np.uint64], radius: int) -> Iterator[IntArray]:
    """Yield pairs of rows of distinct hashes that are near; each pair once."""
    width = 64 // BANDS
    apart = radius // BANDS
    bits = [1 << bit for bit in range(width)]
    flips = [np.uint64(sum(chosen)) for count in range(apart + 1) for chosen in combinations(bits, count)]
    mask = np.uint64((1 << width) - 1)
    for band in range(BANDS):
        keys = (values >> np.uint64(band * width)) & mask
        order = np.argsort(keys, kind="stable")
        keys, ordered = keys[order], values[order]
        starts = np.searchsorted(keys, np.arange((1 << width) + 1, dtype=np.uint64))
        for flip in flips:
            for left, right in _in_buckets(keys, starts, flip):
                differ = ordered[left] ^ ordered[right]
                (near,) = np.nonzero(np.bitwise_count(differ) <= radius)
                for earlier in range(band):  # found there already
                    parts = (differ[near] >> np.uint64(earlier * width)) & mask
                    near = near[np.bitwise_count(parts) > apart]
                yield np.stack([order[left[near]], order[right[near]]], axis=1)


def _in_buckets(keys: NDArray[np.uint64], starts: IntArray, flip: np.uint64) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield pairs of places in the sorted `keys` where one is the other with `flip` turned over, in blocks."""
    others = (keys ^ flip).astype(np.int64)
    begin, end = starts[others], starts[others + 1]
    if flip:
        size = np.where(keys < keys ^ flip, end - begin, 0)
    else:
        begin = np.arange(1, len(keys) + 1)
        size = end - begin
    total = np.cumsum(size)
    first = 0
    while first < len(keys):
        done = int(total[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(total, done + BLOCK, side="right")))
        part = size[first:last]
        left = np.repeat(np.arange(first, last), part)
        offset = np.arange(len(left)) - np.repeat(np.cumsum(part) - part, part)
        yield left, begin[left] + offset
        first = last

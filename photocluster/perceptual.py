"""Perceptual hashes: 64 bits that say what a picture looks like, whatever its size, compression and brightness.

The hash is pHash's (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010): the picture is
reduced to 32 x 32 grey values, of whose discrete cosine transform the 8 x 8 lowest frequencies, those without a row or
a column of their own left out, are compared with their median. Two hashes are compared by the number of bits that
differ: half of them between pictures that have nothing to do with each other. Turned and mirrored copies have other
hashes.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photocluster._kernels import compiled
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

FEW = 1500
"""Up to this many hashes all pairs are compared (0.1 s): less than numba takes to start."""

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
    near = _near_distinct(distinct, radius)
    shown = np.minimum(count, EACH_WITH)
    sizes = shown[near[:, 0]] * shown[near[:, 1]]
    number = np.repeat(np.arange(len(near)), sizes)
    within = np.arange(len(number)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    left, right = near[number, 0], near[number, 1]
    rows = ends[left] - count[left] + within // shown[right], ends[right] - count[right] + within % shown[right]
    found.append(np.stack([by_hash[rows[0]], by_hash[rows[1]]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _near_distinct(values: NDArray[np.uint64], radius: int) -> IntArray:
    """Return the pairs of rows (m, 2) of distinct hashes that are near; each pair once."""
    if len(values) <= FEW:
        left, right = np.triu_indices(len(values), 1)
        near = np.bitwise_count(values[left] ^ values[right]) <= radius
        return np.stack([left[near], right[near]], axis=1)
    width = 64 // BANDS
    apart = radius // BANDS
    bits = [1 << bit for bit in range(width)]
    flips = np.array(
        [sum(chosen) for count in range(apart + 1) for chosen in combinations(bits, count)], dtype=np.uint64
    )
    kernel = compiled(_in_buckets)
    found = [np.empty((0, 2), dtype=np.int64)]
    for band in range(BANDS):
        keys = (values >> np.uint64(band * width)) & np.uint64((1 << width) - 1)
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange((1 << width) + 1, dtype=np.uint64))
        given = values[order], keys[order], starts, flips, band, width, apart, radius
        places = np.empty((len(values), 2), dtype=np.int64)
        count = kernel(*given, places)
        if count > len(places):
            places = np.empty((count, 2), dtype=np.int64)
            kernel(*given, places)
        found.append(order[places[:count]])
    return np.concatenate(found)


def _in_buckets(  # noqa: C901 (a kernel calls no other function)
    values: NDArray[np.uint64],
    keys: NDArray[np.uint64],
    starts: IntArray,
    flips: NDArray[np.uint64],
    band: int,
    width: int,
    apart: int,
    radius: int,
    result: IntArray,
) -> int:
    """Find the near pairs of hashes whose parts in a band differ in at most `apart` bits, and in no band before it.

    A kernel (see `_kernels`). `values` are in the order of `keys`, their parts; `starts` says where each part begins.
    As many pairs of places as `result` (m, 2) has room for are written; returned is how many there are.
    """
    mask = np.uint64((1 << width) - 1)
    count = 0
    for flip in flips:
        for i in range(len(values)):
            other = keys[i] ^ flip
            if other < keys[i]:
                continue
            first = i + 1 if other == keys[i] else starts[other]
            for j in range(first, starts[other + np.uint64(1)]):
                differ = values[i] ^ values[j]
                bits = 0
                rest = differ
                while rest and bits <= radius:
                    rest &= rest - np.uint64(1)  # takes the lowest bit away
                    bits += 1
                if bits > radius:
                    continue
                new = True
                for earlier in range(band):
                    part = (differ >> np.uint64(earlier * width)) & mask
                    bits = 0
                    while part:
                        part &= part - np.uint64(1)
                        bits += 1
                    new &= bits > apart
                if new:
                    if count < len(result):
                        result[count, 0] = i
                        result[count, 1] = j
                    count += 1
    return count

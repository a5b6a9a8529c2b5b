"""The inner loops of `merging`; see `_kernels` for how they are compiled and what they may do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photocluster.constraints import BoolArray
from photocluster.records import FloatArray, IntArray

ScoreArray = NDArray[np.float64]


def multiply(vectors: FloatArray, pairs: IntArray, result: ScoreArray) -> None:
    """Fill in the dot products (k,) of the rows that each pair (k, 2) names, copying none of them."""
    for r in range(len(pairs)):
        left, right = vectors[pairs[r, 0]], vectors[pairs[r, 1]]
        total = np.float32(0)
        for c in range(vectors.shape[1]):
            total += left[c] * right[c]
        result[r] = total


def free(
    pairs: IntArray,
    links: IntArray,
    persons: IntArray,
    apart: IntArray,
    end: IntArray,
    shift: int,
    result: BoolArray,
) -> None:
    """Tell of each pair (k, 2) whether nothing keeps its groups apart.

    `apart` are sorted pairs of links as numbers; `end` (n,) is where those whose smaller link it is end.
    """
    for r in range(len(pairs)):
        left, right = links[pairs[r, 0]], links[pairs[r, 1]]
        if left > right:
            left, right = right, left
        one, other = persons[left], persons[right]
        result[r] = one < 0 or other < 0 or one == other
        low, high = end[left - 1] if left else 0, end[left]
        wanted = left << shift | right
        while low < high:
            middle = (low + high) // 2
            if apart[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        if low < end[left] and apart[low] == wanted:
            result[r] = False


def both_known(keys: IntArray, shift: int, where: IntArray, result: IntArray) -> int:
    """Fill in where (n,) both groups of each pair are, if both are somewhere; return how many such pairs there are."""
    count = 0
    for key in keys:
        left, right = where[key >> shift], where[key & ((1 << shift) - 1)]
        if left >= 0 and right >= 0:
            result[count, 0], result[count, 1] = left, right
            count += 1
    return count


def renumber(keys: IntArray, shift: int, target: IntArray) -> bool:
    """Rewrite pairs as numbers by what each group (n,) is part of now; return whether any has changed."""
    changed = False
    for r in range(len(keys)):
        left, right = target[keys[r] >> shift], target[keys[r] & ((1 << shift) - 1)]
        key = min(left, right) << shift | max(left, right)
        changed |= key != keys[r]
        keys[r] = key
    return changed


def prune(pairs: IntArray, score: ScoreArray, passing: BoolArray) -> int:
    """Move the pairs (k, 2) to the front of which a group has a pair that scores 0 or more; return how many there are.

    `passing` (n,) starts false.
    """
    for r in range(len(pairs)):
        if score[r] >= 0:
            passing[pairs[r, 0]] = True
            passing[pairs[r, 1]] = True
    count = 0
    for r in range(len(pairs)):
        if passing[pairs[r, 0]] or passing[pairs[r, 1]]:
            pairs[count, 0], pairs[count, 1], score[count] = pairs[r, 0], pairs[r, 1], score[r]
            count += 1
    return count


def rename(
    pairs: IntArray, score: ScoreArray, target: IntArray, changed: BoolArray, shift: int, keys: IntArray
) -> tuple[int, int]:
    """Part pairs (k, 2) into those of groups that have not changed and what the others turn into.

    The former move to the front, with their scores; the latter go to `keys` as numbers. Returns how many of each.
    """
    count, other = 0, 0
    for r in range(len(pairs)):
        left, right = pairs[r, 0], pairs[r, 1]
        if not (changed[left] or changed[right]):
            pairs[count, 0], pairs[count, 1], score[count] = left, right, score[r]
            count += 1
            continue
        left, right = target[left], target[right]
        if left != right:
            keys[other] = min(left, right) << shift | max(left, right)
            other += 1
    return count, other


def mark_best(ends: IntArray, score: ScoreArray, top: ScoreArray, first: NDArray[np.int32], result: BoolArray) -> None:
    """Mark (k, 2) where a pair has the greatest score (k,) of its left and of its right group, the first of equals.

    `top` (n,) starts at -inf.
    """
    for r in range(len(ends)):
        for side in range(2):
            if score[r] > top[ends[r, side]]:
                top[ends[r, side]] = score[r]
                first[ends[r, side]] = r
    for r in range(len(ends)):
        for side in range(2):
            result[r, side] = first[ends[r, side]] == r


def add(sums: NDArray[Any], places: IntArray, vectors: FloatArray) -> None:
    """Add each vector (k, d) to the row of `sums` that is its place (k,)."""
    for r in range(len(places)):
        row, vector = sums[places[r]], vectors[r]
        for c in range(vectors.shape[1]):
            row[c] += vector[c]

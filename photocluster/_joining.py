"""The inner loops of `groups` and `merging`; see `_kernels` for how they are compiled and what they may do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photocluster.constraints import BoolArray
from photocluster.records import FloatArray, IntArray

ScoreArray = NDArray[np.float64]


def multiply(sums: FloatArray, sizes: IntArray, pairs: IntArray, result: ScoreArray) -> None:
    """Fill in the dot products (k,) of the rows that each pair (k, 2) names, over the product of their sizes (n,)."""
    for r in range(len(pairs)):
        left, right = sums[pairs[r, 0]], sums[pairs[r, 1]]
        total = np.float32(0)
        for c in range(sums.shape[1]):
            total += left[c] * right[c]
        result[r] = total / (sizes[pairs[r, 0]] * sizes[pairs[r, 1]])


def compare(X: FloatArray, labels: IntArray, sums: NDArray[Any], result: ScoreArray) -> None:
    """Fill in the dot products (n,) of rows and the rows of `sums` that are their labels (n,), where these are >= 0."""
    for i in range(len(X)):
        if labels[i] >= 0:
            total = 0.0
            for c in range(X.shape[1]):
                total += X[i, c] * sums[labels[i], c]
            result[i] = total


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


def list_pairs(indices: NDArray[np.int32], labels: IntArray, shift: int, keys: IntArray) -> int:
    """Fill in, as numbers, the pairs of what neighbours (n, k), -1 for none, have become (n,); return how many."""
    count = 0
    for i in range(indices.shape[0]):
        for t in range(indices.shape[1]):
            if indices[i, t] >= 0:
                left, right = labels[i], labels[indices[i, t]]
                if left != right:
                    keys[count] = min(left, right) << shift | max(left, right)
                    count += 1
    return count


def unpack(keys: IntArray, shift: int, pairs: IntArray) -> int:
    """Fill in the pairs (k, 2) that sorted numbers stand for, each once; return how many there are."""
    count = 0
    for r in range(len(keys)):
        if r == 0 or keys[r] != keys[r - 1]:
            pairs[count, 0], pairs[count, 1] = keys[r] >> shift, keys[r] & ((1 << shift) - 1)
            count += 1
    return count


def find_best(
    pairs: IntArray, score: ScoreArray, top: ScoreArray, first: NDArray[np.int32], rows: IntArray, best: BoolArray
) -> int:
    """List the rows of pairs (k, 2) that score 0 or more and have the greatest score (k,) of one of their groups.

    Of equal scores it is the first row's. `top` (n,) starts at -inf, `first` (n,) at -1. Fills in `rows` (n,) and
    `best` (n, 2), of which of the two groups; returns how many there are.
    """
    for r in range(len(pairs)):
        if score[r] >= 0:
            for side in range(2):
                if score[r] > top[pairs[r, side]]:
                    top[pairs[r, side]] = score[r]
                    first[pairs[r, side]] = r
    count = 0
    for r in range(len(pairs)):
        if score[r] >= 0:
            left, right = first[pairs[r, 0]] == r, first[pairs[r, 1]] == r
            if left or right:
                rows[count], best[count, 0], best[count, 1] = r, left, right
                count += 1
    return count


def add(sums: NDArray[Any], places: IntArray, vectors: FloatArray) -> None:
    """Add each vector (k, d) to the row of `sums` that is its place (k,)."""
    for r in range(len(places)):
        row, vector = sums[places[r]], vectors[r]
        for c in range(vectors.shape[1]):
            row[c] += vector[c]

"""Groups of faces that grow by joining: each step asks whether two whole groups are one person.

Pure on arrays. A group is known by the sum of its unit vectors and their number: the mean similarity (cosine) of all
pairs between two groups is the dot product of the sums over the product of the numbers, so a question about thousands
of faces costs 128 multiplications. Groups join in rounds: in each, every two groups that are each other's best partner
join at once (reciprocal agglomerative clustering, Sumengen et al. 2021, arXiv:2105.11653). For average linkage that gives
the same result as joining the best pair of all one at a time, and it does not depend on the order of the faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photocluster.constraints import BoolArray, Constraints
from photocluster.records import FloatArray, IntArray

ScoreArray = NDArray[np.float64]
BLOCK = 1 << 15
"""Pairs of groups compared at a time: two blocks of 128 float32 numbers a pair, 32 MB together."""


@dataclass(slots=True, eq=False)
class Groups:
    """m groups of faces while they grow.

    Attributes
    ----------
    sums
        (m, 128) float32, the sum of each group's unit vectors.
    sizes
        (m,) int64, how many vectors that is; 0 for a group that has joined another.
    links
        (m,) int64, groups of equal number hold faces that the user gave to one person.
    persons
        (m,) int64 by link: the user's person of that link, or -1.
    apart
        (k, 2) int64, two links that never join.
    """

    sums: FloatArray
    sizes: IntArray
    links: IntArray
    persons: IntArray
    apart: IntArray

    @classmethod
    def of_faces(cls, X: FloatArray, constraints: Constraints) -> Groups:
        """Return one group for each face."""
        n = len(X)
        links = np.arange(n, dtype=np.int64)
        named = np.flatnonzero(constraints.persons >= 0)
        if len(named):
            _, first, number = np.unique(constraints.persons[named], return_index=True, return_inverse=True)
            links[named] = named[first[number]]
        apart = np.sort(links[constraints.pairs], axis=1)
        return cls(
            X.astype(np.float32, copy=True), np.ones(n, dtype=np.int64), links, constraints.persons.copy(), apart
        )

    def between(self, pairs: IntArray) -> ScoreArray:
        """Mean similarity between the groups of each pair (k, 2)."""
        result = np.empty(len(pairs), dtype=np.float64)
        for i in range(0, len(pairs), BLOCK):
            left, right = pairs[i : i + BLOCK].T
            result[i : i + BLOCK] = np.einsum("ij,ij->i", self.sums[left], self.sums[right])
        return result / (self.sizes[pairs[:, 0]] * self.sizes[pairs[:, 1]])

    def within(self, groups: IntArray) -> ScoreArray:
        """Mean similarity of the pairs inside each group (k,); 1 for a single face."""
        sums, sizes = self.sums[groups], self.sizes[groups]
        squares = np.einsum("ij,ij->i", sums, sums).astype(np.float64)
        return np.asarray(np.where(sizes > 1, (squares - sizes) / np.maximum(sizes * (sizes - 1), 1), 1.0))

    def may_join(self, pairs: IntArray) -> BoolArray:
        """Whether nothing forbids the groups of each pair (k, 2) to be one person."""
        links = np.sort(self.links[pairs], axis=1)
        left, right = self.persons[links[:, 0]], self.persons[links[:, 1]]
        free = (left < 0) | (right < 0) | (left == right)
        if len(self.apart):
            n = len(self.links)
            keys = np.unique(self.apart[:, 0] * n + self.apart[:, 1])
            wanted = links[:, 0] * n + links[:, 1]
            place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
            free &= keys[place] != wanted
        return np.asarray(free)

    def join(self, pairs: IntArray) -> IntArray:
        """Join the second group of each pair (k, 2) to the first, no group in two pairs; return (m,) where each went."""
        keep, gone = pairs.T
        self.sums[keep] += self.sums[gone]
        self.sizes[keep] += self.sizes[gone]
        self.sizes[gone] = 0
        self._join_links(self.links[keep], self.links[gone])
        target = np.arange(len(self.sizes), dtype=np.int64)
        target[gone] = keep
        self.links[gone] = self.links[keep]
        return target

    def _join_links(self, keep: IntArray, gone: IntArray) -> None:
        target = np.arange(len(self.links), dtype=np.int64)
        low, high = np.minimum(keep, gone), np.maximum(keep, gone)
        target[high] = low
        self.persons[low] = np.maximum(self.persons[low], self.persons[high])
        self.links = target[self.links]
        if len(self.apart):
            self.apart = np.sort(target[self.apart], axis=1)


Affinity = Callable[[Groups, IntArray], ScoreArray]
"""How surely the two groups of each pair (k, 2) are one person: they may join at 0 and above."""


def agglomerate(groups: Groups, pairs: IntArray, affinity: Affinity) -> IntArray:
    """Join groups, along the pairs (k, 2) and what they turn into, until no pair that may join has an affinity of 0.

    Changes `groups`. Returns (m,) int64: the group that each group is part of now.
    """
    labels = np.arange(len(groups.sizes), dtype=np.int64)
    pairs = _unique_pairs(pairs, len(labels))
    score = affinity(groups, pairs)
    while len(pairs):
        chosen = _reciprocal(groups, pairs, score)
        if not len(chosen):
            break
        target = groups.join(pairs[chosen])
        labels = target[labels]
        changed = np.zeros(len(labels), dtype=bool)
        changed[pairs[chosen]] = True
        touched = changed[pairs].any(axis=1)
        fresh = _unique_pairs(target[pairs[touched]], len(labels))
        pairs = np.concatenate([pairs[~touched], fresh])
        score = np.concatenate([score[~touched], affinity(groups, fresh)])
    return labels


def _reciprocal(groups: Groups, pairs: IntArray, score: ScoreArray) -> IntArray:
    """Return the rows of the pairs in which each group is the other's best partner, and which may join."""
    rows = np.flatnonzero(score >= 0)
    rows = rows[groups.may_join(pairs[rows])]
    # By falling score, ties by the groups' own order: the first row in which a group stands is its best one.
    rows = rows[np.lexsort((pairs[rows, 1], pairs[rows, 0], -score[rows]))]
    best = np.full(len(groups.sizes), len(rows), dtype=np.int64)
    rank = np.arange(len(rows))
    ends = pairs[rows]
    best[ends[::-1, 0]] = rank[::-1]
    other = np.full(len(groups.sizes), len(rows), dtype=np.int64)
    other[ends[::-1, 1]] = rank[::-1]
    best = np.minimum(best, other)
    mutual = (best[ends[:, 0]] == rank) & (best[ends[:, 1]] == rank)
    rows, ends = rows[mutual], ends[mutual]
    # One join for a link in one round: two at once could bring together what is kept apart.
    links = groups.links[ends]
    first = np.full(len(groups.sizes), len(rows), dtype=np.int64)
    np.minimum.at(first, links.ravel(), np.repeat(np.arange(len(rows)), 2))
    return np.asarray(rows[(first[links] == np.arange(len(rows))[:, None]).all(axis=1)])


def _unique_pairs(pairs: IntArray, n: int) -> IntArray:
    """Return each pair of two different groups once, the smaller number first, in rising order."""
    low, high = pairs.min(axis=1, initial=n), pairs.max(axis=1, initial=0)
    keys = np.unique((low * n + high)[low != high])
    return np.stack([keys // n, keys % n], axis=1)

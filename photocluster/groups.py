"""Groups of faces: what is known of each, what may not be one person, and pairs of groups.

Pure on arrays. A group is known by the sum of its unit vectors and their number: the mean similarity (cosine) of all
pairs between two groups is the dot product of the sums over the product of the numbers, so a question about thousands
of faces costs 128 multiplications. Groups grow by joining (`merging`).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photocluster import _joining
from photocluster._kernels import compiled
from photocluster._tiles import Task, run
from photocluster.constraints import BoolArray, Constraints
from photocluster.graph import SMALL
from photocluster.records import FloatArray, IntArray

ScoreArray = NDArray[np.float64]

SHIFT = 32
"""A pair is sorted as one number: the smaller group's, shifted by so many bits, and the greater one's."""

PART = 1 << 16
"""Pairs compared at a time by one of several threads: 8 ms."""

BLOCK = 1 << 15
"""Pairs of groups compared at a time without numba: two blocks of 128 float32 numbers a pair, 32 MB together."""


class Groups:
    """Groups of faces while they grow. Group i starts with face i; a group that joins another keeps its number, empty.

    Attributes
    ----------
    sums
        (n, 128) float32, the sum of each group's unit vectors.
    sizes
        (n,) int64, how many vectors that is; 0 for a group that has joined another.
    links
        (n,) int64: groups of equal link hold faces that the user gave to one person, however far apart they lie.
    persons
        (n,) int64 by link: the user's person, or -1.
    named
        Whether the user said anything of anybody.
    names
        (n,) int64 the numbers of these groups in the whole of which they are a part (`part`); None for a whole.
    """

    def __init__(self, X: FloatArray, constraints: Constraints) -> None:
        """Take (n, 128) float32 unit vectors, which become the sums: the array is changed from here on."""
        n = len(X)
        self.sums = X
        self.sizes = np.ones(n, dtype=np.int64)
        self.names: IntArray | None = None
        self.links = np.arange(n, dtype=np.int64)
        self.persons = constraints.persons.copy()
        named = np.flatnonzero(constraints.persons >= 0)
        _, first, number = np.unique(constraints.persons[named], return_index=True, return_inverse=True)
        self.links[named] = named[first[number]]
        self.named = bool(len(named))
        self._apart = keys_of(self.links[constraints.pairs])
        self._apart_ends: IntArray | None = None  # by link, where those whose smaller link it is end
        self._known: tuple[IntArray, ScoreArray] | None = None

    def between(self, pairs: IntArray) -> ScoreArray:
        """Mean similarity between the groups of each pair (k, 2), an array that nobody may change afterwards.

        Asked about the same array again, with no join in between, it gives the same answer at once.
        """
        if self._known is None or self._known[0] is not pairs:
            self._known = pairs, _mean_products(self.sums, self.sizes, pairs)
        return self._known[1]

    def remember(self, pairs: IntArray, values: ScoreArray) -> None:
        """Take the answers that `between` would give for these pairs as known."""
        self._known = pairs, values

    def forget(self) -> None:
        """Give the memory of the last answer back."""
        self._known = None

    def within(self, groups: IntArray) -> ScoreArray:
        """Mean similarity of the pairs inside each group (k,); 1 for a single face."""
        result = np.ones(len(groups), dtype=np.float64)
        many = self.sizes[groups] > 1
        groups = groups[many]
        sizes = self.sizes[groups]
        means = _mean_products(self.sums, self.sizes, np.stack([groups, groups], axis=1))
        result[many] = (sizes * means - 1) / (sizes - 1)
        return result

    def lengths(self, groups: IntArray) -> ScoreArray:
        """Lengths of the sums of groups (k,)."""
        means = _mean_products(self.sums, self.sizes, np.stack([groups, groups], axis=1))
        return np.asarray(np.sqrt(means) * self.sizes[groups])

    @property
    def free(self) -> bool:
        """Whether nothing forbids anything."""
        return not (self.named or len(self._apart))

    def may_join(self, pairs: IntArray) -> BoolArray:
        """Whether nothing forbids the groups of each pair (k, 2) to be one person."""
        if self.free:
            return np.ones(len(pairs), dtype=bool)
        if len(pairs) > SMALL:
            free = np.empty(len(pairs), dtype=bool)
            if self._apart_ends is None:
                self._apart_ends = np.cumsum(np.bincount(self._apart >> SHIFT, minlength=len(self.links)))
            given = self.links, self.persons, self._apart, self._apart_ends, SHIFT
            _in_parts(lambda ends, result: compiled(_joining.free)(ends, *given, result), pairs, free)
            return free
        links = self.links[pairs]
        left, right = self.persons[links[:, 0]], self.persons[links[:, 1]]
        free = (left < 0) | (right < 0) | (left == right)
        if len(self._apart):
            wanted = np.minimum(links[:, 0], links[:, 1]) << SHIFT | np.maximum(links[:, 0], links[:, 1])
            place = np.searchsorted(self._apart, wanted).clip(max=len(self._apart) - 1)
            free &= self._apart[place] != wanted
        return np.asarray(free)

    def clashing(self, comers: IntArray, hosts: IntArray) -> IntArray:
        """Return (m, 2) positions of comers that are kept apart from each other, yet would join one host's link."""
        where = np.full(len(self.links), -1, dtype=np.int64)
        where[self.links[comers]] = np.arange(len(comers))
        if len(self._apart) > SMALL:
            both = np.empty((len(self._apart), 2), dtype=np.int64)
            at = both[: compiled(_joining.both_known)(self._apart, SHIFT, where, both)]
        else:
            at = where[_ends(self._apart)]
            at = at[(at >= 0).all(axis=1)]
        goal = self.links[hosts][at]
        return np.asarray(at[goal[:, 0] == goal[:, 1]])

    def join(self, keep: IntArray, gone: IntArray) -> None:
        """Join each group of `gone` (k,), all different, to that of `keep`, none of which is in `gone`."""
        self._known = None
        for i in range(0, len(keep), BLOCK):
            add_rows(self.sums, keep[i : i + BLOCK], self.sums[gone[i : i + BLOCK]])
        np.add.at(self.sizes, keep, self.sizes[gone])
        self.sizes[gone] = 0
        self._join_links(self.links[keep], self.links[gone])

    def collapse(self) -> None:
        """Make each group count as one face, of the direction of its sum."""
        grown = np.flatnonzero(self.sizes > 1)
        self._known = None
        self.sums[grown] = unit(self.sums[grown])
        self.sizes[grown] = 1

    def part(self, numbers: IntArray) -> Groups:
        """Return the groups of these numbers (m,), ascending, as groups 0 to m - 1 of their own."""
        own = self.links[numbers]
        links, place = among(own, len(self.links))
        pairs = place[_ends(self._apart)]
        pairs = pairs[(pairs >= 0).all(axis=1)]
        persons = np.full(len(numbers), -1, dtype=np.int64)
        persons[: len(links)] = self.persons[links]
        part = object.__new__(Groups)
        part.sums, part.sizes = self.sums[numbers], self.sizes[numbers]
        part.names = numbers if self.names is None else self.names[numbers]
        part.links, part.persons, part.named = place[own], persons, bool((persons >= 0).any())
        part._apart, part._apart_ends, part._known = pairs[:, 0] << SHIFT | pairs[:, 1], None, None
        return part

    def put_back(self, numbers: IntArray, part: Groups) -> None:
        """Take in what has become of the part of these numbers (m,)."""
        self._known = None
        for i in range(0, len(numbers), BLOCK):
            self.sums[numbers[i : i + BLOCK]] = part.sums[i : i + BLOCK]
        self.sizes[numbers] = part.sizes
        own = self.links[numbers]
        links, _ = among(own, len(self.links))
        target = np.empty(len(self.links), dtype=np.int64)
        target[own] = links[part.links]
        self._join_links(target[links], links)

    def whole(self, pairs: IntArray) -> IntArray:
        """Return pairs (k, 2) by the numbers that the groups have in the whole."""
        return pairs if self.names is None else self.names[pairs]

    def _join_links(self, keep: IntArray, gone: IntArray) -> None:
        n = len(self.links)
        differ = keep != gone
        keep, gone = keep[differ], gone[differ]
        target = np.arange(n, dtype=np.int64)
        target[gone] = keep
        np.maximum.at(self.persons, keep, self.persons[gone])
        self.links = target[self.links]
        self._apart_ends = None
        if len(self._apart) > SMALL:
            if compiled(_joining.renumber)(self._apart, SHIFT, target):
                self._apart.sort()
        elif len(self._apart):
            ends = target[_ends(self._apart)]
            self._apart = np.sort(np.minimum(ends[:, 0], ends[:, 1]) << SHIFT | np.maximum(ends[:, 0], ends[:, 1]))


def neighbouring(indices: NDArray[np.int32], labels: IntArray) -> IntArray:
    """Return, as `unique_pairs` does, the pairs of what faces and their neighbours (n, k), -1 for none, have become.

    `labels` (n,) is what each face has become.
    """
    n, k = indices.shape
    if n <= SMALL:
        rows, columns = np.nonzero(indices >= 0)
        return unique_pairs(labels[np.stack([rows, indices[rows, columns]], axis=1)])
    keys = np.empty(n * k, dtype=np.int64)
    keys = keys[: compiled(_joining.list_pairs)(indices, labels, SHIFT, keys)]
    keys.sort()
    pairs = np.empty((np.count_nonzero(keys[1:] != keys[:-1]) + min(len(keys), 1), 2), dtype=np.int64)
    compiled(_joining.unpack)(keys, SHIFT, pairs)
    return pairs


def unique_pairs(pairs: IntArray) -> IntArray:
    """Return each pair of two different groups once, the smaller number first, in rising order."""
    ends = _ends(keys_of(pairs))
    differ = ends[:, 0] != ends[:, 1]
    return ends if differ.all() else rows_where(ends, differ)


def keys_of(pairs: IntArray) -> IntArray:
    """Return the pairs as numbers that sort as they do, each once, in rising order."""
    keys = np.minimum(pairs[:, 0], pairs[:, 1]).astype(np.int64)
    keys <<= SHIFT
    keys |= np.maximum(pairs[:, 0], pairs[:, 1])
    keys.sort()
    return _each_once(keys)


def rows_where(pairs: IntArray, mask: BoolArray) -> IntArray:
    """Return `pairs[mask]` (m, 2) in a third of the time."""
    return np.asarray(np.compress(mask, pairs, axis=0))


def among(values: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Return the numbers (m,) of 0 to n - 1 that are among the values, ascending, and (n,) each one's place, or -1."""
    present = np.zeros(n, dtype=bool)
    present[values] = True
    numbers = np.flatnonzero(present)
    place = np.full(n, -1, dtype=np.int64)
    place[numbers] = np.arange(len(numbers))
    return numbers, place


def _each_once(keys: IntArray) -> IntArray:
    new = np.ones(len(keys), dtype=bool)  # numpy's own unique is several times slower
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return keys if new.all() else keys[new]


def _ends(keys: IntArray) -> IntArray:
    pairs = np.empty((len(keys), 2), dtype=np.int64)
    np.right_shift(keys, SHIFT, out=pairs[:, 0])
    np.bitwise_and(keys, (1 << SHIFT) - 1, out=pairs[:, 1])
    return pairs


def unit(vectors: FloatArray) -> FloatArray:
    """Return (n, d) vectors of length 1; those of no length stay."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12)))


def add_rows(sums: NDArray[Any], places: IntArray, vectors: FloatArray) -> None:
    """Add each of the vectors (k, d) to the row of `sums` that is its place (k,); a place may be named repeatedly."""
    if len(sums) <= SMALL:
        np.add.at(sums, places, vectors)
    else:
        compiled(_joining.add)(sums, places, vectors)


def similarities(X: FloatArray, labels: IntArray, sums: NDArray[Any]) -> ScoreArray:
    """Return (n,) the dot product of each row with the row of `sums` that its label (n,) names; 0 without a label."""
    result = np.zeros(len(X), dtype=np.float64)
    if len(X) > SMALL:
        compiled(_joining.compare)(X, labels, sums, result)
        return result
    (held,) = np.nonzero(labels >= 0)
    result[held] = np.einsum("ij,ij->i", X[held], sums[labels[held]])
    return result


def _mean_products(sums: FloatArray, sizes: IntArray, pairs: IntArray) -> ScoreArray:
    """Return (k,) the dot product of the two rows of `sums` that each pair (k, 2) names, over the product of sizes."""
    result = np.empty(len(pairs), dtype=np.float64)
    if len(sums) > SMALL:
        _in_parts(lambda ends, products: compiled(_joining.multiply)(sums, sizes, ends, products), pairs, result)
        return result
    for i in range(0, len(pairs), BLOCK):
        left, right = pairs[i : i + BLOCK].T
        result[i : i + BLOCK] = np.einsum("ij,ij->i", sums[left], sums[right]) / (sizes[left] * sizes[right])
    return result


def _in_parts(kernel: Callable[[IntArray, NDArray[Any]], None], pairs: IntArray, result: NDArray[Any]) -> None:
    """Have a kernel fill in the result (k,) of pairs (k, 2), in several threads where they are many."""
    pairs = np.ascontiguousarray(pairs)
    if len(pairs) <= PART:
        kernel(pairs, result)
        return

    def task(part: slice) -> Task:
        def work(_thread: int, stop: Event) -> None:
            if not stop.is_set():
                kernel(pairs[part], result[part])

        return work

    run([task(slice(start, start + PART)) for start in range(0, len(pairs), PART)])

"""Groups of faces that grow by joining, at the cost of a few dot products a question.

Pure on arrays. A group is known by the sum of its unit vectors and their number: the mean similarity (cosine) of all
pairs between two groups is the dot product of the sums over the product of the numbers, so a question about thousands
of faces costs 128 multiplications. Groups join in rounds: in each, every two groups that are each other's best partner
join at once (reciprocal agglomerative clustering, Sumengen et al. 2021, arXiv:2105.11653). For average linkage that
gives the same result as joining the best pair of all one at a time, in far fewer steps.
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

SLACK = 0.03
"""A join may be made before another of an affinity greater by this much. At 0 the result is that of one join at a
time."""

PART = 1 << 16
"""Pairs compared at a time by one of several threads: 8 ms."""

PART_OF_GROUPS = 0.25
"""With fewer groups in question than this share, they are copied."""

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


Affinity = Callable[[Groups, IntArray], ScoreArray]
"""How surely the two groups of each pair (k, 2) are one person: they may join at 0 and above."""


def agglomerate(groups: Groups, pairs: IntArray, affinity: Affinity) -> IntArray:
    """Join groups along the pairs (k, 2), and what they turn into, until no two that may join have an affinity of 0.

    The pairs are as `unique_pairs` returns them.

    Changes `groups`. Returns (n,) int64: the group that each group is part of now.
    """
    score = _permitted(groups, pairs, affinity(groups, pairs))
    groups.forget()
    return _joined(groups, pairs.copy(), score, affinity)


def _joined(groups: Groups, pairs: IntArray, score: ScoreArray, affinity: Affinity) -> IntArray:
    """Do what `agglomerate` does, with pairs whose score is known; the arrays are overwritten.

    Once only a small part of the groups is still in question, that part is looked at by itself: what a round costs then
    follows from the part's size.
    """
    n = len(groups.sizes)
    labels = np.arange(n, dtype=np.int64)
    while True:
        if 2 * np.count_nonzero(score >= 0) < len(pairs):
            pairs, score = _alive(pairs, score, n)
        if len(pairs) < n and n > SMALL:
            numbers, place = among(pairs, n)
            if len(numbers) < PART_OF_GROUPS * n:
                part = groups.part(numbers)
                moved = np.arange(n, dtype=np.int64)
                moved[numbers] = numbers[_joined(part, place[pairs], score, affinity)]
                groups.put_back(numbers, part)
                return np.asarray(moved[labels])
        comers, hosts, values = _best_partners(groups, pairs, score)
        if not len(comers):
            return labels
        target = attach(groups, comers, hosts, values)
        labels = target[labels]
        moved = target != np.arange(n)
        changed = moved.copy()
        changed[target[moved]] = True
        pairs, score, known = renamed(pairs, score, target, changed)
        score[known:] = _permitted(groups, pairs[known:], affinity(groups, pairs[known:]))


def _permitted(groups: Groups, pairs: IntArray, score: ScoreArray) -> ScoreArray:
    """Return the score (k,), and -inf where something forbids the groups of the pair (k, 2) to join."""
    if groups.free:
        return score
    (rows,) = np.nonzero(score >= 0)
    rows = rows[~groups.may_join(pairs.take(rows, axis=0))]
    result = score.copy() if len(rows) else score
    result[rows] = -np.inf
    return result


def _alive(pairs: IntArray, score: ScoreArray, n: int) -> tuple[IntArray, ScoreArray]:
    """Return the pairs (k, 2), and their score, of which at least one group has a pair that scores 0 or more.

    The others fall short and can no more change. The arrays `pairs` and `score` are overwritten, to spare memory.
    """
    passing = np.zeros(n, dtype=bool)
    if len(pairs) > SMALL:
        count = compiled(_joining.prune)(pairs, score, passing)
        return pairs[:count], score[:count]
    passing[pairs[score >= 0]] = True
    alive = passing[pairs].any(axis=1)
    return pairs[alive], score[alive]


def renamed(
    pairs: IntArray, score: ScoreArray, target: IntArray, changed: BoolArray
) -> tuple[IntArray, ScoreArray, int]:
    """Return the pairs (k, 2) of groups that have not changed, then those that the others turn into, and their score.

    `target` (n,) is what each group is part of now, `changed` (n,) whether it or that group is another than before. The
    arrays `pairs` and `score` are overwritten, to spare memory; the results are parts of them. The last result is how
    many pairs have not changed: the score of those behind them is not known.
    """
    if len(pairs) > SMALL:
        keys = np.empty(len(pairs), dtype=np.int64)
        count, other = compiled(_joining.rename)(pairs, score, target, changed, SHIFT, keys)
        keys = keys[:other]
        keys.sort()
        more = compiled(_joining.unpack)(keys, SHIFT, pairs[count:])
    else:
        touched = changed[pairs[:, 0]] | changed[pairs[:, 1]]
        fresh = unique_pairs(target[pairs[touched]])
        count, more = len(pairs) - int(touched.sum()), len(fresh)
        pairs[:count], score[:count] = pairs[~touched], score[~touched]
        pairs[count : count + more] = fresh
    return pairs[: count + more], score[: count + more], count


def attach(groups: Groups, comers: IntArray, hosts: IntArray, score: ScoreArray) -> IntArray:
    """Join each group of `comers` (k,), all different, to the host beside it (k,), none of which is a comer.

    Of comers that must not be together the one of the greater score goes; so does at most one of the comers that hold
    the user's word. Changes `groups`. Returns (n,) int64: the group that each group is part of now.
    """
    labels = np.arange(len(groups.sizes), dtype=np.int64)
    order = np.lexsort((comers, -score))
    order = order[groups.may_join(np.stack([comers, hosts], axis=1)[order])]
    comers, hosts = comers[order], hosts[order]
    links, goals = groups.links[comers], groups.links[hosts]
    settled = links == goals
    # A comer that holds the user's word brings its whole person along: one a person, and one a goal. Within a person
    # there is nothing to bring.
    named = (groups.persons[links] >= 0) & ~settled
    chosen = np.intersect1d(_first_places(links, named), _first_places(goals, named))
    free = ~named
    free[chosen] = True
    free &= ~np.isin(goals, links[chosen])
    if not free.any():
        free[:1] = True
    comers, hosts, settled = comers[free], hosts[free], settled[free]
    moving = np.flatnonzero(~settled)
    free = np.ones(len(comers), dtype=bool)
    free[moving[groups.clashing(comers[moving], hosts[moving]).max(axis=1)]] = False
    comers, hosts = comers[free], hosts[free]
    groups.join(hosts, comers)
    labels[comers] = hosts
    return labels


def unite(groups: Groups, numbers: IntArray) -> IntArray:
    """Join the groups of equal number (n,) >= 0, as far as nothing forbids it.

    Changes `groups`. Returns (n,) int64: the group that each group is part of now.
    """
    labels = np.arange(len(numbers), dtype=np.int64)
    left = np.flatnonzero(numbers >= 0)
    # A face of which the user said something is the host: it brings nobody along, so many can join at once.
    left = left[np.lexsort((left, groups.persons[groups.links[left]] < 0, numbers[left]))]
    while len(left):
        _, first, number = np.unique(numbers[left], return_index=True, return_inverse=True)
        comers = np.delete(left, first)
        hosts = left[first[np.delete(number, first)]]
        moved = attach(groups, comers, hosts, np.zeros(len(comers)))
        labels = moved[labels]
        gone = moved[left] != left
        busy = np.zeros(len(first), dtype=bool)  # a host that took nobody in takes nobody in later
        busy[number[gone]] = True
        keep = ~gone
        keep[first[~busy]] = False
        left = left[keep]
    return labels


def _first_places(values: IntArray, chosen: BoolArray) -> IntArray:
    """Return the places at which each value of the chosen ones first stands."""
    places = np.flatnonzero(chosen)
    return np.asarray(places[np.unique(values[places], return_index=True)[1]])


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


def _each_once(keys: IntArray) -> IntArray:
    new = np.ones(len(keys), dtype=bool)  # numpy's own unique is several times slower
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return keys if new.all() else keys[new]


def among(values: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Return the numbers (m,) of 0 to n - 1 that are among the values, ascending, and (n,) each one's place, or -1."""
    present = np.zeros(n, dtype=bool)
    present[values] = True
    numbers = np.flatnonzero(present)
    place = np.full(n, -1, dtype=np.int64)
    place[numbers] = np.arange(len(numbers))
    return numbers, place


def _ends(keys: IntArray) -> IntArray:
    pairs = np.empty((len(keys), 2), dtype=np.int64)
    np.right_shift(keys, SHIFT, out=pairs[:, 0])
    np.bitwise_and(keys, (1 << SHIFT) - 1, out=pairs[:, 1])
    return pairs


def _best_partners(groups: Groups, pairs: IntArray, score: ScoreArray) -> tuple[IntArray, IntArray, ScoreArray]:
    """Return the joins of one round: groups that go, the groups they go to, and their affinity.

    Of two groups that are each other's best partner the larger one is the host. A host also takes those whose best
    partner it is and that fit it nearly as well (`SLACK`), or a person's thousand photos would need a thousand rounds.
    """
    n = len(groups.sizes)
    rows, best = _best_rows(pairs, score, n)
    if groups.named and not groups.may_join(pairs.take(rows, axis=0)).all():  # other joins have taken persons along
        score = _permitted(groups, pairs, score)
        rows, best = _best_rows(pairs, score, n)
    ends, score = pairs.take(rows, axis=0), score[rows]
    mutual = best.all(axis=1)
    pair = ends[mutual]
    swap = groups.sizes[pair[:, 1]] > groups.sizes[pair[:, 0]]
    host_of = np.where(swap, pair[:, 1], pair[:, 0])
    top = np.full(n, np.inf)
    top[host_of] = score[mutual]
    bound = np.zeros(n, dtype=bool)
    bound[pair] = True
    near = score[:, None] >= top[ends] - SLACK  # column 0: the left end is a host that the pair nearly fits best
    near &= best[:, ::-1] & ~bound[ends[:, ::-1]]
    left, right = near.T
    comers = np.concatenate([np.where(swap, pair[:, 0], pair[:, 1]), ends[left, 1], ends[right, 0]])
    hosts = np.concatenate([host_of, ends[left, 0], ends[right, 1]])
    return comers, hosts, np.concatenate([score[mutual], score[left], score[right]])


def _best_rows(pairs: IntArray, score: ScoreArray, n: int) -> tuple[IntArray, BoolArray]:
    """Return the rows (m,) of `pairs` (k, 2) that score 0 or more and have the greatest score of one of their groups.

    Of equal scores it is the first row's. Beside it (m, 2) of which of the two groups.
    """
    top = np.full(n, -np.inf)
    if len(pairs) > SMALL:
        rows, best = np.empty(n, dtype=np.int64), np.empty((n, 2), dtype=bool)
        count = compiled(_joining.find_best)(pairs, score, top, np.full(n, -1, dtype=np.int32), rows, best)
        return rows[:count], best[:count]
    (fit,) = np.nonzero(score >= 0)
    ends, score = pairs[fit], score[fit]
    for side in range(2):
        np.maximum.at(top, ends[:, side], score)
    first = np.full(n, len(ends), dtype=np.int64)
    for side in range(2):
        rows = np.flatnonzero(score == top[ends[:, side]])
        np.minimum.at(first, ends[rows, side], rows)
    best = first[ends] == np.arange(len(ends))[:, None]
    chosen = best.any(axis=1)
    return fit[chosen], best[chosen]


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

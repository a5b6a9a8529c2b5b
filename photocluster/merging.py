"""Groups of faces that grow by joining, in rounds.

Pure on arrays. In each round every two groups that are each other's best partner join at once (reciprocal agglomerative
clustering, Sumengen et al. 2021, arXiv:2105.11653). For average linkage that gives the same result as joining the best
pair of all one at a time, in far fewer steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from photocluster import _joining
from photocluster._kernels import compiled
from photocluster.constraints import BoolArray
from photocluster.graph import SMALL
from photocluster.groups import SHIFT, Groups, ScoreArray, among, unique_pairs
from photocluster.records import IntArray

SLACK = 0.03
"""A join may be made before another of an affinity greater by this much. At 0 the result is that of one join at a
time."""

PART_OF_GROUPS = 0.25
"""With fewer groups in question than this share, they are copied."""

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

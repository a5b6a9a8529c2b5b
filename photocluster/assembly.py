"""From the neighbour graph to people, in stages; each judges groups that the stage before made.

Pure on arrays.

1. Near-duplicates (bursts, copies, the frames of a video in which the tracker followed one face) become one point
   each: they are weak evidence of each other, and would otherwise be the densest clusters of all.
2. HDBSCAN's tree of the points, cut at an absolute ceiling, says which points it would put together (`tree_labels`).
3. Groups that are surely one person form by average linkage.
4. Groups join whose ratio is great enough and stands out from the background (`judgement`). Where one of the two is a
   scrap, whose ratio may be small by chance, and the tree has it in one cluster with the other, less of a ratio will
   do.
5. Single faces and scraps join the group to which they probably belong (`attachment`); weak faces (of low quality, or
   from videos) only come in here.

What must not be together (`constraints`) never joins at any stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photocluster._tiles import Progress
from photocluster.attachment import HELD, SAME_DAY, attachments, group_means
from photocluster.constraints import BoolArray
from photocluster.graph import MANY_NEW, NeighbourGraph, nearest_among, neighbour_graph
from photocluster.groups import BLOCK, Groups, ScoreArray, neighbouring, rows_where, unique_pairs, unit
from photocluster.hierarchy import condense, select, single_linkage
from photocluster.judgement import Background, background, ratio
from photocluster.merging import Affinity, agglomerate, attach, renamed, unite
from photocluster.records import FloatArray, IntArray
from photocluster.spanning import spanning_tree

TREE_MIN_CLUSTER_SIZE = 5
"""The least cluster of HDBSCAN that counts as a witness; 3 and 5 make no odds."""

TREE_NEIGHBOURS = 8
"""Neighbours of a point that the tree is made of; more of them have changed none of its clusters."""

SCRAP = 3
"""Groups of up to this many points may be attached to a greater one, and for them the tree's word counts. Between
greater ones it does not: it has two look-alikes in one cluster, too. In 120 random libraries of LFW, web photos and a
band, 67 pairs of groups of four and more with a ratio from .50 to .65 were two people, and 6 one."""

ROUNDS = 2
"""How often each judgement is made anew with the background that its joins have changed; a third time changes
nothing."""

MIN_SIMILARITY = 0.2
"""Groups of less mean similarity are never one person: two random people reach it in 1.5 % of pairs (MODELS.md,
1.26)."""

FEW_NEIGHBOURS = 4
"""A point that has fewer neighbours than this, since its faces' neighbours are its own copies or weak, is compared with
all others."""

CENTRE_NEIGHBOURS = 16
"""Neighbours of a group's centre among the centres, which its faces' own neighbours, being of the group, do not
show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The thresholds of the stages; see `clustering.FaceClusterer` for what each means and where it comes from."""

    duplicate_distance: float
    sure_distance: float
    max_distance: float
    min_samples: int
    min_ratio: float
    tree_ratio: float
    min_contrast: float
    min_probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """The outcome.

    Attributes
    ----------
    labels
        (n,) int64, the group of each face.
    outlier_scores
        (n,) float64, 0..1, from HDBSCAN's tree.
    pairs
        (m, 2) int64, neighbouring groups.
    """

    labels: IntArray
    outlier_scores: ScoreArray
    pairs: IntArray


def assemble(
    groups: Groups,
    graph: NeighbourGraph,
    rules: Rules,
    *,
    copies: IntArray,
    weak: BoolArray,
    quality: ScoreArray,
    days: IntArray,
    progress: Progress | None = None,
) -> Assembly:
    """Join single faces to people.

    Parameters
    ----------
    groups
        One for each face; changed.
    graph
        Of the faces, in the same order.
    rules
        The thresholds.
    copies
        (n,) faces of equal numbers >= 0 are one face of one moment.
    weak
        (n,) whether a face may only join what the others made.
    quality
        (n,) 0..1, NaN where not known.
    days
        (n,) the day on which a face was taken, -1 where not known.
    progress
        Called now and then with the finished share, 0..1.
    """
    n = len(groups.sizes)
    report = progress or (lambda _share: None)
    labels = unite(groups, copies)
    groups.collapse()
    rows, columns = np.nonzero((graph.distances < 1.5 * rules.duplicate_distance) & (graph.indices >= 0))
    near = unique_pairs(labels[np.stack([rows, graph.indices[rows, columns]], axis=1)])
    labels = agglomerate(groups, near, mean_distance_below(rules.duplicate_distance))[labels]
    groups.collapse()
    points = np.unique(labels)
    strong = np.zeros(n, dtype=bool)
    strong[labels[~weak]] = True  # a point is weak if all its faces are
    found = _compared_anew(groups.sums, graph, labels, strong)
    report(0.05)
    tree, outlier_scores = tree_labels(groups.sums, graph, labels, rules, strong, found)
    report(0.25)

    pairs = neighbouring(graph.indices, labels)
    if len(found.points):
        pairs = unique_pairs(np.concatenate([pairs, found.pairs()]))
    bold = strong[pairs[:, 0]] & strong[pairs[:, 1]]
    timid = pairs[strong[pairs[:, 0]] != strong[pairs[:, 1]]]
    state = _State(groups, labels, pairs if bold.all() else pairs[bold])
    del pairs  # as many numbers as the neighbour graph has, twice
    state.advance(agglomerate(groups, state.pairs, mean_distance_below(rules.sure_distance)))
    state.look_up_centres(strong)
    report(0.65)
    for _ in range(ROUNDS):
        for witness in (None, tree):
            level, known = state.background(), groups.between(state.pairs)
            agree = None if witness is None else Agreement(state.labels[points], witness[points], n)
            state.advance(agglomerate(groups, state.pairs, likeness(level, rules, agree)), known)
    report(0.85)
    if not strong[points].all():
        whole = np.arange(n)
        whole[points] = state.labels[points]
        hosts = _nearest_hosts(groups, points[~strong[points]])
        state.pairs = unique_pairs(np.concatenate([state.pairs, whole[timid], hosts]))
    for _ in range(ROUNDS):
        known = groups.between(state.pairs)
        state.advance(_attach_scraps(state, rules, quality, days), known)
    return Assembly(state.labels, outlier_scores, state.pairs)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Points (k,) that were compared with others, and their neighbours: names of points (k, m), -1 for none."""

    points: IntArray
    graph: NeighbourGraph

    def pairs(self) -> IntArray:
        indices = self.graph.indices
        pairs = np.stack([np.repeat(self.points, indices.shape[1]), indices.ravel()], axis=1)
        return np.asarray(pairs[pairs[:, 1] >= 0], dtype=np.int64)


def _compared_anew(X: FloatArray, graph: NeighbourGraph, labels: IntArray, strong: BoolArray) -> _Found:
    """Compare the strong points that know next to no other with all of them.

    So it goes where a face has more copies than the graph has neighbours, or is filmed for an hour.
    """
    points = np.flatnonzero((labels == np.arange(len(labels))) & strong)
    short = np.zeros(len(points), dtype=bool)
    for start in range(0, len(points), BLOCK):
        rows = points[start : start + BLOCK]
        other = labels[graph.indices[rows]]
        other[(graph.indices[rows] < 0) | ~strong[other]] = -1
        other[other == rows[:, None]] = -1
        seldom = np.flatnonzero((other >= 0).sum(axis=1) < other.shape[1])
        known = np.sort(other[seldom], axis=1)
        number = (known[:, :1] >= 0).sum(axis=1) + ((known[:, 1:] != known[:, :-1]) & (known[:, 1:] >= 0)).sum(axis=1)
        short[start + seldom] = number < min(FEW_NEIGHBOURS, len(points) - 1)
    lacking = points[short]
    if len(lacking) <= MANY_NEW:
        return _Found(lacking, nearest_among(X, lacking, points, TREE_NEIGHBOURS))
    whole = neighbour_graph(X[points], TREE_NEIGHBOURS)
    named = np.append(points, -1)[whole.indices[short]].astype(np.int32)
    return _Found(lacking, NeighbourGraph(named, whole.distances[short], whole.exact))


def _nearest_hosts(groups: Groups, weak: IntArray) -> IntArray:
    """Return pairs (m, 2) of each weak point and the larger groups whose centres are nearest to it."""
    held = np.flatnonzero(groups.sizes >= HELD)
    centres = unit(np.concatenate([groups.sums[held], groups.sums[weak]]))
    rows = np.arange(len(held), len(centres))
    indices = nearest_among(centres, rows, np.arange(len(held)), CENTRE_NEIGHBOURS).indices
    return np.stack([np.repeat(weak, indices.shape[1]), held[indices.ravel()]], axis=1)


class _State:
    """The group of each face, and the pairs of neighbouring groups, each once."""

    def __init__(self, groups: Groups, labels: IntArray, pairs: IntArray) -> None:
        self.groups = groups
        self.labels = labels
        self.pairs = pairs

    def advance(self, moved: IntArray, known: ScoreArray | None = None) -> None:
        """Take in that each group i has become part of group moved[i].

        `known` is the mean similarity of each of the pairs before; what it was between groups that have not changed is
        not asked for again.
        """
        changed = moved != np.arange(len(moved))
        if not changed.any():
            return
        self.labels = moved[self.labels]
        changed[moved[changed]] = True
        values = np.empty(len(self.pairs)) if known is None else known
        pairs, values, count = renamed(self.pairs, values, moved, changed)
        if 2 * len(pairs) < len(self.pairs):
            pairs, values = pairs.copy(), values.copy()  # to give memory back
        self.pairs = pairs
        if known is not None:
            values[count:] = self.groups.between(pairs[count:])
            self.groups.remember(pairs, values)

    def look_up_centres(self, strong: BoolArray) -> None:
        """Add the pairs of larger groups whose centres are neighbours."""
        held = np.flatnonzero((self.groups.sizes >= HELD) & strong)
        if len(held) < 2:
            return
        centres = unit(self.groups.sums[held])
        indices = neighbour_graph(centres, CENTRE_NEIGHBOURS).indices
        found = np.stack([np.repeat(held, indices.shape[1]), held[indices.ravel()]], axis=1)[indices.ravel() >= 0]
        self.pairs = unique_pairs(np.concatenate([self.pairs, found]))

    def background(self) -> Background:
        return background(self.pairs, ratio(self.groups, self.pairs), len(self.groups.sizes))


def mean_distance_below(distance: float) -> Affinity:
    """Return average linkage, cut where the mean squared distance is that of `distance`."""
    least = 1 - distance**2 / 2
    return lambda groups, pairs: groups.between(pairs) - least


class Agreement:
    """How much of two groups HDBSCAN's tree has in one cluster."""

    def __init__(self, labels: IntArray, tree: IntArray, n: int) -> None:
        """Take the group and the tree's label of each point, and the number of groups."""
        size = np.bincount(labels, minlength=n)
        known = tree >= 0
        keys, count = np.unique(labels[known] * (n + 1) + tree[known], return_counts=True)
        group = keys // (n + 1)
        most = np.lexsort((-count, group))
        first = np.unique(group[most], return_index=True)[1]
        chosen = most[first]
        self.main = np.full(n, -1, dtype=np.int64)
        clear = 2 * count[chosen] > size[group[chosen]]
        self.main[group[chosen][clear]] = keys[chosen][clear] % (n + 1)

    def of(self, pairs: IntArray) -> BoolArray:
        """Whether most of both groups of each pair (k, 2) lies in one cluster of the tree."""
        left, right = self.main[pairs].T
        return np.asarray((left == right) & (left >= 0))


def likeness(level: Background, rules: Rules, agreement: Agreement | None) -> Affinity:
    """Return how far the ratio of two groups lies above what it must be, -1 where it does not stand out."""

    def judge(groups: Groups, pairs: IntArray) -> ScoreArray:
        values = ratio(groups, pairs)
        seen = level.contrast(groups, pairs, values) >= rules.min_contrast
        if agreement is None:
            return np.asarray(np.where(seen, values - rules.min_ratio, -1.0))
        left, right = groups.sizes[pairs[:, 0]], groups.sizes[pairs[:, 1]]
        smaller, greater = np.minimum(left, right), np.maximum(left, right)
        fit = (smaller <= SCRAP) & (greater > SCRAP) & agreement.of(groups.whole(pairs))
        fit &= groups.between(pairs) >= MIN_SIMILARITY
        doubt = (rules.min_ratio - rules.tree_ratio) / np.sqrt(smaller)
        return np.asarray(np.where(seen, values - rules.min_ratio + np.where(fit, doubt, 0), -1.0))

    return judge


def _attach_scraps(state: _State, rules: Rules, quality: ScoreArray, days: IntArray) -> IntArray:
    """Attach scraps to the greater groups that they fit; return what each group is part of now."""
    groups = state.groups
    pairs = _scraps_and_hosts(groups, state.pairs)
    evidence = SAME_DAY * _share_a_day(pairs, state.labels, days)
    found = attachments(groups, pairs, group_means(state.labels, quality), evidence.astype(np.float64))
    sure = found.probability >= rules.min_probability
    sure &= ~np.isin(found.hosts, found.comers[sure])
    return attach(groups, found.comers[sure], found.hosts[sure], found.probability[sure])


def _scraps_and_hosts(groups: Groups, pairs: IntArray) -> IntArray:
    """Return the pairs (k, 2) of a scrap and a group that may take it in."""
    left, right = groups.sizes[pairs].T
    found = []
    for scrap, host, turn in ((left, right, 1), (right, left, -1)):
        fit = (scrap <= SCRAP) & (host >= 2) & (host >= scrap)
        if turn < 0:
            fit &= left != right  # of two equals the first comes to the second
        found.append(rows_where(pairs, fit)[:, ::turn])
    ends = np.concatenate(found)
    return rows_where(ends, groups.may_join(ends))


def _share_a_day(pairs: IntArray, labels: IntArray, days: IntArray) -> BoolArray:
    """Whether the two groups of each pair (k, 2) have faces of one day."""
    known = np.flatnonzero(days >= 0)
    result = np.zeros(len(pairs), dtype=bool)
    if len(known) and len(pairs):
        span = int(days.max()) + 1
        present = labels[known] * span + days[known]
        present.sort()
        first = np.searchsorted(present, np.arange(len(labels) + 1) * span)
        start = first[pairs[:, 0]]
        count = first[pairs[:, 0] + 1] - start  # faces of the first group whose day is known
        rows = np.repeat(np.arange(len(pairs)), count)
        place = np.arange(len(rows)) + np.repeat(start - (np.cumsum(count) - count), count)
        wanted = pairs[rows, 1] * span + present[place] % span
        found = np.searchsorted(present, wanted).clip(max=len(present) - 1)
        result[rows[present[found] == wanted]] = True
    return result


def tree_labels(
    X: FloatArray, graph: NeighbourGraph, labels: IntArray, rules: Rules, strong: BoolArray, found: _Found
) -> tuple[IntArray, ScoreArray]:
    """Return HDBSCAN's cluster of each point (n,), -1 for noise, and the outlier score of each face (n,).

    Parameters
    ----------
    X
        (n, 128) float32 unit vectors of the points, in the rows of their names.
    graph
        Of the faces.
    labels
        (n,) the point that each face has become.
    rules
        Of which `max_distance` and `min_samples` count here.
    strong
        (n,) the points that take part.
    found
        Neighbours of points, in place of those of the graph.
    """
    n = len(labels)
    clusters, scores = np.full(n, -1, dtype=np.int64), np.ones(n)
    points = np.flatnonzero((labels == np.arange(n)) & strong)
    if len(points) < 2:
        return clusters, scores
    place = np.full(n, -1, dtype=np.int32)
    place[points] = np.arange(len(points))
    k = max(TREE_NEIGHBOURS, rules.min_samples)
    indices, distances = _nearest_points(graph, points, place[labels], k)
    if len(found.points):
        rows, width = place[found.points], min(k, found.graph.indices.shape[1])
        indices[rows], distances[rows] = -1, 2
        named = found.graph.indices[:, :width]
        indices[rows, :width] = np.where(named >= 0, place[named], -1)
        distances[rows, :width] = np.where(named >= 0, found.graph.distances[:, :width], 2)
    nearest = NeighbourGraph(indices, distances, exact=False)
    tree = spanning_tree(X, nearest, min_samples=min(rules.min_samples, indices.shape[1]), rows=points)
    selection = select(condense(single_linkage(tree), TREE_MIN_CLUSTER_SIZE), max_distance=rules.max_distance)
    clusters[points] = selection.labels
    scores[points] = selection.outlier_scores
    return clusters, scores[labels]


def _nearest_points(
    graph: NeighbourGraph, points: IntArray, place: NDArray[np.int32], k: int
) -> tuple[NDArray[np.int32], FloatArray]:
    """Return the first k neighbours of each point that are points too, and their distances; else -1 and 2.

    `place` (n,) is the row in `points` of what each face has become.
    """
    k = min(k, graph.indices.shape[1])
    nearest = np.full((len(points), k), -1, dtype=np.int32)
    distances = np.full((len(points), k), 2, dtype=np.float32)
    for start in range(0, len(points), BLOCK):
        rows = points[start : start + BLOCK]
        listed = graph.indices[rows]
        other = np.where(listed >= 0, place[listed], -1)
        other[other == np.arange(start, start + len(rows))[:, None]] = -1
        order = np.argsort(other < 0, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(other, order, axis=1)
        nearest[start : start + BLOCK] = found
        distances[start : start + BLOCK] = np.where(found >= 0, np.take_along_axis(graph.distances[rows], order, 1), 2)
    return nearest, distances

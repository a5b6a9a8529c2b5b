"""FaceClusterer: groups of faces that are one person each, as a scikit-learn estimator.

HDBSCAN finds what is dense relative to its surroundings, and knows no distance that is too far for anyone, no photo in
which two faces are two people, and no user. The estimator puts those around its tree: see `assembly` for the stages,
`judgement` for how two groups are compared, `constraints` for what binds. `FaceClusterer.plain` is HDBSCAN alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import validate_data

from photocluster.assembly import Assembly, Rules, assemble
from photocluster.constraints import BoolArray, Constraints, gather
from photocluster.errors import UsageError
from photocluster.graph import NeighbourGraph, neighbour_graph
from photocluster.groups import Groups, ScoreArray, add_rows, similarities, unit
from photocluster.hierarchy import condense, select, single_linkage
from photocluster.judgement import ratio
from photocluster.records import NOISE, FloatArray, IntArray
from photocluster.spanning import spanning_tree

NEIGHBOURS = 16
"""Neighbours of each face that are looked at, from 12 to 32 the results are the same."""

CANDIDATES = 3
"""Partners that are named for each cluster."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class MergeCandidate:
    """Two clusters that may be one person.

    `ratio` is 1 where the faces of the two are as alike as those within each (`judgement`); `distance` is the Euclidean
    distance, 0..2, whose square is the mean over all pairs.
    """

    cluster: int
    other: int
    ratio: float
    distance: float


class FaceClusterer(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Groups faces into people. One set of defaults is meant to serve all libraries.

    Distances are those of SFace with the mean subtracted (photocluster's default recipe).

    Parameters
    ----------
    min_cluster_size
        Groups of fewer faces are noise.
    min_samples
        HDBSCAN's: the core distance is that to the so-manieth other point.
    max_distance
        Merges of HDBSCAN's tree above it count for nothing. At 1.2 one in 700 pairs of strangers passes, and 99.8 % of
        the pairs of one person (LFW).
    sure_distance
        Groups whose mean distance is below it are one person. At 1.0 two in a million pairs of strangers pass (LFW).
    min_ratio
        The least ratio (`judgement`) at which two groups join. Between look-alikes it reaches .56, between the halves
        of one person it is mostly .8 and more.
    tree_ratio
        The same for a single face that HDBSCAN has in one cluster with a group of four or more. Two and three faces
        need more of it: what they may lack to `min_ratio` falls with the root of their number. The default is
        `min_ratio` less the standard deviation of the ratio of one photo and its person, 0.16: of .78, .1 by the
        photo's own direction and .08 by its quality (`attachment`).
    min_contrast
        How far a ratio must stand out from the background, 0..1. At 0.35 about one in two hundred strangers gets a
        false partner, however many there are (synthetic albums of 60 thousand to a million faces); from 0.3 to 0.4 the
        results are nearly the same.
    min_probability
        The least probability (`attachment`) at which a face or scrap of up to three points that was left over joins a
        group. The estimate is a cautious one: of faces between 0.85 and 0.9 none of 91 was wrong in 240 random
        libraries, and 8 of 55 where a person with one to three photos looks like another with many.
    duplicate_distance
        Faces whose mean distance is below it count as one. Other photos of the person start at about 0.45.
    min_quality
        Faces of less quality (0..1) only join what the others made; 0.1 is a norm of 8.6 (`quality`), a face of 14
        pixels.
    extras
        False: HDBSCAN alone, as `plain`.

    Attributes
    ----------
    labels_
        int64 (n,): clusters 0, 1, ... by falling size; -1 is noise.
    probabilities_
        float64 (n,), 0..1: mean similarity of a face with the rest of its cluster, over that of the cluster's best
        face; 0 for noise. With `extras` off it is HDBSCAN's.
    outlier_scores_
        float64 (n,), 0..1: HDBSCAN's (GLOSH).
    merge_candidates_
        tuple of `MergeCandidate`, the likeliest first, up to three for each cluster, none that the constraints forbid.
    contradictions_
        tuple of `constraints.Contradiction`: the user's words that cannot all be true.
    """

    def __init__(
        self,
        *,
        min_cluster_size: int = 2,
        min_samples: int = 2,
        max_distance: float = 1.2,
        sure_distance: float = 1.0,
        min_ratio: float = 0.65,
        tree_ratio: float = 0.49,
        min_contrast: float = 0.35,
        min_probability: float = 0.85,
        duplicate_distance: float = 0.3,
        min_quality: float = 0.1,
        extras: bool = True,
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.max_distance = max_distance
        self.sure_distance = sure_distance
        self.min_ratio = min_ratio
        self.tree_ratio = tree_ratio
        self.min_contrast = min_contrast
        self.min_probability = min_probability
        self.duplicate_distance = duplicate_distance
        self.min_quality = min_quality
        self.extras = extras

    @classmethod
    def plain(cls, *, min_cluster_size: int = 5, min_samples: int = 5) -> Self:
        """Return HDBSCAN alone, on any vectors: no ceiling, no constraints, no judgement of whole groups."""
        return cls(min_cluster_size=min_cluster_size, min_samples=min_samples, extras=False)

    def fit(
        self,
        X: Any,
        y: object = None,
        *,
        photos: object = None,
        persons: object = None,
        rejected: object = None,
        different: object = None,
        quality: object = None,
        times: object = None,
        copies: object = None,
        anchors: object = None,
        graph: NeighbourGraph | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Cluster the faces. The result does not depend on their order.

        Parameters
        ----------
        X
            (n, 128) float32 of unit L2 norm, the model's mean subtracted. Other vectors are normalised first, unless
            `extras` is off.
        y
            Not used; scikit-learn's convention.
        photos
            (n,) int: faces with the same number >= 0 are in one photo, thus two people; -1 says nothing.
        persons
            (n,) int: the user's word. Faces with the same number >= 0 are one person, with different numbers two; -1
            unknown.
        rejected
            (m, 2) int: (face row, person number), "not this person": the face is in no cluster with one of its faces.
        different
            (m, 2) int: rows of two faces that the user told apart.
        quality
            (n,) float 0..1, NaN where not known.
        times
            (n,) float: days since any one date, NaN where not known. Evidence only.
        copies
            (n,) int: faces with the same number >= 0 are one face of one moment (copies of a photo, a burst, a track of
            a video) and count as one point of evidence. They are in one cluster unless what is above forbids it. -1
            says nothing.
        anchors
            (n,) bool: False for faces that may join people, but by themselves found none. The user's word about a face
            makes it an anchor.
        graph
            The neighbour graph of `X`, if there is one already.
        progress
            Called with the finished share (0..1) and what is being done.

        Raises
        ------
        UsageError
            An array of another shape or kind than these.
        """
        del y
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=0)
        constraints = gather(
            len(X), photos=photos, persons=persons, rejected=rejected, different=different, copies=copies
        )
        self.contradictions_ = constraints.contradictions
        if graph is not None and len(graph.indices) != len(X):
            raise UsageError(f"the graph has {len(graph.indices)} faces, X has {len(X)}")
        if not self.extras:
            return self._fit_plain(X, graph, progress)
        anchored = _anchored(anchors, len(X)) | (constraints.persons >= 0)
        known = _floats(quality, len(X), "quality")
        days = _days(_floats(times, len(X), "times"))
        return self._fit_faces(X, constraints, known, anchored, days, graph, progress)

    def _fit_plain(self, X: FloatArray, graph: NeighbourGraph | None, progress: Progress | None) -> Self:
        n = len(X)
        self.merge_candidates_: tuple[MergeCandidate, ...] = ()
        self.labels_ = np.full(n, NOISE, dtype=np.int64)
        self.probabilities_, self.outlier_scores_ = np.zeros(n), np.zeros(n)
        if n > max(1, self.min_cluster_size - 1):
            graph = graph or neighbour_graph(
                X, max(self.min_samples, 1), progress=_part(progress, "neighbours", 0, 0.6)
            )
            tree = spanning_tree(X, graph, min_samples=self.min_samples, progress=_part(progress, "tree", 0.6, 1))
            found = select(condense(single_linkage(tree), self.min_cluster_size))
            self.labels_, self.probabilities_ = found.labels, found.probabilities
            self.outlier_scores_ = found.outlier_scores
        return self

    def _fit_faces(
        self,
        X: FloatArray,
        constraints: Constraints,
        quality: ScoreArray,
        anchored: BoolArray,
        days: IntArray,
        graph: NeighbourGraph | None,
        progress: Progress | None,
    ) -> Self:
        n = len(X)
        # Whatever the order of the rows, the work is done in the order of their contents.
        order = _by_contents(X, constraints.persons)
        vectors = X[order]
        if n and np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1).max() > 1e-5:
            vectors = unit(vectors)
        report = progress or _silent
        if graph is None:
            graph = neighbour_graph(vectors, NEIGHBOURS, progress=_part(progress, "neighbours", 0, 0.6))
        else:
            graph = _reordered(graph, order)
        report(0.6, "people")
        groups = Groups(vectors, constraints.reordered(order))
        made = assemble(
            groups,
            graph,
            self._rules(),
            copies=constraints.copies[order],
            weak=((quality < self.min_quality) | ~anchored)[order],
            quality=quality[order],
            days=days[order],
            progress=_part(progress, "people", 0.6, 0.95),
        )
        report(0.95, "candidates")
        labels, groups_of = _numbered(groups.links[made.labels], anchored[order], self.min_cluster_size)
        self.labels_ = np.empty(n, dtype=np.int64)
        self.labels_[order] = labels
        self.outlier_scores_ = np.empty(n)
        self.outlier_scores_[order] = made.outlier_scores
        self.probabilities_ = _fits(X, self.labels_)
        self.merge_candidates_ = _candidates(groups, made, groups_of)
        report(1.0, "done")
        return self

    def _rules(self) -> Rules:
        return Rules(
            duplicate_distance=self.duplicate_distance,
            sure_distance=self.sure_distance,
            max_distance=self.max_distance,
            min_samples=self.min_samples,
            min_ratio=self.min_ratio,
            tree_ratio=self.tree_ratio,
            min_contrast=self.min_contrast,
            min_probability=self.min_probability,
        )


def _silent(_share: float, _what: str) -> None:
    pass


def _part(progress: Progress | None, what: str, start: float, end: float) -> Callable[[float], None] | None:
    if progress is None:
        return None
    return lambda share: progress(start + (end - start) * share, what)


def _floats(values: object, n: int, name: str) -> ScoreArray:
    if values is None:
        return np.full(n, np.nan)
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (n,):
        raise UsageError(f"{name} must be {n} numbers, one a face, not of shape {column.shape}")
    return column


def _anchored(anchors: object, n: int) -> BoolArray:
    if anchors is None:
        return np.ones(n, dtype=bool)
    column = np.asarray(anchors)
    if column.shape != (n,) or not (column.dtype == bool or column.size == 0):
        raise UsageError(f"anchors must be {n} booleans, one a face, not {column.dtype} of shape {column.shape}")
    return column.astype(bool)


def _days(times: ScoreArray) -> IntArray:
    """Return whole days from the first one on, -1 where not known."""
    known = np.isfinite(times)
    days = np.full(len(times), -1, dtype=np.int64)
    if known.any():
        days[known] = np.floor(times[known]) - np.floor(times[known].min())
    return days


def _by_contents(X: FloatArray, persons: IntArray) -> IntArray:
    """Return the order of the rows by their fourth number, equal ones by those before it, then by person."""
    leading = np.array(X[:, :4][:, -1])
    order = np.argsort(leading, kind="stable")
    leading = leading[order]
    same = np.zeros(len(X), dtype=bool)
    same[1:] = leading[1:] == leading[:-1]
    same[:-1] |= same[1:]
    tied = order[same]
    order[same] = tied[np.lexsort((persons[tied], *X[tied, :4].T))]
    return order


def _reordered(graph: NeighbourGraph, order: IntArray) -> NeighbourGraph:
    place = np.empty(len(order) + 1, dtype=np.int32)
    place[order], place[-1] = np.arange(len(order)), -1
    return NeighbourGraph(place[graph.indices[order]], graph.distances[order], graph.exact, graph.recall)


def _numbered(groups: IntArray, anchored: BoolArray, min_size: int) -> tuple[IntArray, IntArray]:
    """Return the clusters of the faces by falling size, noise -1, and (n,) the cluster of each group.

    A group of which no face is an anchor is noise.
    """
    names, first, place, size = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(names), dtype=np.int64)
    founded = np.zeros(len(names), dtype=bool)
    founded[place[anchored]] = True
    rank[np.lexsort((first, -size, ~founded))] = np.arange(len(names))
    number = np.where(founded & (size >= min_size), rank, NOISE)
    of_group = np.full(len(groups), NOISE, dtype=np.int64)
    of_group[names] = number
    return number[place] if len(groups) else groups, of_group


def _fits(X: FloatArray, labels: IntArray) -> ScoreArray:
    """Return (n,) the mean similarity of each face with the rest of its cluster, relative to the best face's."""
    held = labels >= 0
    size = np.bincount(labels[held])
    sums = np.zeros((len(size), X.shape[1]), dtype=np.float64)
    for start in range(0, len(labels), 1 << 16):
        part = slice(start, start + (1 << 16))
        add_rows(sums, labels[part][held[part]], X[part][held[part]])
    result = similarities(X, labels, sums)
    result[held] = (result[held] - 1) / np.maximum(size[labels[held]] - 1, 1)
    best = np.full(len(size), 1e-9)
    np.maximum.at(best, labels[held], result[held])
    result[held] /= best[labels[held]]
    return np.asarray(result.clip(0, 1))


def _candidates(groups: Groups, made: Assembly, number: IntArray) -> tuple[MergeCandidate, ...]:
    """Return the pairs of clusters that are likeliest to be one person, up to a few for each cluster."""
    cluster = number[groups.links]
    left, right = cluster[made.pairs[:, 0]], cluster[made.pairs[:, 1]]
    pairs = made.pairs[(left >= 0) & (right >= 0) & (left != right)]
    pairs = pairs[groups.may_join(pairs)]
    clusters = np.sort(cluster[pairs], axis=1)
    values, distances = ratio(groups, pairs), np.sqrt(np.maximum(2 - 2 * groups.between(pairs), 0))
    order = np.lexsort((clusters[:, 1], clusters[:, 0], -values))
    keys = clusters[order, 0] << 32 | clusters[order, 1]
    order = order[np.sort(np.unique(keys, return_index=True)[1])]
    order = order[(_ranks(clusters[order]) < CANDIDATES).any(axis=1)]
    columns = (clusters[order, 0], clusters[order, 1], values[order], distances[order])
    return tuple(map(MergeCandidate, *(column.tolist() for column in columns)))


def _ranks(pairs: IntArray) -> IntArray:
    """Return (k, 2) how many pairs before each hold the left one of its clusters, and how many the right one."""
    flat = pairs.ravel()
    order = np.argsort(flat, kind="stable")
    start = np.searchsorted(flat[order], flat[order])
    ranks = np.empty(len(flat), dtype=np.int64)
    ranks[order] = np.arange(len(flat)) - start
    return ranks.reshape(pairs.shape)

"""FaceClusterer: groups of faces that are one person each, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import validate_data

from photocluster.constraints import Contradiction, gather
from photocluster.merging import Groups, agglomerate
from photocluster.records import NOISE, FloatArray, IntArray

NEIGHBOURS = 32
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class MergeCandidate:
    """Two clusters that may be one person: their labels, and how alike they are (1.0 as alike as the faces within)."""

    cluster: int
    other: int
    ratio: float


class FaceClusterer(ClusterMixin, BaseEstimator):
    """Groups faces into people; its defaults are meant to be left alone.

    Parameters
    ----------
    min_cluster_size
        Groups of fewer faces are noise.
    min_samples
        Of HDBSCAN's core distance (counted without the face itself), where `extras` is False.
    max_distance
        Two faces further apart are never compared.
    sure_distance
        Groups whose mean distance is below are one person without more ado.
    min_ratio
        Least mean similarity between two groups, relative to that within them, at which they are one person.
    min_quality
        Faces of less quality (0..1) only join what the others made.
    extras
        False: HDBSCAN itself, and nothing else.

    Attributes
    ----------
    labels_
        (n,) int64; -1 is noise. Clusters are numbered 0, 1, ... by falling size.
    probabilities_
        (n,) float64, 0..1: how well the face fits its cluster; 0 for noise.
    outlier_scores_
        (n,) float64, 0..1.
    merge_candidates_
        Tuple of `MergeCandidate`, the likeliest first: clusters that may be one person.
    contradictions_
        Tuple of `photocluster.constraints.Contradiction`: the user's words that cannot all be true.
    """

    def __init__(
        self,
        *,
        min_cluster_size: int = 2,
        min_samples: int = 1,
        max_distance: float = 1.2,
        sure_distance: float = 1.08,
        min_ratio: float = 0.7,
        attach_distance: float = 1.12,
        duplicate_distance: float = 0.3,
        min_quality: float = 0.0,
        extras: bool = True,
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.max_distance = max_distance
        self.sure_distance = sure_distance
        self.min_ratio = min_ratio
        self.attach_distance = attach_distance
        self.duplicate_distance = duplicate_distance
        self.min_quality = min_quality
        self.extras = extras

    @classmethod
    def plain(cls, *, min_cluster_size: int = 5, min_samples: int = 5) -> Self:
        """Return HDBSCAN itself, without ceiling, constraints or judgement of whole groups."""
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
        graph: Any = None,
        progress: Progress | None = None,
    ) -> Self:
        """Cluster the faces.

        Parameters
        ----------
        X
            (n, 128) float32 of unit L2 norm, the model's mean subtracted.
        y
            Not used; scikit-learn's convention.
        photos
            (n,) int: faces with the same number >= 0 are in one photo, thus two people; -1 says nothing (a mirror, a collage).
        persons
            (n,) int: the user's word. Faces with the same number >= 0 are one person, with different numbers two; -1 unknown.
        rejected
            (m, 2) int: (face row, person number), "not this person": the face is in no cluster with a face of that person.
        different
            (m, 2) int: rows of two faces that the user told apart.
        quality
            (n,) float 0..1, or NaN where not known.
        times
            (n,) float: days since any one date, NaN where not known. Evidence only.
        graph
            A `photocluster.graph.NeighbourGraph` of X, if there is one already.
        progress
            Called with a share done (0..1) and what is being done.

        Raises
        ------
        UsageError
            An array of a wrong shape.
        """
        del y, graph, progress, times, quality
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=0)
        n = len(X)
        constraints = gather(n, photos=photos, persons=persons, rejected=rejected, different=different)
        self.contradictions_ = constraints.contradictions
        order = np.lexsort(X.T[:4])
        X, constraints = X[order], constraints.reordered(order)
        groups = Groups.of_faces(X, constraints)
        labels = np.arange(n)
        if n > 1:
            pairs, distances = _knn(X, NEIGHBOURS, self.max_distance)
            labels = self._stages(groups, pairs, distances, labels)
        _, labels, size = np.unique(groups.links[labels], return_inverse=True, return_counts=True)
        rank = np.empty(len(size), dtype=np.int64)
        rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
        self.labels_ = np.full(n, NOISE, dtype=np.int64)
        self.labels_[order] = np.where(size[labels] >= self.min_cluster_size, rank[labels], NOISE)
        self.probabilities_ = (self.labels_ >= 0).astype(np.float64)
        self.outlier_scores_ = 1 - self.probabilities_
        self.merge_candidates_: tuple[MergeCandidate, ...] = ()
        return self

    def _stages(self, groups, pairs, dist, labels):
        def mean_sim(cut):
            floor = 1 - cut**2 / 2
            return lambda g, p: g.between(p) - floor

        dup = agglomerate(groups, pairs[dist < 1.5 * self.duplicate_distance], mean_sim(self.duplicate_distance))
        faces = labels = dup
        # one weighted point
        top = np.unique(labels)
        groups.sums[top] /= np.linalg.norm(groups.sums[top], axis=1, keepdims=True)
        groups.sizes[top] = 1
        pairs = labels[pairs]
        lab = agglomerate(groups, pairs, mean_sim(self.sure_distance))
        labels = lab[labels]
        pairs = lab[pairs]

        def ratio(g, p):
            def W(i):
                k = g.sizes[i]
                pr = k - 1.0
                return (3 * 0.6 + pr * g.within(i) * 1.0) / (3 + pr)

            s = g.between(p) / np.sqrt(W(p[:, 0]) * W(p[:, 1]))
            small = (g.sizes[p] < 2).any(axis=1)
            return np.where(small, -1, s - self.min_ratio)

        extra = _centroid_pairs(groups, np.unique(labels))
        lab = agglomerate(groups, np.concatenate([pairs, extra]), ratio)
        labels = lab[labels]
        pairs = lab[pairs]

        def attach(g, p):
            def W(i):
                k = g.sizes[i]
                pr = k - 1.0
                return (3 * 0.6 + pr * g.within(i)) / (3 + pr)

            b = g.between(p)
            s = b / np.sqrt(W(p[:, 0]) * W(p[:, 1]))
            one = (g.sizes[p] < 2).sum(axis=1) == 1
            return np.where(one & (b > 1 - self.attach_distance**2 / 2), s - self.min_ratio, -1)

        extra = _centroid_pairs(groups, np.unique(labels))
        lab = agglomerate(groups, np.concatenate([pairs, extra]), attach)
        labels = lab[labels]
        pairs = lab[pairs]
        return labels


def _centroid_pairs(groups, top):
    c = groups.sums[top] / np.linalg.norm(groups.sums[top], axis=1, keepdims=True)
    p, _ = _knn(c, 16, 9)
    return top[p]


def _knn(X, k, ceiling):
    n = len(X)
    k = min(k, n - 1)
    A = []
    D = []
    for i in range(0, n, 2048):
        s = X[i : i + 2048] @ X.T
        s[np.arange(len(s)), i + np.arange(len(s))] = -9
        j = np.argpartition(-s, k - 1, axis=1)[:, :k]
        d = np.sqrt(np.maximum(0, 2 - 2 * np.take_along_axis(s, j, 1)))
        r = np.repeat(i + np.arange(len(s)), k).reshape(len(s), k)
        m = d < ceiling
        A.append(np.stack([r[m], j[m]], 1))
        D.append(d[m])
    return np.concatenate(A), np.concatenate(D)

"""Clustering measures over a range of distance thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from photocluster.evaluation.clustering import PrecisionRecall, clustering_measures
from photocluster.evaluation.labels import DoubleArray
from photocluster.records import NOISE, FloatArray, IntArray

DISTANCES = tuple(round(0.5 + 0.025 * step, 3) for step in range(33))
"""0.5 to 1.3: from where near-duplicates end to where strangers are the rule, for unit vectors of a face model."""


@dataclass(frozen=True, slots=True)
class ThresholdPoint:
    """The measures of the clustering that belongs to one distance threshold."""

    distance: float
    clusters: int
    noise_share: float
    pairwise: PrecisionRecall
    bcubed: PrecisionRecall

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def threshold_curve(identities: IntArray, clusterings: Iterable[tuple[float, IntArray]]) -> tuple[ThresholdPoint, ...]:
    """Measure one clustering after another: `clusterings` are pairs of threshold and labels (n,), of any method."""
    points = []
    for distance, labels in clusterings:
        measured = clustering_measures(identities, labels)
        points.append(
            ThresholdPoint(distance, measured.clusters, measured.noise_share, measured.pairwise, measured.bcubed)
        )
    return tuple(points)


def component_clusterings(
    embeddings: FloatArray, distances: Sequence[float] = DISTANCES
) -> Iterator[tuple[float, IntArray]]:
    """Yield (threshold, labels) where clusters are the connected components of the graph of pairs within the threshold.

    The plainest method there is (DBSCAN with two points a core, single linkage): a yardstick that depends on nothing
    but the distances. A component of one face is noise. Time grows with n^2, memory with n: 10,000 faces take some 5 s.

    Parameters
    ----------
    embeddings
        float32 (n, d), unit norm.
    distances
        The thresholds; a pair at exactly the threshold is joined.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parents, lengths = _spanning_tree(embeddings)
    children = np.arange(1, len(embeddings))
    for distance in distances:
        near = lengths <= distance
        edges = (np.ones(int(near.sum())), (parents[near], children[near]))
        _, labels = connected_components(coo_array(edges, shape=(len(embeddings),) * 2), directed=False)
        alone = np.bincount(labels, minlength=1)[labels] == 1
        yield distance, np.where(alone, NOISE, labels).astype(np.int64)


def _spanning_tree(embeddings: FloatArray) -> tuple[IntArray, DoubleArray]:
    """Return Prim's minimum spanning tree: for each face but the first its neighbour in the tree and their distance."""
    n = len(embeddings)
    nearest = np.full(n, -np.inf, dtype=np.float32)  # largest cosine to the tree
    parent = np.zeros(n, dtype=np.int64)
    outside = np.ones(n, dtype=np.bool_)
    current = 0
    for _ in range(n - 1):
        outside[current] = False
        cosine = embeddings @ embeddings[current]
        closer = outside & (cosine > nearest)
        nearest[closer] = cosine[closer]
        parent[closer] = current
        current = int(np.argmax(np.where(outside, nearest, -np.inf)))
    lengths = np.sqrt(np.clip(2 - 2 * nearest[1:].astype(np.float64), 0, 4))
    return parent[1:], lengths

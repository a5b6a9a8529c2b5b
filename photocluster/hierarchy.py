"""HDBSCAN's hierarchy: from a spanning tree to single linkage, condensed tree and selected clusters.

Definitions are those of hdbscan (McInnes, Healy and Astels 2017; Campello et al. 2015 for excess of mass and GLOSH),
with three differences, each of which makes the answer independent of the order of the points or fit small libraries:

- Merges at one distance are one merge of all their parts, as in the definition of the hierarchy. hdbscan takes them
  two by two in an order that is arbitrary, and mutual reachability distances are often equal. For the same reason the
  partition does not depend on which of several minimum spanning trees was found.
- `select` can cut the tree at an absolute distance; each component that is left has a root that can itself be a
  cluster.
- A point beside a cluster of infinite density (equal points) has the outlier score 1, the limit, where hdbscan has nan.

Density is called lambda: 1 / distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from photocluster import _kernels
from photocluster.graph import SMALL
from photocluster.spanning import SpanningTree

DoubleArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CondensedTree:
    """Clusters of at least the minimum size, where they split, and where each point leaves.

    Attributes
    ----------
    point_cluster
        int64 (n,) the last cluster that each point belongs to.
    point_lambda
        float64 (n,) the 1 / distance at which the point leaves it; inf where that distance is zero.
    parent
        int64 (m,) of each cluster, -1 for cluster 0, the root; a parent comes before its children.
    birth
        float64 (m,) the 1 / distance at which the cluster splits off its parent; 0 for the root.
    size
        int64 (m,) points of the cluster when it is born.
    """

    point_cluster: IntArray
    point_lambda: DoubleArray
    parent: IntArray
    birth: DoubleArray
    size: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A flat clustering.

    Attributes
    ----------
    labels
        int64 (n,), 0 and up in the order of the clusters' first points; -1 is noise.
    probabilities
        float64 (n,) lambda of the point over the greatest one in its cluster, 0..1; 0 for noise.
    stabilities
        float64 (clusters,) excess of mass of each cluster per point, relative to the greatest lambda, 0..1.
    outlier_scores
        float64 (n,) GLOSH, 0..1; of all points, whatever was selected.
    clusters
        int64 (clusters,) the number of each label's cluster in the condensed tree.
    """

    labels: IntArray
    probabilities: DoubleArray
    stabilities: DoubleArray
    outlier_scores: DoubleArray
    clusters: IntArray


def single_linkage(tree: SpanningTree) -> DoubleArray:
    """Return the tree's merges in SciPy's linkage format.

    Returns
    -------
    float64 (n - 1, 4): the two nodes that merge (points are 0..n - 1, the merge in row i makes node n + i), their
    distance, and the number of points. Row by row the distance does not fall.

    Raises
    ------
    ValueError
        The edges are no tree.
    """
    n = len(tree.edges) + 1
    kept, sizes = np.empty(n - 1, np.int32), np.empty(n - 1, np.int32)
    children = np.empty((n - 1, 2), np.int32)
    link = _kernels.link if n <= SMALL else _kernels.compiled(_kernels.link)
    order = np.arange(n - 1)
    count = link(tree.edges, order, n, kept, children, sizes, np.empty(n, np.int32), np.empty(n, np.int32))
    if count != n - 1:
        raise ValueError(f"{n - 1} edges over {n} points must be a tree, but they hold a circle")
    return np.column_stack([children, tree.weights, sizes]).astype(np.float64)


def condense(linkage: DoubleArray, min_cluster_size: int) -> CondensedTree:
    """Return the tree of the clusters that have at least `min_cluster_size` points.

    Parameters
    ----------
    linkage
        (n - 1, 4) as `single_linkage` returns it. Without rows it is that of one point.
    min_cluster_size
        At least 2.

    Raises
    ------
    ValueError
        `min_cluster_size` is below 2.
    """
    if min_cluster_size < 2:
        raise ValueError(f"min_cluster_size must be at least 2, not {min_cluster_size}")
    n = len(linkage) + 1
    point_cluster, parent, size = (np.zeros(n, np.int64) for _ in range(3))
    point_lambda, birth = np.zeros(n), np.zeros(n)
    kernel = _kernels.condense if n <= SMALL else _kernels.compiled(_kernels.condense)
    children, sizes = linkage[:, :2].astype(np.int64), linkage[:, 3].astype(np.int64)
    heights = np.ascontiguousarray(linkage[:, 2])
    count = kernel(children, heights, sizes, min_cluster_size, point_cluster, point_lambda, parent, birth, size)
    return CondensedTree(point_cluster, point_lambda, parent[:count].copy(), birth[:count].copy(), size[:count].copy())


def select(
    condensed: CondensedTree,
    *,
    method: Literal["eom", "leaf"] = "eom",
    epsilon: float = 0.0,
    allow_single_cluster: bool = False,
    max_distance: float | None = None,
) -> Selection:
    """Choose clusters of the condensed tree, no two of which contain each other.

    Parameters
    ----------
    condensed
        From `condense`.
    method
        "eom", the greatest excess of mass, or "leaf", the clusters without children.
    epsilon
        A cluster that splits off at a smaller distance than this is replaced by an ancestor (hdbscan's
        `cluster_selection_epsilon`).
    allow_single_cluster
        Whether the root may be a cluster; as in hdbscan it then holds only its densest points, or with `epsilon` those
        that leave it at no more than that distance.
    max_distance
        Merges at more than this distance count for nothing: each component below it is a tree of its own, whose root
        may be a cluster (whatever `allow_single_cluster` says) and is born at this distance. Points that leave at a
        greater distance are noise.

    Raises
    ------
    ValueError
        The method is unknown, or `max_distance` is not positive.
    """
    if method not in ("eom", "leaf"):
        raise ValueError(f'method must be "eom" or "leaf", not {method!r}')
    if max_distance is not None and not max_distance > 0:
        raise ValueError(f"max_distance must be positive, not {max_distance}")
    floor = 0.0 if max_distance is None else 1.0 / max_distance
    forest = _forest(condensed, floor, roots_selectable=allow_single_cluster or max_distance is not None)
    chosen = _excess_of_mass(forest) if method == "eom" else _leaves(forest)
    if epsilon > 0:
        chosen = _raised(forest, chosen, epsilon)
    owner = _owners(forest, chosen)[condensed.point_cluster]
    owner[condensed.point_lambda < floor] = -1
    if max_distance is None and allow_single_cluster:
        _thin_root(condensed, owner, chosen, epsilon)
    return _flat(condensed, forest, owner, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class _Clusters:
    """The clusters of the condensed tree below the ceiling; those above it have neither parent nor part in anything."""

    parent: IntArray  # -1 for the root of each component
    birth: DoubleArray
    alive: NDArray[np.bool_]
    selectable: NDArray[np.bool_]
    stability: DoubleArray
    death: DoubleArray  # the greatest lambda at which a point or a child leaves


def _forest(condensed: CondensedTree, floor: float, *, roots_selectable: bool) -> _Clusters:
    count = len(condensed.parent)
    children = np.arange(1, count)
    points = np.flatnonzero(condensed.point_lambda >= floor)
    children = children[condensed.birth[1:] >= floor]
    leaves = np.concatenate([condensed.point_cluster[points], condensed.parent[children]])
    leaving = np.concatenate([condensed.point_lambda[points], condensed.birth[children]])
    weight = np.concatenate([np.ones(len(points)), condensed.size[children]])
    death = np.zeros(count)
    np.maximum.at(death, leaves, leaving)
    alive = np.zeros(count, dtype=bool)
    alive[leaves] = True
    roots = (condensed.birth < floor) | (np.arange(count) == 0)
    birth = np.maximum(condensed.birth, floor)
    stability = np.bincount(leaves, (leaving - birth[leaves]) * weight, minlength=count).astype(np.float64)
    return _Clusters(
        parent=np.where(roots, -1, condensed.parent),
        birth=birth,
        alive=alive,
        selectable=alive & (~roots | roots_selectable),
        stability=stability,
        death=death,
    )


def _excess_of_mass(forest: _Clusters) -> NDArray[np.bool_]:
    """Choose a cluster where its stability is at least that of the best choice among its descendants."""
    best = forest.stability.tolist()
    below = [0.0] * len(best)
    parent, selectable = forest.parent.tolist(), forest.selectable.tolist()
    chosen = [False] * len(best)
    for cluster in range(len(best) - 1, -1, -1):
        chosen[cluster] = selectable[cluster] and below[cluster] <= best[cluster]
        if parent[cluster] >= 0:
            below[parent[cluster]] += best[cluster] if chosen[cluster] else below[cluster]
    covered = [False] * len(best)
    for cluster, above in enumerate(parent):
        covered[cluster] = above >= 0 and (covered[above] or chosen[above])
    return np.array(chosen, dtype=np.bool_) & ~np.array(covered, dtype=np.bool_)


def _leaves(forest: _Clusters) -> NDArray[np.bool_]:
    chosen = forest.selectable.copy()
    chosen[forest.parent[forest.alive & (forest.parent >= 0)]] = False
    return chosen


def _raised(forest: _Clusters, chosen: NDArray[np.bool_], epsilon: float) -> NDArray[np.bool_]:
    """Replace the clusters born at a distance below epsilon by their first ancestor born above it."""
    result = np.zeros(len(chosen), dtype=bool)
    for leaf in np.flatnonzero(chosen).tolist():
        cluster = leaf
        while forest.birth[cluster] * epsilon > 1:
            above = int(forest.parent[cluster])
            if above < 0 or not forest.selectable[above]:
                break
            cluster = above
        result[cluster] = True
    return result


def _owners(forest: _Clusters, chosen: NDArray[np.bool_]) -> IntArray:
    """Return for each cluster the chosen one that it is or lies in, -1 where there is none."""
    owner = np.where(chosen, np.arange(len(chosen)), -1).tolist()
    for cluster, above in enumerate(forest.parent.tolist()):
        if above >= 0 and owner[above] >= 0:
            owner[cluster] = owner[above]
    return np.array(owner, dtype=np.int64)


def _thin_root(condensed: CondensedTree, owner: IntArray, chosen: NDArray[np.bool_], epsilon: float) -> None:
    """Take from a chosen root the points that hdbscan leaves out of it."""
    if not chosen[0]:
        return
    values = condensed.point_lambda
    direct, splits = values[condensed.point_cluster == 0], condensed.birth[condensed.parent == 0]
    least = 1 / epsilon if epsilon > 0 else max(direct.max(initial=0.0), splits.max(initial=0.0))
    owner[(owner == 0) & (values < least)] = -1


def _flat(condensed: CondensedTree, forest: _Clusters, owner: IntArray, chosen: NDArray[np.bool_]) -> Selection:
    members = np.flatnonzero(owner >= 0)
    clusters, first = np.unique(owner[members], return_index=True)
    clusters = clusters[np.argsort(first, kind="stable")]
    number = np.full(len(chosen) + 1, -1, np.int64)  # the last entry is noise's
    number[clusters] = np.arange(len(clusters))
    labels = number[owner]
    values, highest = condensed.point_lambda, forest.death[owner]
    probabilities = np.zeros(len(labels))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.minimum(values, highest) / highest
        share[(highest == 0) | np.isinf(values)] = 1.0
        probabilities[members] = share[members]
        sizes = np.bincount(labels[members], minlength=len(clusters))
        stabilities = forest.stability[clusters] / (sizes * values.max(initial=0.0))
        stabilities[~np.isfinite(stabilities)] = 1.0
    return Selection(labels, probabilities, stabilities, _outlier_scores(condensed), clusters)


def _outlier_scores(condensed: CondensedTree) -> DoubleArray:
    """Return GLOSH: how much less dense a point is than the densest one of its cluster or the clusters in it."""
    death = np.zeros(len(condensed.parent))
    np.maximum.at(death, condensed.point_cluster, condensed.point_lambda)
    densest = death.tolist()
    parent = condensed.parent.tolist()
    for cluster in range(len(densest) - 1, 0, -1):
        densest[parent[cluster]] = max(densest[parent[cluster]], densest[cluster])
    highest = np.array(densest)[condensed.point_cluster]
    values = condensed.point_lambda
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.asarray((highest - values) / highest)
    scores[np.isinf(highest)] = 1.0
    scores[(highest == 0) | np.isinf(values)] = 0.0
    return scores

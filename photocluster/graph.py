"""The neighbour graph of embeddings: the nearest other points of each.

Memory grows with n * k, never with n * n: distances come in tiles, each one matrix product of two blocks of rows, so
`X` may be memory-mapped. A few Python threads share the tiles, with BLAS held to one thread each: that beats BLAS's own
threads, and the result does not depend on their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event

import numpy as np
from numpy.typing import NDArray

from photocluster._search import Search, measured_recall, search_all, search_cells, search_new
from photocluster._tiles import COLUMNS, ROWS, IndexArray, Progress, Task, offer_to_rows, part, run, squared_norms
from photocluster.records import FloatArray

SMALL = 1500
"""Up to this many points all distances fit one matrix (18 MB) and take less time than numba's import (0.3 s)."""

EXACT_LIMIT = 60_000
"""Up to this many points the graph is exact: 5.5 CPU seconds, and 2 for an exact tree; approximate, 1.5 and 0.1."""

MANY_NEW = 12_000
"""With more new points than this, comparing each with all costs more (2.5 ns a pair) than a new graph (25 us a point at
200,000, 35 at a million)."""


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourGraph:
    """The k nearest other points of each of n points.

    Attributes
    ----------
    indices
        int32 (n, k), nearest first, ties by index; never the point itself.
    distances
        float32 (n, k), Euclidean, ascending along axis 1.
    exact
        Whether these are certainly the nearest.
    recall
        Share of the true k nearest neighbours that were found, on a sample of points; None when exact.
    near_recall
        The same among the true neighbours within `NEAR`; those further off are other people. None when exact.
    """

    indices: IndexArray
    distances: FloatArray
    exact: bool
    recall: float | None = None
    near_recall: float | None = None


def neighbour_graph(
    X: FloatArray, k: int, *, exact_limit: int = EXACT_LIMIT, progress: Progress | None = None
) -> NeighbourGraph:
    """Return the k nearest other points of every point.

    Parameters
    ----------
    X
        float32 (n, d), finite; may be memory-mapped.
    k
        Neighbours per point, at least 1; fewer where there are not k other points.
    exact_limit
        With more points than this the search is approximate.
    progress
        Called now and then with the finished share, 0..1.

    Raises
    ------
    ValueError
        `k` is below 1, or `X` is no matrix.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if X.ndim != 2:
        raise ValueError(f"X must be a matrix with one row per point, not of shape {X.shape}")
    k = max(0, min(k, len(X) - 1))
    if len(X) <= SMALL:
        return _dense_graph(X, k)
    search = Search(X, k)
    if len(X) <= exact_limit:
        search_all(search, progress)
        return NeighbourGraph(*search.finish(), exact=True)
    search_cells(search, part(progress, 0.0, 0.95))
    recall, near_recall = measured_recall(search)
    return NeighbourGraph(*search.finish(), exact=False, recall=recall, near_recall=near_recall)


def extend_graph(graph: NeighbourGraph, X: FloatArray, *, progress: Progress | None = None) -> NeighbourGraph:
    """Return the graph of more points: new ones get neighbours, and old ones those of the new that are nearer.

    Every new point is compared with all others, so an exact graph stays exact. Where so many are new that a new graph
    costs less, a new one is made; above `EXACT_LIMIT` that one is approximate.

    Parameters
    ----------
    graph
        Of the first rows of `X`.
    X
        float32 (n, d); old rows first.
    progress
        Called now and then with the finished share, 0..1.

    Raises
    ------
    ValueError
        `X` has fewer rows than the graph has points.
    """
    old, k = graph.indices.shape
    if len(X) < old:
        raise ValueError(f"the graph has {old} points, X only {len(X)}: points cannot be taken away")
    if len(X) == old:
        return graph
    if len(X) <= SMALL or len(X) - old > MANY_NEW:
        return neighbour_graph(X, max(k, 1), progress=progress)
    search = Search(X, k)
    search.indices[:old] = graph.indices
    search.squares[:old] = graph.distances**2
    search_new(search, old, progress)
    same = (search.indices[:old] == graph.indices).all(axis=1)
    changed = np.append(np.flatnonzero(~same), np.arange(old, len(X))).astype(np.int32)
    indices, distances = search.finish(changed)
    distances[:old][same] = graph.distances[same]
    return NeighbourGraph(indices, distances, exact=graph.exact, recall=graph.recall, near_recall=graph.near_recall)


def nearest_among(X: FloatArray, rows: NDArray[np.int64], among: NDArray[np.int64], k: int) -> NeighbourGraph:
    """Return the k nearest of some points to each of others, by comparing all; fewer where there are not k.

    Parameters
    ----------
    X
        float32 (n, d).
    rows, among
        (m,) and (l,) ascending row numbers. No point is a neighbour of itself.
    k
        Neighbours of each of `rows`.

    Returns
    -------
    A graph of m points that names its neighbours by row of `X`; index -1 and distance inf where there is none.
    """
    k = min(k, len(among))
    if max(len(rows), len(among)) <= SMALL:
        return _dense_among(X, rows, among, k)
    indices = np.full((len(rows), k), -1, np.int32)
    squares = np.full((len(rows), k), np.inf, np.float32)
    if not len(rows):
        return NeighbourGraph(indices, squares, exact=True)
    names = rows.astype(np.int32), among.astype(np.int32)
    every = squared_norms(X)
    norms = every[rows], every[among]

    def task(start: int) -> Task:
        def work(_thread: int, stop: Event) -> None:
            block = slice(start, start + ROWS)
            lists = indices[block], squares[block]
            for column in range(0, len(among), COLUMNS):
                if stop.is_set():
                    return
                others = slice(column, column + COLUMNS)
                products = (-2 * X[rows[block]]) @ X[among[others]].T
                offer_to_rows(lists, names[0][block], names[1][others], norms[0][block], norms[1][others], products)

        return work

    run([task(start) for start in range(0, len(rows), ROWS)])
    return NeighbourGraph(indices, np.sqrt(np.maximum(squares, 0)), exact=True)


# Small inputs: all distances at once, without numba


def dense_distances(X: FloatArray, others: FloatArray | None = None) -> FloatArray:
    """Return the Euclidean distances (n, m) float32 of the rows of two matrices, or of one."""
    from scipy.spatial.distance import cdist

    points = np.asarray(X, dtype=np.float64)
    far = points if others is None else np.asarray(others, dtype=np.float64)
    return np.asarray(cdist(points, far), dtype=np.float32)  # (n, n)


def _dense_among(X: FloatArray, rows: NDArray[np.int64], among: NDArray[np.int64], k: int) -> NeighbourGraph:
    distances = dense_distances(X[rows], X[among])
    distances[rows[:, None] == among] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    distances = np.take_along_axis(distances, order, axis=1)
    return NeighbourGraph(np.where(np.isinf(distances), -1, among[order]).astype(np.int32), distances, exact=True)


def _dense_graph(X: FloatArray, k: int) -> NeighbourGraph:
    distances = dense_distances(X)
    np.fill_diagonal(distances, np.inf)
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return NeighbourGraph(indices.astype(np.int32), np.take_along_axis(distances, indices, axis=1), exact=True)

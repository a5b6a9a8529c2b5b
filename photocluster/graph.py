"""The neighbour graph of embeddings, and the minimum spanning tree of their mutual reachability distance.

Both are what HDBSCAN needs of the data (Campello, Moulavi and Sander 2013); the rest works on the tree alone
(`hierarchy`). The mutual reachability distance of two points is the greatest of their distance and their two core
distances; the core distance of a point is the distance to its `min_samples`-th nearest other point, as hdbscan counts
(scikit-learn counts the point itself, so its 5 is this 4).

Memory grows with n * k, never with n * n: distances come in tiles, each one matrix product of two blocks of rows, so
`X` may be memory-mapped. A few Python threads share the tiles, with BLAS held to one thread each: that beats BLAS's own
threads, and the result does not depend on their number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

import numpy as np
from numpy.typing import NDArray

from photocluster import _kernels
from photocluster._search import Search, measured_recall, search_all, search_cells, search_new
from photocluster._tiles import COLUMNS, ROWS, IndexArray, Progress, Task, offer_to_rows, part, run, squared_norms
from photocluster.records import FloatArray

SMALL = 1500
"""Up to this many points all distances fit one matrix (18 MB) and take less time than numba's import (0.3 s)."""

EXACT_LIMIT = 60_000
"""Up to this many points the graph is exact: 11 CPU seconds, and 6 for an exact tree; approximate, 6 and 0.5."""

MANY_NEW = 25_000
"""With more new points than this, comparing each with all costs more (4 ns a pair) than a new graph (100 us a
point at a million)."""

CERTIFY_BATCHES = 8
"""The pairs that the search for a better tree finds are condensed to a tree this many times, so that few are held."""

CONNECTING_PAIRS = 2_000_000_000
"""About how many pairs are compared to find one more edge for each component of a graph."""


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


@dataclass(frozen=True, slots=True, eq=False)
class SpanningTree:
    """A minimum spanning tree of n points under the mutual reachability distance.

    Attributes
    ----------
    edges
        int32 (n - 1, 2), the smaller index first.
    weights
        float32 (n - 1,), ascending.
    """

    edges: IndexArray
    weights: FloatArray


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
    costs less, a new one is made.

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
        return neighbour_graph(X, max(k, 1), exact_limit=len(X) if graph.exact else EXACT_LIMIT, progress=progress)
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


def spanning_tree(
    X: FloatArray,
    graph: NeighbourGraph,
    *,
    min_samples: int,
    core_distances: FloatArray | None = None,
    progress: Progress | None = None,
) -> SpanningTree:
    """Return a minimum spanning tree under the mutual reachability distance.

    With an exact graph it is one of all pairs, with an approximate graph one of the graph's pairs, whose components are
    joined by close pairs of points. Where several trees are minimal, the choice follows the order of the rows; the
    sorted weights, and the components at every distance, are the same for all of them.

    Parameters
    ----------
    X
        float32 (n, d).
    graph
        The neighbours of the rows of `X`, at least `min_samples` of each.
    min_samples
        Which other point's distance is a point's core distance; with fewer points, the last one's.
    core_distances
        float32 (n,), to be used in place of those that `min_samples` gives.
    progress
        Called now and then with the finished share, 0..1.

    Raises
    ------
    ValueError
        The graph belongs to other points or has too few neighbours.
    """
    n = len(X)
    if len(graph.indices) != n:
        raise ValueError(f"the graph has {len(graph.indices)} points, X has {n}")
    if n < 2:
        return SpanningTree(np.empty((0, 2), np.int32), np.empty(0, np.float32))
    nth = max(1, min(min_samples, n - 1))
    if graph.indices.shape[1] < nth:
        raise ValueError(f"min_samples is {nth}, but the graph has only {graph.indices.shape[1]} neighbours a point")
    core = graph.distances[:, nth - 1] if core_distances is None else np.asarray(core_distances, np.float32)
    if n <= SMALL:
        return _dense_tree(X, core)
    forest = _Forest(X, core, *_graph_edges(graph, core))
    forest.connect()
    if graph.exact:
        _certify(forest, graph.distances[:, -1], progress)
    if progress is not None:
        progress(1.0)
    return SpanningTree(forest.edges, forest.weights)


# Small inputs: all distances at once, without numba


def _dense_distances(X: FloatArray, others: FloatArray | None = None) -> FloatArray:
    from scipy.spatial.distance import cdist

    points = np.asarray(X, dtype=np.float64)
    far = points if others is None else np.asarray(others, dtype=np.float64)
    return np.asarray(cdist(points, far), dtype=np.float32)  # (n, n)


def _dense_among(X: FloatArray, rows: NDArray[np.int64], among: NDArray[np.int64], k: int) -> NeighbourGraph:
    distances = _dense_distances(X[rows], X[among])
    distances[rows[:, None] == among] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    distances = np.take_along_axis(distances, order, axis=1)
    return NeighbourGraph(np.where(np.isinf(distances), -1, among[order]).astype(np.int32), distances, exact=True)


def _dense_graph(X: FloatArray, k: int) -> NeighbourGraph:
    distances = _dense_distances(X)
    np.fill_diagonal(distances, np.inf)
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return NeighbourGraph(indices.astype(np.int32), np.take_along_axis(distances, indices, axis=1), exact=True)


def _dense_tree(X: FloatArray, core: FloatArray) -> SpanningTree:
    """Prim's algorithm, one row of distances at a time."""
    distances = _dense_distances(X)
    n = len(X)
    edges = np.empty((n - 1, 2), np.int32)
    weights = np.empty(n - 1, np.float32)
    outside = np.arange(1, n)
    nearest = np.zeros(n - 1, np.int64)  # of each point outside the tree, a point of the tree
    best = np.full(n - 1, np.inf, np.float32)
    added = 0
    for step in range(n - 1):
        reach = np.maximum(np.maximum(distances[added, outside], core[outside]), core[added])
        nearest[reach < best] = added
        np.minimum(best, reach, out=best)
        chosen = int(np.argmin(best))
        added = int(outside[chosen])
        edges[step] = min(added, nearest[chosen]), max(added, nearest[chosen])
        weights[step] = best[chosen]
        rest = np.arange(len(outside)) != chosen
        outside, nearest, best = outside[rest], nearest[rest], best[rest]
    order = np.lexsort((edges[:, 1], edges[:, 0], weights))
    return SpanningTree(edges[order], weights[order])


# The spanning tree


def _graph_edges(graph: NeighbourGraph, core: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Return the pairs of the graph, each once, and their mutual reachability distances."""
    n, k = graph.indices.shape
    a = np.repeat(np.arange(n, dtype=np.int32), k)
    b = graph.indices.ravel()
    weights = np.maximum(np.maximum(graph.distances.ravel(), core[a]), core[b])
    # A pair that both list stands twice: Kruskal's second look at it is cheaper than finding it.
    keep = b >= 0
    a, b = a[keep], b[keep]
    return np.column_stack([np.minimum(a, b), np.maximum(a, b)]), weights[keep]


def _rising(weights: FloatArray) -> NDArray[np.int64]:
    """Return the order of rising weights (>= 0), equal ones as they stand: a fast stable `argsort`."""
    # Floats that are not negative sort as their bits do.
    keys = weights.view(np.uint32).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    return np.asarray((keys & np.uint64(0xFFFFFFFF)).view(np.int64))


class _Forest:
    """The minimum spanning forest of the edges seen so far."""

    def __init__(self, X: FloatArray, core: FloatArray, edges: IndexArray, weights: FloatArray) -> None:
        self.X = X
        self.core = core
        self.squares = squared_norms(X)
        self._keep(edges, weights)

    def add(self, a: IndexArray, b: IndexArray) -> None:
        """Take more pairs of points into account."""
        weights = np.maximum(np.maximum(_distances(self.X, a, b), self.core[a]), self.core[b])
        edges = np.column_stack([np.minimum(a, b), np.maximum(a, b)])
        self._keep(np.vstack([self.edges, edges]), np.concatenate([self.weights, weights]))

    def _keep(self, edges: IndexArray, weights: FloatArray) -> None:
        n = len(self.X)
        order = _rising(weights)
        kept, children, sizes = (np.empty(shape, np.int32) for shape in (n - 1, (n - 1, 2), n - 1))
        self.following, self.joint = np.empty(n, np.int32), np.empty(n, np.int32)
        link = _kernels.compiled(_kernels.link)
        count = link(edges[order], n, kept, children, sizes, self.following, self.joint)
        self.edges, self.weights = edges[order[kept[:count]]], weights[order[kept[:count]]]

    def components(self) -> NDArray[np.int64]:
        """Return the number of each point's component."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        ones = np.ones(len(self.edges), np.int8)
        matrix = coo_array((ones, (self.edges[:, 0], self.edges[:, 1])), shape=(len(self.X), len(self.X)))
        return np.asarray(connected_components(matrix, directed=False)[1], np.int64)

    def connect(self) -> None:
        """Join the components by close pairs of points, until one is left."""
        while len(self.edges) < len(self.X) - 1:
            labels = self.components()
            chosen = _representatives(labels, max(1, CONNECTING_PAIRS // len(self.X)))
            self.add(chosen, _nearest_outside(self, chosen, labels))

    def leaves(self) -> tuple[NDArray[np.int64], FloatArray]:
        """Return the points in the order of the tree's leaves, and the weights at which neighbours in that order meet.

        The greatest of these weights between two points is the greatest weight on their path in the tree.
        """
        n = len(self.X)
        starts = np.ones(n, dtype=bool)
        starts[self.following[self.following >= 0]] = False
        following = self.following.tolist()
        order = [int(np.flatnonzero(starts)[0])]
        for _ in range(n - 1):
            order.append(following[order[-1]])
        leaves = np.array(order)
        return leaves, self.weights[self.joint[leaves[:-1]]]


def _distances(X: FloatArray, a: IndexArray, b: IndexArray) -> FloatArray:
    """Return the distances of pairs of rows, as exactly as `polish`."""
    distances = np.empty(len(a), np.float32)
    for start in range(0, len(a), 1 << 13):
        pairs = slice(start, start + (1 << 13))
        differences = X[a[pairs]].astype(np.float64) - X[b[pairs]]
        distances[pairs] = np.sqrt(np.einsum("ij,ij->i", differences, differences))
    return distances


def _representatives(labels: NDArray[np.int64], budget: int) -> IndexArray:
    """Choose up to 32 points, evenly spaced, of each component but the largest; about `budget` in all."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    smaller = np.delete(np.arange(len(sizes)), np.argmax(sizes))
    number = max(1, min(32, budget // len(smaller)))
    steps = np.arange(number)
    positions = starts[smaller, None] + sizes[smaller, None] * steps // number  # (components, number)
    return np.unique(order[positions]).astype(np.int32)


def _nearest_outside(forest: _Forest, chosen: IndexArray, labels: NDArray[np.int64]) -> IndexArray:
    """Return, of each chosen point, the point of another component at the least mutual reachability distance."""
    X, squares, core = forest.X, forest.squares, forest.core
    found = np.empty(len(chosen), np.int32)

    def task(start: int) -> Task:
        def work(_thread: int, stop: Event) -> None:
            rows = chosen[start : start + 256]
            best = np.full(len(rows), np.inf, np.float32)
            for column in range(0, len(X), COLUMNS):
                if stop.is_set():
                    return
                columns = slice(column, min(column + COLUMNS, len(X)))
                reach = (-2 * X[rows]) @ np.asarray(X[columns]).T
                reach += squares[rows, None]
                reach += squares[columns]
                np.maximum(reach, core[columns] ** 2, out=reach)
                reach[labels[rows, None] == labels[columns]] = np.inf
                nearest = np.argmin(reach, axis=1)
                least = reach[np.arange(len(rows)), nearest]
                found[start : start + 256][least < best] = nearest[least < best] + column
                np.minimum(best, least, out=best)

        return work

    run([task(start) for start in range(0, len(chosen), 256)])
    return found


def _certify(forest: _Forest, reach: FloatArray, progress: Progress | None) -> None:
    """Make the spanning tree of the graph one of all pairs.

    A pair that neither point lists is no nearer than the reach (the k-th distance) of both, and belongs into a minimum
    tree only if it is nearer than the greatest weight on its path in the present one. Points in the order of the tree's
    leaves have that greatest weight in blocks: what is left to search are tiles of points whose reach is below it.
    """
    leaves, gaps = forest.leaves()
    tolerance = np.float32(4e-6) * forest.squares.max()
    search = _Certifier(forest.X, forest.squares, leaves.astype(np.int32), gaps, reach[leaves], tolerance)
    starts = range(0, len(leaves), ROWS)
    batches = [starts[i::CERTIFY_BATCHES] for i in range(CERTIFY_BATCHES)]
    for number, batch in enumerate(batches):
        share = part(progress, number / len(batches), (number + 1) / len(batches))
        run([search.task(start) for start in batch], share)
        if search.found:
            pairs = np.vstack(search.found)
            search.found.clear()
            forest.add(pairs[:, 0], pairs[:, 1])


@dataclass(frozen=True, slots=True, eq=False)
class _Certifier:
    """The search for pairs nearer than their path in the tree; rows and columns are positions among the leaves."""

    X: FloatArray
    squares: FloatArray
    leaves: IndexArray
    gaps: FloatArray
    reach: FloatArray
    tolerance: np.float32
    found: list[IndexArray] = field(default_factory=list)

    def task(self, start: int) -> Task:
        """Return the work of one block of rows."""

        def work(_thread: int, stop: Event) -> None:
            end = min(start + ROWS, len(self.leaves))
            self._within(start, end)
            before = np.append(np.maximum.accumulate(self.gaps[start : end - 1][::-1])[::-1], 0)  # row to the last row
            between = np.float32(0)
            for column in range(end, len(self.leaves), COLUMNS):
                if stop.is_set():
                    return
                last = min(column + COLUMNS, len(self.leaves))
                between = max(between, self.gaps[column - 1])
                after = np.append(np.float32(0), np.maximum.accumulate(self.gaps[column : last - 1]))
                self._between(np.arange(start, end), np.maximum(before, between), np.arange(column, last), after)
                between = max(between, after[-1])

        return work

    def _within(self, start: int, end: int) -> None:
        """Look at the pairs of one block."""
        size = end - start
        limits = np.zeros((size, size), np.float32)
        for row in range(size - 1):
            np.maximum.accumulate(self.gaps[start + row : end - 1], out=limits[row, row + 1 :])
        points, reach = self.leaves[start:end], self.reach[start:end]
        X, squares = self.X[points], self.squares[points]
        distances = (-2 * X) @ X.T + squares + squares[:, None]
        wanted = (distances < limits**2 + self.tolerance) & (limits > np.maximum(reach, reach[:, None]))
        rows, columns = np.nonzero(np.triu(wanted, 1))
        self.found.append(np.column_stack([points[rows], points[columns]]))

    def _between(
        self, rows: NDArray[np.int64], before: FloatArray, columns: NDArray[np.int64], after: FloatArray
    ) -> None:
        """Look at the pairs of two blocks whose path's greatest weight is the greater of `before` and `after`."""
        for _ in range(2):  # fewer columns may leave fewer rows
            if not (len(rows) and len(columns)):
                return
            keep = self.reach[rows] < np.maximum(before, after.max())
            rows, before = rows[keep], before[keep]
            if not len(rows):
                return
            keep = self.reach[columns] < np.maximum(before.max(), after)
            columns, after = columns[keep], after[keep]
        if not (len(rows) and len(columns)):
            return
        a, b = self.leaves[rows], self.leaves[columns]
        products = (-2 * self.X[a]) @ self.X[b].T
        out = np.empty((max(1 << 16, 2 * len(b)), 2), np.int32)
        first = 0
        while first < len(a):
            count, first = _kernels.compiled(_kernels.below)(
                products,
                self.squares[a],
                self.squares[b],
                before**2 + self.tolerance,
                after**2 + self.tolerance,
                self.reach[rows] ** 2 - self.tolerance,
                self.reach[columns] ** 2 - self.tolerance,
                first,
                out,
            )
            self.found.append(np.column_stack([a[out[:count, 0]], b[out[:count, 1]]]))

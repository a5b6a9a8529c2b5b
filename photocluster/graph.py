"""The neighbour graph of embeddings, and the minimum spanning tree of their mutual reachability distance.

Both are what HDBSCAN needs of the data (Campello, Moulavi and Sander 2013); the rest works on the tree alone (`hierarchy`).
The mutual reachability distance of two points is the greatest of their distance and their two core distances; the core
distance of a point is the distance to its `min_samples`-th nearest other point, as hdbscan counts (scikit-learn counts the
point itself, so its 5 is this 4).

Memory grows with n * k, never with n * n: distances come in tiles, each one matrix product of two blocks of rows, so `X` may
be memory-mapped. Each of a few Python threads has its own tiles and its own neighbour lists, with BLAS held to one thread:
that beats BLAS's own threads, and the result does not depend on their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event

import numpy as np
from numpy.typing import NDArray

from photocluster import _kernels
from photocluster.records import FloatArray

IndexArray = NDArray[np.int32]
Progress = Callable[[float], None]

SMALL = 1500
"""Up to this many points all distances fit one matrix (18 MB) and take less time than numba's import (0.5 s)."""

EXACT_LIMIT = 60_000
"""Up to this many points the graph is exact: about ten seconds on two cores (see examples/benchmark.py)."""

ROWS, COLUMNS = 1024, 8192
"""Tile of one matrix product: 32 MB of float32 a thread; smaller ones were up to a quarter slower in OpenBLAS."""

CERTIFY_BATCHES = 8
"""The pairs that the search for a better tree finds are condensed to a tree this many times, so that few are held."""

CONNECTING_PAIRS = 2_000_000_000
"""About how many pairs are compared to find one more edge for each component of a graph (10 s on two cores)."""

MAX_THREADS = 8
"""Each thread has neighbour lists of its own, so more of them cost memory."""


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
        float32 (n - 1,), ascending; equal weights by the indices of the edge.
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
    work = _Work(X)
    _search_all(work, k, progress)
    return _finished(work, exact=True)


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
    joined by close pairs of points. Where several trees are minimal, the choice follows the order of the rows; the sorted
    weights, and the components at every distance, are the same for all of them.

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


def _dense_distances(X: FloatArray) -> FloatArray:
    from scipy.spatial.distance import cdist

    points = np.asarray(X, dtype=np.float64)
    return np.asarray(cdist(points, points), dtype=np.float32)  # (n, n)


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


# Work in threads


def _thread_count() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MAX_THREADS)


def _run(
    tasks: list[Callable[[int, Event], None]], progress: Progress | None, *, share: tuple[float, float] = (0.0, 1.0)
) -> None:
    """Run tasks in threads, each told its thread's number and an event that asks it to stop.

    BLAS is held to one thread meanwhile. An exception, Ctrl-C included, stops all tasks and is raised.
    """
    from threadpoolctl import threadpool_limits

    stop = Event()
    threads = _thread_count()
    free = list(range(threads))
    done = 0
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        try:
            waiting = iter(tasks)
            running = {}
            while True:
                while free and (task := next(waiting, None)) is not None:
                    number = free.pop()
                    running[pool.submit(task, number, stop)] = number
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    free.append(running.pop(future))
                    future.result()
                    done += 1
                if progress is not None:
                    progress(share[0] + (share[1] - share[0]) * done / len(tasks))
        except BaseException:
            stop.set()
            raise


class _Work:
    """Neighbour lists in the making: one pair of arrays for each thread, so that none waits for another."""

    def __init__(self, X: FloatArray) -> None:
        self.X = X
        self.squares = _squared_norms(X)
        self.lists: dict[int, tuple[IndexArray, FloatArray]] = {}

    def of_thread(self, number: int, k: int) -> tuple[IndexArray, FloatArray]:
        """Return the lists that thread `number` alone writes to."""
        if number not in self.lists:
            shape = (len(self.X), k)
            self.lists[number] = np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32)
        return self.lists[number]

    def merged(self) -> tuple[IndexArray, FloatArray]:
        """Return the nearest of all threads' lists, blockwise and in place of the first one."""
        (indices, squares), *others = self.lists.values()
        k = indices.shape[1]
        for other, other_squares in others:
            for start in range(0, len(indices), 1 << 16):
                block = slice(start, start + (1 << 16))
                both = np.hstack([indices[block], other[block]])
                order = np.lexsort((both, both_squares := np.hstack([squares[block], other_squares[block]])), axis=1)
                order = _without_repeats(both, order, k)
                indices[block] = np.take_along_axis(both, order, axis=1)
                squares[block] = np.take_along_axis(both_squares, order, axis=1)
        self.lists.clear()
        return indices, squares


def _without_repeats(indices: IndexArray, order: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Move the second mention of an index to the end of each row of `order`, and return its first k columns."""
    ranked = np.take_along_axis(indices, order, axis=1)
    by_index = np.argsort(ranked, axis=1, kind="stable")
    grouped = np.take_along_axis(ranked, by_index, axis=1)
    repeated = np.zeros(ranked.shape, dtype=bool)
    np.put_along_axis(repeated, by_index[:, 1:], grouped[:, 1:] == grouped[:, :-1], axis=1)
    return np.take_along_axis(order, np.argsort(repeated, axis=1, kind="stable"), axis=1)[:, :k]


def _squared_norms(X: FloatArray) -> FloatArray:
    squares = np.empty(len(X), np.float32)
    for start in range(0, len(X), 1 << 15):
        block = np.asarray(X[start : start + (1 << 15)], np.float32)
        squares[start : start + (1 << 15)] = np.einsum("ij,ij->i", block, block)
    return squares


def _tiles(n: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the tiles row0, row1, column0, column1 of the upper triangle of an n x n matrix."""
    for row in range(0, n, ROWS):
        for column in range(row, n, COLUMNS):
            yield row, min(row + ROWS, n), column, min(column + COLUMNS, n)


def _search_all(work: _Work, k: int, progress: Progress | None) -> None:
    """Offer every pair of points to both neighbour lists."""
    offer = _kernels.compiled(_kernels.offer)
    numbers = np.arange(len(work.X), dtype=np.int32)

    def task(row0: int, row1: int, column0: int, column1: int) -> Callable[[int, Event], None]:
        def run(thread: int, stop: Event) -> None:
            if stop.is_set():
                return
            products = np.asarray(-2 * work.X[row0:row1]) @ np.asarray(work.X[column0:column1]).T
            rows, columns = slice(row0, row1), slice(column0, column1)
            offer(
                products,
                numbers[rows],
                numbers[columns],
                work.squares[rows],
                work.squares[columns],
                *work.of_thread(thread, k),
                row0 - column0,
                2,
            )

        return run

    _run([task(*tile) for tile in _tiles(len(work.X))], progress)


def _finished(work: _Work, *, exact: bool) -> NeighbourGraph:
    """Merge the lists, compute their distances exactly (products of float32 lose near ones), and sort them."""
    indices, distances = work.merged()
    polish = _kernels.compiled(_kernels.polish)
    step = 1 << 14

    def task(start: int) -> Callable[[int, Event], None]:
        def run(_thread: int, stop: Event) -> None:
            if not stop.is_set():
                polish(work.X, start, min(start + step, len(work.X)), indices, distances)

        return run

    _run([task(start) for start in range(0, len(work.X), step)], None)
    return NeighbourGraph(indices, distances, exact=exact)


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


class _Forest:
    """The minimum spanning forest of the edges seen so far."""

    def __init__(self, X: FloatArray, core: FloatArray, edges: IndexArray, weights: FloatArray) -> None:
        self.X = X
        self.core = core
        self.squares = _squared_norms(X)
        self._keep(edges, weights)

    def add(self, a: IndexArray, b: IndexArray) -> None:
        """Take more pairs of points into account."""
        weights = np.maximum(np.maximum(_distances(self.X, a, b), self.core[a]), self.core[b])
        edges = np.column_stack([np.minimum(a, b), np.maximum(a, b)])
        self._keep(np.vstack([self.edges, edges]), np.concatenate([self.weights, weights]))

    def _keep(self, edges: IndexArray, weights: FloatArray) -> None:
        n = len(self.X)
        order = np.lexsort((edges[:, 1], edges[:, 0], weights))
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

    def task(start: int) -> Callable[[int, Event], None]:
        def run(_thread: int, stop: Event) -> None:
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

        return run

    _run([task(start) for start in range(0, len(chosen), 256)], None)
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
    batches = [starts[i :: CERTIFY_BATCHES] for i in range(CERTIFY_BATCHES)]
    for number, batch in enumerate(batches):
        share = (number / len(batches), (number + 1) / len(batches))
        _run([search.task(start) for start in batch], progress, share=share)
        if search.found:
            pairs = np.vstack(search.found)
            search.found.clear()
            forest.add(pairs[:, 0], pairs[:, 1])


@dataclass(frozen=True, slots=True, eq=False)
class _Certifier:
    """The search for pairs nearer than their path in the tree; rows and columns are positions in the order of leaves."""

    X: FloatArray
    squares: FloatArray
    leaves: IndexArray
    gaps: FloatArray
    reach: FloatArray
    tolerance: np.float32
    found: list[IndexArray] = field(default_factory=list)

    def task(self, start: int) -> Callable[[int, Event], None]:
        """Return the work of one block of rows."""

        def run(_thread: int, stop: Event) -> None:
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

        return run

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

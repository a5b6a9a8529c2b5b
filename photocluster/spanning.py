"""The minimum spanning tree of points under their mutual reachability distance.

It is what HDBSCAN needs of the data (Campello, Moulavi and Sander 2013); the rest works on the tree alone
(`hierarchy`). The mutual reachability distance of two points is the greatest of their distance and their two core
distances; the core distance of a point is the distance to its `min_samples`-th nearest other point, as hdbscan counts
(scikit-learn counts the point itself, so its 5 is this 4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

import numpy as np
from numpy.typing import NDArray

from photocluster import _kernels
from photocluster._tiles import COLUMNS, ROWS, IndexArray, Progress, Task, part, run, squared_norms, tile
from photocluster.graph import SMALL, NeighbourGraph, dense_distances
from photocluster.records import FloatArray, IntArray

CERTIFY_BATCHES = 8
"""The pairs that the search for a better tree finds are condensed to a tree this many times, so that few are held."""

CONNECTING_PAIRS = 2_000_000_000
"""About how many pairs are compared to find one more edge for each component of a graph."""


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


def spanning_tree(
    X: FloatArray,
    graph: NeighbourGraph,
    *,
    min_samples: int,
    core_distances: FloatArray | None = None,
    rows: IntArray | None = None,
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
        The neighbours of the points, at least `min_samples` of each.
    min_samples
        Which other point's distance is a point's core distance; with fewer points, the last one's.
    core_distances
        float32 (n,), to be used in place of those that `min_samples` gives.
    rows
        int64 (n,), which rows of `X` are the points 0, 1, ...; None for all. `X` may be large, and is not copied.
    progress
        Called now and then with the finished share, 0..1.

    Raises
    ------
    ValueError
        The graph belongs to other points or has too few neighbours.
    """
    n = len(X) if rows is None else len(rows)
    if len(graph.indices) != n:
        raise ValueError(f"the graph has {len(graph.indices)} points, X has {n}")
    if n < 2:
        return SpanningTree(np.empty((0, 2), np.int32), np.empty(0, np.float32))
    nth = max(1, min(min_samples, n - 1))
    if graph.indices.shape[1] < nth:
        raise ValueError(f"min_samples is {nth}, but the graph has only {graph.indices.shape[1]} neighbours a point")
    core = graph.distances[:, nth - 1] if core_distances is None else np.asarray(core_distances, np.float32)
    if n <= SMALL:
        return _dense_tree(X if rows is None else X[rows], core)
    forest = _Forest(X, rows, core, *_graph_edges(graph, core))
    forest.connect()
    if graph.exact:
        _certify(forest, graph.distances[:, -1], progress)
    if progress is not None:
        progress(1.0)
    return SpanningTree(forest.edges, forest.weights)


def _dense_tree(X: FloatArray, core: FloatArray) -> SpanningTree:
    """Prim's algorithm, one row of distances at a time."""
    distances = dense_distances(X)
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


def _graph_edges(graph: NeighbourGraph, core: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Return the pairs of the graph and their mutual reachability distances.

    A pair that both points list stands twice: Kruskal's second look at it is cheaper than finding it.
    """
    edges, weights = np.empty((graph.indices.size, 2), np.int32), np.empty(graph.indices.size, np.float32)
    count = _kernels.compiled(_kernels.reach)(
        np.ascontiguousarray(graph.indices), np.ascontiguousarray(graph.distances), core, edges, weights
    )
    return edges[:count], weights[:count]


def _rising(weights: FloatArray) -> NDArray[np.int64]:
    """Return the order of rising weights (>= 0), equal ones as they stand: a fast stable `argsort`."""
    # Floats that are not negative sort as their bits do.
    keys = weights.view(np.uint32).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    return np.asarray((keys & np.uint64(0xFFFFFFFF)).view(np.int64))


class _Forest:
    """The minimum spanning forest of the edges seen so far."""

    def __init__(
        self, X: FloatArray, rows: IntArray | None, core: FloatArray, edges: IndexArray, weights: FloatArray
    ) -> None:
        self._X = X
        self._rows = rows
        self.core = core
        squares = squared_norms(X)
        self.squares = squares if rows is None else squares[rows]
        self._keep(edges, weights)

    def vectors(self, points: IndexArray | slice) -> FloatArray:
        """Return the vectors of some points."""
        return np.asarray(self._X[points if self._rows is None else self._rows[points]])

    def add(self, a: IndexArray, b: IndexArray) -> None:
        """Take more pairs of points into account."""
        weights = np.maximum(np.maximum(self._distances(a, b), self.core[a]), self.core[b])
        edges = np.column_stack([np.minimum(a, b), np.maximum(a, b)])
        self._keep(np.vstack([self.edges, edges]), np.concatenate([self.weights, weights]))

    def _keep(self, edges: IndexArray, weights: FloatArray) -> None:
        n = len(self.core)
        order = _rising(weights)
        kept, children, sizes = (np.empty(shape, np.int32) for shape in (n - 1, (n - 1, 2), n - 1))
        self.following, self.joint = np.empty(n, np.int32), np.empty(n, np.int32)
        link = _kernels.compiled(_kernels.link)
        count = link(edges, order, n, kept, children, sizes, self.following, self.joint)
        self.edges, self.weights = edges[kept[:count]], weights[kept[:count]]

    def components(self) -> NDArray[np.int64]:
        """Return the number of each point's component."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        ones = np.ones(len(self.edges), np.int8)
        matrix = coo_array((ones, (self.edges[:, 0], self.edges[:, 1])), shape=(len(self.core), len(self.core)))
        return np.asarray(connected_components(matrix, directed=False)[1], np.int64)

    def connect(self) -> None:
        """Join the components by close pairs of points, until one is left."""
        while len(self.edges) < len(self.core) - 1:
            labels = self.components()
            chosen = _representatives(labels, max(1, CONNECTING_PAIRS // len(self.core)))
            self.add(chosen, _nearest_outside(self, chosen, labels))

    def leaves(self) -> tuple[NDArray[np.int64], FloatArray]:
        """Return the points in the order of the tree's leaves, and the weights at which neighbours in that order meet.

        The greatest of these weights between two points is the greatest weight on their path in the tree.
        """
        n = len(self.core)
        starts = np.ones(n, dtype=bool)
        starts[self.following[self.following >= 0]] = False
        following = self.following.tolist()
        order = [int(np.flatnonzero(starts)[0])]
        for _ in range(n - 1):
            order.append(following[order[-1]])
        leaves = np.array(order)
        return leaves, self.weights[self.joint[leaves[:-1]]]

    def _distances(self, a: IndexArray, b: IndexArray) -> FloatArray:
        """Return the distances of pairs of points, as exactly as `polish`."""
        distances = np.empty(len(a), np.float32)
        for start in range(0, len(a), 1 << 13):
            pairs = slice(start, start + (1 << 13))
            differences = self.vectors(a[pairs]).astype(np.float64) - self.vectors(b[pairs])
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
    squares, core, n = forest.squares, forest.core, len(forest.core)
    found = np.empty(len(chosen), np.int32)

    def task(start: int) -> Task:
        def work(_thread: int, stop: Event) -> None:
            rows = chosen[start : start + 256]
            best = np.full(len(rows), np.inf, np.float32)
            for column in range(0, n, COLUMNS):
                if stop.is_set():
                    return
                columns = slice(column, min(column + COLUMNS, n))
                reach = tile(-2 * forest.vectors(rows), forest.vectors(columns))
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
    search = _Certifier(forest, leaves.astype(np.int32), gaps, reach[leaves], tolerance)
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

    forest: _Forest
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
        X, squares = self.forest.vectors(points), self.forest.squares[points]
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
        products = tile(-2 * self.forest.vectors(a), self.forest.vectors(b))
        out = np.empty((max(1 << 16, 2 * len(b)), 2), np.int32)
        first = 0
        while first < len(a):
            count, first = _kernels.compiled(_kernels.below)(
                products,
                self.forest.squares[a],
                self.forest.squares[b],
                before**2 + self.tolerance,
                after**2 + self.tolerance,
                self.reach[rows] ** 2 - self.tolerance,
                self.reach[columns] ** 2 - self.tolerance,
                first,
                out,
            )
            self.found.append(np.column_stack([a[out[:count, 0]], b[out[:count, 1]]]))

"""Search for nearest neighbours: tiles of all pairs, or of the pairs that share a cell. Private to `graph`.

The approximate search has two rounds. Each divides its points into the cells of k-means centres, every point into
several, and compares all points of a cell; then each point looks at its neighbours' neighbours. The first round is of
all points. The second is of those that have not found k neighbours within `NEAR`: strangers and people with few faces,
whose neighbours no other neighbour leads to, and who thus need more cells. Neighbours that are further off than `NEAR`
are other people, and which of them are listed matters little.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event, Lock

import numpy as np
from numpy.typing import NDArray

from photocluster import _kernels
from photocluster.records import FloatArray

IndexArray = NDArray[np.int32]
Progress = Callable[[float], None]
Task = Callable[[int, Event], None]

ROWS, COLUMNS = 1024, 8192
"""Tile of one matrix product: 32 MB of float32 a thread; smaller ones were up to a quarter slower in OpenBLAS."""

MAX_THREADS = 8
"""More threads would mostly wait for memory and for the lists' lock."""

NEAR = 1.1
"""Distance within which neighbours are likely the same person: 99.2 % of same and 0.003 % of different pairs (SFace on
LFW)."""

CELL = 1000
"""Mean number of points in a cell: about one tile, so that few products are small."""

CELL_ROWS = 256
"""Rows of a tile within a cell: few, since what is below the diagonal is waste."""

CELLS_OF_ALL, CELLS_OF_SPARSE = 4, 12
"""How many cells each point is in, in the first and the second round."""

MEANS_SAMPLE, MEANS_ROUNDS = 30, 4
"""k-means runs on this many points for each centre, this many times; with half as many and three
rounds cells are less even, and recall within `NEAR` is .002 less."""

RECALL_SAMPLE = 500
"""Points whose true neighbours are found to measure recall: a share of .9 of 5,000 neighbours is known to about .01."""


def thread_count() -> int:
    """Return how many threads work at once."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MAX_THREADS)


def part(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """Return a progress callback for a part of the work."""
    if progress is None:
        return None
    return lambda share: progress(start + (stop - start) * share)


def run(tasks: Sequence[Task], progress: Progress | None = None) -> None:
    """Run tasks in threads, each told its thread's number and an event that asks it to stop.

    BLAS is held to one thread meanwhile. An exception, Ctrl-C included, stops all tasks and is raised.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    stop = Event()
    free = list(range(thread_count()))
    running: dict[Future[None], int] = {}
    waiting = iter(tasks)
    done = 0
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(len(free)) as pool:
        try:
            while True:
                while free and (task := next(waiting, None)) is not None:
                    number = free.pop()
                    running[pool.submit(task, number, stop)] = number
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    free.append(running.pop(future))
                    future.result()
                    done += 1
                if progress is not None:
                    progress(done / len(tasks))
        except BaseException:
            stop.set()
            raise


def squared_norms(X: FloatArray) -> FloatArray:
    """Return the squared norm of each row."""
    squares = np.empty(len(X), np.float32)
    for start in range(0, len(X), 1 << 15):
        block = np.asarray(X[start : start + (1 << 15)], np.float32)
        squares[start : start + (1 << 15)] = np.einsum("ij,ij->i", block, block)
    return squares


def offer_pairs(
    lists: tuple[IndexArray, FloatArray],
    names: IndexArray,
    norms: FloatArray,
    products: FloatArray,
    corner: tuple[int, int],
    diagonal: int,
) -> None:
    """Offer the pairs of a tile, which begins at `corner`, to the lists of both its points; see `_kernels.offer`."""
    (height, width), (row, column) = products.shape, corner
    positions = np.arange(len(names), dtype=np.int32)
    rows, columns = slice(row, row + height), slice(column, column + width)
    _kernels.compiled(_kernels.offer)(
        products,
        positions[rows],
        positions[columns],
        names[rows],
        names[columns],
        norms[rows],
        norms[columns],
        *lists,
        diagonal,
        2,
    )


def offer_to_rows(
    lists: tuple[IndexArray, FloatArray],
    row_names: IndexArray,
    column_names: IndexArray,
    row_norms: FloatArray,
    column_norms: FloatArray,
    products: FloatArray,
) -> None:
    """Offer the pairs of a tile to the lists of its rows, which are in their order; see `_kernels.offer`."""
    rows = np.arange(len(row_names), dtype=np.int32)
    _kernels.compiled(_kernels.offer)(
        products, rows, rows, row_names, column_names, row_norms, column_norms, *lists, -len(rows), 1
    )


class Search:
    """Neighbour lists in the making.

    A thread works on a copy of the lists that it needs and brings it back afterwards; which pairs end up in the lists
    does not depend on who came first.
    """

    def __init__(self, X: FloatArray, k: int) -> None:
        self.X = X
        self.norms = squared_norms(X)
        self.indices = np.full((len(X), k), -1, np.int32)
        self.squares = np.full((len(X), k), np.inf, np.float32)
        self._lock = Lock()

    def compare(self, rows: IndexArray, columns: IndexArray) -> None:
        """Offer all pairs of a row and a column to the lists of both; no point is in both."""
        products = (-2 * self.X[rows]) @ self.X[columns].T
        names = np.concatenate([rows, columns])
        with self._borrowed(names) as lists:
            offer_pairs(lists, names, self.norms[names], products, (0, len(rows)), -len(rows))

    def compare_all(self, points: IndexArray, height: int, stop: Event) -> None:
        """Offer all pairs of these points to the lists of both, in tiles of so many rows."""
        X = np.asarray(self.X[points])
        with self._borrowed(points) as lists:
            for start in range(0, len(points), height):
                if stop.is_set():
                    return
                products = (-2 * X[start : start + height]) @ X[start:].T
                offer_pairs(lists, points, self.norms[points], products, (start, start), 0)

    @contextmanager
    def _borrowed(self, points: IndexArray) -> Iterator[tuple[IndexArray, FloatArray]]:
        with self._lock:
            lists = self.indices[points], self.squares[points]
        yield lists
        with self._lock:
            _kernels.compiled(_kernels.combine)(self.indices, self.squares, points, *lists)

    def explore(self, rows: IndexArray, progress: Progress | None) -> None:
        """Offer the neighbours of their neighbours to these points."""
        known = self.indices.copy()
        kernel = _kernels.compiled(_kernels.explore)

        def task(block: IndexArray) -> Task:
            def work(_thread: int, stop: Event) -> None:
                if not stop.is_set():
                    kernel(self.X, self.norms, block, known, self.indices, self.squares)

            return work

        run([task(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)], progress)

    def finish(self) -> tuple[IndexArray, FloatArray]:
        """Return the lists, sorted by distance, then index, with exact distances: products lose near ones."""
        kernel = _kernels.compiled(_kernels.polish)
        distances = self.squares

        def task(start: int) -> Task:
            def work(_thread: int, stop: Event) -> None:
                if not stop.is_set():
                    kernel(self.X, start, min(start + ROWS, len(self.X)), self.indices, distances)

            return work

        run([task(start) for start in range(0, len(self.X), ROWS)])
        return self.indices, distances


def search_all(search: Search, progress: Progress | None) -> None:
    """Compare all pairs of points."""
    n = len(search.X)
    numbers = np.arange(n, dtype=np.int32)

    def task(row: int, column: int) -> Task:
        def work(_thread: int, stop: Event) -> None:
            if stop.is_set():
                return
            if column == row:
                search.compare_all(numbers[row : row + ROWS], CELL_ROWS, stop)
            else:
                search.compare(numbers[row : row + ROWS], numbers[column : column + COLUMNS])

        return work

    tiles = [(row, column) for row in range(0, n, ROWS) for column in (row, *range(row + ROWS, n, COLUMNS))]
    run([task(*tile) for tile in tiles], progress)


def search_new(search: Search, old: int, progress: Progress | None) -> None:
    """Compare the points from number `old` on with all others."""
    n = len(search.X)
    numbers = np.arange(n, dtype=np.int32)

    def task(row: int, column: int) -> Task:
        def work(_thread: int, stop: Event) -> None:
            if stop.is_set():
                return
            if column == row:
                search.compare_all(numbers[row : row + ROWS], CELL_ROWS, stop)
            else:
                search.compare(numbers[row : row + ROWS], numbers[column : min(column + COLUMNS, row)])

        return work

    tiles = [(row, column) for row in range(old, n, ROWS) for column in (row, *range(0, row, COLUMNS))]
    run([task(*tile) for tile in tiles], progress)


def search_cells(search: Search, progress: Progress | None) -> None:
    """Compare the pairs of points that share a cell, in two rounds; see the top of this module."""
    everyone = np.arange(len(search.X), dtype=np.int32)
    _round(search, everyone, CELLS_OF_ALL, part(progress, 0.0, 0.55))
    sparse = np.flatnonzero(search.squares[:, -1] > NEAR**2).astype(np.int32)
    _round(search, sparse, CELLS_OF_SPARSE, part(progress, 0.55, 1.0))


def _round(search: Search, points: IndexArray, multiple: int, progress: Progress | None) -> None:
    if not len(points):
        return
    number = min(len(points), max(1, round(multiple * len(points) / CELL)))
    cells = _cells(search.X, points, number, min(multiple, number), part(progress, 0.0, 0.3))

    def task(members: IndexArray) -> Task:
        def work(_thread: int, stop: Event) -> None:
            search.compare_all(members, CELL_ROWS, stop)

        return work

    run([task(members) for members in cells], part(progress, 0.3, 0.9))
    search.explore(points, part(progress, 0.9, 1.0))


def _cells(
    X: FloatArray, points: IndexArray, number: int, multiple: int, progress: Progress | None
) -> list[IndexArray]:
    """Divide points into the cells of `number` centres, each into the `multiple` nearest; the largest cells first."""
    rng = np.random.default_rng(0)
    sample = rng.choice(points, min(len(points), MEANS_SAMPLE * number), replace=False)
    centres = _centres(np.asarray(X[np.sort(sample)]), number, rng)
    nearest = _nearest_centres(X, points, centres, multiple, progress).ravel()
    order = np.argsort(nearest, kind="stable")
    sizes = np.bincount(nearest, minlength=number)
    members = np.split(points[order // multiple], np.cumsum(sizes)[:-1])
    return [members[cell] for cell in np.argsort(-sizes, kind="stable")]


def _centres(sample: FloatArray, number: int, rng: np.random.Generator) -> FloatArray:
    """Return k-means centres (Lloyd); one that has lost all its points becomes a point."""
    from scipy.sparse import csr_array

    everyone = np.arange(len(sample), dtype=np.int32)
    centres = sample[rng.choice(len(sample), number, replace=False)]
    for _ in range(MEANS_ROUNDS):
        nearest = _nearest_centres(sample, everyone, centres, 1, None)[:, 0]
        ones = np.ones(len(sample), np.float32)
        membership = csr_array((ones, nearest, np.arange(len(sample) + 1)), shape=(len(sample), number))
        sizes = np.bincount(nearest, minlength=number)[:, None]
        spare = sample[rng.choice(len(sample), number, replace=False)]
        centres = np.where(sizes > 0, (membership.T @ sample) / np.maximum(sizes, 1), spare).astype(np.float32)
    return centres


def _nearest_centres(
    X: FloatArray, points: IndexArray, centres: FloatArray, count: int, progress: Progress | None
) -> IndexArray:
    """Return the numbers of each point's `count` nearest centres, int32 (points, count)."""
    indices = np.full((len(points), count), -1, np.int32)
    squares = np.full((len(points), count), np.inf, np.float32)
    norms = squared_norms(centres)
    numbers = np.arange(len(centres), dtype=np.int32)

    def task(start: int) -> Task:
        def work(_thread: int, stop: Event) -> None:
            if not stop.is_set():
                block = slice(start, start + ROWS)
                nowhere = np.full(len(points[block]), -1, np.int32)
                zeros = np.zeros(len(nowhere), np.float32)  # a point's own norm is the same to all centres
                products = (-2 * X[points[block]]) @ centres.T
                offer_to_rows((indices[block], squares[block]), nowhere, numbers, zeros, norms, products)

        return work

    run([task(start) for start in range(0, len(points), ROWS)], progress)
    return indices


def measured_recall(search: Search) -> tuple[float, float]:
    """Return the share of the true neighbours found, of all k and of those within `NEAR`, on a sample of points."""
    n, k = search.indices.shape
    numbers = np.arange(n, dtype=np.int32)
    sample = np.sort(np.random.default_rng(0).choice(numbers, min(n, RECALL_SAMPLE), replace=False))
    true = np.full((len(sample), k), -1, np.int32)
    squares = np.full((len(sample), k), np.inf, np.float32)
    for start in range(0, n, COLUMNS):
        columns = slice(start, start + COLUMNS)
        products = (-2 * search.X[sample]) @ np.asarray(search.X[columns]).T
        norms = search.norms[sample], search.norms[columns]
        offer_to_rows((true, squares), sample, numbers[columns], *norms, products)
    hits = (search.indices[sample][:, None, :] == true[:, :, None]).any(axis=2)
    near = squares <= NEAR**2
    return float(hits.mean()), float(hits[near].mean()) if near.any() else 1.0

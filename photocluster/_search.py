"""Search for nearest neighbours: tiles of all pairs, or of the pairs that share a cell. Private to `graph`.

The approximate search has several rounds. Each divides its points into the cells of k-means centres, every point into
a few, and compares all points of a cell. The first round is of all points, the others of those that have not found k
neighbours within `NEAR`: strangers and people with few faces, whom no other neighbour leads to. Each round has other
cells, so that one brings together what another has parted; they go on as long as they pay (`LEAST_GAIN`). In the end
those points look at their near neighbours' near ones. Neighbours that are further off than `NEAR` are other people, and
which of them are listed matters little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

import numpy as np

from photocluster import _kernels, _tiles
from photocluster._cells import members_of_cells, nearest_cells
from photocluster._tiles import (
    COLUMNS,
    ROWS,
    IndexArray,
    Progress,
    Task,
    offer_pairs,
    offer_to_rows,
    part,
    run,
    squared_norms,
    tile,
)
from photocluster.records import FloatArray

NEAR = 1.1
"""Distance within which neighbours are likely the same person: 99.2 % of same and 0.003 % of different pairs (SFace on
LFW)."""

CELL = 1000
"""Mean number of points in a cell: about one tile, so that few products are small."""

CELL_ROWS = 256
"""Rows of a tile within a cell: few, since what is below the diagonal is waste."""

CELLS_OF_ALL, CELLS_OF_SPARSE = 2, 4
"""How many cells each point is in, in the first and in the further rounds. Two rounds of 6 cells find more than one of
12."""

LEAST_GAIN, MOST_ROUNDS = 0.15, 8
"""Rounds go on until one has found less than this share of what is known of the sparse points' near neighbours; the
next would find about half as much. That makes two further rounds at 100,000 faces and three at a million, and lists 99
and 94 to 98 in 100 of the other faces of people with two to sixteen (synthetic albums)."""

RECALL_SAMPLE = 500
"""Points whose true neighbours are found to measure recall: a share of .9 of 5,000 neighbours is known to about .01."""


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
        self.order = np.arange(len(X), dtype=np.int32)  # near ones after each other: they look at the same others
        self._versions = np.zeros(len(X), np.int32)  # how often each list was brought back
        self._lock = Lock()

    def compare(self, rows: IndexArray, columns: IndexArray) -> None:
        """Offer all pairs of a row and a column to the lists of both; no point is in both."""
        products = tile(-2 * self.X[rows], self.X[columns])
        names = np.concatenate([rows, columns])
        with self._borrowed(names) as lists:
            offer_pairs(lists, names, self.norms[names], products, (0, len(rows)), -len(rows))

    def compare_all(self, points: IndexArray, height: int, stop: Event) -> None:
        """Offer all pairs of these points to the lists of both, in tiles of so many rows."""
        X, norms = np.asarray(self.X[points]), self.norms[points]
        rows = -2 * X
        with self._borrowed(points) as lists:
            for start in range(0, len(points), height):
                if stop.is_set():
                    return
                products = tile(rows[start : start + height], X[start:])
                offer_pairs(lists, points, norms, products, (start, start), 0)

    @contextmanager
    def _borrowed(self, points: IndexArray) -> Iterator[tuple[IndexArray, FloatArray]]:
        with self._lock:
            lists, versions = (self.indices[points], self.squares[points]), self._versions[points]
        yield lists
        with self._lock:
            same = versions == self._versions[points]
            _kernels.compiled(_kernels.combine)(self.indices, self.squares, points, *lists, same)
            self._versions[points] += 1

    def sparse(self) -> IndexArray:
        """Return the points that have not found k neighbours within `NEAR`."""
        return np.asarray(self.order[self.squares[self.order, -1] > NEAR**2])

    def explore(self, rows: IndexArray, progress: Progress | None) -> None:
        """Offer the near neighbours of their near neighbours to these points."""
        known = self.indices.copy()
        near = np.count_nonzero(self.squares <= NEAR**2, axis=1).astype(np.int32)
        seen = np.full((_tiles.thread_count(), len(self.X)), -1, np.int32)
        kernel = _kernels.compiled(_kernels.explore)

        def task(block: IndexArray) -> Task:
            def work(thread: int, stop: Event) -> None:
                if not stop.is_set():
                    kernel(self.X, self.norms, block, known, near, seen[thread], self.indices, self.squares)

            return work

        run([task(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)], progress)

    def finish(self, rows: IndexArray | None = None) -> tuple[IndexArray, FloatArray]:
        """Return the lists, sorted by distance, then index, with exact distances: products lose near ones.

        Where `rows` are given, theirs; the others' distances are not valid then.
        """
        kernel = _kernels.compiled(_kernels.polish)
        distances = self.squares
        wanted = self.order if rows is None else rows

        def task(start: int) -> Task:
            def work(_thread: int, stop: Event) -> None:
                if not stop.is_set():
                    kernel(self.X, wanted[start : start + ROWS], self.indices, distances)

            return work

        run([task(start) for start in range(0, len(wanted), ROWS)])
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
    """Compare the pairs of points that share a cell, in rounds; see the top of this module."""
    _round(search, np.arange(len(search.X), dtype=np.int32), CELLS_OF_ALL, 0, part(progress, 0.0, 0.4))
    done = 0.4
    for seed in range(1, MOST_ROUNDS + 1):
        points = search.sparse()
        known = _count_near(search, points)
        _round(search, points, CELLS_OF_SPARSE, seed, part(progress, done, (1 + done) / 2))
        done = (1 + done) / 2
        found = _count_near(search, points)
        if found - known <= LEAST_GAIN * found:
            break
    search.explore(search.sparse(), part(progress, done, 1.0))


def _count_near(search: Search, points: IndexArray) -> int:
    """Return how many near neighbours of these points are known."""
    return int(np.count_nonzero(search.squares[points] <= NEAR**2))


def _round(search: Search, points: IndexArray, multiple: int, seed: int, progress: Progress | None) -> None:
    if not len(points):
        return
    number = min(len(points), max(1, round(multiple * len(points) / CELL)))
    nearest = nearest_cells(search.X, points, number, min(multiple, number), seed, part(progress, 0.0, 0.2))

    def task(members: IndexArray) -> Task:
        def work(_thread: int, stop: Event) -> None:
            search.compare_all(points[members], CELL_ROWS, stop)

        return work

    if len(points) == len(search.X):
        search.order = points[np.argsort(nearest[:, 0], kind="stable")]
    # The smallest cells come last: so no thread waits long for another.
    cells = [members.astype(np.int32) for members in sorted(members_of_cells(nearest), key=len, reverse=True)]
    run([task(members) for members in cells], part(progress, 0.2, 1.0))


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

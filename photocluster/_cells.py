"""Cells: groups of points that lie close together, each point in several. Private to `_search`.

A cell holds the points that are near its centre (k-means). Where centres are many, comparing every point with all of
them would grow with the square of the points' number; so they are made in two steps: first a few regions, then centres
within each region, and a point looks at the centres of the regions that are nearest to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event, Lock

import numpy as np

from photocluster import _kernels
from photocluster._tiles import IndexArray, Progress, Task, offer_to_rows, run, squared_norms, tile
from photocluster.records import FloatArray, IntArray

ONE_REGION = 500
"""Up to so many centres make one region: comparing a point with all of them takes 2 us."""

REGIONS = 6
"""How many regions a point looks at."""

BLOCK = 4096
"""Points that are compared with the centres of a region at a time."""

MEANS_SAMPLE, MEANS_ROUNDS = 30, 4
"""k-means runs on this many points for each centre, this many times; with half as many and three
rounds cells are less even, and recall within `NEAR` is .002 less."""


def nearest_cells(
    X: FloatArray, points: IndexArray, number: int, multiple: int, seed: int, progress: Progress | None
) -> IndexArray:
    """Return the `multiple` nearest of about `number` cells to each point, int32 (points, multiple); -1 for none.

    Parameters
    ----------
    X
        float32 (n, d).
    points
        The rows that are divided.
    number, multiple
        How many cells there are to be, and in how many of them each point is.
    seed
        Others give other cells.
    progress
        Called now and then with the finished share, 0..1.
    """
    regions = 1 if number <= ONE_REGION else round(np.sqrt(number))
    nearest = np.zeros((len(points), 1), np.int32)
    if regions > 1:
        centres = _centres(X, [points], [regions], seed)
        nearest = _compared(X, points, [np.arange(len(points))], centres, REGIONS, None)
    own = np.bincount(nearest[:, 0], minlength=regions)
    counts = np.maximum(np.round(number * own / len(points)), own > 0).astype(np.int64)
    owned = np.split(points[np.argsort(nearest[:, 0], kind="stable")], np.cumsum(own)[:-1])
    centres = _centres(X, owned, counts.tolist(), seed)
    return _compared(X, points, members_of_cells(nearest, regions), centres, multiple, progress)


def members_of_cells(nearest: IndexArray, number: int | None = None) -> list[IntArray]:
    """Return which rows of `nearest` (points, multiple) name each of the cells."""
    order = np.argsort(nearest, axis=None, kind="stable")
    sizes = np.bincount(nearest.ravel() + 1, minlength=0 if number is None else number + 1)
    return np.split(order // nearest.shape[1], np.cumsum(sizes)[:-1])[1:]  # the first is that of -1


def _centres(X: FloatArray, groups: Sequence[IndexArray], counts: Sequence[int], seed: int) -> list[FloatArray]:
    """Return so many k-means centres (Lloyd) of each group of rows, from a sample of them."""
    centres = [np.empty((0, X.shape[1]), np.float32)] * len(groups)

    def task(group: int) -> Task:
        def work(_thread: int, stop: Event) -> None:
            if not stop.is_set():
                rng = np.random.default_rng([seed, group])
                size = min(len(groups[group]), MEANS_SAMPLE * counts[group])
                rows = np.sort(rng.choice(groups[group], size, replace=False))
                centres[group] = _means(np.asarray(X[rows]), counts[group], rng)

        return work

    run([task(group) for group, count in enumerate(counts) if count])
    return centres


def _means(sample: FloatArray, number: int, rng: np.random.Generator) -> FloatArray:
    """Return `number` k-means centres; one that has lost all its points becomes a point."""
    from scipy.sparse import csr_array

    centres = sample[rng.choice(len(sample), number, replace=False)]
    ones, starts = np.ones(len(sample), np.float32), np.arange(len(sample) + 1)
    nearest = np.empty(len(sample), np.int64)
    for _ in range(MEANS_ROUNDS):
        half = squared_norms(centres) / 2
        for start in range(0, len(sample), BLOCK):
            block = slice(start, start + BLOCK)
            nearest[block] = np.argmax(sample[block] @ centres.T - half, axis=1)
        membership = csr_array((ones, nearest, starts), shape=(len(sample), number))
        sizes = np.bincount(nearest, minlength=number)[:, None]
        spare = sample[rng.choice(len(sample), number, replace=False)]
        centres = np.where(sizes > 0, (membership.T @ sample) / np.maximum(sizes, 1), spare).astype(np.float32)
    return centres


def _compared(
    X: FloatArray,
    points: IndexArray,
    visitors: Sequence[IntArray],
    centres: Sequence[FloatArray],
    multiple: int,
    progress: Progress | None,
) -> IndexArray:
    """Return the numbers of the `multiple` nearest centres of each point, int32 (points, multiple), nearest first.

    `visitors` says which of the points look at each of the groups of centres, which are numbered through.
    """
    indices = np.full((len(points), multiple), -1, np.int32)
    squares = np.full((len(points), multiple), np.inf, np.float32)
    lock = Lock()

    def task(rows: IntArray, means: FloatArray, names: IndexArray, norms: FloatArray) -> Task:
        def work(_thread: int, stop: Event) -> None:
            if stop.is_set():
                return
            nowhere = np.full(len(rows), -1, np.int32)
            zeros = np.zeros(len(rows), np.float32)  # a point's own norm is the same to all centres
            with lock:
                lists = indices[rows], squares[rows]
            offer_to_rows(lists, nowhere, names, zeros, norms, tile(-2 * X[points[rows]], means))
            with lock:
                _kernels.compiled(_kernels.combine)(indices, squares, rows, *lists, np.zeros(len(rows), dtype=bool))

        return work

    tasks, first = [], 0
    for looking, means in zip(visitors, centres, strict=True):
        given = means, np.arange(first, first + len(means), dtype=np.int32), squared_norms(means)
        blocks = range(0, len(looking) if len(means) else 0, BLOCK)
        tasks += [task(looking[start : start + BLOCK], *given) for start in blocks]
        first += len(means)
    run(tasks, progress)
    return indices

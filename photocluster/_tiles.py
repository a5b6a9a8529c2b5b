"""Threads and tiles: what the searches of `graph` and `spanning` share.

A tile is one matrix product of two blocks of rows. A few Python threads share the tiles, with BLAS held to one thread
each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event, local

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


_memory = local()


def tile(rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Return the dot products (a, b) of two blocks of rows, in memory that this thread's next call uses again.

    Fresh memory for each would cost a sixth of the time.
    """
    size = len(rows) * len(columns)
    if getattr(_memory, "buffer", np.empty(0)).size < size:
        _memory.buffer = np.empty(size, np.float32)
    products: FloatArray = _memory.buffer[:size].reshape(len(rows), len(columns))
    np.matmul(rows, columns.T, out=products)
    return products


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

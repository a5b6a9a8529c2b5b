"""The kept neighbour graph: ``neighbours.npz`` in the library folder, so that a later run only adds what is new.

A cache, which may be deleted at any time. It covers all rows of the matrix from the first on, those of forgotten faces
too (they are zero and near nobody). NumPy's NPZ, uncompressed: ``indices`` int32 (n, k), row numbers, nearest first;
``distances`` float32 (n, k); ``facts`` float64 (4,): 1 or 0 for exact or not, recall, recall of near neighbours (NaN
where there is none), and a checksum of the rows that it was made from. One whose checksum does not fit the matrix is
made anew.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from photocluster.graph import NeighbourGraph
from photocluster.records import FloatArray

FILE = "neighbours.npz"

CHECKED_ROWS = 256
"""Rows, evenly spread, that the checksum is made of: enough to tell one matrix from another, at the cost of a page
each."""


def load_graph(folder: Path, embeddings: FloatArray, k: int) -> NeighbourGraph | None:
    """Return the kept graph of the first rows of `embeddings`, or None where there is none that fits."""
    try:
        with (folder / FILE).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            indices, distances, facts = kept["indices"], kept["distances"], kept["facts"]
    except (OSError, KeyError, ValueError, EOFError, zlib.error, zipfile.BadZipFile):
        return None
    fits = (
        indices.shape == distances.shape
        and indices.ndim == 2
        and indices.shape[1] == k
        and len(indices) <= len(embeddings)
        and facts.shape == (4,)
        and facts[3] == checksum(embeddings, len(indices))
    )
    if not fits:
        return None
    recall, near_recall = (None if np.isnan(value) else float(value) for value in facts[1:3])
    return NeighbourGraph(indices, distances, bool(facts[0]), recall, near_recall)


def save_graph(folder: Path, graph: NeighbourGraph, embeddings: FloatArray) -> None:
    """Keep the graph of all rows of `embeddings`, in place of the one before."""
    nothing = float("nan")
    facts = np.array(
        [
            graph.exact,
            nothing if graph.recall is None else graph.recall,
            nothing if graph.near_recall is None else graph.near_recall,
            checksum(embeddings, len(graph.indices)),
        ],
        dtype=np.float64,
    )
    temporary = folder / f"{FILE}.partial"
    with temporary.open("wb") as file:
        np.savez(file, indices=graph.indices, distances=graph.distances, facts=facts)
    temporary.replace(folder / FILE)


def checksum(embeddings: FloatArray, rows: int) -> int:
    """Return the CRC-32 of `CHECKED_ROWS` of the first `rows` rows, the last among them."""
    chosen = np.unique(np.linspace(0, rows - 1, CHECKED_ROWS).astype(np.int64)) if rows else np.empty(0, np.int64)
    return zlib.crc32(np.ascontiguousarray(embeddings[chosen]).tobytes())

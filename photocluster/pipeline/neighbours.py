"""The neighbour graph of a library's faces: kept between runs, and grown by what is new."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from photocluster.graph import NeighbourGraph, extend_graph, neighbour_graph
from photocluster.records import FloatArray, IntArray
from photocluster.store import Library
from photocluster.store.neighbours import load_graph, save_graph

KEEP_FROM = 5_000
"""Faces from which on the graph is kept: below, making it anew takes less than half a second."""


def library_graph(
    library: Library, faces: IntArray, k: int, *, progress: Callable[[float], None] | None = None
) -> NeighbourGraph | None:
    """Return the graph of `faces` (n,), with rows in their order; None for a small library, where none is kept.

    Where faces are left out (ignored, forgotten, of replaced photos), their places in the lists of others are empty:
    index -1.
    """
    embeddings = library.embeddings()
    if len(embeddings) < KEEP_FROM:
        return None
    kept = load_graph(library.folder, embeddings, k)
    if kept is None or len(kept.indices) < len(embeddings):
        grown = _grown(kept, embeddings, k, progress)
        save_graph(library.folder, grown, embeddings)
    else:
        grown = kept
    if len(faces) == len(embeddings):
        return grown
    place = np.full(len(embeddings) + 1, -1, dtype=np.int32)  # the last stands for what is no neighbour: -1
    place[faces] = np.arange(len(faces))
    return NeighbourGraph(
        place[grown.indices[faces]], grown.distances[faces], grown.exact, grown.recall, grown.near_recall
    )


def _grown(
    kept: NeighbourGraph | None, embeddings: FloatArray, k: int, progress: Callable[[float], None] | None
) -> NeighbourGraph:
    if kept is None:
        return neighbour_graph(embeddings, k, progress=progress)
    return extend_graph(kept, embeddings, progress=progress)

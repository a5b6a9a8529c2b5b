"""Compare searches for nearest neighbours: recall, CPU time and memory, each in a process of its own.

``python examples/benchmark.py neighbours --size 50000`` finds the 16 nearest others of all faces of a synthetic album
with photocluster's exact and approximate search, and with those of faiss-cpu, usearch, hnswlib and pynndescent that are
installed. Recall is the share of the true neighbours found by a sample of 1,000 faces: of all 16, of those within 1.1,
and of those within 1.1 that are the same person, which are the ones that clustering needs. The time of compiling
(numba) is not in it; that of building the index is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synthetic_album import synthetic_album

Embeddings = NDArray[np.float32]
Indices = NDArray[np.int64]

K, NEAR, SAMPLE = 16, 1.1, 1000


def own_exact(X: Embeddings) -> Indices:
    """Search with photocluster, exactly."""
    from photocluster.graph import neighbour_graph

    return neighbour_graph(X, K, exact_limit=len(X)).indices.astype(np.int64)


def own_cells(X: Embeddings) -> Indices:
    """Search with photocluster, approximately."""
    from photocluster.graph import neighbour_graph

    return neighbour_graph(X, K, exact_limit=1).indices.astype(np.int64)


def faiss_flat(X: Embeddings) -> Indices:
    """Search with faiss, exactly."""
    import faiss

    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    return np.asarray(index.search(X, K + 1)[1])


def faiss_ivf(X: Embeddings) -> Indices:
    """Search the inverted lists of faiss: 4 sqrt(n) cells, 16 of them looked at."""
    import faiss

    cells = max(16, round(4 * np.sqrt(len(X))))
    quantizer = faiss.IndexFlatL2(X.shape[1])
    index = faiss.IndexIVFFlat(quantizer, X.shape[1], cells)
    index.train(X[:: max(1, len(X) // (40 * cells))])
    index.add(X)
    index.nprobe = 16
    return np.asarray(index.search(X, K + 1)[1])


def faiss_hnsw(X: Embeddings) -> Indices:
    """Search the HNSW graph of faiss, with 32 links a point."""
    import faiss

    index = faiss.IndexHNSWFlat(X.shape[1], 32)
    index.hnsw.efSearch = 64
    index.add(X)
    return np.asarray(index.search(X, K + 1)[1])


def usearch(X: Embeddings) -> Indices:
    """Search the HNSW graph of usearch, with its defaults."""
    from usearch.index import Index

    index = Index(ndim=X.shape[1], metric="l2sq", dtype="f32")
    index.add(np.arange(len(X)), X)
    return np.asarray(index.search(X, K + 1).keys).astype(np.int64)


def hnswlib(X: Embeddings) -> Indices:
    """Search the HNSW graph of hnswlib, with its defaults."""
    from hnswlib import Index

    index = Index(space="l2", dim=X.shape[1])
    index.init_index(max_elements=len(X))
    index.add_items(X)
    index.set_ef(64)
    return np.asarray(index.knn_query(X, K + 1)[0]).astype(np.int64)


def pynndescent(X: Embeddings) -> Indices:
    """Search with pynndescent's defaults."""
    from pynndescent import NNDescent

    return np.asarray(NNDescent(X, n_neighbors=K + 1).neighbor_graph[0]).astype(np.int64)


SEARCHES: dict[str, tuple[str, Callable[[Embeddings], Indices]]] = {
    "own, exact": ("numba", own_exact),
    "own, cells": ("numba", own_cells),
    "faiss flat": ("faiss", faiss_flat),
    "faiss IVF": ("faiss", faiss_ivf),
    "faiss HNSW": ("faiss", faiss_hnsw),
    "usearch": ("usearch", usearch),
    "hnswlib": ("hnswlib", hnswlib),
    "pynndescent": ("pynndescent", pynndescent),
}


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("neighbours", help="compare searches for nearest neighbours")
    parser.add_argument("--size", type=int, default=50_000, help="faces")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SEARCHES, action="append", help="only these; may be given several times")
    parser.add_argument("--json", action="store_true")


def neighbour_benchmark(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run those searches whose package is installed; print a line for each unless JSON is wanted."""
    album = synthetic_album(arguments.size, arguments.seed)
    sample = np.sort(np.random.default_rng(0).choice(arguments.size, min(SAMPLE, arguments.size), replace=False))
    true, squares = _true_neighbours(album.embeddings, sample)
    near = squares <= NEAR**2
    kinds = [np.ones_like(near), near, near & (album.people[true] == album.people[sample][:, None])]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "embeddings.npy", album.embeddings)
        for name in arguments.only or SEARCHES:
            if importlib.util.find_spec(SEARCHES[name][0]) is None:
                print(f"{name}: {SEARCHES[name][0]} is not installed", file=sys.stderr)
                continue
            command = [sys.executable, __file__, name, folder]
            taken = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            found = np.load(Path(folder) / "found.npy")[sample]
            hits = (found[:, None, :] == true[:, :, None]).any(axis=2)
            row = {"search": name, "faces": arguments.size, **taken, "recall": [float(hits[k].mean()) for k in kinds]}
            rows.append(row)
            if not arguments.json:
                print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """Return one result as a line of text."""
    every, near, same = row["recall"]
    return (
        f"{row['faces']:>8} {row['search']:<12} wall {row['wall']:7.2f} s  cpu {row['cpu']:7.2f} s  "
        f"peak {row['peak_bytes'] / 1e9:.2f} GB  recall {every:.3f}, near {near:.3f}, near and same {same:.4f}"
    )


def _true_neighbours(X: Embeddings, sample: Indices) -> tuple[Indices, Embeddings]:
    squares = 2 - 2 * (X[sample] @ X.T)
    squares[np.arange(len(sample)), sample] = np.inf
    true = np.argpartition(squares, K, axis=1)[:, :K]
    return true, np.take_along_axis(squares, true, axis=1)


def main() -> None:
    """Run one search in this process."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    search = SEARCHES[name][1]
    search(synthetic_album(6000, 99).embeddings)
    X = np.load(folder / "embeddings.npy")
    wall, cpu = time.perf_counter(), time.process_time()
    found = search(X)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(folder / "found.npy", found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_bytes": peak}))


if __name__ == "__main__":
    main()

"""Measure photocluster against other programs, each in a process of its own.

``python examples/benchmark.py cluster --sizes 20000,50000 --against hdbscan,fast_hdbscan`` clusters synthetic albums
(see synthetic_album.py) and prints wall and CPU seconds, peak memory, pairwise and BCubed precision, recall and F, how
many times each subject's CPU time is of photocluster's, and with which powers time and memory grow from 100,000 faces
on. ``--against exact_graph`` clusters the same faces by an exact neighbour graph. hdbscan runs up to 50,000 faces and
scikit-learn up to 20,000 (it keeps all distances), unless ``--no-limits`` is given. All subjects see the same file
through a memory map; the time is that of `fit` alone, after the same subject has clustered a small album, so that
compilation is not in it (`--cold` leaves that out).

``python examples/benchmark.py grow`` clusters a library, adds some faces and clusters it again (see
growth_benchmark.py).

``python examples/benchmark.py neighbours`` compares searches for nearest neighbours (see neighbour_benchmark.py).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import growth_benchmark
import neighbour_benchmark
import numpy as np
import scan_benchmark
from numpy.typing import NDArray
from synthetic_album import synthetic_album

from photocluster.evaluation.clustering import clustering_measures

Labels = NDArray[np.int64]
Embeddings = NDArray[np.float32]


def photocluster_default(X: Embeddings) -> Labels:
    """FaceClusterer with its defaults."""
    from photocluster.clustering import FaceClusterer

    return np.asarray(FaceClusterer().fit(X).labels_)


def photocluster_exact_graph(X: Embeddings) -> Labels:
    """FaceClusterer with its defaults on the exact neighbour graph, whatever the size."""
    from photocluster.clustering import NEIGHBOURS, FaceClusterer
    from photocluster.graph import neighbour_graph

    graph = neighbour_graph(X, NEIGHBOURS, exact_limit=len(X))
    return np.asarray(FaceClusterer().fit(X, graph=graph).labels_)


def photocluster_tree(X: Embeddings) -> Labels:
    """HDBSCAN by photocluster's graph and hierarchy alone, with a ceiling at 1.05."""
    from photocluster.graph import neighbour_graph
    from photocluster.hierarchy import condense, select, single_linkage
    from photocluster.spanning import spanning_tree

    tree = spanning_tree(X, neighbour_graph(X, 12), min_samples=2)
    return select(condense(single_linkage(tree), 3), max_distance=1.05).labels


def photocluster_exact(X: Embeddings) -> Labels:
    """Do the same with an exact graph and tree, whatever the size."""
    from photocluster.graph import neighbour_graph
    from photocluster.hierarchy import condense, select, single_linkage
    from photocluster.spanning import spanning_tree

    tree = spanning_tree(X, neighbour_graph(X, 12, exact_limit=len(X)), min_samples=2)
    return select(condense(single_linkage(tree), 3), max_distance=1.05).labels


def hdbscan(X: Embeddings) -> Labels:
    """Run hdbscan's own choice of algorithm."""
    from hdbscan import HDBSCAN

    return np.asarray(HDBSCAN(min_cluster_size=3, min_samples=2).fit(X).labels_)


def fast_hdbscan(X: Embeddings) -> Labels:
    """Run fast_hdbscan, approximate above 30 dimensions."""
    from fast_hdbscan import HDBSCAN

    # A copy, since its code would be compiled anew, for half a minute, for an array that is read-only.
    return np.asarray(HDBSCAN(min_cluster_size=3, min_samples=2).fit(np.array(X)).labels_)


def sklearn(X: Embeddings) -> Labels:
    """Run scikit-learn's HDBSCAN, which counts the point itself among its neighbours."""
    from sklearn.cluster import HDBSCAN

    return np.asarray(HDBSCAN(min_cluster_size=3, min_samples=3, algorithm="brute", copy=True).fit(X).labels_)


SUBJECTS: dict[str, Callable[[Embeddings], Labels]] = {
    "photocluster": photocluster_default,
    "exact_graph": photocluster_exact_graph,
    "tree": photocluster_tree,
    "exact": photocluster_exact,
    "hdbscan": hdbscan,
    "fast_hdbscan": fast_hdbscan,
    "sklearn": sklearn,
}


LIMITS = {"hdbscan": 50_000, "sklearn": 20_000, "exact_graph": 100_000, "exact": 100_000}


def run_subject(name: str, matrix: Path, labels: Path, *, cold: bool) -> None:
    """Cluster a file in this process, write the labels, and print what it took as JSON."""
    cluster = SUBJECTS[name]
    if not cold:
        warm = synthetic_album(6000, 99).embeddings
        cluster(warm)
        if name in ("photocluster", "exact_graph", "tree"):
            compile_all(warm)
    X = np.load(matrix, mmap_mode="r")
    wall, cpu = time.perf_counter(), time.process_time()
    found = cluster(X)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(labels, found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_bytes": peak}))


def compile_all(X: Embeddings) -> None:
    """Have the code of the approximate search compiled, too."""
    from photocluster.graph import neighbour_graph

    neighbour_graph(X, 4, exact_limit=1)


def measure(name: str, matrix: Path, people: Labels, *, cold: bool) -> dict[str, Any]:
    """Run a subject in a fresh process and score its labels."""
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.npy"
        command = [sys.executable, __file__, "_subject", name, str(matrix), str(labels), *(["--cold"] if cold else [])]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken = json.loads(finished.stdout.splitlines()[-1])
        found = np.load(labels)
    scores = clustering_measures(people, found)
    return {
        "subject": name,
        "faces": len(people),
        **taken,
        "process_cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "pairwise": precision_recall(scores.pairwise),
        "bcubed": precision_recall(scores.bcubed),
        "clusters": int(found.max(initial=-1)) + 1,
        "noise": float((found < 0).mean()),
    }


def precision_recall(score: Any) -> list[float]:
    """Precision, recall and F of a score."""
    return [float(score.precision), float(score.recall), float(score.f)]


def cluster_benchmark(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all subjects on all albums; print a line for each unless JSON is wanted."""
    names = ["photocluster", *filter(None, arguments.against.split(","))] if not arguments.only else [arguments.only]
    rows: list[dict[str, Any]] = []
    for faces in map(int, arguments.sizes.split(",")):
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            album = synthetic_album(faces, seed)
            with tempfile.TemporaryDirectory() as folder:
                matrix = Path(folder) / "embeddings.npy"
                np.save(matrix, album.embeddings)
                people = album.people
                del album
                own = None
                for name in names:
                    if faces > LIMITS.get(name, faces) and not arguments.no_limits:
                        continue
                    row = {"seed": seed, **measure(name, matrix, people, cold=arguments.cold)}
                    own = own or row
                    row["cpu_ratio"] = row["cpu"] / own["cpu"]
                    rows.append(row)
                    if not arguments.json:
                        print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """Return one result as a line of text."""
    pairwise, bcubed = (" / ".join(f"{value:.4f}" for value in row[kind]) for kind in ("pairwise", "bcubed"))
    return (
        f"{row['faces']:>8} seed {row['seed']} {row['subject']:<13} wall {row['wall']:7.2f} s  cpu {row['cpu']:7.2f} s"
        f" (x {row['cpu_ratio']:.2f})  peak {row['peak_bytes'] / 1e9:.2f} GB  pairwise {pairwise}  BCubed {bcubed}"
        f"  {row['clusters']} clusters, noise {row['noise']:.1%}"
    )


def exponents(rows: list[dict[str, Any]], least: int) -> dict[str, dict[str, float]]:
    """Return of each subject the slopes of log CPU time and log memory over log size, from `least` faces on."""
    slopes = {}
    for name in dict.fromkeys(row["subject"] for row in rows):
        own = [row for row in rows if row["subject"] == name and row["faces"] >= least]
        if len({row["faces"] for row in own}) >= 2:
            faces = np.log([row["faces"] for row in own])
            slopes[name] = {
                kind: float(np.polyfit(faces, np.log([row[kind] for row in own]), 1)[0])
                for kind in ("cpu", "wall", "peak_bytes")
            }
    return slopes


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    cluster = commands.add_parser("cluster", help="cluster synthetic albums")
    cluster.add_argument("--sizes", default="2000,20000", help="numbers of faces, with commas between them")
    cluster.add_argument("--seeds", type=int, default=1, help="albums of each size")
    cluster.add_argument("--first-seed", type=int, default=0)
    cluster.add_argument("--against", default="", help=f"any of {','.join(SUBJECTS)}")
    cluster.add_argument("--only", choices=SUBJECTS, help="this subject in place of photocluster")
    cluster.add_argument("--no-limits", action="store_true", help="run every subject at every size")
    cluster.add_argument("--cold", action="store_true", help="compile within the measured time")
    cluster.add_argument("--json", action="store_true")
    scan_benchmark.add_parser(commands)
    neighbour_benchmark.add_parser(commands)
    growth_benchmark.add_parser(commands)
    subject = commands.add_parser("_subject", help="(internal) one subject in this process")
    subject.add_argument("name", choices=SUBJECTS)
    subject.add_argument("matrix", type=Path)
    subject.add_argument("labels", type=Path)
    subject.add_argument("--cold", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Run the command that was asked for."""
    arguments = parse()
    if arguments.command == "_subject":
        run_subject(arguments.name, arguments.matrix, arguments.labels, cold=arguments.cold)
        return
    others = {
        "scan": scan_benchmark.scan_benchmark,
        "neighbours": neighbour_benchmark.neighbour_benchmark,
        "grow": growth_benchmark.growth_benchmark,
    }
    if arguments.command in others:
        rows = others[arguments.command](arguments)
        if arguments.json:
            print(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1))
        return
    rows = cluster_benchmark(arguments)
    slopes = exponents(rows, 100_000)
    if arguments.json:
        print(json.dumps({"cores": os.cpu_count(), "rows": rows, "exponents_from_100000": slopes}, indent=1))
        return
    for name, of in slopes.items():
        print(f"{name}, from 100,000 faces on: CPU time grows with the power {of['cpu']:.2f} of their number, ", end="")
        print(f"wall time {of['wall']:.2f}, memory {of['peak_bytes']:.2f}")


if __name__ == "__main__":
    main()

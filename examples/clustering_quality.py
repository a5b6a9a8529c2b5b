"""Compare FaceClusterer's defaults with HDBSCAN, DBSCAN and average linkage, each at the best of its parameters.

    python examples/clustering_quality.py faces.npz

`faces.npz` holds `X` (n, 128) float32 embeddings, `label` (n,) the person of each face ("" where not known), `rel` (n,)
the photo that it is from, and `set` (n,) which of several libraries it belongs to; each set is clustered by itself,
then all together. The others may look at the labels to choose their parameters; the defaults are the same everywhere.
Compares all pairs of faces, so it is meant for up to some ten thousand of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.cluster import DBSCAN, AgglomerativeClustering

from photocluster.clustering import FaceClusterer
from photocluster.evaluation import ClusteringMeasures, clustering_measures
from photocluster.records import FloatArray, IntArray

WITHOUT = {
    "without the tree": {"tree_ratio": 0.65},
    "without contrast": {"min_contrast": -9.0},
    "without attaching": {"attach_ratio": 9.0},
    "without collapsing": {"duplicate_distance": 1e-6},
}


def main() -> None:
    """Print one table for each set."""
    given = np.load(Path(sys.argv[1]))
    X, names = given["X"].astype(np.float32), given["label"]
    people = np.where(names == "", -1, np.unique(names, return_inverse=True)[1])
    photos = np.unique(given["rel"], return_inverse=True)[1]
    sets = {name: np.flatnonzero(given["set"] == name) for name in np.unique(given["set"])}
    for name, rows in {**sets, "all together": np.arange(len(X))}.items():
        if (people[rows] >= 0).sum() > 100:
            table(name, X[rows], people[rows], photos[rows])


def table(name: str, X: FloatArray, people: IntArray, photos: IntArray) -> None:
    """Print how each method does on one set."""
    print(f"\n{name}: {len(X)} faces\n{'':40} pairwise P / R / F      BCubed P / R / F        clusters, noise")
    for method, runs in {"HDBSCAN": hdbscan(X), "DBSCAN": dbscan(X), "average linkage": average(X)}.items():
        results = [(text, clustering_measures(people, labels)) for text, labels in runs]
        line(method, *max(results, key=lambda result: result[1].pairwise.f + result[1].bcubed.f))
    line("FaceClusterer", "", clustering_measures(people, FaceClusterer().fit(X, photos=photos).labels_))
    line("FaceClusterer", "without photos", clustering_measures(people, FaceClusterer().fit(X).labels_))
    for text, parameters in WITHOUT.items():
        labels = FaceClusterer().set_params(**parameters).fit(X, photos=photos).labels_
        line("FaceClusterer", text, clustering_measures(people, labels))


def line(method: str, parameters: str, measures: ClusteringMeasures) -> None:
    """Print one row."""
    shares = [f"{m.precision:.4f} {m.recall:.4f} {m.f:.4f}" for m in (measures.pairwise, measures.bcubed)]
    print(f"{method + ' ' + parameters:40} {'   '.join(shares)}    {measures.clusters} {measures.noise_share:.2f}")


def hdbscan(X: FloatArray) -> Iterator[tuple[str, IntArray]]:
    """Yield HDBSCAN's labels at several parameters."""
    for size, samples in [(2, 1), (2, 2), (3, 2), (3, 3), (5, 1), (5, 2), (5, 3), (5, 5), (10, 5)]:
        yield f"{size}, {samples}", FaceClusterer.plain(min_cluster_size=size, min_samples=samples).fit(X).labels_


def dbscan(X: FloatArray) -> Iterator[tuple[str, IntArray]]:
    """Yield DBSCAN's labels at several parameters."""
    for eps in [0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1]:
        for samples in [2, 3, 4]:
            yield f"{eps}, {samples}", DBSCAN(eps=eps, min_samples=samples).fit(X).labels_


def average(X: FloatArray) -> Iterator[tuple[str, IntArray]]:
    """Yield the labels of average linkage at several cuts."""
    for cut in [0.95, 1.0, 1.03, 1.05, 1.08, 1.1, 1.12, 1.15, 1.18, 1.2]:
        model = AgglomerativeClustering(n_clusters=None, distance_threshold=cut, linkage="average")
        labels = model.fit(X).labels_
        yield str(cut), np.where(np.bincount(labels)[labels] > 1, labels, -1)


if __name__ == "__main__":
    main()

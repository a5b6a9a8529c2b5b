"""Compare FaceClusterer's defaults with HDBSCAN, DBSCAN and average linkage, each at the best of its parameters.

    python examples/clustering_quality.py faces.npz
    python examples/clustering_quality.py --families 3

`faces.npz` holds `X` (n, 128) float32 embeddings, `label` (n,) the person of each face ("" where not known), `rel` (n,)
the photo that it is from, and `set` (n,) which of several libraries it belongs to; each set is clustered by itself,
then all together. ``--families`` does the same on so many synthetic families (a few people with most of the faces, a
long tail, a third strangers; see synthetic_album.py). The others may look at the labels to choose their parameters; the
defaults are the same everywhere. Below each table stand the results without each of the extras, the share of the faces
whose cluster-mates change when one photo is added (the mean over several photos, and the most), and whether another
order of the faces gives other clusters. Compares all pairs of faces, so it is meant for some ten thousand at most.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from synthetic_album import synthetic_album

from photocluster.clustering import FaceClusterer
from photocluster.evaluation import ClusteringMeasures, clustering_measures
from photocluster.records import FloatArray, IntArray

WITHOUT = {
    "without the tree": {"tree_ratio": 0.65},
    "without contrast": {"min_contrast": -9.0},
    "without attaching": {"min_probability": 1.1},
    "without collapsing": {"duplicate_distance": 1e-6},
}


def main() -> None:
    """Print one table for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="?", help="faces.npz")
    parser.add_argument("--families", type=int, default=0, help="so many synthetic families")
    parser.add_argument("--size", type=int, default=6000, help="faces of each family")
    arguments = parser.parse_args()
    for seed in range(arguments.families):
        album = synthetic_album(arguments.size, 100 + seed, strangers=1 / 3, faces_per_person=100.0, relatives=0.4)
        table(f"family {seed}", album.embeddings, album.people, np.arange(arguments.size))
    if arguments.faces is not None:
        tables_of_sets(arguments.faces)


def tables_of_sets(faces: Path) -> None:
    """Print a table for each set of a file, and for all together."""
    given = np.load(faces)
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
    stability(X, photos)


def stability(X: FloatArray, photos: IntArray, samples: int = 12) -> None:
    """Print what one photo more, and another order, change."""
    rng = np.random.default_rng(0)
    labels = FaceClusterer().fit(X, photos=photos).labels_
    shares = []
    for photo in rng.choice(np.unique(photos), samples, replace=False):
        rest = photos != photo
        before = FaceClusterer().fit(X[rest], photos=photos[rest]).labels_
        shares.append(churn(before, labels[rest]))
    order = rng.permutation(len(X))
    other = np.empty_like(labels)
    other[order] = FaceClusterer().fit(X[order], photos=photos[order]).labels_
    print(
        f"one photo more changes the mates of {np.mean(shares):.2%} of the faces, at most {np.max(shares):.2%}; ",
        end="",
    )
    print(f"another order those of {churn(labels, other):.2%}")


def churn(one: IntArray, other: IntArray) -> float:
    """Return the share of the faces whose cluster-mates differ."""
    single = np.arange(len(one)) + max(one.max(), other.max()) + 1  # noise is alone
    a, b = (np.where(labels < 0, single, labels) for labels in (one, other))
    sizes = [np.unique(labels, return_inverse=True, return_counts=True)[1:] for labels in (a, b)]
    _, place, common = np.unique(np.stack([a, b], axis=1), axis=0, return_inverse=True, return_counts=True)
    same = [common[place.ravel()] == count[number] for number, count in sizes]
    return float(1 - (same[0] & same[1]).mean())


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

"""Compare FaceClusterer's defaults with HDBSCAN, DBSCAN and average linkage, each at the best of its parameters.

    python examples/clustering_quality.py
    python examples/clustering_quality.py --keep kept --families 4 --samples 100
    python examples/clustering_quality.py --faces faces.npz --families 0

Photos of people whose names are known come from the folder that the environment variable PHOTOCLUSTER_TEST_DATA names
(default: ../shared/data beside this repository): `sets/<set>/<person>/...` and `labels.tsv`. They are scanned, then
each set is clustered by itself, and all together. ``--keep`` keeps what the scan finds for the next time. ``--faces``
takes embeddings instead: `X` (n, 128) float32, `label` (n,) the person of each face ("" where not known), `rel` (n,)
the photo that it is from, `set` (n,) which of several libraries it belongs to, and if it is there `quality` (n,).

``--families`` does the same on so many synthetic families (a few people with most of the faces, a long tail, a third
strangers; see synthetic_album.py), whose seeds nothing was chosen by. The others may look at the labels to choose their
parameters, one pair for each table; the defaults are the same everywhere. Below each table stand the results without
each of the extras, the share of the faces whose cluster-mates change when one photo is added (the mean over several
photos, and the most), and whether another order of the faces gives other clusters. Compares all pairs of faces, so it
is meant for some ten thousand at most.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import DBSCAN
from synthetic_album import synthetic_album

from photocluster.clustering import FaceClusterer
from photocluster.evaluation import ClusteringMeasures, churn, clustering_measures
from photocluster.pipeline.evaluating import Material, read_labels, read_tree
from photocluster.records import FloatArray, IntArray

DATA = Path(os.environ.get("PHOTOCLUSTER_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
SETS = ("lfw", "kpop12", "celeb5", "")
HELD_OUT = 200
"""The first seed of the families; the defaults were looked at with smaller ones."""

WITHOUT: dict[str, dict[str, Any]] = {
    "without the tree": {"tree_ratio": FaceClusterer().min_ratio},
    "without contrast": {"min_contrast": -9.0},
    "without attaching": {"min_probability": 1.1},
    "without collapsing": {"duplicate_distance": 1e-6},
    "without weak faces": {"min_quality": 0.0},
}


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Embeddings (n, 128), the person of each face (-1 unknown), its photo, and its quality or None."""

    X: FloatArray
    people: IntArray
    photos: IntArray
    quality: NDArray[np.float64] | None

    def of(self, rows: IntArray) -> Faces:
        """Return some of them."""
        quality = None if self.quality is None else self.quality[rows]
        return Faces(self.X[rows], self.people[rows], self.photos[rows], quality)

    def clusters(self, **parameters: float) -> IntArray:
        """Return the labels that the default, but for these parameters, gives."""
        clusterer = FaceClusterer(**parameters)
        return clusterer.fit(self.X, photos=self.photos, quality=self.quality).labels_


def main() -> None:
    """Print one table for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, help="faces.npz, instead of photos")
    parser.add_argument("--keep", type=Path, help="keep what the scan of the photos finds here")
    parser.add_argument("--families", type=int, default=3, help="so many synthetic families")
    parser.add_argument("--size", type=int, default=6000, help="faces of each family")
    parser.add_argument("--samples", type=int, default=20, help="photos that are added, one at a time")
    arguments = parser.parse_args()
    for name, faces in {
        **(dict(sets_of_file(arguments.faces)) if arguments.faces else dict(sets_of_photos(arguments.keep))),
        **dict(families(arguments.families, arguments.size)),
    }.items():
        table(name, faces)
        stability(faces, arguments.samples)


def families(count: int, size: int) -> Iterator[tuple[str, Faces]]:
    """Yield synthetic families."""
    for seed in range(HELD_OUT, HELD_OUT + count):
        album = synthetic_album(size, seed, strangers=1 / 3, faces_per_person=100.0, relatives=0.4)
        yield f"family {seed}", Faces(album.embeddings, album.people, np.arange(size), None)


def sets_of_photos(keep: Path | None) -> Iterator[tuple[str, Faces]]:
    """Yield the faces of each set of photos, and of all together."""
    if not (DATA / "sets").is_dir():
        print(f"{DATA} holds no photos: set PHOTOCLUSTER_TEST_DATA, or give --faces")
        return
    material = Material(labels=read_labels(DATA / "labels.tsv"), keep=keep)
    for name in SETS:
        known = read_tree(DATA / "sets" / name, material)
        quality = np.array([row.quality.overall for row in known.rows])
        yield name or "all together", Faces(known.embeddings, known.identities, known.photos, quality)


def sets_of_file(path: Path) -> Iterator[tuple[str, Faces]]:
    """Yield the faces of each set of a file, and of all together."""
    given = np.load(path)
    names = given["label"]
    everybody = Faces(
        X=given["X"].astype(np.float32),
        people=np.where(names == "", -1, np.unique(names, return_inverse=True)[1]),
        photos=np.unique(given["rel"], return_inverse=True)[1],
        quality=given["quality"].astype(np.float64) if "quality" in given else None,
    )
    for name in np.unique(given["set"]):
        faces = everybody.of(np.flatnonzero(given["set"] == name))
        if (faces.people >= 0).sum() > 100:
            yield str(name), faces
    yield "all together", everybody


def table(name: str, faces: Faces) -> None:
    """Print how each method does on one set."""
    X, people = faces.X, faces.people
    print(f"\n{name}: {len(X)} faces\n{'':40} pairwise P / R / F      BCubed P / R / F        clusters, noise")
    for method, runs in {"HDBSCAN": hdbscan(X), "DBSCAN": dbscan(X), "average linkage": average(X)}.items():
        results = [(text, clustering_measures(people, labels)) for text, labels in runs]
        line(method, *max(results, key=lambda result: result[1].pairwise.f + result[1].bcubed.f))
    line("FaceClusterer", "", clustering_measures(people, faces.clusters()))
    line("FaceClusterer", "without photos", clustering_measures(people, replace(faces, photos=None).clusters()))
    if faces.quality is not None:
        line("FaceClusterer", "without quality", clustering_measures(people, replace(faces, quality=None).clusters()))
    for text, parameters in WITHOUT.items():
        line("FaceClusterer", text, clustering_measures(people, faces.clusters(**parameters)))


def stability(faces: Faces, samples: int) -> None:
    """Print what one photo more, and another order, change."""
    rng = np.random.default_rng(0)
    labels = faces.clusters()
    shares = []
    for photo in rng.permutation(np.unique(faces.photos))[:samples]:
        rest = np.flatnonzero(faces.photos != photo)
        shares.append(churn(faces.of(rest).clusters(), labels[rest]))
    order = rng.permutation(len(labels))
    other = np.empty_like(labels)
    other[order] = faces.of(order).clusters()
    print(
        f"one photo more changes the mates of {np.mean(shares):.2%} of the faces (mean of {len(shares)}), "
        f"at most {np.max(shares):.2%}; another order those of {churn(labels, other):.2%}"
    )


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
    tree = linkage(X, "average")
    for cut in [0.95, 1.0, 1.03, 1.05, 1.08, 1.1, 1.12, 1.15, 1.18, 1.2]:
        labels = fcluster(tree, cut, "distance") - 1
        yield str(cut), np.where(np.bincount(labels)[labels] > 1, labels, -1)


if __name__ == "__main__":
    main()

"""Clustering, and the clicks that naming its result takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from photocluster.evaluation import (
    UNLABELLED,
    ClicksMeasures,
    ClusteringMeasures,
    Decision,
    Interval,
    churn,
    clicks_intervals,
    clustering_by_group,
    clustering_intervals,
    clustering_measures,
    count_clicks,
    name_clusters,
)
from photocluster.pipeline.clusters import ClusterParameters, cluster
from photocluster.pipeline.evaluating.known import KnownFaces, Tell, scratch_library
from photocluster.pipeline.evaluating.suggested import answer_suggestions
from photocluster.records import NOISE, IntArray


@dataclass(frozen=True, slots=True)
class Churn:
    """What adding one photo changes: mean and largest share of the other faces that got other mates.

    `photos` is how many photos were tried, each the last to come in once.
    """

    photos: int
    mean: float
    largest: float


@dataclass(frozen=True, slots=True, eq=False)
class ClusterEvaluation:
    """A clustering and its measures; `seconds` is the wall time of the clustering alone."""

    clusters: IntArray
    measures: ClusteringMeasures
    intervals: Mapping[str, Interval]
    groups: Mapping[str, ClusteringMeasures]
    churn: Churn | None
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class ClicksEvaluation:
    """What naming cost, by way, of everybody and of each group: how far its faces were along the same decisions."""

    ways: Mapping[str, ClicksMeasures]
    intervals: Mapping[str, Mapping[str, Interval]]
    groups: Mapping[str, Mapping[str, ClicksMeasures]]
    seconds: float


Way = Callable[[KnownFaces, IntArray], Iterable[Decision]]
"""From the faces and their clusters to the user's decisions."""

WAYS: Mapping[str, Way] = {
    "clusters, largest first": lambda known, clusters: name_clusters(known.identities, clusters),
    "suggestions": answer_suggestions,
    "the same, errors left": lambda known, clusters: name_clusters(known.identities, clusters, correct=False),
}
"""Ways to name a library, as rows of one table."""


def evaluate_clusters(
    known: KnownFaces,
    parameters: ClusterParameters | None = None,
    *,
    churn_photos: int = 0,
    resamples: int,
    seed: int = 0,
    tell: Tell | None = None,
) -> ClusterEvaluation:
    """Cluster the faces as `photocluster cluster` does, and measure the result.

    Parameters
    ----------
    known
        The faces.
    parameters
        The options of the clustering.
    churn_photos
        How many photos to leave out, one at a time, to see what adding one changes; each costs a clustering.
    resamples, seed
        Draws of the intervals (0: none), and the seed of these and of the photos left out.
    tell
        Told of the progress.
    """
    clusters, seconds = _clusters(known, parameters, tell)
    photos = known.photos.astype(np.str_)
    return ClusterEvaluation(
        clusters=clusters,
        measures=clustering_measures(known.identities, clusters, photos=photos.tolist()),
        intervals=clustering_intervals(known.identities, clusters, resamples=resamples, seed=seed),
        groups=clustering_by_group(known.identities, clusters, known.groups, photos=photos.tolist()),
        churn=_churn(known, clusters, parameters, churn_photos, seed, tell) if churn_photos else None,
        seconds=seconds,
    )


def evaluate_clicks(
    known: KnownFaces,
    parameters: ClusterParameters | None = None,
    *,
    ways: Mapping[str, Way] = WAYS,
    resamples: int,
    seed: int = 0,
    tell: Tell | None = None,
) -> ClicksEvaluation:
    """Cluster the faces, play the decisions of each way, and count.

    Parameters
    ----------
    known, parameters, resamples, seed, tell
        As in `evaluate_clusters`.
    ways
        The ways to compare, by the name that stands in the table.
    """
    clusters, seconds = _clusters(known, parameters, tell)
    played = {name: list(way(known, clusters)) for name, way in ways.items()}
    group = np.asarray(known.groups, dtype=np.str_)
    groups = {}
    for name in sorted(set(known.groups) - {""}):
        own = np.where(group == name, known.identities, UNLABELLED)
        groups[name] = {way: count_clicks(decisions, own) for way, decisions in played.items()}
    return ClicksEvaluation(
        ways={name: count_clicks(decisions, known.identities) for name, decisions in played.items()},
        intervals={
            name: clicks_intervals(decisions, known.identities, resamples=resamples, seed=seed)
            for name, decisions in played.items()
        },
        groups=groups,
        seconds=seconds,
    )


def _clusters(
    known: KnownFaces, parameters: ClusterParameters | None, tell: Tell | None, without_photo: int | None = None
) -> tuple[IntArray, float]:
    """Return the cluster of each face (n,), -1 for noise and for the faces left out, and the clustering's wall time."""
    with scratch_library(known, without_photo=without_photo) as (library, faces):
        start = time.monotonic()
        cluster(library, parameters, progress=tell)
        seconds = time.monotonic() - start
        membership = library.clusters.membership()
    clusters = np.full(len(known.rows), NOISE, dtype=np.int64)
    found = [membership[row] for row in range(len(faces))]
    clusters[faces] = [NOISE if number is None else number for number in found]
    return clusters, seconds


def _churn(
    known: KnownFaces,
    clusters: IntArray,
    parameters: ClusterParameters | None,
    count: int,
    seed: int,
    tell: Tell | None,
) -> Churn:
    """Cluster without one photo, and compare the other faces with the clustering of all."""
    photos = np.random.default_rng(seed).permutation(np.unique(known.photos))[:count]
    shares = []
    for photo in photos.tolist():
        before, _ = _clusters(known, parameters, tell, without_photo=photo)
        others = known.photos != photo
        shares.append(churn(before[others], clusters[others]))
    return Churn(photos=len(shares), mean=float(np.mean(shares)), largest=max(shares))

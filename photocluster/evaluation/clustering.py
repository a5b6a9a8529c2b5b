"""Measures of a clustering against known identities.

All of them are sums over faces: a pair counts half for each of its two faces. So the sums over all faces give the
textbook values, the sums over the faces of a group say how that group fares *within the whole* (a face of one group
that sits in a cluster of another group counts against both), and the sums over resampled people give the intervals.
Faces of one person in one cluster have equal terms, so that everything is computed on the cells of the contingency
table, of which there are never more than faces.

Conventions: a noise face (-1) is a cluster of its own. A face without identity (-1) may sit in clusters, but takes no
part in the measures. A precision with nothing joined, and a recall with nothing to join, is 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from photocluster.errors import UsageError
from photocluster.evaluation.bootstrap import RESAMPLES, Interval, bootstrap_intervals
from photocluster.evaluation.labels import UNLABELLED, BoolArray, DoubleArray, by_group, same_length
from photocluster.records import NOISE, IntArray


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Precision, recall and their harmonic mean, each 0..1."""

    precision: float
    recall: float
    f: float

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ClusteringMeasures:
    """How well clusters agree with identities.

    Attributes
    ----------
    faces, labelled, people
        All faces, those with an identity, and how many identities they have.
    clusters, noise_share, largest_cluster_share
        Clusters without noise; the shares are of all faces.
    same_photo_violations
        Clusters that hold two faces of one photo; None where the photos were not given.
    pairwise
        Over pairs of labelled faces: precision = pairs of one person among pairs of one cluster; recall the other way.
    bcubed
        Mean over labelled faces of the share of the face's cluster that is of its person (precision), and of its
        person that is in its cluster (recall); f of the two means (Bagga and Baldwin 1998; Amigo et al. 2009).
    nmi
        Normalised mutual information, arithmetic mean in the denominator, as in scikit-learn.
    ari
        Adjusted Rand index (Hubert and Arabie 1985), as in scikit-learn.
    """

    faces: int
    labelled: int
    people: int
    clusters: int
    noise_share: float
    largest_cluster_share: float
    same_photo_violations: int | None
    pairwise: PrecisionRecall
    bcubed: PrecisionRecall
    nmi: float
    ari: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def clustering_measures(
    identities: IntArray, clusters: IntArray, *, photos: Sequence[str] | None = None
) -> ClusteringMeasures:
    """Measure a clustering.

    Parameters
    ----------
    identities
        int64 (n,), -1 for a face without identity.
    clusters
        int64 (n,), -1 for noise.
    photos
        (n,) the photo that each face is in, where same-photo violations are to be counted.

    Raises
    ------
    UsageError
        No face has an identity.
    """
    everyone = np.ones(len(identities), dtype=np.bool_)
    return _measures(_contingency(identities, clusters), identities, clusters, photos=photos, mask=everyone)


def clustering_by_group(
    identities: IntArray, clusters: IntArray, groups: Sequence[str], *, photos: Sequence[str] | None = None
) -> dict[str, ClusteringMeasures]:
    """Measure how each group of faces (age, origin ...) fares within one clustering of all faces.

    Each value is the sum over the group's faces, see the module's text; over a group that is everybody it is the plain
    measure. Groups without a labelled face are left out. `groups` has one name for each face, "" for none.
    """
    table = _contingency(identities, clusters)
    labelled = {group for group, face in zip(groups, identities, strict=True) if face != UNLABELLED}
    known = [group if group in labelled else "" for group in groups]
    return by_group(known, lambda mask: _measures(table, identities, clusters, photos=photos, mask=mask))


def clustering_intervals(
    identities: IntArray, clusters: IntArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Return 95 % intervals over people of ``pairwise.precision`` ... ``bcubed.f``, ``nmi`` and ``ari``.

    The clustering is not run anew: a draw weighs the cells of its contingency table. Within a cluster, a face meets the
    other faces of its own person once, and those of another person as often as that one was drawn.
    """
    table = _contingency(identities, clusters)

    def statistic(multiplicity: DoubleArray) -> Mapping[str, float]:
        faces = multiplicity[table.person] * table.count
        pairwise, bcubed, nmi, ari = _scores(faces @ _terms(table, multiplicity))
        named = {"pairwise": pairwise.as_dict(), "bcubed": bcubed.as_dict()}
        flat = {f"{kind}.{name}": value for kind, values in named.items() for name, value in values.items()}
        return {**flat, "nmi": nmi, "ari": ari}

    return bootstrap_intervals(statistic, len(table.person_size), resamples=resamples, seed=seed)


def same_photo_violations(clusters: IntArray, photos: Sequence[str]) -> IntArray:
    """Return the clusters that hold two or more faces of one photo, ascending."""
    _, photo = np.unique(np.asarray(photos, dtype=np.str_), return_inverse=True)
    same_length(clusters=clusters, photos=photo)
    pairs, counts = np.unique(np.column_stack([clusters, photo])[clusters != NOISE], axis=0, return_counts=True)
    return np.unique(pairs[counts > 1, 0]).astype(np.int64)


def churn(before: IntArray, after: IntArray) -> float:
    """Return the share of faces whose set of cluster-mates differs between two clusterings of the same faces.

    Cluster numbers do not matter; a noise face has no mates, like the face of a one-face cluster. 0 without faces.
    """
    same_length(before=before, after=after)
    if not len(before):
        return 0.0
    table = _contingency(_noise_apart(before), after)
    whole = (table.count == table.person_size[table.person]) & (table.count == table.cluster_size[table.cluster])
    return 1 - int(table.count[whole].sum()) / len(before)


def _noise_apart(clusters: IntArray) -> IntArray:
    """Give each noise face a cluster number of its own."""
    noise = clusters == NOISE
    first = int(clusters.max(initial=-1)) + 1
    apart = clusters.astype(np.int64, copy=True)
    apart[noise] = first + np.arange(np.count_nonzero(noise))
    return apart


@dataclass(frozen=True, slots=True, eq=False)
class _Contingency:
    """The cells of the table people x clusters that hold a labelled face; noise faces are clusters of their own.

    `person`, `cluster` and `count` are int64 (cells,); `face_cell` int64 (n,) is each face's cell, -1 without identity.
    """

    person: IntArray
    cluster: IntArray
    count: IntArray
    person_size: IntArray
    cluster_size: IntArray
    face_cell: IntArray


def _contingency(identities: IntArray, clusters: IntArray) -> _Contingency:
    """Count the labelled faces by person and cluster."""
    same_length(identities=identities, clusters=clusters)
    labelled = identities != UNLABELLED
    if not labelled.any():
        raise UsageError("no face has an identity, so there is nothing to measure against; label some faces first")
    _, person, person_size = np.unique(identities[labelled], return_inverse=True, return_counts=True)
    _, cluster, cluster_size = np.unique(_noise_apart(clusters)[labelled], return_inverse=True, return_counts=True)
    keys, cell, count = np.unique(person * len(cluster_size) + cluster, return_inverse=True, return_counts=True)
    face_cell = np.full(len(identities), -1, dtype=np.int64)
    face_cell[labelled] = cell
    return _Contingency(
        person=keys // len(cluster_size),
        cluster=keys % len(cluster_size),
        count=count,
        person_size=person_size,
        cluster_size=cluster_size,
        face_cell=face_cell,
    )


def _terms(table: _Contingency, multiplicity: DoubleArray) -> DoubleArray:
    """Return float64 (cells, 10): what one face of each cell adds to the sums that `_scores` reads.

    With everybody drawn once these are whole and half numbers, logarithms and ratios of the table's own sizes; pair
    counts stay below 2**52, so exact, up to 90 million faces.
    """
    both = table.count.astype(np.float64)
    own = table.person_size[table.person].astype(np.float64)
    drawn = multiplicity[table.person]
    faces = drawn * both
    # How many faces there are for a face to meet: its own person's once, others' as often as they were drawn.
    cluster = both + np.bincount(table.cluster, faces)[table.cluster] - faces
    total = own + faces.sum() - drawn * own
    return np.column_stack(
        [
            np.ones(len(both)),
            (both - 1) / 2,  # pairs of one person in one cluster
            (cluster - 1) / 2,  # pairs of one cluster
            (own - 1) / 2,  # pairs of one person
            (total - 1) / 2,  # all pairs
            both / cluster,
            both / own,
            np.log(both / own * (total / cluster)),  # pointwise mutual information
            np.log(total / own),
            np.log(total / cluster),
        ]
    )


def _scores(sums: DoubleArray) -> tuple[PrecisionRecall, PrecisionRecall, float, float]:
    """Return pairwise, BCubed, NMI and ARI of the sums, float64 (10,), of `_terms` over faces."""
    faces, both, joined, true, pairs, precision, recall, shared, people, clusters = map(float, sums)
    pairwise = _precision_recall(both / joined if joined else 1.0, both / true if true else 1.0)
    bcubed = _precision_recall(precision / faces, recall / faces)
    nmi = max(0.0, 2 * shared / (people + clusters)) if people + clusters else 1.0
    expected = joined * true / pairs if pairs else 0.0
    ceiling = (joined + true) / 2
    ari = (both - expected) / (ceiling - expected) if ceiling != expected else 1.0
    return pairwise, bcubed, nmi, ari


def _precision_recall(precision: float, recall: float) -> PrecisionRecall:
    total = precision + recall
    return PrecisionRecall(precision, recall, 2 * precision * recall / total if total else 0.0)


def _measures(
    table: _Contingency, identities: IntArray, clusters: IntArray, *, photos: Sequence[str] | None, mask: BoolArray
) -> ClusteringMeasures:
    """Sum the terms of the faces in `mask`, and count what is there."""
    cells = table.face_cell[mask & (identities != UNLABELLED)]
    faces_of_cell = np.bincount(cells, minlength=len(table.count)).astype(np.float64)
    pairwise, bcubed, nmi, ari = _scores(faces_of_cell @ _terms(table, np.ones(len(table.person_size))))
    numbers, sizes = np.unique(clusters[mask & (clusters != NOISE)], return_counts=True)
    labelled = identities[mask & (identities != UNLABELLED)]
    faces = int(np.count_nonzero(mask))
    violations = None
    if photos is not None:
        violations = int(np.isin(numbers, same_photo_violations(clusters, photos)).sum())
    return ClusteringMeasures(
        faces=faces,
        labelled=len(labelled),
        people=len(np.unique(labelled)),
        clusters=len(numbers),
        noise_share=1 - int(sizes.sum()) / faces,
        largest_cluster_share=int(sizes.max(initial=0)) / faces,
        same_photo_violations=violations,
        pairwise=pairwise,
        bcubed=bcubed,
        nmi=nmi,
        ari=ari,
    )

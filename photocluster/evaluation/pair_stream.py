"""Verification by all pairs of labelled faces, streamed.

Distances come block by block from float32 matrix products and go at once into two histograms of squared distance,
65,536 bins over 0..4. A bin is 6e-5 wide: 3e-5 of distance at a distance of 1, far below what two photos of a burst
differ by. Memory is the embeddings, the histograms and one block, whatever the number of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photocluster.errors import UsageError
from photocluster.evaluation.bootstrap import RESAMPLES, Interval, bootstrap_intervals
from photocluster.evaluation.labels import UNLABELLED, DoubleArray, by_group
from photocluster.evaluation.rates import Roc, distances_at_fars, far_key, roc_of_counts, tars_at_fars
from photocluster.records import FloatArray, IntArray

FARS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""False accept rates at which all pairs are reported: the last is what a library of 1,500 strangers needs (a million
pairs) to hold no wrong pair."""

BINS = 1 << 16
BLOCK = 1024
"""Rows and columns of one block: the few arrays of a million entries that it needs take about 20 MB."""

UNIT_TOLERANCE = 1e-3
"""How far an embedding's norm may be from 1; float16 storage gives about 5e-4."""

MAX_TAIL = 1_000_000
"""Nearest pairs of different people that `all_pairs_intervals` keeps: 20 MB, and some ms for each resample."""

TAIL_MARGIN = 3
"""The kept pairs reach to this many times the FAR, since a resample may weigh the nearest pairs less."""


@dataclass(frozen=True, slots=True)
class AllPairsMeasures:
    """Figures of all pairs: counts, equal error rate, area under the ROC, TAR and threshold by FAR ("1e-2" ...)."""

    faces: int
    people: int
    same_pairs: int
    different_pairs: int
    eer: float
    auc: float
    tar_at_far: Mapping[str, float | None]
    distance_at_far: Mapping[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GroupRates:
    """One group's own figures, and its FAR and TAR at the thresholds of the whole ("1e-3" ...: distance, far, tar).

    With one threshold for everybody, a group whose FAR is higher is mixed up more often, and one whose TAR is lower is
    found less often (NIST IR 8280 compares groups in this way).
    """

    own: AllPairsMeasures
    at_common_distance: Mapping[str, Mapping[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class AllPairs:
    """Histograms of squared distance, int64 (65536,) over 0..4, of the pairs of one person and of different people."""

    same: IntArray
    different: IntArray
    faces: int
    people: int

    def roc(self) -> Roc:
        """Return the ROC at the upper edges of the bins that hold a pair. UsageError when a kind has no pairs."""
        filled = np.flatnonzero(self.same + self.different)
        edges = np.sqrt((filled + 1) * (4 / BINS))
        matches, impostors = np.cumsum(self.same), np.cumsum(self.different)
        totals = (float(matches[-1]), float(impostors[-1]))
        return roc_of_counts(
            edges, matches[filled].astype(np.float64), impostors[filled].astype(np.float64), totals=totals
        )

    def measures(self, fars: Sequence[float] = FARS) -> AllPairsMeasures:
        """Return the figures. UsageError when there are no pairs of one person, or none of different people."""
        curve = self.roc()
        return AllPairsMeasures(
            faces=self.faces,
            people=self.people,
            same_pairs=int(curve.same),
            different_pairs=int(curve.different),
            eer=curve.eer(),
            auc=curve.auc(),
            tar_at_far=tars_at_fars(curve, fars),
            distance_at_far=distances_at_fars(curve, fars),
        )

    def histogram(self, width: float = 0.02) -> tuple[DoubleArray, IntArray, IntArray]:
        """Return edges (k + 1,) of distance 0..2, and counts (k,) of the same and of different people, for a figure."""
        edges = np.linspace(0, 2, round(2 / width) + 1)
        centres = np.sqrt((np.arange(BINS) + 0.5) * (4 / BINS))
        column = np.clip(np.searchsorted(edges, centres, side="right") - 1, 0, len(edges) - 2)
        counts = np.zeros((2, len(edges) - 1), dtype=np.int64)
        for row, fine in enumerate((self.same, self.different)):
            np.add.at(counts[row], column, fine)
        return edges, counts[0], counts[1]


def all_pairs(embeddings: FloatArray, identities: IntArray) -> AllPairs:
    """Count the squared distances of all pairs of labelled faces.

    Parameters
    ----------
    embeddings
        float32 (n, d), unit norm; may be memory-mapped.
    identities
        int64 (n,); faces with -1 are left out.

    Raises
    ------
    ValueError
        The shapes disagree, or the embeddings are not of unit norm.
    """
    vectors, person, people = _labelled(embeddings, identities)
    counts = np.zeros(2 * BINS + 1, dtype=np.int64)
    for _, _, cells in _blocks(vectors, person):
        counts += np.bincount(cells.ravel(), minlength=len(counts))
    return AllPairs(same=counts[BINS:-1], different=counts[:BINS], faces=len(vectors), people=people)


def all_pairs_by_group(
    embeddings: FloatArray, identities: IntArray, groups: Sequence[str], *, fars: Sequence[float] = FARS
) -> dict[str, GroupRates]:
    """Return the figures of the pairs within each group; `groups` names each face's group, "" for none.

    Groups that lack pairs of one person, or of different people, are left out.
    """
    common = all_pairs(embeddings, identities).measures(fars).distance_at_far

    def rates(pairs: AllPairs) -> GroupRates:
        curve = pairs.roc()
        at_common = {}
        for key, distance in common.items():
            if distance is not None:
                far, tar = curve.rates_at(distance)
                at_common[key] = {"distance": distance, "far": far, "tar": tar}
        return GroupRates(own=pairs.measures(fars), at_common_distance=at_common)

    labelled = {group for group, person in zip(groups, identities, strict=True) if person != UNLABELLED}
    known = [group if group in labelled else "" for group in groups]
    counted = by_group(known, lambda mask: all_pairs(embeddings[mask], identities[mask]))
    return {group: rates(pairs) for group, pairs in counted.items() if pairs.same.any() and pairs.different.any()}


def all_pairs_intervals(
    embeddings: FloatArray,
    identities: IntArray,
    *,
    fars: Sequence[float] = FARS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return 95 % intervals over people of ``tar_at_far.1e-2`` ...

    In each draw the threshold is found anew, on the pairs weighed by their two people, and TAR read at it. For this
    the nearest pairs of different people are kept one by one, up to a million. A FAR that needs more than that
    (1e-2 above 33 million pairs) gets no interval, nor does one that the whole set cannot speak of.

    Parameters
    ----------
    embeddings, identities
        As in `all_pairs`, which this runs once more.
    """
    pairs = all_pairs(embeddings, identities)
    curve = pairs.roc()
    fars = [far for far in fars if 1 - 1e-9 <= far * curve.different <= MAX_TAIL / TAIL_MARGIN]
    if not fars:
        return {}
    reach = min(MAX_TAIL, int(TAIL_MARGIN * max(fars) * curve.different) + 1)
    limit = int(np.searchsorted(np.cumsum(pairs.different), reach)) + 1
    same, tail = _cells(embeddings, identities, limit)
    sizes = np.bincount(_labelled(embeddings, identities)[1]).astype(np.float64)

    def statistic(multiplicity: DoubleArray) -> Mapping[str, float]:
        total_same = float(multiplicity @ (sizes * (sizes - 1))) / 2
        weighted = multiplicity * sizes
        total_different = float(weighted.sum() ** 2 - (weighted**2).sum()) / 2
        matches = np.append(0.0, np.cumsum(multiplicity[same.first] * same.count))
        impostors = np.cumsum(multiplicity[tail.first] * multiplicity[tail.second])
        values = {}
        for far in fars:
            k = int(np.searchsorted(impostors, far * total_different * (1 + 1e-9), side="right"))
            found = total_same and k < len(impostors)
            # Pair k is the first that is too much: all bins below its own are accepted.
            tar = matches[np.searchsorted(same.bin, tail.bin[k])] / total_same if found else np.nan
            values[f"tar_at_far.{far_key(far)}"] = float(tar)
        return values

    return bootstrap_intervals(statistic, len(sizes), resamples=resamples, seed=seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Counts by bin and persons, int64 (k,) each, sorted by bin."""

    bin: IntArray
    first: IntArray
    second: IntArray
    count: IntArray


def _cells(embeddings: FloatArray, identities: IntArray, limit: int) -> tuple[_Cells, _Cells]:
    """Return the pairs of one person counted by bin and person, and each pair of different people in bins < `limit`."""
    vectors, person, _ = _labelled(embeddings, identities)
    same_keys, same_counts, tails = [], [], []
    for rows, columns, cells in _blocks(vectors, person):
        i, j = np.nonzero(cells < limit)
        tails.append(np.stack([cells[i, j], person[rows][i], person[columns][j]]).astype(np.int32))
        i, j = np.nonzero((cells >= BINS) & (cells < 2 * BINS))
        keys, counts = np.unique((cells[i, j] - BINS) + person[rows][i] * BINS, return_counts=True)
        same_keys.append(keys)
        same_counts.append(counts)
    keys, cell = np.unique(np.concatenate(same_keys), return_inverse=True)
    total = np.bincount(cell, np.concatenate(same_counts)).astype(np.int64)
    order = np.argsort(keys % BINS, kind="stable")
    who = (keys // BINS)[order]
    tail = np.concatenate(tails, axis=1)
    tail = tail[:, np.argsort(tail[0], kind="stable")].astype(np.int64)
    return (
        _Cells(bin=(keys % BINS)[order], first=who, second=who, count=total[order]),
        _Cells(bin=tail[0], first=tail[1], second=tail[2], count=np.ones(tail.shape[1], dtype=np.int64)),
    )


def _labelled(embeddings: FloatArray, identities: IntArray) -> tuple[FloatArray, IntArray, int]:
    """Return the labelled faces' vectors, their persons numbered from 0, and the number of persons."""
    if embeddings.ndim != 2 or identities.shape != (len(embeddings),):
        raise ValueError(f"embeddings (n, d) and identities (n,) do not fit: {embeddings.shape} and {identities.shape}")
    vectors = np.ascontiguousarray(embeddings[identities != UNLABELLED], dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if not (np.abs(norms - 1) <= UNIT_TOLERANCE).all():
        raise ValueError("the embeddings must be finite and of unit norm")
    if not len(vectors):
        raise UsageError("no face has an identity, so there are no pairs; label some faces first")
    numbers, person = np.unique(identities[identities != UNLABELLED], return_inverse=True)
    return vectors, person.astype(np.int64), len(numbers)


def _blocks(vectors: FloatArray, person: IntArray) -> Iterator[tuple[slice, slice, NDArray[np.int32]]]:
    """Yield row slice, column slice and int32 (rows, columns) cells: each pair of faces in exactly one of them.

    A cell is the bin of squared distance for a pair of different people, `BINS` more for a pair of one person, and
    2 * `BINS` where it is no pair, or stands in the other half of the matrix.
    """
    for top in range(0, len(vectors), BLOCK):
        rows = slice(top, min(top + BLOCK, len(vectors)))
        for left in range(top, len(vectors), BLOCK):
            columns = slice(left, min(left + BLOCK, len(vectors)))
            cosine = vectors[rows] @ vectors[columns].T
            # bin = floor(d^2 / 4 * BINS) with d^2 = 2 - 2 cos
            scaled = np.clip((1 - cosine) * (BINS / 2), 0, BINS - 1)
            cells = scaled.astype(np.int32)
            cells += np.where(person[rows, None] == person[None, columns], np.int32(BINS), np.int32(0))
            if top == left:
                cells[np.tril_indices(len(cells))] = 2 * BINS
            yield rows, columns, cells

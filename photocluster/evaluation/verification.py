"""Verification by given pairs: the protocol of Labeled Faces in the Wild.

Huang et al. 2007, "Labeled Faces in the Wild", view 2, image-restricted: of ten folds each is judged with the
threshold that is best on the other nine. `accuracy` is the mean over folds, `accuracy_sd` their standard deviation
(n - 1 in the denominator), and `accuracy_se` = sd / sqrt(folds), the figure that LFW's tables print after +-.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from photocluster.errors import UsageError
from photocluster.evaluation.bootstrap import RESAMPLES, Interval, bootstrap_intervals
from photocluster.evaluation.labels import BoolArray, DoubleArray, by_group, same_length
from photocluster.evaluation.rates import curve_values, distances_at_fars, roc, tars_at_fars
from photocluster.records import IntArray

FARS = (1e-2, 1e-3, 1e-4)
"""False accept rates at which verification by pairs is reported; the official LFW has 3,000 pairs of different people,
so it cannot speak of the last."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of a pairs file: the persons' names, the numbers of their photos, and the fold from 0 up."""

    first: str
    first_photo: int
    second: str
    second_photo: int
    fold: int

    @property
    def same(self) -> bool:
        """Whether the pair is of one person."""
        return self.first == self.second


@dataclass(frozen=True, slots=True)
class VerificationMeasures:
    """How well distances tell pairs of one person from pairs of two.

    Attributes
    ----------
    pairs, same_pairs, different_pairs
        All pairs; of one person; of two.
    folds
        How many folds there are.
    accuracy, accuracy_sd, accuracy_se
        See the module's text. The latter two are None with one fold.
    fold_accuracies, fold_thresholds
        For each fold, and the distance up to which its pairs were accepted.
    eer, auc
        Equal error rate and area under the ROC, of all pairs together.
    tar_at_far, distance_at_far
        Keyed "1e-2" ...; None where there are fewer than 1 / FAR pairs of different people (see `Roc.tar_at_far`).
    """

    pairs: int
    same_pairs: int
    different_pairs: int
    folds: int
    accuracy: float
    accuracy_sd: float | None
    accuracy_se: float | None
    fold_accuracies: tuple[float, ...]
    fold_thresholds: tuple[float, ...]
    eer: float
    auc: float
    tar_at_far: Mapping[str, float | None]
    distance_at_far: Mapping[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def parse_pairs(text: str, *, source: str = "pairs") -> tuple[Pair, ...]:
    """Read the text of an LFW pairs file.

    The first line says how many folds there are and how many pairs of each kind a fold has (``10 300``), or only the
    latter, for one fold (pairsDevTrain.txt, pairsDevTest.txt). In each fold the pairs of one person come first
    (``name n1 n2``), then those of two (``name1 n1 name2 n2``). Fields are separated by tabs, or by white space.

    Raises
    ------
    UsageError
        The text has another form; `source` and the line number stand in the message.
    """
    lines = [(number, _fields(line)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines or len(lines[0][1]) > 2 or not all(field.isdigit() for field in lines[0][1]):
        raise UsageError(f"{source}: the first line must hold one or two numbers: folds (if several), pairs of a kind")
    header = [int(field) for field in lines[0][1]]
    folds, size = (1, header[0]) if len(header) == 1 else (header[0], header[1])
    if len(lines) - 1 != folds * size * 2:
        raise UsageError(
            f"{source}: the first line promises {folds} x 2 x {size} pairs, and {len(lines) - 1} lines follow"
        )
    rows = iter(lines[1:])
    return tuple(pair for fold in range(folds) for pair in _fold(rows, fold, size, source))


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.strip().split("\t")] if "\t" in line else line.split()


def _fold(rows: Iterator[tuple[int, list[str]]], fold: int, size: int, source: str) -> Iterator[Pair]:
    """Read `size` pairs of one person, then `size` pairs of two."""
    for same in (True, False):
        for number, fields in islice(rows, size):
            names = (fields[0], fields[0 if same else 2]) if len(fields) == (3 if same else 4) else ("", "")
            photos = (fields[1], fields[-1]) if all(names) else ("", "")
            if not all(photo.isdigit() for photo in photos) or (names[0] == names[1]) is not same:
                kind = "'name number number'" if same else "'name number name number' of two people"
                raise UsageError(f"{source}, line {number}: expected {kind}, found {' '.join(fields)!r}")
            yield Pair(names[0], int(photos[0]), names[1], int(photos[1]), fold)


def lfw_verification(
    distances: DoubleArray,
    same: BoolArray,
    folds: IntArray,
    *,
    fars: Sequence[float] = FARS,
    threshold: float | None = None,
) -> VerificationMeasures:
    """Judge pairs by the LFW protocol.

    Parameters
    ----------
    distances
        float64 (n,). Infinity for a pair whose face was not found: it counts as "two people" at every threshold.
    same
        bool (n,), whether the pair is of one person.
    folds
        int64 (n,), the fold of each pair.
    fars
        The false accept rates to report TAR at.
    threshold
        Accept up to this distance in every fold, instead of choosing it on the other folds.

    Raises
    ------
    UsageError
        Pairs of one of the two kinds are missing, or there is one fold only and no `threshold`.
    """
    same_length(distances=distances, same=same, folds=folds)
    curve = roc(distances, same)
    numbers = np.unique(folds)
    if threshold is None and len(numbers) < 2:
        raise UsageError("with one fold there are no other folds to choose the threshold on; give a distance")
    thresholds = [
        best_threshold(distances[folds != fold], same[folds != fold]) if threshold is None else threshold
        for fold in numbers
    ]
    accuracies = np.array(
        [
            np.mean((distances[folds == fold] <= limit) == same[folds == fold])
            for fold, limit in zip(numbers, thresholds, strict=True)
        ]
    )
    sd = float(accuracies.std(ddof=1)) if len(numbers) > 1 else None
    return VerificationMeasures(
        pairs=len(distances),
        same_pairs=int(curve.same),
        different_pairs=int(curve.different),
        folds=len(numbers),
        accuracy=float(accuracies.mean()),
        accuracy_sd=sd,
        accuracy_se=None if sd is None else sd / float(np.sqrt(len(numbers))),
        fold_accuracies=tuple(accuracies.tolist()),
        fold_thresholds=tuple(map(float, thresholds)),
        eer=curve.eer(),
        auc=curve.auc(),
        tar_at_far=tars_at_fars(curve, fars),
        distance_at_far=distances_at_fars(curve, fars),
    )


def best_threshold(distances: DoubleArray, same: BoolArray) -> float:
    """Return the threshold with the highest accuracy: a midpoint between two distances next to each other.

    Among equally good ones the middle one is taken, so that it is not the edge of a gap.
    """
    order = np.argsort(distances, kind="stable")
    ordered = distances[order]
    finite = int(np.count_nonzero(np.isfinite(ordered)))
    # correct[k]: the nearest k pairs are accepted, the others are not.
    correct = np.cumsum(np.insert(np.where(same[order], 1, -1), 0, np.count_nonzero(~same)))[: finite + 1]
    cuts = np.append(-np.inf, ordered[:finite])
    possible = np.append(cuts[1:] > cuts[:-1], True)  # not between equal distances
    best = np.flatnonzero(possible & (correct == correct[possible].max()))
    k = int(best[(len(best) - 1) // 2])
    if k in (0, finite):
        return float(np.nextafter(ordered[0], -np.inf)) if k == 0 else float(ordered[k - 1])
    return float((ordered[k - 1] + ordered[k]) / 2)


def verification_intervals(
    distances: DoubleArray,
    folds: IntArray,
    people: IntArray,
    *,
    fars: Sequence[float] = FARS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return 95 % intervals over people of ``accuracy``, ``eer`` and ``tar_at_far.1e-2`` ...

    A pair of one person counts as often as the person was drawn, a pair of two by the product. The folds' thresholds
    stay as chosen on all pairs; accuracy is over all pairs.

    Parameters
    ----------
    distances, folds
        As in `lfw_verification`; with a single fold its own best threshold is used.
    people
        int64 (n, 2): the numbers of the two persons of each pair, equal for a pair of one person.
    """
    numbers, index = np.unique(people, return_inverse=True)
    first, second = index.reshape(people.shape).T
    same = first == second
    whole = tars_at_fars(roc(distances, same), fars)
    accepted = np.zeros(len(distances), dtype=np.bool_)
    for fold in np.unique(folds):
        others = folds != fold if np.any(folds != fold) else folds == fold
        accepted[folds == fold] = distances[folds == fold] <= best_threshold(distances[others], same[others])
    right = accepted == same

    def statistic(multiplicity: DoubleArray) -> Mapping[str, float]:
        weights = np.where(same, multiplicity[first], multiplicity[first] * multiplicity[second])
        if not weights[same].any() or not weights[~same].any():
            return {}
        curve = roc(distances, same, weights=weights)
        return {"accuracy": float(np.average(right, weights=weights)), **curve_values(curve, whole)}

    return bootstrap_intervals(statistic, len(numbers), resamples=resamples, seed=seed)


def verification_by_group(
    distances: DoubleArray, same: BoolArray, folds: IntArray, groups: Sequence[str]
) -> dict[str, VerificationMeasures]:
    """Judge the pairs of each group at the thresholds that the whole set chose.

    `groups` names each pair's group: usually that of both its faces, "" where they differ. The threshold is the mean of
    the folds' thresholds on all pairs, since a tool has one threshold for everybody. Groups that lack pairs of one of
    the two kinds are left out.
    """
    same_length(distances=distances, same=same, folds=folds)
    names = np.asarray(groups, dtype=np.str_)
    kept = np.where(np.isin(names, np.intersect1d(names[same], names[~same])), names, "").tolist()
    common = float(np.mean(lfw_verification(distances, same, folds).fold_thresholds))
    return by_group(kept, lambda mask: lfw_verification(distances[mask], same[mask], folds[mask], threshold=common))

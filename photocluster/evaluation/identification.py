"""Open-set identification: probes against a gallery of known people, where *unknown* is an answer.

Figures of the whole decision (right, wrong, unknown) and, where distances are given, the curve of DIR against FAR:
the detection and identification rate is the share of probes of known people whose nearest person is the right one and
within the threshold; FAR here is the share of strangers who are within the threshold of anybody (Phillips, Grother and
Micheals, "Evaluation methods in face recognition", Handbook of Face Recognition, 2011).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from photocluster.errors import UsageError
from photocluster.evaluation.bootstrap import RESAMPLES, Interval, bootstrap_intervals
from photocluster.evaluation.labels import UNLABELLED, BoolArray, DoubleArray, by_group, same_length
from photocluster.evaluation.rates import Roc, roc, tars_at_fars
from photocluster.records import IntArray

FARS = (1e-1, 1e-2, 1e-3)
"""Shares of strangers named, at which DIR is reported (the usual axis of open-set figures)."""

STRANGER_SHARE = 0.2
"""The part of the people held back as strangers: a fifth leaves enough known people and enough strangers
in a library of fifty people."""


@dataclass(frozen=True, slots=True)
class IdentificationMeasures:
    """What became of the probes; a share is None where there are no probes of that kind.

    Attributes
    ----------
    known, strangers
        Probes of people in the gallery; of people who are not.
    known_right, known_wrong, known_unknown
        Shares of `known`: given their own name, another's, none. They add up to 1.
    strangers_named
        Share of `strangers` given a name: each is wrong.
    names_given, names_wrong
        All probes that were given a name, and the share of them that is wrong: "one in 200" is 0.005.
    """

    known: int
    strangers: int
    known_right: float | None
    known_wrong: float | None
    known_unknown: float | None
    strangers_named: float | None
    names_given: int
    names_wrong: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetCurve:
    """Rates of the nearest person, without a decision.

    Attributes
    ----------
    rank1
        Closed set: share of the probes of known people whose nearest person is the right one, at any distance.
    curve
        `tar` is DIR, `far` the share of strangers within the threshold.
    dir_at_far
        Keyed "1e-1" ...; None with fewer than 1 / FAR strangers.
    """

    rank1: float
    curve: Roc
    dir_at_far: Mapping[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"rank1": self.rank1, "dir_at_far": dict(self.dir_at_far)}


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetSplit:
    """Indices of faces, int64, ascending, without overlap: `gallery`, `probes` of the same people, `strangers`."""

    gallery: IntArray
    probes: IntArray
    strangers: IntArray


def open_set_split(identities: IntArray, *, stranger_share: float = STRANGER_SHARE, seed: int = 0) -> OpenSetSplit:
    """Hold back a share of the people as strangers, and halve the faces of each of the others.

    Parameters
    ----------
    identities
        int64 (n,); faces with -1 are in no part.
    stranger_share
        Share of the people, 0..1, rounded to whole people.
    seed
        The same seed and identities give the same split.

    Notes
    -----
    The gallery gets the larger half, so that a person with one face is in the gallery and has no probe: someone to
    mistake others for.
    """
    if not 0 <= stranger_share <= 1:
        raise UsageError(f"the share of strangers must lie between 0 and 1, not {stranger_share}")
    generator = np.random.default_rng(seed)
    people = np.unique(identities[identities != UNLABELLED])
    held_back = generator.permutation(people)[: round(stranger_share * len(people))]
    gallery = np.zeros(len(identities), dtype=np.bool_)
    order = generator.permutation(len(identities))
    for person in np.setdiff1d(people, held_back):
        faces = order[identities[order] == person]
        gallery[faces[: (len(faces) + 1) // 2]] = True
    strangers = np.isin(identities, held_back)
    probes = (identities != UNLABELLED) & ~gallery & ~strangers
    return OpenSetSplit(*(np.flatnonzero(part).astype(np.int64) for part in (gallery, probes, strangers)))


def identification_measures(truth: IntArray, predicted: IntArray) -> IdentificationMeasures:
    """Count right, wrong and unknown.

    Parameters
    ----------
    truth
        int64 (n,), the person of each probe; -1 for a stranger, who is not in the gallery.
    predicted
        int64 (n,), the person it was named; -1 for *unknown*.
    """
    same_length(truth=truth, predicted=predicted)
    shares = _shares(_outcomes(truth, predicted).sum(axis=0))
    known, named = truth != UNLABELLED, predicted != UNLABELLED
    optional = {name: None if np.isnan(value) else value for name, value in shares.items()}
    return IdentificationMeasures(
        known=int(known.sum()), strangers=int((~known).sum()), names_given=int(named.sum()), **optional
    )


def identification_by_group(
    truth: IntArray, predicted: IntArray, groups: Sequence[str]
) -> dict[str, IdentificationMeasures]:
    """Return the measures of each group of probes; `groups` names each probe's group, "" for none."""
    same_length(truth=truth, predicted=predicted)
    return by_group(groups, lambda mask: identification_measures(truth[mask], predicted[mask]))


def identification_intervals(
    truth: IntArray, predicted: IntArray, people: IntArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Return 95 % intervals over people of the five shares; the gallery and the answers stay as they are.

    `people` int64 (n,) tells who each probe is, strangers included, so that a stranger's photos are drawn together.
    """
    same_length(truth=truth, predicted=predicted, people=people)
    _, person = np.unique(people, return_inverse=True)
    sums = np.column_stack([np.bincount(person, column) for column in _outcomes(truth, predicted).T])
    return bootstrap_intervals(
        lambda multiplicity: _shares(multiplicity @ sums), len(sums), resamples=resamples, seed=seed
    )


def open_set_curve(
    truth: IntArray, nearest: IntArray, distances: DoubleArray, *, fars: Sequence[float] = FARS
) -> OpenSetCurve:
    """Return rank-1 and DIR at FAR.

    Parameters
    ----------
    truth
        As in `identification_measures`.
    nearest, distances
        (n,) the nearest person of the gallery, whatever the distance, and that distance.

    Raises
    ------
    UsageError
        There are no probes of known people, or none of strangers.
    """
    same_length(truth=truth, nearest=nearest, distances=distances)
    known = truth != UNLABELLED
    right = known & (nearest == truth)
    # A known person taken for another is found at no threshold.
    curve = roc(np.where(right | ~known, distances, np.inf), known)
    return OpenSetCurve(rank1=float(right[known].mean()), curve=curve, dir_at_far=tars_at_fars(curve, fars))


def _outcomes(truth: IntArray, predicted: IntArray) -> DoubleArray:
    """Return float64 (n, 5) of 0 and 1: known right, wrong, unknown; stranger named, stranger unknown."""
    known, named = truth != UNLABELLED, predicted != UNLABELLED
    columns: list[BoolArray] = [
        known & (predicted == truth),
        known & named & (predicted != truth),
        known & ~named,
        ~known & named,
        ~known & ~named,
    ]
    return np.column_stack(columns).astype(np.float64)


def _shares(counts: DoubleArray) -> dict[str, float]:
    """Return the five shares of the (weighted) counts of `_outcomes`; NaN where the denominator is zero."""
    right, wrong, unknown, named, unnamed = map(float, counts)

    def share(part: float, whole: float) -> float:
        return part / whole if whole else float("nan")

    known = right + wrong + unknown
    return {
        "known_right": share(right, known),
        "known_wrong": share(wrong, known),
        "known_unknown": share(unknown, known),
        "strangers_named": share(named, named + unnamed),
        "names_wrong": share(wrong + named, right + wrong + named),
    }

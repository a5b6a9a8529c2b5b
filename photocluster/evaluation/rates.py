"""The receiver operating characteristic of a distance: a pair is accepted as one person when distance <= threshold.

FAR is the share of pairs of different people that are accepted, TAR the share of pairs of one person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from photocluster.errors import UsageError
from photocluster.evaluation.labels import BoolArray, DoubleArray, same_length

PLOT_POINTS = 500
"""Points that `Roc.as_dict` keeps: more than a figure's width in pixels shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """One point for each threshold at which something changes.

    Attributes
    ----------
    distances
        float64 (k,), ascending; the first is -inf, where nothing is accepted.
    far, tar
        float64 (k,), ascending: rates at each threshold. They end below 1 when some pairs have infinite distance.
    same, different
        How many pairs there are of each kind (or their total weight).
    """

    distances: DoubleArray
    far: DoubleArray
    tar: DoubleArray
    same: float
    different: float

    def auc(self) -> float:
        """Area under the curve by trapezoids; pairs at infinite distance make up its last segment."""
        return float(np.trapezoid(np.append(self.tar, 1.0), np.append(self.far, 1.0)))

    def eer(self) -> float:
        """Equal error rate: where FAR = 1 - TAR, linear between the two nearest points."""
        far, miss = np.append(self.far, 1.0), 1 - np.append(self.tar, 1.0)
        k = int(np.argmax(far >= miss))  # never 0: there far is 0 and miss is 1
        gap_before, gap_after = miss[k - 1] - far[k - 1], far[k] - miss[k]
        share = gap_before / (gap_before + gap_after)
        return float(far[k - 1] + share * (far[k] - far[k - 1]))

    def index_at_far(self, far: float) -> int:
        """Return the last point whose FAR is at most `far`: the curve is a step function, nothing is interpolated."""
        return int(np.searchsorted(self.far, far * (1 + 1e-9), side="right")) - 1

    def tar_at_far(self, far: float) -> float | None:
        """TAR at the largest threshold with FAR <= `far`; None with fewer than 1 / `far` pairs of different people.

        With fewer, one accepted pair is already more than `far`, and the figure would only say how far away the
        nearest stranger happens to be.
        """
        return float(self.tar[self.index_at_far(far)]) if self._can_say(far) else None

    def distance_at_far(self, far: float) -> float | None:
        """Return the largest threshold with FAR <= `far`; None as in `tar_at_far`, or where nothing may be accepted."""
        index = self.index_at_far(far)
        return float(self.distances[index]) if self._can_say(far) and index > 0 else None

    def rates_at(self, distance: float) -> tuple[float, float]:
        """Return FAR and TAR at a threshold."""
        index = int(np.searchsorted(self.distances, distance, side="right")) - 1
        return float(self.far[index]), float(self.tar[index])

    def as_dict(self) -> dict[str, list[float]]:
        """Plain values for JSON: `distance`, `far`, `tar` at up to 500 points, evenly spread over the curve's length.

        The first point, where nothing is accepted, is left out: its distance is no number in JSON.
        """
        length = np.cumsum(np.diff(self.far) + np.diff(self.tar))
        wanted = np.searchsorted(length, np.linspace(0, length[-1], PLOT_POINTS)) if len(length) else np.empty(0, int)
        keep = 1 + np.unique(wanted)
        return {
            "distance": self.distances[keep].tolist(),
            "far": self.far[keep].tolist(),
            "tar": self.tar[keep].tolist(),
        }

    def _can_say(self, far: float) -> bool:
        return self.different * far >= 1 - 1e-9


def roc(distances: DoubleArray, same: BoolArray, *, weights: DoubleArray | None = None) -> Roc:
    """Return the ROC of pairs.

    Parameters
    ----------
    distances
        (n,); infinity for a pair that no threshold accepts (such as one whose face was not found).
    same
        bool (n,), whether the pair is of one person.
    weights
        (n,), 1 each by default.

    Raises
    ------
    UsageError
        There are no pairs of one person, or none of different people.
    """
    weight = np.ones(len(distances)) if weights is None else np.asarray(weights, dtype=np.float64)
    same_length(distances=distances, same=same, weights=weight)
    if np.isnan(distances).any():
        raise ValueError("a distance is not a number; give infinity for a pair that cannot be compared")
    order = np.argsort(distances, kind="stable")
    ordered = np.asarray(distances, dtype=np.float64)[order]
    matches = np.cumsum(np.where(same, weight, 0.0)[order])
    impostors = np.cumsum(np.where(same, 0.0, weight)[order])
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True) & np.isfinite(ordered)) if len(order) else order
    totals = (matches[-1], impostors[-1]) if len(order) else (0.0, 0.0)
    return roc_of_counts(ordered[last], matches[last], impostors[last], totals=totals)


def roc_of_counts(
    distances: DoubleArray, matches: DoubleArray, impostors: DoubleArray, *, totals: tuple[float, float]
) -> Roc:
    """Return the ROC of cumulative counts: `matches[i]` pairs of one person lie within `distances[i]`.

    `totals` are all pairs of one person and all pairs of different people. UsageError when one of them is zero.
    """
    same, different = (float(total) for total in totals)
    if not same or not different:
        raise UsageError(
            f"a ROC needs pairs of one person and pairs of different people; there are {same:g} and {different:g}"
        )
    return Roc(
        distances=np.insert(distances, 0, -np.inf),
        far=np.insert(impostors / different, 0, 0.0),
        tar=np.insert(matches / same, 0, 0.0),
        same=same,
        different=different,
    )


def far_key(far: float) -> str:
    """Return a rate as it is written in JSON keys and tables: 1e-2, 5e-4."""
    return np.format_float_scientific(far, trim="-", exp_digits=1)


def tars_at_fars(curve: Roc, fars: Sequence[float]) -> dict[str, float | None]:
    """Return TAR by FAR, keyed as `far_key` writes it."""
    return {far_key(far): curve.tar_at_far(far) for far in fars}


def distances_at_fars(curve: Roc, fars: Sequence[float]) -> dict[str, float | None]:
    """Return the threshold by FAR, keyed as `far_key` writes it."""
    return {far_key(far): curve.distance_at_far(far) for far in fars}


def curve_values(curve: Roc, tar_at_far: Mapping[str, float | None]) -> dict[str, float]:
    """Return EER and TAR of a resampled curve by name, at those FARs that the whole sample can speak of."""
    values = {"eer": curve.eer()}
    for key, value in tar_at_far.items():
        if value is not None:
            values[f"tar_at_far.{key}"] = float(curve.tar[curve.index_at_far(float(key))])
    return values

"""Confidence intervals by bootstrap over people.

Faces of one person are not independent: twenty photos of one child say little about the next child. So what is drawn
with replacement is the person, with all of that person's faces. What was computed once (embeddings, clusters, answers)
stays as it is, so that a draw costs a weighted sum and not a new run. A person drawn twice counts twice; a pair of two
people counts by the product of their two multiplicities; the copies of one person never meet. (Efron and Tibshirani
1993, chapter 13, for the percentile interval; Bolle, Ratha and Pankanti 2004, "Error analysis of pattern recognition
systems: the subsets bootstrap", for drawing people and not pairs.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from photocluster.evaluation.labels import DoubleArray

RESAMPLES = 1000
"""Draws: the usual number for percentile intervals (Efron and Tibshirani 1993, section 13.3)."""

LEVEL = 0.95

Statistic = Callable[[DoubleArray], Mapping[str, float]]
"""From multiplicities, float64 (people,), to values by name; NaN where a draw leaves a value undefined."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval, `low` <= `high`."""

    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def bootstrap_intervals(
    statistic: Statistic, people: int, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, Interval]:
    """Return the percentile interval of each value of `statistic` over draws of `people` people with replacement.

    Parameters
    ----------
    statistic
        Called once per draw with how often each person was drawn.
    people
        How many people there are; with fewer than two there is nothing to resample, and the result is empty.
    resamples, seed, level
        Number of draws, seed of the generator, and the share of draws inside the interval.

    Returns
    -------
    Intervals by name. A name is left out when fewer than half of the draws define its value.
    """
    if people < 2:
        return {}
    generator = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {}
    for _ in range(resamples):
        multiplicity = np.bincount(generator.integers(people, size=people), minlength=people).astype(np.float64)
        for name, value in statistic(multiplicity).items():
            draws.setdefault(name, []).append(value)
    tail = (1 - level) / 2
    intervals = {}
    for name, values in draws.items():
        defined = np.array(values)[~np.isnan(values)]
        if 2 * len(defined) >= resamples:
            low, high = np.quantile(defined, [tail, 1 - tail])
            intervals[name] = Interval(float(low), float(high))
    return intervals

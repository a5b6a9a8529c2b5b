"""How near a stranger comes: the distance at which a library's own people can be told from everybody else.

No threshold is right for every library: among the members of one band, or of one family, strangers come nearer than
among news photos, and the more persons are known, the nearer is the nearest of them to anybody. What a stranger would
be like is known from the library itself: take a named face, leave its person out, and look how near the nearest of the
other persons is. A library with few persons says little; it is shrunk towards what LFW says of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WRONG_SHARE = 0.005
"""Of strangers, one in 200 may be named: one wrong name in 200, where strangers ask as often as known people do."""

DEVIATIONS = 2.576
"""Standard deviations below the mean under which a normal distribution has a share of `WRONG_SHARE`."""

NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation. Medians, since a pair of twins among
the known persons says nothing about the others; it has its own crowding (`Strangers.radii`)."""

LFW_DISTANCE = (0.90, 1.00, 1.05, 1.10, 1.15, 1.20)
LFW_FALSE_ACCEPTANCE = (8.5e-7, 1.8e-6, 5.7e-6, 3.0e-5, 2.0e-4, 1.5e-3)
"""Share of the 87 million pairs of different people in LFW that are within a distance (SFace, mirror image added, mean
subtracted)."""

LIMIT = 1.0
"""However far strangers seem to be, nobody is named beyond this: two pairs of strangers in LFW in a million are that
near. A library's strangers may be relatives of few persons, or members of one band, of whom the named ones tell
nothing: at 1.05 they were 1.6 % of the names in a mixed set with a band, at 1.0 0.6 %, for 1.5 % fewer names."""

FLOOR = 0.90
"""However near strangers seem to be, faces within this distance count as one person: of LFW's pairs of strangers less
than one in a million is that near. Two names given to one person, or twins, must not end all propagation."""

PRIOR_DEVIATION = 0.04
"""Standard deviation of the distance from a stranger to the nearest person: 0.03 to 0.04 among 737 persons of LFW."""

PRIOR_PERSONS = 2.0
"""How many persons of the library outweigh the model's own figures. From 1 to 4 the threshold of five persons who look
alike moves by 0.04, and that of larger libraries not at all."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """How far strangers are from the nearest person of a library.

    Attributes
    ----------
    persons
        Persons of the library.
    mean, deviation
        Of the usual distance from a stranger to the nearest person, as far as the library and the model know it.
    limit
        What the model allows for so many persons, and never more than `LIMIT`.
    """

    persons: int
    mean: float
    deviation: float
    limit: float

    @property
    def threshold(self) -> float:
        """The distance that one stranger in 200 is within (`WRONG_SHARE`), between `FLOOR` and the limit."""
        return max(min(self.mean - DEVIATIONS * self.deviation, self.limit), FLOOR)

    def radii(self, crowding: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the threshold of each person.

        Parameters
        ----------
        crowding
            (p,) by how much the next person is nearer to each than to persons in general; 0 or less for most. Whoever
            has look-alikes among the known persons is likely to have others among the strangers.
        """
        usual = self.mean - DEVIATIONS * self.deviation
        return np.asarray(np.clip(usual - np.maximum(crowding, 0), FLOOR, self.limit), dtype=np.float32)


def _median(values: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(share, share[-1] / 2)])


def model_threshold(persons: int) -> float:
    """Return the distance within which a stranger is to any of so many persons in one case of 200, by LFW's pairs.

    Beyond the table's ends the end counts: 0.9 from some 6,000 persons on, 1.2 for up to three.
    """
    share = WRONG_SHARE / max(persons, 1)
    return float(np.interp(np.log(share), np.log(LFW_FALSE_ACCEPTANCE), LFW_DISTANCE))


def calibrate(persons: int, distances: NDArray[np.floating], of_person: NDArray[np.int64]) -> Strangers:
    """Return how near strangers come.

    Parameters
    ----------
    persons
        How many persons the library knows.
    distances
        (n,) of named faces, each to the nearest person that it is not; n = 0 where fewer than two are known.
    of_person
        (n,) who each is. Persons count alike, however many faces they have.
    """
    model = model_threshold(persons)
    centre, spread = model + DEVIATIONS * PRIOR_DEVIATION, PRIOR_DEVIATION
    if len(distances):
        _, number, faces = np.unique(of_person, return_inverse=True, return_counts=True)
        weight = 1 / faces[number]
        known = float(weight.sum())  # the persons among them
        values = distances.astype(np.float64)
        own = _median(values, weight)
        square = known * (NORMAL * _median(np.abs(values - own), weight)) ** 2
        whole = known + PRIOR_PERSONS
        apart = known * PRIOR_PERSONS / whole * (own - centre) ** 2
        spread = float(np.sqrt((square + PRIOR_PERSONS * spread**2 + apart) / whole))
        centre = (known * own + PRIOR_PERSONS * centre) / whole
    return Strangers(persons, centre, spread, min(model, LIMIT))

"""Open-set identification: who is a face, among the faces whose person is known, or nobody of them.

For each probe the k nearest gallery faces of each person speak for that person: the distance to a person is the mean of
the distances to the person's nearest faces (up to `NEIGHBOURS`, fewer where the person has fewer). The nearest person
is the answer if the distance is within the threshold and the second person is farther by the margin; otherwise the
answer is *unknown*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from photocluster.records import FloatArray, IntArray

UNKNOWN = -1
"""The person of a probe that is nobody in the gallery."""

THRESHOLD = 1.05
"""Greatest distance to a person. On all pairs of LFW one pair of strangers in 175,000 is that near, and 98.1 % of the
pairs of one person are (SFace, mean subtracted)."""

MARGIN = 0.05
"""How much farther the second person has to be. Between 1.05 and 1.10 the rate of strangers that near grows fivefold
(same table): a second person within the margin is as likely by that much, which is too likely to decide."""

VERIFICATION_THRESHOLD = 1.10
"""Greatest distance of two faces that are said to be one person, when just two are compared: 99.2 % of the pairs of one
person in LFW are that near, and 3 in 100,000 of different people (same table)."""

NEIGHBOURS = 3
"""Faces that speak for a person: one can be a wrong one or a bad photo, three together are seldom both."""

BLOCK = 1024
"""Probes compared at a time: bounds the memory to 4 kB for each face of the gallery."""


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """Answers for n probes, by row.

    Attributes
    ----------
    person
        (n,) int64: the person, or UNKNOWN.
    nearest, second
        (n,) int64: the nearest and the second nearest person, UNKNOWN where there is none.
    distance, second_distance
        (n,) float32: the distances to them, infinite where there is none.
    """

    person: IntArray
    nearest: IntArray
    distance: FloatArray
    second: IntArray
    second_distance: FloatArray


def identify(
    probes: FloatArray,
    gallery: FloatArray,
    persons: IntArray,
    *,
    threshold: float = THRESHOLD,
    margin: float = MARGIN,
    neighbours: int = NEIGHBOURS,
    rejected: Sequence[tuple[int, int]] = (),
) -> Identification:
    """Return who each probe is.

    Parameters
    ----------
    probes
        (n, d) float32 unit vectors.
    gallery
        (m, d) float32 unit vectors of known faces.
    persons
        (m,) int64, the person of each gallery face, any ids >= 0.
    threshold, margin
        Euclidean distances.
    neighbours
        How many faces speak for a person at the most.
    rejected
        (row of the probe, person) pairs that are known to be wrong: that person is no candidate for that probe.
    """
    count = len(probes)
    ids, columns = np.unique(persons, return_inverse=True)
    nearest = np.full((count, 2), UNKNOWN, dtype=np.int64)
    distances = np.full((count, 2), np.inf, dtype=np.float32)
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(len(ids) + 1))
    grouped = np.ascontiguousarray(gallery[order]) if len(ids) else gallery
    for first in range(0, count if len(ids) else 0, BLOCK):
        block = person_distances(probes[first : first + BLOCK], grouped, starts, neighbours)
        for row, person in rejected:
            if first <= row < first + len(block):
                block[row - first, ids == person] = np.inf
        best = np.argsort(block, axis=1, kind="stable")[:, :2]
        rows = slice(first, first + len(block))
        nearest[rows, : best.shape[1]] = ids[best]
        distances[rows, : best.shape[1]] = np.take_along_axis(block, best, axis=1)
    nearest[np.isinf(distances)] = UNKNOWN
    accepted = (distances[:, 0] <= threshold) & (distances[:, 1] >= distances[:, 0] + margin)
    return Identification(
        person=np.where(accepted, nearest[:, 0], UNKNOWN),
        nearest=nearest[:, 0],
        distance=distances[:, 0],
        second=nearest[:, 1],
        second_distance=distances[:, 1],
    )


def person_distances(probes: FloatArray, grouped: FloatArray, starts: IntArray, neighbours: int) -> FloatArray:
    """Return the distance (b, p) float32 of each probe to each person: the mean of the nearest `neighbours` faces.

    Parameters
    ----------
    probes
        (b, d) unit vectors.
    grouped
        (m, d) unit vectors, those of a person in a row.
    starts
        (p + 1,): person i owns the rows starts[i]..starts[i + 1].
    """
    distances = np.sqrt(np.maximum(2 - 2 * (probes @ grouped.T), 0))  # (b, m)
    result = np.empty((len(probes), len(starts) - 1), dtype=np.float32)
    for i, (start, end) in enumerate(pairwise(starts)):
        own = distances[:, start:end]
        if end - start > neighbours:
            own = np.partition(own, neighbours - 1, axis=1)[:, :neighbours]
        result[:, i] = own.mean(axis=1)
    return result


def one_person_per_photo(
    answers: Identification, photos: Sequence[int], taken: Mapping[int, set[int]]
) -> dict[int, tuple[int, float]]:
    """Return probe row -> (person, distance), no person twice in a photo: there the nearest face has the name.

    Parameters
    ----------
    answers
        Of n probes.
    photos
        (n,) the photo of each probe.
    taken
        photo -> the persons that other faces of that photo carry already.
    """
    found = {photo: set(persons) for photo, persons in taken.items()}
    named: dict[int, tuple[int, float]] = {}
    (accepted,) = np.nonzero(answers.person != UNKNOWN)
    for row in sorted(accepted.tolist(), key=lambda r: (float(answers.distance[r]), r)):
        person = int(answers.person[row])
        persons = found.setdefault(photos[row], set())
        if person not in persons:
            persons.add(person)
            named[row] = (person, float(answers.distance[row]))
    return named

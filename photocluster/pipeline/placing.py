"""Which face a name is meant for: by the rectangle that it was given with, or by the person's other faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photocluster.identification import MARGIN, VERIFICATION_THRESHOLD
from photocluster.records import Box, FloatArray, IntArray

SHARED = 0.5
"""Share of the smaller of two boxes that must lie in the other one. Intersection over union would not do: programs draw
the face from brow to chin, the head with its hair, or a square around both, so that one box is up to three times as
large as another around the same face, and their intersection over union is a third. Two faces side by side share
less than half of the smaller one, unless one is hidden behind the other."""

CREDIBLE = 0.25
"""Intersection over union from which a box that holds several faces still means the one that it is drawn around: it is
at most twice as wide and high. A larger one is around a group, and names nobody in it."""

BLOCK = 4096
"""Faces that are compared at a time: 16 kB for each person."""


def match_regions(regions: Sequence[Box], faces: Sequence[Box]) -> dict[int, tuple[int, float]]:
    """Return region -> (face, intersection over union), each face at most once.

    A region may mean a face if they share most of the smaller one and each holds the other's centre. Among these pairs
    the assignment with the greatest sum of intersections over union is taken.

    Parameters
    ----------
    regions, faces
        Boxes of one photo, in one unit.
    """
    from scipy.optimize import linear_sum_assignment

    weights = np.zeros((len(regions), len(faces)))
    for i, region in enumerate(regions):
        inside = [j for j, face in enumerate(faces) if _holds(region, face)]
        for j, face in enumerate(faces):
            overlap = region.iou(face)
            if _shared(region, face) >= SHARED and _holds(region, face) and _holds(face, region):
                weights[i, j] = overlap if inside == [j] or overlap >= CREDIBLE else 0.0
    rows, columns = linear_sum_assignment(weights, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {i: (j, float(weights[i, j])) for i, j in pairs if weights[i, j] > 0}


def _holds(outer: Box, inner: Box) -> bool:
    return outer.contains((inner.x0 + inner.x1) / 2, (inner.y0 + inner.y1) / 2)


def _shared(a: Box, b: Box) -> float:
    """Return the share of the smaller box that lies in the other (Szymkiewicz and Simpson's overlap coefficient)."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(a.width * a.height, b.width * b.height)


@dataclass(frozen=True, slots=True)
class Choice:
    """A photo with persons who should be in it, and the faces that they may be.

    `faces` are without a name: each a group of rows that is one face (the frames of a track), or just one row.
    `refused` holds (index of the face, person) of what the user said not to be. In a film a person may be several of
    the faces: the tracker loses people.
    """

    persons: tuple[int, ...]
    faces: tuple[tuple[int, ...], ...]
    refused: frozenset[tuple[int, int]] = frozenset()
    filmed: bool = False


@dataclass(frozen=True, slots=True)
class Fit:
    """The face (its index in the choice) that fits a person, and the distance."""

    choice: int
    person: int
    face: int
    distance: float


class Gallery:
    """The faces whose person is known, as one sum of unit vectors per person.

    Parameters
    ----------
    embeddings
        (n, d) float32 unit vectors, row i that of face i.
    known
        Face -> person.
    """

    def __init__(self, embeddings: FloatArray, known: Mapping[int, int]) -> None:
        self._embeddings = embeddings
        faces = np.fromiter(known.keys(), dtype=np.int64, count=len(known))
        persons = np.fromiter(known.values(), dtype=np.int64, count=len(known))
        order = np.argsort(faces)  # so that the sums do not depend on the order in which names were given
        self.ids: IntArray
        self.ids, columns = np.unique(persons[order], return_inverse=True)
        self._column = {person: column for column, person in enumerate(self.ids.tolist())}
        self._sums = np.zeros((len(self.ids), embeddings.shape[1]))
        self._counts = np.bincount(columns, minlength=len(self.ids))
        for first in range(0, len(faces), BLOCK):
            part = slice(first, first + BLOCK)
            np.add.at(self._sums, columns[part], embeddings[faces[order][part]].astype(np.float64))

    def outlier(self, face: int, person: int) -> float | None:
        """Return the distance of a face of a person to the centroid of the person's others; None without two others."""
        column = self._column[person]
        if self._counts[column] < 3:
            return None
        own = self._embeddings[face].astype(np.float64)
        return float(np.linalg.norm(own - _unit(self._sums[column] - own)))

    def fits(self, choices: Sequence[Choice]) -> list[Fit]:
        """Return the faces that surely are one of the persons of their photo.

        The face is within `VERIFICATION_THRESHOLD` of the person's centroid, no other face of the photo is as near by
        `MARGIN`, nor is another of the photo's persons as near to the face, and nobody at all is nearer to it.
        """
        found = []
        centroids = _unit(self._sums)
        for first in range(0, len(choices), BLOCK):
            part = choices[first : first + BLOCK]
            groups = [group for choice in part for group in choice.faces]
            vectors = self._vectors(groups)
            start = 0
            for number, choice in enumerate(part, first):
                rows = vectors[start : start + len(choice.faces)]
                start += len(choice.faces)
                distances = np.sqrt(np.maximum(2 - 2 * (rows @ centroids.T), 0))
                found += self._fits_of(number, choice, distances)
        return found

    def _vectors(self, groups: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        """Return the unit vector of each face: of a track the mean direction of its frames."""
        sums = np.zeros((len(groups), self._embeddings.shape[1]))
        for row, group in enumerate(groups):
            sums[row] = self._embeddings[list(group)].sum(axis=0)
        return _unit(sums)

    def _fits_of(self, number: int, choice: Choice, distances: NDArray[np.float64]) -> list[Fit]:
        """Return the fits of one photo; `distances` (faces, persons of the gallery)."""
        known = [person for person in choice.persons if person in self._column]
        if not known or not len(distances):
            return []
        own = np.stack([distances[:, self._column[person]] for person in known], axis=1)  # (faces, known)
        nearest = distances.min(axis=1)
        for face, person in choice.refused:
            if person in known:
                own[face, known.index(person)] = np.inf
        fits = []
        for column, person in enumerate(known):
            face = int(own[:, column].argmin())
            distance = float(own[face, column])
            rivals = np.delete(own[:, column], face) if not choice.filmed else np.empty(0)
            others = np.concatenate([rivals, np.delete(own[face], column)])
            sure = distance <= VERIFICATION_THRESHOLD and distance <= nearest[face] + 1e-6
            if sure and (others >= distance + MARGIN).all():
                fits.append(Fit(number, person, face, distance))
        return fits


def _unit(vectors: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float64)

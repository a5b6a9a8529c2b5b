"""Open-set identification: who is a face, among the faces whose person is known, or nobody of them.

The distance to a person is that to the *centroid*: the sum of the person's unit vectors, normalised. A person whose
photos differ much has a short sum, which normalising stretches, so that a wide person is not farther from everything
than a tight one. The nearest person is the answer if the distance is within the threshold and the second person is
farther by the margin; otherwise the answer is *unknown*. The threshold is calibrated on the known faces themselves
(`calibration`), unless one is given; it is less for persons who have look-alikes among the others. Faces of which the
user said that they are *not* a person draw that person's own threshold in, and stand in the way of faces that are
nearer to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from photocluster.calibration import Strangers, calibrate
from photocluster.records import FloatArray, IntArray

UNKNOWN = -1
"""The person of a probe that is nobody in the gallery."""

MARGIN = 0.1
"""How much farther the second person has to be. In LFW strangers are 17 times as frequent within 1.10 as within 1.00: a
second person nearer than that is too likely to decide."""

VERIFICATION_THRESHOLD = 1.10
"""Greatest distance of two faces that are said to be one person, when just two are compared: 99.2 % of the pairs of one
person in LFW are that near, and 3 in 100,000 of different people (SFace, mean subtracted, all pairs)."""

NEIGHBOURS = 3
"""Faces that speak for a person (`Method.NEIGHBOURS`): one can be a wrong one or a bad photo, three together are seldom
both."""

BLOCK = 1024
"""Probes compared at a time: bounds the memory to 4 kB for each person."""

PAIRS = 1 << 23
"""Pairs of faces compared at a time: 32 MB."""

SAMPLE = 1024
"""Known faces on which the threshold is calibrated: the mean of so many distances is known to 0.002."""

OWN_SHARE = 0.5
"""However near a rejected face lies, a person keeps the radius within which this share of the person's own faces is:
one mistaken answer must not end a person."""


class Method(StrEnum):
    """What is compared.

    ``CENTROID``: the probe with the centroid of each person. ``NEIGHBOURS``: with the nearest faces of each person,
    taking the mean distance. ``SVM``: a linear support vector machine says which two persons come first, and their
    centroids' distances whether that counts.
    """

    CENTROID = "centroid"
    NEIGHBOURS = "neighbours"
    SVM = "svm"


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Known faces: embeddings (m, d) float32 unit vectors, and the person (m,) int64 of each, any ids >= 0."""

    embeddings: FloatArray
    persons: IntArray


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
    radius
        (n,) float32: the greatest distance at which the nearest person is accepted.
    rejected_distance
        (n,) float32: the distance to the nearest face that was said not to be the nearest person, infinite where there
        is none.
    threshold
        The greatest distance in general.
    """

    person: IntArray
    nearest: IntArray
    distance: FloatArray
    second: IntArray
    second_distance: FloatArray
    radius: FloatArray
    rejected_distance: FloatArray
    threshold: float


class People:
    """The persons of a gallery as they are compared with: made once, asked often.

    Parameters
    ----------
    gallery
        The known faces. Their order changes nothing.
    threshold
        The greatest distance; None calibrates it on the gallery.
    method
        What is compared.
    rejected
        Faces, and who each of them is not.
    """

    def __init__(
        self,
        gallery: Gallery,
        *,
        threshold: float | None = None,
        method: Method = Method.CENTROID,
        rejected: Gallery | None = None,
    ) -> None:
        ids, columns = np.unique(gallery.persons, return_inverse=True)
        order = np.lexsort((*gallery.embeddings.T[:3], columns))
        self.ids: IntArray = ids
        self.method = method
        self._starts = np.searchsorted(columns[order], np.arange(len(ids) + 1))
        self._faces = np.ascontiguousarray(gallery.embeddings[order])
        self._columns = columns[order]
        empty = np.empty((0, gallery.embeddings.shape[1]))
        self._sums = np.add.reduceat(self._faces, self._starts[:-1], axis=0, dtype=np.float64) if len(ids) else empty
        self.centroids = _unit(self._sums)
        self._svm = _Svm(self._faces, self._columns) if method is Method.SVM and len(ids) > 1 else None
        self.strangers = self._strangers()
        self.threshold = self.strangers.threshold if threshold is None else threshold
        usual = (
            self.strangers.radii(self._crowding()) if threshold is None else np.full(len(ids), threshold, np.float32)
        )
        self._rejected = self._known_only(rejected) if rejected is not None else None
        self.radii: FloatArray = self._drawn_in(usual)

    def _strangers(self) -> Strangers:
        """Return how near strangers come, by leaving each person out in turn."""
        count = len(self.ids)
        chosen = _spread(np.arange(count), SAMPLE)
        each = max(1, SAMPLE // max(count, 1))
        rows = [_spread(np.arange(self._starts[i], self._starts[i + 1]), each) for i in chosen.tolist()]
        faces = np.concatenate(rows) if count > 1 else np.empty(0, dtype=np.int64)
        distances = self.distances(self._faces[faces])
        own = self._columns[faces]
        distances[np.arange(len(faces)), own] = np.inf
        return calibrate(count, distances.min(axis=1, initial=np.inf) if count > 1 else np.empty(0), own)

    def _crowding(self) -> FloatArray:
        """Return (p,) by how much the faces of the next person are nearer to each person than is usual."""
        if len(self.ids) < 2:
            return np.zeros(len(self.ids), dtype=np.float32)
        means = (self._sums / np.diff(self._starts)[:, None]).astype(np.float32)
        nearest = np.empty(len(self.ids), dtype=np.float32)
        for first in range(0, len(self.ids), BLOCK):
            similarity = self.centroids[first : first + BLOCK] @ means.T
            rows = np.arange(len(similarity))
            similarity[rows, first + rows] = -1
            nearest[first + rows] = np.sqrt(2 - 2 * similarity.max(axis=1))
        return np.asarray(np.median(nearest) - nearest)

    def _known_only(self, rejected: Gallery) -> Gallery:
        known = np.isin(rejected.persons, self.ids)
        return Gallery(rejected.embeddings[known], np.searchsorted(self.ids, rejected.persons[known]))

    def _drawn_in(self, usual: FloatArray) -> FloatArray:
        """Return the radius (p,) of each person: the usual one, or less where a rejected face lies nearer."""
        radii = usual.copy()
        if self._rejected is None:
            return radii
        for person in np.unique(self._rejected.persons).tolist():
            wrong = self._rejected.embeddings[self._rejected.persons == person]
            own = self._faces[self._starts[person] : self._starts[person + 1]]
            near = float(_distances(wrong, self.centroids[person : person + 1]).min()) - MARGIN
            rest = self._sums[person] - own if len(own) > 1 else own
            kept = np.quantile(np.linalg.norm(own - _unit(rest), axis=1), OWN_SHARE)
            radii[person] = min(float(usual[person]), max(near, float(kept)))
        return radii

    def distances(self, probes: FloatArray) -> FloatArray:
        """Return the distance (b, p) float32 of each probe (b, d) to each person."""
        if self.method is Method.NEIGHBOURS:
            return person_distances(probes, self._faces, self._starts, NEIGHBOURS)
        return _distances(probes, self.centroids)

    def identify(
        self, probes: FloatArray, *, margin: float = MARGIN, rejected: Sequence[tuple[int, int]] = ()
    ) -> Identification:
        """Return who each probe is.

        Parameters
        ----------
        probes
            (n, d) float32 unit vectors.
        margin
            How much farther the second person must be.
        rejected
            (row of the probe, person) pairs that are known to be wrong: that person is no candidate for that probe.
        """
        count = len(probes)
        columns = np.full((count, 2), -1, dtype=np.int64)
        distances = np.full((count, 2), np.inf, dtype=np.float32)
        wrong = _by_block(rejected, self.ids)
        for first in range(0, count if len(self.ids) else 0, BLOCK):
            rows = slice(first, min(first + BLOCK, count))
            found = self.distances(probes[rows])
            for row, column in wrong.get(first, ()):
                found[row - first, column] = np.inf
            order = found if self._svm is None else np.where(np.isinf(found), np.inf, self._svm.order(probes[rows]))
            best = _first_two(order)
            columns[rows, : best.shape[1]] = best
            distances[rows, : best.shape[1]] = np.take_along_axis(found, best, axis=1)
        columns[np.isinf(distances)] = -1
        persons = np.append(self.ids, UNKNOWN)[columns]
        radius = np.append(self.radii, np.float32(self.threshold))[columns[:, 0]]
        blocked = self._rejected_distances(probes, columns[:, 0])
        apart = np.minimum(distances[:, 1], blocked) >= distances[:, 0] + margin
        return Identification(
            person=np.where((distances[:, 0] <= radius) & apart, persons[:, 0], UNKNOWN),
            nearest=persons[:, 0],
            distance=distances[:, 0],
            second=persons[:, 1],
            second_distance=distances[:, 1],
            radius=radius,
            rejected_distance=blocked,
            threshold=self.threshold,
        )

    def _rejected_distances(self, probes: FloatArray, columns: IntArray) -> FloatArray:
        """Return (n,) the distance to the nearest face that is not the person whose column stands beside the probe."""
        result = np.full(len(probes), np.inf, dtype=np.float32)
        if self._rejected is None:
            return result
        for person in np.unique(self._rejected.persons).tolist():
            wrong = self._rejected.embeddings[self._rejected.persons == person]
            (rows,) = np.nonzero(columns == person)
            for first in range(0, len(rows), BLOCK):
                part = rows[first : first + BLOCK]
                result[part] = _distances(probes[part], wrong).min(axis=1)
        return result


class _Svm:
    """A linear support vector machine over the embeddings, one against the rest: the way of the FaceNet tutorials."""

    def __init__(self, faces: FloatArray, columns: IntArray) -> None:
        from sklearn.svm import LinearSVC

        machine = LinearSVC(random_state=0).fit(faces, columns)
        self._weights, self._bias = machine.coef_, machine.intercept_
        if len(self._weights) == 1:  # of two persons only the second one's side is kept
            self._weights = np.concatenate([-self._weights, self._weights])
            self._bias = np.concatenate([-self._bias, self._bias])

    def order(self, probes: FloatArray) -> FloatArray:
        """Return (b, p) float32, the least for the likeliest person."""
        return np.asarray(-(probes @ self._weights.T + self._bias), dtype=np.float32)


def identify(
    probes: FloatArray,
    gallery: FloatArray,
    persons: IntArray,
    *,
    threshold: float | None = None,
    margin: float = MARGIN,
    method: Method = Method.CENTROID,
    rejected: Sequence[tuple[int, int]] = (),
) -> Identification:
    """Return who each probe is, see `People`.

    Parameters
    ----------
    probes
        (n, d) float32 unit vectors.
    gallery, persons
        (m, d) float32 unit vectors of known faces, and (m,) int64 who each is.
    threshold, margin
        Euclidean distances; None calibrates the threshold.
    method
        What is compared.
    rejected
        See `People.identify`.
    """
    people = People(Gallery(gallery, persons), threshold=threshold, method=method)
    return people.identify(probes, margin=margin, rejected=rejected)


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
    result = np.empty((len(probes), len(starts) - 1), dtype=np.float32)
    size = max(1, PAIRS // max(len(grouped), 1))
    for first in range(0, len(probes), size):
        distances = _distances(probes[first : first + size], grouped)
        for i, (start, end) in enumerate(pairwise(starts)):
            own = distances[:, start:end]
            if end - start > neighbours:
                own = np.partition(own, neighbours - 1, axis=1)[:, :neighbours]
            result[first : first + size, i] = own.mean(axis=1)
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
        (n,) the photo of each probe; a negative number stands for a photo that tells nobody apart.
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


def _unit(vectors: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return (n, m) Euclidean distances of unit vectors."""
    return np.asarray(np.sqrt(np.maximum(2 - 2 * (a @ b.T), 0)), dtype=np.float32)


def _first_two(values: FloatArray) -> IntArray:
    """Return (b, 2) the columns of the least and the second least value; (b, 1) where there is one column."""
    if values.shape[1] <= 2:
        return np.argsort(values, axis=1, kind="stable")
    first = values.argmin(axis=1)
    rest = values.copy()
    rest[np.arange(len(values)), first] = np.inf
    second = rest.argmin(axis=1)
    # Where every other value is infinite, argmin is the first column, which may be the first one again.
    second = np.where(second == first, (first + 1) % values.shape[1], second)
    return np.stack([first, second], axis=1)


def _spread(values: IntArray, count: int) -> IntArray:
    """Return up to `count` of the values, evenly spaced."""
    return values if len(values) <= count else values[np.linspace(0, len(values) - 1, count).round().astype(np.int64)]


def _by_block(rejected: Sequence[tuple[int, int]], ids: IntArray) -> dict[int, list[tuple[int, int]]]:
    """Return the pairs (row, column of the person) of each block of probes, by the block's first row."""
    result: dict[int, list[tuple[int, int]]] = {}
    for row, person in rejected:
        column = int(np.searchsorted(ids, person))
        if column < len(ids) and ids[column] == person:
            result.setdefault(row - row % BLOCK, []).append((row, column))
    return result

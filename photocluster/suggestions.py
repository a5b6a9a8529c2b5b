"""Suggestions: the questions whose answers name the most faces, and how likely each is to be answered with yes.

Pure on arrays. Who is not named yet forms *groups*: clusters, and single faces that are in none. Three kinds of
question are asked: who a cluster is; whether a group is a person who is named already; whether two clusters are one
person. A question is worth the faces that it would name, times the probability of a yes.

The probability comes from two figures: by how many standard deviations the group is nearer than a stranger would be
(`calibration`), and how much farther the second candidate is. Cost: groups are compared with centroids, not with faces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from photocluster.calibration import Strangers
from photocluster.identification import Gallery, People
from photocluster.records import FloatArray, IntArray

INTERCEPT, PER_DEVIATION, PER_GAP = -4.4, 0.41, 18.0
"""Logistic regression on what the clusterer leaves unjoined in ten libraries made of LFW, five celebrities over
decades, a K-pop band and group photos. Of held-back people in them, of those said .38 (.59, .80, .93) there were .38
(.59, .66, .82) right; the last two rest on 101 and 17 cases and claim too much. `learned_shift` mends that in use."""

MAX_GAP = 0.5
"""A second candidate farther than this tells no more."""

MIN_PROBABILITY = 0.1
"""Questions less likely to be answered with yes are not asked: nine of ten would be a nuisance."""

NAMEABLE = (0.4, 0.5)
"""How likely the user names a cluster that is nobody known so far: the first figure plus the second times the mean
quality (0..1) of its faces. Strangers in the background are small and blurred: over LFW's photos the median is .25 for
bystanders, .72 for the subjects."""

JOIN_VALUE = 0.5
"""A yes to two clusters without a name names nobody yet: it saves one of the two decisions still to come."""

CANDIDATES = 4
"""Nearest persons or clusters that are looked at for each group, in case the first ones are ruled out."""

SAMPLES = 4
"""Faces to look at on each side of a question."""

MAX_CLUSTERS = 4096
"""Clusters that are compared with each other, the largest: 17 million pairs, in blocks."""

BLOCK = 1024
NOBODY = -1


class Kind(StrEnum):
    """What is asked: who a cluster is, whether a group is a person, whether two clusters are one person."""

    NAME = "name"
    PERSON = "person"
    PAIR = "pair"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is known of n faces, by row.

    Attributes
    ----------
    embeddings
        (n, d) float32 unit vectors.
    groups
        (n,) int64: the group of a face without a name, any numbers >= 0; -1 for a named face.
    persons
        (n,) int64: who the user says that a face is; -1 where nobody.
    guessed
        (n,) int64: the same for propagated names.
    photos
        (n,) int64; faces with the same number >= 0 are of one photo, thus two people.
    quality
        (n,) float32, 0..1.
    rejected
        (row, person) pairs that are known to be wrong.
    different
        (row, row) pairs that the user told apart.
    copies
        (n,) int64: faces with the same number >= 0 are one face of one moment, which speaks once for whom it belongs
        to; None where nothing is known of copies.
    """

    embeddings: FloatArray
    groups: IntArray
    persons: IntArray
    guessed: IntArray
    photos: IntArray
    quality: FloatArray
    rejected: Collection[tuple[int, int]] = ()
    different: Collection[tuple[int, int]] = ()
    copies: IntArray | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    Attributes
    ----------
    kind
        What is asked.
    faces
        The rows that it is about, those nearest to their centre first: the group, or the smaller of two clusters.
    others
        The rows of the larger cluster (`Kind.PAIR`), or up to `SAMPLES` of the person's (`Kind.PERSON`), nearest first.
    person
        Whether the faces are that person (`Kind.PERSON`), or -1.
    distance, second_distance
        From the faces to the centre of the other side, and to that of the next candidate; None where there is none.
    probability
        Of a yes; of a name being given (`Kind.NAME`).
    value
        What the answer is worth, in faces named.
    """

    kind: Kind
    faces: tuple[int, ...]
    others: tuple[int, ...]
    person: int
    distance: float | None
    second_distance: float | None
    probability: float
    value: float


def probability(
    distance: NDArray[np.floating], second: NDArray[np.floating], strangers: Strangers, *, shift: float = 0.0
) -> NDArray[np.float64]:
    """Return (k,) how likely faces are of the nearest candidate.

    Parameters
    ----------
    distance, second
        (k,) to the nearest candidate and to the second, infinite where there is none.
    strangers
        How near strangers come to these candidates.
    shift
        What the user's own answers add to the log odds (`learned_shift`).
    """
    behind = np.where(np.isfinite(second), second, np.maximum(strangers.mean, distance))
    deviations = (strangers.mean - distance) / strangers.deviation
    gap = np.minimum(behind - distance, MAX_GAP)
    odds = INTERCEPT + PER_DEVIATION * deviations + PER_GAP * gap + shift
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))))


def learned_shift(answers: Sequence[tuple[float, bool]]) -> float:
    """Return what (probability said, whether it was a yes) tells of this library, to be added to the log odds.

    The most likely shift under a normal prior of mean 0 and deviation 1: ten answers are needed to move it much.
    """
    if not answers:
        return 0.0
    said = np.clip(np.array([p for p, _ in answers]), 1e-6, 1 - 1e-6)
    odds = np.log(said / (1 - said))
    yes = np.array([right for _, right in answers], dtype=np.float64)
    shift = 0.0
    for _ in range(25):  # Newton's method on a concave function of one variable
        p = 1 / (1 + np.exp(-np.clip(odds + shift, -50, 50)))
        step = ((yes - p).sum() - shift) / ((p * (1 - p)).sum() + 1)
        shift += float(np.clip(step, -1, 1))
    return shift


def suggest(scene: Scene, *, limit: int, shift: float = 0.0) -> list[Question]:
    """Return the questions worth most, no two about the same faces.

    Parameters
    ----------
    scene
        What is known.
    limit
        How many.
    shift
        See `probability`.
    """
    return survey(scene, limit=limit, shift=shift).questions


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """The questions worth most, and `values` (q,) float64: what each question is worth, of all that could be asked."""

    questions: list[Question]
    values: NDArray[np.float64]


def survey(scene: Scene, *, limit: int, shift: float = 0.0) -> Survey:
    """Return what `suggest` returns, and how much there is to ask in all."""
    groups = _Groups(scene)
    asked = [*_about_persons(scene, groups, shift), *_about_pairs(scene, groups, shift), *_about_names(scene, groups)]
    asked.sort(key=lambda ask: (-ask.value, ask.kind, ask.group))
    chosen: list[_Ask] = []
    taken: set[int] = set()
    for ask in asked:
        if not taken & {ask.group, ask.other}:
            taken |= {ask.group, ask.other} - {NOBODY}
            chosen.append(ask)
    values = np.array([ask.value for ask in chosen], dtype=np.float64)
    return Survey([_question(scene, groups, ask) for ask in chosen[:limit]], values)


@dataclass(frozen=True, slots=True)
class _Ask:
    """A question before its faces are looked up: `group` and `other` are columns of `_Groups`, `person` an id."""

    kind: Kind
    group: int
    other: int
    person: int
    distance: float | None
    second_distance: float | None
    probability: float
    value: float


class _Groups:
    """The groups without a name, by falling size: rows, sizes, and the sums of their vectors."""

    def __init__(self, scene: Scene) -> None:
        (held,) = np.nonzero(scene.groups >= 0)
        numbers, first, place, sizes = np.unique(
            scene.groups[held], return_index=True, return_inverse=True, return_counts=True
        )
        rank = np.empty(len(numbers), dtype=np.int64)
        rank[np.lexsort((first, -sizes))] = np.arange(len(numbers))
        column = rank[place]
        order = np.argsort(column, kind="stable")
        self._rows = held[order]
        self.sizes = np.bincount(column, minlength=len(numbers)).astype(np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self.means: FloatArray = np.zeros((len(numbers), scene.embeddings.shape[1]), dtype=np.float32)
        if len(numbers):
            vectors = scene.embeddings[self._rows]
            speaking = _speaking(scene, scene.groups)[self._rows]
            if not speaking.all():
                vectors = vectors * speaking[:, None]
            voices = np.add.reduceat(speaking.astype(np.float32), self._starts[:-1])
            self.means = np.asarray(np.add.reduceat(vectors, self._starts[:-1], axis=0) / voices[:, None])
        self.clusters = int((self.sizes > 1).sum())  # the first ones

    def rows(self, group: int) -> IntArray:
        """Return the rows of a group."""
        return self._rows[self._starts[group] : self._starts[group + 1]]


def _speaking(scene: Scene, owners: IntArray) -> NDArray[np.bool_]:
    """Return whether each face (n,) speaks for its owner: of copies the best one does, alone."""
    count = len(owners)
    speaking = np.ones(count, dtype=np.bool_)
    if scene.copies is None or not (scene.copies >= 0).any():
        return speaking
    moments = np.where(scene.copies >= 0, scene.copies, scene.copies.max() + 1 + np.arange(count))
    order = np.lexsort((np.arange(count), -scene.quality, moments, owners))
    same = (np.diff(owners[order]) == 0) & (np.diff(moments[order]) == 0)
    speaking[order[1:][same]] = False
    return speaking


def _about_persons(scene: Scene, groups: _Groups, shift: float) -> Iterator[_Ask]:
    """Yield the question whether a group is the person it is nearest to, of those it can be."""
    (named,) = np.nonzero((scene.persons >= 0) & _speaking(scene, scene.persons))
    if not len(named) or not len(groups.sizes):
        return
    people = People(Gallery(scene.embeddings[named], scene.persons[named]))
    photos = _photos_of(scene, np.where(scene.persons >= 0, scene.persons, scene.guessed))
    refused: dict[int, set[int]] = {}
    for row, person in scene.rejected:
        refused.setdefault(row, set()).add(person)
    nearest, distances = _nearest(groups.means, people.centroids, None)
    for group in _worth_a_look(distances, people.strangers, shift).tolist():
        rows = groups.rows(group).tolist()
        not_those = set().union(*(refused.get(row, set()) for row in rows))
        own_photos = {int(photo) for photo in scene.photos[rows] if photo >= 0}
        free = [
            (float(d), int(people.ids[column]))
            for column, d in zip(nearest[group].tolist(), distances[group].tolist(), strict=True)
            if np.isfinite(d)
            and int(people.ids[column]) not in not_those
            and own_photos.isdisjoint(photos.get(int(people.ids[column]), set()))
        ]
        if free:
            distance, second = free[0][0], free[1][0] if len(free) > 1 else np.inf
            p = float(probability(np.array([distance]), np.array([second]), people.strangers, shift=shift)[0])
            if p >= MIN_PROBABILITY:
                next_one = second if np.isfinite(second) else None
                yield _Ask(Kind.PERSON, group, NOBODY, free[0][1], distance, next_one, p, p * len(rows))


def _about_pairs(scene: Scene, groups: _Groups, shift: float) -> Iterator[_Ask]:
    """Yield the question whether a cluster is one person with a larger one, the nearest that it can be."""
    count = min(groups.clusters, MAX_CLUSTERS)
    if count < 2:
        return
    rows = np.concatenate([groups.rows(i) for i in range(count)])
    column = np.full(len(scene.groups), NOBODY, dtype=np.int64)
    column[rows] = np.repeat(np.arange(count), groups.sizes[:count])
    photos = _photos_of(scene, column)
    apart = {
        pair
        for row, other in scene.different
        for pair in ((int(column[row]), int(column[other])), (int(column[other]), int(column[row])))
        if NOBODY not in pair
    }
    speaking = rows[_speaking(scene, column)[rows]]
    clusters = People(Gallery(scene.embeddings[speaking], column[speaking]))
    nearest, distances = _nearest(groups.means[:count], clusters.centroids, np.arange(count))
    for group in _worth_a_look(distances, clusters.strangers, shift).tolist():
        free = [
            (float(d), other)
            for other, d in zip(nearest[group].tolist(), distances[group].tolist(), strict=True)
            if np.isfinite(d)
            and (group, other) not in apart
            and photos.get(group, set()).isdisjoint(photos.get(other, set()))
        ]
        if free and free[0][1] < group:
            (distance, other), second = free[0], free[1][0] if len(free) > 1 else np.inf
            p = float(probability(np.array([distance]), np.array([second]), clusters.strangers, shift=shift)[0])
            if p >= MIN_PROBABILITY:
                value = JOIN_VALUE * p * float(groups.sizes[group])
                next_one = second if np.isfinite(second) else None
                yield _Ask(Kind.PAIR, group, other, NOBODY, distance, next_one, p, value)


def _about_names(scene: Scene, groups: _Groups) -> Iterator[_Ask]:
    """Yield the question who a cluster is."""
    for group in range(groups.clusters):
        p = NAMEABLE[0] + NAMEABLE[1] * float(scene.quality[groups.rows(group)].mean())
        yield _Ask(Kind.NAME, group, NOBODY, NOBODY, None, None, p, p * float(groups.sizes[group]))


def _worth_a_look(distances: FloatArray, strangers: Strangers, shift: float) -> IntArray:
    """Return the groups whose nearest candidate is likely enough, or would be if another were ruled out."""
    best = distances[:, 0]
    second = distances[:, 1] if distances.shape[1] > 1 else np.full(len(best), np.inf, dtype=np.float32)
    likely = probability(best, second, strangers, shift=shift) >= MIN_PROBABILITY
    # Where a second candidate is as near, ruling out one of the two makes the other likely.
    return np.flatnonzero(likely | (best <= strangers.threshold))


def _nearest(means: FloatArray, centroids: FloatArray, itself: IntArray | None) -> tuple[IntArray, FloatArray]:
    """Return (g, c) the nearest centroids of each group, nearest first, and the distances of its faces to them.

    The distance is the one whose square is the mean over the group's faces. `itself` (g,) is the column that is the
    group's own.
    """
    wide = min(CANDIDATES + (itself is not None), len(centroids))
    columns = np.empty((len(means), wide), dtype=np.int64)
    distances = np.empty((len(means), wide), dtype=np.float32)
    for first in range(0, len(means), BLOCK):
        found = np.sqrt(np.maximum(2 - 2 * (means[first : first + BLOCK] @ centroids.T), 0))
        rows = slice(first, first + len(found))
        if itself is not None:
            found[np.arange(len(found)), itself[rows]] = np.inf
        best = np.argpartition(found, wide - 1, axis=1)[:, :wide]
        near = np.take_along_axis(found, best, axis=1)
        order = np.lexsort((best, near))
        columns[rows] = np.take_along_axis(best, order, axis=1)
        distances[rows] = np.take_along_axis(near, order, axis=1)
    return columns, distances


def _photos_of(scene: Scene, owners: IntArray) -> Mapping[int, set[int]]:
    """Return owner -> the photos of its faces; -1 owns nothing."""
    result: dict[int, set[int]] = {}
    held = (owners >= 0) & (scene.photos >= 0)
    for owner, photo in zip(owners[held].tolist(), scene.photos[held].tolist(), strict=True):
        result.setdefault(owner, set()).add(photo)
    return result


def _question(scene: Scene, groups: _Groups, ask: _Ask) -> Question:
    others: IntArray = np.empty(0, dtype=np.int64)
    if ask.kind is Kind.PAIR:
        others = _central(scene, groups.rows(ask.other))
    elif ask.kind is Kind.PERSON:
        others = _central(scene, np.flatnonzero(scene.persons == ask.person))[:SAMPLES]
    return Question(
        ask.kind,
        tuple(_central(scene, groups.rows(ask.group)).tolist()),
        tuple(others.tolist()),
        ask.person,
        ask.distance,
        ask.second_distance,
        ask.probability,
        ask.value,
    )


def _central(scene: Scene, rows: IntArray) -> IntArray:
    """Return the rows, those nearest to their mean first."""
    vectors = scene.embeddings[rows]
    return np.asarray(rows[np.lexsort((rows, -(vectors @ vectors.mean(axis=0))))])

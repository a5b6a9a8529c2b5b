"""Why a face carries a name, or none, in figures and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from photocluster.errors import UsageError
from photocluster.identification import UNKNOWN, Identification, one_person_per_photo
from photocluster.pipeline.recognition import Comparing, Word, known_people, read_word
from photocluster.pipeline.targets import resolve
from photocluster.records import FaceRow, Source
from photocluster.store import Library

PERSONS, FACES = 3, 5
"""Nearest persons and named faces that are listed."""


@dataclass(frozen=True, slots=True)
class NearPerson:
    """A person, the distance to it, the greatest at which it is accepted, and what else stands in its way."""

    person: str
    distance: float
    radius: float
    note: str


@dataclass(frozen=True, slots=True)
class NearFace:
    """A named face, the distance to it, and a file that shows it."""

    face: int
    person: str
    distance: float
    path: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a face is who it is.

    Attributes
    ----------
    face, person, source, distance
        The face, the name that it carries now, who gave it, and the distance that was found then; None where there is
        none.
    decision
        Whom propagation would name it now, whatever the user said; None for unknown.
    persons, faces
        The nearest persons and named faces, nearest first.
    threshold, margin
        Greatest distance in general; how much farther the second person must be.
    words
        All that as a sentence.
    """

    face: int
    person: str | None
    source: Source | None
    distance: float | None
    decision: str | None
    persons: tuple[NearPerson, ...]
    faces: tuple[NearFace, ...]
    threshold: float
    margin: float
    words: str


def explain(library: Library, text: str, comparing: Comparing | None = None) -> Explanation:
    """Return why a face ("f345") carries a name, or none.

    Raises
    ------
    UnknownName
        There is no such face.
    UsageError
        It is no face, or one that the user ignores.
    """
    comparing = comparing or Comparing()
    target = resolve(library, text)
    if not target.one_by_one:
        raise UsageError(f'"{text}" is a cluster; give a face (f345). They are listed by: photocluster show {text}')
    (row,) = target.faces
    word = read_word(library)
    if row.face not in word.photo_of:
        kind = library.names.ignored().get(row.face)
        raise UsageError(
            f"f{row.face} is left out of everything ({kind.value if kind else 'its photo was replaced'})"
            + (f"; take it back in with: photocluster unignore f{row.face}" if kind else "")
        )
    # The face itself must not speak for its person; nor can it be the only one that does.
    others = Word(
        {face: person for face, person in word.said.items() if face != row.face},
        word.photo_of,
        word.taken,
        word.rejected,
        word.names,
    )
    people = known_people(library, others, comparing)
    mates = [
        face
        for face, photo in word.photo_of.items()
        if photo == word.photo_of[row.face] and (face not in word.said or face == row.face)
    ]
    refused = [(mates.index(face), person) for face, person in word.rejected if face in mates]
    answers = people.identify(np.asarray(library.embeddings()[mates]), margin=comparing.margin, rejected=refused)
    own = mates.index(row.face)
    in_photo = {
        photo: {p for f, p in others.said.items() if word.photo_of[f] == photo} for photo in [word.photo_of[row.face]]
    }
    named = one_person_per_photo(answers, [word.photo_of[face] for face in mates], in_photo)
    decision = word.names[named[own][0]] if own in named else None
    vector = np.asarray(library.embeddings()[[row.face]])
    distances = people.distances(vector)[0] if len(people.ids) else np.empty(0, dtype=np.float32)
    not_those = {person for face, person in word.rejected if face == row.face}
    persons = tuple(
        NearPerson(
            word.names[int(people.ids[i])],
            float(distances[i]),
            float(people.radii[i]),
            _note(int(people.ids[i]), not_those, in_photo[word.photo_of[row.face]]),
        )
        for i in np.argsort(distances, kind="stable")[:PERSONS].tolist()
    )
    return Explanation(
        row.face,
        row.person,
        row.source,
        row.distance,
        decision,
        persons,
        _near_faces(library, others, vector),
        people.threshold,
        comparing.margin,
        _words(row, answers, own, decision, persons, comparing.margin),
    )


def _note(person: int, refused: set[int], in_photo: set[int]) -> str:
    if person in refused:
        return "you said that it is not"
    return "is somebody else in this photo" if person in in_photo else ""


def _near_faces(
    library: Library, word: Word, vector: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> tuple[NearFace, ...]:
    faces = np.array(sorted(word.said), dtype=np.int64)
    if not len(faces):
        return ()
    distances = np.linalg.norm(library.embeddings()[faces] - vector, axis=1)
    nearest = np.argsort(distances, kind="stable")[:FACES]
    found = []
    for i in nearest.tolist():
        face = int(faces[i])
        (row,) = library.faces.rows(face=face)
        found.append(NearFace(face, word.names[word.said[face]], float(distances[i]), row.path))
    return tuple(found)


def _words(
    row: FaceRow,
    answers: Identification,
    own: int,
    decision: str | None,
    persons: tuple[NearPerson, ...],
    margin: float,
) -> str:
    """Return the reason as a sentence."""
    reason = _reason(answers, own, decision, persons, margin)
    if row.source is Source.USER:
        agrees = "propagation would say the same" if decision == row.person else "propagation alone would not know"
        return f"{row.person}, since you said so; {agrees}: {reason}"
    if row.source is Source.IMPORTED:
        return f"{row.person}, by an import; propagation alone: {reason}"
    if row.person != decision:
        return f"{row.person or 'no name'} so far, the next propagation says {decision or 'unknown'}: {reason}"
    return f"{decision or 'unknown'}: {reason}"


def _reason(
    answers: Identification, own: int, decision: str | None, persons: tuple[NearPerson, ...], margin: float
) -> str:
    distance, second = float(answers.distance[own]), float(answers.second_distance[own])
    radius, blocked = float(answers.radius[own]), float(answers.rejected_distance[own])
    if answers.nearest[own] == UNKNOWN:
        return "there is no named person that it can be" if persons else "nobody is named yet"
    free = [p.person for p in persons if abs(p.distance - distance) < 1e-6]
    nearest = free[0] if free else "the nearest person"
    if distance > radius:
        return f"the nearest person is {nearest} at {distance:.3f}, and the greatest distance accepted is {radius:.3f}"
    if second < distance + margin:
        return (
            f"{nearest} is nearest at {distance:.3f}, but the second person is hardly farther ({second:.3f}, "
            f"where {distance + margin:.3f} is the least)"
        )
    if blocked < distance + margin:
        return (
            f"{nearest} is nearest at {distance:.3f}, but a face of which you said that it is not {nearest} is as near "
            f"({blocked:.3f})"
        )
    if decision is None:
        return f"{nearest} is nearest at {distance:.3f}, but another face of this photo is that person"
    behind = f"the second person is at {second:.3f}" if np.isfinite(second) else "there is no second person"
    return f"{nearest} is nearest at {distance:.3f}, within {radius:.3f}, and {behind}"

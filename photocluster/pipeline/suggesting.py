"""Suggestions on a library: which questions to ask, and what an answer does.

The questions that were shown last are kept with their faces, so that an answer by number means what was shown, whatever
was clustered or decided since: it is about those of the faces that nothing was said of in the meantime. Each answer is
one event.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from photocluster.errors import Outdated, UnknownName, UsageError
from photocluster.pipeline.clusters import either, joined
from photocluster.pipeline.copies import copies_of
from photocluster.pipeline.recognition import Word, read_word
from photocluster.records import FaceRow, Source
from photocluster.store import Decision, IgnoredKind, Library, clean_name
from photocluster.suggestions import SAMPLES, Kind, Question, Scene, learned_shift, survey

LIMIT = 20
"""Questions shown at a time: about a minute's work."""

TOLD = 3
"""Faces of each cluster that a no to "are these one person" tells apart from those of the other: a cluster that falls
apart later keeps the word."""

EVENT = "answer"


class Answer(StrEnum):
    """What can be said to a suggestion."""

    YES = "yes"
    NO = "no"
    NOT_A_FACE = "not-a-face"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A question with its number.

    Attributes
    ----------
    number
        For the answer.
    kind
        What is asked.
    cluster, other_cluster
        The clusters that the faces are of; None for a single face.
    person, person_id
        Who the faces may be, or None.
    faces, others
        Face ids: at stake, and of the other side, the most typical first.
    distance, second_distance
        To the other side and to the next candidate.
    probability
        Of a yes.
    words
        The question as a sentence.
    """

    number: int
    kind: Kind
    cluster: int | None
    other_cluster: int | None
    person: str | None
    person_id: int | None
    faces: tuple[int, ...]
    others: tuple[int, ...]
    distance: float | None
    second_distance: float | None
    probability: float
    words: str


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """What an answer did: its event (None: nothing changed), the faces it was about, and that as a sentence."""

    number: int
    event: int | None
    faces: tuple[int, ...]
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Agenda:
    """What there is to ask: the questions worth most, and `values` (q,) of all, in faces named, most first."""

    suggestions: list[Suggestion]
    values: np.ndarray[tuple[int], np.dtype[np.float64]]


def suggestions(library: Library, *, limit: int = LIMIT) -> list[Suggestion]:
    """Return the questions that are worth most, and keep them under their numbers."""
    result = agenda(library, limit=limit).suggestions
    library.questions.show([as_stored(s) for s in result])
    return result


def agenda(library: Library, *, limit: int = LIMIT) -> Agenda:
    """Return the questions that are worth most; what the numbers of those shown last mean stays as it is."""
    faces, scene = _scene(library)
    found = survey(scene, limit=limit, shift=_shift(library))
    membership = library.clusters.membership()
    names = library.names.names()
    return Agenda(
        [_suggestion(number, q, faces.tolist(), membership, names) for number, q in enumerate(found.questions, 1)],
        found.values,
    )


def as_stored(suggestion: Suggestion) -> dict[str, Any]:
    """Return a question as it is kept, for `answer_question`."""
    return {
        "kind": suggestion.kind.value,
        "person": suggestion.person_id,
        "faces": list(suggestion.faces),
        "others": list(suggestion.others),
        "probability": round(suggestion.probability, 4),
        "words": suggestion.words,
    }


def _scene(library: Library) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Scene]:
    """Return the living faces (n,) and what is known of them, by row."""
    word = read_word(library)
    faces, photos = library.faces.photos()
    row_of = {face: row for row, face in enumerate(faces.tolist())}
    said = library.names.assignments()
    persons = np.array([word.said.get(face, -1) for face in faces.tolist()], dtype=np.int64)
    guessed = np.array(
        [said[f].person if f in said and f not in word.said else -1 for f in faces.tolist()], dtype=np.int64
    )
    groups = _groups(library, faces.tolist(), (persons >= 0) | (guessed >= 0))
    embeddings = library.embeddings()
    return faces, Scene(
        np.asarray(embeddings if len(faces) == len(embeddings) else embeddings[faces]),
        groups,
        persons,
        guessed,
        photos,
        library.faces.facts()[0],
        [(row_of[face], person) for face, person in word.rejected],
        [(row_of[a], row_of[b]) for a, b in library.questions.pairs(same=False) if a in row_of and b in row_of],
        either(copies_of(library, faces), library.faces.tracks(faces)[1]),
    )


def _groups(
    library: Library, faces: list[int], named: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the group (n,) of each face without a name: its cluster, what the user joined that to, or itself."""
    membership = library.clusters.membership()
    clusters = [membership.get(face) for face in faces]
    top = max((cluster for cluster in clusters if cluster is not None), default=0) + 1
    own = {face: top + face if cluster is None else cluster for face, cluster in zip(faces, clusters, strict=True)}
    pairs = [(own[a], own[b]) for a, b in library.questions.pairs(same=True) if a in own and b in own]
    together = joined(pairs, start=top + max(faces, default=0) + 1)
    return np.array(
        [
            -1 if taken else together.get(own[face], own[face])
            for face, taken in zip(faces, named.tolist(), strict=True)
        ],
        dtype=np.int64,
    )


def _shift(library: Library) -> float:
    """Return what earlier answers tell of this library."""
    answers = [event.arguments for event in library.history.events() if event.kind == EVENT and event.in_force]
    return learned_shift(
        [
            (float(a["probability"]), a["answer"] == Answer.YES and not (a["question"] == Kind.PERSON and a["name"]))
            for a in answers
            if a["question"] != Kind.NAME and a["answer"] in {Answer.YES, Answer.NO}
        ]
    )


def _suggestion(
    number: int, question: Question, faces: list[int], membership: dict[int, int | None], names: dict[int, str]
) -> Suggestion:
    own, others = [faces[row] for row in question.faces], [faces[row] for row in question.others]
    cluster = membership.get(own[0])
    other = membership.get(others[0]) if question.kind is Kind.PAIR else None
    person = names.get(question.person)
    one = f"face f{own[0]}" if len(own) == 1 else f"cluster {cluster} ({len(own):,} faces)"
    if question.kind is Kind.NAME:
        words = f"Who is {one}?"
    elif question.kind is Kind.PAIR:
        words = f"Are {one} and cluster {other} ({len(others):,} faces) one person?"
    elif len(own) == 1:
        words = f"Is {one} {person}, though it lies far out?"
    else:
        words = f"Is {one} {person}?"
    return Suggestion(
        number,
        question.kind,
        cluster,
        other,
        person,
        None if person is None else question.person,
        tuple(own),
        tuple(others),
        question.distance,
        question.second_distance,
        question.probability,
        words,
    )


def samples(library: Library, suggestion: Suggestion) -> tuple[list[FaceRow], list[FaceRow]]:
    """Return the faces to look at: of the question, and of the other side."""
    return (
        [row for face in suggestion.faces[:SAMPLES] for row in library.faces.rows(face=face)],
        [row for face in suggestion.others[:SAMPLES] for row in library.faces.rows(face=face)],
    )


def answer(
    library: Library, number: int, said: Answer, *, name: str | None = None, dry_run: bool = False
) -> AnswerReport:
    """Answer the question that was shown under a number.

    Yes names the faces, or joins two clusters; no is remembered for ever: the faces are not that person, the clusters
    are two people, or whoever it is is a stranger (`Kind.NAME`).

    Parameters
    ----------
    number
        Of the question.
    said
        The answer.
    name
        Who it is, with a yes: needed for `Kind.NAME`; for the others it says who it is instead.

    Raises
    ------
    UnknownName
        No question was shown under that number.
    UsageError
        The question is void by now, or the answer needs a name.
    """
    shown = library.questions.shown()
    if number not in shown:
        listed = f"; those shown last are 1 to {max(shown)}" if shown else ""
        raise UnknownName(f"there is no suggestion {number}{listed}. See: photocluster suggest")
    return answer_question(library, shown[number], said, number=number, name=name, dry_run=dry_run)


def answer_question(
    library: Library,
    question: dict[str, Any],
    said: Answer,
    *,
    number: int = 0,
    name: str | None = None,
    without: Collection[int] = (),
    dry_run: bool = False,
) -> AnswerReport:
    """Answer a question that `as_stored` gave, whatever was asked since.

    Parameters
    ----------
    question, said, name
        As of `answer`.
    number
        Under which it was shown; 0 if under none.
    without
        Faces of the question that the answer is not about.

    Raises
    ------
    Outdated
        The question is void by now.
    UsageError
        The answer needs a name.
    """
    with library.together():
        return _answer(library, question, said, number=number, name=name, without=without, dry_run=dry_run)


def _answer(
    library: Library,
    question: dict[str, Any],
    said: Answer,
    *,
    number: int,
    name: str | None,
    without: Collection[int],
    dry_run: bool,
) -> AnswerReport:
    word = _word_on(library, question)
    faces, others = _still_open(library, word, number, question)
    faces, others = ([face for face in side if face not in set(without)] for side in (faces, others))
    if not faces or (not others and question["kind"] == Kind.PAIR):
        raise UsageError(f'"{question["words"]}" has no faces left to answer for')
    if said is Answer.YES and question["kind"] == Kind.NAME and name is None:
        raise UsageError(f'"{question["words"]}" needs a name: photocluster accept {number} --name "NAME"')
    arguments = {
        "suggestion": number,
        "question": question["kind"],
        "words": question["words"],
        "answer": said.value,
        "probability": question["probability"],
        "name": name,
    }
    with library.names.decide(EVENT, arguments, dry_run=dry_run) as decision:
        words = _apply(library, decision, word, question, said, faces, others, name)
    return AnswerReport(number, decision.event, tuple(faces), words)


def is_open(library: Library, number: int) -> bool:
    """Return whether the question that was shown under a number can still be answered."""
    try:
        question = library.questions.shown()[number]
        _still_open(library, _word_on(library, question), number, question)
    except UsageError:
        return False
    return True


def _word_on(library: Library, question: dict[str, Any]) -> Word:
    return read_word(library, [*question["faces"], *question["others"]])


def _still_open(library: Library, word: Word, number: int, question: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Return the faces, and those of the other side, of which the user said nothing since the question was shown."""
    alive = {face for face in question["faces"] if face in word.photo_of and face not in word.said}
    others = [face for face in question["others"] if face in word.photo_of]
    again = "see what is open now with: photocluster suggest"
    which = f'suggestion {number} ("{question["words"]}")' if number else f'"{question["words"]}"'
    if question["kind"] == Kind.PERSON:
        if question["person"] not in word.names:
            raise Outdated(f"{which} is void: that person is gone; {again}")
        refused = {face for face, person in word.rejected if person == question["person"]}
        alive -= refused
    if question["kind"] == Kind.PAIR:
        others = [face for face in others if face not in word.said]
        said = {*library.questions.pairs(same=True), *library.questions.pairs(same=False)}
        if {(min(a, b), max(a, b)) for a in question["faces"][:TOLD] for b in question["others"][:TOLD]} & said:
            alive = set()
    if not alive or (question["kind"] == Kind.PAIR and not others):
        raise Outdated(f"{which} is void: it has been answered since; {again}")
    return [face for face in question["faces"] if face in alive], others


def _apply(
    library: Library,
    decision: Decision,
    word: Word,
    question: dict[str, Any],
    said: Answer,
    faces: list[int],
    others: list[int],
    name: str | None,
) -> str:
    kind, count = Kind(question["kind"]), f"{len(faces):,} face{'s' if len(faces) != 1 else ''}"
    if said in {Answer.NOT_A_FACE, Answer.IGNORE}:
        kind_of = IgnoredKind.NOT_A_FACE if said is Answer.NOT_A_FACE else IgnoredKind.STRANGER
        for face in faces:
            decision.ignore(face, kind_of.value)
        return f"{count} left out: {'no faces' if said is Answer.NOT_A_FACE else 'nobody to name'}"
    if said is Answer.YES and (name is not None or kind is Kind.PERSON):
        person = decision.person(clean_name(name)) if name is not None else question["person"]
        named = _name(word, decision, [*faces, *(others if kind is Kind.PAIR else [])], person)
        return f"{library.names.name(person)}: {named:,} face{'s' if named != 1 else ''} named"
    if said is Answer.YES:
        decision.put("pair", {"face": min(faces[0], others[0]), "other": max(faces[0], others[0]), "same": 1})
        return "one person; they are one cluster from the next run of photocluster cluster on"
    _refuse(decision, kind, faces, others, question["person"])
    if kind is Kind.PERSON:
        return f"{count}: not {library.names.name(question['person'])}"
    return "two people" if kind is Kind.PAIR else f"{count} left out: a stranger"


def _refuse(decision: Decision, kind: Kind, faces: list[int], others: list[int], person: int) -> None:
    """Write a no."""
    if kind is Kind.PAIR:
        for a in faces[:TOLD]:
            for b in others[:TOLD]:
                decision.put("pair", {"face": min(a, b), "other": max(a, b), "same": 0})
    for face in faces if kind is not Kind.PAIR else ():
        if kind is Kind.PERSON:
            decision.reject(face, person)
        else:
            decision.ignore(face, IgnoredKind.STRANGER.value)


def _name(word: Word, decision: Decision, faces: list[int], person: int) -> int:
    """Name faces, at most one a photo; return how many."""
    named = 0
    for face in faces:
        photo = word.photo_of[face]
        if person not in word.taken.get(photo, set()) or photo < 0:
            decision.assign(face, person, Source.USER)
            word.taken.setdefault(photo, set()).add(person)
            named += 1
    return named

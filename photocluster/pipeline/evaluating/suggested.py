"""A user who answers suggestions, simulated from the labels: what naming costs by `photocluster suggest`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from photocluster.evaluation import UNLABELLED, Decision, name_clusters
from photocluster.identification import UNKNOWN, Gallery, People, one_person_per_photo
from photocluster.pipeline.evaluating.known import KnownFaces
from photocluster.records import NOISE, IntArray
from photocluster.suggestions import Kind, Question, Scene, learned_shift, suggest

NOBODY = -1


def answer_suggestions(known: KnownFaces, clusters: IntArray) -> Iterator[Decision]:
    """Yield the decisions of a user who answers the first suggestion, lets the names propagate, and so on.

    The user knows the labels and nothing else. A cluster is who most of its labelled faces are; a labelled face in it
    that is somebody else is given its own name: one decision. Whoever is not labelled is a stranger. When there is no
    suggestion left, the faces without a name are gone through one by one, as in the plain way.
    """
    return _User(known, clusters).answers()


class _User:
    def __init__(self, known: KnownFaces, clusters: IntArray) -> None:
        n = len(clusters)
        self.known = known
        self.groups = np.where(clusters == NOISE, np.arange(n) + int(clusters.max(initial=0)) + 1, clusters)
        self.quality = np.array([row.quality.overall for row in known.rows], dtype=np.float32)
        self.persons = np.full(n, NOBODY, dtype=np.int64)
        self.guessed = np.full(n, NOBODY, dtype=np.int64)
        self.strangers = np.zeros(n, dtype=np.bool_)
        self.rejected: set[tuple[int, int]] = set()
        self.different: set[tuple[int, int]] = set()
        self.said: list[tuple[float, bool]] = []

    def answers(self) -> Iterator[Decision]:
        while questions := suggest(self._scene(), limit=1, shift=learned_shift(self.said)):
            yield from self._answer(questions[0])
        left = (self.persons == NOBODY) & (self.guessed == NOBODY) & ~self.strangers
        faces = np.flatnonzero(left)
        alone = np.full(len(faces), NOISE, dtype=np.int64)
        for decision in name_clusters(self.known.identities[faces], alone):
            yield Decision(faces[decision.faces], decision.name)

    def _scene(self) -> Scene:
        unnamed = (self.persons == NOBODY) & (self.guessed == NOBODY) & ~self.strangers
        return Scene(
            self.known.embeddings,
            np.where(unnamed, self.groups, NOBODY),
            self.persons,
            self.guessed,
            self.known.photos,
            self.quality,
            self.rejected,
            self.different,
        )

    def _answer(self, question: Question) -> Iterator[Decision]:
        faces = np.array(question.faces, dtype=np.int64)
        person = self._majority(faces)
        if question.kind is Kind.NAME:
            if person == UNLABELLED:
                self.strangers[faces] = True
                yield Decision(faces[:0], UNLABELLED)
            else:
                yield from self._named(faces, person)
            return
        if question.kind is Kind.PERSON:
            yes = person == question.person
            if yes:
                yield from self._named(faces, person)
            else:
                self.rejected |= {(face, question.person) for face in question.faces}
        else:
            yes = person != UNLABELLED and person == self._majority(np.array(question.others, dtype=np.int64))
            if yes:
                self.groups[faces] = self.groups[question.others[0]]
            else:
                self.different.add((question.faces[0], question.others[0]))
        self.said.append((question.probability, yes))
        if not (yes and question.kind is Kind.PERSON):
            yield Decision(faces[:0], UNLABELLED)
            if question.kind is Kind.PERSON:
                yield from self._propagated()

    def _majority(self, faces: IntArray) -> int:
        labels = self.known.identities[faces]
        people, sizes = np.unique(labels[labels != UNLABELLED], return_counts=True)
        return int(people[np.argmax(sizes)]) if len(people) else UNLABELLED

    def _named(self, faces: IntArray, person: int) -> Iterator[Decision]:
        """Name faces, put right those that are somebody else, and propagate."""
        labels = self.known.identities[faces]
        yield self._given(faces, person)
        for face in faces[(labels != person) & (labels != UNLABELLED)]:
            yield self._given(np.array([face]), int(self.known.identities[face]))
        yield from self._propagated()

    def _given(self, faces: IntArray, person: int) -> Decision:
        self.persons[faces] = person
        self.guessed[faces] = NOBODY
        return Decision(faces, person)

    def _propagated(self) -> Iterator[Decision]:
        """Propagate as `photocluster propagate` does; yield who was named, named otherwise or is unnamed again."""
        said = self.persons != NOBODY
        if not said.any():
            return
        probes = np.flatnonzero(~said & ~self.strangers)
        row_of = {int(face): row for row, face in enumerate(probes)}
        embeddings = self.known.embeddings
        wrong = sorted(self.rejected)
        rejected = Gallery(
            embeddings[[face for face, _ in wrong]], np.array([person for _, person in wrong], dtype=np.int64)
        )
        people = People(Gallery(embeddings[said], self.persons[said]), rejected=rejected)
        answers = people.identify(
            embeddings[probes], rejected=[(row_of[face], person) for face, person in wrong if face in row_of]
        )
        taken: dict[int, set[int]] = {}
        for photo, person in zip(self.known.photos[said].tolist(), self.persons[said].tolist(), strict=True):
            taken.setdefault(photo, set()).add(person)
        before = self.guessed.copy()
        self.guessed[:] = NOBODY
        for row, (person, _) in one_person_per_photo(answers, self.known.photos[probes].tolist(), taken).items():
            self.guessed[probes[row]] = person
        changed = np.flatnonzero((self.guessed != before) & ~said)
        for person in np.unique(self.guessed[changed]).tolist():
            name = UNLABELLED if person == UNKNOWN else person
            yield Decision(changed[self.guessed[changed] == person], name, follows=True)

"""Persons and who is whom: decisions of the user, and what was propagated from them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from photocluster.records import Source
from photocluster.store.database import Database
from photocluster.store.faces import LIVE, NAMED_LIVE
from photocluster.store.journal import TABLES, Change, Decision, Row, find_person, is_guess

PROPAGATE = "propagate"
"""Kind of the event of a propagation that the user asked for."""


class IgnoredKind(StrEnum):
    """Why a face is left out."""

    STRANGER = "stranger"
    CROWD = "crowd"
    STATUE = "statue"
    DRAWING = "drawing"
    NOT_A_FACE = "not-a-face"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who a face is: the person's id, who said so, and the distance where it came from a comparison."""

    person: int
    source: Source
    distance: float | None


@dataclass(frozen=True, slots=True)
class PersonInfo:
    """A person and how many faces carry the name, by source; `photos` counts distinct photos.

    `born` is an ISO date or None, `note` free text, `hidden` persons are not listed, `cover` is the face that stands
    for the person, or None.
    """

    id: int
    name: str
    user: int
    imported: int
    propagated: int
    photos: int
    aliases: tuple[str, ...] = ()
    born: str | None = None
    note: str = ""
    hidden: bool = False
    cover: int | None = None

    @property
    def faces(self) -> int:
        """Faces of any source."""
        return self.user + self.imported + self.propagated


@dataclass(frozen=True, slots=True)
class Sighting:
    """A photo and the persons (ids) that are seen in it, out of those that were asked for."""

    photo: str
    captured_at: str | None
    persons: frozenset[int]


class _TriedOnly(Exception):
    """Rolls a transaction back that was only to show what it would do."""


class Names:
    """The persons of a library and the faces that carry their names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def persons(self) -> list[PersonInfo]:
        """Return all persons, by name."""
        # The unary plus has SQLite go through the faces in their order, not by person all over the file.
        return self._infos("1", f"{NAMED_LIVE} GROUP BY +assignment.person", {})

    def person(self, person: int) -> PersonInfo:
        """Return one person by id."""
        (info,) = self._infos("person.id = :id", f"{NAMED_LIVE} AND assignment.person = :id", {"id": person})
        return info

    def _infos(self, which: str, faces: str, values: Mapping[str, object]) -> list[PersonInfo]:
        query = f"""
            SELECT assignment.person, count(*) FILTER (WHERE source = 'user'),
                count(*) FILTER (WHERE source = 'imported'), count(*) FILTER (WHERE source = 'propagated'),
                count(DISTINCT face.photo)
            FROM assignment JOIN face ON face.id = assignment.face WHERE {faces}
        """
        counted = {person: found for person, *found in self._database.execute(query, values)}
        aliases: dict[int, list[str]] = {}
        for person, name in self._database.execute("SELECT person, name FROM alias ORDER BY key"):
            aliases.setdefault(person, []).append(name)
        query = (
            "SELECT person.id, name, born, note, hidden, cover.face FROM person "
            f"LEFT JOIN cover ON cover.person = person.id WHERE {which} ORDER BY person.key"
        )
        found = []
        for person, name, born, note, hidden, cover in self._database.execute(query, values):
            user, imported, propagated, photos = counted.get(person, (0, 0, 0, 0))
            also = tuple(aliases.get(person, ()))
            found.append(
                PersonInfo(person, name, user, imported, propagated, photos, also, born, note, bool(hidden), cover)
            )
        return found

    def name(self, person: int) -> str:
        """Return the name of a person by id."""
        return str(self._database.execute("SELECT name FROM person WHERE id = ?", (person,)).fetchone()[0])

    def best_faces(self, persons: Collection[int]) -> dict[int, int]:
        """Return person -> the face of the highest quality with its name, the user's word before guesses, of some."""
        query = f"""
            SELECT person, face FROM (
                SELECT assignment.person, assignment.face, row_number() OVER (
                    PARTITION BY assignment.person
                    ORDER BY source = 'propagated', face.quality DESC, face.id) AS place
                FROM assignment JOIN face ON face.id = assignment.face
                WHERE assignment.person IN (SELECT value FROM json_each(?)) AND {NAMED_LIVE})
            WHERE place = 1
        """
        return dict(self._database.execute(query, _listed(persons)).fetchall())

    def names(self) -> dict[int, str]:
        """Return person id -> name, without counting anything."""
        return dict(self._database.execute("SELECT id, name FROM person").fetchall())

    def person_id(self, name: str) -> int | None:
        """Return the id of the person that goes by a name or alias, compared as `journal.name_key` says, or None."""
        return find_person(self._database.connection, name)

    def assignments(self, faces: Collection[int] | None = None) -> dict[int, Assignment]:
        """Return face -> assignment of all named faces, or of those among some, by face."""
        few = "" if faces is None else "WHERE face IN (SELECT value FROM json_each(?))"
        query = f"SELECT face, person, source, distance FROM assignment {few} ORDER BY face"
        return {
            face: Assignment(person, Source(source), distance)
            for face, person, source, distance in self._database.execute(query, _listed(faces))
        }

    def rejections(self, faces: Collection[int] | None = None) -> list[tuple[int, int]]:
        """Return (face, person id) of every "not this person", or of those said of some faces."""
        few = "" if faces is None else "WHERE face IN (SELECT value FROM json_each(?))"
        query = f"SELECT face, person FROM rejection {few} ORDER BY face, person"
        return self._database.execute(query, _listed(faces)).fetchall()

    def pictures_named(self, person: int, beside: Collection[int]) -> set[tuple[str, float | None]]:
        """Return those pictures of some faces in which the user or an import named a face as a person.

        A picture is a photo, by its hash, or the frame of a video at a time.
        """
        query = (
            "SELECT DISTINCT photo.hash, face.time FROM face JOIN photo ON photo.id = face.photo "
            "JOIN assignment ON assignment.face = face.id "
            "WHERE face.photo IN (SELECT photo FROM face WHERE id IN (SELECT value FROM json_each(?))) "
            f"AND +assignment.person = ? AND source != 'propagated' AND {LIVE}"
        )
        return set(self._database.execute(query, (*_listed(beside), person)).fetchall())

    def ignored(self) -> dict[int, IgnoredKind]:
        """Return face -> why it is left out, of all ignored faces, by face."""
        query = "SELECT face, kind FROM ignored ORDER BY face"
        return {face: IgnoredKind(kind) for face, kind in self._database.execute(query)}

    def mirrors(self) -> set[str]:
        """Return the hashes of the photos in which one person may appear more than once."""
        return {row[0] for row in self._database.execute("SELECT photo FROM mirror")}

    def waiting(self) -> dict[str, dict[str, Any]]:
        """Return key -> entry of the statements of a backup whose face is not here (yet), by key."""
        return {
            key: json.loads(entry)
            for key, entry in self._database.execute("SELECT key, entry FROM waiting ORDER BY key")
        }

    def sightings(self, persons: Collection[int], *, sources: Collection[Source] = tuple(Source)) -> list[Sighting]:
        """Return the photos in which faces carry these persons' names by these sources, by capture time, then hash."""
        query = f"""
            SELECT photo.hash, photo.captured_at, json_group_array(assignment.person)
            FROM assignment JOIN face ON face.id = assignment.face JOIN photo ON photo.id = face.photo
            WHERE assignment.person IN ({", ".join("?" * len(persons))})
            AND assignment.source IN ({", ".join("?" * len(sources))}) AND {LIVE}
            GROUP BY photo.id ORDER BY photo.captured_at IS NULL, photo.captured_at, photo.hash
        """
        found = self._database.execute(query, (*persons, *(source.value for source in sources)))
        return [Sighting(digest, at, frozenset(json.loads(seen))) for digest, at, seen in found]

    @contextmanager
    def decide(
        self, kind: str, arguments: Mapping[str, Any], *, takes_back: int | None = None, dry_run: bool = False
    ) -> Iterator[Decision]:
        """Collect the changes of one decision of the user and commit them as one event.

        A decision that changes nothing makes no event, unless it takes another back (whose faces were forgotten).

        Parameters
        ----------
        kind, arguments
            What the log says of the event; the arguments are JSON values.
        takes_back
            The event that this one undoes, or the undo that it takes back.
        dry_run
            Take everything back at the end; `Decision.changes` says what would have been done.
        """
        try:
            with self._database.transaction():
                decision = Decision(self._database.connection)
                yield decision
                decision.drop_contradicted_guesses()
                if dry_run:
                    raise _TriedOnly  # noqa: TRY301  the way out of the transaction
                if decision.changes or takes_back is not None:
                    cursor = self._database.execute(
                        "INSERT INTO event (at, kind, arguments, changes, takes_back) VALUES (?, ?, ?, ?, ?)",
                        (
                            datetime.now(UTC).isoformat(timespec="seconds"),
                            kind,
                            json.dumps(arguments, ensure_ascii=False),
                            decision.changes_json(),
                            takes_back,
                        ),
                    )
                    decision.event = cursor.lastrowid
        except _TriedOnly:
            return

    def propagate(
        self,
        named: Mapping[int, tuple[int, float]],
        taken_back: Sequence[int] = (),
        *,
        arguments: Mapping[str, Any] | None = None,
    ) -> int | None:
        """Write face -> (person id, distance) as propagated and take earlier guesses back.

        A face that the user or an import named in the meantime is left alone.

        Parameters
        ----------
        arguments
            What the log says of it, where the user asked for it: then it is an event, whose number is returned.
        """
        with self._database.transaction():
            if arguments is None:
                self._guess(named, taken_back)
                return None
            with self.decide(PROPAGATE, arguments) as decision:
                decision.changes += self._guess(named, taken_back)
            return decision.event

    def _guess(self, named: Mapping[int, tuple[int, float]], taken_back: Sequence[int]) -> list[Change]:
        """Write propagated names, and take others back; return what it changed."""
        columns = TABLES["assignment"][1]
        query = f"SELECT {', '.join(columns)} FROM assignment WHERE face IN (SELECT value FROM json_each(?))"
        rows = self._database.execute(query, _listed([*named, *taken_back])).fetchall()
        before: dict[int, Row] = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
        after: dict[int, Row | None] = dict.fromkeys(taken_back)
        for face, (person, distance) in named.items():
            after[face] = {"face": face, "person": person, "source": Source.PROPAGATED.value, "distance": distance}
        changes: list[Change] = [
            ("assignment", before.get(face), row)
            for face, row in sorted(after.items())
            if is_guess(before.get(face)) and before.get(face) != row
        ]
        gone = [(old["face"],) for _, old, _ in changes if old is not None]
        new = [tuple(row[column] for column in columns) for _, _, row in changes if row is not None]
        self._database.executemany("DELETE FROM assignment WHERE face = ?", gone)
        self._database.executemany(f"INSERT INTO assignment ({', '.join(columns)}) VALUES (?, ?, ?, ?)", new)
        return changes


def _listed(faces: Collection[int] | None) -> tuple[str, ...]:
    """Return the value that binds to `json_each(?)`, which has no limit of their number; nothing for all faces."""
    return () if faces is None else (json.dumps(sorted(faces)),)

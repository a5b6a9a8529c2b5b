"""Persons and who is whom: decisions of the user, and what was propagated from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from photocluster.records import Source
from photocluster.store.database import Database
from photocluster.store.faces import LIVE
from photocluster.store.journal import Decision, name_key


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who a face is: the person's id, who said so, and the distance where it came from a comparison."""

    person: int
    source: Source
    distance: float | None


@dataclass(frozen=True, slots=True)
class PersonInfo:
    """A person and how many faces carry the name, by source; `photos` counts distinct photos."""

    id: int
    name: str
    user: int
    imported: int
    propagated: int
    photos: int

    @property
    def faces(self) -> int:
        """Faces of any source."""
        return self.user + self.imported + self.propagated


class Names:
    """The persons of a library and the faces that carry their names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def persons(self) -> list[PersonInfo]:
        """Return all persons, by name."""
        query = f"""
            SELECT person.id, person.name, count(*) FILTER (WHERE source = 'user'),
                count(*) FILTER (WHERE source = 'imported'), count(*) FILTER (WHERE source = 'propagated'),
                count(DISTINCT photo.id)
            FROM person LEFT JOIN (assignment JOIN face ON face.id = assignment.face
                JOIN photo ON photo.id = face.photo AND {LIVE}) ON assignment.person = person.id
            GROUP BY person.id ORDER BY person.key
        """
        return [PersonInfo(*row) for row in self._database.execute(query)]

    def person_id(self, name: str) -> int | None:
        """Return the id of the person of that name, compared as `journal.name_key` says."""
        row = self._database.execute("SELECT id FROM person WHERE key = ?", (name_key(name),)).fetchone()
        return None if row is None else int(row[0])

    def assignments(self) -> dict[int, Assignment]:
        """Return face -> assignment of all named faces, by face."""
        query = "SELECT face, person, source, distance FROM assignment ORDER BY face"
        return {
            face: Assignment(person, Source(source), distance)
            for face, person, source, distance in self._database.execute(query)
        }

    def rejections(self) -> list[tuple[int, int]]:
        """Return (face, person id) of every "not this person"."""
        return self._database.execute("SELECT face, person FROM rejection ORDER BY face, person").fetchall()

    @contextmanager
    def decide(self, kind: str, arguments: Mapping[str, Any]) -> Iterator[Decision]:
        """Collect the changes of one decision of the user and commit them as one event, if there are any."""
        with self._database.transaction():
            decision = Decision(self._database.connection)
            yield decision
            if decision.changes:
                self._database.execute(
                    "INSERT INTO event (at, kind, arguments, changes) VALUES (?, ?, ?, ?)",
                    (
                        datetime.now(UTC).isoformat(timespec="seconds"),
                        kind,
                        json.dumps(arguments, ensure_ascii=False),
                        decision.changes_json(),
                    ),
                )

    def propagate(self, named: Mapping[int, tuple[int, float]], taken_back: Sequence[int] = ()) -> int:
        """Write face -> (person id, distance) as propagated and take earlier guesses back; return how many.

        A face that the user or an import named in the meantime is left alone.
        """
        with self._database.transaction():
            self._database.executemany(
                "DELETE FROM assignment WHERE face = ? AND source = 'propagated'", [(face,) for face in taken_back]
            )
            before = self._database.connection.total_changes
            self._database.executemany(
                "INSERT INTO assignment (face, person, source, distance) VALUES (?, ?, 'propagated', ?) "
                "ON CONFLICT (face) DO UPDATE SET person = excluded.person, distance = excluded.distance "
                "WHERE source = 'propagated'",
                [(face, person, distance) for face, (person, distance) in named.items()],
            )
            return self._database.connection.total_changes - before

"""Decisions of the user: every change of what the user said goes through here, and each decision is one event.

A `Decision` collects the changes of the tables that hold the user's word, each with the row before and the row after;
`Names.decide` writes them and the event in one transaction. Nothing else writes a 'user' assignment.
"""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from typing import Any, Final

from photocluster.errors import UsageError
from photocluster.records import Source

TABLES: Final = {
    "person": (("id",), ("id", "name", "key", "born", "note", "hidden")),
    "alias": (("key",), ("key", "name", "person")),
    "assignment": (("face",), ("face", "person", "source", "distance")),
    "rejection": (("face", "person"), ("face", "person")),
    "pair": (("face", "other"), ("face", "other", "same")),
    "ignored": (("face",), ("face", "kind")),
    "cover": (("person",), ("person", "face")),
    "mirror": (("photo",), ("photo",)),
    "waiting": (("key",), ("key", "entry")),
    "region": (("key",), ("key", "photo", "person", "x0", "y0", "x1", "y1", "origin")),
}
"""Per journaled table: its key, and all its columns."""

ADDED_COLUMNS: Final[dict[str, dict[str, Any]]] = {"person": {"born": None, "note": "", "hidden": 0}}
"""What a row of an event holds in columns that are younger than the event."""

MAX_NAME_LENGTH = 200
"""Characters of a name: more is a slip of the clipboard."""

Row = dict[str, Any]
Change = tuple[str, Row | None, Row | None]
"""Table, row before, row after; None where there is none."""


def clean_name(name: str) -> str:
    """Return the name as it is kept: NFC, white space trimmed and folded.

    Raises
    ------
    UsageError
        It is empty, too long, or holds control characters.
    """
    cleaned = " ".join(unicodedata.normalize("NFC", name).split())
    if all(unicodedata.category(c)[0] in "ZC" for c in cleaned):
        raise UsageError("a name needs at least one character that can be seen")
    if len(cleaned) > MAX_NAME_LENGTH:
        raise UsageError(f"a name has at most {MAX_NAME_LENGTH} characters, this one {len(cleaned)}")
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in cleaned):
        raise UsageError(f"a name cannot hold control characters: {cleaned!r}")
    return cleaned


def name_key(name: str) -> str:
    """Return the form by which names are compared: NFKC, case-folded, white space folded."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


def is_guess(assignment: Row | None) -> bool:
    """Return whether a row of `assignment` is none, or only a propagated name: nothing that the user said."""
    return assignment is None or assignment["source"] == Source.PROPAGATED.value


class Decision:
    """The changes that one decision of the user makes. Get one from `Names.decide`.

    `event` is the number of the event, once it is written; None for a decision that changed nothing or was only tried.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changes: list[Change] = []
        self.event: int | None = None

    def get(self, table: str, key: Row) -> Row | None:
        """Return the row of a journaled table, or None."""
        keys, columns = TABLES[table]
        where = " AND ".join(f"{k} = :{k}" for k in keys)
        row = self._connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {where}", key).fetchone()
        return None if row is None else dict(zip(columns, row, strict=True))

    def put(self, table: str, row: Row) -> None:
        """Insert or replace a row."""
        row = {**ADDED_COLUMNS.get(table, {}), **row}
        before = self.get(table, row)
        if before == row:
            return
        keys, columns = TABLES[table]
        updates = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in keys)
        action = f"UPDATE SET {updates}" if updates else "NOTHING"
        self._connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(':' + c for c in columns)}) "
            f"ON CONFLICT ({', '.join(keys)}) DO {action}",
            row,
        )
        self.changes.append((table, before, row))

    def remove(self, table: str, key: Row) -> None:
        """Delete a row, where there is one."""
        before = self.get(table, key)
        if before is None:
            return
        where = " AND ".join(f"{k} = :{k}" for k in TABLES[table][0])
        self._connection.execute(f"DELETE FROM {table} WHERE {where}", key)
        self.changes.append((table, before, None))

    def defer_references(self) -> None:
        """Let rows refer to rows that come later in this decision; they are checked at its end."""
        self._connection.execute("PRAGMA defer_foreign_keys = ON")

    def standing(self, table: str, row: Row | None) -> Row | None:
        """Return a row of the log as it can stand now: None if its face or photo was forgotten."""
        if row is None:
            return None
        if table == "pair":
            query, value = "SELECT 1 FROM face WHERE id = ?", row["other"]
            if self._connection.execute(query, (row["face"],)).fetchone() is None:
                return None
        elif "face" in row:
            query, value = "SELECT 1 FROM face WHERE id = ?", row["face"]
        elif table in {"mirror", "region"}:
            query, value = "SELECT 1 FROM photo WHERE hash = ?", row["photo"]
        else:
            return {**ADDED_COLUMNS.get(table, {}), **row}
        return row if self._connection.execute(query, (value,)).fetchone() else None

    def is_spoken_of(self, person: int) -> bool:
        """Return whether the user or an import said something of a person besides its name."""
        query = """
            SELECT EXISTS (SELECT 1 FROM assignment WHERE person = :id AND source != 'propagated')
            OR EXISTS (SELECT 1 FROM rejection WHERE person = :id) OR EXISTS (SELECT 1 FROM alias WHERE person = :id)
            OR EXISTS (SELECT 1 FROM cover WHERE person = :id) OR EXISTS (SELECT 1 FROM region WHERE person = :id)
            OR EXISTS (SELECT 1 FROM waiting, json_tree(waiting.entry) AS part
                WHERE part.atom = :id AND (part.fullkey = '$.person' OR part.path = '$.rejected'))
        """
        return bool(self._connection.execute(query, {"id": person}).fetchone()[0])

    def rows_of_person(self, table: str, person: int) -> list[Row]:
        """Return the rows of a table that concern a person."""
        _, columns = TABLES[table]
        found = self._connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE person = ?", (person,))
        return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]

    def waiting(self) -> list[Row]:
        """Return the rows of the statements that wait for their faces."""
        return [{"key": key, "entry": entry} for key, entry in self._connection.execute("SELECT * FROM waiting")]

    def named(self, name: str) -> int | None:
        """Return the id of the person that goes by a name or alias, or None."""
        return find_person(self._connection, name)

    def person(self, name: str) -> int:
        """Return the id of the person that goes by a name or alias, made now where there is none."""
        found = self.named(name)
        if found is not None:
            return found
        cleaned = clean_name(name)
        # AUTOINCREMENT's own counter, so that an id is never given twice, not even after an undo.
        cursor = self._connection.execute("INSERT INTO person (name, key) VALUES (?, ?)", (cleaned, name_key(cleaned)))
        person = int(cursor.lastrowid or 0)
        self.changes.append(("person", None, self.get("person", {"id": person})))
        return person

    def remove_person(self, person: int) -> None:
        """Delete a person with the propagated names that refer to it; what the user said of it must be gone before."""
        for row in self.rows_of_person("assignment", person):
            if is_guess(row):
                self.remove("assignment", row)
        self.remove("person", {"id": person})

    def assign(self, face: int, person: int, source: Source, distance: float | None = None) -> None:
        """Say who a face is, in place of whatever was said before; the user's word ends what it contradicts."""
        if source is not Source.PROPAGATED:
            self.remove("rejection", {"face": face, "person": person})
            self.remove("ignored", {"face": face})
        self._drop_cover(face, keep=person)
        self.put("assignment", {"face": face, "person": person, "source": source.value, "distance": distance})

    def unassign(self, face: int) -> None:
        """Take the name off a face."""
        self._drop_cover(face, keep=None)
        self.remove("assignment", {"face": face})

    def reject(self, face: int, person: int) -> None:
        """Say that a face is not a person; the name goes off if it is that one."""
        own = self.get("assignment", {"face": face})
        if own is not None and own["person"] == person:
            self.unassign(face)
        self.put("rejection", {"face": face, "person": person})

    def ignore(self, face: int, kind: str) -> None:
        """Say that a face is to be left out for ever; a name goes off."""
        self.unassign(face)
        self.put("ignored", {"face": face, "kind": kind})

    def _drop_cover(self, face: int, *, keep: int | None) -> None:
        for (person,) in self._connection.execute("SELECT person FROM cover WHERE face = ?", (face,)).fetchall():
            if person != keep:
                self.remove("cover", {"person": person})

    def drop_contradicted_guesses(self) -> None:
        """Take back the propagated names that what was said now contradicts, in the photos that were touched."""
        for photo in self._touched_photos():
            for face in _contradicted(self._connection, photo):
                self.remove("assignment", {"face": face})

    def _touched_photos(self) -> list[int]:
        """Return the photos that this decision touched and in which a propagated name stands."""
        faces: set[int] = set()
        mirrors: set[str] = set()
        for table, before, after in self.changes:
            row = before or after or {}
            if table == "mirror":
                mirrors.add(row["photo"])
            elif table in {"assignment", "rejection", "ignored"}:
                faces.add(row["face"])
        query = """
            SELECT id FROM photo WHERE (
                id IN (SELECT photo FROM face WHERE id IN (SELECT value FROM json_each(?)))
                OR hash IN (SELECT value FROM json_each(?)))
            AND EXISTS (SELECT 1 FROM face JOIN assignment ON assignment.face = face.id
                WHERE face.photo = photo.id AND source = 'propagated') ORDER BY id
        """
        found = self._connection.execute(query, (json.dumps(sorted(faces)), json.dumps(sorted(mirrors))))
        return [row[0] for row in found.fetchall()]

    def changes_json(self) -> str:
        """Return the changes as they are logged."""
        return json.dumps(self.changes, ensure_ascii=False)


def find_person(connection: sqlite3.Connection, name: str) -> int | None:
    """Return the id of the person that goes by a name or alias, compared as `name_key` says, or None."""
    query = "SELECT id FROM person WHERE key = :key UNION ALL SELECT person FROM alias WHERE key = :key"
    row = connection.execute(query, {"key": name_key(name)}).fetchone()
    return None if row is None else int(row[0])


def _contradicted(connection: sqlite3.Connection, photo: int) -> list[int]:
    """Return the faces of a photo whose propagated name cannot stand beside the user's words.

    These are ignored faces, faces of which the user said that they are not that person, and, unless the photo is a
    mirror, all but the nearest face with the name of one person, where the user's and imported names come first. Each
    frame of a video counts as a photo of its own.
    """
    query = """
        SELECT assignment.face, assignment.person, assignment.source,
            EXISTS (SELECT 1 FROM ignored WHERE ignored.face = face.id)
            OR EXISTS (SELECT 1 FROM rejection AS no WHERE no.face = face.id AND no.person = assignment.person),
            EXISTS (SELECT 1 FROM mirror JOIN photo ON photo.hash = mirror.photo WHERE photo.id = face.photo), face.time
        FROM face JOIN assignment ON assignment.face = face.id WHERE face.photo = ?
        ORDER BY source = 'propagated', distance, face.id
    """
    taken: set[tuple[int, float | None]] = set()
    gone = []
    for face, person, source, refused, mirror, time in connection.execute(query, (photo,)):
        if source == Source.PROPAGATED.value and (refused or ((person, time) in taken and not mirror)):
            gone.append(face)
        else:
            taken.add((person, time))
    return gone

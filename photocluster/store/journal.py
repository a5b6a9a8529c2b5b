"""Decisions of the user: every change of a name goes through here, and each decision is one event.

A `Decision` collects the changes of the three tables that hold what the user said, each with the row before and the
row after; `Library.decide` writes them and the event in one transaction. Nothing else writes a 'user' assignment.
"""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from typing import Any, Final

from photocluster.errors import UsageError
from photocluster.records import Source

TABLES: Final = {
    "person": (("id",), ("id", "name", "key")),
    "assignment": (("face",), ("face", "person", "source", "distance")),
    "rejection": (("face", "person"), ("face", "person")),
}
"""Per journaled table: its key, and all its columns."""

MAX_NAME_LENGTH = 200
"""Characters of a name: more is a slip of the clipboard."""

Row = dict[str, Any]


def clean_name(name: str) -> str:
    """Return the name as it is kept: NFC, white space trimmed and folded.

    Raises
    ------
    UsageError
        It is empty, too long, or holds control characters.
    """
    cleaned = " ".join(unicodedata.normalize("NFC", name).split())
    if not cleaned:
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


class Decision:
    """The changes that one decision of the user makes. Get one from `Library.decide`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changes: list[tuple[str, Row | None, Row | None]] = []

    def _get(self, table: str, key: Row) -> Row | None:
        keys, columns = TABLES[table]
        where = " AND ".join(f"{k} = :{k}" for k in keys)
        row = self._connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {where}", key).fetchone()
        return None if row is None else dict(zip(columns, row, strict=True))

    def put(self, table: str, row: Row) -> None:
        """Insert or replace a row."""
        before = self._get(table, row)
        if before == row:
            return
        write_row(self._connection, table, row)
        self.changes.append((table, before, row))

    def remove(self, table: str, key: Row) -> None:
        """Delete a row, where there is one."""
        before = self._get(table, key)
        if before is not None:
            delete_row(self._connection, table, key)
            self.changes.append((table, before, None))

    def person(self, name: str) -> int:
        """Return the id of the person of that name, made now where there is none."""
        found = self._connection.execute("SELECT id FROM person WHERE key = ?", (name_key(name),)).fetchone()
        if found:
            return int(found[0])
        cleaned = clean_name(name)
        # AUTOINCREMENT's own counter, so that an id is never given twice, not even after an undo.
        cursor = self._connection.execute("INSERT INTO person (name, key) VALUES (?, ?)", (cleaned, name_key(cleaned)))
        person = int(cursor.lastrowid or 0)
        self.changes.append(("person", None, {"id": person, "name": cleaned, "key": name_key(cleaned)}))
        return person

    def assign(self, face: int, person: int, source: Source, distance: float | None = None) -> None:
        """Say who a face is, in place of whatever was said before."""
        self.put("assignment", {"face": face, "person": person, "source": source.value, "distance": distance})

    def unassign(self, face: int) -> None:
        """Take the name off a face."""
        self.remove("assignment", {"face": face})

    def changes_json(self) -> str:
        """Return the changes as they are logged."""
        return json.dumps(self.changes, ensure_ascii=False)


def write_row(connection: sqlite3.Connection, table: str, row: Row) -> None:
    """Insert or update one row of a journaled table."""
    keys, columns = TABLES[table]
    updates = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in keys)
    action = f"UPDATE SET {updates}" if updates else "NOTHING"
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(':' + c for c in columns)}) "
        f"ON CONFLICT ({', '.join(keys)}) DO {action}",
        row,
    )


def delete_row(connection: sqlite3.Connection, table: str, key: Row) -> None:
    """Delete one row of a journaled table."""
    keys, _ = TABLES[table]
    connection.execute(f"DELETE FROM {table} WHERE {' AND '.join(f'{k} = :{k}' for k in keys)}", key)

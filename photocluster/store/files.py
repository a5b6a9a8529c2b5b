"""Files: the paths at which a scan found something, and what is known of them without opening them."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from photocluster.store.database import Database

PENDING = "pending"
"""Key in `meta`: see `Files.pending`."""

ROWS = 2000
"""Files that `Files.plain` reads at a time: no statement is left open while a scan writes."""


class FileState(StrEnum):
    """What a file turned out to be."""

    PHOTO = "photo"
    FAILED = "failed"
    OTHER = "other"


class KnownFile(NamedTuple):
    """What the library remembers of a file: enough to see that it has not changed. `mtime_ns` is in nanoseconds."""

    id: int
    size: int
    mtime_ns: int
    state: FileState
    error: str | None
    missing: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """How many files a scan had still to look into; not `complete`: it had not found them all."""

    files: int = 0
    complete: bool = True


class Files:
    """The files of a library, as a scan needs them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plain(self, roots: Sequence[Path]) -> Iterator[list[tuple[bytes, int, int | None, int]]]:
        """Yield the files at or below `roots`, many at a time, as (path, size, mtime_ns, id), by the bytes of the path.

        The time of a file that could not be used, or is missing, is None: there is more to be known of it (`several`).
        What is written meanwhile may be among it or not.
        """
        query = (
            "SELECT path, size, CASE WHEN missing OR state = 'failed' THEN NULL ELSE mtime_ns END, id "
            f"FROM file WHERE path >= ? AND path < ? ORDER BY path LIMIT {ROWS}"
        )
        for first, end in _ranges(roots):
            start = first
            while rows := self._database.execute(query, (start, end)).fetchall():
                yield rows
                start = rows[-1][0] + b"\0"

    def several(self, numbers: Collection[int]) -> dict[int, tuple[bytes, KnownFile]]:
        """Return id -> (path, what is known) of some files."""
        query = (
            "SELECT path, id, size, mtime_ns, state, error, missing FROM file "
            "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY path"
        )
        return {
            number: (path, KnownFile(number, size, mtime_ns, FileState(state), error, bool(missing)))
            for path, number, size, mtime_ns, state, error, missing in self._database.execute(
                query, (json.dumps(list(numbers)),)
            )
        }

    def by_spelling(self) -> dict[int, int]:
        """Return a hash of `spelling` -> id, for all files that hold a photo."""
        query = "SELECT path, id FROM file WHERE photo IS NOT NULL"
        return {hash(spelling(path)): number for path, number in self._database.execute(query)}

    def rename(self, new_paths: Sequence[tuple[int, bytes]]) -> None:
        """Give files, by id, other paths; they are there."""
        with self._database.transaction():
            for number, path in new_paths:
                self._database.execute("UPDATE file SET path = ?, missing = 0 WHERE id = ?", (path, number))

    def pending(self) -> Pending:
        """Return what the last scan had still to do when it was stopped, or what it left out."""
        return Pending(*json.loads(self._database.meta(PENDING) or "[]"))


def note_pending(database: Database, pending: Pending) -> None:
    """Write what a scan has still to do; within a transaction."""
    value = json.dumps([pending.files, pending.complete])
    database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (PENDING, value))


def spelling(path: bytes) -> str:
    """Return what two paths share that differ in case or in Unicode's forms (NFC, NFD) alone."""
    text = os.fsdecode(path)
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def _ranges(roots: Sequence[Path]) -> list[tuple[bytes, bytes]]:
    """Return (first, end) of the paths at and below the roots, in order and without overlaps."""
    found: set[tuple[bytes, bytes]] = set()
    for root in roots:
        path = os.fsencode(root)
        below = path.rstrip(_SEPARATOR) + _SEPARATOR
        found |= {(path, path + b"\0"), (below, below[:-1] + bytes([below[-1] + 1]))}
    ranges: list[tuple[bytes, bytes]] = []
    for start, end in sorted(found):
        if not ranges or start >= ranges[-1][1]:
            ranges.append((start, end))
    return ranges


_SEPARATOR = os.fsencode(os.sep)

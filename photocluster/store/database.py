"""The open database and matrix of a library folder, and its transactions."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from photocluster.errors import RecipeMismatch, StoreBusy, StoreCorrupt, StoreError, StoreMissing, StoreVersion
from photocluster.records import Recipe
from photocluster.store.matrix import Matrix
from photocluster.store.neighbours import FILE as NEIGHBOURS
from photocluster.store.schema import APPLICATION_ID, MIGRATIONS, migrate

DATABASE = "library.sqlite"
MATRIX = "embeddings.npy"

CLEARING = "clearing"
"""Key in `meta` of the rows that a forgotten photo left in the matrix, while they are not zero yet."""

BUSY_SECONDS = 10.0
"""How long to wait for another writer: longer than a batch of a scan takes to commit."""


class Database:
    """SQLite and the matrix. The arguments and errors are those of `Library`."""

    def __init__(self, folder: Path, *, recipe: Recipe | None = None, create: bool = False) -> None:
        self.folder = folder
        self.path = folder / DATABASE
        self.matrix = Matrix(folder / MATRIX)
        if not self.path.exists():
            if not create:
                raise StoreMissing(
                    f"there is no library in {folder}. Make one with: photocluster scan FOLDER, or name another "
                    "with --library"
                )
            _make_private(folder, self.path)
        try:
            self.connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            raise store_error(error, folder) from error
        try:
            self._prepare()
            self._settle(recipe)
        except sqlite3.Error as error:
            self.connection.close()
            raise store_error(error, folder) from error
        except BaseException:
            self.connection.close()
            raise

    def _prepare(self) -> None:
        """Look whose database it is before anything is changed in it, then bring it to the newest version."""
        (application,) = self.connection.execute("PRAGMA application_id").fetchone()
        (tables,) = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION_ID:
            raise StoreVersion(f"{self.path} is a database of another program; give --library another folder")
        self._use_wal()
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten, not only unlinked
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        if version != len(MIGRATIONS):  # a look at a library of today does not wait for another's write lock
            migrate(self.connection, self.path)

    def _use_wal(self) -> None:
        """Change a new database to WAL. SQLite does not wait by itself where two processes do so at one moment."""
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return

    def _settle(self, recipe: Recipe | None) -> None:
        """Check the recipe, or write it into a new library; end what a killed process began."""
        if self.meta("rows") is None and recipe is not None:
            with self.transaction():
                self.matrix.create()
                made_at = datetime.now(UTC).isoformat(timespec="seconds")
                for key, value in (("rows", "0"), ("recipe", json.dumps(recipe.as_dict())), ("created_at", made_at)):
                    self.connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))
        if self.meta("rows") is None:
            raise StoreMissing(f"the library in {self.folder} is empty. Fill it with: photocluster scan FOLDER")
        if recipe is not None:
            self.require(recipe)
        self.matrix.read(self.rows)
        if self.meta(CLEARING) is not None:
            self.clear_forgotten()

    def clear_forgotten(self) -> None:
        """Zero the rows of the matrix that a committed `Photos.forget` left to be zeroed."""
        with self.transaction():
            (self.folder / NEIGHBOURS).unlink(missing_ok=True)
            self.matrix.clear(json.loads(self.meta(CLEARING) or "[]"))
            self.connection.execute("DELETE FROM meta WHERE key = ?", (CLEARING,))

    def meta(self, key: str) -> str | None:
        """Return a value of the table `meta`, or None."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def require(self, recipe: Recipe) -> None:
        """Raise `RecipeMismatch` unless the embeddings were made with that recipe."""
        _compare_recipes(self.recipe, recipe, self.folder)

    @property
    def rows(self) -> int:
        """Number of committed rows of the matrix."""
        return int(self.meta("rows") or 0)

    @property
    def recipe(self) -> Recipe:
        """How the embeddings in this library were made."""
        stored: dict[str, Any] = json.loads(self.meta("recipe") or "{}")
        known = {field.name for field in fields(Recipe)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k in known}
        return Recipe(**values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock; commit at the end, roll back on any exception.

        Within another transaction it is a part of that: rolled back by itself, committed with the whole.

        Raises
        ------
        StoreBusy, StoreCorrupt, StoreError
            See `store_error`.
        """
        inner = self.connection.in_transaction
        begin, commit = ("SAVEPOINT part", "RELEASE part") if inner else ("BEGIN IMMEDIATE", "COMMIT")
        try:
            self.connection.execute(begin)
            yield
            self.connection.execute(commit)
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO part" if inner else "ROLLBACK")
            if isinstance(error, (sqlite3.Error, OSError)):
                raise store_error(error, self.folder) from error
            raise

    def execute(self, query: str, values: Sequence[object] | Mapping[str, object] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(query, values)

    def executemany(self, query: str, values: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of many rows."""
        self.connection.executemany(query, values)


def store_error(error: sqlite3.Error | OSError, folder: Path) -> StoreError:
    """Return what SQLite or the operating system says of a library as an error that says what to do."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"another photocluster is writing to {folder}; wait for it to end, then try again ({error})")
    if name.startswith("SQLITE_CONSTRAINT"):
        return StoreError(
            f"{folder}: another command changed the library in the meantime, and nothing of this one was stored; run "
            f"it again. Should that not help, run: photocluster check ({error})"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or (isinstance(error, sqlite3.Error) and not name):
        return StoreCorrupt(f"{folder / DATABASE}: {error}. Restore it from a copy of the library folder")
    return StoreError(
        f"{folder}: the library cannot be used ({getattr(error, 'strerror', None) or error}). Free space or make the "
        "folder writable, then run the same command again; all that was stored before is kept"
    )


def _make_private(folder: Path, database: Path) -> None:
    """Make the folder, for its owner alone, and an empty database. Other things in the folder keep its mode."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            folder.chmod(0o700)
        database.touch(mode=0o600)
    except OSError as error:
        raise StoreError(
            f"{folder}: the library folder cannot be made ({error.strerror}). Name another with --library"
        ) from error


def _compare_recipes(stored: Recipe, wanted: Recipe, folder: Path) -> None:
    for field in fields(Recipe):
        old, new = getattr(stored, field.name), getattr(wanted, field.name)
        if old != new:
            raise RecipeMismatch(
                f"the library in {folder} was made with {field.name} = {old}, this scan would "
                f"use {new}; their embeddings cannot be compared. Give the same setting as before, or "
                "scan into another library with --library"
            )

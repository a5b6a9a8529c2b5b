"""The open database and matrix of a library folder, and its transactions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from photocluster.errors import RecipeMismatch, StoreBusy, StoreCorrupt, StoreError, StoreMissing
from photocluster.records import Recipe
from photocluster.store.matrix import Matrix
from photocluster.store.schema import migrate

DATABASE = "library.sqlite"
MATRIX = "embeddings.npy"

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
            _make_private_folder(folder)
        try:
            self.connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA foreign_keys = ON")
            self.connection.execute("PRAGMA synchronous = FULL")
            migrate(self.connection, self.path)
        except sqlite3.DatabaseError as error:
            raise StoreCorrupt(f"{self.path}: {error}. Restore it from a copy of the library folder") from error
        try:
            self._settle(recipe)
        except BaseException:
            self.connection.close()
            raise

    def _settle(self, recipe: Recipe | None) -> None:
        """Check the recipe, or write it into a new library."""
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
        """Hold the write lock; commit at the end, roll back on any exception."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise StoreBusy(
                f"another photocluster is writing to {self.folder}; wait for it to end, then try again ({error})"
            ) from error
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def execute(self, query: str, values: Sequence[object] | Mapping[str, object] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(query, values)

    def executemany(self, query: str, values: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of many rows."""
        self.connection.executemany(query, values)


def _make_private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise StoreError(f"{folder}: the library folder cannot be made ({error.strerror})") from error


def _compare_recipes(stored: Recipe, wanted: Recipe, folder: Path) -> None:
    for field in fields(Recipe):
        old, new = getattr(stored, field.name), getattr(wanted, field.name)
        if old != new:
            raise RecipeMismatch(
                f"the library in {folder} was made with {field.name} = {old}, this scan would "
                f"use {new}; their embeddings cannot be compared. Give the same setting as before, or "
                "scan into another library with --library"
            )

"""The library: one folder, open. The format stands in `schema`."""

from __future__ import annotations

import os
import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from photocluster.records import FloatArray, Recipe
from photocluster.store.clusters import Clusters
from photocluster.store.database import Database, store_error
from photocluster.store.exchange import Exchange
from photocluster.store.faces import LIVE, Faces
from photocluster.store.files import Files, Pending
from photocluster.store.history import History
from photocluster.store.moments import Moments
from photocluster.store.names import Names
from photocluster.store.photos import Photos
from photocluster.store.questions import Questions
from photocluster.store.regions import Regions


@dataclass(frozen=True, slots=True)
class Status:
    """Counts of what the library holds.

    `photos` are those that stand for themselves; `companion_files` show the moment of one of them (a RAW, a clip).
    `pending` is what the last scan had still to do; `clustered_faces` are in a cluster, `unclustered_faces` came after
    the last clustering; `disk_bytes` is the size of the library's folder.
    """

    photos: int
    photos_without_faces: int
    missing_photos: int
    files: int
    companion_files: int
    failed_files: int
    pending: Pending
    faces: int
    ignored_faces: int
    clustered_faces: int
    unclustered_faces: int
    clusters: int
    persons: int
    named_by_user: int
    named_by_import: int
    named_by_propagation: int
    disk_bytes: int


class Library:
    """One library folder, open. Use it in one thread, as a context manager.

    Parameters
    ----------
    folder
        The library folder.
    recipe
        How new embeddings would be made; None to read only what is there.
    create
        Make the library where there is none; needs a recipe.

    Raises
    ------
    StoreMissing, StoreCorrupt, StoreVersion, RecipeMismatch
    """

    def __init__(self, folder: Path, *, recipe: Recipe | None = None, create: bool = False) -> None:
        self.folder = folder
        self._database = Database(folder, recipe=recipe, create=create)
        self.files = Files(self._database)
        self.photos = Photos(self._database)
        self.faces = Faces(self._database)
        self.moments = Moments(self._database)
        self.names = Names(self._database)
        self.clusters = Clusters(self._database)
        self.questions = Questions(self._database)
        self.regions = Regions(self._database)
        self.exchange = Exchange(self._database)
        self.history = History(self._database, self.names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise store_error(error, self.folder) from error

    def close(self) -> None:
        """Close the database."""
        self._database.connection.close()

    def together(self) -> AbstractContextManager[None]:
        """Return a context in which nobody else writes, and what is decided is stored as a whole or not at all."""
        return self._database.transaction()

    def data_version(self) -> int:
        """Return a number that is another one whenever somebody else committed to the library in the meantime."""
        return int(self._database.execute("PRAGMA data_version").fetchone()[0])

    def leave_checkpoints(self) -> None:
        """Leave it to others to move what was committed from SQLite's log into the database: see `checkpoint`."""
        self._database.execute("PRAGMA wal_autocheckpoint = 0")

    def checkpoint(self) -> None:
        """Move what was committed from SQLite's log into the database, as far as nobody has to wait for it."""
        self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    @property
    def rows(self) -> int:
        """Number of committed rows of the matrix."""
        return self._database.rows

    def require(self, recipe: Recipe) -> None:
        """Raise `RecipeMismatch` unless the embeddings were made with that recipe."""
        self._database.require(recipe)

    @property
    def recipe(self) -> Recipe:
        """How the embeddings in this library were made."""
        return self._database.recipe

    def embeddings(self) -> FloatArray:
        """Return all embeddings, memory-mapped and read-only: float32 (rows, 128); row i is face i."""
        return self._database.matrix.read(self._database.rows)

    def status(self) -> Status:
        """Return the counts."""

        def count(query: str) -> int:
            return int(self._database.execute(f"SELECT count(*) FROM {query}").fetchone()[0])

        current = "photo WHERE replaced_by IS NULL AND shown_by IS NULL"
        clustered = "membership JOIN face ON face.id = membership.face JOIN photo ON photo.id = face.photo"
        here = "EXISTS (SELECT 1 FROM file WHERE file.photo = photo.id AND NOT missing)"
        source = dict(self._database.execute("SELECT source, count(*) FROM assignment GROUP BY source").fetchall())
        return Status(
            photos=count(current),
            photos_without_faces=count(f"{current} AND NOT EXISTS (SELECT 1 FROM face WHERE face.photo = photo.id)"),
            missing_photos=count(f"{current} AND NOT {here}"),
            files=count("file WHERE state = 'photo' AND NOT missing"),
            companion_files=count(
                "file WHERE shown_by IS NOT NULL AND NOT missing "
                "AND (photo IS NULL OR photo IN (SELECT id FROM photo WHERE shown_by IS NOT NULL))"
            ),
            failed_files=count("file WHERE state = 'failed' AND NOT missing"),
            pending=self.files.pending(),
            faces=count(f"face JOIN photo ON photo.id = face.photo WHERE {LIVE}"),
            ignored_faces=count("ignored"),
            clustered_faces=count(f"{clustered} WHERE cluster IS NOT NULL AND {LIVE}"),
            unclustered_faces=count(
                "face JOIN photo ON photo.id = face.photo "
                f"WHERE {LIVE} AND face.id NOT IN (SELECT face FROM membership)"
            ),
            clusters=count(f"(SELECT DISTINCT cluster FROM {clustered} WHERE cluster IS NOT NULL AND {LIVE})"),
            persons=count("person"),
            named_by_user=source.get("user", 0),
            named_by_import=source.get("imported", 0),
            named_by_propagation=source.get("propagated", 0),
            disk_bytes=sum(entry.stat().st_size for entry in os.scandir(self.folder) if entry.is_file()),
        )

    def check(self) -> list[str]:
        """Return what is wrong with the library, one sentence each; empty when all is well."""
        problems = [
            f"{self._database.path}: {row[0]}"
            for row in self._database.execute("PRAGMA integrity_check")
            if row[0] != "ok"
        ]
        problems += [
            f"{self._database.path}: table {row[0]}, row {row[1]} points to a row of {row[2]} that is not there"
            for row in self._database.execute("PRAGMA foreign_key_check")
        ]
        highest = self._database.execute("SELECT max(id) FROM face").fetchone()[0]
        if highest is not None and highest >= self._database.rows:
            problems.append(f"{self._database.path}: face {highest} is beyond the {self._database.rows} committed rows")
        vectors = self.embeddings()
        problems += self._damaged_rows(vectors)
        return problems

    def _damaged_rows(self, vectors: FloatArray) -> list[str]:
        """Rows of faces must be unit vectors; rows of no face, of which the photo was forgotten, must be zero."""
        faces = np.array([row[0] for row in self._database.execute("SELECT id FROM face ORDER BY id")], dtype=np.int64)
        is_face = np.zeros(len(vectors), dtype=np.bool_)
        is_face[faces[faces < len(vectors)]] = True
        problems = []
        for start in range(0, len(vectors), 65536):
            norms = np.linalg.norm(vectors[start : start + 65536], axis=1)
            of_faces = is_face[start : start + 65536]
            wrong = np.flatnonzero(~np.where(of_faces, np.abs(norms - 1) < 1e-3, norms == 0))
            problems += [
                f"{self._database.matrix.path}: row {start + row} has norm {norms[row]:.4f} instead of "
                + (
                    "1; forget its photo and scan it again"
                    if of_faces[row]
                    else "0, as it is of no face; nothing reads it"
                )
                for row in wrong.tolist()
            ]
        return problems

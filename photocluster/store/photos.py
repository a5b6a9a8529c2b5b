"""Files and photos: what a scan found, what vanished, what was forgotten."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photocluster.errors import StoreError
from photocluster.records import Face, FloatArray, PhotoFacts
from photocluster.store.database import CLEARING, Database
from photocluster.store.files import FileState, KnownFile, Pending, note_pending
from photocluster.store.pictures import forget_pictures

SETTLED, MOUNTS = "settled", "mounts"
"""Keys in `meta`: see `Photos.settled_rows` and `Photos.mounts`."""


@dataclass(frozen=True, slots=True, eq=False)
class ScannedFile:
    """What a scan found out about one file.

    `photo` is the content hash; `facts` and `faces` are None where the library knows that photo already. `error` says
    why a file failed. `phash` is the perceptual hash, a signed integer of 64 bits; `burst` what the
    photos of a burst share (`bursts.burst_of`). `shown_by` is another photo that
    shows the file's moment, by hash: in state OTHER the file was not looked into for that; in state PHOTO it was, as
    that photo has no file any more.
    """

    path: Path
    size: int
    mtime_ns: int
    state: FileState
    photo: str | None = None
    facts: PhotoFacts | None = None
    faces: Sequence[Face] | None = None
    error: str | None = None
    phash: int | None = None
    burst: str | None = None
    shown_by: str | None = None


class Photos:
    """The files and photos of a library."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def file(self, path: Path) -> KnownFile | None:
        """Return what is known of a file, or None."""
        row = self._database.execute(
            "SELECT id, size, mtime_ns, state, error, missing FROM file WHERE path = ?", (os.fsencode(path),)
        ).fetchone()
        return None if row is None else KnownFile(row[0], row[1], row[2], FileState(row[3]), row[4], bool(row[5]))

    def hashes(self) -> set[str]:
        """Return the hashes of all photos that were worked on."""
        return {row[0] for row in self._database.execute("SELECT hash FROM photo")}

    def add(self, files: Sequence[ScannedFile], *, pending: Pending | None = None) -> int:
        """Commit a batch of a scan, all or nothing, and return how many faces it added.

        A photo whose every file now holds another photo is marked as replaced by that one. A file that held a photo and
        cannot be used now keeps its row: it is tried again at the next scan, and its photo is not lost sight of.
        `pending` is noted with it: what the scan has still to do (see `Files.pending`).
        """
        added: list[FloatArray] = []
        with self._database.transaction():
            start = self._database.rows
            for scanned in files:
                old = self._database.execute(
                    "SELECT photo FROM file WHERE path = ?", (os.fsencode(scanned.path),)
                ).fetchone()
                if scanned.state is FileState.OTHER and scanned.shown_by is not None:
                    self._add_companion(scanned, scanned.shown_by)
                    continue
                if scanned.state is FileState.FAILED and old and old[0] is not None:
                    continue
                photo = self._add_photo(scanned, start, added) if scanned.photo else None
                self._database.execute(
                    "INSERT INTO file (path, size, mtime_ns, state, photo, error, shown_by) "
                    "VALUES (?, ?, ?, ?, ?, ?, (SELECT id FROM photo WHERE hash = ?)) "
                    "ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
                    "state = excluded.state, photo = excluded.photo, error = excluded.error, missing = 0, "
                    "shown_by = excluded.shown_by",
                    (
                        *(os.fsencode(scanned.path), scanned.size, scanned.mtime_ns, scanned.state, photo),
                        *(scanned.error, scanned.shown_by),
                    ),
                )
                if photo is not None:
                    self._database.execute("UPDATE photo SET replaced_by = NULL WHERE id = ?", (photo,))
                    self._drop_moved(photo)
                    if old and old[0] not in (None, photo):
                        self._replace(old[0], photo)
            if added:
                self._database.matrix.append(np.stack(added), rows=start)
                self._database.execute("UPDATE meta SET value = ? WHERE key = 'rows'", (str(start + len(added)),))
            if pending is not None:
                note_pending(self._database, pending)
        return len(added)

    def _add_companion(self, scanned: ScannedFile, digest: str) -> None:
        """Note that another photo shows a file's moment. What was worked on before keeps its photo while unchanged."""
        showing = self._database.execute("SELECT id FROM photo WHERE hash = ?", (digest,)).fetchone()
        if showing is None:
            return  # forgotten a moment ago; the next scan looks into the file
        path = os.fsencode(scanned.path)
        old = self._database.execute("SELECT photo FROM file WHERE path = ? AND photo IS NOT NULL", (path,)).fetchone()
        unchanged = self._database.execute(
            "UPDATE file SET shown_by = ?, missing = 0 WHERE path = ? AND photo IS NOT NULL AND photo != ? "
            "AND size = ? AND mtime_ns = ?",
            (showing[0], path, showing[0], scanned.size, scanned.mtime_ns),
        )
        if unchanged.rowcount:
            return
        self._database.execute(
            "INSERT INTO file (path, size, mtime_ns, state, shown_by) VALUES (?, ?, ?, 'other', ?) "
            "ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, state = 'other', "
            "photo = NULL, error = NULL, missing = 0, shown_by = excluded.shown_by",
            (path, scanned.size, scanned.mtime_ns, showing[0]),
        )
        if old and old != showing:
            self._database.execute(
                "UPDATE photo SET shown_by = ? WHERE id = ? AND NOT EXISTS (SELECT 1 FROM file WHERE photo = photo.id)",
                (showing[0], old[0]),
            )

    def _add_photo(self, scanned: ScannedFile, start: int, added: list[FloatArray]) -> int:
        """Insert the photo and its faces, unless the content is known; return its id."""
        known = self._database.execute("SELECT id FROM photo WHERE hash = ?", (scanned.photo,)).fetchone()
        if known:
            return int(known[0])
        if scanned.facts is None or scanned.faces is None:
            raise StoreError(f"{scanned.path}: its photo left the library while it was being scanned; scan again")
        facts = scanned.facts
        cursor = self._database.execute(
            "INSERT INTO photo (hash, width, height, orientation, format, captured_at, camera, duration, phash, "
            "burst) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                scanned.photo,
                facts.width,
                facts.height,
                facts.orientation,
                facts.format,
                facts.captured_at,
                facts.camera,
                facts.duration,
                scanned.phash,
                scanned.burst,
            ),
        )
        photo = int(cursor.lastrowid or 0)
        for face in scanned.faces:
            detection, quality = face.detection, face.quality
            box = detection.box
            self._database.execute(
                f"INSERT INTO face VALUES ({', '.join('?' * 17)})",
                (
                    start + len(added),
                    photo,
                    *(box.x0, box.y0, box.x1, box.y1),
                    np.ascontiguousarray(detection.landmarks, dtype="<f4").tobytes(),
                    detection.score,
                    *(quality.size, quality.sharpness, quality.yaw, quality.pitch, quality.roll, quality.norm),
                    *(quality.overall, face.time, face.track),
                ),
            )
            added.append(face.embedding)
        return photo

    def _drop_moved(self, photo: int) -> None:
        """Forget the vanished paths of a photo that has a living one: it was moved."""
        self._database.execute("DELETE FROM file WHERE photo = ? AND missing", (photo,))

    def _replace(self, old: int, new: int) -> None:
        """Mark a photo that no file holds any more as replaced."""
        if not self._database.execute("SELECT 1 FROM file WHERE photo = ?", (old,)).fetchone():
            self._database.execute("UPDATE photo SET replaced_by = ? WHERE id = ?", (new, old))
            self._database.execute("UPDATE file SET shown_by = ? WHERE shown_by = ?", (new, old))
            self._database.execute("UPDATE photo SET shown_by = ? WHERE shown_by = ? AND id != ?", (new, old, new))

    def replaced(self) -> list[tuple[int, int]]:
        """Return (old photo id, new photo id) of replaced photos on which the user's word still stands."""
        return self._database.execute(
            "SELECT DISTINCT photo.id, photo.replaced_by FROM photo LEFT JOIN face ON face.photo = photo.id "
            "WHERE photo.replaced_by IS NOT NULL "
            "AND (face.id IN (SELECT face FROM assignment WHERE source != 'propagated') "
            "OR face.id IN (SELECT face FROM rejection) OR face.id IN (SELECT face FROM ignored) "
            "OR photo.hash IN (SELECT photo FROM mirror)) ORDER BY +photo.id"  # + has SQLite take the small index
        ).fetchall()

    def mark_seen(self, file_ids: Sequence[int]) -> None:
        """Note that files which were missing are there again."""
        with self._database.transaction():
            self._database.executemany("UPDATE file SET missing = 0 WHERE id = ?", [(i,) for i in file_ids])

    def below(self, root: Path) -> Iterator[tuple[int, Path]]:
        """Yield (id, path) of the known files at or below `root` that are not marked missing."""
        start = os.fsencode(root)
        below = start.rstrip(os.fsencode(os.sep)) + os.fsencode(os.sep)
        after = below[:-1] + bytes([below[-1] + 1])
        query = "SELECT id, path FROM file WHERE NOT missing AND (path = ? OR (path > ? AND path < ?))"
        for file_id, path in self._database.execute(query, (start, below, after)):
            yield file_id, Path(os.fsdecode(path))

    def files_of(self, hashes: Sequence[str]) -> Iterator[tuple[int, Path]]:
        """Yield (id, path) of the files of some photos that are not marked missing."""
        query = (
            "SELECT file.id, file.path FROM file JOIN photo ON photo.id = file.photo "
            "WHERE photo.hash = ? AND NOT missing"
        )
        for digest in dict.fromkeys(hashes):
            for file_id, path in self._database.execute(query, (digest,)):
                yield file_id, Path(os.fsdecode(path))

    def mark_missing(self, file_ids: Sequence[int]) -> None:
        """Mark files as vanished. Files that held no photo are forgotten."""
        if not file_ids:
            return
        with self._database.transaction():
            for file_id in file_ids:
                self._database.execute("UPDATE file SET missing = 1 WHERE id = ?", (file_id,))
            self._database.execute("DELETE FROM file WHERE missing AND photo IS NULL")
            self._database.execute(
                "DELETE FROM file WHERE missing AND EXISTS "
                "(SELECT 1 FROM file AS other WHERE other.photo = file.photo AND NOT other.missing)"
            )

    def settled_rows(self) -> int:
        """Return how many rows the matrix had when a scan last came to its end; the faces behind them are new."""
        return int(self._database.meta(SETTLED) or 0)

    def mounts(self) -> dict[str, str]:
        """Return root -> mount point, as the last scan of each root found it."""
        found: dict[str, str] = json.loads(self._database.meta(MOUNTS) or "{}")
        return found

    def end_scan(self, mounts: Mapping[str, str], pending: Pending) -> None:
        """Note that a scan came to its end, where its roots were mounted, and what it left for the next one."""
        with self._database.transaction():
            known = {**self.mounts(), **mounts}
            for key, value in ((SETTLED, str(self._database.rows)), (MOUNTS, json.dumps(known))):
                self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
            note_pending(self._database, pending)

    def failed(self) -> list[tuple[Path, str]]:
        """Return (path, reason) of the files that could not be used, by path."""
        query = "SELECT path, error FROM file WHERE state = 'failed' AND NOT missing ORDER BY path"
        return [(Path(os.fsdecode(path)), error) for path, error in self._database.execute(query)]

    def missing(self) -> list[tuple[str, Path, int]]:
        """Return (hash, last path, faces) of the photos that no file holds now, by path."""
        query = (
            "SELECT photo.hash, min(file.path), (SELECT count(*) FROM face WHERE face.photo = photo.id) FROM photo "
            "LEFT JOIN file ON file.photo = photo.id WHERE photo.replaced_by IS NULL AND NOT EXISTS "
            "(SELECT 1 FROM file AS own WHERE own.photo = photo.id AND own.missing = 0) AND NOT EXISTS "
            "(SELECT 1 FROM file AS showing WHERE showing.photo = photo.shown_by AND NOT showing.missing) "
            "GROUP BY photo.id ORDER BY 2"
        )
        return [
            (digest, Path(os.fsdecode(path or b"")), faces) for digest, path, faces in self._database.execute(query)
        ]

    def place(self, digest: str) -> tuple[str, bool]:
        """Return one path of a photo by its hash ("" if none is known), and whether that file is missing."""
        row = self._database.execute(
            "SELECT file.path, file.missing FROM file JOIN photo ON photo.id = file.photo WHERE photo.hash = ? "
            "ORDER BY file.missing, file.path LIMIT 1",
            (digest,),
        ).fetchone()
        return ("", True) if row is None else (os.fsdecode(row[0]), bool(row[1]))

    def hash_of(self, path: Path) -> str | None:
        """Return the hash of the photo that a file held when it was last seen, or None."""
        row = self._database.execute(
            "SELECT photo.hash FROM file JOIN photo ON photo.id = file.photo WHERE file.path = ?", (os.fsencode(path),)
        ).fetchone()
        return None if row is None else str(row[0])

    def with_versions(self, hashes: Sequence[str]) -> list[str]:
        """Return the hashes, each once, with those of the earlier versions that these photos replaced."""
        query = """
            WITH RECURSIVE version (id) AS (
                SELECT id FROM photo WHERE hash = ?
                UNION SELECT photo.id FROM photo JOIN version ON photo.replaced_by = version.id)
            SELECT hash FROM photo JOIN version USING (id) ORDER BY id DESC
        """
        return list(dict.fromkeys(row[0] for digest in hashes for row in self._database.execute(query, (digest,))))

    def named_faces(self, hashes: Sequence[str]) -> int:
        """Return how many faces of these photos carry a name that the user or an import gave."""
        query = (
            "SELECT count(*) FROM assignment JOIN face ON face.id = assignment.face "
            "JOIN photo ON photo.id = face.photo WHERE photo.hash = ? AND source != 'propagated'"
        )
        return sum(int(self._database.execute(query, (digest,)).fetchone()[0]) for digest in set(hashes))

    def forget(self, hashes: Sequence[str]) -> int:
        """Remove photos with their files, faces, names and embeddings; return how many faces went.

        The events that named these faces are part of what goes: a forgotten face leaves nothing behind. The rows of the
        matrix are zeroed after the commit; should the process be killed between, the next one to open the library does
        it (`Database.clear_forgotten`).
        """
        forget_pictures(self._database.folder, hashes)
        with self._database.transaction():
            gone: list[int] = []
            for digest in hashes:
                found = self._database.execute("SELECT id FROM photo WHERE hash = ?", (digest,)).fetchone()
                if found is None:
                    continue
                faces = [row[0] for row in self._database.execute("SELECT id FROM face WHERE photo = ?", found)]
                for table in ("assignment", "rejection", "membership"):
                    self._database.executemany(f"DELETE FROM {table} WHERE face = ?", [(face,) for face in faces])
                self._database.execute("DELETE FROM face WHERE photo = ?", found)
                self._database.execute("DELETE FROM file WHERE photo = ?", found)
                self._database.execute("DELETE FROM file WHERE shown_by = ? AND photo IS NULL", found)
                self._database.execute("DELETE FROM photo WHERE id = ?", found)
                self._database.execute("DELETE FROM written WHERE json_extract(content, '$.photo') = ?", (digest,))
                self._database.execute(
                    "DELETE FROM waiting "
                    "WHERE ? IN (json_extract(entry, '$.photo'), json_extract(entry, '$.other[0]'))",
                    (digest,),
                )
                gone += faces
            self._forget_in_events(set(gone), set(hashes))
            left = [*json.loads(self._database.meta(CLEARING) or "[]"), *gone]
            self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (CLEARING, json.dumps(left)))
        self._database.clear_forgotten()
        return len(gone)

    def _forget_in_events(self, faces: set[int], hashes: set[str]) -> None:
        for event, text in self._database.execute("SELECT id, changes FROM event").fetchall():
            changes = json.loads(text)
            kept = [_without(change, faces, hashes) for change in changes]
            if kept != changes:
                left = [change for change in kept if change[1] or change[2]]
                self._database.execute("UPDATE event SET changes = ? WHERE id = ?", (json.dumps(left), event))


def _without(change: list[Any], faces: set[int], hashes: set[str]) -> list[Any]:
    """Return a change of an event without the rows that concern these faces and photos."""
    table, *rows = change
    kept = []
    for row in rows:
        gone = row and (row.get("face") in faces or (table == "pair" and row["other"] in faces))
        kept.append(None if gone or (row and not hashes.isdisjoint(_hashes_of(table, row))) else row)
    return [table, *kept]


def _hashes_of(table: str, row: dict[str, Any]) -> list[str]:
    """Return the hashes of the photos that a row of an event speaks of."""
    if table != "waiting":
        return [row["photo"]] if "photo" in row else []
    entry = json.loads(row["entry"])
    return [entry["photo"], *(entry.get("other") or ())[:1]]

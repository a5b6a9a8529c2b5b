"""What photos look like, where their faces lie in them, and which files show the moment of another photo."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photocluster.records import FloatArray, IntArray
from photocluster.store.database import Database
from photocluster.store.files import FileState

STANDS = "EXISTS (SELECT 1 FROM file AS own WHERE own.photo = {} AND own.missing = 0)"
"""Whether a photo, by the expression for its id, has a file that is there."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What n photos look like, by the time they were taken, unknown times last, then by id.

    Attributes
    ----------
    photos
        (n,) int64 ids.
    hashes
        (n,) int64 perceptual hashes.
    sizes
        (n, 2) int64 width and height of the upright photo in pixels.
    seconds
        (n,) float64 when they were taken, in seconds of the camera's own time; NaN where not known.
    bursts
        (n,) int64: equal numbers >= 0 for photos of one camera that are of one burst, by what it says or by their names
        (see `bursts.burst_of`), -1 for all others.
    """

    photos: IntArray
    hashes: IntArray
    sizes: IntArray
    seconds: NDArray[np.float64]
    bursts: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where n faces lie in their photos, by photo id, then face.

    Attributes
    ----------
    faces, photos
        (n,) int64 ids.
    boxes
        (n, 4) float32 x0 y0 x1 y1 in fractions of the photo's width and height.
    """

    faces: IntArray
    photos: IntArray
    boxes: FloatArray


@dataclass(frozen=True, slots=True)
class FileOfMoment:
    """A file as its neighbours in the folder see it.

    `photo` is the photo that it holds, by id (None: none that was worked on), `digest` by hash; `shown_by` the hash of
    the photo that shows its moment, as an earlier scan found out, and `left_alone` whether that has no file any more.
    """

    id: int
    path: Path
    size: int
    mtime_ns: int
    state: FileState
    missing: bool
    photo: int | None
    digest: str | None
    captured_at: str | None
    shown_by: str | None
    left_alone: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that came, or changed.

    `photo` is the id of its photo, None where another photo shows its moment; `new`: that photo was not known before;
    `edited`: it replaced an earlier version.
    """

    path: Path
    photo: int | None
    new: bool
    edited: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """A file that is there and the photo that it holds.

    Attributes
    ----------
    path, bytes, mtime_ns
        The file, its size and modification time.
    photo
        The photo's id; None for a file that another photo stands for, and that was never looked into.
    shown_by
        The photo that shows the file's moment, by id, if one does.
    width, height
        Of the upright photo in pixels, 0 where `photo` is None.
    captured_at, camera
        What the photo says of itself.
    faces, quality
        How many faces it shows that are not ignored, and their mean quality 0..1.
    """

    path: Path
    bytes: int
    mtime_ns: int
    photo: int | None
    shown_by: int | None
    width: int
    height: int
    captured_at: str | None
    camera: str | None
    faces: int
    quality: float


_FILE = (
    "SELECT file.id, file.path, file.size, file.mtime_ns, file.state, file.missing, photo.id, photo.hash, "
    f"photo.captured_at, showing.hash, file.shown_by IS NOT NULL AND NOT {STANDS.format('file.shown_by')} FROM file"
)
_WITH_PHOTOS = "LEFT JOIN photo ON photo.id = file.photo LEFT JOIN photo AS showing ON showing.id = file.shown_by"


_OWN = "phash IS NOT NULL AND replaced_by IS NULL AND shown_by IS NULL"

_SHOWING = """
    (:faces IS NULL OR photo.id IN (SELECT photo FROM face WHERE id IN (SELECT value FROM json_each(:faces))))
"""


class Moments:
    """Moments that several files or photos of a library show."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def looks(self, faces: Collection[int] | None = None) -> Looks:
        """Return what the photos look like that stand for themselves and have a hash, or those that show some faces."""
        query = (
            "SELECT id, phash, width, height, captured_at, burst, camera FROM photo "
            f"WHERE {_OWN} AND {_SHOWING} ORDER BY captured_at IS NULL, captured_at, id"
        )
        found = self._database.execute(query, _listed(faces)).fetchall()
        numbers = np.array([row[:4] for row in found], dtype=np.int64).reshape(-1, 4)
        seconds = _seconds([row[4] for row in found])
        number: dict[tuple[str, str], int] = {}
        bursts = [-1 if row[5] is None else number.setdefault(row[5:], len(number)) for row in found]
        return Looks(
            numbers[:, 0].copy(), numbers[:, 1].copy(), numbers[:, 2:], seconds, np.array(bursts, dtype=np.int64)
        )

    def places(self, photos: Collection[int]) -> Places:
        """Return where all faces of some photos, by id, lie."""
        query = (
            "SELECT face.id, photo.id, x0 / width, y0 / height, x1 / width, y1 / height "
            "FROM face JOIN photo ON photo.id = face.photo "
            "WHERE photo.id IN (SELECT value FROM json_each(?)) ORDER BY photo.id, face.id"
        )
        found = self._database.execute(query, (json.dumps(list(photos)),)).fetchall()
        ids = np.array([row[:2] for row in found], dtype=np.int64).reshape(-1, 2)
        boxes = np.array([row[2:] for row in found], dtype=np.float32).reshape(-1, 4)
        return Places(ids[:, 0].copy(), ids[:, 1].copy(), boxes)

    def quality(self, faces: Collection[int]) -> dict[int, float]:
        """Return face -> overall quality, 0..1."""
        query = "SELECT id, quality FROM face WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._database.execute(query, (json.dumps(list(faces)),)).fetchall())

    def arrived(self, file: int, photo: int) -> list[Arrived]:
        """Return the files that came, or got another content, after the newest file and photo of then, by path."""
        query = """
            SELECT file.path, photo.id, photo.id > :photo, EXISTS (SELECT 1 FROM photo AS old WHERE
                old.replaced_by = photo.id) FROM file LEFT JOIN photo ON photo.id = file.photo
            WHERE NOT missing AND (file.id > :file OR photo.id > :photo)
                AND (file.photo IS NOT NULL OR file.shown_by IS NOT NULL) ORDER BY file.path
        """
        found = self._database.execute(query, {"file": file, "photo": photo})
        return [
            Arrived(Path(os.fsdecode(path)), number, bool(new), bool(edited)) for path, number, new, edited in found
        ]

    def copied(self) -> list[int]:
        """Return the photos, by id, that several files hold."""
        query = "SELECT photo FROM file WHERE photo IS NOT NULL AND NOT missing GROUP BY photo HAVING count(*) > 1"
        return [row[0] for row in self._database.execute(query)]

    def showing(self) -> list[int]:
        """Return the photos, by id, that show the moment of a file beside them, and are there."""
        query = (
            "SELECT DISTINCT shown_by FROM file WHERE shown_by IS NOT NULL AND NOT missing "
            f"AND {STANDS.format('file.shown_by')}"
        )
        return [row[0] for row in self._database.execute(query)]

    def unhashed(self) -> int:
        """Return how many still photos were scanned before there were perceptual hashes, and may have one."""
        least = 64  # perceptual.LEAST_SIDE: smaller ones never have a hash
        query = (
            "SELECT count(*) FROM photo WHERE phash IS NULL AND duration IS NULL AND replaced_by IS NULL "
            "AND shown_by IS NULL AND min(width, height) >= ?"
        )
        return int(self._database.execute(query, (least,)).fetchone()[0])

    def holding(self, photos: Collection[int]) -> list[Holding]:
        """Return the files that hold these photos, or whose moment these photos show, by the bytes of their paths."""
        query = """
            WITH asked AS (SELECT value AS id FROM json_each(?))
            SELECT file.path, file.size, file.mtime_ns, photo.id, file.shown_by, coalesce(photo.width, 0),
                coalesce(photo.height, 0), photo.captured_at, photo.camera, count(face.id),
                coalesce(avg(face.quality), 0)
            FROM file LEFT JOIN photo ON photo.id = file.photo
            LEFT JOIN face ON face.photo = photo.id AND face.id NOT IN (SELECT face FROM ignored)
            WHERE NOT file.missing AND (file.photo IN asked OR file.shown_by IN asked)
            GROUP BY file.id ORDER BY file.path
        """
        found = self._database.execute(query, (json.dumps(list(photos)),)).fetchall()
        return [Holding(Path(os.fsdecode(row[0])), *row[1:]) for row in found]

    def newest(self) -> tuple[int, int]:
        """Return the highest ids of a file and of a photo so far, 0 where there is none."""
        file, photo = self._database.execute(
            "SELECT (SELECT coalesce(max(id), 0) FROM file), (SELECT coalesce(max(id), 0) FROM photo)"
        ).fetchone()
        return int(file), int(photo)

    def paths(self) -> Iterator[Path]:
        """Yield the paths of all files that are there and hold a photo."""
        for (path,) in self._database.execute("SELECT path FROM file WHERE photo IS NOT NULL AND NOT missing"):
            yield Path(os.fsdecode(path))

    def in_folder(self, folder: Path) -> list[FileOfMoment]:
        """Return the known files right in a folder, by the bytes of their paths."""
        separator = os.fsencode(os.sep)
        start = os.fsencode(folder).rstrip(separator) + separator
        end = start[:-1] + bytes([start[-1] + 1])
        query = (
            f"{_FILE} {_WITH_PHOTOS} WHERE file.path > ? AND file.path < ? "
            "AND instr(substr(file.path, ?), ?) = 0 ORDER BY file.path"
        )
        return [_file(row) for row in self._database.execute(query, (start, end, len(start) + 1, separator))]

    def left_alone(self) -> list[FileOfMoment]:
        """Return the files whose moment another photo showed that is gone."""
        query = (
            f"{_FILE} INDEXED BY file_shown_by {_WITH_PHOTOS} WHERE file.shown_by IS NOT NULL AND NOT file.missing "
            f"AND NOT {STANDS.format('file.shown_by')} ORDER BY file.path"
        )
        return [_file(row) for row in self._database.execute(query)]

    def link(self) -> None:
        """Say of each photo of a linked file which of the two stands for both: the one whose file is there.

        That is the photo which shows the moment (a JPEG beside a RAW), or the other one while that is gone. Where
        neither is there, all stays as it is.
        """
        query = f"""
            SELECT file.photo, file.shown_by, {STANDS.format("file.shown_by")}, {STANDS.format("file.photo")}
            FROM file INDEXED BY file_shown_by
            WHERE file.shown_by IS NOT NULL AND file.photo IS NOT NULL AND file.photo != file.shown_by
            ORDER BY file.path
        """
        links = self._database.execute(query).fetchall()
        if not links:
            return
        with self._database.transaction():
            for photo, shown_by, stands, own in links:
                if stands or own:
                    shown, showing = (photo, shown_by) if stands else (shown_by, photo)
                    self._database.execute(
                        "UPDATE photo SET shown_by = NULL WHERE id = ? AND shown_by = ?", (showing, shown)
                    )
                    self._database.execute(
                        "UPDATE photo SET shown_by = ? WHERE id = ? AND shown_by IS NOT ?", (showing, shown, showing)
                    )

    def linked(self) -> list[tuple[int, int]]:
        """Return (photo, the photo that shows its moment) by id, of those on which the user's word still stands."""
        return self._database.execute(
            "SELECT DISTINCT photo.id, photo.shown_by FROM photo INDEXED BY photo_shown_by "
            "LEFT JOIN face ON face.photo = photo.id "
            "WHERE photo.shown_by IS NOT NULL AND photo.replaced_by IS NULL "
            "AND (face.id IN (SELECT face FROM assignment WHERE source != 'propagated') "
            "OR face.id IN (SELECT face FROM rejection) OR face.id IN (SELECT face FROM ignored) "
            "OR photo.hash IN (SELECT photo FROM mirror)) ORDER BY photo.id"
        ).fetchall()


def _listed(faces: Collection[int] | None) -> dict[str, str | None]:
    return {"faces": None if faces is None else json.dumps(list(faces))}


def _file(row: Sequence[object]) -> FileOfMoment:
    number, path, size, mtime_ns, state, missing, *rest = row
    return FileOfMoment(
        number,  # type: ignore[arg-type]
        Path(os.fsdecode(path)),  # type: ignore[arg-type]
        size,  # type: ignore[arg-type]
        mtime_ns,  # type: ignore[arg-type]
        FileState(str(state)),
        bool(missing),
        *rest,  # type: ignore[arg-type]
    )


def _seconds(captured_at: Sequence[str | None]) -> NDArray[np.float64]:
    """Return capture times (n,) float64 in seconds since 1970 of the camera's clock, NaN where they are not known."""
    # NumPy knows no zones; few times have one, or parts of a second.
    plain = [at if at is None or len(at) <= 19 else _without_zone(at) for at in captured_at]
    moments = np.array(["NaT" if at is None else at for at in plain], dtype="datetime64[us]")
    seconds = moments.astype(np.int64) / 1e6
    seconds[np.isnat(moments)] = np.nan
    return seconds


def _without_zone(captured_at: str) -> str:
    return datetime.fromisoformat(captured_at).replace(tzinfo=None).isoformat()

"""Reading faces with all that is known of them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photocluster.records import Box, Detection, FaceRow, FloatArray, IntArray, PhotoFacts, Quality, Source
from photocluster.store.database import Database

BoolArray = NDArray[np.bool_]

_FACE_COLUMNS = """
    face.id, photo.hash, shown.path, coalesce(shown.missing, 1),
    photo.width, photo.height, photo.orientation, photo.format, photo.captured_at, photo.camera, photo.duration,
    face.x0, face.y0, face.x1, face.y1, face.score, face.landmarks,
    face.size, face.sharpness, face.yaw, face.pitch, face.roll, face.norm, face.quality,
    membership.cluster, membership.probability, person.name, assignment.source, assignment.distance,
    face.time, face.track
"""

_FACE_TABLES = """
    face JOIN photo ON photo.id = face.photo
    LEFT JOIN file AS shown ON shown.id = (
        SELECT id FROM file WHERE file.photo = photo.id ORDER BY missing, path LIMIT 1)
    LEFT JOIN membership ON membership.face = face.id
    LEFT JOIN assignment ON assignment.face = face.id
    LEFT JOIN person ON person.id = assignment.person
"""

CURRENT = """
    (photo.replaced_by IS NULL AND photo.shown_by IS NULL OR EXISTS (
        SELECT 1 FROM assignment AS own WHERE own.face = face.id AND own.source != 'propagated'))
"""
"""A face counts unless its photo was replaced, or another one shows the same moment; one that the user named and the
other photo does not show still does."""

LIVE = f"{CURRENT} AND NOT EXISTS (SELECT 1 FROM ignored WHERE ignored.face = face.id)"
"""A face lives if it counts and the user did not say to ignore it."""

NAMED_LIVE = """
    (assignment.source != 'propagated' OR face.photo NOT IN (
        SELECT id FROM photo WHERE replaced_by IS NOT NULL OR shown_by IS NOT NULL))
    AND NOT EXISTS (SELECT 1 FROM ignored WHERE ignored.face = assignment.face)
"""
"""`LIVE` of faces that have a row in `assignment`, without a look at the photo of each."""

_BESIDE = "AND face.photo IN (SELECT photo FROM face WHERE id IN (SELECT value FROM json_each(?)))"


class Faces:
    """The faces of a library, read-only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(
        self,
        *,
        cluster: int | None = None,
        person: int | None = None,
        face: int | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> list[FaceRow]:
        """Return the living faces by face id: all, or those of one cluster, or of one person (by id).

        One face, or the faces from `first` to `last`, are returned by their ids even if they are ignored.
        """
        limits = {
            "membership.cluster = ?": cluster,
            "assignment.person = ?": person,
            "face.id = ?": face,
            "face.id >= ?": first,
            "face.id <= ?": last,
        }
        given = {condition: value for condition, value in limits.items() if value is not None}
        pointed_at = face is not None or first is not None
        return self._face_rows(" AND ".join([CURRENT if pointed_at else LIVE, *given]), list(given.values()))

    def _face_rows(self, where: str, values: Sequence[object]) -> list[FaceRow]:
        query = f"SELECT {_FACE_COLUMNS} FROM {_FACE_TABLES} WHERE {where} ORDER BY face.id"
        return [_face_row(row) for row in self._database.execute(query, values)]

    def photos(self, beside: Collection[int] | None = None) -> tuple[IntArray, IntArray]:
        """Return the ids (n,) int64 of the living faces, ascending, and a number (n,) int64 of the picture of each.

        The picture is the photo, by its id, or one frame of a video, by a number above all ids: a person may appear in
        many frames of one video, and once in each. Faces of a photo in which one person may appear twice (a mirror, a
        collage) each have a negative number of their own instead: that photo tells nobody apart.

        With `beside`, only the faces of the photos that show one of these are returned.
        """
        few = "" if beside is None else _BESIDE
        values = () if beside is None else (json.dumps(sorted(beside)),)
        query = f"""
            SELECT face.id, CASE WHEN mirror.photo IS NULL THEN photo.id ELSE -1 - face.id END
            FROM face JOIN photo ON photo.id = face.photo LEFT JOIN mirror ON mirror.photo = photo.hash
            WHERE {LIVE} {few} ORDER BY face.id
        """
        pairs = np.array(self._database.execute(query, values).fetchall(), dtype=np.int64).reshape(-1, 2)
        faces, pictures = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
        filmed, moments, _ = self._filmed(None if beside is None else faces)
        rows = np.flatnonzero(np.isin(faces, filmed) & (pictures >= 0))
        if len(rows):
            pictures[rows] = pictures.max() + 1 + moments[np.searchsorted(filmed, faces[rows])]
        return faces, pictures

    def tracks(self, faces: IntArray) -> tuple[BoolArray, IntArray]:
        """Return whether each of `faces` (n,) is of a video (n,) bool, and the number of its track (n,) int64, or -1.

        A track is one person whom the tracker followed through one video.
        """
        filmed, _, tracks = self._filmed()
        of_video = np.isin(faces, filmed)
        result = np.full(len(faces), -1, dtype=np.int64)
        if len(filmed):
            result[of_video] = tracks[np.searchsorted(filmed, faces[of_video])]
        return of_video, result

    def _filmed(self, among: IntArray | None = None) -> tuple[IntArray, IntArray, IntArray]:
        """Return the faces of videos (among some), ascending, and the numbers of frame and track (-1: none) of each."""
        few = "" if among is None else "AND id IN (SELECT value FROM json_each(?))"
        values = () if among is None else (json.dumps(among.tolist()),)
        query = f"SELECT id, photo, time, track FROM face WHERE time IS NOT NULL {few} ORDER BY id"
        frames: dict[tuple[int, float], int] = {}
        tracks: dict[tuple[int, int], int] = {}
        found = [
            (
                face,
                frames.setdefault((photo, time), len(frames)),
                -1 if track is None else tracks.setdefault((photo, track), len(tracks)),
            )
            for face, photo, time, track in self._database.execute(query, values)
        ]
        columns = np.array(found, dtype=np.int64).reshape(-1, 3).T
        return columns[0], columns[1], columns[2]

    def facts(self) -> tuple[FloatArray, list[str | None]]:
        """Return the overall quality (n,) float32 and the capture time (n) of the living faces, by face id."""
        query = (
            f"SELECT face.quality, photo.captured_at FROM face JOIN photo ON photo.id = face.photo WHERE {LIVE} "
            "ORDER BY face.id"
        )
        found = self._database.execute(query).fetchall()
        return np.array([row[0] for row in found], dtype=np.float32), [row[1] for row in found]

    def named(self, person: int) -> list[tuple[int, Source, float]]:
        """Return the living faces with a person's name by id, who said so, and their quality (`Quality.overall`)."""
        query = (
            "SELECT face.id, assignment.source, face.quality FROM assignment JOIN face ON face.id = assignment.face "
            f"WHERE assignment.person = ? AND {NAMED_LIVE} ORDER BY face.id"
        )
        return [(face, Source(source), quality) for face, source, quality in self._database.execute(query, (person,))]

    def several(self, faces: Collection[int]) -> list[FaceRow]:
        """Return the rows of some faces by face id, ignored ones too; what is not there (any more) is left out."""
        return self._face_rows("face.id IN (SELECT value FROM json_each(?))", (json.dumps(sorted(faces)),))

    def beside_on_tracks(self, faces: Collection[int]) -> list[FaceRow]:
        """Return the living faces of the tracks of some faces of videos, by face id."""
        query = (
            "(face.photo, face.track) IN (SELECT photo, track FROM face WHERE id IN (SELECT value FROM json_each(?))) "
            f"{_BESIDE} AND {LIVE}"
        )
        return self._face_rows(query, (json.dumps(sorted(faces)),) * 2) if faces else []

    def with_words(self) -> list[FaceRow]:
        """Return the faces of which the user or an import said something, by face id; of replaced photos too."""
        return self._face_rows(
            "assignment.source != 'propagated' OR face.id IN (SELECT face FROM rejection) "
            "OR face.id IN (SELECT face FROM ignored)",
            (),
        )

    def of_hash(self, digest: str) -> list[FaceRow]:
        """Return the faces of a photo by its hash, ignored ones and those of a replaced photo too."""
        return self._face_rows("photo.hash = ?", (digest,))

    def of_photo(self, photo: int) -> list[FaceRow]:
        """Return the faces of a photo by its id, of a replaced photo too."""
        return self._face_rows("photo.id = ?", (photo,))


def _face_row(row: Sequence[Any]) -> FaceRow:
    return FaceRow(
        face=row[0],
        photo=row[1],
        path="" if row[2] is None else os.fsdecode(row[2]),
        missing=bool(row[3]),
        facts=PhotoFacts(*row[4:11]),
        detection=Detection(Box(*row[11:15]), row[15], np.frombuffer(row[16], dtype="<f4").reshape(5, 2)),
        quality=Quality(*row[17:24]),
        cluster=row[24],
        probability=row[25],
        person=row[26],
        source=None if row[27] is None else Source(row[27]),
        distance=row[28],
        time=row[29],
        track=row[30],
    )

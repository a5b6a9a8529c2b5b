"""Runs, cluster numbers and who belongs to which cluster."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from photocluster.records import FloatArray, IntArray
from photocluster.store.database import Database
from photocluster.store.faces import LIVE


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """A cluster of the newest run.

    `names` lists (name, faces) of the persons in it, most faces first; `probability` is the mean membership
    probability.
    """

    number: int
    faces: int
    photos: int
    names: tuple[tuple[str, int], ...]
    probability: float


class Clusters:
    """The clusters of a library."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def membership(self) -> dict[int, int | None]:
        """Return face -> cluster number of the newest run; None is noise. New faces are absent."""
        return dict(self._database.execute("SELECT face, cluster FROM membership").fetchall())

    def members(self) -> tuple[IntArray, IntArray]:
        """Return the faces (n,) int64 of the newest run, ascending, and each one's cluster number, -1 for noise."""
        rows = self._database.execute("SELECT face, ifnull(cluster, -1) FROM membership ORDER BY face").fetchall()
        faces, numbers = np.array(rows, dtype=np.int64).reshape(-1, 2).T
        return np.ascontiguousarray(faces), np.ascontiguousarray(numbers)

    def unnamed(self) -> list[tuple[int, int]]:
        """Return (cluster, living faces without a name) of the clusters that have such faces, those with most first."""
        query = """
            SELECT cluster, count(*) FROM membership
            WHERE cluster IS NOT NULL AND face NOT IN (SELECT face FROM assignment)
                AND face NOT IN (SELECT face FROM ignored)
                AND face NOT IN (SELECT face.id FROM photo JOIN face ON face.photo = photo.id
                    WHERE photo.replaced_by IS NOT NULL OR photo.shown_by IS NOT NULL)
            GROUP BY cluster ORDER BY 2 DESC, 1
        """
        return self._database.execute(query).fetchall()

    def infos(self, among: Collection[int] | None = None) -> list[ClusterInfo]:
        """Return the clusters of the newest run (some of them) with their living faces, largest first."""
        few = "" if among is None else "AND membership.cluster IN (SELECT value FROM json_each(?))"
        values = () if among is None else (json.dumps(sorted(among)),)
        names: dict[int, list[tuple[str, int]]] = {}
        for number, name, faces in self._database.execute(
            "SELECT membership.cluster, person.name, count(*) FROM membership JOIN assignment USING (face) "
            "JOIN person ON person.id = assignment.person JOIN face ON face.id = membership.face "
            f"JOIN photo ON photo.id = face.photo WHERE membership.cluster IS NOT NULL AND {LIVE} {few} "
            "GROUP BY 1, person.id ORDER BY 3 DESC, person.key",
            values,
        ):
            names.setdefault(number, []).append((name, faces))
        # Of all clusters, the faces are read in the order in which they lie: five times as fast as by cluster.
        tables = (
            "face CROSS JOIN membership ON membership.face = face.id"
            if among is None
            else "membership JOIN face ON face.id = membership.face"
        )
        query = (
            "SELECT cluster, count(*), count(DISTINCT face.photo), avg(probability) FROM "
            f"{tables} JOIN photo ON photo.id = face.photo "
            f"WHERE cluster IS NOT NULL AND {LIVE} {few} GROUP BY cluster ORDER BY 2 DESC, 1"
        )
        return [
            ClusterInfo(number, faces, photos, tuple(names.get(number, ())), probability)
            for number, faces, photos, probability in self._database.execute(query, values)
        ]

    def samples(self, numbers: Sequence[int], most: int) -> dict[int, list[int]]:
        """Return cluster -> its living faces without a name, those that belong to it most surely, at most so many."""
        query = f"""
            SELECT cluster, face FROM (
                SELECT membership.cluster, membership.face, row_number() OVER (
                    PARTITION BY membership.cluster
                    ORDER BY probability DESC, face.quality DESC, face.id) AS place
                FROM membership JOIN face ON face.id = membership.face JOIN photo ON photo.id = face.photo
                WHERE membership.cluster IN (SELECT value FROM json_each(?)) AND {LIVE}
                AND NOT EXISTS (SELECT 1 FROM assignment WHERE assignment.face = face.id))
            WHERE place <= ? ORDER BY cluster, place
        """
        found: dict[int, list[int]] = {}
        for number, face in self._database.execute(query, (json.dumps(list(numbers)), most)):
            found.setdefault(number, []).append(face)
        return found

    def numbers(self) -> set[int]:
        """Return every number that was ever given."""
        return {row[0] for row in self._database.execute("SELECT number FROM cluster")}

    def store_run(
        self,
        parameters: Mapping[str, Any],
        faces: IntArray,
        numbers: IntArray,
        new_clusters: int,
        probabilities: FloatArray,
        outliers: FloatArray,
    ) -> IntArray:
        """Put a run in the place of the last one; return the cluster (n,) int64 of each face, -1 for noise.

        Parameters
        ----------
        parameters
            JSON values, kept with the run.
        faces
            (n,) int64 face ids.
        numbers
            (n,) int64: the cluster's old number, -1 for noise, or -2 - i for the i-th new cluster.
        new_clusters
            How many new clusters there are.
        probabilities, outliers
            (n,) float32 membership probability and outlier score.
        """
        with self._database.transaction():
            at = datetime.now(UTC).isoformat(timespec="seconds")
            cursor = self._database.execute(
                "INSERT INTO run (at, parameters, faces) VALUES (?, ?, ?)", (at, json.dumps(parameters), len(faces))
            )
            run = cursor.lastrowid
            born = []
            for _ in range(new_clusters):
                inserted = self._database.execute("INSERT INTO cluster (born) VALUES (?)", (run,))
                born.append(int(inserted.lastrowid or 0))
            new = numbers < -1
            numbers = numbers.copy()
            numbers[new] = np.array(born, dtype=np.int64)[-2 - numbers[new]]
            self._replace_members(faces, numbers, probabilities, outliers)
            self._database.execute(
                "UPDATE cluster SET died = ? WHERE died IS NULL AND number NOT IN "
                "(SELECT cluster FROM membership WHERE cluster IS NOT NULL)",
                (run,),
            )
        return numbers

    def _replace_members(
        self, faces: IntArray, numbers: IntArray, probabilities: FloatArray, outliers: FloatArray
    ) -> None:
        """Write what differs from the last run: in a large library most rows stay as they are, and writing is dear."""
        rows = self._database.execute(
            "SELECT face, ifnull(cluster, -1), probability, outlier FROM membership ORDER BY face"
        ).fetchall()
        before = np.array(rows, dtype=np.float64).reshape(-1, 4)  # exact: numbers below 2**53 and single precision
        del rows
        now = np.column_stack([faces, numbers, probabilities, outliers]).astype(np.float64)
        place = np.searchsorted(before[:, 0], now[:, 0]).clip(max=max(len(before) - 1, 0))
        held = before[place] if len(before) else np.full_like(now, np.nan)
        known = held[:, 0] == now[:, 0]
        moved = known & (held[:, 1] != now[:, 1])
        scored = known & ~moved & (held[:, 2:] != now[:, 2:]).any(axis=1)
        gone = before[~np.isin(before[:, 0], now[:, 0]), 0]
        write = self._database.executemany
        write("DELETE FROM membership WHERE face = ?", ((int(face),) for face in gone))
        write(
            "UPDATE membership SET probability = ?, outlier = ? WHERE face = ?",
            ((probability, outlier, int(face)) for face, _, probability, outlier in now[scored].tolist()),
        )
        write(
            "UPDATE membership SET cluster = ?, probability = ?, outlier = ? WHERE face = ?",
            (
                (None if number < 0 else int(number), probability, outlier, int(face))
                for face, number, probability, outlier in now[moved].tolist()
            ),
        )
        write(
            "INSERT INTO membership VALUES (?, ?, ?, ?)",
            (
                (int(face), None if number < 0 else int(number), probability, outlier)
                for face, number, probability, outlier in now[~known].tolist()
            ),
        )

"""Names that other programs gave and no face bears, and the photo that stands for one of which they speak."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from photocluster.records import Box, PhotoFacts
from photocluster.store.database import Database
from photocluster.store.journal import Row

_NAMED_HERE = """
    EXISTS (SELECT 1 FROM assignment JOIN face ON face.id = assignment.face WHERE face.photo = photo.id
        AND assignment.person = region.person AND assignment.source != 'propagated')
"""
"""The person's name is on a face of that photo: then the region says nothing more."""


@dataclass(frozen=True, slots=True)
class KeptName:
    """A name for a photo that waits for a face.

    `key` tells it from others; `photo` is the hash and `path` one of its files; `person` the id and `name` the name;
    `box` is in pixels of the upright photo, None where the name was said of the photo as a whole; `origin` says what
    said so ("xmp", "picasa", "folders", "takeout", "table").
    """

    key: str
    photo: str
    path: str
    person: int
    name: str
    box: Box | None
    origin: str


@dataclass(frozen=True, slots=True)
class ShownPhoto:
    """A photo by its hash, and what its file says of it."""

    sha256: str
    facts: PhotoFacts


def region_row(photo: str, person: int, box: Box | None, origin: str) -> Row:
    """Return a row of the journaled table `region`."""
    corners = (None,) * 4 if box is None else (box.x0, box.y0, box.x1, box.y1)
    place = "" if box is None else "".join(f" {corner:.1f}" for corner in (box.x0, box.y0, box.x1, box.y1))
    values = dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True))
    return {"key": f"{photo} {person}{place}", "photo": photo, "person": person, **values, "origin": origin}


def box_of(row: Row) -> Box | None:
    """Return the box of a row of the table `region`."""
    return None if row["x0"] is None else Box(row["x0"], row["y0"], row["x1"], row["y1"])


class Regions:
    """The table `region`, read-only: it is written by decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def kept(self, person: int | None = None, *, waiting: bool = True) -> list[KeptName]:
        """Return the names that wait for a face, by person, then path.

        Parameters
        ----------
        person
            Only those of this person, by id.
        waiting
            Leave out those whose person the user or an import has named in that photo since.
        """
        query = f"""
            SELECT region.key, region.photo,
                (SELECT path FROM file WHERE file.photo = photo.id ORDER BY missing, path LIMIT 1),
                region.person, person.name, region.x0, region.y0, region.x1, region.y1, region.origin
            FROM region JOIN person ON person.id = region.person JOIN photo ON photo.hash = region.photo
            WHERE (:person IS NULL OR region.person = :person) AND (NOT :waiting OR NOT {_NAMED_HERE})
            ORDER BY person.key, 3, region.key
        """
        found = self._database.execute(query, {"person": person, "waiting": waiting})
        return [_kept(row) for row in found]

    def count(self) -> dict[int, int]:
        """Return person -> how many names wait for a face, of those for whom some do."""
        query = (
            "SELECT region.person, count(*) FROM region JOIN photo ON photo.hash = region.photo "
            f"WHERE NOT {_NAMED_HERE} GROUP BY region.person"
        )
        return dict(self._database.execute(query).fetchall())

    def standing_for(self, digest: str) -> ShownPhoto | None:
        """Return the photo that stands for one given by hash: its newest version, or the other file of one moment.

        None if the library does not know that hash.
        """
        query = """
            WITH RECURSIVE shown (id, step) AS (
                SELECT id, 0 FROM photo WHERE hash = ?
                UNION SELECT coalesce(photo.replaced_by, photo.shown_by), step + 1
                FROM photo JOIN shown ON photo.id = shown.id
                WHERE coalesce(photo.replaced_by, photo.shown_by) IS NOT NULL AND step < 100)
            SELECT hash, width, height, orientation, format, captured_at, camera, duration
            FROM photo JOIN shown ON shown.id = photo.id ORDER BY step DESC LIMIT 1
        """
        row = self._database.execute(query, (digest,)).fetchone()
        return None if row is None else ShownPhoto(row[0], PhotoFacts(*row[1:]))

    def facts(self, digest: str) -> PhotoFacts | None:
        """Return what the library knows of a photo by its hash, or None."""
        query = "SELECT width, height, orientation, format, captured_at, camera, duration FROM photo WHERE hash = ?"
        row = self._database.execute(query, (digest,)).fetchone()
        return None if row is None else PhotoFacts(*row)


def _kept(row: Any) -> KeptName:
    box = None if row[5] is None else Box(*row[5:9])
    return KeptName(row[0], row[1], os.fsdecode(row[2] or b""), row[3], row[4], box, row[9])

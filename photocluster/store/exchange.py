"""What is given to other programs: named faces by photo, the files that show them, and what was written of them."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from photocluster.errors import StoreError
from photocluster.records import Box, PhotoFacts, Source
from photocluster.store.database import Database
from photocluster.store.faces import LIVE
from photocluster.store.pictures import forget_pictures

_HASHES = (
    ("mirror", "photo"),
    ("region", "photo"),
    ("region", "key"),
    ("waiting", "key"),
    ("waiting", "entry"),
    ("event", "changes"),
)
"""Where hashes stand besides `photo.hash`: in the log too, so that what was decided can still be taken back."""


@dataclass(frozen=True, slots=True)
class NamedFace:
    """A person in a photo. `face` and `box` (pixels of the upright photo) are None where only the name is known."""

    name: str
    person: int
    face: int | None
    box: Box | None
    source: Source


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A file that holds a photo or video, as it was when it was last seen.

    `shown_by` is the photo that stands for this one. A file of which only that is known (the RAW of a JPEG, the clip of
    a Live Photo) has no `photo`, "" for `sha256`, and the `facts` of the photo that stands for it.
    """

    path: Path
    size: int
    mtime_ns: int
    photo: int | None
    sha256: str
    facts: PhotoFacts
    shown_by: int | None


class Exchange:
    """Read what is to be given away; keep what was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def named_faces(self, sources: Collection[Source]) -> dict[int, list[NamedFace]]:
        """Return photo id -> its named faces from left to right, of persons that are not hidden.

        Ignored faces and such as stand for nothing of their own are left out. With 'imported' among the sources, names
        that wait for a face are there too.
        """
        marks = ", ".join("?" * len(sources))
        query = f"""
            SELECT face.photo, person.name, person.id, face.id, face.x0, face.y0, face.x1, face.y1, assignment.source
            FROM assignment JOIN face ON face.id = assignment.face JOIN photo ON photo.id = face.photo
            JOIN person ON person.id = assignment.person
            WHERE assignment.source IN ({marks}) AND NOT person.hidden AND {LIVE}
            ORDER BY face.photo, face.x0, face.y0, face.id
        """
        found: defaultdict[int, list[NamedFace]] = defaultdict(list)
        for photo, name, person, face, *box, source in self._database.execute(
            query, [source.value for source in sources]
        ):
            found[photo].append(NamedFace(name, person, face, Box(*box), Source(source)))
        if Source.IMPORTED in sources:
            self._add_waiting(found)
        return dict(found)

    def _add_waiting(self, found: defaultdict[int, list[NamedFace]]) -> None:
        """Add the names of which no face is here; one that a face bears already says nothing new."""
        query = """
            SELECT photo.id, person.name, person.id, region.x0, region.y0, region.x1, region.y1
            FROM region JOIN photo ON photo.hash = region.photo JOIN person ON person.id = region.person
            WHERE NOT person.hidden ORDER BY photo.id, region.key
        """
        for photo, name, person, *box in self._database.execute(query):
            if all(known.person != person for known in found[photo]):
                place = None if box[0] is None else Box(*box)
                found[photo].append(NamedFace(name, person, None, place, Source.IMPORTED))

    def files(self) -> Iterator[PhotoFile]:
        """Yield the files that are there and hold a photo or video, by path."""
        facts = ", ".join(f"photo.{field.name}" for field in fields(PhotoFacts))
        query = f"""
            SELECT file.path, file.size, file.mtime_ns, photo.id, photo.hash, {facts}, photo.shown_by
            FROM file JOIN photo ON photo.id = file.photo WHERE NOT file.missing
            UNION ALL SELECT file.path, file.size, file.mtime_ns, NULL, '', {facts}, file.shown_by
            FROM file JOIN photo ON photo.id = file.shown_by WHERE file.photo IS NULL AND NOT file.missing
            ORDER BY 1
        """
        for path, size, mtime_ns, photo, digest, *values, shown_by in self._database.execute(query):
            yield PhotoFile(Path(os.fsdecode(path)), size, mtime_ns, photo, digest, PhotoFacts(*values), shown_by)

    def written(self) -> dict[Path, dict[str, Any]]:
        """Return path -> what was last written there, as `pipeline.written` says."""
        return {
            Path(os.fsdecode(path)): json.loads(content)
            for path, content in self._database.execute("SELECT path, content FROM written ORDER BY path")
        }

    def keep_written(self, contents: Mapping[Path, Mapping[str, Any] | None]) -> None:
        """Keep what was written at each path; None forgets it."""
        if not contents:
            return
        with self._database.transaction():
            for path, content in contents.items():
                if content is None:
                    self._database.execute("DELETE FROM written WHERE path = ?", (os.fsencode(path),))
                else:
                    self._database.execute(
                        "INSERT INTO written VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET content = excluded.content",
                        (os.fsencode(path), json.dumps(content, ensure_ascii=False, sort_keys=True)),
                    )

    def rewrite(self, old: str, new: str, files: Mapping[Path, tuple[int, int]]) -> None:
        """Note that the files of a photo hold it with other metadata now: faces, names and history stay.

        Parameters
        ----------
        old, new
            SHA-256 of the content before and after.
        files
            Path -> (size, mtime in ns): all files that hold the photo.

        Raises
        ------
        StoreError
            The library knows that content as another photo.
        """
        with self._database.transaction():
            if self._database.execute("SELECT 1 FROM photo WHERE hash = ?", (new,)).fetchone():
                raise StoreError(f"{next(iter(files))}: the library knows that content as another photo; scan again")
            self._database.execute("PRAGMA defer_foreign_keys = ON")
            self._database.execute("UPDATE photo SET hash = ? WHERE hash = ?", (new, old))
            for table, column in _HASHES:
                self._database.execute(
                    f"UPDATE {table} SET {column} = replace({column}, :old, :new) WHERE instr({column}, :old)",
                    {"old": old, "new": new},
                )
            self._database.executemany(
                "UPDATE file SET size = ?, mtime_ns = ? WHERE path = ?",
                [(size, mtime_ns, os.fsencode(path)) for path, (size, mtime_ns) in files.items()],
            )
        forget_pictures(self._database.folder, [old])

    def former_hashes(self) -> dict[str, str]:
        """Return hash -> hash of the same photo now, of photos into which names were written."""
        query = """
            SELECT former.value, json_extract(written.content, '$.photo')
            FROM written, json_each(written.content, '$.former') AS former
        """
        return {old: new for old, new in self._database.execute(query) if old != new}

"""What the library says, as JSON values for the pages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import PurePath
from typing import Any

from photocluster.errors import UnknownName
from photocluster.pipeline import reviewing
from photocluster.pipeline.targets import cluster_faces
from photocluster.records import FaceRow
from photocluster.store import Event, Library, PersonInfo
from photocluster.thumbnails import thumbnail_key

Json = dict[str, Any]

SHOWN = 12
"""Faces of a question that are shown at once."""

COMPARED = 6
"""Faces of the other side of a question."""

AT_ONCE = 24
"""Questions that a page is given: so many can be answered while the server is not reached."""

EVENT_FACES = 6
"""Faces that an event is shown with."""


def printable(path: str) -> str:
    r"""Return a path as text that JSON can hold: bytes that are not UTF-8 as ``\xNN``."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def face_json(row: FaceRow) -> Json:
    """Return a face: `box` is x0, y0, x1, y1 as parts of the photo's width and height, `v` names its thumbnail."""
    box, facts = row.detection.box, row.facts
    return {
        "face": row.face,
        "v": thumbnail_key(row),
        "photo": row.photo,
        "file": printable(PurePath(row.path).name) if row.path else "",
        "date": facts.captured_at,
        "time": row.time,
        "width": facts.width,
        "height": facts.height,
        "box": [box.x0 / facts.width, box.y0 / facts.height, box.x1 / facts.width, box.y1 / facts.height],
        "name": row.person,
        "source": None if row.source is None else row.source.value,
        "cluster": row.cluster,
        "distance": row.distance,
    }


def questions(library: Library, queue: Sequence[Json]) -> list[Json]:
    """Return questions with the faces to look at."""
    shown = list(queue[:AT_ONCE])
    wanted = {face for q in shown for face in (*q["faces"][:SHOWN], *q["others"][:COMPARED])}
    rows = {row.face: face_json(row) for row in library.faces.several(wanted)}
    return [
        {
            "id": q["id"],
            "kind": q["kind"],
            "person": q["person"],
            "name": q["name"],
            "cluster": q["cluster"],
            "other_cluster": q["other_cluster"],
            "probability": q["probability"],
            "count": len(q["faces"]),
            "other_count": len(q["others"]),
            "faces": [rows[face] for face in q["faces"][:SHOWN] if face in rows],
            "others": [rows[face] for face in q["others"][:COMPARED] if face in rows],
        }
        for q in shown
    ]


def names(infos: Sequence[PersonInfo]) -> list[Json]:
    """Return the persons with their aliases, for typing ahead, those with most faces first."""
    return [
        {"id": info.id, "name": info.name, "aliases": list(info.aliases), "faces": info.faces, "hidden": info.hidden}
        for info in sorted(infos, key=lambda info: (info.hidden, -info.faces))
    ]


def people(library: Library, infos: Sequence[PersonInfo], first: int, count: int) -> Json:
    """Return some persons, each with the face that stands for it."""
    shown = infos[first : first + count]
    covers = reviewing.covers(library, shown)
    return {
        "total": len(infos),
        "people": [
            {
                "id": info.id,
                "name": info.name,
                "aliases": list(info.aliases),
                "faces": info.faces,
                "guesses": info.propagated,
                "hidden": info.hidden,
                "cover": face_json(covers[info.id]) if info.id in covers else None,
            }
            for info in shown
        ],
    }


def person(library: Library, number: int, first: int, count: int) -> Json:
    """Return a person, and some of its faces.

    Raises
    ------
    UnknownName
        There is no such person.
    """
    if number not in library.names.names():
        raise UnknownName("there is no such person (any more)")
    info = library.names.person(number)
    placed = reviewing.person_faces(library, number)
    shown = dict(placed[first : first + count])
    rows = {row.face: row for row in library.faces.several(shown)}
    cover = reviewing.covers(library, [info]).get(number)
    return {
        "id": info.id,
        "name": info.name,
        "aliases": list(info.aliases),
        "born": info.born,
        "note": info.note,
        "hidden": info.hidden,
        "cover": info.cover,
        "shown": None if cover is None else face_json(cover),
        "photos": info.photos,
        "guesses": info.propagated,
        "total": len(placed),
        "faces": [{**face_json(rows[face]), "distance": shown[face]} for face in shown],
    }


def clusters(library: Library, unnamed: Sequence[tuple[int, int]], first: int, count: int) -> Json:
    """Return some of the clusters in which faces without a name are, of all (number, faces without a name)."""
    shown = unnamed[first : first + count]
    numbers = [number for number, _ in shown]
    samples = reviewing.cluster_samples(library, numbers)
    infos = {info.number: info for info in library.clusters.infos(numbers)}
    return {
        "total": len(unnamed),
        "clusters": [
            {
                "number": number,
                "faces": infos[number].faces,
                "unnamed": left,
                "names": [name for name, _ in infos[number].names[:3]],
                "samples": [face_json(row) for row in samples.get(number, ())],
            }
            for number, left in shown
            if number in infos
        ],
    }


def cluster(library: Library, number: int, first: int, count: int) -> Json:
    """Return a cluster's faces, those that belong to it least surely last.

    Raises
    ------
    UnknownName
        There is no such cluster (any more).
    """
    rows = sorted(cluster_faces(library, number), key=lambda row: (-(row.probability or 0.0), row.face))
    return {
        "number": number,
        "unnamed": sum(row.person is None for row in rows),
        "total": len(rows),
        "faces": [face_json(row) for row in rows[first : first + count]],
    }


def photo(library: Library, digest: str) -> Json:
    """Return a photo with all its faces.

    Raises
    ------
    UnknownName
        There is no such photo, or it shows nobody.
    """
    rows = library.faces.of_hash(digest)
    if not rows:
        raise UnknownName("there is no such photo (any more), or it shows nobody")
    ignored = library.names.ignored()
    path, missing = library.photos.place(digest)
    facts = rows[0].facts
    by_name = {name: number for number, name in library.names.names().items()}
    return {
        "photo": digest,
        "path": printable(path),
        "missing": missing,
        "date": facts.captured_at,
        "camera": facts.camera,
        "width": facts.width,
        "height": facts.height,
        "mirror": digest in library.names.mirrors(),
        "faces": [
            {
                **face_json(row),
                "ignored": ignored[row.face].value if row.face in ignored else None,
                "person": by_name.get(row.person or ""),
            }
            for row in sorted(rows, key=lambda row: (row.time or 0.0, row.detection.box.x0, row.face))
        ],
    }


def history(library: Library, before: int, count: int) -> list[Json]:
    """Return events, newest first, from the one before a number on (0: from the newest)."""
    events = (event for event in library.history.newest() if not before or event.id < before)
    return [_event(library, event) for event in islice(events, count)]


def _event(library: Library, event: Event) -> Json:
    faces = library.history.faces_of(event.id, EVENT_FACES)
    rows = {row.face: face_json(row) for row in library.faces.several(faces)}
    return {
        "event": event.id,
        "at": event.at,
        "kind": event.kind,
        "words": reviewing.words_of(event),
        "changes": event.changes,
        "in_force": event.in_force,
        "takes_back": event.takes_back,
        "faces": [rows[face] for face in faces if face in rows],
    }


def search(library: Library, text: str, first: int, count: int) -> Json:
    """Return the photos that a search finds. The errors are those of `reviewing.search`."""
    found = reviewing.search(library, text)
    return {
        "total": len(found),
        "photos": [
            {
                "photo": each.photo,
                "file": printable(PurePath(each.path).name),
                "missing": each.missing,
                "date": each.captured_at,
                "persons": list(each.persons),
            }
            for each in found[first : first + count]
        ],
    }

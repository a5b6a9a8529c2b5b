r"""A backup: all that the user said, in one JSON file that outlives the library.

It names photos by their content and faces by their place, so that it can be put on a fresh scan of the same photos, in
other folders, by other models. The file is UTF-8 JSON, an object::

    {
      "format": "photocluster backup",
      "version": 1,
      "made_at": "2026-11-21T10:00:00+00:00",
      "persons": [
        {"name": "Ann", "aliases": ["Annie"], "born": "2010-05-01", "note": "", "hidden": false}
      ],
      "photos": [
        {
          "sha256": "9f86d0...",               of the file's content
          "file": "/photos/2019/a.jpg",        where it was last seen; only to tell the user
          "mirror": false,                     one person may appear in it more than once
          "faces": [
            {
              "box": [0.41, 0.2, 0.53, 0.38],  x0 y0 x1 y1 of the upright photo, as shares of its width and height
              "time": 12.5,                    seconds into a video; left out in still photos
              "person": "Ann",                 or null
              "source": "user",                or "imported"; null without a person
              "cover": false,                  the face stands for the person
              "not": ["Ben"],                  persons that it is not
              "ignored": null                  or "stranger", "crowd", "statue", "drawing", "not-a-face"
            }
          ],
          "regions": [                         names that other programs gave, and no face bears
            {"box": null, "person": "Ann", "origin": "takeout"}      without a box: of the photo as a whole
          ]
        }
      ],
      "pairs": [                               two faces without a name that are one person, or two
        {"same": true, "faces": [{"sha256": "9f86d0...", "file": "/photos/2019/a.jpg", "box": [...]}, {...}]}
      ]
    }

Faces of which nothing was said are left out, and so are propagated names: they follow from the others. Persons are
listed by name, photos by hash, faces from top left. ``regions`` and ``pairs`` may be missing. Bytes of a path that are
not UTF-8 are written as ``\xNN``.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from photocluster.errors import PhotoclusterError, StoreVersion, UsageError
from photocluster.records import Box, FaceRow, Source
from photocluster.store import IgnoredKind, Library

FORMAT, VERSION = "photocluster backup", 1

DIGITS = 6
"""Digits of a box's shares: a hundredth of a pixel in a photo of 10,000."""


@dataclass(frozen=True, slots=True)
class SavedPerson:
    """A person of a backup."""

    name: str
    aliases: tuple[str, ...]
    born: str | None
    note: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class SavedFace:
    """What was said of a face of a backup; `box` is in shares of the photo's width and height, `time` of a video."""

    box: Box
    person: str | None
    source: Source | None
    cover: bool
    rejected: tuple[str, ...]
    ignored: IgnoredKind | None
    time: float | None = None


@dataclass(frozen=True, slots=True)
class SavedRegion:
    """A name that another program gave and no face bears; `box` is in shares, or None for the photo as a whole."""

    box: Box | None
    person: str
    origin: str


@dataclass(frozen=True, slots=True)
class SavedPhoto:
    """A photo of a backup: its hash, where it was last seen, whether it is a mirror, its faces and kept names."""

    sha256: str
    file: str
    mirror: bool
    faces: tuple[SavedFace, ...]
    regions: tuple[SavedRegion, ...] = ()


@dataclass(frozen=True, slots=True)
class SavedPlace:
    """A face by its photo's hash and last file, its box in shares, and the time in a video."""

    sha256: str
    file: str
    box: Box
    time: float | None = None


@dataclass(frozen=True, slots=True)
class SavedPair:
    """Two faces that were said to be one person (`same`), or two."""

    same: bool
    one: SavedPlace
    other: SavedPlace


@dataclass(frozen=True, slots=True)
class Backup:
    """The content of a backup."""

    persons: tuple[SavedPerson, ...]
    photos: tuple[SavedPhoto, ...]
    pairs: tuple[SavedPair, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What was written: the file, and how many persons, photos and faces."""

    path: Path
    persons: int
    photos: int
    faces: int


def backup(library: Library, path: Path) -> BackupSummary:
    """Write all that the user said to a file, in place of an earlier backup there.

    Raises
    ------
    UsageError
        The file is something else than a backup.
    PhotoclusterError
        It cannot be written.
    """
    if path.exists() and path.stat().st_size:
        read_backup(path)
    content = collect(library)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **as_json(content),
    }
    _write(path, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    faces = sum(len(photo.faces) for photo in content.photos)
    return BackupSummary(path, len(content.persons), len(content.photos), faces)


def _write(path: Path, text: str) -> None:
    """Write a file at once or not at all, readable by its owner only."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PhotoclusterError(f"{path}: the backup cannot be written ({error.strerror})") from error


def collect(library: Library) -> Backup:
    """Return all that the user said, with what waits from an earlier restore."""
    infos = library.names.persons()
    names = {info.id: info.name for info in infos}
    persons = tuple(SavedPerson(i.name, i.aliases, i.born, i.note, i.hidden) for i in infos)
    faces: defaultdict[str, list[SavedFace]] = defaultdict(list)
    files: dict[str, str] = {}
    mirrors = library.names.mirrors()
    rejected: defaultdict[int, list[str]] = defaultdict(list)
    for face, person in library.names.rejections():
        rejected[face].append(names[person])
    ignored = library.names.ignored()
    covers = {info.cover for info in infos}
    for row in library.faces.with_words():
        said = row.source is not None and row.source is not Source.PROPAGATED
        files[row.photo] = _text(row.path)
        faces[row.photo].append(
            SavedFace(
                box=relative_box(row),
                person=row.person if said else None,
                source=row.source if said else None,
                cover=row.face in covers,
                rejected=tuple(rejected[row.face]),
                ignored=ignored.get(row.face),
                time=row.time,
            )
        )
    regions = _regions(library, files)
    pairs = _pairs(library)
    for entry in library.names.waiting().values():
        files.setdefault(entry["photo"], entry["file"])
        if entry["mirror"]:
            mirrors.add(entry["photo"])
        elif entry.get("origin") is not None:
            box = None if entry["box"] is None else Box(*entry["box"])
            regions[entry["photo"]].append(SavedRegion(box, names[entry["person"]], entry["origin"]))
        elif entry.get("other") is not None:
            one = SavedPlace(entry["photo"], entry["file"], Box(*entry["box"]), entry.get("time"))
            digest, file, place, *time = entry["other"]
            pairs.append(SavedPair(entry["same"], one, SavedPlace(digest, file, Box(*place), *time)))
        else:
            faces[entry["photo"]].append(_waiting_face(entry, names))
    photos = tuple(
        SavedPhoto(
            digest,
            files.get(digest, ""),
            digest in mirrors,
            tuple(sorted(faces[digest], key=_place)),
            tuple(sorted(regions[digest], key=lambda region: (region.person, str(region.box)))),
        )
        for digest in sorted(mirrors | faces.keys() | regions.keys())
    )
    return Backup(persons, photos, tuple(pairs))


def _regions(library: Library, files: dict[str, str]) -> defaultdict[str, list[SavedRegion]]:
    """Return photo -> the names that wait there for a face; note where each photo lies."""
    regions: defaultdict[str, list[SavedRegion]] = defaultdict(list)
    for kept in library.regions.kept():
        files.setdefault(kept.photo, _text(kept.path))
        facts = library.regions.facts(kept.photo)
        box = None if kept.box is None or facts is None else _shares(kept.box, facts.width, facts.height)
        regions[kept.photo].append(SavedRegion(box, kept.name, kept.origin))
    return regions


def _pairs(library: Library) -> list[SavedPair]:
    rows = {row.face: row for row in library.faces.several(library.questions.faces())}
    places = {face: SavedPlace(row.photo, _text(row.path), relative_box(row), row.time) for face, row in rows.items()}
    return [
        SavedPair(same, places[one], places[other])
        for same in (True, False)
        for one, other in library.questions.pairs(same=same)
    ]


def _waiting_face(entry: Mapping[str, Any], names: Mapping[int, str]) -> SavedFace:
    return SavedFace(
        box=Box(*entry["box"]),
        person=None if entry["person"] is None else names[entry["person"]],
        source=None if entry["source"] is None else Source(entry["source"]),
        cover=entry["cover"],
        rejected=tuple(names[person] for person in entry["rejected"]),
        ignored=None if entry["ignored"] is None else IgnoredKind(entry["ignored"]),
        time=entry.get("time"),
    )


def relative_box(row: FaceRow) -> Box:
    """Return the box of a face as shares of the upright photo's width and height."""
    return _shares(row.detection.box, row.facts.width, row.facts.height)


def _shares(box: Box, width: int, height: int) -> Box:
    return Box(*(round(v, DIGITS) for v in (box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height)))


def _place(face: SavedFace) -> tuple[float, float, float]:
    return face.time or 0.0, face.box.y0, face.box.x0


def _text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def as_json(content: Backup) -> dict[str, Any]:
    """Return persons and photos as JSON values."""
    return {
        "persons": [
            {"name": p.name, "aliases": list(p.aliases), "born": p.born, "note": p.note, "hidden": p.hidden}
            for p in content.persons
        ],
        "photos": [
            {
                "sha256": photo.sha256,
                "file": photo.file,
                "mirror": photo.mirror,
                "faces": [
                    {
                        "box": _corners(face.box),
                        **_when(face.time),
                        "person": face.person,
                        "source": face.source,
                        "cover": face.cover,
                        "not": list(face.rejected),
                        "ignored": face.ignored,
                    }
                    for face in photo.faces
                ],
                "regions": [
                    {"box": _corners(region.box), "person": region.person, "origin": region.origin}
                    for region in photo.regions
                ],
            }
            for photo in content.photos
        ],
        "pairs": [
            {
                "same": pair.same,
                "faces": [
                    {"sha256": place.sha256, "file": place.file, "box": _corners(place.box), **_when(place.time)}
                    for place in (pair.one, pair.other)
                ],
            }
            for pair in content.pairs
        ],
    }


def _when(time: float | None) -> dict[str, float]:
    return {} if time is None else {"time": time}


def _corners(box: Box | None) -> list[float] | None:
    return None if box is None else [box.x0, box.y0, box.x1, box.y1]


def read_backup(path: Path) -> Backup:
    """Read a backup.

    Raises
    ------
    UsageError
        The file cannot be read, or is no backup.
    StoreVersion
        A newer photocluster wrote it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{path} is no backup of photocluster ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f'{path} is no backup of photocluster: it does not say "format": "{FORMAT}"')
    if document.get("version") != VERSION:
        raise StoreVersion(
            f"{path} has version {document.get('version')} of the backup format, this photocluster knows {VERSION}: "
            "update photocluster"
        )
    try:
        return Backup(
            tuple(_person(entry) for entry in document["persons"]),
            tuple(_photo(entry) for entry in document["photos"]),
            tuple(_pair(entry) for entry in document.get("pairs", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is damaged: {type(error).__name__} {error}") from error


def _person(entry: Mapping[str, Any]) -> SavedPerson:
    born, note = entry["born"], entry["note"]
    if not (isinstance(note, str) and (born is None or isinstance(born, str))):
        raise TypeError(f"person {entry['name']}")
    return SavedPerson(str(entry["name"]), tuple(map(str, entry["aliases"])), born, note, bool(entry["hidden"]))


def _photo(entry: Mapping[str, Any]) -> SavedPhoto:
    faces = tuple(_face(face) for face in entry["faces"])
    regions = tuple(_region(region) for region in entry.get("regions", ()))
    return SavedPhoto(str(entry["sha256"]), str(entry["file"]), bool(entry["mirror"]), faces, regions)


def _region(entry: Mapping[str, Any]) -> SavedRegion:
    box = None if entry["box"] is None else _box(entry["box"])
    return SavedRegion(box, str(entry["person"]), str(entry["origin"]))


def _pair(entry: Mapping[str, Any]) -> SavedPair:
    one, other = (
        SavedPlace(str(f["sha256"]), str(f["file"]), _box(f["box"]), _time(f.get("time"))) for f in entry["faces"]
    )
    return SavedPair(bool(entry["same"]), one, other)


def _box(corners: Sequence[Any]) -> Box:
    x0, y0, x1, y1 = (float(v) for v in corners)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"box {corners}")
    return Box(x0, y0, x1, y1)


def _time(seconds: Any) -> float | None:
    return None if seconds is None else float(seconds)


def _face(entry: Mapping[str, Any]) -> SavedFace:
    person = entry["person"]
    return SavedFace(
        box=_box(entry["box"]),
        person=None if person is None else str(person),
        source=None if person is None else Source(entry["source"]),
        cover=bool(entry["cover"]),
        rejected=tuple(map(str, entry["not"])),
        ignored=None if entry["ignored"] is None else IgnoredKind(entry["ignored"]),
        time=_time(entry.get("time")),
    )

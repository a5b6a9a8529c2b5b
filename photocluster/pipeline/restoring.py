"""Putting a backup on a library: every name on the right face, and a list of what could not be placed.

What has no face here is kept in the library and tried again at the next restore; a backup of this library holds it too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from photocluster.errors import UsageError
from photocluster.pipeline.backup import Backup, SavedPerson, read_backup, relative_box
from photocluster.pipeline.persons import add_alias
from photocluster.records import Box, FaceRow, Source
from photocluster.regions import in_pixels
from photocluster.store import Decision, Library, box_of, region_row

SAME_FACE_IOU = 0.5
"""Boxes that overlap by half are one face: the criterion by which detections have been matched since PASCAL VOC
(Everingham et al. 2010). Faces of two people that overlap by that much would have to lie on each other."""

LEAST_IOU = 0.25
"""The same for boxes around one centre: one is at most twice as wide and high as the other. Some detectors take the
face from brow to chin, others the whole head."""


SAME_TIME = 1.0
"""Seconds by which the times of a video's face may differ: a scan with other settings looks at other frames, about a
second apart, and keeps other faces of a track."""

FRAMES_APART = 4.0
"""Shares of the width by which frames are set apart when boxes are matched: a box reaches over the edge by less."""


class Reason(StrEnum):
    """Why a statement of a backup has no face here."""

    NO_PHOTO = "the photo is not in this library"
    EDITED = "the file holds another content now: the photo was edited"
    NO_FACE = "no face was found at that place"


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A statement without a face: the photo's hash and last file, the box in shares, what was said, and why."""

    photo: str
    file: str
    box: tuple[float, float, float, float] | None
    said: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Conflict:
    """The backup and the user's word here differ, and the latter stands: what about, and what is said where."""

    about: str
    here: str
    backup: str


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did.

    `placed` counts the faces of the backup that were found here, `changed` those of them of which something new is
    known now; `new_persons` were made. `event` is None if nothing changed, or it was only tried.
    """

    event: int | None
    new_persons: tuple[str, ...]
    placed: int
    changed: int
    conflicts: tuple[Conflict, ...]
    unplaced: tuple[Unplaced, ...]


Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Statement:
    """What is said of a face, with ids in place of names; or that a photo is a mirror.

    With an `origin` it is a name that waits for a face; with `other` (hash, file, box, time) it says that both faces
    are the `same` person, or that they are two.
    """

    photo: str
    file: str
    box: tuple[float, float, float, float] | None
    person: int | None = None
    source: str | None = None
    cover: bool = False
    rejected: tuple[int, ...] = ()
    ignored: str | None = None
    mirror: bool = False
    origin: str | None = None
    other: tuple[str, str, Corners, float | None] | None = None
    same: bool = False
    time: float | None = None

    @property
    def key(self) -> str:
        place = "" if self.box is None else _written(self.box, self.time)
        if self.origin is not None:
            return f"{self.photo} region {self.person} {place}"
        if self.other is not None:
            return f"{self.photo} {place} {self.other[0]} {_written(*self.other[2:])}"
        return f"{self.photo} {place or 'mirror'}"


def restore(library: Library, path: Path | None = None, *, dry_run: bool = False) -> RestoreReport:
    """Put the persons and decisions of a backup on the photos of a library, as one event.

    A face is found by the photo's hash and by overlap of the boxes. What the user said in this library stands; where
    the backup says otherwise it is listed. Restoring twice changes nothing.

    Parameters
    ----------
    path
        The backup; None tries again what an earlier restore could not place.

    Raises
    ------
    UsageError, StoreVersion
        The file is no backup that can be read.
    """
    content = Backup((), ()) if path is None else read_backup(path)
    arguments = {"file": None if path is None else path.name}
    with library.names.decide("restore", arguments, dry_run=dry_run) as decision:
        restoring = _Restoring(library, decision)
        restoring.persons(content.persons)
        statements = _statements(content, decision) + _waiting(library)
        restoring.photos([statement for statement in statements if statement.other is None])
        restoring.pairs([statement for statement in statements if statement.other is not None])
    return restoring.report(decision.event)


def _statements(content: Backup, decision: Decision) -> list[_Statement]:
    """Return what a backup says, with ids in place of names (persons that it does not list are made)."""
    statements = []
    for photo in content.photos:
        if photo.mirror:
            statements.append(_Statement(photo.sha256, photo.file, None, mirror=True))
        for face in photo.faces:
            box = face.box
            statements.append(
                _Statement(
                    photo.sha256,
                    photo.file,
                    (box.x0, box.y0, box.x1, box.y1),
                    None if face.person is None else decision.person(face.person),
                    face.source,
                    face.cover,
                    tuple(sorted(decision.person(name) for name in face.rejected)),
                    face.ignored,
                    time=face.time,
                )
            )
        for region in photo.regions:
            place = None if region.box is None else _corners(region.box)
            person = decision.person(region.person)
            statements.append(_Statement(photo.sha256, photo.file, place, person, origin=region.origin))
    for pair in content.pairs:
        one = pair.one
        other = (pair.other.sha256, pair.other.file, _corners(pair.other.box), pair.other.time)
        statements.append(
            _Statement(one.sha256, one.file, _corners(one.box), other=other, same=pair.same, time=one.time)
        )
    return statements


def _corners(box: Box) -> Corners:
    return (box.x0, box.y0, box.x1, box.y1)


def _waiting(library: Library) -> list[_Statement]:
    found = []
    for entry in library.names.waiting().values():
        other = entry.get("other")
        values = {
            **entry,
            "box": entry["box"] and tuple(entry["box"]),
            "rejected": tuple(entry["rejected"]),
            "other": other and (other[0], other[1], tuple(other[2]), other[3] if len(other) > 3 else None),
        }
        found.append(_Statement(**values))
    return found


def _written(box: Corners, time: float | None) -> str:
    """Return a place as a part of a key."""
    return " ".join(map(str, box if time is None else (*box, f"at {time}")))


def _set_apart(box: Box, time: float | None, times: Sequence[float]) -> Box:
    """Return a box (in shares) moved aside by its frame, the nearest of some times, so that only frames match."""
    if time is None:
        return box
    near = min(range(len(times)), key=lambda i: abs(times[i] - time), default=-1)
    frame = near + 1 if near >= 0 and abs(times[near] - time) <= SAME_TIME else -1
    return Box(box.x0 + FRAMES_APART * frame, box.y0, box.x1 + FRAMES_APART * frame, box.y1)


def _matched(saved: Sequence[tuple[Box, float | None]], rows: Sequence[FaceRow]) -> dict[int, int]:
    """Return saved face -> row, by frame and box."""
    times = sorted({row.time for row in rows if row.time is not None})
    return match_boxes(
        [_set_apart(box, time, times) for box, time in saved],
        [_set_apart(relative_box(row), row.time, times) for row in rows],
    )


def match_boxes(saved: Sequence[Box], found: Sequence[Box]) -> dict[int, int]:
    """Return saved box -> found box, each at most once.

    Pairs are dealt with by falling overlap, down to `SAME_FACE_IOU`. Of what is left, two boxes are one face if they
    overlap by `LEAST_IOU`, each holds the other's centre, and neither does so with any other box.
    """
    overlaps = sorted(
        ((a.iou(b), i, j) for i, a in enumerate(saved) for j, b in enumerate(found)), key=lambda o: (-o[0], o[1:])
    )
    pairs: dict[int, int] = {}
    for overlap, i, j in overlaps:
        if overlap >= SAME_FACE_IOU and i not in pairs and j not in pairs.values():
            pairs[i] = j
    left = [
        (i, j)
        for overlap, i, j in overlaps
        if overlap >= LEAST_IOU
        and i not in pairs
        and j not in pairs.values()
        and _holds(saved[i], found[j])
        and _holds(found[j], saved[i])
    ]
    alone = [pair for pair in left if sum(pair[0] == i or pair[1] == j for i, j in left) == 1]
    return pairs | dict(alone)


def _holds(outer: Box, inner: Box) -> bool:
    return outer.contains((inner.x0 + inner.x1) / 2, (inner.y0 + inner.y1) / 2)


class _Restoring:
    """One restore, within its decision."""

    def __init__(self, library: Library, decision: Decision) -> None:
        self._library = library
        self._decision = decision
        self._before = {info.id for info in library.names.persons()}
        self._hashes = library.photos.hashes()
        self._former = library.exchange.former_hashes()
        self._conflicts: list[Conflict] = []
        self._unplaced: list[Unplaced] = []
        self._placed = self._changed = 0

    def report(self, event: int | None) -> RestoreReport:
        made = [
            after["name"]
            for table, before, after in self._decision.changes
            if table == "person" and not before and after
        ]
        return RestoreReport(
            event, tuple(made), self._placed, self._changed, tuple(self._conflicts), tuple(self._unplaced)
        )

    def persons(self, persons: Sequence[SavedPerson]) -> None:
        """Make the persons that are not here, and fill in what is not known of the others."""
        for saved in persons:
            person = self._decision.person(saved.name)
            row = dict(self._decision.get("person", {"id": person}) or {})
            if person not in self._before:
                row["hidden"] = int(saved.hidden)
            for field, value in (("born", saved.born), ("note", saved.note)):
                if not row[field]:
                    row[field] = value
                elif value and row[field] != value:
                    self._conflicts.append(Conflict(f"{field} of {row['name']}", str(row[field]), value))
            self._decision.put("person", row)
            for alias in saved.aliases:
                try:
                    add_alias(self._decision, person, alias)
                except UsageError:
                    self._conflicts.append(Conflict(f'the alias "{alias}"', "somebody else's", row["name"]))

    def _today(self, statement: _Statement) -> _Statement:
        """Return the statement with the hashes of today: a photo has another one once names were written into it."""
        former, other = self._former, statement.other
        renamed = other and (former.get(other[0], other[0]), *other[1:])
        return replace(statement, photo=former.get(statement.photo, statement.photo), other=renamed)

    def photos(self, statements: Sequence[_Statement]) -> None:
        by_photo: defaultdict[str, dict[str, _Statement]] = defaultdict(dict)
        for statement in statements:
            current = self._today(statement)
            by_photo[current.photo].setdefault(current.key, current)
        self._names = {info.id: info.name for info in self._library.names.persons()}
        for digest, of_photo in sorted(by_photo.items()):
            self._photo(digest, list(of_photo.values()))

    def _photo(self, digest: str, statements: list[_Statement]) -> None:
        if digest not in self._hashes:
            for statement in statements:
                known = self._library.photos.hash_of(Path(statement.file)) if statement.file else None
                self._wait(statement, Reason.EDITED if known else Reason.NO_PHOTO)
            return
        rows = self._library.faces.of_hash(digest)
        for statement in statements:
            if statement.mirror:
                self._decision.put("mirror", {"photo": digest})
                self._decision.remove("waiting", {"key": statement.key})
            elif statement.origin is not None:
                self._region(statement, rows)
                self._decision.remove("waiting", {"key": statement.key})
        placed = [statement for statement in statements if statement.origin is None]
        faces = [(statement, statement.box) for statement in placed if statement.box is not None]
        pairs = _matched([(Box(*box), statement.time) for statement, box in faces], rows)
        named_here = {(row.person, row.time): row.face for row in rows if row.source in {Source.USER, Source.IMPORTED}}
        mirror = self._decision.get("mirror", {"photo": digest}) is not None
        for i, (statement, _) in enumerate(faces):
            if i not in pairs:
                self._wait(statement, Reason.NO_FACE)
                continue
            before = len(self._decision.changes)
            row = rows[pairs[i]]
            elsewhere = named_here.get((self._names.get(statement.person or -1), row.time))
            twice = not mirror and elsewhere not in {None, row.face}
            self._face(statement, row, twice=twice)
            self._placed += 1
            self._changed += len(self._decision.changes) > before
            self._decision.remove("waiting", {"key": statement.key})

    def _region(self, statement: _Statement, rows: Sequence[FaceRow]) -> None:
        """Keep a name that waits for a face, unless the person is named in the photo by now."""
        person, facts = statement.person or -1, self._library.regions.facts(statement.photo)
        words = [row for row in rows if row.source in {Source.USER, Source.IMPORTED}]
        if facts is None or self._names[person] in {row.person for row in words}:
            return
        box = None if statement.box is None else in_pixels(Box(*statement.box), facts.width, facts.height)
        there = [row for row in self._decision.rows_of_person("region", person) if row["photo"] == statement.photo]
        same = [
            row for row in there if box is None or (place := box_of(row)) is None or place.iou(box) >= SAME_FACE_IOU
        ]
        if not same:
            self._decision.put("region", region_row(statement.photo, person, box, statement.origin or ""))

    def pairs(self, statements: Sequence[_Statement]) -> None:
        """Say again which faces are one person, or two."""
        for statement in {each.key: each for each in reversed(statements)}.values():
            if statement.box is None or statement.other is None:
                continue
            photo, _, box, time = statement.other
            faces = self._face_at(statement.photo, statement.box, statement.time), self._face_at(photo, box, time)
            if None in faces or faces[0] == faces[1]:
                here = {statement.photo, photo} <= self._hashes
                self._wait(statement, Reason.NO_FACE if here else Reason.NO_PHOTO)
                continue
            face, other = sorted(face for face in faces if face is not None)
            before = self._decision.get("pair", {"face": face, "other": other})
            if before is None:
                self._decision.put("pair", {"face": face, "other": other, "same": int(statement.same)})
            elif bool(before["same"]) != statement.same:
                here_said, said = ("one person", "two people")[:: 1 if before["same"] else -1]
                self._conflicts.append(Conflict(f"f{face} and f{other}", here_said, said))
            self._decision.remove("waiting", {"key": statement.key})

    def _face_at(self, digest: str, box: Corners, time: float | None) -> int | None:
        rows = self._library.faces.of_hash(digest)
        pairs = _matched([(Box(*box), time)], rows)
        return rows[pairs[0]].face if pairs else None

    def _wait(self, statement: _Statement, reason: Reason) -> None:
        """Keep a statement for later."""
        self._unplaced.append(Unplaced(statement.photo, statement.file, statement.box, self._said(statement), reason))
        entry = json.dumps(asdict(statement), sort_keys=True)
        if self._decision.get("waiting", {"key": statement.key}) is None:
            self._decision.put("waiting", {"key": statement.key, "entry": entry})

    def _said(self, statement: _Statement) -> str:
        parts = ["a mirror"] if statement.mirror else []
        if statement.person is not None:
            parts.append(self._names[statement.person])
        parts += [f"not {self._names[person]}" for person in statement.rejected]
        if statement.ignored is not None:
            parts.append(f"ignored ({statement.ignored})")
        if statement.other is not None:
            parts.append(f"{'one person' if statement.same else 'not one person'} with a face in {statement.other[1]}")
        return ", ".join(parts)

    def _face(self, statement: _Statement, row: FaceRow, *, twice: bool) -> None:
        """Say of a face what the statement says, unless the user said otherwise here."""
        named = row.person if row.source in {Source.USER, Source.IMPORTED} else None
        ignored = self._decision.get("ignored", {"face": row.face})
        if statement.person is not None:
            self._name(statement, row, statement.person, twice=twice)
        for person in statement.rejected:
            if named == self._names[person]:
                self._differ(row, named, f"not {named}")
            else:
                self._decision.reject(row.face, person)
        if statement.ignored is not None and ignored is None:
            if named is not None:
                self._differ(row, named, f"ignored ({statement.ignored})")
            else:
                self._decision.ignore(row.face, statement.ignored)

    def _name(self, statement: _Statement, row: FaceRow, person: int, *, twice: bool) -> None:
        """Give a face its name, unless the user's word here stands against it; an imported name gives way."""
        name = self._names[person]
        by_user = {Source.USER} if statement.source == Source.USER else {Source.USER, Source.IMPORTED}
        stands = row.person if row.source in by_user else None
        ignored = self._decision.get("ignored", {"face": row.face})
        if ignored is not None:
            self._differ(row, f"ignored ({ignored['kind']})", name)
        elif stands is not None:
            if stands != name:
                self._differ(row, stands, name)
        elif self._decision.get("rejection", {"face": row.face, "person": person}) is not None:
            self._differ(row, f"not {name}", name)
        elif twice:
            self._differ(row, f"{name} is another face of this photo", name)
        else:
            self._decision.assign(row.face, person, Source(statement.source or Source.USER))
        named = self._decision.get("assignment", {"face": row.face})
        is_cover = statement.cover and named is not None and named["person"] == person
        if is_cover and self._decision.get("cover", {"person": person}) is None:
            self._decision.put("cover", {"person": person, "face": row.face})

    def _differ(self, row: FaceRow, here: str, backup: str) -> None:
        self._conflicts.append(Conflict(f"f{row.face} in {row.path or row.photo[:12]}", here, backup))

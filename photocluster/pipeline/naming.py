"""Naming: what the user says of clusters and faces. Every function here is one decision, and one event.

With `dry_run` nothing is kept: the report says what would have been done, and its `event` is None.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from photocluster.errors import UsageError
from photocluster.pipeline.targets import Target, all_faces, person_id, pointed_at, resolve_all, with_tracks
from photocluster.records import FaceRow, Source
from photocluster.store import Library, clean_name


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What a `label` did.

    Attributes
    ----------
    event
        The number of the event; None if nothing changed.
    person
        The name as it is kept.
    new_person
        Whether the person was made by this.
    named
        Faces that carry the name by the user's word now and did not before.
    already
        Faces that carried it by the user's word before.
    kept
        (face, name): the user had named them otherwise, and that stands.
    rejected
        Faces of which the user said that they are not this person.
    same_photo
        Faces left alone because a likelier face of the same photo has the name.
    """

    event: int | None
    person: str
    new_person: bool
    named: tuple[int, ...]
    already: tuple[int, ...]
    kept: tuple[tuple[int, str], ...]
    rejected: tuple[int, ...]
    same_photo: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FacesReport:
    """What a decision about faces did.

    `event` is its number (None if nothing changed), `person` the person it is about (None: nobody in particular),
    `faces` (face, the name it had by anybody's word or None) lists the faces that it changed; `unchanged` faces were
    like that before or were left alone.
    """

    event: int | None
    person: str | None
    faces: tuple[tuple[int, str | None], ...]
    unchanged: tuple[int, ...]


def label(library: Library, targets: Sequence[str], name: str, *, dry_run: bool = False) -> LabelReport:
    """Name the faces of clusters or single faces, by the user's word.

    A cluster's faces that the user named otherwise keep that name; a face that is named by itself (f345) takes the new
    one. Of two faces of one photo (or of one frame of a video) in a cluster only the one that fits it better is named:
    they are two people. With a face of a video its whole track is named, but for faces that the user named otherwise.

    Raises
    ------
    UnknownName, UsageError
    """
    name = clean_name(name)
    known = library.names.person_id(name)
    found = resolve_all(library, targets)
    faces = with_tracks(library, found)
    said = library.names.assignments(faces)
    refused = {face for face, person in library.names.rejections(faces) if person == known}
    meant = pointed_at(found)
    pictures = set() if known is None else library.names.pictures_named(known, faces)
    mirrors = library.names.mirrors()
    parts: dict[str, list[int]] = {"named": [], "already": [], "rejected": [], "same_photo": []}
    kept: list[tuple[int, str]] = []
    rows = sorted(faces.values(), key=lambda r: (r.face not in meant, -(r.probability or 0.0), r.face))
    for row in rows:
        by_user = row.face in said and said[row.face].source is not Source.PROPAGATED
        if by_user and said[row.face].person == known and said[row.face].source is Source.USER:
            parts["already"].append(row.face)
        elif row.face in meant:
            parts["named"].append(row.face)
            pictures.add((row.photo, row.time))
        elif by_user and said[row.face].person != known:
            kept.append((row.face, row.person or ""))
        elif row.face in refused:
            parts["rejected"].append(row.face)
        elif (row.photo, row.time) in pictures and row.photo not in mirrors and not by_user:
            parts["same_photo"].append(row.face)
        else:
            parts["named"].append(row.face)
            pictures.add((row.photo, row.time))
    with library.names.decide("label", {"targets": list(targets), "person": name}, dry_run=dry_run) as decision:
        if parts["named"]:
            person = decision.person(name)
            for face in parts["named"]:
                decision.assign(face, person, Source.USER)
    return LabelReport(
        decision.event,
        name if known is None else library.names.name(known),
        known is None and bool(parts["named"]),
        kept=tuple(sorted(kept)),
        **{part: tuple(sorted(faces)) for part, faces in parts.items()},
    )


def unlabel(library: Library, targets: Sequence[str], *, dry_run: bool = False) -> FacesReport:
    """Take the names off the faces of clusters, of persons, or off single faces.

    Raises
    ------
    UnknownName, UsageError
    """
    found = resolve_all(library, targets, persons=True)
    rows = all_faces(_with_names(found))
    changed = [row for row in rows.values() if row.person is not None]
    with library.names.decide("unlabel", {"targets": list(targets)}, dry_run=dry_run) as decision:
        for row in changed:
            decision.unassign(row.face)
    return _report(decision.event, None, rows, changed)


def _with_names(targets: list[Target]) -> list[Target]:
    for target in targets:
        if not any(row.person for row in target.faces):
            raise UsageError(f"{target.text}: none of its faces has a name")
    return targets


def accept(library: Library, targets: Sequence[str], *, dry_run: bool = False) -> FacesReport:
    """Make the propagated names of faces, of clusters or of persons the user's word.

    Raises
    ------
    UnknownName, UsageError
    """
    rows = all_faces(_with_names(resolve_all(library, targets, persons=True)))
    said = library.names.assignments(rows)
    changed = [row for row in rows.values() if row.source not in {None, Source.USER}]
    with library.names.decide("accept", {"targets": list(targets)}, dry_run=dry_run) as decision:
        for row in changed:
            decision.assign(row.face, said[row.face].person, Source.USER)
    return _report(decision.event, None, rows, changed)


def reject(library: Library, targets: Sequence[str], name: str, *, dry_run: bool = False) -> FacesReport:
    """Say that faces, or all faces of clusters, are not a person: remembered for ever, and the name goes off them.

    With a face of a video its whole track is not that person, but for faces that the user gave that name.

    Raises
    ------
    UnknownName, UsageError
    """
    person = person_id(library, name)
    found = resolve_all(library, targets)
    rows = with_tracks(library, found)
    given = {f for f, a in library.names.assignments(rows).items() if (a.person, a.source) == (person, Source.USER)}
    before = {face for face, who in library.names.rejections(rows) if who == person}
    before |= given - all_faces(found).keys()
    changed = [row for row in rows.values() if row.face not in before]
    with library.names.decide("reject", {"targets": list(targets), "person": name}, dry_run=dry_run) as decision:
        for row in changed:
            decision.reject(row.face, person)
    return _report(decision.event, library.names.name(person), rows, changed)


def move(library: Library, targets: Sequence[str], name: str, *, dry_run: bool = False) -> FacesReport:
    """Give faces to a person, whatever they were named before: single faces, or all of a cluster or a person.

    Raises
    ------
    UnknownName, UsageError
    """
    rows = all_faces(resolve_all(library, targets, persons=True))
    name = clean_name(name)
    with library.names.decide("move", {"targets": list(targets), "person": name}, dry_run=dry_run) as decision:
        person = decision.person(name)
        changed = [
            row for row in rows.values() if not _is_named(decision.get("assignment", {"face": row.face}), person)
        ]
        for row in changed:
            decision.assign(row.face, person, Source.USER)
    return _report(decision.event, name, rows, changed)


def _is_named(assignment: dict[str, object] | None, person: int) -> bool:
    return assignment is not None and (assignment["person"], assignment["source"]) == (person, Source.USER.value)


def _report(
    event: int | None, person: str | None, rows: dict[int, FaceRow], changed: Collection[FaceRow]
) -> FacesReport:
    done = {row.face for row in changed}
    return FacesReport(
        event,
        person,
        tuple((row.face, row.person) for row in changed),
        tuple(face for face in rows if face not in done),
    )

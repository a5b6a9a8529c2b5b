"""Naming: what the user says of clusters and faces. Every function here is one decision, and one event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from photocluster.errors import UsageError
from photocluster.pipeline.targets import Target, person_id, resolve_all
from photocluster.records import FaceRow, Source
from photocluster.store import Library, clean_name, name_key


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What a `label` did.

    Attributes
    ----------
    person
        The name as it is kept.
    new_person
        Whether the person was made by this.
    named
        Faces that carry the name now and did not before.
    already
        Faces that carried it by the user's word before.
    kept
        (face, name): the user had named them otherwise, and that stands.
    rejected
        Faces of which the user said that they are not this person.
    same_photo
        Faces left alone because a likelier face of the same photo has the name.
    """

    person: str
    new_person: bool
    named: tuple[int, ...]
    already: tuple[int, ...]
    kept: tuple[tuple[int, str], ...]
    rejected: tuple[int, ...]
    same_photo: tuple[int, ...]


def label(library: Library, targets: Sequence[str], name: str) -> LabelReport:
    """Name the faces of clusters or single faces, by the user's word.

    A cluster's faces that the user named otherwise keep that name; a face that is named by itself (f345) takes the new
    one. Of two faces of one photo in a cluster only the one that fits it better is named: they are two people.

    Raises
    ------
    UnknownName, UsageError
    """
    name = clean_name(name)
    known = library.names.person_id(name)
    rejections = {face for face, person in library.names.rejections() if person == known}
    named: list[int] = []
    already: list[int] = []
    kept: list[tuple[int, str]] = []
    rejected: list[int] = []
    same_photo: list[int] = []
    photos = _photos_with(library, known)
    for target in resolve_all(library, targets):
        for row in sorted(target.faces, key=lambda r: (-(r.probability or 0.0), r.face)):
            said_by_user = row.person is not None and row.source is not Source.PROPAGATED
            if said_by_user and name_key(row.person or "") == name_key(name):
                already.append(row.face)
            elif target.one_by_one:
                named.append(row.face)
            elif said_by_user:
                kept.append((row.face, row.person or ""))
            elif row.face in rejections:
                rejected.append(row.face)
            elif row.photo in photos:
                same_photo.append(row.face)
            else:
                named.append(row.face)
                photos.add(row.photo)
    with library.names.decide("label", {"targets": list(targets), "person": name}) as decision:
        if named:
            person = decision.person(name)
            for face in named:
                decision.remove("rejection", {"face": face, "person": person})
                decision.assign(face, person, Source.USER)
    return LabelReport(
        name,
        known is None and bool(named),
        named=tuple(sorted(named)),
        already=tuple(sorted(already)),
        kept=tuple(sorted(kept)),
        rejected=tuple(sorted(rejected)),
        same_photo=tuple(sorted(same_photo)),
    )


def _photos_with(library: Library, person: int | None) -> set[str]:
    """Return the photos in which a face carries the person's name by the user's word already."""
    if person is None:
        return set()
    return {row.photo for row in library.faces.rows(person=person) if row.source is not Source.PROPAGATED}


@dataclass(frozen=True, slots=True)
class UnlabelReport:
    """What an `unlabel` did: (face, the name it had)."""

    faces: tuple[tuple[int, str], ...]


def unlabel(library: Library, targets: Sequence[str]) -> UnlabelReport:
    """Take the names off the faces of clusters, of persons, or off single faces.

    Raises
    ------
    UnknownName, UsageError
    """
    found: dict[int, FaceRow] = {
        row.face: row
        for target in _with_faces(resolve_all(library, targets, persons=True))
        for row in target.faces
        if row.person is not None
    }
    with library.names.decide("unlabel", {"targets": list(targets)}) as decision:
        for face in sorted(found):
            decision.unassign(face)
    return UnlabelReport(tuple((face, found[face].person or "") for face in sorted(found)))


def _with_faces(targets: list[Target]) -> list[Target]:
    for target in targets:
        if not any(row.person for row in target.faces):
            raise UsageError(f"{target.text}: none of its faces has a name")
    return targets


def rename(library: Library, old: str, new: str) -> str:
    """Give a person another name; return it as it is kept.

    Raises
    ------
    UnknownName
        Nobody has the old name.
    UsageError
        Somebody else has the new one.
    """
    person = person_id(library, old)
    new = clean_name(new)
    other = library.names.person_id(new)
    if other not in (None, person):
        raise UsageError(f'there is a person "{new}" already; give another name')
    with library.names.decide("rename", {"person": old, "name": new}) as decision:
        decision.put("person", {"id": person, "name": new, "key": name_key(new)})
    return new

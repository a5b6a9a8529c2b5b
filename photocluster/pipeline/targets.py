"""What the user points at: clusters by number (12, 12-15), faces by row (f345, f3-f9), persons by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from photocluster.errors import UnknownName, UsageError
from photocluster.records import FaceRow
from photocluster.store import Library

_FACE = re.compile(r"[fF](\d+)")
_FACES = re.compile(r"[fF](\d+)-[fF]?(\d+)")
_CLUSTERS = re.compile(r"(\d+)-(\d+)")
_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Target:
    """What one argument stands for: its faces, and whether they were meant one by one or as a group."""

    text: str
    faces: tuple[FaceRow, ...]
    one_by_one: bool


def cluster_faces(library: Library, number: int) -> list[FaceRow]:
    """Return the faces of a cluster.

    Raises
    ------
    UnknownName
        No cluster has that number now; says whether one had, and which are nearest.
    """
    faces = library.faces.rows(cluster=number)
    if faces:
        return faces
    current = sorted(info.number for info in library.clusters.infos())
    if not current:
        raise UnknownName(f"there is no cluster {number}: nothing has been clustered yet. Run: photocluster cluster")
    nearest = ", ".join(str(n) for n in sorted(current, key=lambda n: (abs(n - number), n))[:_NEAREST])
    past = " any more (its faces are in other clusters now)" if number in library.clusters.numbers() else ""
    raise UnknownName(
        f"there is no cluster {number}{past}; the nearest numbers are {nearest}. See: photocluster clusters"
    )


def person_id(library: Library, name: str) -> int:
    """Return the id of a person by name.

    Raises
    ------
    UnknownName
        Nobody has that name; lists the most similar names.
    """
    found = library.names.person_id(name)
    if found is not None:
        return found
    names = [info.name for info in library.names.persons()]
    if not names:
        raise UnknownName(
            f'there is no person "{name}": nobody is named yet. Name one with: photocluster label 12 NAME'
        )
    by_fold = {known.casefold(): known for known in names}
    similar = difflib.get_close_matches(name.casefold(), by_fold, n=_NEAREST, cutoff=0.5)
    hint = " or ".join(f'"{by_fold[s]}"' for s in similar)
    raise UnknownName(
        f'there is no person "{name}"; ' + (f"did you mean {hint}?" if hint else "see: photocluster people")
    )


def resolve(library: Library, text: str, *, persons: bool = False) -> Target:
    """Return the faces that an argument stands for.

    Parameters
    ----------
    text
        "12" is a cluster, "f345" a face; anything else a person, if `persons`.

    Raises
    ------
    UnknownName
        There is no such cluster, face or person.
    UsageError
        It is none of these.
    """
    if text.isdecimal():
        return Target(text, tuple(cluster_faces(library, int(text))), one_by_one=False)
    face = _FACE.fullmatch(text)
    if face and not (persons and library.names.person_id(text) is not None):
        rows = library.faces.rows(face=int(face[1]))
        if not rows:
            raise UnknownName(f"there is no face {text}; faces are listed by: photocluster show CLUSTER")
        return Target(text, tuple(rows), one_by_one=True)
    if persons:
        return Target(text, tuple(library.faces.rows(person=person_id(library, text))), one_by_one=False)
    raise UsageError(f'"{text}" is neither a cluster number (12) nor a face (f345)')


def resolve_all(library: Library, texts: Sequence[str], *, persons: bool = False) -> list[Target]:
    """Return the targets of several arguments, in their order; a range stands for all that exist in it.

    Raises
    ------
    UnknownName
        There is no such cluster, face or person, or nothing in the range.
    UsageError
        It is none of these.
    """
    return [
        target
        for text in texts
        for target in _range(library, text, persons=persons) or [resolve(library, text, persons=persons)]
    ]


def _range(library: Library, text: str, *, persons: bool) -> list[Target]:
    """Return the targets of "f3-f9" or "12-15"; empty if the argument is not a range."""
    faces, clusters = _FACES.fullmatch(text), _CLUSTERS.fullmatch(text)
    if not (faces or clusters) or (persons and library.names.person_id(text) is not None):
        return []
    match = faces or clusters
    first, last = (int(part) for part in match.groups()) if match else (0, 0)
    if first > last:
        raise UsageError(f'the range "{text}" ends before it begins')
    if clusters:
        there = sorted(info.number for info in library.clusters.infos() if first <= info.number <= last)
        found = [Target(str(n), tuple(library.faces.rows(cluster=n)), one_by_one=False) for n in there]
    else:
        rows = library.faces.rows(first=first, last=last)
        found = [Target(f"f{row.face}", (row,), one_by_one=True) for row in rows]
    if not found:
        raise UnknownName(f"there is no {'cluster' if clusters else 'face'} in the range {text}")
    return found


def all_faces(targets: Sequence[Target]) -> dict[int, FaceRow]:
    """Return the faces of all targets, each once, by face."""
    found = {row.face: row for target in targets for row in target.faces}
    return dict(sorted(found.items()))


def with_tracks(library: Library, targets: Sequence[Target]) -> dict[int, FaceRow]:
    """Return the faces of all targets, with those of the tracks of the faces that were meant one by one, by face.

    A track is one person, followed through a video: who says something of one of its faces means the person.
    """
    filmed = [row.face for target in targets if target.one_by_one for row in target.faces if row.track is not None]
    beside = {row.face: row for row in library.faces.beside_on_tracks(filmed)}
    return dict(sorted({**beside, **all_faces(targets)}.items()))


def pointed_at(targets: Sequence[Target]) -> set[int]:
    """Return the faces that were meant one by one."""
    return {row.face for target in targets if target.one_by_one for row in target.faces}

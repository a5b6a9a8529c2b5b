"""Contact sheets, tables and embeddings of a whole library."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from photocluster.contact_sheet import SheetSummary, write_contact_sheet
from photocluster.models import unit
from photocluster.pipeline.copies import moments_of
from photocluster.pipeline.showing import load_picture
from photocluster.pipeline.suggesting import suggestions
from photocluster.pipeline.targets import cluster_faces, person_id
from photocluster.records import FaceRow, FloatArray
from photocluster.sheet_plan import NamedPlace, SheetQuestion
from photocluster.store import Library
from photocluster.suggestions import Kind
from photocluster.tables import write_npz, write_table


@dataclass(frozen=True, slots=True)
class TableSummary:
    """What was written: the file and its number of rows."""

    path: Path
    faces: int


QUESTIONS = 100
"""Suggestions on a sheet: some five minutes' work."""

LOOKED_AT = 6
"""Faces that stand for each side of a suggestion: a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetOptions:
    """What a contact sheet shows: see `photocluster export html --help`; no persons and no clusters stand for all."""

    persons: tuple[str, ...] = ()
    clusters: tuple[int, ...] = ()
    for_print: bool = False
    with_photos: bool = False


def export_html(
    library: Library,
    out: Path,
    *,
    default_library: bool,
    options: SheetOptions | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SheetSummary:
    """Write the contact sheet of the library into the folder `out`.

    The distance shown with a face is that to the middle of its person or cluster: what lies far out is worth a look.
    The questions are those of `photocluster suggest`, and from now on answers by number are to them.

    Parameters
    ----------
    default_library
        Whether the library is the one that commands find by themselves; else the commands on the pages name it.
    options
        What to show.
    workers, progress
        As in `write_contact_sheet`.

    Raises
    ------
    UsageError
        `out` holds something else.
    UnknownName
        No such person or cluster.
    """
    options = options or SheetOptions()
    rows = library.faces.rows()
    moments = _moments(library, rows)
    rows = with_distances(rows, library.embeddings(), moments)
    questions: list[SheetQuestion] = []
    if options.persons or options.clusters:
        wanted = {row.face for number in options.clusters for row in cluster_faces(library, number)}
        ids = [person_id(library, name) for name in options.persons]
        wanted |= {row.face for person in ids for row in library.faces.rows(person=person)}
        rows = [row for row in rows if row.face in wanted]
    else:
        hidden = {info.name for info in library.names.persons() if info.hidden}
        rows = [row for row in rows if row.person not in hidden]
        questions = _questions(library, {row.face: row for row in rows})
    return write_contact_sheet(
        out,
        rows,
        load_photo=load_picture,
        library_name=library.folder.name,
        made_at=datetime.now(UTC).astimezone(),
        questions=questions,
        places=_places(library),
        moments=moments,
        command="photocluster" + ("" if default_library else f" --library {shlex.quote(str(library.folder))}"),
        for_print=options.for_print,
        with_photos=options.with_photos,
        whole=not (options.persons or options.clusters),
        workers=workers,
        progress=progress,
    )


def _moments(library: Library, rows: Sequence[FaceRow]) -> dict[int, int]:
    """Return face -> number of its moment, where others are of the same."""
    faces = np.array([row.face for row in rows], dtype=np.int64)
    numbers = moments_of(library, faces)
    return dict(zip(faces[numbers >= 0].tolist(), numbers[numbers >= 0].tolist(), strict=True))


def _places(library: Library) -> dict[str, list[NamedPlace]]:
    """Return photo's hash -> the names that wait for a face there."""
    places: defaultdict[str, list[NamedPlace]] = defaultdict(list)
    for kept in library.regions.kept():
        if kept.box is not None:
            places[kept.photo].append(NamedPlace(kept.name, kept.box))
    return places


def _questions(library: Library, rows: Mapping[int, FaceRow]) -> list[SheetQuestion]:
    """Return the suggestions with the faces to look at, those that cannot be shown left out."""
    found = []
    for each in suggestions(library, limit=QUESTIONS):
        faces = [rows[face] for face in each.faces[:LOOKED_AT] if face in rows]
        others = [rows[face] for face in each.others[:LOOKED_AT] if face in rows]
        if faces:
            needs_name = each.kind is Kind.NAME
            found.append(
                SheetQuestion(each.number, each.words, faces, others, each.person, needs_name, len(each.faces))
            )
    return found


def with_distances(rows: list[FaceRow], embeddings: FloatArray, moments: Mapping[int, int]) -> list[FaceRow]:
    """Return the rows with the distance of each face to the mean of its group: the person, else the cluster.

    Each moment, faces of equal numbers in `moments`, counts once in the mean.
    """
    groups: defaultdict[str | int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        group = row.person if row.person is not None else row.cluster
        if group is not None:
            groups[group].append(i)
    result = list(rows)
    for members in groups.values():
        faces = [rows[i].face for i in members]
        together = Counter(moments[face] for face in faces if face in moments)
        shares = [1 / together[moments[face]] if face in moments else 1.0 for face in faces]
        distances = from_middle(embeddings[faces], np.array(shares, dtype=np.float32))
        for i, distance in zip(members, distances.tolist(), strict=True):
            result[i] = replace(rows[i], distance=distance)
    return result


def from_middle(vectors: FloatArray, shares: FloatArray | None = None) -> FloatArray:
    """Return the distances (n,) of unit vectors (n, d) to their mean, made a unit vector; `shares` (n,) weigh it."""
    if not len(vectors):
        return np.empty(0, dtype=np.float32)
    mean = vectors.mean(axis=0) if shares is None else np.average(vectors, axis=0, weights=shares)
    distances: FloatArray = np.linalg.norm(vectors - unit(mean[np.newaxis].astype(np.float32)), axis=1)
    return distances


def export_table(library: Library, out: Path) -> TableSummary:
    """Write one row per face as CSV, JSON, JSON lines or Parquet, by the suffix of `out`.

    Raises
    ------
    UsageError
        The suffix is of none of these, or the folder of `out` is missing.
    """
    rows = library.faces.rows()
    write_table(rows, out)
    return TableSummary(out, len(rows))


def export_npz(library: Library, out: Path) -> TableSummary:
    """Write the embeddings and the table's columns as arrays into one NPZ file.

    Raises
    ------
    UsageError
        `out` does not end in .npz, or its folder is missing.
    """
    rows = library.faces.rows()
    write_npz(rows, library.embeddings()[[row.face for row in rows]], out)
    return TableSummary(out, len(rows))

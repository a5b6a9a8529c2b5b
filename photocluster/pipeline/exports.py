"""Contact sheets, tables and embeddings of a whole library."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from photocluster import photos
from photocluster.contact_sheet import SheetSummary, write_contact_sheet
from photocluster.models import unit
from photocluster.records import DecodedPhoto, FaceRow, FloatArray
from photocluster.store import Library
from photocluster.tables import write_npz, write_table


@dataclass(frozen=True, slots=True)
class TableSummary:
    """What was written: the file and its number of rows."""

    path: Path
    faces: int


def export_html(
    library: Library,
    out: Path,
    *,
    default_library: bool,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SheetSummary:
    """Write the contact sheet of the library into the folder `out`.

    The distance shown with a face is that to the middle of its person or cluster: what lies far out is worth a look.

    Parameters
    ----------
    default_library
        Whether the library is the one that commands find by themselves; else the commands on the pages name it.
    workers, progress
        As in `write_contact_sheet`.

    Raises
    ------
    UsageError
        `out` holds something else.
    """
    option = "" if default_library else f" --library {shlex.quote(str(library.folder))}"
    return write_contact_sheet(
        out,
        with_distances(library.faces.rows(), library.embeddings()),
        load_photo=_load_photo,
        library_name=library.folder.name,
        made_at=datetime.now(UTC).astimezone(),
        label_command=f"photocluster{option} label",
        workers=workers,
        progress=progress,
    )


def _load_photo(photo_hash: str, path: str, least_long_side: int) -> DecodedPhoto:
    del photo_hash
    return photos.decode(photos.read(Path(path)), longest_side=least_long_side)


def with_distances(rows: list[FaceRow], embeddings: FloatArray) -> list[FaceRow]:
    """Return the rows with the distance of each face to the mean of its group: the person, else the cluster."""
    groups: defaultdict[str | int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        group = row.person if row.person is not None else row.cluster
        if group is not None:
            groups[group].append(i)
    result = list(rows)
    for members in groups.values():
        vectors = embeddings[[rows[i].face for i in members]]
        middle = unit(vectors.mean(axis=0, keepdims=True))[0]
        for i, distance in zip(members, np.linalg.norm(vectors - middle, axis=1), strict=True):
            result[i] = replace(rows[i], distance=float(distance))
    return result


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

"""Tables of faces: what `photocluster export table` writes, or a few columns that somebody else made.

A row names a face if it has a ``person``, and a photo by ``photo`` (the SHA-256 of its content) or ``path`` (relative
to the table's folder). ``x0, y0, x1, y1`` are pixels of the upright photo, of ``width`` and ``height`` if those are
there, else of its own; without them the name is of the photo as a whole. A row whose ``source`` is ``propagated`` holds
a guess, and is passed over. A CSV is in UTF-8, with commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from photocluster.errors import MissingDependency, UsageError
from photocluster.foreign.tags import NameTag, Problem, Space, TaggedPhoto
from photocluster.records import Box, Source
from photocluster.tables import unescape

CORNERS = ("x0", "y0", "x1", "y1")


def read_table(path: Path) -> Iterator[TaggedPhoto | Problem]:
    """Yield a photo for each row that names somebody.

    Raises
    ------
    UsageError
        The file cannot be read, or is no table with the columns ``person`` and ``photo`` or ``path``.
    MissingDependency
        Parquet without pyarrow.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: a table must end in one of {', '.join(READERS)}")
    try:
        rows = reader(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise UsageError(f"{path} is damaged, or no {path.suffix} file: {error}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: each entry must be an object with the columns of a row")
    if rows and not any("person" in row and ("photo" in row or "path" in row) for row in rows):
        raise UsageError(
            f'{path}: there are no columns "person" and "photo" (a hash) or "path"; as in: photocluster export table'
        )
    for number, row in enumerate(rows, 1):
        if row.get("person") and row.get("source") != Source.PROPAGATED:
            yield _photo(path, number, row)


def _photo(table: Path, number: int, row: dict[str, Any]) -> TaggedPhoto | Problem:
    cells = [row.get(column) or "" for column in ("person", "photo", "path")]
    if not all(isinstance(cell, str) for cell in cells):
        return Problem(table, f"row {number}: person, photo and path must be text")
    name, digest, file = map(unescape, cells)
    if not (digest or file):
        return Problem(table, f"row {number}: neither photo nor path is given")
    try:
        box, space = _box(row)
    except (TypeError, ValueError) as error:
        return Problem(table, f"row {number}: {error}")
    return TaggedPhoto(table.parent / file if file else None, (NameTag(name, box, space),), table, digest or None)


def _box(row: dict[str, Any]) -> tuple[Box | None, Space]:
    corners = [row.get(column) for column in CORNERS]
    if all(value is None or value == "" for value in corners):
        return None, Space.UPRIGHT
    x0, y0, x1, y1 = (float(value if value is not None else "nan") for value in corners)
    if not (x0 < x1 and y0 < y1 and all(map(math.isfinite, (x0, y0, x1, y1)))):
        raise ValueError(f"the box {x0:g}, {y0:g}, {x1:g}, {y1:g} has no area")
    width, height = (float(row.get(side) or 0) for side in ("width", "height"))
    if width > 0 and height > 0:
        return Box(x0 / width, y0 / height, x1 / width, y1 / height), Space.UPRIGHT
    return Box(x0, y0, x1, y1), Space.PIXELS


def _read_csv(path: Path) -> list[Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not in UTF-8; save it anew as CSV UTF-8") from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)  # spreadsheets of half the world write semicolons
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    return list(reader)


def _read_json(path: Path) -> list[Any]:
    content = json.loads(path.read_bytes())
    if not isinstance(content, list):
        raise ValueError("it must be an array of objects")  # noqa: TRY004  caught with json's own errors
    return content


def _read_jsonl(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]


def _read_parquet(path: Path) -> list[Any]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency(
            f"Parquet needs pyarrow, which cannot be imported ({error}). Install it (pip install pyarrow)"
        ) from error
    rows: list[Any] = parquet.read_table(path).to_pylist()
    return rows


READERS: dict[str, Callable[[Path], list[Any]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
"""The known suffixes."""

r"""Tables of faces: one row per face as CSV, JSON, JSON Lines or Parquet, and arrays with the embeddings as NPZ.

`COLUMNS` is the one definition of what a table holds; all formats have its names and its order.

========== ======================== ============================ =================================================
kind       CSV                      JSON, JSON Lines             Parquet; NPZ
========== ======================== ============================ =================================================
text       as it is                 string                       string; fixed-width Unicode
time       ISO 8601 without zone    string                       timestamp[s] without zone; fixed-width Unicode
int        digits                   number                       int64
real       rounded (see `Column`)   number, rounded likewise     float64, not rounded
flag       true or false            true or false                bool
not known  empty                    null                         null; in NPZ "" for text, -1 for int, NaN for real
========== ======================== ============================ =================================================

CSV is UTF-8 without a byte order mark, comma, CRLF (RFC 4180).

Text is written as it is, also where it begins with ``=``, ``+``, ``-`` or ``@``: other programs read these tables back,
and an apostrophe put before a person's name would rename the person. A spreadsheet may take such a name for a formula;
import the file with its columns as text where names come from strangers.

Paths that are not UTF-8 cannot stand in these formats as they are. In all of them `escape` writes an undecodable byte
as ``\xNN``, and a backslash that would read as such an escape as ``\x5c``; `unescape` gives back exactly the string
that was written.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from photocluster.errors import MissingDependency, PhotoclusterError, UsageError
from photocluster.records import EMBEDDING_DIM, FaceRow, FloatArray

Value = str | int | float | bool | None
Kind = Literal["text", "time", "int", "real", "flag"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of every table.

    Attributes
    ----------
    name
        The header.
    kind
        See the module's table.
    value
        Takes the value from a row, unrounded; None where it is not known.
    digits
        Decimals of a real in CSV and JSON: 2 for pixels and degrees, 4 for what lies between 0 and 2, which is below
        what a change of the decoder's version moves.
    """

    name: str
    kind: Kind
    value: Callable[[FaceRow], Value]
    digits: int = 4


def _landmark(point: int, axis: int) -> Callable[[FaceRow], Value]:
    return lambda row: float(row.detection.landmarks[point, axis])


LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")

COLUMNS: tuple[Column, ...] = (
    Column("path", "text", lambda row: row.path),
    Column("photo", "text", lambda row: row.photo),
    Column("face", "int", lambda row: row.face),
    Column("x0", "real", lambda row: row.detection.box.x0, 2),
    Column("y0", "real", lambda row: row.detection.box.y0, 2),
    Column("x1", "real", lambda row: row.detection.box.x1, 2),
    Column("y1", "real", lambda row: row.detection.box.y1, 2),
    Column("detector_score", "real", lambda row: row.detection.score),
    Column("quality", "real", lambda row: row.quality.overall),
    Column("cluster", "int", lambda row: row.cluster),
    Column("person", "text", lambda row: row.person),
    Column("source", "text", lambda row: None if row.source is None else row.source.value),
    Column("distance", "real", lambda row: row.distance),
    Column("probability", "real", lambda row: row.probability),
    Column("size", "real", lambda row: row.quality.size, 2),
    Column("sharpness", "real", lambda row: row.quality.sharpness),
    Column("yaw", "real", lambda row: row.quality.yaw, 2),
    Column("pitch", "real", lambda row: row.quality.pitch, 2),
    Column("roll", "real", lambda row: row.quality.roll, 2),
    Column("norm", "real", lambda row: row.quality.norm),
    Column("captured_at", "time", lambda row: row.facts.captured_at),
    Column("camera", "text", lambda row: row.facts.camera),
    Column("width", "int", lambda row: row.facts.width),
    Column("height", "int", lambda row: row.facts.height),
    Column("orientation", "int", lambda row: row.facts.orientation),
    Column("format", "text", lambda row: row.facts.format),
    Column("missing", "flag", lambda row: row.missing),
    Column("duration", "real", lambda row: row.facts.duration, 3),
    Column("time", "real", lambda row: row.time, 3),
    Column("track", "int", lambda row: row.track),
    *(
        Column(f"{name}_{axis}", "real", _landmark(point, number), 2)
        for point, name in enumerate(LANDMARKS)
        for number, axis in enumerate("xy")
    ),
)

_LIKE_ESCAPE = re.compile(r"\\(?=x[0-9a-f]{2}|ud[89a-f][0-9a-f]{2})|[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\x(5c|[89a-f][0-9a-f])|\\u(d[89a-f][0-9a-f]{2})")


def escape(text: str) -> str:
    r"""Return `text` as valid Unicode.

    Bytes of a file name that are not UTF-8 (in Python: lone surrogates U+DC80 to U+DCFF, PEP 383) become ``\xNN``,
    other lone surrogates (possible in Windows' names) ``\uNNNN``; a backslash before what would read as one of these
    becomes ``\x5c``.
    """

    def written(match: re.Match[str]) -> str:
        code = ord(match[0])
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02x}"
        return "\\x5c" if match[0] == "\\" else f"\\u{code:04x}"

    return _LIKE_ESCAPE.sub(written, text)


def unescape(text: str) -> str:
    """Return what `escape` was given."""

    def read(match: re.Match[str]) -> str:
        if match[1] is None:
            return chr(int(match[2], 16))
        return "\\" if match[1] == "5c" else chr(0xDC00 + int(match[1], 16))

    return _ESCAPE.sub(read, text)


def write_table(rows: Sequence[FaceRow], out: Path) -> None:
    """Write one row per face, in the order of `rows`, in the format that the suffix of `out` names.

    The file appears whole or not at all; one that is there already is replaced.

    Parameters
    ----------
    rows
        The faces.
    out
        A file ending in .csv, .json (an array of objects), .jsonl (an object a line) or .parquet.

    Raises
    ------
    UsageError
        Another suffix, or no such folder.
    MissingDependency
        Parquet without pa.
    PhotoclusterError
        The file cannot be written.
    """
    writer = WRITERS.get(out.suffix.lower())
    if writer is None:
        raise UsageError(f"{out}: a table must end in one of {', '.join(WRITERS)}; give it such a name")
    with _replacing(out) as file:
        writer(rows, file)


def write_npz(rows: Sequence[FaceRow], embeddings: FloatArray, out: Path) -> None:
    """Write the embeddings, and every column of the table as an array of the same length, as a compressed NPZ.

    ``np.load(out)`` opens it without pickle. The keys are ``embeddings`` and the names of `COLUMNS`.

    Parameters
    ----------
    rows
        n faces.
    embeddings
        (n, 128) float32, row i that of ``rows[i]``.
    out
        A file ending in .npz.

    Raises
    ------
    UsageError
        Another suffix, or no such folder.
    PhotoclusterError
        The file cannot be written.
    ValueError
        The embeddings have another shape.
    """
    if embeddings.shape != (len(rows), EMBEDDING_DIM):
        raise ValueError(f"embeddings must be ({len(rows)}, {EMBEDDING_DIM}), not {embeddings.shape}")
    if out.suffix.lower() != ".npz":
        raise UsageError(f"{out}: arrays with embeddings are written as .npz; give it such a name")
    arrays: dict[str, Any] = {column.name: _array(column, rows) for column in COLUMNS}
    with _replacing(out) as file:
        np.savez_compressed(file, embeddings=np.asarray(embeddings, dtype=np.float32), **arrays)


def _value(column: Column, row: FaceRow) -> Value:
    """Return the value as all formats mean it: text escaped, a real that is not finite not known."""
    value = column.value(row)
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _text_value(column: Column, row: FaceRow) -> Value:
    """Return the value as the text formats write it: reals rounded."""
    value = _value(column, row)
    return round(value, column.digits) + 0.0 if isinstance(value, float) else value  # + 0.0: no "-0.0"


def _write_csv(rows: Sequence[FaceRow], file: BinaryIO) -> None:
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow([column.name for column in COLUMNS])
    for row in rows:
        values = [_text_value(column, row) for column in COLUMNS]
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values])
    text.detach()


def _json_lines(rows: Sequence[FaceRow]) -> Iterator[str]:
    for row in rows:
        record = {column.name: _text_value(column, row) for column in COLUMNS}
        yield json.dumps(record, ensure_ascii=False, allow_nan=False)


def _write_jsonl(rows: Sequence[FaceRow], file: BinaryIO) -> None:
    file.writelines(f"{line}\n".encode() for line in _json_lines(rows))


def _write_json(rows: Sequence[FaceRow], file: BinaryIO) -> None:
    file.write(b"[")
    file.writelines(f"{',' if number else ''}\n{line}".encode() for number, line in enumerate(_json_lines(rows)))
    file.write(b"\n]\n")


def _write_parquet(rows: Sequence[FaceRow], file: BinaryIO) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency(
            f"Parquet needs pyarrow, which cannot be imported ({error}). Install it (pip install pyarrow) or write .csv"
        ) from error
    types = {
        "text": pa.string(),
        "time": pa.timestamp("s"),
        "int": pa.int64(),
        "real": pa.float64(),
        "flag": pa.bool_(),
    }
    arrays = []
    for column in COLUMNS:
        values: list[Any] = [_value(column, row) for row in rows]
        if column.kind == "time":
            values = [None if value is None else _time(value) for value in values]
        arrays.append(pa.array(values, type=types[column.kind]))
    parquet.write_table(pa.table(arrays, names=[column.name for column in COLUMNS]), file, compression="zstd")


def _time(text: str) -> datetime | None:
    """Return the local time, to the second; None for what is no ISO 8601 (the text formats still hold it)."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None, microsecond=0)
    except ValueError:
        return None


def _array(column: Column, rows: Sequence[FaceRow]) -> NDArray[Any]:
    """Return a column as an array (n,) without objects; see the module's table for what is not known."""
    values = [_value(column, row) for row in rows]
    match column.kind:
        case "int":
            return np.array([-1 if value is None else value for value in values], dtype=np.int64)
        case "real":
            return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        case "flag":
            return np.array(values, dtype=np.bool_)
        case "text" | "time":
            return np.array(["" if value is None else value for value in values], dtype=np.str_)


@contextmanager
def _replacing(out: Path) -> Iterator[BinaryIO]:
    """Open a file beside `out` that takes its name when all went well, and goes when not."""
    if not out.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}; create it first, or write elsewhere")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file in it")
    part = out.with_name(f".{os.getpid()}.part{out.suffix}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except OSError as error:
        raise PhotoclusterError(
            f"{out}: cannot be written ({error.strerror or error}). Free space, or choose another "
            "folder; nothing was replaced"
        ) from error
    finally:
        part.unlink(missing_ok=True)


WRITERS: dict[str, Callable[[Sequence[FaceRow], BinaryIO], None]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
"""The known suffixes."""

"""The matrix of embeddings: a NumPy file that grows in place (its format stands in `schema`)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from photocluster.errors import StoreCorrupt
from photocluster.records import EMBEDDING_DIM, FloatArray

HEADER_BYTES = 128
ROW_BYTES = EMBEDDING_DIM * 4
_MAGIC = b"\x93NUMPY\x01\x00"


def header(rows: int) -> bytes:
    """Return the 128 bytes that make the file a NumPy array of shape (rows, 128)."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {EMBEDDING_DIM}), }}"
    room = HEADER_BYTES - len(_MAGIC) - 2
    return _MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1).encode("ascii") + b"\n"


class Matrix:
    """Row-wise access to ``embeddings.npy``; `rows` always comes from the committed database."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Write an empty matrix, unless there is a file already; it appears whole or not at all."""
        if self.path.exists():
            return
        part = self.path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(header(0))
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o600)
        part.replace(self.path)

    def append(self, vectors: FloatArray, *, rows: int) -> None:
        """Write `vectors` (k, 128) behind the first `rows` rows, over any leftover tail, and bring them to the disk.

        At each moment the file holds at least the rows that its header names.
        """
        block = np.ascontiguousarray(vectors, dtype="<f4").reshape(-1, EMBEDDING_DIM)
        total = rows + len(block)
        with self.path.open("r+b") as file:
            file.seek(HEADER_BYTES + rows * ROW_BYTES)
            file.write(block.tobytes())
            file.seek(0)
            file.write(header(total))
            file.truncate(HEADER_BYTES + total * ROW_BYTES)
            file.flush()
            os.fsync(file.fileno())

    def clear(self, row_numbers: list[int]) -> None:
        """Overwrite rows with zeros."""
        with self.path.open("r+b") as file:
            for row in row_numbers:
                file.seek(HEADER_BYTES + row * ROW_BYTES)
                file.write(bytes(ROW_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def stored_rows(self) -> int:
        """Return how many whole rows the file holds, by its size.

        Raises
        ------
        StoreCorrupt
            The file is missing, or does not begin with our header.
        """
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as file:
                start = file.read(HEADER_BYTES)
        except OSError as error:
            raise StoreCorrupt(
                f"{self.path}: cannot be read ({error.strerror}). Restore it from a copy of the library folder"
            ) from error
        if len(start) != HEADER_BYTES or not start.startswith(_MAGIC) or b"'<f4'" not in start:
            raise StoreCorrupt(
                f"{self.path}: is not photocluster's matrix. Restore it from a copy of the library folder"
            )
        return (size - HEADER_BYTES) // ROW_BYTES

    def read(self, rows: int) -> FloatArray:
        """Return the first `rows` rows, memory-mapped and read-only: float32 (rows, 128).

        Raises
        ------
        StoreCorrupt
            The file holds fewer rows than the database committed.
        """
        stored = self.stored_rows()
        if stored < rows:
            raise StoreCorrupt(
                f"{self.path}: holds {stored} embeddings, the database counts {rows}. Restore both files from "
                "one copy of the library folder, or scan into a new library"
            )
        if rows == 0:
            return np.empty((0, EMBEDDING_DIM), dtype=np.float32)
        return np.memmap(self.path, dtype="<f4", mode="r", offset=HEADER_BYTES, shape=(rows, EMBEDDING_DIM))

"""Which files of a walk the library knows already, without opening any; also those whose names are spelled anew."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from photocluster.patience import Patience
from photocluster.store import KnownFile, Library
from photocluster.store.files import spelling
from photocluster.walking import FoundFile, Run


class KnownFiles:
    """Says of the files of a walk what the library knows of them; asked in the order of the walk.

    A disk that is reached in another way (from a Mac, over SMB) may spell the same names in another Unicode form, or in
    another case where that is no difference. Such a file is the one that the library knows, if size and time are the
    same too and the old spelling is gone or leads to the very same file. `seen` holds the ids of the files that came
    by, `respelled` what is to be given to `Files.rename`.
    """

    def __init__(self, library: Library, roots: Sequence[Path], patience: Patience) -> None:
        self.seen: set[int] = set()
        self.respelled: list[tuple[int, bytes]] = []
        self._files = library.files
        self._patience = patience
        self._chunks = library.files.plain(roots)
        self._rows: list[tuple[bytes, int, int | None]] = []
        self._ids: list[int] = []
        self._passed: list[int] = []
        self._spellings: dict[int, int] | None = None

    def changed(self, run: Run) -> list[tuple[FoundFile, KnownFile | None]]:
        """Return the files of a run that are new, changed, failed or were missing, and what is known of them.

        All others are as the library knows them.
        """
        rows, ids = self._until(run.files[-1][0])
        if rows == run.files:
            self.seen.update(ids)
            return []
        same = set(run.files).intersection(rows)
        self.seen.update(number for row, number in zip(rows, ids, strict=True) if row in same)
        differ = {row[0]: number for row, number in zip(rows, ids, strict=True) if row not in same}
        odd = [FoundFile(*file, run.device) for file in run.files if file not in same]
        known = self._files.several([differ[file.raw] for file in odd if file.raw in differ])
        found = []
        for file in odd:
            number = differ.pop(file.raw, None)
            entry = known[number][1] if number in known else self._respelled(file)
            if entry is not None:
                self.seen.add(entry.id)
            found.append((file, entry))
        self._passed += differ.values()
        return found

    def unseen(self) -> list[tuple[int, Path]]:
        """Return, when the walk is over, (id, path) of the files that did not come by and are not known as missing."""
        self._passed += self._ids
        self._passed += [row[3] for rows in self._chunks for row in rows]
        self._rows, self._ids = [], []
        passed = self._files.several([number for number in self._passed if number not in self.seen])
        return [(known.id, Path(os.fsdecode(path))) for path, known in passed.values() if not known.missing]

    def _until(self, last: bytes) -> tuple[list[tuple[bytes, int, int | None]], list[int]]:
        """Take the rows up to a path."""
        while not self._rows or self._rows[-1][0] < last:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rows += [row[:3] for row in chunk]
            self._ids += [row[3] for row in chunk]
        end = bisect_right(self._rows, last, key=itemgetter(0))
        rows, ids = self._rows[:end], self._ids[:end]
        del self._rows[:end], self._ids[:end]
        return rows, ids

    def _respelled(self, file: FoundFile) -> KnownFile | None:
        if self._spellings is None:
            self._spellings = self._files.by_spelling()
        number = self._spellings.get(hash(spelling(file.raw)))
        found = None if number is None or number in self.seen else self._files.several([number]).get(number)
        if found is None:
            return None
        path, known = Path(os.fsdecode(found[0])), found[1]
        same = (known.size, known.mtime_ns) == (file.size, file.mtime_ns)
        try:
            if not same or not self._patience.call(_is_another_spelling, path, file.path):
                return None
        except (OSError, TimeoutError):
            return None
        self.respelled.append((known.id, file.raw))
        return known


def _is_another_spelling(old: Path, new: Path) -> bool:
    """Whether there is one file behind both paths: the old one is gone, or the file system takes one for the other."""
    try:
        was = old.lstat()
    except FileNotFoundError:
        return True
    now = new.lstat()
    return (was.st_dev, was.st_ino, was.st_nlink) == (now.st_dev, now.st_ino, 1)


def lies_below(path: Path, folders: Sequence[Path]) -> bool:
    """Whether a path is one of the folders, or below one."""
    return any(path == folder or folder in path.parents for folder in folders)


def exists(path: Path, patience: Patience) -> bool:
    """Whether there is something at a path, a link to nothing included; also where no answer comes."""
    try:
        return patience.call(os.path.lexists, path)
    except TimeoutError:
        return True

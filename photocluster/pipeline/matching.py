"""Which files of a walk the library knows already, without opening any; also those whose names are spelled anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from photocluster.patience import Patience
from photocluster.store import KnownFile, Library
from photocluster.store.files import spelling
from photocluster.walking import FoundFile


class KnownFiles:
    """Says of each file of a walk what the library knows of it; asked in the order of the walk.

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
        self._rows = library.files.known(roots)
        self._row = next(self._rows, None)
        self._passed: list[tuple[bytes, KnownFile]] = []
        self._spellings: dict[int, int] | None = None

    def of(self, file: FoundFile) -> KnownFile | None:
        """Return what is known of a file, or None."""
        row = self._row
        while row is not None and row[0] < file.raw:
            self._passed.append(row)
            row = next(self._rows, None)
        if row is not None and row[0] == file.raw:
            self._row = next(self._rows, None)
            known: KnownFile | None = row[1]
        else:
            self._row = row
            known = self._respelled(file)
        if known is not None:
            self.seen.add(known.id)
        return known

    def unseen(self) -> list[tuple[int, Path]]:
        """Return, when the walk is over, (id, path) of the files that did not come by and are not known as missing."""
        if self._row is not None:
            self._passed += [self._row, *self._rows]
            self._row = None
        return [
            (known.id, Path(os.fsdecode(path)))
            for path, known in self._passed
            if not known.missing and known.id not in self.seen
        ]

    def _respelled(self, file: FoundFile) -> KnownFile | None:
        if self._spellings is None:
            self._spellings = self._files.by_spelling()
        number = self._spellings.get(hash(spelling(file.raw)))
        found = None if number is None or number in self.seen else self._files.at(number)
        if found is None:
            return None
        path, known = found
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

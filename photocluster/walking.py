"""Walking: the files below folders, each once, in the order of their paths."""

from __future__ import annotations

import errno
import fnmatch
import heapq
import os
import re
import stat
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from photocluster.patience import Patience

HIDDEN = (
    ".*",  # Unix; also the "._" resource files, the ".Trash" and the ".thumbnails" of file managers
    "$RECYCLE.BIN",  # Windows
    "System Volume Information",
    "@*",  # Synology "@eaDir" and QNAP "@Recycle", "@Recently-Snapshot": thumbnails, bins, snapshots
    "#recycle",  # Synology
    "#snapshot",
    "*.lrdata",  # Lightroom: previews, which are reduced copies of the photos
    "*.photoslibrary/resources",  # Apple Photos: reduced copies; the photos themselves are in "originals"
    "*.photoslibrary/scopes",
    "*.photolibrary/Previews",  # iPhoto, Aperture: the same
    "*.photolibrary/Thumbnails",
    "iPod Photo Cache",
    "CaptureOne/Cache",
    "*.photocluster-backup*",  # photos as they were before names were written into them
)
"""Names of files and folders that people do not see as theirs: bins, snapshots, and reduced copies of photos that would
appear as second photos. A pattern with a slash is matched with the parent folder's name."""

NO_MEDIA = ".nomedia"
"""Android's mark for a folder whose pictures, and those of all folders below, belong to no gallery."""

STRIKES = 3
"""Folders of one disk that may hang one after the other before the walk leaves out the rest of it: each costs a
time-out, and of a share that is down every folder would."""


class Beside(NamedTuple):
    """What may show a file's moment: a photo in the same folder, see `pipeline.moments`.

    `path` is that file (None: there is none any more), `photo` the hash of what it holds, `captured_at` when that was
    taken. `before` is the photo that showed the moment at the last scan, by hash.
    """

    path: Path | None
    photo: str | None
    captured_at: str | None
    before: str | None


class FoundFile(NamedTuple):
    """A regular file: the bytes of its absolute path (links are not resolved), size in bytes, modification time in ns.

    `device` is the number of the disk that its folder is on, `beside` is given to what a scan held back.
    """

    raw: bytes
    size: int
    mtime_ns: int
    device: int = 0
    beside: Beside | None = None

    @property
    def path(self) -> Path:
        """The path."""
        return Path(os.fsdecode(self.raw))


class Run(NamedTuple):
    """Files of one folder that follow one another, each (path, size, mtime_ns) as in `FoundFile`, and their `device`.

    Plain tuples, as there are many, and a scan compares them with what it knows without looking at each.
    """

    files: list[tuple[bytes, int, int]]
    device: int


@dataclass(frozen=True, slots=True)
class WalkProblem:
    """A root that does not exist, or a file or folder that cannot be looked at, and why; `hangs`: it gave no answer."""

    path: Path
    reason: str
    hangs: bool = False


def walk(
    roots: Sequence[Path], *, exclude: Sequence[str] = (), hidden: bool = False, patience: Patience | None = None
) -> Iterator[FoundFile | WalkProblem]:
    """Find all regular files in the given folders and below, in the order of the bytes of their paths.

    The order of `roots` changes nothing. No file is opened: which of them is a photo, `sniff` or `is_photo` tells.
    Links to files and folders are followed; a folder is entered once, under the first path that leads to it, so that
    loops end. Two links to one file are two paths of one photo. A link to nothing is passed over.

    Parameters
    ----------
    roots
        Folders or files, which may lie within each other. What is named here is taken even if it is hidden, excluded
        or has a `.nomedia`; these rules hold for what is found below.
    exclude
        Patterns as of `fnmatch`, with regard to case. One that matches the name of a file or folder, or its path
        relative to the root (with "/", which "*" also spans), leaves it out with all below.
    hidden
        Take also what `HIDDEN` matches.
    patience
        How long to wait for a folder; None is for ever.
    """
    for found in walk_runs(roots, exclude=exclude, hidden=hidden, patience=patience):
        if isinstance(found, Run):
            for file in found.files:
                yield FoundFile(*file, found.device)
        else:
            yield found


def walk_runs(
    roots: Sequence[Path], *, exclude: Sequence[str] = (), hidden: bool = False, patience: Patience | None = None
) -> Iterator[Run | WalkProblem]:
    """Find what `walk` finds, in the same order, many files at a time."""
    named = {os.path.abspath(root) for root in roots}  # noqa: PTH100 - resolve() would follow links
    rules = _Rules(named, exclude, hidden=hidden)
    seen: set[tuple[int, int]] = set()
    walks = [_Walk(root, rules, seen, patience).found() for root in sorted(named, key=os.fsencode)]
    for _, found in walks[0] if len(walks) == 1 else _merge(walks):
        yield found


_Found = tuple[bytes, Run | WalkProblem]
"""What is found, behind its path, or the first of its paths."""


def _merge(walks: Sequence[Iterator[_Found]]) -> Iterator[_Found]:
    """Merge walks in the order of the paths; a run is cut where a path of another walk comes in between."""
    firsts = ((next(walk, None), number) for number, walk in enumerate(walks))
    heap = [(first[0], number, first[1]) for first, number in firsts if first]
    heapq.heapify(heap)
    while heap:
        key, number, found = heapq.heappop(heap)
        rest: _Found | None = None
        if heap and isinstance(found, Run) and found.files[-1][0] > heap[0][0]:
            cut = bisect_left(found.files, (heap[0][0],))
            rest = (found.files[cut][0], found._replace(files=found.files[cut:]))
            found = found._replace(files=found.files[:cut])
        yield key, found
        rest = rest or next(walks[number], None)
        if rest:
            heapq.heappush(heap, (rest[0], number, rest[1]))


ENTRIES = 100
"""Entries of a folder that are looked at between two signs of life."""

RUN = 512
"""Files of a run at the most, so that a scan can begin to work on the first ones, and show that it goes on."""


@dataclass(slots=True)
class _Folder:
    """A folder that was looked at: its path ending in a separator, its disk, and what of it is left to be walked.

    That is runs, with their first path before them, and, with theirs, folders (None; a separator behind the path, as in
    the paths below) or why an entry cannot be looked at.
    """

    path: str
    device: int
    inode: int
    entries: Iterator[tuple[bytes, Run | str | None]]


class _Walk:
    """The walk below one root; other named roots within it are left to their own walk."""

    def __init__(self, root: str, rules: _Rules, seen: set[tuple[int, int]], patience: Patience | None) -> None:
        self.root = root
        self.rules = rules
        self.seen = seen
        self.patience = patience
        self.strikes = 0

    def found(self) -> Iterator[_Found]:
        """Yield what is found."""
        above = os.path.join(os.path.dirname(self.root), "")  # noqa: PTH118, PTH120
        top = _Folder(above, 0, 0, iter([(os.fsencode(self.root), None)]))
        stack = [top]
        while stack:
            for key, found in stack[-1].entries:
                if isinstance(found, Run):
                    yield key, found
                    continue
                path = os.fsdecode(key[:-1] if key.endswith(_SEPARATOR) and len(key) > 1 else key)
                looked = self._look(path) if found is None else found
                if isinstance(looked, _Folder):
                    stack.append(looked)
                    break
                if looked == _HANGS:
                    yield key, self._hung(path, stack)
                    break
                if isinstance(looked, str):
                    yield key, WalkProblem(Path(path), looked)
                elif looked is not None:
                    yield key, looked
            else:
                stack.pop()

    def _look(self, path: str) -> _Folder | Run | str | None:
        try:
            if self.patience is None:
                looked = _look(path, self.root, self.rules, self.seen, lambda: None)
            else:
                looked = self.patience.call(_look, path, self.root, self.rules, self.seen, self.patience.alive)
        except TimeoutError as error:
            if error.errno is None:  # not the system's own ETIMEDOUT
                return _HANGS
            return f"cannot be read: {error.strerror}"
        except OSError as error:
            if path != self.root and error.errno in (errno.ENOENT, errno.ELOOP):  # vanished, or a link to nothing
                return None
            return f"cannot be read: {error.strerror or error}"
        self.strikes = 0
        if isinstance(looked, _Folder):
            self.seen.add((looked.device, looked.inode))
        return looked

    def _hung(self, path: str, stack: list[_Folder]) -> WalkProblem:
        """Leave out a folder that gave no answer, or the rest of its disk if the last ones did not either."""
        self.strikes += 1
        seconds = f"{self.patience.seconds:g} s" if self.patience else ""
        if self.strikes < STRIKES:
            return WalkProblem(Path(path), f"gave no answer within {seconds}; left out", hangs=True)
        first = next(i for i, folder in enumerate(stack) if folder.device == stack[-1].device)
        top = stack[first].path
        del stack[first:]
        self.strikes = 0
        return WalkProblem(Path(top), f"{STRIKES} folders in it gave no answer within {seconds}; left out", hangs=True)


_HANGS = "hangs"


def _look(
    path: str, root: str, rules: _Rules, seen: set[tuple[int, int]], alive: Callable[[], None]
) -> _Folder | Run | None:
    """Look at what is at a path; of a folder also at its entries, that nothing of it has to be asked again."""
    status = os.stat(path)  # noqa: PTH116 - here and below: a Path per entry would double the time
    if stat.S_ISREG(status.st_mode):
        return Run([(os.fsencode(path), status.st_size, status.st_mtime_ns)], status.st_dev)
    if not stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) in seen:
        return None
    with os.scandir(path) as listing:
        entries = list(listing)
    path = os.path.join(path, "")  # noqa: PTH118
    if path.rstrip(os.sep) != root.rstrip(os.sep) and any(entry.name == NO_MEDIA for entry in entries):
        entries = []
    taken = rules.taken(entries, path, root)
    files: list[tuple[bytes, int, int]] = []
    others: list[tuple[bytes, str | None]] = []
    for start in range(0, len(taken), ENTRIES):
        alive()
        _look_at(taken[start : start + ENTRIES], os.fsencode(path), files, others)
    return _Folder(path, status.st_dev, status.st_ino, _in_order(files, others, status.st_dev))


def _look_at(
    entries: Sequence[os.DirEntry[str]],
    prefix: bytes,
    files: list[tuple[bytes, int, int]],
    others: list[tuple[bytes, str | None]],
) -> None:
    """Add the entries of a folder to its files or to its others; not pipes and the like, nor links to nothing."""
    for entry in entries:
        key = prefix + entry.name.encode(_ENCODING, _ERRORS)
        try:
            plain = entry.is_file(follow_symlinks=False)
            if not plain and entry.is_dir():
                others.append((key + _SEPARATOR, None))
                continue
            status = entry.stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                others.append((key, f"cannot be read: {error.strerror or error}"))
            continue
        if plain or stat.S_ISREG(status.st_mode):
            files.append((key, status.st_size, status.st_mtime_ns))


def _in_order(
    files: list[tuple[bytes, int, int]], others: list[tuple[bytes, str | None]], device: int
) -> Iterator[tuple[bytes, Run | str | None]]:
    """Yield runs of files and what is between them, in the order of the paths."""
    files.sort()
    others.sort(key=itemgetter(0))
    start = 0
    for key, other in (*others, (None, None)):
        end = len(files) if key is None else bisect_left(files, (key,))
        for first in range(start, end, RUN):
            yield files[first][0], Run(files[first : min(first + RUN, end)], device)
        if key is not None:
            yield key, other
        start = end


_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_SEPARATOR = os.fsencode(os.sep)


E = TypeVar("E", "os.DirEntry[str]", "_Named")


class _Rules:
    """Which entries of a folder are walked."""

    def __init__(self, named: set[str], exclude: Sequence[str], *, hidden: bool) -> None:
        self.named = named
        patterns = [] if hidden else [pattern.rpartition("/") for pattern in HIDDEN]
        self.hidden = _matcher(name for parent, _, name in patterns if not parent)
        self.hidden_in = [(_matcher([parent]), _matcher([name])) for parent, _, name in patterns if parent]
        self.excluded = _matcher(pattern.rstrip("/") for pattern in exclude)

    def taken(self, entries: list[E], folder: str, root: str) -> list[E]:
        """Return the entries that are not hidden, excluded or named themselves; `folder` ends in a separator."""
        hidden, named = self.hidden.match, self.named
        entries = [entry for entry in entries if not hidden(entry.name)]
        if len(named) > 1:
            entries = [entry for entry in entries if entry.path not in named]
        parent = os.path.basename(folder.rstrip(os.sep))  # noqa: PTH119
        for in_parent, name in self.hidden_in:
            if in_parent.match(parent):
                entries = [entry for entry in entries if not name.match(entry.name)]
        if self.excluded.pattern != _NOTHING:
            match = self.excluded.match
            start = len(os.path.join(root, ""))  # noqa: PTH118
            below = folder[start:].replace(os.sep, "/")
            entries = [entry for entry in entries if not match(entry.name) and not match(below + entry.name)]
        return entries


class _Named(NamedTuple):
    """What `_Rules` ask of an entry of a folder."""

    name: str
    path: str


def is_left_out(path: Path, root: Path, *, exclude: Sequence[str] = (), hidden: bool = False) -> bool:
    """Whether a walk of `root`, with these options, would pass over what is at `path` below it."""
    rules = _Rules(set(), exclude, hidden=hidden)
    folder = str(root)
    for name in path.relative_to(root).parts:
        below = os.path.join(folder, name)  # noqa: PTH118
        entries = rules.taken([_Named(name, below)], os.path.join(folder, ""), str(root))  # noqa: PTH118
        if not entries or (folder != str(root) and os.path.exists(os.path.join(folder, NO_MEDIA))):  # noqa: PTH110,PTH118
            return True
        folder = below
    return False


_NOTHING = "(?!)"


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return one expression for several patterns of `fnmatch`."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or _NOTHING)

"""Walking: the files below folders, each once, in the order of their paths."""

from __future__ import annotations

import errno
import fnmatch
import heapq
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
)
"""Names of files and folders that people do not see as theirs: bins, snapshots, and reduced copies of photos that would
appear as second photos. A pattern with a slash is matched with the parent folder's name."""

NO_MEDIA = ".nomedia"
"""Android's mark for a folder whose pictures, and those of all folders below, belong to no gallery."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file: absolute path (as walked, links are not resolved), size in bytes, modification time in ns."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class WalkProblem:
    """A root that does not exist, or a file or folder that cannot be looked at, and why."""

    path: Path
    reason: str


def walk(
    roots: Sequence[Path], *, exclude: Sequence[str] = (), hidden: bool = False
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
    """
    named = {os.path.abspath(root) for root in roots}  # noqa: PTH100 - resolve() would follow links
    seen: set[tuple[int, int]] = set()
    walks = [_walk(root, named, tuple(exclude), hidden=hidden, seen=seen) for root in sorted(named, key=os.fsencode)]
    for _, found in heapq.merge(*walks, key=lambda pair: pair[0]):
        yield found


def _walk(
    root: str, named: set[str], exclude: tuple[str, ...], *, hidden: bool, seen: set[tuple[int, int]]
) -> Iterator[tuple[bytes, FoundFile | WalkProblem]]:
    """Yield what is in one root with its sort key; other named roots within it are left to their own walk."""
    waiting = [root]
    while waiting:
        path = waiting.pop()
        key = os.fsencode(path)
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path per entry would double the time
            if stat.S_ISREG(status.st_mode):
                yield key, FoundFile(Path(path), status.st_size, status.st_mtime_ns)
            if not stat.S_ISDIR(status.st_mode) or (identity := (status.st_dev, status.st_ino)) in seen:
                continue
            seen.add(identity)
            key += os.fsencode(os.sep)  # where its files would stand
            with os.scandir(path) as listing:
                entries = list(listing)
        except OSError as error:
            if path == root or error.errno not in (errno.ENOENT, errno.ELOOP):  # vanished, or a link to nothing
                yield key, WalkProblem(Path(path), f"cannot be read: {error.strerror or error}")
            continue
        if path != root and any(entry.name == NO_MEDIA for entry in entries):
            continue
        entries = [entry for entry in entries if entry.path not in named and (hidden or not _is_hidden(entry.path))]
        entries = [entry for entry in entries if not _is_excluded(entry.path, root, exclude)]
        waiting.extend(entry.path for entry in sorted(entries, key=_sort_key, reverse=True))


def _sort_key(entry: os.DirEntry[str]) -> bytes:
    """Return the name, for a folder with the separator that follows it in the paths of its files."""
    try:
        is_folder = entry.is_dir()
    except OSError:
        is_folder = False
    return os.fsencode(entry.name + os.sep if is_folder else entry.name)


def _is_hidden(path: str) -> bool:
    folder, name = os.path.split(path)
    with_parent = f"{os.path.basename(folder)}/{name}"  # noqa: PTH119 - see _walk
    return any(fnmatch.fnmatchcase(with_parent if "/" in pattern else name, pattern) for pattern in HIDDEN)


def _is_excluded(path: str, root: str, exclude: tuple[str, ...]) -> bool:
    if not exclude:
        return False
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    names = (relative, relative.rpartition("/")[2])
    return any(fnmatch.fnmatchcase(name, pattern.rstrip("/")) for pattern in exclude for name in names)

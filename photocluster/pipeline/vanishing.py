"""Which files have vanished, as against those that cannot be seen just now: on a disk that is not mounted, say."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from photocluster.patience import Patience
from photocluster.pipeline.matching import lies_below
from photocluster.store import Library


def away(library: Library, roots: Sequence[Path], seen: set[int]) -> dict[Path, str]:
    """Return the roots whose disk is not mounted now, and the folder where it was mounted.

    The folder on which a disk is mounted stays when the disk goes, and is empty then. A root is away when nothing that
    was known below it was seen, and the mount point that held it at the last scan is none now.
    """
    mounts = library.photos.mounts()
    found = {}
    for root in roots:
        was = mounts.get(str(root))
        if was is None or os.path.ismount(was) or not _is_there(root):
            continue
        known = [file_id for file_id, _ in library.photos.below(root)]
        if known and seen.isdisjoint(known):
            found[root] = was
    return found


def mount_points(roots: Sequence[Path]) -> dict[str, str]:
    """Return root -> the mount point that holds it, for the roots that are folders and there."""
    return {str(root): _mount_point(root) for root in roots if os.path.isdir(root)}  # noqa: PTH112  Path.is_dir raises


def _mount_point(root: Path) -> str:
    path = Path(os.path.realpath(root))
    while not os.path.ismount(path):
        path = path.parent
    return str(path)


def vanished(unseen: Sequence[tuple[int, Path]], roots: Sequence[Path], hung: Sequence[Path]) -> list[int]:
    """Return the ids of the files below `roots` that are gone, out of those, (id, path), that the walk did not see.

    Nothing is asked of what lies below `hung`: no answer would come.
    """
    dangling = cache(_is_dangling_link)
    here = [root for root in roots if _is_there(root)]
    return [
        file_id
        for file_id, path in unseen
        if not lies_below(path, hung)
        and any(
            lies_below(path, [root]) and _is_gone(path) and not any(map(dangling, _between(path, root)))
            for root in here
        )
    ]


def really_gone(library: Library, paths: Sequence[Path]) -> list[int]:
    """Return the ids of the known files at or below `paths` that are gone."""
    return [file_id for path in paths for file_id, file in library.photos.below(path) if _is_gone(file)]


def left_behind(library: Library, hashes: Sequence[str], patience: Patience) -> list[int]:
    """Return the ids of the files that are gone of photos that a scan found again elsewhere: they were moved.

    These may lie anywhere, as when a whole folder was moved and only its new place is scanned. Where no answer comes,
    the rest is left for another scan.
    """
    gone = []
    for file_id, path in library.photos.files_of(hashes):
        try:
            if patience.call(_is_gone, path):
                gone.append(file_id)
        except TimeoutError:
            break
    return gone


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  Path.exists raises where a folder may not be entered


def _is_gone(path: Path) -> bool:
    """Whether there is no such file any more. A folder that may not be entered, or a failing disk, does not say so."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def _between(path: Path, root: Path) -> list[Path]:
    """Return the folders from `path` up to `root`, without `root`."""
    return [parent for parent in path.parents if len(parent.parts) > len(root.parts)]


def _is_dangling_link(folder: Path) -> bool:
    """Whether a folder is a link to nothing: what it led to may be back tomorrow."""
    return folder.is_symlink() and not _is_there(folder)

"""Watching: folders are scanned, and then what comes, changes and vanishes in them, as it does.

The system says what changes (watchfiles), or a poll finds out; `scanning.scan` does the work, on the files that
changed, when nothing has happened to them for a while. Nothing is remembered between two batches but what waits, and
the library is closed meanwhile, so that other commands may use it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from photocluster.errors import MissingDependency, StoreBusy, UsageError
from photocluster.pipeline.scanning import Progress, ScanOptions, ScanReport, scan
from photocluster.pipeline.vanishing import mount_points
from photocluster.records import FaceRow
from photocluster.store import Library
from photocluster.walking import WalkProblem, is_left_out, walk

if TYPE_CHECKING:
    from watchfiles.main import FileChange

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""How long nothing must have happened to a file: what copies over a network writes a block every second or oftener."""

BATCH_WAIT = 30.0
"""How long a file that has settled may wait for others that are still being copied: a scan of many at a time saves the
start of worker processes, which takes seconds."""

BATCH_FILES = 1000
"""Files scanned at a time, so that what is found is told of meanwhile."""

TICK_SECONDS = 1.0
"""How often to look whether something has settled."""

RESCAN_SECONDS = 6 * 3600.0
"""How often everything is walked again: systems drop announcements when too many come at a time, and make none of what
happens while a disk is away."""

BUSY_SECONDS = 30.0
"""How long to wait before trying again when another process kept the library to itself for a minute."""


class News(StrEnum):
    """What happened to a file."""

    NEW = "new"
    CHANGED = "changed"
    KNOWN = "known"
    COMPANION = "companion"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Item:
    """A file of which there is news.

    `faces` are those of its photo, from left to right; `reason` is why it failed. `KNOWN` files hold photos that the
    library knew: copies, or moved ones; of a `COMPANION` another photo shows the moment.
    """

    news: News
    path: Path
    faces: tuple[FaceRow, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one scan of a watch found: the report, and the items (none of the first scan, which is of everything)."""

    report: ScanReport
    items: tuple[Item, ...]
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """How to watch.

    Attributes
    ----------
    settle
        Seconds that nothing must have happened to a file.
    poll
        Seconds between two looks at everything, where the system announces nothing (network shares); None is not to.
    """

    settle: float = SETTLE_SECONDS
    poll: float | None = None


def watch(
    folder: Path,
    roots: Sequence[Path],
    options: ScanOptions | None = None,
    watching: WatchOptions | None = None,
    *,
    stop: threading.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[Batch]:
    """Scan `roots` into the library in `folder`, and then what changes below them, until `stop` is set.

    Yields
    ------
    Batch
        The first scan, and each later one that had something to do.

    Raises
    ------
    UsageError
        A root is no folder.
    MissingDependency
        The system cannot watch so many folders.
    Interrupted, KeyboardInterrupt
        Ctrl-C; what was finished is stored.
    StoreError
        See `scanning.scan`; but a busy library is waited for.
    """
    absolute = [Path(os.path.abspath(root)) for root in roots]  # noqa: PTH100  resolve() would follow links
    for root in absolute:
        if not root.is_dir():
            raise UsageError(f"{root} is no folder that could be watched; check the path, or mount the disk")
    stop = stop or threading.Event()
    changes = _changes(absolute, watching or WatchOptions(), stop)
    with closing(changes):
        next(changes)  # from now on they are collected, also during the first scan
        waiting = _Waiting(folder, absolute, options or ScanOptions(), watching or WatchOptions())
        yield Batch(scan(folder, absolute, options, progress=progress), (), first=True)
        for changed in changes:
            waiting.note(changed)
            while batch := waiting.scanned():
                yield batch


def _changes(roots: Sequence[Path], watching: WatchOptions, stop: threading.Event) -> Generator[set[FileChange]]:
    """Yield (kind of change, path) of what changed, at least every `TICK_SECONDS`."""
    import watchfiles

    try:
        yield from watchfiles.watch(
            *roots,
            watch_filter=None,
            debounce=int(1000 * TICK_SECONDS),
            rust_timeout=int(1000 * TICK_SECONDS),
            yield_on_timeout=True,
            stop_event=stop,
            force_polling=watching.poll is not None,
            poll_delay_ms=int(1000 * (watching.poll or 0)) or 300,
            ignore_permission_denied=True,
        )
    except OSError as error:
        raise MissingDependency(
            f"the system cannot watch these folders ({error}). On Linux the limit is fs.inotify.max_user_watches; or "
            "look every minute with: photocluster watch --poll 60"
        ) from error


class _Waiting:
    """What changed and has not been scanned yet."""

    def __init__(self, folder: Path, roots: Sequence[Path], options: ScanOptions, watching: WatchOptions) -> None:
        self.folder = folder
        self.roots = roots
        self.options = options
        self.settle = watching.settle
        self.mounts = mount_points(roots)
        self.since: dict[Path, float] = {}
        self.last_full = self.not_before = time.monotonic()

    def note(self, changed: set[FileChange]) -> None:
        """Note what changed; of a folder that came, all files."""
        from watchfiles import Change

        now = time.monotonic()
        for change, name in changed:
            path = Path(name)
            if change != Change.added or not path.is_dir():
                self._note(path, now)
                continue
            for found in walk([path], exclude=self.options.exclude, hidden=self.options.hidden):
                if not isinstance(found, WalkProblem):
                    self._note(found.path, now)

    def _note(self, path: Path, now: float) -> None:
        if path.is_dir() or path == self.folder or self.folder in path.parents:
            return
        root = next((root for root in self.roots if root in path.parents), None)
        options = self.options
        if root is not None and not is_left_out(path, root, exclude=options.exclude, hidden=options.hidden):
            self.since[path] = now

    def scanned(self) -> Batch | None:
        """Scan what has settled, and return what was found; None when there is nothing to do now."""
        now = time.monotonic()
        if now < self.not_before:
            return None
        if now - self.last_full > RESCAN_SECONDS:
            return self._scan(self.roots, [], now)
        settled = (path for path, since in self.since.items() if self._has_settled(path, since, now))
        batch = list(islice(settled, BATCH_FILES))
        oldest = min((self.since[path] for path in batch), default=now)
        if not batch or (len(batch) < min(len(self.since), BATCH_FILES) and now - oldest < self.settle + BATCH_WAIT):
            return None
        there = [path for path in batch if os.path.lexists(path)]
        found = self._scan(there, [path for path in batch if path not in set(there) and self._may_be_gone(path)], now)
        if found is not None:
            for path in batch:
                del self.since[path]
        return found

    def _has_settled(self, path: Path, since: float, now: float) -> bool:
        """Whether nothing has happened to a file for long enough, by what was announced and by its own time."""
        if now - since < self.settle:
            return False
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:
            return True
        return not 0 <= age < self.settle  # a time in the future says nothing

    def _may_be_gone(self, path: Path) -> bool:
        """Whether a file that is not there has vanished, as against its disk."""
        root = next(root for root in self.roots if root in path.parents)
        return root.is_dir() and os.path.ismount(self.mounts.get(str(root), "/"))

    def _scan(self, there: Sequence[Path], gone: Sequence[Path], now: float) -> Batch | None:
        """Scan files; None if another process does not let the library go."""
        try:
            with Library(self.folder) as library:
                gone = [path for path in gone if next(library.photos.below(path), None) is not None]
                before = library.moments.newest()
                missing = {digest for digest, _, _ in library.photos.missing()} if gone else set()
            if not there and not gone:
                return Batch(ScanReport(), ())
            report = scan(self.folder, there, self.options, gone=gone)
            with Library(self.folder) as library:
                items = [*_came(library, *before), *(_lost(library, missing) if gone else ())]
        except StoreBusy as error:
            logger.info("%s; what has changed waits", error)
            self.not_before = now + BUSY_SECONDS
            return None
        except UsageError:  # what was there a moment ago is gone: that is announced, too
            return Batch(ScanReport(), ())
        if there is self.roots:
            self.last_full = time.monotonic()
        items += [Item(News.FAILED, path, reason=reason) for path, reason in (*report.problems, *report.failed)]
        return Batch(report, tuple(items))


def _came(library: Library, file: int, photo: int) -> Iterator[Item]:
    """Yield the files that came or changed since the newest file and photo were these."""
    ignored = library.names.ignored().keys()
    for came in library.moments.arrived(file, photo):
        faces = [] if came.photo is None else library.faces.of_photo(came.photo)
        shown = sorted((face for face in faces if face.face not in ignored), key=lambda face: face.detection.box.x0)
        if came.photo is None:
            news = News.COMPANION
        elif not came.new:
            news = News.KNOWN
        else:
            news = News.CHANGED if came.edited else News.NEW
        yield Item(news, came.path, tuple(shown))


def _lost(library: Library, before: Collection[str]) -> Iterator[Item]:
    """Yield the photos that no file holds any more, but those of which that was known."""
    for digest, path, _ in library.photos.missing():
        if digest not in before:
            yield Item(News.MISSING, path, tuple(library.faces.of_hash(digest)))

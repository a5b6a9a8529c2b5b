"""Scan: walk, read, decode, find faces, store; the only place where photos meet models meet the store.

Files are taken in the order of the walk and stored in that order, whatever order the workers finish in, and each photo
is worked on by itself: neither the number of workers nor the order of the folders changes a result.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from photocluster.errors import Interrupted, StoreBusy, UsageError
from photocluster.patience import Patience
from photocluster.pipeline.analysis import Analyser, Stopwatch, recipe
from photocluster.pipeline.carrying import carry_names
from photocluster.pipeline.crew import Crew
from photocluster.pipeline.importing import place_kept
from photocluster.pipeline.matching import KnownFiles, exists, lies_below
from photocluster.pipeline.moments import HeldBack, Rank
from photocluster.pipeline.recognition import PropagationReport, propagate
from photocluster.pipeline.vanishing import away, left_behind, mount_points, really_gone, vanished
from photocluster.pipeline.working import Worked, WorkOptions
from photocluster.store import FileState, KnownFile, Library, Pending, ScannedFile
from photocluster.video import INTERVAL
from photocluster.walking import RUN, STRIKES, FoundFile, WalkProblem, walk_runs

logger = logging.getLogger(__name__)

BATCH_PHOTOS = 64
"""Photos a commit: what an interruption can lose at the most."""

BATCH_SECONDS = 5.0
"""A commit at least this often, so that little is lost with slow photos."""

BUSY_TRIES = 6
"""Commits in a row that may find another process writing (each waits for `database.BUSY_SECONDS`) before the scan gives
up: a minute. The photos wait in memory until then."""

TIMEOUT = 120.0
"""Seconds that reading a file may take, and then the work on it: the largest photo that is read, of 512 MB, takes 50
over a slow network (10 MB/s), and the slowest decode that the limits allow takes about 10 on an old core."""

BACKLOG = 200_000
"""Files that are found and wait to be read, at the most: the walk runs ahead, so that it is known how much there is to
do. They take 60 MB."""

QUEUE = 4
"""Photos in work or waiting for each worker: enough that none idles while a slow photo is stored first."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a scan is: files done and found so far (`complete`: the walk is over), photos and faces added, seconds."""

    done: int
    found: int
    complete: bool
    photos: int
    faces: int
    seconds: float


@dataclass(slots=True)
class ScanReport:
    """What a scan did.

    `photos` were decoded, `videos` of them, `faces` found on them; `unchanged` files were not opened; `known` files
    hold photos that the library knew (copies, moved files); `others` are no photos. `failed` lists (path, reason) of
    the photos that could not be used, those of earlier scans that are still there included; `problems` what the walk
    could not enter. `missing` photos have no file left. `companions` show the moment of another photo, and were not
    looked into. `carried` faces got the names of an earlier version of their photo, or of another photo of the moment,
    `placed` ones a name that an import had kept. `stages` is CPU seconds by stage, `seconds` wall time.
    """

    photos: int = 0
    photos_with_faces: int = 0
    videos: int = 0
    faces: int = 0
    unchanged: int = 0
    known: int = 0
    others: int = 0
    missing: int = 0
    carried: int = 0
    placed: int = 0
    companions: int = 0
    failed: list[tuple[Path, str]] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    propagation: PropagationReport | None = None

    @property
    def skipped(self) -> bool:
        """Whether something could not be used."""
        return bool(self.failed or self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How to scan: see `photocluster scan --help`.

    `workers` None is one for each core that the process may use; `timeout` and `video_interval` are in seconds.
    """

    exclude: tuple[str, ...] = ()
    hidden: bool = False
    workers: int | None = None
    timeout: float = TIMEOUT
    nice: bool = False
    retry_failed: bool = False
    propagate: bool = True
    mirror: bool = True
    video: bool = True
    video_interval: float = INTERVAL
    device: str = "auto"


def scan(
    folder: Path,
    roots: Sequence[Path],
    options: ScanOptions | None = None,
    *,
    gone: Sequence[Path] = (),
    progress: Callable[[Progress], None] | None = None,
) -> ScanReport:
    """Bring the library in `folder` up to date with the files below `roots`, and return what was done.

    Parameters
    ----------
    folder
        The library.
    roots
        Folders and files.
    options
        How to scan.
    gone
        Files and folders, outside the roots, that are said to have vanished: those that have are marked missing.
    progress
        Called now and then.

    Raises
    ------
    UsageError
        None of the roots is there.
    Interrupted
        Ctrl-C: what was finished is stored.
    RecipeMismatch
        The library was made with other models or settings.
    StoreError
        The library cannot be written: a full disk, say. What was stored before is kept.
    """
    options = options or ScanOptions()
    patience = Patience(options.timeout)
    if not gone and not any(exists(root, patience) for root in roots):
        names = ", ".join(map(str, roots))
        raise UsageError(f"there is no folder or file {names}; check the path, or mount the disk")
    absolute = [Path(os.path.abspath(root)) for root in roots]  # noqa: PTH100  resolve() would follow links
    with Library(folder, recipe=recipe(mirror=options.mirror), create=True) as library:
        report = _Scan(library, absolute, options, patience, progress or _silent).run(gone)
    patience.close()
    return report


class _Scan:
    """One run of a scan: the state that its steps share."""

    def __init__(
        self,
        library: Library,
        roots: Sequence[Path],
        options: ScanOptions,
        patience: Patience,
        progress: Callable[[Progress], None],
    ) -> None:
        self.library = library
        self.roots = roots
        self.patience = patience
        self.options = options
        self.progress = progress
        self.report = ScanReport()
        self.workers = options.workers or _usable_cores()
        self.known: set[str] = set()  # read when the first file is given out: most scans find little that is new
        self.ready = False
        self.told = 0
        self.files = KnownFiles(library, roots, patience)
        self.hung: list[Path] = []
        self.strikes: Counter[int] = Counter()
        self.backlog: deque[FoundFile] = deque()
        self.pending: deque[tuple[FoundFile, Future[Worked]]] = deque()
        self.left = 0
        self.held_back = HeldBack(library)
        self.here: list[Path] = []
        self.reappeared: list[int] = []
        self.found_again: list[str] = []
        self.batch: list[ScannedFile] = []
        self.commit_at = BATCH_PHOTOS
        self.busy = 0
        self.committed_at = time.monotonic()
        self.started = time.monotonic()
        self.found = self.done = 0
        self.walked = False

    def run(self, gone: Sequence[Path]) -> ScanReport:
        """Read what is to be read, then draw the conclusions."""
        try:
            self.library.photos.mark_missing(really_gone(self.library, gone))
            self._read(self.roots)
            self._settle()
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped; {self.report.photos} photos with {self.report.faces} faces are stored. "
                "Run the same scan again to go on from there"
            ) from None
        self.report.seconds = time.monotonic() - self.started
        return self.report

    def _read(self, roots: Sequence[Path]) -> None:
        """Work on all files that are new or changed; when interrupted, end and store what has begun."""
        make_analyser = partial(Analyser, mirror=self.options.mirror, device=self.options.device)
        work = WorkOptions(video=self.options.video, video_interval=self.options.video_interval, nice=self.options.nice)
        crew = Crew(make_analyser, work, is_known=self.known.__contains__, timeout=self.options.timeout)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="photocluster") as pool, crew:
            try:
                for file in self._files_to_read(roots):
                    if file is not None:
                        self.backlog.append(file)
                    while self.pending and (self.pending[0][1].done() or len(self.backlog) >= BACKLOG):
                        self._take()
                    self._give_out(pool, crew)
                self.walked = True
                self._finish(pool, crew)
                self._note_vanished(roots)
                self.held_back.take_left_alone()
                for rank in Rank:
                    self._take_in(self.held_back.due(rank))
                    self._finish(pool, crew)
            except KeyboardInterrupt:
                self.progress = _silent  # so that nothing of the caller's comes in between
                self._cancel()
                crew.hurry()
                try:
                    while self.pending:
                        self._take()
                finally:
                    self._commit()
                raise
            finally:
                self._cancel()

    def _files_to_read(self, roots: Sequence[Path]) -> Iterator[FoundFile | None]:
        """Walk; yield what is new or changed, and None now and then where nothing is."""
        options = self.options
        for found in walk_runs(roots, exclude=options.exclude, hidden=options.hidden, patience=self.patience):
            if isinstance(found, WalkProblem):
                self.report.problems.append((found.path, found.reason))
                if found.hangs:
                    self.hung.append(found.path)
                continue
            changed = self.files.changed(found)
            self.found += len(found.files)
            unchanged = len(found.files) - len(changed)
            for file, known in changed:
                if known is not None and self._is_unchanged(file, known):
                    unchanged += 1
                elif self.strikes[file.device] >= STRIKES:
                    self.left += 1
                elif self.held_back.takes(file):
                    yield None
                else:
                    yield file
            self.done += unchanged
            self.report.unchanged += unchanged
            if self.done - self.told >= RUN:
                self.told = self.done
                self._tell()
                yield None

    def _is_unchanged(self, file: FoundFile, known: KnownFile) -> bool:
        """Whether a file is as it was, and is not to be tried again; note what else is to be said of it."""
        if (known.size, known.mtime_ns) != (file.size, file.mtime_ns):
            return False
        if known.missing:
            self.reappeared.append(known.id)
            self.held_back.note(file)
        if known.state is FileState.FAILED:
            if self.options.retry_failed:
                return False
            self.report.failed.append((file.path, known.error or ""))
        return True

    def _finish(self, pool: ThreadPoolExecutor, crew: Crew) -> None:
        """Have all work done that was begun or waits, and commit it."""
        self._give_out(pool, crew)
        while self.pending:
            self._take()
            self._give_out(pool, crew)
        self._commit()

    def _take_in(self, files: Iterator[FoundFile]) -> None:
        """Have files worked on that were held back, but those of a disk that does not answer."""
        for file in files:
            if self.strikes[file.device] < STRIKES:
                self.backlog.append(file)
            else:
                self.left += 1

    def _give_out(self, pool: ThreadPoolExecutor, crew: Crew) -> None:
        """Keep the workers in work, and a little more waiting for them; the rest stays in the backlog."""
        if self.backlog and not self.ready:
            self.known |= self.library.photos.hashes()
            self.ready = True
        while self.backlog and len(self.pending) < QUEUE * self.workers:
            file = self.backlog.popleft()
            self.pending.append((file, pool.submit(crew.work, file)))

    def _cancel(self) -> None:
        for _, future in self.pending:
            future.cancel()

    def _take(self) -> None:
        """Put the first result into the batch; it leaves `pending` only when it is there."""
        file, future = self.pending[0]
        worked = Worked(None, stopped=True) if future.cancelled() else future.result()
        self._book(worked.seconds)
        if worked.stopped:
            self.left += 1
        else:
            self.done += 1
        if worked.file is not None:
            self.batch.append(worked.file)
            self._count(worked.file)
        self.pending.popleft()
        self._note_answer(file, hung=worked.hung)
        if len(self.batch) >= self.commit_at or time.monotonic() - self.committed_at > BATCH_SECONDS:
            self._commit_or_wait()
        self._tell()

    def _note_answer(self, file: FoundFile, *, hung: bool) -> None:
        """Leave the rest of a disk for another scan when several of its files in a row could not be read in time."""
        device = file.device
        if not hung:
            self.strikes[device] = 0 if self.strikes[device] < STRIKES else STRIKES
            return
        self.strikes[device] += 1
        if self.strikes[device] == STRIKES:
            reason = (
                f"{STRIKES} files in a row could not be read; what is new on the same disk is left for another scan"
            )
            self.report.problems.append((file.path.parent, reason))
            here = [other for other in self.backlog if other.device == device]
            self.left += len(here)
            self.backlog = deque(other for other in self.backlog if other.device != device)

    def _count(self, file: ScannedFile) -> None:
        if file.state is FileState.FAILED:
            self.report.failed.append((file.path, file.error or ""))
        elif file.state is FileState.OTHER:
            self.report.companions += file.shown_by is not None
            self.report.others += file.shown_by is None
        elif file.facts is None or file.photo in self.known:
            self.report.known += 1
            self.found_again.append(file.photo or "")
        else:
            self.known.add(file.photo or "")
            self.report.photos += 1
            self.report.faces += len(file.faces or ())
            self.report.photos_with_faces += bool(file.faces)
            self.report.videos += file.facts.duration is not None

    def _commit_or_wait(self) -> None:
        """Commit, unless another process holds the library: then go on working, and try again a batch later."""
        try:
            self._commit()
        except StoreBusy:
            self.busy += 1
            if self.busy >= BUSY_TRIES:
                raise
            self.commit_at = len(self.batch) + BATCH_PHOTOS
            self.committed_at = time.monotonic()

    def _commit(self) -> None:
        watch = Stopwatch()
        watch.start()
        if self.batch or self.left:
            self.library.photos.add(self.batch, pending=self._pending())
            self.batch = []
        if self.files.respelled:
            self.library.files.rename(self.files.respelled)
            self.files.respelled = []
        if self.reappeared:
            self.library.photos.mark_seen(self.reappeared)
            self.reappeared = []
        watch.stop("store")
        self._book(watch.seconds)
        self.busy, self.commit_at = 0, BATCH_PHOTOS
        self.committed_at = time.monotonic()

    def _pending(self) -> Pending:
        return Pending(len(self.backlog) + len(self.pending) + len(self.held_back) + self.left, self.walked)

    def _note_vanished(self, roots: Sequence[Path]) -> None:
        """After the walk: mark what is gone, as against what cannot be seen just now."""
        roots = [root for root in roots if not lies_below(root, self.hung)]
        not_mounted = away(self.library, roots, self.files.seen)
        self.report.problems += [
            (root, f"the disk at {mount} is not mounted; none of its photos is marked missing")
            for root, mount in not_mounted.items()
        ]
        self.here = [root for root in roots if root not in not_mounted]
        self.library.photos.mark_missing(vanished(self.files.unseen(), self.here, self.hung))

    def _settle(self) -> None:
        """After the last photo: moved files, moments in two files, edited photos, and who the new faces are.

        New are the faces since the last scan that came to its end, not only those of this one.
        """
        self.library.photos.mark_missing(left_behind(self.library, self.found_again, self.patience))
        self.library.moments.link()
        self.report.missing = len(self.library.photos.missing())
        self.report.carried = carry_names(self.library)
        self.report.placed = place_kept(self.library)
        first_new_face = self.library.photos.settled_rows()
        if self.options.propagate and self.library.rows > first_new_face and self.library.names.persons():
            self.report.propagation = propagate(self.library, first_face=first_new_face)
        self.library.photos.end_scan(mount_points(self.here), self._pending())

    def _book(self, stages: Mapping[str, float]) -> None:
        for stage, seconds in stages.items():
            self.report.stages[stage] = self.report.stages.get(stage, 0.0) + seconds

    def _tell(self) -> None:
        seconds = time.monotonic() - self.started
        self.progress(
            Progress(self.done, max(self.found, self.done), self.walked, self.report.photos, self.report.faces, seconds)
        )


def _silent(_: Progress) -> None:
    """Take a scan's progress and show nothing."""


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""Scan: walk, read, decode, find faces, store; the only place where photos meet models meet the store.

Files are taken in the order of the walk and stored in that order, whatever order the workers finish in, and each photo
is worked on by itself: neither the number of workers nor the order of the folders changes a result.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from photocluster import photos
from photocluster.errors import Interrupted, PhotoError
from photocluster.photos import FoundFile, WalkProblem
from photocluster.pipeline.analysis import DECODE_SIDE, Analyser, Stopwatch, recipe
from photocluster.pipeline.carrying import carry_names
from photocluster.pipeline.recognition import PropagationReport, propagate
from photocluster.store import FileState, Library, ScannedFile

logger = logging.getLogger(__name__)

BATCH_PHOTOS = 64
"""Photos a commit: what an interruption can lose at the most."""

BATCH_SECONDS = 5.0
"""A commit at least this often, so that little is lost with slow photos."""

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

    `photos` were decoded, `faces` found on them; `unchanged` files were not opened; `known` files hold photos that the
    library knew (copies, moved files); `others` are no photos. `failed` lists (path, reason) of the photos that could
    not be used, those of earlier scans that are still there included; `problems` what the walk could not enter.
    `missing` photos have no file left. `stages` is CPU seconds by stage, `seconds` wall time.
    """

    photos: int = 0
    photos_with_faces: int = 0
    faces: int = 0
    unchanged: int = 0
    known: int = 0
    others: int = 0
    missing: int = 0
    carried: int = 0
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
    """How to scan: see `photocluster scan --help`. `workers` None is one for each core that the process may use."""

    exclude: tuple[str, ...] = ()
    hidden: bool = False
    workers: int | None = None
    retry_failed: bool = False
    propagate: bool = True
    mirror: bool = True


def scan(
    folder: Path,
    roots: Sequence[Path],
    options: ScanOptions | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> ScanReport:
    """Bring the library in `folder` up to date with the files below `roots`, and return what was done.

    Raises
    ------
    Interrupted
        Ctrl-C: what was finished is stored.
    RecipeMismatch
        The library was made with other models or settings.
    """
    options = options or ScanOptions()
    with Library(folder, recipe=recipe(mirror=options.mirror), create=True) as library:
        return _Scan(library, options, progress or (lambda _: None)).run(
            [Path(os.path.abspath(root)) for root in roots]  # noqa: PTH100  resolve() would follow links
        )


class _Scan:
    """One run of a scan: the state that its steps share."""

    def __init__(self, library: Library, options: ScanOptions, progress: Callable[[Progress], None]) -> None:
        self.library = library
        self.options = options
        self.progress = progress
        self.report = ScanReport()
        self.workers = options.workers or _usable_cores()
        self.known = library.photos.hashes()
        self.seen: set[int] = set()
        self.reappeared: list[int] = []
        self.batch: list[ScannedFile] = []
        self.committed_at = time.monotonic()
        self.started = time.monotonic()
        self.found = self.done = 0
        self.walked = False
        self._analyser: Analyser | None = None

    def run(self, roots: Sequence[Path]) -> ScanReport:
        first_new_face = self.library.rows
        pending: deque[Future[tuple[ScannedFile, Stopwatch]]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="photocluster") as pool:
            try:
                for file in self._files_to_read(roots):
                    if self._analyser is None:
                        self._analyser = Analyser(mirror=self.options.mirror)
                    pending.append(pool.submit(self._work, file))
                    while len(pending) > QUEUE * self.workers or (pending and pending[0].done()):
                        self._take(*pending.popleft().result())
                self.walked = True
                while pending:
                    self._take(*pending.popleft().result())
            except KeyboardInterrupt:
                self._stop(pending)
                raise Interrupted(
                    f"stopped; {self.report.photos} photos with {self.report.faces} faces are stored. "
                    "Run the same scan again to go on from there"
                ) from None
            self._commit()
        self._settle(roots, first_new_face)
        self.report.seconds = time.monotonic() - self.started
        return self.report

    def _files_to_read(self, roots: Sequence[Path]) -> Iterator[FoundFile]:
        """Walk; count what is unchanged, yield the rest."""
        for found in photos.walk(roots, exclude=self.options.exclude, hidden=self.options.hidden):
            if isinstance(found, WalkProblem):
                self.report.problems.append((found.path, found.reason))
                continue
            self.found += 1
            known = self.library.photos.file(found.path)
            if known is not None:
                self.seen.add(known.id)
                same = (known.size, known.mtime_ns) == (found.size, found.mtime_ns)
                if same and not (known.state is FileState.FAILED and self.options.retry_failed):
                    self._note_unchanged(found.path, known.state, known.error)
                    if known.missing:
                        self.reappeared.append(known.id)
                    continue
            yield found

    def _note_unchanged(self, path: Path, state: FileState, error: str | None) -> None:
        self.done += 1
        self.report.unchanged += 1
        if state is FileState.FAILED:
            self.report.failed.append((path, error or ""))
        if self.done % 256 == 0:
            self._tell()

    def _work(self, file: FoundFile) -> tuple[ScannedFile, Stopwatch]:
        """Read one file and find its faces; runs in a worker, raises nothing."""
        watch = Stopwatch()
        result = ScannedFile(file.path, file.size, file.mtime_ns, FileState.OTHER)
        try:
            watch.start()
            if not photos.sniff(file.path):
                return result, watch
            content = photos.read(file.path)
            digest = photos.content_hash(content)
            watch.stop("read")
            if digest in self.known:
                return ScannedFile(file.path, file.size, file.mtime_ns, FileState.PHOTO, photo=digest), watch
            decoded = photos.decode(content, longest_side=DECODE_SIDE)
            watch.stop("decode")
            del content
            faces = self._analyser.faces(decoded, watch) if self._analyser else []
            return (
                ScannedFile(file.path, file.size, file.mtime_ns, FileState.PHOTO, digest, decoded.facts, faces),
                watch,
            )
        except PhotoError as error:
            reason = str(error)
        except Exception as error:
            logger.debug("unexpected error on %s", file.path, exc_info=True)
            reason = f"unexpected {type(error).__name__}: {error}"
        return ScannedFile(file.path, file.size, file.mtime_ns, FileState.FAILED, error=reason), watch

    def _take(self, file: ScannedFile, watch: Stopwatch) -> None:
        """Put a worker's result into the batch."""
        self.done += 1
        self._book(watch)
        self.batch.append(file)
        if file.state is FileState.FAILED:
            self.report.failed.append((file.path, file.error or ""))
        elif file.state is FileState.OTHER:
            self.report.others += 1
        elif file.facts is None or file.photo in self.known:
            self.report.known += 1
        else:
            self.known.add(file.photo or "")
            self.report.photos += 1
            self.report.faces += len(file.faces or ())
            self.report.photos_with_faces += bool(file.faces)
        if len(self.batch) >= BATCH_PHOTOS or time.monotonic() - self.committed_at > BATCH_SECONDS:
            self._commit()
        self._tell()

    def _commit(self) -> None:
        watch = Stopwatch()
        watch.start()
        if self.batch:
            self.library.photos.add(self.batch)
            self.batch = []
        if self.reappeared:
            self.library.photos.mark_seen(self.reappeared)
            self.reappeared = []
        watch.stop("store")
        self._book(watch)
        self.committed_at = time.monotonic()

    def _stop(self, pending: deque[Future[tuple[ScannedFile, Stopwatch]]]) -> None:
        """Drop what has not begun, finish and store what has."""
        for future in pending:
            future.cancel()
        for future in pending:
            if not future.cancelled():
                self._take(*future.result())
        self._commit()

    def _settle(self, roots: Sequence[Path], first_new_face: int) -> None:
        """After the last photo: vanished files, edited photos, and who the new faces are."""
        gone = [
            file_id
            for root in roots
            if os.path.lexists(root)
            for file_id, path in self.library.photos.below(root)
            if file_id not in self.seen and not os.path.lexists(path)
        ]
        self.report.missing = self.library.photos.mark_missing(gone)
        self.report.carried = carry_names(self.library)
        if self.options.propagate and self.library.rows > first_new_face:
            self.report.propagation = propagate(self.library, first_face=first_new_face)

    def _book(self, watch: Stopwatch) -> None:
        for stage, seconds in watch.seconds.items():
            self.report.stages[stage] = self.report.stages.get(stage, 0.0) + seconds

    def _tell(self) -> None:
        seconds = time.monotonic() - self.started
        self.progress(Progress(self.done, self.found, self.walked, self.report.photos, self.report.faces, seconds))


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

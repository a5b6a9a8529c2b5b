"""The work on one file: read it, decode it, find its faces. It runs in a worker process, see `crew`."""

from __future__ import annotations

import logging
import os
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from photocluster import photos, video
from photocluster.bursts import burst_of
from photocluster.errors import IncompletePhoto, PhotoError, PhotoTooLarge, UnreadableFile
from photocluster.perceptual import perceptual_hash
from photocluster.pipeline.analysis import Analyser, Stopwatch, decode
from photocluster.pipeline.footage import analyse_video
from photocluster.pipeline.moments import same_moment
from photocluster.records import DecodedPhoto
from photocluster.store import FileState, ScannedFile
from photocluster.video import INTERVAL
from photocluster.walking import FoundFile

logger = logging.getLogger(__name__)

NEVER = -1
"""Stands for the modification time of a file that could not be read: it is tried again at each scan."""

PARALLEL_PIXELS = 24_000_000
"""Photos with more pixels (as `photos.decode` counts them) are decoded one at a time: else a computer with many cores
could need half a gigabyte for each. Most cameras have 24 million, or fewer."""

SETTLED_SECONDS = 600.0
"""A JPEG that ends too early and was last written longer ago than this is not being copied any more: it is taken as far
as it goes, as viewers show it. Copying sets the time of writing with every block, the original's only at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """What the work on every file of a scan depends on, beside the analyser. Must be picklable.

    `video`: whether videos are looked at; `video_interval`: seconds between the frames that are. `nice`: other programs
    go first.
    """

    video: bool = True
    video_interval: float = INTERVAL
    nice: bool = False


@dataclass(slots=True)
class Worked:
    """What became of a file; `file` None: it has vanished meanwhile, or the work was `stopped` before it was done.

    `seconds` is CPU seconds by stage. `hung`: the file could not even be read within the time-out.
    """

    file: ScannedFile | None
    seconds: dict[str, float] = field(default_factory=dict)
    hung: bool = False
    stopped: bool = False


class Desk(Protocol):
    """What the work on a file may ask of the scan that gave it out; the scan may be in another process."""

    def is_known(self, digest: str) -> bool:
        """Whether the library has a photo of this content hash; asked once the file is read."""

    def alone(self) -> AbstractContextManager[None]:
        """Wait until no other worker holds this, and hold it: for what needs much memory."""

    def alive(self) -> None:
        """Have the time-out begin anew: for work that is long by its nature, as on a video."""


def work_on(file: FoundFile, analyser: Analyser, desk: Desk, options: WorkOptions) -> Worked:
    """Read one file and find its faces; what goes wrong with it is its state, not an exception.

    Size and time are those of before the reading: a file that changes meanwhile differs from them at the next scan.
    """
    watch = Stopwatch()
    watch.start()
    mtime = file.mtime_ns
    try:
        return Worked(_scanned(file, analyser, desk, options, watch), dict(watch.seconds))
    except UnreadableFile as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return Worked(None, dict(watch.seconds))
        reason, mtime = str(error), NEVER
    except IncompletePhoto as error:
        reason, mtime = str(error), NEVER
    except PhotoError as error:
        reason = str(error)
    except MemoryError:
        reason, mtime = "not enough memory to work on it; free some, or scan with fewer --workers", NEVER
    except Exception as error:
        logger.debug("unexpected error on %s", file.path, exc_info=True)
        reason = f"unexpected {type(error).__name__}: {error}"
    return Worked(failed(file, reason, mtime_ns=mtime), dict(watch.seconds))


def failed(file: FoundFile, reason: str, *, mtime_ns: int) -> ScannedFile:
    """Return a file that cannot be used; `mtime_ns` is its own, or `NEVER` where the next scan shall try again."""
    reason = os.fsencode(reason.removeprefix(f"{file.path} ")).decode("utf-8", errors="backslashreplace")
    return ScannedFile(file.path, file.size, mtime_ns, FileState.FAILED, error=reason)


def _scanned(file: FoundFile, analyser: Analyser, desk: Desk, options: WorkOptions, watch: Stopwatch) -> ScannedFile:
    """Note whose moment the file shows, or look into it."""
    beside = file.beside
    with suppress(PhotoError, OSError):  # what is wrong with it will be found again
        if beside is not None and same_moment(file):
            return ScannedFile(file.path, file.size, file.mtime_ns, FileState.OTHER, shown_by=beside.photo)
    found = _looked_into(file, analyser, desk, options, watch)
    return found if beside is None or beside.path is not None else replace(found, shown_by=beside.before)


def _looked_into(
    file: FoundFile, analyser: Analyser, desk: Desk, options: WorkOptions, watch: Stopwatch
) -> ScannedFile:
    """Tell by the first bytes what a file is, and hand it to who knows that kind."""
    if photos.sniff(file.path):
        return _scanned_photo(file, analyser, desk, watch)
    mtime = file.mtime_ns
    if video.sniff(file.path):
        if options.video:
            return _scanned_video(file, analyser, desk, options, watch)
        mtime = NEVER  # a later scan may want it
    return ScannedFile(file.path, file.size, mtime, FileState.OTHER)


def _scanned_video(
    file: FoundFile, analyser: Analyser, desk: Desk, options: WorkOptions, watch: Stopwatch
) -> ScannedFile:
    digest = video.content_hash(file.path, alive=desk.alive)
    watch.stop("read")
    if desk.is_known(digest):
        return ScannedFile(file.path, file.size, file.mtime_ns, FileState.PHOTO, photo=digest)
    footage = analyse_video(file.path, analyser, watch, interval=options.video_interval, alive=desk.alive)
    return ScannedFile(file.path, file.size, file.mtime_ns, FileState.PHOTO, digest, footage.facts, footage.faces)


def _scanned_photo(file: FoundFile, analyser: Analyser, desk: Desk, watch: Stopwatch) -> ScannedFile:
    content = photos.read(file.path)
    digest = photos.content_hash(content)
    watch.stop("read")
    if desk.is_known(digest):
        return ScannedFile(file.path, file.size, file.mtime_ns, FileState.PHOTO, photo=digest)
    whole = abs(time.time() - file.mtime_ns / 1e9) < SETTLED_SECONDS
    decoded = decode(content, partial(_decode, desk, watch, whole))
    burst = burst_of(content, file.path.name)
    del content
    phash = perceptual_hash(decoded.rgb)
    watch.stop("decode")
    faces = analyser.faces(decoded, watch)
    return ScannedFile(
        file.path,
        file.size,
        file.mtime_ns,
        FileState.PHOTO,
        digest,
        decoded.facts,
        faces,
        phash=phash,
        burst=burst,
    )


def _decode(desk: Desk, watch: Stopwatch, whole: bool, content: bytes, side: int) -> DecodedPhoto:  # noqa: FBT001
    """Decode a photo; it may be in the midst of looking for faces that it is wanted larger."""
    watch.stop("detect")
    try:
        return photos.decode(content, longest_side=side, max_pixels=PARALLEL_PIXELS, whole=whole)
    except PhotoTooLarge:
        with desk.alone():
            return photos.decode(content, longest_side=side, whole=whole)
    finally:
        watch.stop("decode")

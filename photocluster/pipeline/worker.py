"""What runs in a worker process: take a file from the pipe, work on it, send what became of it (see `crew`)."""

from __future__ import annotations

import faulthandler
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from photocluster.errors import PhotoclusterError
from photocluster.pipeline.working import work_on

MAX_RESIDENT = 512 * 2**20
"""A worker that keeps more memory than this after a file is replaced: decoders leak, and heaps fragment. Twice what one
holds after the largest photos (0.27 GB, of which the models are 0.1)."""

MAX_WORK_BYTES = 3 * 2**30
"""Memory that the work on one file may take: twice the 1.6 GB that `photos.MAX_BYTES`, `photos.MAX_PIXELS` and the
models need together. A decoder that a damaged file has ask for more is refused, rather than the system brought down."""


class _Line:
    """The desk as a worker process sees it: at the other end of the pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._seconds = 0

    def is_known(self, digest: str) -> bool:
        self._pipe.send(("known", digest))
        return bool(self._pipe.recv())

    @contextmanager
    def alone(self) -> Iterator[None]:
        self._pipe.send(("alone", None))
        self._pipe.recv()
        self.end_in(self._seconds)
        try:
            yield
        finally:
            self._pipe.send(("together", None))

    def alive(self) -> None:
        self._pipe.send(("alive", None))
        self.end_in(self._seconds)

    def end_in(self, seconds: int) -> None:
        """Have the system end this process then, should its parent have been killed; 0: not at all.

        Needs no interpreter, and so ends a decoder that never comes back, too.
        """
        self._seconds = seconds
        if hasattr(signal, "alarm"):
            signal.alarm(seconds)


def serve(descriptor: int) -> None:
    """Be a worker: work on what comes over the pipe until it closes. Never returns."""
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection

        pipe: Any = PipeConnection(descriptor)
    else:
        pipe = Connection(descriptor)
    faulthandler.enable()
    with suppress(EOFError, OSError):  # the parent is gone, or needs us no more
        _serve(pipe)
    os._exit(0)  # nothing is left to be tidied up, and the end of onnxruntime takes its time


def _serve(pipe: Connection) -> None:
    make_analyser, options, debug = pipe.recv()
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    try:
        analyser = make_analyser()
    except PhotoclusterError as error:
        pipe.send(error)
        return
    _limit_memory()
    if options.nice:
        _be_nice()
    pipe.send("ready")
    line = _Line(pipe)
    while True:
        file, timeout = pipe.recv()
        line.end_in(int(2 * timeout) + 60)  # later than the parent would
        result = work_on(file, analyser, line, options)
        line.end_in(0)
        pipe.send(("done", (result, _memory()[0] > MAX_RESIDENT)))


def _be_nice() -> None:
    """Let other programs go first, at the processor (as far as `nice` does by itself) and at the disk."""
    if hasattr(os, "nice"):
        os.nice(10)
    if program := shutil.which("ionice"):
        subprocess.run([program, "-c", "3", "-p", str(os.getpid())], check=False)  # noqa: S603


def _limit_memory() -> None:
    """Let a worker take `MAX_WORK_BYTES` more than it has now, and be the first to go when memory runs out."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_memory()[1] + MAX_WORK_BYTES, resource.RLIM_INFINITY))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("500")


def _memory() -> tuple[int, int]:
    """Return the bytes of this process that are in memory, and those that it asked for; 0 where nothing says so."""
    with suppress(OSError), open("/proc/self/statm", "rb") as file:  # noqa: PTH123  a Path would be slower
        pages, page = file.read().split(), os.sysconf("SC_PAGE_SIZE")
        return int(pages[1]) * page, int(pages[5]) * page
    return 0, 0

"""The crew of a scan: worker processes, each working on one file at a time, and what happens when one is lost.

Decoders are C code run on strangers' data: one may crash, never end, or take all memory. In a process of its own that
costs the file it worked on and nothing else. A worker is a fresh interpreter (never a fork: onnxruntime has threads),
started with `worker.serve`, and talks over one pipe: the parent sends a file, the worker asks its questions
(`working.Desk`) and sends what became of it. What a worker or the C libraries in it write to stdout or stderr goes to
the debug log. All waiting has an end: a process that hangs in the kernel, on a dead network share, cannot even be
killed, and is left behind.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any, Self

from photocluster.errors import ModelError, PhotoclusterError
from photocluster.pipeline.analysis import Analyser
from photocluster.pipeline.working import NEVER, Desk, Worked, WorkOptions, failed
from photocluster.walking import FoundFile

logger = logging.getLogger(__name__)

START_SECONDS = 300.0
"""How long a worker may take to start: it imports libraries and loads models, from a slow disk perhaps."""

END_SECONDS = 2.0
"""How long to wait for a killed process to be gone; one that hangs in the kernel may stay for ever."""

GRACE_SECONDS = 10.0
"""How long the files in work may still take when the user has pressed Ctrl-C: all but the slowest photos are done."""

FROM_OUTSIDE = {"SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"}
"""Signals that somebody else sent: the kernel when memory ran out, the user, the system going down."""


class WorkerLost(Exception):
    """A worker process has ended without an answer; `signal_name` says by which signal, if by one."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.signal_name = ""
        if code is not None and code < 0:
            with suppress(ValueError):
                self.signal_name = signal.Signals(-code).name
        self.cause = self.signal_name or f"exit code {code}"


class TimedOut(Exception):
    """A worker gave no sign of life for as long as it may; `reading`: it had not read the file yet.

    `hurried`: less long than usual, as the user wants an end.
    """

    def __init__(self, *, reading: bool, hurried: bool) -> None:
        super().__init__(reading, hurried)
        self.reading = reading
        self.hurried = hurried


_START = """
import sys
sys.path[:] = sys.argv[2:]
from photocluster.pipeline.worker import serve
serve(int(sys.argv[1]))
"""
"""What a worker runs: not multiprocessing's own way, which would run the user's main script once more in each."""


class Worker:
    """One worker process, and the parent's end of the pipe to it. Used by one thread at a time.

    Raises
    ------
    PhotoclusterError
        It cannot be started: a model is missing, say.
    """

    def __init__(self, make_analyser: Callable[[], Analyser], options: WorkOptions) -> None:
        self._until = float("inf")
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-c", _START, str(theirs.fileno()), *sys.path]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and code
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                **_inheritance(theirs),
            )
        said: deque[str] = deque(maxlen=1)
        listener = threading.Thread(target=_log_output, args=(self._process.stdout, said), daemon=True)
        listener.start()
        try:
            self._pipe.send((make_analyser, options, logger.isEnabledFor(logging.DEBUG)))
            started = self._receive(START_SECONDS)
        except (WorkerLost, OSError) as error:
            self.kill()
            listener.join(END_SECONDS)
            last = said[0] if said else f"it ended with {getattr(error, 'cause', error)}"
            raise ModelError(
                f"no worker process could be started: {last}. Run the same command with --debug to see all that it said"
            ) from error
        if isinstance(started, PhotoclusterError):
            self.kill()
            raise started
        self.retired = False

    def work(self, file: FoundFile, desk: Desk, timeout: float) -> Worked:
        """Have a file worked on, and answer the worker's questions meanwhile.

        Raises
        ------
        WorkerLost
            The process has ended.
        TimedOut
            It gave no sign of life for `timeout` seconds.
        """
        reading = True
        try:
            self._pipe.send((file, timeout))
            while True:
                question, value = self._receive(timeout)
                if question == "done":
                    self.retired = value[1]
                    return value[0]  # type: ignore[no-any-return]
                if question == "known":
                    reading = False
                    self._pipe.send(desk.is_known(value))
                elif question == "alone":
                    with desk.alone():
                        self._pipe.send(True)
                        while self._receive(timeout)[0] != "together":
                            pass
        except TimeoutError:
            raise TimedOut(reading=reading, hurried=time.monotonic() > self._until) from None
        except OSError as error:
            raise WorkerLost(self._code()) from error

    def hurry(self, seconds: float) -> None:
        """Have the work that is being done end within `seconds`; called from another thread."""
        self._until = time.monotonic() + seconds
        if not seconds:
            self._process.kill()

    def _receive(self, timeout: float) -> Any:
        """Return the next message. Waits in short steps, so that `hurry` is noticed."""
        started = time.monotonic()
        while not self._pipe.poll(0.25):
            now = time.monotonic()
            if now - started > timeout or now > self._until:
                raise TimeoutError
        try:
            return self._pipe.recv()
        except Exception as error:  # it ended, or what it sent is no message: its memory was damaged
            raise WorkerLost(self._code()) from error

    def _code(self) -> int | None:
        """Return the exit code, waiting a moment for it: the pipe closes before the process is gone."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(END_SECONDS)
        return None

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._pipe.close()
        if self._code() is None:
            logger.debug("process %s hangs in the kernel and is left behind", self._process.pid)
            _left_behind.append(self._process)


_left_behind: list[subprocess.Popen[bytes]] = []
"""Killed processes that did not end; kept, as Python warns of a process that is dropped while it runs."""


def _inheritance(end: Connection) -> dict[str, Any]:
    """Return what has a child inherit its end of the pipe, and not the Ctrl-C of the terminal."""
    if sys.platform == "win32":
        handle = end.fileno()
        os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
        return {"startupinfo": startup, "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"pass_fds": (end.fileno(),), "process_group": 0}


def _log_output(stream: IO[bytes], said: deque[str]) -> None:
    """Log what a worker prints, until it ends, and keep the last line; the stream has no buffer."""
    with stream:
        while text := stream.read(65536):
            for line in text.decode("utf-8", errors="backslashreplace").splitlines():
                logger.debug("worker: %s", line)
                said.append(line)


class Crew:
    """The workers of one scan; `work` may be called by several threads at once, each call uses one worker.

    Parameters
    ----------
    make_analyser
        Called in each worker to make its analyser; must be picklable.
    options
        Handed to `working.work_on`.
    is_known
        Answers `working.Desk.is_known`; called in the threads that call `work`.
    timeout
        Seconds that reading a file, and then each stretch of work on it, may take.
    """

    def __init__(
        self,
        make_analyser: Callable[[], Analyser],
        options: WorkOptions,
        *,
        is_known: Callable[[str], bool],
        timeout: float,
    ) -> None:
        self.is_known = is_known
        self.timeout = timeout
        self._make = make_analyser
        self._options = options
        self._lane = threading.Lock()
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers; work that has not ended is given up."""
        with self._lock:
            self._closed = True
            for worker in self._busy:
                worker.hurry(0)
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def hurry(self) -> None:
        """Have all work end within `GRACE_SECONDS`."""
        with self._lock:
            for worker in self._busy:
                worker.hurry(GRACE_SECONDS)

    def work(self, file: FoundFile) -> Worked:
        """Have a file worked on, whatever happens to the workers.

        A worker that is lost may have been damaged by an earlier file, or have been the victim when others took all
        memory. So the file is tried once more, by a fresh worker and with no other large photo in work; only when that
        one is lost too, it is the file.
        """
        with suppress(WorkerLost):
            return self._work(file, _Desk(self.is_known, self._lane), fresh=False)
        logger.debug("a worker was lost on %s; a fresh one tries it again", file.path)
        try:
            with self._lane:
                return self._work(file, _Desk(self.is_known, threading.Lock()), fresh=True)
        except WorkerLost as error:
            if error.signal_name in FROM_OUTSIDE:
                reason = (
                    f"the system ended the process that worked on it ({error.cause}), as it does when memory is short"
                )
                return Worked(failed(file, reason, mtime_ns=NEVER))
            return Worked(failed(file, f"the decoder crashed on it ({error.cause})", mtime_ns=file.mtime_ns))

    def _work(self, file: FoundFile, desk: Desk, *, fresh: bool) -> Worked:
        worker = self._take(fresh=fresh)
        if worker is None:
            return Worked(None, stopped=True)
        try:
            result = worker.work(file, desk, self.timeout)
        except TimedOut as error:
            self._drop(worker)
            return Worked(None, stopped=True) if error.hurried else self._given_up(file, reading=error.reading)
        except BaseException:
            self._drop(worker)
            raise
        if worker.retired:
            self._drop(worker)
        else:
            with self._lock:
                self._busy.remove(worker)
                self._idle.append(worker)
        return result

    def _given_up(self, file: FoundFile, *, reading: bool) -> Worked:
        if reading:
            reason = f"could not be read within {self.timeout:g} s; is the disk or the network share in order?"
            return Worked(failed(file, reason, mtime_ns=NEVER), hung=True)
        reason = f"given up after {self.timeout:g} s of work on it; for more, scan with --retry-failed --timeout"
        return Worked(failed(file, reason, mtime_ns=file.mtime_ns))

    def _take(self, *, fresh: bool) -> Worker | None:
        """Return a worker for one file, None when the scan has ended."""
        with self._lock:
            worker = self._idle.pop() if self._idle and not fresh else None
        worker = worker or Worker(self._make, self._options)
        with self._lock:
            self._busy.append(worker)
            closed = self._closed
        if closed:
            self._drop(worker)
        return None if closed else worker

    def _drop(self, worker: Worker) -> None:
        with self._lock:
            self._busy.remove(worker)
        worker.kill()


class _Desk:
    """Answers the questions that come up in the work on one file; see `working.Desk`."""

    def __init__(self, is_known: Callable[[str], bool], lane: threading.Lock) -> None:
        self.is_known = is_known
        self._lane = lane

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._lane:
            yield

    def alive(self) -> None:
        """Nothing: the message itself has the time-out begin anew."""

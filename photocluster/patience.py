"""Calls to the file system that may hang: a dead network share holds whoever asks it for anything, for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Patience:
    """Makes calls in a thread of its own, and waits no longer than `seconds` for each, or for its next sign of life.

    A call that hangs keeps its thread, which is left behind; the next call gets another. Used by one thread.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._alive_at = 0.0
        self._asked: SimpleQueue[Callable[[], None] | None] | None = None

    def call(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Return what the function returns, or raise what it raises.

        Raises
        ------
        TimeoutError
            It did not end in time.
        """
        answer: SimpleQueue[tuple[T] | Exception] = SimpleQueue()

        def run() -> None:
            try:
                answer.put((function(*arguments, **options),))
            except Exception as error:  # noqa: BLE001  raised again below, in the thread that called
                answer.put(error)

        if self._asked is None:
            self._asked = SimpleQueue()
            threading.Thread(target=_serve, args=(self._asked,), name="photocluster-patience", daemon=True).start()
        self.alive()
        self._asked.put(run)
        result = None
        while result is None:
            left = self._alive_at + self.seconds - time.monotonic()
            if left <= 0:
                self.close()
                raise TimeoutError
            with suppress(Empty):
                result = answer.get(timeout=left)
        if isinstance(result, Exception):
            raise result
        return result[0]

    def alive(self) -> None:
        """Have the time begin anew; for functions that ask for much, one thing after the other."""
        self._alive_at = time.monotonic()

    def close(self) -> None:
        """Let the thread end, once it is free."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def _serve(asked: SimpleQueue[Callable[[], None] | None]) -> None:
    while (run := asked.get()) is not None:
        run()

"""Calls to the file system that may hang: a dead network share holds whoever asks it for anything, for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Patience:
    """Makes calls in a thread of its own, and waits for them no longer than `seconds` each.

    A call that hangs keeps its thread, which is left behind; the next call gets another. Used by one thread.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
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
        self._asked.put(run)
        try:
            result = answer.get(timeout=self.seconds)
        except Empty:
            self.close()
            raise TimeoutError from None
        if isinstance(result, Exception):
            raise result
        return result[0]

    def close(self) -> None:
        """Let the thread end, once it is free."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def _serve(asked: SimpleQueue[Callable[[], None] | None]) -> None:
    while (run := asked.get()) is not None:
        run()

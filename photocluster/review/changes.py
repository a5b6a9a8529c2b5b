"""Noticing that something was decided: here, in another window, or by a command meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from photocluster.store import Library

EVERY = 0.5
"""Seconds between two looks at the library: what another program changed shows within this time. A look takes some
microseconds."""


class Changes:
    """A counter that every commit to the library moves on, and those who wait for it.

    Parameters
    ----------
    folder
        The library folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library: Library | None = None
        self._seen = 0
        self._moved = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self.ended = False
        self.number = 0

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called at each change, in the event loop."""
        self._listeners.append(listener)

    async def watch(self) -> None:
        """Look for changes until cancelled."""
        self._library = Library(self._folder)
        self._seen = self._library.data_version()
        try:
            while True:
                await asyncio.sleep(EVERY)
                self.look()
        finally:
            self._library.close()
            self._library = None

    def look(self) -> None:
        """Look now: a decision was just made here."""
        if self._library is None:
            return
        try:
            version = self._library.data_version()
        except sqlite3.Error:  # whoever asks for something next is told what is wrong with the library
            return
        if version != self._seen:
            self._seen = version
            for listener in self._listeners:
                listener()
            self.tell()

    def tell(self) -> None:
        """Wake everybody who waits."""
        self.number += 1
        self._moved.set()
        self._moved = asyncio.Event()

    def end(self) -> None:
        """Wake everybody for the last time: the server ends."""
        self.ended = True
        self.tell()

    async def after(self, number: int, seconds: float) -> int:
        """Wait until the counter is beyond `number`, but no longer than that; return it."""
        if self.number <= number and not self.ended:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), seconds)
        return self.number

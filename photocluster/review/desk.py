"""A thread with the library open in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from photocluster.store import Library

P = ParamSpec("P")
Result = TypeVar("Result")


class Desk:
    """One thread that owns one open `Library`, and does one thing after the other with it.

    Parameters
    ----------
    folder
        The library folder.
    prepare
        What is done with the library when it is opened.
    """

    def __init__(self, folder: Path, prepare: Callable[[Library], None] | None = None) -> None:
        self._folder = folder
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._library: Library | None = None

    async def call(
        self, function: Callable[Concatenate[Library, P], Result], *args: P.args, **options: P.kwargs
    ) -> Result:
        """Return what `function` returns, called in the thread with the library and the arguments."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(self._opened(), *args, **options))

    def _opened(self) -> Library:
        if self._library is None:
            self._library = Library(self._folder)
            if self._prepare is not None:
                self._prepare(self._library)
        return self._library

    def close(self) -> None:
        """Close the library and end the thread."""

        def end() -> Any:
            if self._library is not None:
                self._library.close()

        self._thread.submit(end).result()
        self._thread.shutdown()

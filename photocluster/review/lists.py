"""What several pages ask for again and again, made once after each change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from photocluster.review.changes import Changes
from photocluster.review.desk import Desk
from photocluster.store import Library

Result = TypeVar("Result")


class Lists:
    """Results of functions of the library alone, kept until something changes.

    Parameters
    ----------
    desk
        Where they are called.
    changes
        Says how old a result is: what is asked for while a change comes in is made anew the next time.
    """

    def __init__(self, desk: Desk, changes: Changes) -> None:
        self._desk = desk
        self._changes = changes
        self._made: dict[Callable[[Library], Any], tuple[int, asyncio.Task[Any]]] = {}

    async def of(self, function: Callable[[Library], Result]) -> Result:
        """Return what a function returns of the library as it is; two who ask at one moment wait for one answer."""
        number, task = self._made.get(function, (-1, None))
        if task is None or number != self._changes.number or _failed(task):
            task = asyncio.create_task(self._desk.call(function))
            self._made[function] = self._changes.number, task
        result: Result = await asyncio.shield(task)
        return result


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)

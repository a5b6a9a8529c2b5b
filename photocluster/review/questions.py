"""The queue: what there is to ask, most worth first. It is kept, and made anew in the background."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

from photocluster.errors import Outdated, PhotoclusterError
from photocluster.pipeline.reviewing import still_open
from photocluster.review.apart import lines
from photocluster.review.asking import NAME_THE_SURE
from photocluster.review.changes import Changes
from photocluster.review.desk import Desk

ASKING = "photocluster.review.asking"

KEPT = 100
"""Questions in the queue: several minutes' work, while new ones are made in seconds."""

REMEMBERED = 2000
"""Questions that can still be answered, though they are not in the queue any more: another window may show them."""

REST = 1.0
"""The background rests at least this many seconds, and as long as it worked, before it looks again: so it takes half a
core at most, at low priority, while one answer follows the other."""

PAUSE = 0.3
"""Seconds from a decision to the start of the background: the answer to the decision goes first."""

log = logging.getLogger(__name__)


class Queue:
    """The questions of one library.

    Attributes
    ----------
    questions
        As `suggesting.as_stored` gives them, with `id`, `name`, `cluster`, `other_cluster` and `distance`.
    progress
        The fields of `reviewing.Progress`, or None before the first were made.
    sure
        How many faces need no question, as `asking` says; None while that is not known.
    working
        Whether new ones are being made.
    trouble
        Why none could be made, or None.
    """

    def __init__(self, folder: Path, desk: Desk, changes: Changes) -> None:
        self._folder = folder
        self._desk = desk
        self._changes = changes
        self._remembered: dict[str, dict[str, Any]] = {}
        self._stale = asyncio.Event()
        self.questions: list[dict[str, Any]] = []
        self.progress: dict[str, Any] | None = None
        self.sure: dict[str, int] | None = None
        self.working = True
        self.trouble: str | None = None

    async def run(self) -> None:
        """Make questions whenever something changed, until cancelled."""
        self._stale.set()
        while True:
            await self._stale.wait()
            if self.progress is not None:
                await asyncio.sleep(PAUSE)
            self._stale.clear()
            self.working = True
            began = time.monotonic()
            try:
                await self._make()
                self.trouble = None
            except (OSError, ValueError, RuntimeError, PhotoclusterError) as error:
                log.warning("no questions could be made: %s", error)
                self.trouble = f"no questions could be made: {error}"
            self.working = self._stale.is_set()
            self._changes.tell()
            await asyncio.sleep(max(REST, time.monotonic() - began))

    def changed(self) -> None:
        """Note that something was decided: what is answered leaves the queue, and new questions are made."""
        self._stale.set()

    async def refresh(self) -> None:
        """Drop the questions that were answered in the meantime."""
        await self._drop_answered()

    async def is_open(self, identity: str) -> bool:
        """Return whether a question can still be answered; False for one that nobody knows."""
        question = self._remembered.get(identity)
        return question is not None and (await self._desk.call(still_open, [question]))[0]

    def question(self, identity: str) -> dict[str, Any]:
        """Return a question by its id.

        Raises
        ------
        Outdated
            It was shown too long ago, or by a server that has ended.
        """
        if identity not in self._remembered:
            raise Outdated("this question is not open any more; here is the next one")
        return self._remembered[identity]

    def answered(self, identity: str) -> None:
        """Take a question out of the queue."""
        self.questions = [question for question in self.questions if question["id"] != identity]

    async def name_the_sure(self) -> dict[str, Any]:
        """Give names to the faces that are surely like named ones; return `event` and `faces`, as `asking` says.

        Raises
        ------
        PhotoclusterError
            It failed; nothing was named.
        """
        try:
            async with aclosing(lines(ASKING, str(self._folder), NAME_THE_SURE)) as written:
                made: list[dict[str, Any]] = [json.loads(line) async for line in written]
        except (OSError, RuntimeError) as error:
            raise PhotoclusterError(f"nothing was named: {error}") from error
        self.sure = None
        return made[0]

    async def _make(self) -> None:
        """Take in what `asking` writes, the questions as soon as they are there."""
        async with aclosing(lines(ASKING, str(self._folder), str(KEPT))) as written:
            async for line in written:
                made = json.loads(line)
                if "questions" in made:
                    self._take(made)
                    await self._drop_answered()
                    self.working = self._stale.is_set()
                    self._changes.tell()
                elif not self._stale.is_set():
                    self.sure = made["sure"]

    def _take(self, made: dict[str, Any]) -> None:
        self.progress = made["progress"]
        self.questions = [{**question, "id": _identity(question)} for question in made["questions"]]
        for question in self.questions:
            self._remembered.pop(question["id"], None)
            self._remembered[question["id"]] = question
        while len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    async def _drop_answered(self) -> None:
        before = self.questions
        is_open = await self._desk.call(still_open, before)
        void = {question["id"] for question, good in zip(before, is_open, strict=True) if not good}
        self.questions = [question for question in self.questions if question["id"] not in void]


def _identity(question: dict[str, Any]) -> str:
    """Return what tells a question from others: what it asks of which faces."""
    asked = [question["kind"], question["person"], question["faces"], question["others"]]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]

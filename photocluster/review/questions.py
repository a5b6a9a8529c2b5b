"""The queue: what there is to ask, most worth first. It is kept, and made anew in the background."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from photocluster.errors import Outdated, PhotoclusterError
from photocluster.pipeline.reviewing import still_open
from photocluster.review.changes import Changes
from photocluster.review.desk import Desk

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
                made = await self._made()
                self._take(made)
                await self._drop_answered()
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

    async def _made(self) -> dict[str, Any]:
        """Return what `asking` writes."""
        command = (sys.executable, "-m", "photocluster.review.asking", str(self._folder), str(KEPT))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the server, which then ends this
        )
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            lines = err.decode(errors="replace").strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"the process ended with {process.returncode}")
        made: dict[str, Any] = json.loads(out)
        return made

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

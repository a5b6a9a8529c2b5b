"""Seconds of computing, in a process of its own: no decision waits for it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator

_ERROR = re.compile(r"^[\w.]*[A-Z]\w*: ")
"""What a traceback's last line has before the message."""

LONGEST = 1 << 26
"""Bytes of a line: 100 questions about thousands of faces each."""


async def lines(module: str, *arguments: str) -> AsyncGenerator[bytes, None]:
    """Yield what ``python -m MODULE ARGUMENTS`` writes to stdout, line by line; end it if nobody wants more.

    Raises
    ------
    RuntimeError
        It failed; says why, in its own last line.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST,
        start_new_session=True,  # Ctrl-C is for the server, which then ends this
    )
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("the process has no output")
    said = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            yield line
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        trouble = (await said).decode(errors="replace").strip().splitlines()
    if process.returncode:
        raise RuntimeError(_ERROR.sub("", trouble[-1]) if trouble else f"the process ended with {process.returncode}")

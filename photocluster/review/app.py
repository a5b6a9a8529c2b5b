"""The addresses of the application, and what lives as long as it runs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from photocluster.errors import Outdated, PhotoclusterError, PhotoError, StoreBusy, UnknownName, UsageError
from photocluster.pipeline.reviewing import everybody, matching
from photocluster.review import deciding, showing
from photocluster.review.changes import Changes
from photocluster.review.desk import Desk
from photocluster.review.lists import Lists
from photocluster.review.pictures import FACE_WIDTHS, PHOTO_SIDES, Pictures
from photocluster.review.questions import Queue
from photocluster.review.security import BodyTooLarge
from photocluster.store import Library

PAGE = 200
"""Faces, photos or persons that one request returns at most."""

MAX_NUMBER = (1 << 63) - 1
"""SQLite's greatest number."""

CHECKPOINT_SECONDS = 10.0
"""From a decision to the checkpoint: what is decided meanwhile is some megabytes of log at most."""

HEARTBEAT = 15.0
"""Seconds after which a window that nothing was said to hears that the server is still there."""

PICTURE_SECONDS = 600
"""How long a browser keeps a picture: as long as one looks; what is forgotten shall not stay in its cache for days."""

PLACEHOLDER = "no-picture.svg"
"""Of the contact sheet: stands for what cannot be shown."""

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Review:
    """Everything that lives as long as the server: threads with the library, the queue, the pictures."""

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self.folder = folder
        self.changes = Changes(folder)
        self.reader = Desk(folder)
        self.decider = Desk(folder, prepare=Library.leave_checkpoints)
        self.keeper = Desk(folder)
        self.finder = Desk(folder)
        self.pictures = Pictures(folder, max_bytes=cache_bytes)
        self.queue = Queue(folder, self.reader, self.changes)
        self.changes.listen(self.queue.changed)
        self.lists = Lists(self.reader, self.changes)
        self.ready: Callable[[], None] | None = None
        self._decided = asyncio.Event()
        self.changes.listen(self._decided.set)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Run what works in the background."""
        background = [asyncio.create_task(work) for work in (self.changes.watch(), self.queue.run(), self._keep())]
        if self.ready is not None:
            self.ready()
        yield
        self.changes.end()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        self.pictures.close()
        self.reader.close()
        self.decider.close()
        self.keeper.close()
        self.finder.close()

    async def _keep(self) -> None:
        """Take SQLite's log in now and then, so that no decision waits for it: it takes as long as several of them."""
        while True:
            await self._decided.wait()
            await asyncio.sleep(CHECKPOINT_SECONDS)
            self._decided.clear()
            with suppress(sqlite3.Error):  # the next time will do
                await self.keeper.call(Library.checkpoint)


def application(review: Review) -> Starlette:
    """Return the application for one library; `security.Gate` belongs before it."""
    pages = _Pages(review)
    routes = [
        Route("/", pages.shell),
        Route("/static/{name}", pages.static),
        Route("/api/queue", pages.queue),
        Route("/api/names", pages.names),
        Route("/api/people", pages.people),
        Route("/api/person/{number:int}", pages.person),
        Route("/api/clusters", pages.clusters),
        Route("/api/cluster/{number:int}", pages.cluster),
        Route("/api/photo/{photo}", pages.photo),
        Route("/api/history", pages.history),
        Route("/api/search", pages.search),
        Route("/api/changes", pages.changes),
        Route("/api/decide", pages.decide, methods=["POST"]),
        Route("/face/{face:int}/{wide:int}", pages.face_picture),
        Route("/round/{face:int}/{side:int}", pages.round_picture),
        Route("/photo/{photo}/{side:int}", pages.photo_picture),
    ]
    return Starlette(
        routes=routes,
        lifespan=review.lifespan,
        exception_handlers={
            Outdated: _failed(409),
            UnknownName: _failed(404),
            UsageError: _failed(422),
            PhotoError: _failed(404),
            StoreBusy: _failed(503),
            PhotoclusterError: _failed(500),
            BodyTooLarge: _failed(413),
        },
    )


def _failed(status: int) -> Callable[[Request, Exception], Response]:
    """Return a handler that says what was wrong."""

    def answer(_: Request, error: Exception) -> Response:
        return _json({"error": str(error) or "too much at once"}, status=status)

    return answer


def _json(value: Any, *, status: int = 200) -> Response:
    return JSONResponse(value, status_code=status, headers={"Cache-Control": "no-store"})


class _Pages:
    """The answers, one a method."""

    def __init__(self, review: Review) -> None:
        self._review = review
        package = resources.files("photocluster")
        files = [*(package / "review" / "static").iterdir(), package / "templates" / PLACEHOLDER]
        self._files = {file.name: file.read_bytes() for file in files if _suffix(file.name) in _TYPES}

    async def shell(self, _: Request) -> Response:
        return self._file("index.html")

    async def static(self, request: Request) -> Response:
        """Answer with one of the files of the package, by its name in a table: no path is put together."""
        name = request.path_params["name"]
        return self._file(name) if name in self._files else _json({"error": "there is no such file"}, status=404)

    def _file(self, name: str) -> Response:
        headers = {"Cache-Control": "no-cache"}
        return Response(self._files[name], media_type=_TYPES[_suffix(name)], headers=headers)

    async def queue(self, request: Request) -> Response:
        """Answer with the first questions, what was put off (`later`) last, and whether `current` is still open."""
        queue, number = self._review.queue, self._review.changes.number
        await queue.refresh()
        current = await queue.is_open(request.query_params.get("current", ""))
        later = set(request.query_params.get("later", "").split(","))
        wanted = sorted(queue.questions, key=lambda question: question["id"] in later)
        shown = await self._review.reader.call(showing.questions, wanted)
        return _json(
            {
                "questions": shown,
                "current_open": current,
                "progress": queue.progress,
                "sure": queue.sure,
                "working": queue.working,
                "trouble": queue.trouble,
                "number": number,
            }
        )

    async def names(self, _: Request) -> Response:
        return _json(showing.names(await self._review.lists.of(everybody)))

    async def people(self, request: Request) -> Response:
        asked, (first, count) = request.query_params, _window(request)
        infos = await self._review.lists.of(everybody)
        found = matching(infos, asked.get("q", ""), largest_first=asked.get("order") == "faces")
        return _json(await self._review.reader.call(showing.people, found, first, count))

    async def person(self, request: Request) -> Response:
        number, (first, count) = request.path_params["number"], _window(request)
        return _json(await self._review.reader.call(showing.person, number, first, count))

    async def clusters(self, request: Request) -> Response:
        unnamed, (first, count) = await self._review.lists.of(_unnamed), _window(request)
        return _json(await self._review.reader.call(showing.clusters, unnamed, first, count))

    async def cluster(self, request: Request) -> Response:
        number, (first, count) = request.path_params["number"], _window(request)
        if number > MAX_NUMBER:
            raise UnknownName("there is no such cluster")
        return _json(await self._review.reader.call(showing.cluster, number, first, count))

    async def photo(self, request: Request) -> Response:
        return _json(await self._review.reader.call(showing.photo, request.path_params["photo"]))

    async def history(self, request: Request) -> Response:
        before = _number(request, "before", 0)
        return _json(await self._review.reader.call(showing.history, before, _window(request)[1]))

    async def search(self, request: Request) -> Response:
        first, count = _window(request)
        text = request.query_params.get("q", "")
        return _json(await self._review.reader.call(showing.search, text, first, count))

    async def decide(self, request: Request) -> Response:
        """Do what was decided, before anything that is only to be shown."""
        fields = await _object(request)
        if fields.get("do") == "name-the-sure":
            named = await self._review.queue.name_the_sure()
            self._review.changes.look()
            return _json({"event": named["event"], "words": deciding.named_the_sure(named)})
        look = deciding.look_first(fields)
        parts = None if look is None else await self._review.finder.call(look)
        done = await self._review.decider.call(deciding.do, fields, self._review.queue.question, parts)
        if fields.get("do") == "answer":
            self._review.queue.answered(str(fields["question"]))
        self._review.changes.look()
        return _json({"event": done.event, "words": done.words})

    async def changes(self, _: Request) -> Response:
        """Tell a window of each change, as server-sent events."""
        return StreamingResponse(self._told(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _told(self) -> AsyncIterator[str]:
        changes = self._review.changes
        number = -1
        while not changes.ended:
            now = await changes.after(number, HEARTBEAT)
            yield f"data: {now}\n\n" if now != number else ": still there\n\n"
            number = now

    async def face_picture(self, request: Request) -> Response:
        face, wide = request.path_params["face"], request.path_params["wide"]
        if wide not in FACE_WIDTHS:
            raise UnknownName("there is no picture of that size")
        return _picture(await self._review.pictures.of_face(face, wide))

    async def round_picture(self, request: Request) -> Response:
        """Answer with what is round a face: its photo, or its frame of a video."""
        face, side = request.path_params["face"], request.path_params["side"]
        if side not in PHOTO_SIDES:
            raise UnknownName("there is no picture of that size")
        return _picture(await self._review.pictures.round_face(face, side))

    async def photo_picture(self, request: Request) -> Response:
        photo, side = request.path_params["photo"], request.path_params["side"]
        if side not in PHOTO_SIDES:
            raise UnknownName("there is no picture of that size")
        return _picture(await self._review.pictures.of_photo(photo, side))


def _unnamed(library: Library) -> list[tuple[int, int]]:
    return library.clusters.unnamed()


def _suffix(name: str) -> str:
    return Path(name).suffix


def _picture(content: bytes) -> Response:
    headers = {"Cache-Control": f"private, max-age={PICTURE_SECONDS}"}
    return Response(content, media_type="image/jpeg", headers=headers)


def _window(request: Request) -> tuple[int, int]:
    """Return from which entry on, and how many, as the request asks for."""
    return _number(request, "first", 0), min(_number(request, "count", PAGE), PAGE)


def _number(request: Request, key: str, default: int) -> int:
    text = request.query_params.get(key, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else default


async def _object(request: Request) -> Mapping[str, Any]:
    """Return the JSON object of a request.

    Raises
    ------
    UsageError
        It is none.
    """
    try:
        value = json.loads(await request.body())
    except ValueError as error:
        raise UsageError(f"the request is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("the request is no JSON object")
    return value

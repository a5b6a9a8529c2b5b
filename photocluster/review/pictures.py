"""Pictures of faces and photos for the page: made once, kept in the library's cache. Originals are only read."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from photocluster.errors import UnknownName
from photocluster.pipeline.reviewing import picture_of
from photocluster.records import FaceRow
from photocluster.review.desk import Desk
from photocluster.store import Library
from photocluster.store.pictures import PictureCache
from photocluster.thumbnails import THUMBNAIL_SIZE, long_side_needed, preview, thumbnail, thumbnail_key

FACE_WIDTHS = (THUMBNAIL_SIZE, 480)
"""In a grid, and in a question: twice the pixels at which they are shown, for screens of double density."""

PHOTO_SIDES = (400, 1600)
"""Long side of a photo in a list, and of one to look at."""

MOST_WORKERS = 4


class Pictures:
    """Makes the pictures of one library.

    Parameters
    ----------
    folder
        The library folder.
    max_bytes
        Limit of the cache.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._cache = PictureCache(folder, max_bytes=max_bytes)
        self._desk = Desk(folder)
        self._pool = ThreadPoolExecutor(min(MOST_WORKERS, os.cpu_count() or 1), thread_name_prefix="pictures")
        self._guard = threading.Lock()
        self._photos: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    async def of_face(self, face: int, wide: int) -> bytes:
        """Return a face as JPEG.

        Raises
        ------
        UnknownName
            There is no such face.
        PhotoError
            Its photo cannot be read.
        """
        rows = await self._desk.call(_with_neighbours, face)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._face, face, rows, wide)

    async def round_face(self, face: int, long_side: int) -> bytes:
        """Return the photo, or the frame of the video, that shows a face. The errors are those of `of_face`."""
        rows = await self._desk.call(_with_neighbours, face)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._photo, rows[0], long_side)

    async def of_photo(self, photo: str, long_side: int) -> bytes:
        """Return a photo as JPEG, by hash; of a video one frame. The errors are those of `of_face`."""
        rows = await self._desk.call(_in_photo, photo)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._photo, rows[0], long_side)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)
        self._desk.close()

    def _face(self, face: int, rows: list[FaceRow], wide: int) -> bytes:
        """Return one face of a photo, and keep those of the others as well: the photo is decoded once."""
        photo = rows[0].photo
        names = {row.face: f"{row.face}-{thumbnail_key(row)}-{wide}" for row in rows}
        with self._lock(photo):
            kept = self._cache.get(photo, names[face])
            if kept is not None:
                return kept
            wanted = rows if wide == THUMBNAIL_SIZE else [row for row in rows if row.face == face]
            decoded = picture_of(rows[0], long_side_needed(wanted, wide))
            made = {row.face: thumbnail(decoded, row, wide) for row in wanted}
            for other, content in made.items():
                self._cache.put(photo, names[other], content)
            return made[face]

    def _photo(self, row: FaceRow, long_side: int) -> bytes:
        name = f"photo-{long_side}" if row.time is None else f"frame-{round(row.time * 1000)}-{long_side}"
        with self._lock(row.photo):
            kept = self._cache.get(row.photo, name)
            if kept is None:
                kept = preview(picture_of(row, long_side), long_side)
                self._cache.put(row.photo, name, kept)
            return kept

    def _lock(self, photo: str) -> threading.Lock:
        """Return the lock of a photo, so that two requests do not decode it twice; one of 64 that they share."""
        with self._guard:
            return self._photos[photo[:1] + photo[-1:]]


def _with_neighbours(library: Library, face: int) -> list[FaceRow]:
    """Return the faces of the photo that shows a face."""
    rows = library.faces.several([face])
    if not rows:
        raise UnknownName(f"there is no face {face} (any more)")
    of_moment = [row for row in library.faces.of_hash(rows[0].photo) if row.time == rows[0].time]
    return [rows[0], *(row for row in of_moment if row.face != face)]


def _in_photo(library: Library, photo: str) -> list[FaceRow]:
    rows = library.faces.of_hash(photo)
    if not rows:
        raise UnknownName("there is no such photo (any more), or it shows nobody")
    return rows

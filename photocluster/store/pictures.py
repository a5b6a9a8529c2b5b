"""A cache of small pictures, in the library folder: of faces and photos, by the photo's hash.

``.pictures/<first two digits of the hash>/<hash>/<name>.jpg``. What was not looked at for longest goes first when the
cache is full. All of it can be deleted at any time; what is forgotten of the library is deleted here as well.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

FOLDER = ".pictures"
"""Hidden, so that a scan of a folder that the library lies in passes over it."""

MAX_BYTES = 500_000_000
"""Of the whole cache by default: 40,000 faces at the 12 kB that one of 224 pixels takes."""

KEPT = 0.8
"""Part of the limit that is left after making room, so that room is made seldom."""

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9-]{1,80}")


class PictureCache:
    """The pictures of one library; may be used by several threads and processes.

    Parameters
    ----------
    library
        The library folder.
    max_bytes
        Limit of the size of all files together.
    """

    def __init__(self, library: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = library / FOLDER
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._bytes: int | None = None

    def get(self, photo: str, name: str) -> bytes | None:
        """Return a picture, or None if it is not there."""
        path = self._path(photo, name)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):
            os.utime(path)
        return content

    def put(self, photo: str, name: str, content: bytes) -> None:
        """Keep a picture, and make room if need be; on a full or write-protected disk nothing is kept."""
        path = self._path(photo, name)
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(part).replace(path)
        with self._lock:
            self._bytes = sum(size for _, size, _ in self._files()) if self._bytes is None else self._bytes
            self._bytes += len(content)
            if self._bytes > self._max_bytes:
                self._bytes = self._make_room()

    def _path(self, photo: str, name: str) -> Path:
        if not _HASH.fullmatch(photo) or not _NAME.fullmatch(name):
            raise ValueError(f"no name of a picture: {photo!r} {name!r}")
        return self._folder / photo[:2] / photo / f"{name}.jpg"

    def _files(self) -> list[tuple[float, int, str]]:
        """Return (time of the last look, size, path) of all files, longest ago first."""
        found = []
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118  tens of thousands of them
                with suppress(OSError):
                    status = os.stat(path)  # noqa: PTH116
                    found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _make_room(self) -> int:
        """Delete what was not looked at for longest; return how many bytes are left."""
        files = self._files()
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= KEPT * self._max_bytes:
                break
            with suppress(OSError):
                Path(path).unlink()
                left -= size
        return left


def forget_pictures(library: Path, photos: Iterable[str]) -> None:
    """Delete the pictures of photos, by hash."""
    for photo in photos:
        if _HASH.fullmatch(photo):
            shutil.rmtree(library / FOLDER / photo[:2] / photo, ignore_errors=True)

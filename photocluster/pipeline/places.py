"""Files beside photos: which holds a photo's names, whether it may be written, and writing it whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from photocluster import video
from photocluster.errors import PhotoError
from photocluster.store import PhotoFile

BESIDE = frozenset((".xmp", ".json", ".aae", ".pp3", ".dop", ".thm", ".txt", ".xml", ".ini", ".cos", ".nks", ".on1"))
"""Suffixes of files that are no media, but belong to one of the same name: sidecars of other programs."""


READ_ONLY = "is read-only, and was left as it is; give yourself the right to write to it first"


def changed_since(file: PhotoFile) -> str | None:
    """Return why the names must not be written, or None: the file is another than the scan saw."""
    try:
        status = file.path.stat()
        if (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns):
            return None
        if file.sha256 and status.st_size == file.size and video.content_hash(file.path) == file.sha256:
            return None
    except PhotoError as error:
        return str(error).removeprefix(f"{file.path} ")
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "has changed since the last scan; scan it, then export again"


def sidecars_to_write(path: Path, siblings: Siblings | None = None) -> list[Path]:
    """Return where the names of a photo go: the sidecars that are there, or else a new `photo.jpg.xmp`.

    A `photo.xmp` counts where no other photo or video has that stem; with two, it belongs to the one or the other.
    """
    full = [path.with_name(f"{path.name}{suffix}") for suffix in (".xmp", ".XMP")]
    short = [path.with_suffix(suffix) for suffix in (".xmp", ".XMP")]
    there = [next((place for place in places if place.exists() and place != path), None) for places in (full, short)]
    if there[1] is None or (siblings or Siblings()).share_stem(path):
        return [there[0] or full[0]]
    return [place for place in there if place is not None]


def read_only(path: Path) -> bool:
    """Whether its owner protected a file: nobody has the right to write to it, though its folder would let us."""
    try:
        return not path.stat().st_mode & 0o222
    except OSError:
        return False


class Siblings:
    """The photos and videos of one folder at a time, by their stems: folders hold thousands, and files come by path."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._names: dict[str, set[str]] = {}

    def share_stem(self, path: Path) -> bool:
        """Whether another photo or video has a file's name but for the suffix."""
        if path.parent != self._folder:
            self._folder, self._names = path.parent, {}
            with suppress(OSError), os.scandir(path.parent) as entries:
                for name in (entry.name for entry in entries if Path(entry.name).suffix.lower() not in BESIDE):
                    self._names.setdefault(Path(name).stem.casefold(), set()).add(name)
        return bool(self._names.get(path.stem.casefold(), set()) - {path.name})


def put(path: Path, content: bytes | None) -> None:
    """Write a file whole or not at all, with the mode that it had; None removes it. Links are followed.

    Raises
    ------
    OSError
        The file is as it was.
    """
    place = Path(os.path.realpath(path))
    if content is None:
        place.unlink()
        return
    part = part_beside(place)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(place.stat().st_mode & 0o7777 if place.exists() else 0o666 & ~_umask())
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(place.parent)


def part_beside(place: Path, suffix: str = "") -> Path:
    """Return a new, empty, hidden file beside another; its name is short, for that of the other may be of full length.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    handle, name = tempfile.mkstemp(prefix=".photocluster-", suffix=f".part{suffix}", dir=place.parent)
    os.close(handle)
    return Path(name)


def sync_folder(folder: Path) -> None:
    """Have the names of a folder's files reach the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    """Return the mask of new files' modes, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

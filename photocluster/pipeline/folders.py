"""A folder per person, with links to the photos or copies of them: for a picture frame, a stick, a program without XMP.

The folder holds ``photocluster-folders.json``, which lists every entry that photocluster made::

    {"format": "photocluster folders", "version": 1, "link": "symlink",
     "entries": {"Ann/2019-07 beach.jpg": {"person": "Ann", "photo": "ab12...", "file": "/photos/2019-07/beach.jpg"}}}

Only what is listed there is ever replaced or removed, and only while it is still what was made: a file that somebody
put in the place of a link stays, and so does everything else that is found in the folder.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from photocluster import video
from photocluster.errors import PhotoclusterError, PhotoError, UsageError
from photocluster.pipeline.places import changed_since, put
from photocluster.records import Source
from photocluster.store import Library, PhotoFile, name_key

MANIFEST = "photocluster-folders.json"
FORMAT, VERSION = "photocluster folders", 1

LONGEST_NAME = 120
"""Bytes of a file's or folder's name: half of what file systems allow (255), as encrypted ones (eCryptfs: 143) and
paths of Windows (260 in all) allow less."""

_RESERVED = frozenset(
    (
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{device}{n}" for device in ("com", "lpt") for n in "123456789¹²³"),
    )
)
"""Names that Windows keeps for devices, with any suffix (Microsoft, Naming Files, Paths, and Namespaces)."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
"""Characters that no name may hold on Windows; "/" and NUL nowhere."""


class Link(StrEnum):
    """How a folder shows a photo."""

    SYMLINK = "symlink"
    HARD = "hard"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Entry:
    """One photo in a person's folder: who, the photo's hash, and the file that it comes from."""

    person: str
    photo: str
    file: str


@dataclass(slots=True)
class FoldersReport:
    """What was done: counts of entries and persons, (path, reason) of what was left out."""

    persons: int = 0
    made: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def export_folders(
    library: Library,
    out: Path,
    *,
    link: Link,
    include_propagated: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FoldersReport:
    """Bring a folder up to date in which each person has a folder with the photos that show that person.

    Parameters
    ----------
    out
        The folder; it is made where it is missing. Other things in it stay.
    link
        Symbolic links, hard links (on one disk only), or copies.
    include_propagated
        Also names that no human gave.

    Raises
    ------
    UsageError
        The manifest in `out` is damaged or of a newer version, or `out` is no folder.
    PhotoclusterError
        Nothing can be written there.
    """
    try:
        return _export(library, out, link, include_propagated=include_propagated, progress=progress)
    except OSError as error:
        reason = error.strerror or error
        raise PhotoclusterError(
            f"{out}: cannot be written to ({reason}); free space, or name another folder"
        ) from error


def _export(
    library: Library,
    out: Path,
    link: Link,
    *,
    include_propagated: bool,
    progress: Callable[[int, int], None] | None,
) -> FoldersReport:
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow links
    before, link_before = _read_manifest(out)
    wanted = _wanted(library, before, include_propagated=include_propagated)
    report = FoldersReport(persons=len({entry.person for entry, _ in wanted.values()}))
    out.mkdir(parents=True, exist_ok=True)
    kept = _clear(_Folders(out, link_before), before, wanted, report, everything=link is not link_before)
    _write_manifest(out, {**kept, **{name: entry for name, (entry, _) in wanted.items()}}, link)
    folders = _Folders(out, link)
    for done, (name, (entry, file)) in enumerate(wanted.items(), 1):
        if name in kept and folders.shows(name, entry, file):
            report.unchanged += 1
        elif (reason := changed_since(file) or folders.make(name, file)) is None:
            report.made += 1
        else:
            report.skipped.append((file.path, reason))
            kept.pop(name, None)
            continue
        kept[name] = entry
        if progress is not None:
            progress(done, len(wanted))
    _write_manifest(out, kept, link)
    return report


Wanted = dict[str, tuple[Entry, PhotoFile]]
"""Name relative to the folder -> what is to be there, and the file that it comes from."""


def _clear(
    folders: _Folders, before: Mapping[str, Entry], wanted: Wanted, report: FoldersReport, *, everything: bool
) -> dict[str, Entry]:
    """Remove what is not wanted any more, or all that was made; return what is left of it."""
    kept: dict[str, Entry] = {}
    for name, entry in before.items():
        if not everything and name in wanted and wanted[name][0].photo == entry.photo:
            kept[name] = entry
        elif folders.remove(name, entry):
            report.removed += name not in wanted
        elif name not in wanted:
            report.skipped.append((folders.out / name, "is no longer what photocluster made, and was left"))
    return kept


def _wanted(library: Library, before: Mapping[str, Entry], *, include_propagated: bool) -> Wanted:
    """Return what is to be there, one entry for each person and photo; what has a name already keeps it."""
    sources = tuple(Source) if include_propagated else (Source.USER, Source.IMPORTED)
    named = library.exchange.named_faces(sources)
    first: dict[int, PhotoFile] = {}
    for file in library.exchange.files():
        if file.photo in named:
            first.setdefault(file.photo, file)
    shown = [(name, file) for photo, file in first.items() for name in sorted({face.name for face in named[photo]})]
    shown.sort(key=lambda pair: (name_key(pair[0]), os.fsencode(pair[1].path)))
    had = {entry.person: PurePosixPath(name).parts[0] for name, entry in before.items()}
    folders = _unique([person for person, _ in shown], had)
    known = {(entry.person, entry.photo): name for name, entry in before.items()}
    known |= {(entry.person, entry.file): name for name, entry in before.items()}
    entries = [(Entry(person, file.sha256, _text(file.path)), file) for person, file in shown]
    wanted: Wanted = {}
    left = []
    taken: defaultdict[str, set[str]] = defaultdict(set)
    for entry, file in entries:
        name = known.get((entry.person, entry.photo)) or known.get((entry.person, entry.file))
        if name is not None and name not in wanted and name.startswith(f"{folders[entry.person]}/"):
            wanted[name] = (entry, file)
            taken[entry.person].add(_same(PurePosixPath(name).name))
        else:
            left.append((entry, file))
    for entry, file in left:
        wanted[f"{folders[entry.person]}/{_free(file.path.name, taken[entry.person])}"] = (entry, file)
    return dict(sorted(wanted.items()))


def safe_name(name: str) -> str:
    """Return a name that a file or folder can have on every platform: NFC, no reserved characters, words or endings."""
    text = os.fsencode(name).decode("utf-8", "replace")
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text))
    stem, suffix = _cut(text, LONGEST_NAME)
    text = f"{stem}{suffix}".rstrip(" .").lstrip(" ")
    if text.startswith("."):  # hidden on Unix
        text = f"_{text[1:]}"
    if text.split(".", maxsplit=1)[0].rstrip(" ").casefold() in _RESERVED:
        text = f"_{text}"
    return text or "_"


def _cut(text: str, length: int) -> tuple[str, str]:
    """Return stem and suffix, the stem cut so that both have at most `length` bytes."""
    stem, dot, suffix = text.rpartition(".")
    if not stem or len(suffix.encode()) > 10:
        stem, dot, suffix = text, "", ""
    suffix = dot + suffix
    room = length - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore"), suffix


def _same(name: str) -> str:
    """Return what is the same for two names that a file system may not tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def _unique(persons: Sequence[str], had: Mapping[str, str]) -> dict[str, str]:
    """Return person -> folder, with a number behind those that a file system may not tell from another one.

    Who `had` a folder keeps it, whoever else comes or goes.
    """
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for person in dict.fromkeys(persons):
        folder = had.get(person)
        if folder is not None and safe_name(folder) == folder and _same(folder) not in taken:
            folders[person] = folder
            taken.add(_same(folder))
    return {person: folders.get(person) or _free(person, taken) for person in dict.fromkeys(persons)}


def _free(name: str, taken: set[str]) -> str:
    safe, number = safe_name(name), 1
    candidate = safe
    while _same(candidate) in taken:
        number += 1
        stem, suffix = _cut(safe, LONGEST_NAME - len(f" ({number})"))
        candidate = f"{stem} ({number}){suffix}"
    taken.add(_same(candidate))
    return candidate


@dataclass(frozen=True, slots=True)
class _Folders:
    """The folder that is written to, and how it shows photos."""

    out: Path
    link: Link

    def shows(self, name: str, entry: Entry, file: PhotoFile | None = None) -> bool:
        """Whether what is at a place is what photocluster made there; to know the `file` spares reading a copy."""
        place = self.out / name
        try:
            if self._below_link(place):
                return False
            if self.link is Link.SYMLINK:
                return place.is_symlink() and _text(place.readlink()) == entry.file
            status = place.lstat()
            if not stat.S_ISREG(status.st_mode):
                return False
            if file is not None and (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns):
                return True
            return video.content_hash(place) == entry.photo
        except (OSError, PhotoError):
            return False

    def remove(self, name: str, entry: Entry) -> bool:
        """Take an entry away; False if it is no longer what was made."""
        place = self.out / name
        if not os.path.lexists(place):
            return True
        if not self.shows(name, entry):
            return False
        place.unlink()
        with suppress(OSError):  # other things are in it
            place.parent.rmdir()
        return True

    def make(self, name: str, file: PhotoFile) -> str | None:
        """Make an entry; return why that was not possible, or None."""
        place = self.out / name
        try:
            place.parent.mkdir(exist_ok=True)
            if self._below_link(place) or os.path.lexists(place):
                return f"is not shown: something else is at {place}"
            if self.link is Link.SYMLINK:
                place.symlink_to(file.path)
            elif self.link is Link.HARD:
                place.hardlink_to(os.path.realpath(file.path))
            else:
                self._copy(file.path, place)
        except OSError as error:
            return _why(error, self.link)
        return None

    def _below_link(self, place: Path) -> bool:
        """Whether the person's folder is a link: what lies behind it is somebody else's."""
        return place.parent.is_symlink()

    @staticmethod
    def _copy(source: Path, place: Path) -> None:
        part = place.with_name(f".{place.name}.part")
        try:
            shutil.copy2(source, part, follow_symlinks=True)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)


def _why(error: OSError, link: Link) -> str:
    if error.errno == errno.EXDEV:
        return "is on another disk, where hard links do not reach: use --link symlink or --link copy"
    if link is not Link.COPY and (error.errno in {errno.EPERM, errno.ENOTSUP} or getattr(error, "winerror", 0) == 1314):
        return f"cannot be linked to here ({error.strerror}): use --link copy"
    return f"cannot be shown there: {error.strerror or error}"


def _text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _read_manifest(out: Path) -> tuple[dict[str, Entry], Link]:
    """Return what photocluster made in a folder, and of which kind it is."""
    path = out / MANIFEST
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is no folder; name another")
    if not path.exists():
        return {}, Link.SYMLINK
    try:
        document = json.loads(path.read_bytes())
        version = (document["format"], document["version"])
        entries = {name: Entry(**entry) for name, entry in document["entries"].items()}
        link = Link(document["link"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is damaged ({error}): what is photocluster's in there nobody knows; {_ANEW}"
        ) from error
    if version != (FORMAT, VERSION):
        raise UsageError(f"{path} was written by a newer photocluster; update it, or {_ANEW}")
    if any(len(parts := PurePosixPath(name).parts) != 2 or {"..", "/"} & set(parts) for name in entries):
        raise UsageError(f"{path} is damaged: it lists what lies elsewhere; {_ANEW}")
    return entries, link


_ANEW = "name another folder, or remove this one"


def _write_manifest(out: Path, entries: Mapping[str, Entry], link: Link) -> None:
    listed = {name: asdict(entry) for name, entry in sorted(entries.items())}
    document = {"format": FORMAT, "version": VERSION, "link": link.value, "entries": listed}
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    put(out / MANIFEST, text.encode())

"""Give the names back: into XMP sidecars beside the photos, where other programs read them.

What was written is kept in the table `written`, one row per file, as JSON::

    {
      "photo": "ab12...",                     hash of the photo
      "media": "/photos/a.jpg",               the file that the names are of
      "regions": [["MWG", "Ann", [0.2, 0.3, 0.3, 0.4], false], ...],   see `xmp_regions.Written`
      "keywords": {"dc:subject": ["Ann"], ...},
      "made": ["dc:subject", ...],
      "whole": true,                          photocluster made the file
      "former": ["cd34..."],                  hashes that the photo had before names were written into its file
      "mark": "ef56..."                       of the file's bytes and of who was to be named: both as they were, nothing
    }                                         is to be done

It is written before the file is (old and new entries together) and once more after it: should the process be killed
between, what is ours is still known to be ours.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from photocluster import embedded, rdf, video
from photocluster.errors import PhotoError, UsageError
from photocluster.metadata import read_own
from photocluster.records import Box, Source
from photocluster.regions import Frame, alike, frame_of, in_fractions
from photocluster.store import Library, NamedFace, PhotoFile, name_key
from photocluster.xmp_merge import NOTHING, Beside, Memory, Merged, merge
from photocluster.xmp_regions import Named, Written

BATCH = 200
"""Files per transaction."""

BESIDE = frozenset((".xmp", ".json", ".aae", ".pp3", ".dop", ".thm", ".txt", ".xml", ".ini", ".cos", ".nks", ".on1"))
"""Suffixes of files that are no media, but belong to one of the same name: sidecars of other programs."""


READ_ONLY = "is read-only, and was left as it is; give yourself the right to write to it first"


@dataclass(frozen=True, slots=True)
class Change:
    """A file that was written, or would be: "made", "updated" or "removed".

    `diff` is the difference as a unified diff, where nothing was written; else "".
    """

    path: Path
    kind: str
    diff: str = ""


@dataclass(slots=True)
class ExportReport:
    """What an export did.

    Attributes
    ----------
    changes
        The files that were written.
    unchanged
        How many files had all the names already.
    skipped
        (path, reason) of photos that were left out.
    conflicts
        (path, our name, the name that another program gave to the same face): both stand in the file.
    embedded
        How many of the photos have names in the file itself, which an export of sidecars does not bring up to date.
    """

    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    conflicts: list[tuple[Path, str, str]] = field(default_factory=list)
    embedded: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A photo's file, and who is to be named in it."""

    file: PhotoFile
    people: tuple[Named, ...]
    frame: Frame | None


def export_xmp(
    library: Library,
    paths: Sequence[Path] = (),
    *,
    include_propagated: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write the names of a library's faces into sidecars, and take out those that were taken back.

    Parameters
    ----------
    paths
        Photos, or folders with all below; without any the whole library.
    include_propagated
        Also names that no human gave.
    dry_run
        Write nothing; the report has the differences.

    Raises
    ------
    UsageError
        A path holds no photo of the library.
    """
    report, known = ExportReport(), Known(library)
    todo = list(tasks(library, paths, include_propagated=include_propagated))
    entries = (known.entries.get(task.file.path) for task in todo)
    report.embedded = sum(bool(entry and (entry["regions"] or entry["keywords"])) for entry in entries)
    for start in range(0, len(todo), BATCH):
        batch = Batch(library, report, known, dry_run=dry_run)
        for task in todo[start : start + BATCH]:
            batch.plan(task)
        batch.write()
        if progress is not None:
            progress(min(start + BATCH, len(todo)), len(todo))
    return report


def tasks(library: Library, paths: Sequence[Path], *, include_propagated: bool) -> Iterator[Task]:
    """Yield the files in which somebody is named, or was.

    Raises
    ------
    UsageError
        A path holds no photo of the library.
    """
    sources = tuple(Source) if include_propagated else (Source.USER, Source.IMPORTED)
    named = library.exchange.named_faces(sources)
    once = {entry["media"] for entry in library.exchange.written().values()}
    roots = {os.path.abspath(path): path for path in paths}  # noqa: PTH100 - resolve() would follow links
    met: set[str] = set()
    files: list[PhotoFile] = []
    by_photo: dict[int, PhotoFile] = {}
    for file in library.exchange.files():
        if file.photo in named:
            by_photo[file.photo] = file
        above = _above(file.path, roots)
        met.update(above)
        if (above or not roots) and (file.photo in named or file.shown_by in named or os.fsdecode(file.path) in once):
            files.append(file)
    for root, given in roots.items():
        if root not in met:
            raise UsageError(f"{given} holds no photo of this library. Add it first with: photocluster scan {given}")
    for file in files:
        people = _people(file, named, by_photo)
        yield Task(file, tuple(people), None if _is_video(file) else _frame(file))


def _above(path: Path, roots: Iterable[str]) -> list[str]:
    """Return those of some paths that a file is, or lies below."""
    here = os.fspath(path)
    return [root for root in roots if here == root or here.startswith(root.rstrip(os.sep) + os.sep)]


def _people(
    file: PhotoFile, named: Mapping[int, Sequence[NamedFace]], by_photo: Mapping[int, PhotoFile]
) -> list[Named]:
    """Return who is in a photo: by its own faces, and by those of the photo that shows the same moment."""
    people = [] if file.photo is None else [_named(face, file) for face in named.get(file.photo, ())]
    other = by_photo.get(file.shown_by) if file.shown_by is not None else None
    if other is not None:
        one_shape = alike((file.facts.width, file.facts.height), (other.facts.width, other.facts.height))
        own = {person.name for person in people}
        faces = named.get(file.shown_by, ()) if file.shown_by is not None else ()
        beside = [_named(face, other) for face in faces if face.name not in own]
        people += beside if one_shape else [Named(person.name, None) for person in beside]
    return people


def _is_video(file: PhotoFile) -> bool:
    """Whether a file is a video; one that was never worked on is looked at."""
    if file.photo is not None:
        return file.facts.duration is not None
    try:
        return video.sniff(file.path)
    except PhotoError:
        return False  # it is read again, and the reason told, before anything is written


def _named(face: NamedFace, file: PhotoFile) -> Named:
    if face.box is None or file.facts.duration is not None:
        return Named(face.name, None)
    return Named(face.name, in_fractions(face.box, file.facts.width, file.facts.height))


def _frame(file: PhotoFile) -> Frame:
    of_its_own = file.photo is None or file.facts.format in {"HEIF", "AVIF"}
    coded = embedded.orientation(file.path) if of_its_own else None
    return frame_of(file.facts, coded)


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


def said_in_the_photo(library: Library, task: Task) -> Beside:
    """Return what the photo's own metadata say, and a sidecar would hide from programs that read one place only.

    Of persons whom the library knows it says itself where they are. Videos and RAW files would have to be searched from
    end to end, and are not.
    """
    file = task.file
    if not task.people or task.frame is None or file.photo is None or file.facts.format == "RAW":
        return NOTHING
    own = read_own(file.path, file.facts)
    known = {name_key(name) for name in own.names() if library.names.person_id(name) is not None}
    return Beside(
        tuple(tag for tag in own.tags if tag and name_key(tag[-1]) not in known),
        tuple(keyword for keyword in own.keywords if name_key(keyword) not in known),
        tuple(person for person in own.persons if name_key(person) not in known),
        tuple(Named(face.name, face.box) for face in own.faces() if name_key(face.name) not in known),
    )


class Known:
    """What was written so far, by file, and by photo for those that moved."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self.entries = library.exchange.written()
        self.siblings = Siblings()
        self._by_photo: dict[str, list[Path]] = {}
        for path, entry in self.entries.items():
            if entry["photo"]:
                self._by_photo.setdefault(entry["photo"], []).append(path)

    def at(self, path: Path, sha256: str) -> dict[str, Any] | None:
        """Return what is ours in a file; one that came along with a moved photo is known by the photo."""
        entry = self.entries.get(path)
        if entry is None and path.exists():
            moved = (other for other in self._by_photo.get(sha256, ()) if not other.exists())
            entry = next((self.entries[other] for other in moved if other.suffix == path.suffix), None)
        return entry

    def keep(self, entries: Mapping[Path, dict[str, Any] | None]) -> None:
        """Keep what is ours in some files now."""
        new = {path: entry for path, entry in entries.items() if entry != self.entries.get(path)}
        self._library.exchange.keep_written(new)
        for path, entry in new.items():
            if entry is None:
                self.entries.pop(path, None)
            else:
                self.entries[path] = entry


class Batch:
    """Some files: all are read and merged, then what is ours is noted, then all are written."""

    def __init__(self, library: Library, report: ExportReport, known: Known, *, dry_run: bool) -> None:
        self._library = library
        self._report = report
        self._known = known
        self._dry_run = dry_run
        self._planned: list[tuple[Task, Path, bytes, Merged]] = []

    def plan(self, task: Task, sidecars: Sequence[Path] | None = None) -> None:
        """Read and merge the sidecars of a photo: those given, else those of `sidecars_to_write`."""
        reason = changed_since(task.file)
        if reason is not None:
            self._report.skipped.append((task.file.path, reason))
            return
        for path in sidecars_to_write(task.file.path, self._known.siblings) if sidecars is None else sidecars:
            try:
                before = path.read_bytes() if path.exists() else b""
                if before and _mark(before, task) == (self._known.at(path, task.file.sha256) or {}).get("mark"):
                    self._report.unchanged += 1
                    continue
                beside = said_in_the_photo(self._library, task)
                merged = merge(before, task.people, self._memory(path, task), task.frame, beside)
            except OSError as error:
                self._report.skipped.append((path, f"cannot be read: {error.strerror or error}"))
            except PhotoError as error:
                self._report.skipped.append((path, str(error)))
            else:
                if (merged.content or b"") != before and read_only(path):
                    self._report.skipped.append((path, READ_ONLY))
                    continue
                self._report.conflicts += [(path, *names) for names in merged.conflicts]
                self._planned.append((task, path, before, merged))

    def _memory(self, path: Path, task: Task) -> Memory:
        entry = self._known.at(path, task.file.sha256)
        return Memory() if entry is None else memory_of(entry)

    def write(self) -> None:
        """Write what was planned."""
        due = [plan for plan in self._planned if (plan[3].content or b"") != plan[2]]
        self._report.unchanged += sum(bool(before) for _, _, before, _ in self._planned) - sum(bool(d[2]) for d in due)
        if self._dry_run:
            self._report.changes += [
                Change(path, _kind(before, merged.content), difference(path, before, merged.content or b""))
                for _, path, before, merged in due
            ]
            return
        both = {path: together(self._memory(path, task), merged.memory) for task, path, _, merged in due}
        self._library.exchange.keep_written({path: entry_of(task.file, both[path]) for task, path, *_ in due})
        failed = set()
        for _, path, before, merged in due:
            try:
                put(path, merged.content)
                self._report.changes.append(Change(path, _kind(before, merged.content)))
            except OSError as error:
                self._report.skipped.append((path, f"cannot be written: {error.strerror or error}"))
                failed.add(path)
        kept = {path: _marked(task, merged) for task, path, _, merged in self._planned}
        self._library.exchange.keep_written({path: self._known.entries.get(path) for path in failed})
        self._known.keep({path: entry for path, entry in kept.items() if path not in failed})


MARKED = 2
"""Version of what is written: names are written anew where it is another."""


def _mark(content: bytes, task: Task) -> str:
    """Return what tells that neither a file nor what belongs into it has changed."""
    people = [asdict(person) for person in task.people]
    wanted = json.dumps([MARKED, people, task.frame and asdict(task.frame), task.file.sha256])
    return hashlib.sha256(content + wanted.encode()).hexdigest()


def _marked(task: Task, merged: Merged) -> dict[str, Any] | None:
    """Return what to keep of a file; conflicts are told each time, and so have no mark."""
    entry = entry_of(task.file, merged.memory)
    if entry is None or merged.content is None or merged.conflicts:
        return entry
    return {**entry, "mark": _mark(merged.content, task)}


def together(old: Memory, new: Memory) -> Memory:
    """Return what may be ours while a file is being written."""
    lists = {*old.keywords, *new.keywords}
    keywords = {key: tuple(dict.fromkeys((*old.keywords.get(key, ()), *new.keywords.get(key, ())))) for key in lists}
    made = tuple(sorted({*old.made, *new.made}))
    return Memory((*old.regions, *new.regions), keywords, made, old.whole or new.whole)


def entry_of(file: PhotoFile, memory: Memory, former: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return the JSON object of the table `written`; None where nothing is ours."""
    if not memory and not former:
        return None
    return {
        "photo": file.sha256,
        "media": os.fsdecode(file.path),
        "regions": [
            [r.form, r.name, [round(v, 6) for v in (r.box.x0, r.box.y0, r.box.x1, r.box.y1)], r.given]
            for r in memory.regions
        ],
        "keywords": {key: list(entries) for key, entries in sorted(memory.keywords.items())},
        "made": list(memory.made),
        "whole": memory.whole,
        "former": list(former),
    }


def memory_of(entry: Mapping[str, Any]) -> Memory:
    """Return what `entry_of` made a JSON object of."""
    regions = tuple(Written(form, name, Box(*box), given=given) for form, name, box, given in entry["regions"])
    keywords = {key: tuple(entries) for key, entries in entry["keywords"].items()}
    return Memory(regions, keywords, tuple(entry["made"]), entry["whole"])


def _kind(before: bytes, after: bytes | None) -> str:
    return "removed" if after is None else "updated" if before else "made"


def difference(path: Path, before: bytes, after: bytes) -> str:
    """Return the unified diff of two packets, without what only the form of the XML differs in."""
    old = rdf.parse(before) if before else None
    plain = rdf.serialised(old, before) if old is not None else before
    lines = difflib.unified_diff(
        plain.decode("utf-8", "replace").splitlines(),
        after.decode("utf-8", "replace").splitlines(),
        f"{path}",
        f"{path}",
        lineterm="",
        n=2,
    )
    return "\n".join(lines)


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

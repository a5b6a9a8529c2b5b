"""Give the names back: into XMP sidecars beside the photos, where other programs read them."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from photocluster import embedded, rdf, video
from photocluster.errors import PhotoError, UsageError
from photocluster.metadata import read_own
from photocluster.pipeline.places import READ_ONLY, changed_since, put, read_only, sidecars_to_write
from photocluster.pipeline.written import Known, entry_of, memory_of, together
from photocluster.records import Source
from photocluster.regions import Frame, alike, frame_of, in_fractions
from photocluster.store import Library, NamedFace, PhotoFile, name_key
from photocluster.xmp_merge import NOTHING, Beside, Memory, Merged, merge
from photocluster.xmp_regions import Named

BATCH = 200
"""Files per transaction."""


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
    roots: dict[str, set[Path]] = {}
    for path in paths:
        for place in (os.path.abspath(path), os.path.realpath(path)):  # noqa: PTH100 - the library may know either
            roots.setdefault(place, set()).add(path)
    met: set[Path] = set()
    files: list[PhotoFile] = []
    by_photo: dict[int, PhotoFile] = {}
    for file in library.exchange.files():
        if file.photo in named:
            by_photo[file.photo] = file
        above = _above(file.path, roots)
        met.update(*(roots[root] for root in above))
        if (above or not roots) and (file.photo in named or file.shown_by in named or os.fsdecode(file.path) in once):
            files.append(file)
    for given in paths:
        if given not in met:
            raise UsageError(f"{given} holds no photo of this library. Add it first with: photocluster scan {given}")
    for file in files:
        people = _people(file, named, by_photo)
        yield Task(file, tuple(people), None if _is_video(file) else _frame(file))


def _above(path: Path, roots: Container[str]) -> list[str]:
    """Return those of some paths that a file is, or lies below."""
    found, here, below = [], os.fspath(path), ""
    while here != below:
        if here in roots:
            found.append(here)
        here, below = os.path.dirname(here), here  # noqa: PTH120 - of every file of the library
    return found


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


def _kind(before: bytes, after: bytes | None) -> str:
    return "removed" if after is None else "updated" if before else "made"


def difference(path: Path, before: bytes, after: bytes) -> str:
    """Return the unified diff of two packets, without what only the form of the XML differs in."""
    old = rdf.parse(before) if before else None
    plain = rdf.serialised(old, before) if old is not None else before
    name = str(path).replace("\n", "\\n")
    lines = difflib.unified_diff(
        plain.decode("utf-8", "replace").splitlines(),
        after.decode("utf-8", "replace").splitlines(),
        name,
        name,
        lineterm="",
        n=2,
    )
    return "\n".join(lines)

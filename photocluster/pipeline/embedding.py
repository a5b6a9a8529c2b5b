"""Names written into the photos themselves, only when the user asks for it.

A copy beside the photo is written to, compared, and put in the photo's place in one step; the photo as it was stays as
`photo.jpg.photocluster-backup`. The library then knows the new content as the same photo: no face is looked for again,
and no name has to move. Should the process be killed between the two, the next scan carries the names over.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from photocluster import embedded, rdf, video, xmp_parts
from photocluster.errors import PhotoError, StoreError
from photocluster.exiftool import LONGEST_KEYWORD, EmbeddingFailed, ExifTool
from photocluster.metadata import sidecars_of
from photocluster.pipeline.places import READ_ONLY, changed_since, part_beside, read_only, sync_folder
from photocluster.pipeline.sidecars import Batch, Change, ExportReport, Task, difference, tasks
from photocluster.pipeline.written import Known, entry_of, memory_of, together
from photocluster.store import Library, PhotoFile, name_key
from photocluster.xmp_merge import Beside, Memory, Merged, merge

BACKUP = ".photocluster-backup"

LONGEST_SUFFIX = 10
"""Characters: a longer one is no suffix, but the end of a name with a dot."""

EMBEDDABLE = frozenset(("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "JPEG2000"))
"""Formats into which names are written. RAW files are their makers' secret and stay as the camera wrote them, as all
programs keep it; they and videos get a sidecar."""

IPTC = frozenset(("JPEG", "TIFF"))
"""Formats in which other programs look for IPTC keywords."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """`backup`: keep the photo as it was; `keep_mtime`: leave its modification time; the rest as in `export_xmp`."""

    backup: bool = True
    keep_mtime: bool = False
    include_propagated: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Iptc:
    """IPTC keywords to add, to take out, and those that are ours then.

    `made` tells that there were no IPTC data before, `emptied` that there are to be none again.
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    made: bool = False
    emptied: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one file is to become: the packet before and after, and what of IPTC."""

    task: Task
    place: Path
    before: bytes
    merged: Merged
    iptc: _Iptc
    memory: Memory

    @property
    def due(self) -> bool:
        """Whether the file has to be written."""
        return (self.merged.content or b"") != self.before or bool(self.iptc.add or self.iptc.remove)


def export_embedded(
    library: Library,
    paths: Sequence[Path] = (),
    *,
    options: EmbedOptions,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write the names into the photos; into a sidecar where a format has no place for them.

    A sidecar that is there already is brought up to date too: programs read it before they read the photo.

    Raises
    ------
    MissingDependency
        ExifTool is not installed.
    UsageError
        A path holds no photo of the library.
    """
    report = ExportReport()
    groups: dict[str, list[Task]] = {}
    for task in tasks(library, paths, include_propagated=options.include_propagated):
        groups.setdefault(task.file.sha256, []).append(task)
    copies = Counter(file.sha256 for file in library.exchange.files())
    known = Known(library)
    with ExitStack() as stack:
        tool = stack.enter_context(ExifTool())
        for done, (digest, of_photo) in enumerate(groups.items(), 1):
            beside = Batch(library, report, known, dry_run=options.dry_run)
            if not digest or of_photo[0].file.facts.format not in EMBEDDABLE or of_photo[0].frame is None:
                for task in of_photo:
                    beside.plan(task)
            elif copies[digest] > len(of_photo):
                reason = "has a copy outside of what is to be exported; name both, or export sidecars"
                report.skipped += [(task.file.path, reason) for task in of_photo]
            else:
                written = _Photo(library, report, known, tool, options).write(of_photo)
                for task in written:
                    beside.plan(task, sidecars_of(task.file.path))
            beside.write()
            if progress is not None:
                progress(done, len(groups))
    return report


@dataclass(frozen=True, slots=True)
class _Photo:
    """All files of one photo: they hold the same content, and do so afterwards."""

    library: Library
    report: ExportReport
    known: Known
    tool: ExifTool
    options: EmbedOptions

    def write(self, of_photo: Sequence[Task]) -> list[Task]:
        """Write the names into the files; return them as they are known then."""
        for task in of_photo:
            reason = changed_since(task.file)
            if reason is not None:
                self.report.skipped.append((task.file.path, reason))
                return []
        try:
            plans = [self._plan(task) for task in of_photo]
        except PhotoError as error:
            self.report.skipped.append((of_photo[0].file.path, str(error)))
            return []
        for plan in plans:
            self.report.conflicts += [(plan.task.file.path, *names) for names in plan.merged.conflicts]
        due = [plan for plan in plans if plan.due]
        protected = [plan for plan in due if read_only(plan.place)]
        if protected:
            self.report.skipped += [(plan.task.file.path, READ_ONLY) for plan in protected]
            return []
        if not due or self.options.dry_run:
            self.report.unchanged += len(plans) - len(due)
            self.report.changes += [_change(plan) for plan in due]
            return list(of_photo)
        try:
            return self._replace(plans)
        except (OSError, PhotoError, StoreError) as error:
            self._forget_unwritten(plans)
            reason = f"cannot be written: {error.strerror}" if isinstance(error, OSError) else str(error)
            self.report.skipped.append((of_photo[0].file.path, reason))
            return []

    def _plan(self, task: Task) -> _Plan:
        path = task.file.path
        embedded.check_parts(path)
        before = xmp_parts.joined(embedded.packets(path))
        entry = self.known.at(path, task.file.sha256)
        ours = Memory() if entry is None else memory_of(entry)
        written = ours.keywords.get("IPTC", ())
        beside = Beside(keywords=tuple(word for word in embedded.iptc_keywords(path) if word not in written))
        merged = merge(before, task.people, ours, task.frame, beside)
        iptc = _Iptc()
        if task.file.facts.format in IPTC:
            iptc = self._keywords(path, [person.name for person in task.people], ours)
        lists = {**merged.memory.keywords, **({"IPTC": iptc.kept} if iptc.kept else {})}
        made = tuple(sorted({*merged.memory.made, *(["IPTC"] if iptc.made else [])}))
        memory = replace(merged.memory, keywords=lists, made=made)
        return _Plan(task, Path(os.path.realpath(path)), before, merged, iptc, memory)

    def _keywords(self, path: Path, names: Sequence[str], ours: Memory) -> _Iptc:
        there = self.tool.keywords(path)
        mine = [entry for entry in ours.keywords.get("IPTC", ()) if entry in there.entries]
        theirs = {name_key(entry) for entry in there.entries if entry not in mine}
        wanted = tuple(
            name
            for name in dict.fromkeys(names)
            if name_key(name) not in theirs
            and len(name.encode()) <= LONGEST_KEYWORD
            and (there.unicode or name.isascii())
        )
        made = bool(wanted) and ("IPTC" in ours.made or not there.present)
        return _Iptc(
            add=tuple(name for name in wanted if name not in mine),
            remove=tuple(entry for entry in mine if entry not in wanted),
            kept=wanted,
            made=made,
            emptied="IPTC" in ours.made and there.bare and not wanted and not theirs,
        )

    def _replace(self, plans: Sequence[_Plan]) -> list[Task]:
        """Put the files with the names in the place of those without, and tell the library."""
        file = plans[0].task.file
        self.library.exchange.keep_written({p.task.file.path: self._both(p) for p in plans})
        with ExitStack() as stack:
            parts = {plan.place: stack.enter_context(_Part(plan, self.tool)) for plan in plans}
            hashes = {video.content_hash(part.path) for part in parts.values()}
            if len(hashes) > 1:
                raise EmbeddingFailed("its copies would not be alike any more; export sidecars for them")
            for place, part in parts.items():
                if self.options.backup and not self._is_ours(file, place):
                    _back_up(place)
                part.put(keep_mtime=self.options.keep_mtime)
        now = {plan.task.file.path: _status(plan.place) for plan in plans}
        digest = hashes.pop()
        self.library.exchange.rewrite(file.sha256, digest, now)
        written = [replace(p.task, file=_renewed(p.task.file, digest, now)) for p in plans]
        entries = {}
        for task, plan in zip(written, plans, strict=True):
            before = self.known.entries.get(plan.task.file.path, {}).get("former", [])
            former = tuple(dict.fromkeys([*before, plan.task.file.sha256]))
            entries[task.file.path] = entry_of(task.file, plan.memory, former)
        self.known.keep(entries)
        self.report.changes += [Change(plan.task.file.path, "updated") for plan in plans]
        return written

    def _forget_unwritten(self, plans: Sequence[_Plan]) -> None:
        """Remember of files that stayed as they were what was remembered of them before."""
        files = [plan.task.file for plan in plans]
        left = [file.path for file in files if changed_since(file) is None]
        self.library.exchange.keep_written({path: self.known.entries.get(path) for path in left})

    def _both(self, plan: _Plan) -> Mapping[str, object] | None:
        entry = self.known.at(plan.task.file.path, plan.task.file.sha256)
        before = Memory() if entry is None else memory_of(entry)
        return entry_of(plan.task.file, together(before, plan.memory), [] if entry is None else entry["former"])

    def _is_ours(self, file: PhotoFile, place: Path) -> bool:
        """Whether the photo as it is was written by an earlier export, and a backup of the one before is there."""
        entry = self.known.entries.get(file.path)
        return bool(entry and entry["former"] and entry["photo"] == file.sha256) and _backup_of(place).exists()


class _Part:
    """A copy of a photo with the names in it, beside the photo. A context manager: what was not put is removed."""

    def __init__(self, plan: _Plan, tool: ExifTool) -> None:
        self._plan, self._tool = plan, tool
        self.path = plan.place

    def __enter__(self) -> Self:
        place = self._plan.place
        self.path = part_beside(place, place.suffix if len(place.suffix) <= LONGEST_SUFFIX else "")
        try:
            shutil.copy2(place, self.path)
            self._write()
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.path != self._plan.place:
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        content = self._plan.merged.content
        is_jpeg = self._plan.task.file.facts.format == "JPEG"
        main, extension = xmp_parts.divided(content or b"") if is_jpeg else (content or b"", b"")
        with tempfile.TemporaryDirectory() as folder:
            packet = Path(folder) / "packet.xmp"
            packet.write_bytes(main)
            self._tool.embed(
                self.path,
                None if content is None else packet,
                add=self._plan.iptc.add,
                remove=self._plan.iptc.remove,
                without_iptc=self._plan.iptc.emptied,
            )
        if extension:
            xmp_parts.put_extension(self.path, extension)
        meant = [main, extension] if extension else [main]
        if not rdf.same(xmp_parts.joined(embedded.packets(self.path)), xmp_parts.joined(meant)):
            raise EmbeddingFailed("ExifTool wrote other metadata than it was given; export a sidecar for it")
        if embedded.pictures(self.path) != embedded.pictures(self._plan.place):
            raise EmbeddingFailed("the other pictures in it would not be found any more; export a sidecar for it")
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())

    def put(self, *, keep_mtime: bool) -> None:
        """Put the copy in the photo's place."""
        place = self._plan.place
        status = place.stat()
        with suppress(OSError, AttributeError):  # only an administrator can give a file to another owner
            os.chown(self.path, status.st_uid, status.st_gid)
        if keep_mtime:
            os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.path.replace(place)
        self.path = place
        sync_folder(place.parent)


def _backup_of(place: Path) -> Path:
    return place.with_name(place.name + BACKUP)


def _back_up(place: Path) -> None:
    """Keep the photo as it is under another name, which no earlier one has."""
    backup, number = _backup_of(place), 1
    while os.path.lexists(backup):
        number += 1
        backup = place.with_name(f"{place.name}{BACKUP}-{number}")
    try:
        backup.hardlink_to(place)  # the photo is about to be replaced, not written to
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise EmbeddingFailed("has too long a name for a backup beside it; use --no-backup for it") from error
        shutil.copy2(place, backup)


def _status(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _renewed(file: PhotoFile, digest: str, now: Mapping[Path, tuple[int, int]]) -> PhotoFile:
    size, mtime_ns = now[file.path]
    return replace(file, sha256=digest, size=size, mtime_ns=mtime_ns)


def _change(plan: _Plan) -> Change:
    path = plan.task.file.path
    lines = [difference(path, plan.before, plan.merged.content or b"")]
    lines += [f"-IPTC keyword: {keyword}" for keyword in plan.iptc.remove]
    lines += [f"+IPTC keyword: {keyword}" for keyword in plan.iptc.add]
    return Change(path, "updated", "\n".join(line for line in lines if line))

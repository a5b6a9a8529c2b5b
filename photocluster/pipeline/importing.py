"""Taking in names that other programs gave: whose face, what stands against it, and what waits for a face.

An imported name is below the user's word and above propagation. It is never put in the place of what the user said, nor
of an earlier import: where they differ, it is listed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from photocluster import photos
from photocluster.errors import PhotoError, UsageError
from photocluster.foreign import NameTag, Problem, Space, TaggedPhoto
from photocluster.pipeline.claims import Claims, Conflict, Doubt, Given, Kept
from photocluster.records import Box, PhotoFacts
from photocluster.regions import choose_turn, frame_of, in_fractions, in_pixels, to_upright, turns
from photocluster.store import FileState, Library, ShownPhoto, clean_name, name_key

NOBODY = frozenset(
    {"unknown", "unknown person", "unconfirmed", "ignored", "unnamed", "(unnamed)", "no name", "not named", "?"}
)
"""What programs write where nobody was named: digiKam (Unknown, Unconfirmed, Ignored), Lightroom (unnamed, ?)."""

PEOPLE = ("people/", "people|")
"""digiKam's and Lightroom's root above the names of persons, where a program kept it in front of the name."""

NOT_SCANNED = "the library does not know this photo. Scan it, then import again"
CHANGED = "the file has changed since it was scanned. Scan it again, then import again"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would do.

    Attributes
    ----------
    event
        The number of the event; None if nothing changed, or it was only tried.
    photos
        Photos of the library for which names were found.
    given
        Names that faces carry by this import.
    already
        Names that the faces carried before, by the user's or an import's word.
    new_persons
        Who was made.
    kept
        Names that wait for a face.
    conflicts
        What the user or an earlier import said otherwise, and stands.
    doubts
        Given names that are worth a look: the face is far from the person's others.
    problems
        (file, reason) of what could not be read or used.
    unknown
        (file, reason) of photos that the library does not know as they are.
    """

    event: int | None
    photos: int
    given: tuple[Given, ...]
    already: int
    new_persons: tuple[str, ...]
    kept: tuple[Kept, ...]
    conflicts: tuple[Conflict, ...]
    doubts: tuple[Doubt, ...]
    problems: tuple[tuple[Path, str], ...]
    unknown: tuple[tuple[Path, str], ...]

    @property
    def skipped(self) -> bool:
        """Whether something needs the user's eye."""
        return bool(self.conflicts or self.problems or self.unknown)


def person_name(text: str) -> str | None:
    """Return a name as it is kept, or None where nobody is named.

    Raises
    ------
    UsageError
        It cannot be a name.
    """
    if not text.strip():
        return None
    name = clean_name(text)
    if name.casefold().startswith(PEOPLE):
        name = clean_name(name[len(PEOPLE[0]) :].replace("|", "/").rpartition("/")[2] or "?")
    return None if name_key(name) in NOBODY else name


def import_names(
    library: Library,
    found: Iterable[TaggedPhoto | Problem],
    origin: str,
    sources: Sequence[Path],
    *,
    replace: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Give faces the names that other programs gave them, as one event.

    A name with a box goes to the face that it overlaps. One for the whole photo goes to its only face, or to the one
    that surely fits the person's other faces. What finds no face is kept, and tried again by every scan and import.

    Parameters
    ----------
    found
        What a reader of `foreign` yields.
    origin
        What kind of source this is; the log and the kept names show it.
    sources
        The files or folders that were given, for the log.
    replace
        Put the names in the place of those from earlier imports, which else are conflicts; never of the user's.
    progress
        Called with the number of photos read so far.
    """
    collected = _Collected(library)
    for number, item in enumerate(found, 1):
        collected.add(item)
        if progress is not None:
            progress(number)
    arguments = {"from": origin, "paths": [_text(path) for path in sources]}
    with library.names.decide("import", arguments, dry_run=dry_run) as decision:
        claims = Claims(library, decision, origin, replace=replace)
        for photo, tags in sorted(collected.tags.items()):
            for tag in tags:
                claims.add(photo, tag.name, tag.box, centred=tag.centred)
        claims.add_kept()
        claims.place()
    made = [after["name"] for table, before, after in decision.changes if table == "person" and not before and after]
    return ImportReport(
        event=decision.event,
        photos=len(collected.tags),
        given=tuple(claims.given),
        already=claims.already,
        new_persons=tuple(made),
        kept=tuple(claims.kept),
        conflicts=tuple(claims.conflicts),
        doubts=tuple(claims.doubts),
        problems=tuple(collected.problems),
        unknown=tuple(sorted(collected.unknown.items())),
    )


def facts_of(library: Library, path: Path) -> PhotoFacts | None:
    """Return what the library knows of the photo in a file, or None."""
    digest = library.photos.hash_of(Path(os.path.abspath(path)))  # noqa: PTH100  links stay
    return None if digest is None else library.regions.facts(digest)


def place_kept(library: Library) -> int:
    """Give the kept names to faces that there are for them now, as one event; return how many were given."""
    if not library.regions.kept(waiting=False):
        return 0
    with library.names.decide("place", {}) as decision:
        claims = Claims(library, decision, "")
        claims.add_kept()
        claims.place()
    return len(claims.given)


@dataclass(slots=True)
class _Collected:
    """The tags of each photo of the library, boxes in pixels of the upright photo, and what could not be used."""

    library: Library
    tags: dict[str, list[NameTag]] = field(default_factory=dict)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    unknown: dict[Path, str] = field(default_factory=dict)
    hashes: set[str] = field(init=False)
    former: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.hashes = self.library.photos.hashes()
        self.former = self.library.exchange.former_hashes()

    def add(self, item: TaggedPhoto | Problem) -> None:
        if isinstance(item, Problem):
            self.problems.append((item.path, item.reason))
            return
        named = self._named(item)
        if not named:
            return
        digest = self._hash(item)
        if digest is None:
            return
        shown = self.library.regions.standing_for(digest)
        facts = self.library.regions.facts(digest)
        if shown is not None and facts is not None:
            self.tags.setdefault(shown.sha256, []).extend(self._in_pixels(item, named, facts, shown))

    def _named(self, item: TaggedPhoto) -> list[NameTag]:
        """Return the tags that name somebody, with their names as they are kept."""
        named = []
        for tag in item.tags:
            try:
                name = person_name(tag.name)
            except UsageError as error:
                self.problems.append((item.said_in, f"is passed over where it says {tag.name[:40]!r}: {error}"))
                continue
            if name is not None:
                named.append(NameTag(name, tag.box, tag.space, tag.centred))
        return named

    def _hash(self, item: TaggedPhoto) -> str | None:
        """Return the hash of the photo, or None for one that the library does not know, and for what is no photo."""
        digest = self.former.get(item.sha256 or "", item.sha256)
        if digest in self.hashes:
            return digest
        path = Path(os.path.abspath(item.path)) if item.path is not None else None  # noqa: PTH100  links stay
        if path is None:
            self.unknown[item.said_in / (item.sha256 or "")[:12]] = NOT_SCANNED
            return None
        for place in dict.fromkeys((path, Path(os.path.realpath(path)))):
            known = self.library.photos.file(place)
            if known is None:
                continue
            if known.state is FileState.OTHER:
                return None
            if known.state is FileState.FAILED:
                self.unknown[path] = f"the last scan could not use it: {known.error}"
                return None
            if not _has_changed(place, known.size, known.mtime_ns):
                return self.library.photos.hash_of(place)
        return self._hash_by_content(path)

    def _hash_by_content(self, path: Path) -> str | None:
        known = self.library.photos.hash_of(path)
        try:
            if known is None and not photos.sniff(path):
                return None
            digest = photos.content_hash(photos.read(path))
        except PhotoError as error:
            self.unknown[path] = NOT_SCANNED if not path.exists() else str(error)
            return None
        if self.former.get(digest, digest) not in self.hashes:
            self.unknown[path] = NOT_SCANNED if known is None else CHANGED
            return None
        return self.former.get(digest, digest)

    def _in_pixels(
        self, item: TaggedPhoto, named: list[NameTag], facts: PhotoFacts, shown: ShownPhoto
    ) -> list[NameTag]:
        """Return the tags with boxes in pixels of the photo that stands for the tagged one."""
        size = (shown.facts.width, shown.facts.height)
        stored = [tag.box for tag in named if tag.box is not None and tag.space is Space.STORED]
        turn = self._turn(item, stored, facts, shown) if stored else None
        placed = []
        for tag in named:
            box = tag.box
            if box is not None and tag.space is Space.PIXELS:
                box = in_fractions(box, facts.width, facts.height)
            elif box is not None and tag.space is Space.STORED:
                box = None if turn is None else to_upright(box, turn)
            filmed = facts.duration is not None  # of which moment the box is, nobody says
            placed.append(
                NameTag(tag.name, None if box is None or filmed else in_pixels(box, *size), centred=tag.centred)
            )
        return placed

    def _turn(self, item: TaggedPhoto, stored: list[Box], facts: PhotoFacts, shown: ShownPhoto) -> int | None:
        """Return the orientation that makes the boxes upright: the likeliest, unless they lie on faces by another."""
        candidates = turns(None, frame_of(facts)) if item.turns is None else item.turns
        if len(candidates) < 2:
            return next(iter(candidates), None)
        rows = self.library.faces.of_hash(shown.sha256)
        faces = [in_fractions(row.detection.box, row.facts.width, row.facts.height) for row in rows]
        return choose_turn(stored, candidates, faces)


def _has_changed(path: Path, size: int, mtime_ns: int) -> bool:
    """Whether a file is there and is not as it was scanned; one that cannot be seen just now is as it was."""
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) != (size, mtime_ns)


def _text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")

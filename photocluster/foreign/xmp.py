"""XMP: what `metadata` reads of the files below folders, as tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from photocluster.foreign.tags import NameTag, Problem, Space, TaggedPhoto
from photocluster.metadata import Metadata, read_regions, read_sidecar, sidecars_of
from photocluster.records import PhotoFacts
from photocluster.regions import FACE
from photocluster.walking import WalkProblem, walk

SIDECAR = ".xmp"


def read_xmp(roots: Sequence[Path], facts_of: Callable[[Path], PhotoFacts | None]) -> Iterator[TaggedPhoto | Problem]:
    """Yield the photos of which their own metadata or their sidecars name people.

    Of several sources of one photo the first that names anybody counts alone: an older one may hold a name that was
    corrected since. Its regions give boxes; persons whom it names besides are said of the photo as a whole.

    Parameters
    ----------
    roots
        Folders, photos, or sidecars (which stand for the photos beside them).
    facts_of
        What the library knows of a photo; None if it does not know it.
    """
    done: set[Path] = set()
    beside = cache(_by_stem)
    for found in walk(roots):
        if isinstance(found, WalkProblem):
            yield Problem(found.path, found.reason)
            continue
        photos = [found.path]
        if found.path.suffix.lower() == SIDECAR:
            stems = beside(found.path.parent)
            photos = [*stems.get(found.path.stem, ()), *stems.get(Path(found.path.stem).stem, ())]
            photos = [photo for photo in dict.fromkeys(photos) if found.path in sidecars_of(photo)]
            if not photos and read_sidecar(found.path).names():
                yield Problem(found.path, "names people, but the photo that it belongs to is not beside it")
        for photo in photos:
            if photo not in done:
                done.add(photo)
                yield from _tagged(photo, facts_of(photo))


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the files in a folder that are no sidecars, by their names without the last suffix."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError):
        for entry in sorted(folder.iterdir()):
            if entry.suffix.lower() != SIDECAR:
                found.setdefault(entry.stem, []).append(entry)
    return found


def _tagged(photo: Path, facts: PhotoFacts | None) -> Iterator[TaggedPhoto]:
    for source in read_regions(photo, facts):
        if source.names():
            yield TaggedPhoto(photo, _tags(source), source.path, turns=source.turns)
            return


def _tags(source: Metadata) -> tuple[NameTag, ...]:
    regions = [region for region in source.regions if region.name and region.kind == FACE]
    boxes = [NameTag(region.name, region.box if source.turns else None, Space.STORED) for region in regions]
    known = dict.fromkeys([*(region.name for region in regions), *source.persons])
    # In a tag, a name with a slash looks like two levels, or has another mark in the slash's place (`xmp_merge`).
    split = {tuple(level.strip() for level in name.split("/")) for name in known}
    split |= {(name.replace(mark, "-"),) for name in known for mark in "/|"}
    people = [tag for tag in source.tags if len(tag) > 1 and tag[0].casefold() == "people" and tag[1:] not in split]
    whole = dict.fromkeys([*known, *(tag[-1] for tag in people)])
    named = {region.name for region in regions}
    return (*boxes, *(NameTag(name) for name in whole if name not in named))

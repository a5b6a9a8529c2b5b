"""Names and regions in XMP: what other programs say of a photo, in its file and in the sidecars beside it.

Reading never fails on what a program wrote: a damaged packet says nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from photocluster import embedded
from photocluster.errors import UnreadableFile
from photocluster.rdf import children, holder, items, parse, text, top, values
from photocluster.records import PhotoFacts
from photocluster.regions import FACE, Frame, Region, frame_of, from_mp_rectangle, from_mwg_area, turns

SIDECAR_LIMIT = 64 * 2**20
"""Bytes of a sidecar that is read; one with an edit history and masks has a few million."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What one file says of a photo.

    Attributes
    ----------
    path
        The photo's own file or a sidecar.
    regions
        All regions, also unnamed ones and those of pets, as the file has them: in fractions of the picture that the
        file means. MWG's, or MP's where there is no named face among those.
    applied
        Width and height of the picture for which the regions were made, where the file says so.
    frame
        The photo's own; None where neither the caller nor the file tells.
    turns
        See `regions.turns`: the orientations by which the regions may become upright, the likeliest first. Empty when
        the boxes say nothing of this photo.
    persons
        `Iptc4xmpExt:PersonInImage`.
    tags
        `digiKam:TagsList` and `lr:hierarchicalSubject`, each as its levels from the root: ("People", "Ann").
    keywords
        `dc:subject`.
    """

    path: Path
    regions: tuple[Region, ...] = ()
    applied: tuple[float, float] | None = None
    frame: Frame | None = None
    turns: tuple[int, ...] = ()
    persons: tuple[str, ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    keywords: tuple[str, ...] = ()

    def faces(self, turn: int | None = None) -> list[Region]:
        """Return the named faces, boxes in fractions of the upright photo.

        Parameters
        ----------
        turn
            The orientation to apply; by default the likeliest of `turns`. Where there is none, no face has a box.
        """
        chosen = turn if turn is not None else next(iter(self.turns), None)
        named = [region for region in self.regions if region.kind == FACE and region.name]
        if chosen is None:
            return [Region(region.name, region.kind, None, region.form) for region in named]
        return [region.turned(chosen) for region in named]

    def names(self) -> list[str]:
        """Return every name of a person that the file gives, each once: of regions, and for the photo as a whole.

        Of the tags those below a root "People" count.
        """
        below_people = [tag[-1] for tag in self.tags if len(tag) > 1 and tag[0].casefold() == "people"]
        faces = [region.name for region in self.regions if region.kind == FACE and region.name]
        return list(dict.fromkeys([*faces, *self.persons, *below_people]))


def read_regions(path: Path, facts: PhotoFacts | None = None) -> list[Metadata]:
    """Return what is said of a photo, the source that counts most first.

    Sidecars come first, the newest before the others and the full name (`photo.jpg.xmp`) before the short one
    (`photo.xmp`) of the same age; the file itself comes last. A source that says nothing of names is left out, and so
    is a damaged one.

    Parameters
    ----------
    path
        The photo or video; it need not be there if a sidecar is.
    facts
        What the library knows of the photo; else its file is asked.
    """
    frame = _frame(path, facts)
    found = [_described(sidecar, [_content(sidecar)], frame) for sidecar in sidecars_of(path)]
    with suppress(UnreadableFile):
        found.append(_described(path, embedded.packets(path), frame))
    return [metadata for metadata in found if metadata.regions or metadata.names() or metadata.keywords]


def read_own(path: Path, facts: PhotoFacts | None = None) -> Metadata:
    """Return what the photo's file says itself, its keywords of IPTC where XMP has none; nothing if it is damaged."""
    try:
        found = _described(path, embedded.packets(path), _frame(path, facts))
    except UnreadableFile:
        return Metadata(path)
    return found if found.keywords else replace(found, keywords=tuple(embedded.iptc_keywords(path)))


def read_sidecar(path: Path, frame: Frame | None = None) -> Metadata:
    """Return what one XMP file says; of a damaged one nothing."""
    return _described(path, [_content(path)], frame)


def _frame(path: Path, facts: PhotoFacts | None) -> Frame | None:
    """Return the photo's own frame. A sidecar's `tiff:Orientation` may differ from the file's, and is not asked."""
    if facts is not None:
        coded = embedded.orientation(path) if facts.format in {"HEIF", "AVIF"} else None
        return frame_of(facts, coded)
    size = embedded.size(path)
    if size is None:
        return None
    turn = embedded.orientation(path)
    return Frame(*(size if turn < 5 else size[::-1]), turn)


def sidecars_of(path: Path) -> list[Path]:
    """Return the sidecars of a photo that are there, the one that counts most first.

    `photo.xmp` is the sidecar of every file with that stem (`photo.jpg` and `photo.nef`).
    """
    both = [path.with_name(f"{path.name}.xmp"), path.with_name(f"{path.name}.XMP")]
    both += [path.with_suffix(suffix) for suffix in (".xmp", ".XMP")] if path.suffix else []
    there: dict[tuple[int, int], tuple[int, int, Path]] = {}
    for rank, candidate in enumerate(both):
        try:
            status = candidate.stat()
        except (OSError, ValueError):
            continue
        if candidate != path:  # a file system that ignores case shows one file under both names
            there.setdefault((status.st_dev, status.st_ino), (-status.st_mtime_ns, rank, candidate))
    return [candidate for _, _, candidate in sorted(there.values())]


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SIDECAR_LIMIT)
    except OSError:
        return b""


def _described(path: Path, contents: list[bytes], frame: Frame | None) -> Metadata:
    descriptions = [node for content in contents if (tree := parse(content)) is not None for node in top(tree)]
    mwg, applied = _mwg(descriptions)
    named = any(region.name and region.kind == FACE for region in mwg)
    infos = [] if named else [info for node in descriptions for info in children(node, "MP:RegionInfo")]
    mp = [region for info in infos for _, region in mp_regions(info)]
    tags = [tuple(tag.split("/")) for tag in _all(descriptions, "digiKam:TagsList")]
    tags += [tuple(tag.split("|")) for tag in _all(descriptions, "lr:hierarchicalSubject")]
    regions = (*mwg, *mp)
    return Metadata(
        path,
        regions,
        applied,
        frame,
        _turns(regions, applied, frame),
        tuple(dict.fromkeys(_all(descriptions, "Iptc4xmpExt:PersonInImage"))),
        tuple(dict.fromkeys(tuple(level.strip() for level in tag if level.strip()) for tag in tags)),
        tuple(dict.fromkeys(_all(descriptions, "dc:subject"))),
    )


def _turns(regions: tuple[Region, ...], applied: tuple[float, float] | None, frame: Frame | None) -> tuple[int, ...]:
    if frame is None or not any(region.box for region in regions):
        return ()
    return turns(applied if any(region.form == "MWG" for region in regions) else None, frame)


def _mwg(descriptions: list[Any]) -> tuple[list[Region], tuple[float, float] | None]:
    infos = [info for node in descriptions for info in children(node, "mwg-rs:Regions")]
    sizes = (applied_to(info) for info in infos)
    found = [region for info in infos for _, region in mwg_regions(info)]
    return found, next((size for size in sizes if size is not None), None)


def applied_to(info: Any) -> tuple[float, float] | None:
    """Return width and height of `AppliedToDimensions`, or None where there are none."""
    for node in children(holder(info), "mwg-rs:AppliedToDimensions"):
        with suppress(ValueError):
            width, height = float(text(node, "stDim:w")), float(text(node, "stDim:h"))
            if width > 0 and height > 0:
                return width, height
    return None


def mwg_regions(info: Any) -> list[tuple[Any, Region]]:
    """Return the regions of an element `mwg-rs:Regions`, each with its own element."""
    applied = applied_to(info)
    return [
        (item, _mwg_region(item, applied))
        for region_list in children(holder(info), "mwg-rs:RegionList")
        for item in items(region_list)
    ]


def _mwg_region(item: Any, applied: tuple[float, float] | None) -> Region:
    area = next(iter(children(holder(item), "mwg-rs:Area")), None)
    box = None
    if area is not None:
        x, y, w, h, unit = (text(area, f"stArea:{field}") for field in ("x", "y", "w", "h", "unit"))
        box = from_mwg_area(x, y, w, h, unit, applied)
    return Region(text(item, "mwg-rs:Name"), text(item, "mwg-rs:Type") or FACE, box, "MWG")


def mp_regions(info: Any) -> list[tuple[Any, Region]]:
    """Return the regions of an element `MP:RegionInfo`, each with its own element."""
    return [(item, _mp_region(item)) for listed in children(holder(info), "MPRI:Regions") for item in items(listed)]


def _mp_region(item: Any) -> Region:
    box = from_mp_rectangle(text(item, "MPReg:Rectangle"))
    return Region(text(item, "MPReg:PersonDisplayName"), FACE, box, "MP")


def _all(descriptions: list[Any], name: str) -> list[str]:
    return [value for node in descriptions for value in values(node, name)]

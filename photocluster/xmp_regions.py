"""Face regions written into an XMP packet, in both forms, beside those of other programs.

A region of ours is told from the rest by what is remembered of it (name and place). A face that another program named
alike is left to that program; a box of another program that has no name gets ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from photocluster import rdf
from photocluster.metadata import applied_to, mp_regions, mwg_regions
from photocluster.rdf import Packet
from photocluster.records import Box
from photocluster.regions import (
    DIGITS,
    FACE,
    Frame,
    assign,
    choose_turn,
    mp_rectangle,
    mwg_area,
    to_stored,
    turns,
    within,
)
from photocluster.store.journal import name_key

SAME_REGION = 0.3
"""Boxes of one name that overlap by this much are one face: programs differ in whether hair and chin belong to it."""

SAME_PLACE = 0.5
"""Boxes that overlap by this much are one face whatever their names: neighbours in a crowd do not overlap as much."""

UNMOVED = 0.8
"""A region of ours that another program rounded to whole pixels, or wrote with fewer digits, overlaps itself so."""

SIZE = "mwg-rs:AppliedToDimensions"
"""The size of the picture for which regions were made: Immich passes over regions without it."""


@dataclass(frozen=True, slots=True)
class Named:
    """A person in a photo: the name, and the box in fractions of the upright photo, or None for the whole photo."""

    name: str
    box: Box | None


@dataclass(frozen=True, slots=True)
class Written:
    """A region that photocluster wrote: form "MWG" or "MP", name and box as they stand in the file.

    `given` tells that only the name is ours: another program's region had none.
    """

    form: str
    name: str
    box: Box
    given: bool = False


def place(
    packet: Packet, people: Sequence[Named], ours: Sequence[Written], frame: Frame
) -> tuple[list[Written], list[tuple[str, str]]]:
    """Write the regions of a photo in both forms.

    Parameters
    ----------
    packet
        What the other programs wrote, and photocluster before.
    people
        All named faces of the photo.
    ours
        What photocluster wrote before.
    frame
        The photo.

    Returns
    -------
    list of Written
        What is ours now.
    list of (str, str)
        Our name and another program's, where they are of one face.
    """
    turn = _turn(packet, frame, people)
    wanted = [
        Named(person.name, stored)
        for person in people
        if person.box is not None and (stored := within(to_stored(person.box, turn))) is not None
    ]
    written: list[Written] = []
    conflicts: list[tuple[str, str]] = []
    for form in (_Mwg(packet, frame), _Mp(packet)):
        mine = [region for region in ours if region.form == form.name]
        written += _placed(form, wanted, mine, conflicts)
    if SIZE in packet.made and not any(region.form == "MWG" for region in written):
        for info in packet.properties("mwg-rs:Regions"):
            for node in rdf.children(rdf.holder(info), SIZE):
                packet.drop(SIZE, node)
        packet.made.discard(SIZE)
    return written, list(dict.fromkeys(conflicts))


def _turn(packet: Packet, frame: Frame, people: Sequence[Named]) -> int:
    """Return the orientation that leads from the regions that the packet has to the upright photo."""
    infos = packet.properties("mwg-rs:Regions")
    boxes = [region.box for info in infos for _, region in mwg_regions(info) if region.box and region.kind == FACE]
    size = next((size for info in infos if (size := applied_to(info)) is not None), None)
    faces = [person.box for person in people if person.box is not None]
    turn = choose_turn(boxes, turns(size, frame), faces) if boxes else None
    return frame.orientation if turn is None else turn


@dataclass(frozen=True, slots=True, eq=False)
class _Present:
    """A face region of the packet: its element, name ("" for none) and box, as it has them."""

    item: Any
    name: str
    box: Box | None


class _Mwg:
    """The regions of the Metadata Working Group."""

    name = "MWG"

    def __init__(self, packet: Packet, frame: Frame) -> None:
        self.packet = packet
        self.frame = frame

    def present(self) -> list[_Present]:
        """Return the face regions."""
        return [
            _Present(item, region.name, region.box)
            for info in self.packet.properties("mwg-rs:Regions")
            for item, region in mwg_regions(info)
            if region.kind == FACE
        ]

    def add(self, name: str, box: Box) -> None:
        """Write a region behind the others."""
        info = rdf.structure(self.packet.property("mwg-rs:Regions"))
        if not rdf.children(info, SIZE):
            sizes = {"stDim:w": str(self.frame.width), "stDim:h": str(self.frame.height), "stDim:unit": "pixel"}
            rdf.fill(rdf.structure(rdf.add(info, SIZE, first=True)), sizes)
            self.packet.made.add(SIZE)
        lists = rdf.children(info, "mwg-rs:RegionList")
        array = rdf.array(lists[0] if lists else rdf.add(info, "mwg-rs:RegionList"), "rdf:Bag")
        item = rdf.structure(rdf.add(array, "rdf:li"))
        rdf.fill(item, {"mwg-rs:Name": name, "mwg-rs:Type": FACE})
        rdf.fill(rdf.structure(rdf.add(item, "mwg-rs:Area")), self._area(box))

    def renew(self, item: Any, name: str | None, box: Box | None) -> None:
        """Write another name or box into a region."""
        if name is not None:
            rdf.fill(rdf.holder(item), {"mwg-rs:Name": name})
        area = rdf.children(rdf.holder(item), "mwg-rs:Area")
        if box is not None and area:
            rdf.fill(rdf.holder(area[0]), self._area(box))

    @staticmethod
    def _area(box: Box) -> dict[str, str]:
        return {**{f"stArea:{key}": value for key, value in mwg_area(box).items()}, "stArea:unit": "normalized"}

    def remove(self, item: Any) -> None:
        """Take a region out, and what is empty then and ours."""
        rdf.remove(item)
        for info in self.packet.properties("mwg-rs:Regions"):
            if not mwg_regions(info):
                self.packet.drop("mwg-rs:Regions", info)

    @staticmethod
    def unname(item: Any) -> None:
        """Take the name out of a region of another program."""
        rdf.clear(rdf.holder(item), "mwg-rs:Name")


class _Mp:
    """The regions of Microsoft's people tagging."""

    name = "MP"

    def __init__(self, packet: Packet) -> None:
        self.packet = packet

    def present(self) -> list[_Present]:
        """Return the regions."""
        return [
            _Present(item, region.name, region.box)
            for info in self.packet.properties("MP:RegionInfo")
            for item, region in mp_regions(info)
        ]

    def add(self, name: str, box: Box) -> None:
        """Write a region behind the others."""
        info = rdf.structure(self.packet.property("MP:RegionInfo"))
        lists = rdf.children(info, "MPRI:Regions")
        array = rdf.array(lists[0] if lists else rdf.add(info, "MPRI:Regions"), "rdf:Bag")
        item = rdf.structure(rdf.add(array, "rdf:li"))
        rdf.fill(item, {"MPReg:PersonDisplayName": name, "MPReg:Rectangle": mp_rectangle(box)})

    @staticmethod
    def renew(item: Any, name: str | None, box: Box | None) -> None:
        """Write another name or box into a region."""
        fields = {"MPReg:PersonDisplayName": name, "MPReg:Rectangle": None if box is None else mp_rectangle(box)}
        rdf.fill(rdf.holder(item), {key: value for key, value in fields.items() if value is not None})

    def remove(self, item: Any) -> None:
        """Take a region out, and what is empty then and ours."""
        rdf.remove(item)
        for info in self.packet.properties("MP:RegionInfo"):
            if not mp_regions(info):
                self.packet.drop("MP:RegionInfo", info)

    @staticmethod
    def unname(item: Any) -> None:
        """Take the name out of a region of another program."""
        rdf.clear(rdf.holder(item), "MPReg:PersonDisplayName")


def _placed(
    form: _Mwg | _Mp, wanted: Sequence[Named], ours: Sequence[Written], conflicts: list[tuple[str, str]]
) -> list[Written]:
    """Bring the regions of one form up to date; return which are ours, and add to the conflicts."""
    present = form.present()
    mine, theirs = _told_apart(present, ours)
    there = _pairs([person.name for person in wanted], [person.box for person in wanted], theirs, _same_face)
    left = [person for i, person in enumerate(wanted) if i not in there]
    left, written = _renewed(form, left, mine)
    unnamed = [region for region in theirs if not region.name]
    free = _pairs([person.name for person in left], [person.box for person in left], unnamed, _same_place)
    for i, region in free.items():
        form.renew(region.item, left[i].name, None)
        written.append(Written(form.name, left[i].name, region.box or Box(0, 0, 1, 1), given=True))
    left = [person for i, person in enumerate(left) if i not in free]
    named = [region for region in theirs if region.name]
    taken = _pairs([person.name for person in left], [person.box for person in left], named, _same_place)
    conflicts += [(left[i].name, region.name) for i, region in sorted(taken.items())]
    for person in left:
        if person.box is not None:
            form.add(person.name, person.box)
            written.append(Written(form.name, person.name, person.box))
    form.packet.changed |= bool(free or left)
    return written


def _told_apart(
    present: Sequence[_Present], ours: Sequence[Written]
) -> tuple[list[tuple[_Present, Written]], list[_Present]]:
    """Return the regions that photocluster wrote, each with what it remembers of it, and those of others."""
    found = _pairs([region.name for region in ours], [region.box for region in ours], present, _unmoved)
    mine = [(region, ours[i]) for i, region in sorted(found.items())]
    ids = {id(region) for region, _ in mine}
    return mine, [region for region in present if id(region) not in ids]


def _renewed(
    form: _Mwg | _Mp, wanted: Sequence[Named], mine: Sequence[tuple[_Present, Written]]
) -> tuple[list[Named], list[Written]]:
    """Update or withdraw the regions that are ours; return who is not among them, and what is ours now."""
    by_id = {id(region): memory for region, memory in mine}
    regions = [region for region, _ in mine]
    names, boxes = [person.name for person in wanted], [person.box for person in wanted]
    found = _pairs(names, boxes, regions, _same_face)
    for fits in (_same_place, _same_name):
        still = [region for region in regions if not by_id[id(region)].given or fits is _same_place]
        still = [region for region in still if id(region) not in {id(other) for other in found.values()}]
        left = [i for i in range(len(wanted)) if i not in found]
        more = _pairs([names[i] for i in left], [boxes[i] for i in left], still, fits)
        found.update({left[i]: region for i, region in more.items()})
    written = []
    for i, region in found.items():
        memory = by_id.pop(id(region))
        box = None if memory.given or _alike(region.box, boxes[i]) else boxes[i]
        if box is not None or region.name != names[i]:
            form.renew(region.item, names[i], box)
            form.packet.changed = True
        written.append(Written(form.name, names[i], box or region.box or memory.box, given=memory.given))
    for region in regions:
        if id(region) in by_id:
            (form.unname if by_id[id(region)].given else form.remove)(region.item)
            form.packet.changed = True
    return [person for i, person in enumerate(wanted) if i not in found], written


def _pairs(
    names: Sequence[str],
    boxes: Sequence[Box | None],
    regions: Sequence[_Present],
    fits: Callable[[str, Box | None, _Present], float],
) -> dict[int, _Present]:
    """Return index -> region of the pairs that fit, the best first, each once; `fits` returns 0 where one does not."""
    scored = [
        (score, i, j)
        for i, (name, box) in enumerate(zip(names, boxes, strict=True))
        for j, region in enumerate(regions)
        if (score := fits(name, box, region)) > 0
    ]
    return {i: regions[j] for i, j, _ in assign(scored)}


def _overlap(box: Box | None, region: _Present, least: float) -> float:
    overlap = box.iou(region.box) if box is not None and region.box is not None else 0.0
    return overlap if overlap >= least else 0.0


def _same_name(name: str, box: Box | None, region: _Present) -> float:
    del box
    return 1.0 if name_key(name) == name_key(region.name) else 0.0


def _same_face(name: str, box: Box | None, region: _Present) -> float:
    """One name and one place, or a name to which a program gave no place."""
    return _same_name(name, box, region) * (_overlap(box, region, SAME_REGION) if region.box else SAME_REGION)


def _same_place(name: str, box: Box | None, region: _Present) -> float:
    del name
    return _overlap(box, region, SAME_PLACE)


def _unmoved(name: str, box: Box | None, region: _Present) -> float:
    return _same_name(name, box, region) * _overlap(box, region, UNMOVED)


def _alike(one: Box | None, other: Box | None) -> bool:
    """Whether two boxes are the same as far as they are written."""
    if one is None or other is None:
        return one is other
    sides = ((one.x0, other.x0), (one.y0, other.y0), (one.x1, other.x1), (one.y1, other.y1))
    return all(abs(a - b) < 2 * 10**-DIGITS for a, b in sides)

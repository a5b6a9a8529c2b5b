"""Names written into an XMP packet, beside what others wrote there.

What is there stays: elements that nobody here knows, other people's keywords, regions of pets and of other programs. Of
a packet that needs no change the bytes stay too. What photocluster wrote is told from the rest by a `Memory` that the
caller keeps; so it can be updated and taken out again, and a name that somebody else wrote is never taken out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from photocluster import rdf
from photocluster.errors import PhotoError
from photocluster.rdf import Packet
from photocluster.regions import Frame
from photocluster.store.journal import name_key
from photocluster.xmp_regions import SAME_PLACE, Named, Written, place

_XML = re.compile("[\ufffe\uffff]")
"""Characters that may be in a name, and not in XML (1.0, 2.2)."""

ROOT = "People"
"""The tag below which digiKam, Lightroom and others keep persons."""

KEYWORDS = {
    "digiKam:TagsList": ("rdf:Seq", "/"),
    "lr:hierarchicalSubject": ("rdf:Bag", "|"),
    "dc:subject": ("rdf:Bag", ""),
    "Iptc4xmpExt:PersonInImage": ("rdf:Bag", ""),
}
"""Per list of names: the array that it is, and what separates the levels of its entries, "" where there are none."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What photocluster wrote into a packet.

    `keywords` has the entries per list of `KEYWORDS`; `made` names the properties that were not there before; `whole`
    tells that the packet itself was not.
    """

    regions: tuple[Written, ...] = ()
    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    whole: bool = False

    def __bool__(self) -> bool:
        return bool(self.regions or self.keywords)


@dataclass(frozen=True, slots=True)
class Merged:
    """The outcome: the packet, or None where nothing is left of one that was ours; and what to remember.

    `conflicts` has (our name, the name that another program gave to that face).
    """

    content: bytes | None
    memory: Memory
    conflicts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Beside:
    """What others say of the photo in another place: in the photo itself beside a sidecar, in IPTC beside a packet.

    Programs read lists of one place and kind only, the first that they find: digiKam and Immich the tags (TagsList),
    then the others; Immich and PhotoPrism those of the sidecar, and then none of the photo's. So a list of ours hides
    what was read before, unless it says that, too.

    Attributes
    ----------
    tags
        Tags, each as its levels from the root.
    keywords, persons
        Keywords, and persons of whom no place is known.
    faces
        Named faces, in fractions of the upright photo.
    """

    tags: tuple[tuple[str, ...], ...] = ()
    keywords: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    faces: tuple[Named, ...] = ()


NOTHING = Beside()


class DamagedMetadata(PhotoError):
    """There is metadata that cannot be read; to write would lose it."""


def merge(
    content: bytes, people: Sequence[Named], ours: Memory, frame: Frame | None, beside: Beside = NOTHING
) -> Merged:
    """Bring a packet up to date with the names of a photo.

    Parameters
    ----------
    content
        The packet as it is; b"" where there is none.
    people
        All named faces of the photo.
    ours
        What photocluster wrote into this packet before.
    frame
        The photo; None for a video, where only keywords are written.
    beside
        What is said elsewhere, and is to be in lists that begin with ours.

    Raises
    ------
    DamagedMetadata
        The content is no XMP packet.
    """
    tree = rdf.parse(content) if content.strip(b"\0 \t\r\n") else None
    if tree is None and content.strip(b"\0 \t\r\n"):
        raise DamagedMetadata("its metadata is damaged or of no known kind, and was left as it is")
    people = [replace(person, name=_XML.sub("", person.name)) for person in people]
    whole = ours.whole or tree is None
    if tree is None and not people:
        return Merged(None, Memory())
    packet = Packet(rdf.empty() if tree is None else tree, ours.made)
    everybody = [*people, *_faces_beside(packet, people, beside)]
    placed, conflicts = place(packet, everybody, ours.regions, frame) if frame else ([], [])
    keywords = _keywords(packet, people, ours.keywords, beside)
    memory = Memory(tuple(placed), keywords, tuple(sorted(packet.made)), whole)
    if whole and not memory and rdf.is_empty(packet.tree):
        return Merged(None, Memory(), tuple(conflicts))
    after = rdf.serialised(packet.tree, content) if packet.changed else content
    return Merged(after, memory or Memory(), tuple(conflicts))


def _faces_beside(packet: Packet, people: Sequence[Named], beside: Beside) -> list[Named]:
    """Return the faces that the photo's own regions name, where ours would hide those."""
    names = {name_key(person.name) for person in people}
    boxes = [person.box for person in people if person.box is not None]
    if not boxes or not all(_is_fresh(packet, name) for name in ("mwg-rs:Regions", "MP:RegionInfo")):
        return []
    return [
        face
        for face in beside.faces
        if name_key(face.name) not in names
        and face.box is not None
        and all(face.box.iou(box) < SAME_PLACE for box in boxes)
    ]


def _is_fresh(packet: Packet, name: str) -> bool:
    """Whether a property was not there before photocluster wrote it."""
    there = packet.properties(name) or any(rdf.lone_values(node, name) for node in rdf.top(packet.tree))
    return name in packet.made or not there


def _keywords(
    packet: Packet, people: Sequence[Named], ours: Mapping[str, Sequence[str]], beside: Beside
) -> dict[str, tuple[str, ...]]:
    """Write the names into the lists; return which entries are ours."""
    names = list({name_key(person.name): person.name for person in people}.values())
    theirs = {prop: _theirs(packet, prop, ours.get(prop, ())) for prop in KEYWORDS}
    also = {prop: _also(prop, theirs, beside) if _is_fresh(packet, prop) and names else [] for prop in KEYWORDS}
    written = {prop: _list(packet, prop, names, ours.get(prop, ()), also[prop]) for prop in KEYWORDS}
    return {name: entries for name, entries in written.items() if entries}


def _theirs(packet: Packet, prop: str, ours: Sequence[str]) -> list[str]:
    """Return the entries of a list that are not ours."""
    mine = Counter(ours)
    theirs = []
    for entry in (value for node in rdf.top(packet.tree) for value in rdf.values(node, prop)):
        if mine[entry]:
            mine[entry] -= 1
        else:
            theirs.append(entry)
    return theirs


def _also(prop: str, theirs: Mapping[str, Sequence[str]], beside: Beside) -> list[str]:
    """Return what others wrote elsewhere, and a new list of this kind would hide."""
    if prop == "dc:subject":
        return list(beside.keywords)
    if prop == "Iptc4xmpExt:PersonInImage":
        return list(beside.persons)
    separator = KEYWORDS[prop][1]
    tags = list(beside.tags)
    for other, (_, mark) in KEYWORDS.items():
        if mark and other != prop:
            tags += [tuple(level.strip() for level in entry.split(mark)) for entry in theirs[other]]
    if tags:
        return [separator.join(_level(level, separator) for level in tag) for tag in tags]
    return [*theirs["dc:subject"], *beside.keywords]


def _list(packet: Packet, prop: str, names: Sequence[str], ours: Sequence[str], also: Sequence[str]) -> tuple[str, ...]:
    array, separator = KEYWORDS[prop]
    entries = [(item, rdf.value(item)) for node in packet.properties(prop) for item in rdf.items(node)]
    mine = {entry: item for item, entry in reversed(entries) if entry in ours}  # one of each, the first
    theirs = [entry for item, entry in entries if item not in mine.values()]
    theirs += [text for node in rdf.top(packet.tree) for text in rdf.lone_values(node, prop)]
    ours_now: list[str] = []
    for entry in _wanted(names, theirs, also, separator):
        key = _leaf(entry, separator)
        ours_now.append(entry)
        known = entry if entry in mine else next((e for e in mine if key and _leaf(e, separator) == key), None)
        if known is None:
            _append(packet, prop, array, entry)
        elif (item := mine.pop(known)) is not None and known != entry:
            item.text = entry
            packet.changed = True
    for item in mine.values():
        rdf.remove(item)
        packet.changed = True
    for node in packet.properties(prop):
        if not rdf.items(node) and not rdf.value(node):
            packet.drop(prop, node)
    return tuple(ours_now)


def _wanted(names: Sequence[str], theirs: Sequence[str], also: Sequence[str], separator: str) -> list[str]:
    """Return the entries that are to be ours, each once: what others said elsewhere, then the names."""
    keys = {name_key(_level(name, separator)) for name in names}
    said = {name_key(entry) for entry in theirs}
    wanted: dict[str, str] = {}
    for entry in also:
        key = name_key(entry)
        if key and key not in said and key not in keys:
            wanted.setdefault(key, entry)
    there = {_leaf(entry, separator) for entry in (*theirs, *wanted.values())}
    for name in names:
        level = _level(name, separator)
        if name_key(level) not in there:
            entry = f"{ROOT}{separator}{level}" if separator else name
            wanted.setdefault(name_key(entry), entry)
    return list(wanted.values())


def _append(packet: Packet, prop: str, array: str, entry: str) -> None:
    node = packet.property(prop)
    for holder in rdf.top(packet.tree):  # a single value as an attribute becomes a member of the list
        lone = holder.attrib.pop(rdf.tag(prop), None)
        if lone:
            rdf.add(rdf.array(node, array), "rdf:li").text = lone
    rdf.add(rdf.array(node, array), "rdf:li").text = entry
    packet.changed = True


def _level(name: str, separator: str) -> str:
    """Return the name as one level of a tag: "AC/DC" would be two to digiKam."""
    return name.replace(separator, "-") if separator else name


def _leaf(entry: str, separator: str) -> str:
    """Return the key of the name that an entry stands for: the last of its levels; "" for a root of its own.

    The root is not asked: digiKam names it in the language of its user.
    """
    levels = [level.strip() for level in entry.split(separator)] if separator else [entry]
    return name_key(levels[-1]) if not separator or len(levels) > 1 else ""

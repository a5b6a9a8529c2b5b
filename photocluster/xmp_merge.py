"""Names written into an XMP packet, beside what others wrote there.

What is there stays: elements that nobody here knows, other people's keywords, regions of pets and of other programs. Of
a packet that needs no change the bytes stay too. What photocluster wrote is told from the rest by a `Memory` that the
caller keeps; so it can be updated and taken out again, and a name that somebody else wrote is never taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from photocluster import rdf
from photocluster.errors import PhotoError
from photocluster.rdf import Packet
from photocluster.regions import Frame
from photocluster.store.journal import name_key
from photocluster.xmp_regions import Named, Written, place

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


class DamagedMetadata(PhotoError):
    """There is metadata that cannot be read; to write would lose it."""


def merge(content: bytes, people: Sequence[Named], ours: Memory, frame: Frame | None) -> Merged:
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
    placed, conflicts = place(packet, people, ours.regions, frame) if frame else ([], [])
    keywords = _keywords(packet, people, ours.keywords)
    memory = Memory(tuple(placed), keywords, tuple(sorted(packet.made)), whole)
    if whole and not memory and rdf.is_empty(packet.tree):
        return Merged(None, Memory(), tuple(conflicts))
    after = rdf.serialised(packet.tree, content) if packet.changed else content
    return Merged(after, memory or Memory(), tuple(conflicts))


def _keywords(packet: Packet, people: Sequence[Named], ours: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Write the names into the lists; return which entries are ours."""
    names = list({name_key(person.name): person.name for person in people}.values())
    written = {prop: _list(packet, prop, names, ours.get(prop, ())) for prop in KEYWORDS}
    return {name: entries for name, entries in written.items() if entries}


def _list(packet: Packet, prop: str, names: Sequence[str], ours: Sequence[str]) -> tuple[str, ...]:
    array, separator = KEYWORDS[prop]
    entries = [(item, rdf.value(item)) for node in packet.properties(prop) for item in rdf.items(node)]
    mine = {entry: item for item, entry in reversed(entries) if entry in ours}  # one of each, the first
    theirs = [entry for item, entry in entries if item not in mine.values()]
    theirs += [text for node in rdf.top(packet.tree) for text in rdf.lone_values(node, prop)]
    there = {_leaf(entry, separator) for entry in theirs}
    ours_now: list[str] = []
    for name in names:
        key = name_key(_level(name, separator))
        if key in there:
            continue
        entry = f"{ROOT}{separator}{_level(name, separator)}" if separator else name
        ours_now.append(entry)
        known = entry if entry in mine else next((e for e in mine if _leaf(e, separator) == key), None)
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

"""XMP of a JPEG in several parts: a packet of one segment, and an extension in others for what it has no room for.

A segment holds 64 kB. Lightroom's masks and edit histories and the depth maps of phones need more: they stand in a
second RDF document, cut into segments that carry its checksum, and the packet names that (xmpNote:HasExtendedXMP).

Source: XMP specification part 3 (2020), 1.1.3.1.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from photocluster import rdf
from photocluster.errors import PhotoError

PACKET = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"

LARGEST_PACKET = 65502
"""Bytes of a packet in a segment, by the specification."""

LARGEST_PIECE = 65400
"""Bytes of the extension in a segment, by the specification: about 65,400."""

_GUID, _HEAD = 32, 40
"""Bytes before a piece: 32 hexadecimal digits of the checksum; with the whole length and the piece's offset."""

_START_OF_SCAN = 0xDA
"""The marker behind which no metadata come."""

_EXTENDED = "xmpNote:HasExtendedXMP"

_WITH_THE_PACKET = frozenset({"mwg-rs", "MP", "digiKam", "lr", "dc", "Iptc4xmpExt", "xmp", "tiff", "exif"})
"""What goes last into an extension: names and what else many programs look for, some of which read the packet only."""

_BARE = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'


class ScatteredMetadata(PhotoError):
    """XMP of which some part does not fit the others; to write would lose it."""


def extensions(segments: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return checksum -> extension of a JPEG's APP1 segments, as far as it is there."""
    pieces: dict[bytes, dict[int, bytes]] = {}
    for segment in segments:
        body = segment.removeprefix(EXTENSION)
        if len(body) > _HEAD and len(body) < len(segment):
            offset = int.from_bytes(body[_GUID + 4 : _HEAD], "big")
            pieces.setdefault(body[:_GUID], {})[offset] = body[_HEAD:]
    return {guid: b"".join(piece for _, piece in sorted(found.items())) for guid, found in pieces.items()}


def check(segments: Sequence[bytes]) -> None:
    """Raise where writing one packet anew would lose another.

    Raises
    ------
    ScatteredMetadata
        There are two packets, or an extension that no packet names or that is incomplete.
    """
    packets = [segment for segment in segments if segment.startswith(PACKET)]
    parts = extensions(segments)
    if len(packets) > 1:
        raise ScatteredMetadata("has two XMP packets; export a sidecar for it")
    for guid, extension in parts.items():
        if not packets or guid not in packets[0]:
            raise ScatteredMetadata("has a part of extended XMP that no packet names; export a sidecar for it")
        whole = {s[len(EXTENSION) + _GUID :][:4] for s in segments if s.startswith(EXTENSION + guid)}
        if whole != {len(extension).to_bytes(4, "big")} or rdf.parse(extension) is None:
            raise ScatteredMetadata("has extended XMP that is damaged; export a sidecar for it")


def joined(packets: Sequence[bytes]) -> bytes:
    """Return a packet that says all that a packet and its extension say.

    Parameters
    ----------
    packets
        As `embedded.packets` gives them; one alone is returned as it is.
    """
    trees = [tree for packet in packets if (tree := rdf.parse(packet)) is not None]
    if len(packets) < 2 or len(trees) < len(packets):
        return b"".join(packets[:1])
    main = trees[0]
    _name(main, None)
    for extension in trees[1:]:
        for description in rdf.top(extension):
            rdf.adopt(main, description)
    return rdf.serialised(main, packets[0])


def divided(content: bytes) -> tuple[bytes, bytes]:
    """Return a packet in two: what fits one segment of a JPEG, and the extension, b"" where there is no need for one.

    Whole properties go into the extension, the largest first, those of names last.
    """
    tree = rdf.parse(content)
    if len(content) <= LARGEST_PACKET or tree is None:
        return content, b""
    extension = rdf.parse(_BARE)
    room = LARGEST_PACKET - len(rdf.serialised(_named(tree, "0" * _GUID), content))
    for description, name in _largest_first(tree):
        if room >= 0:
            break
        before = rdf.length(description)
        rdf.move(description, name, extension)
        room += before - rdf.length(description)
    body = rdf.serialised(extension)
    guid = hashlib.md5(body, usedforsecurity=False).hexdigest().upper()
    return rdf.serialised(_named(tree, guid), content), body


def _named(tree: Any, guid: str) -> Any:
    _name(tree, guid)
    return tree


def _name(tree: Any, guid: str | None) -> None:
    """Have a packet name its extension, or none."""
    for description in rdf.top(tree):
        rdf.clear(description, _EXTENDED)
    if guid is not None:
        rdf.new_property(tree, _EXTENDED).text = guid


def _largest_first(tree: Any) -> list[tuple[Any, str]]:
    """Return (description, name in Clark's notation) of the properties, in the order in which they are to go."""
    known = {rdf.NAMESPACES[prefix] for prefix in _WITH_THE_PACKET if prefix in rdf.NAMESPACES}
    found = [
        (namespace in known, -size, number, description, name)
        for number, description in enumerate(rdf.top(tree))
        for name, namespace, size in rdf.sizes(description)
        if name != rdf.tag(_EXTENDED)
    ]
    found.sort(key=lambda entry: (*entry[:3], entry[4]))
    return [(description, name) for *_, description, name in found]


def segments_of(extension: bytes) -> bytes:
    """Return the JPEG segments that hold an extension."""
    guid = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()
    made = []
    for offset in range(0, len(extension), LARGEST_PIECE):
        piece = extension[offset : offset + LARGEST_PIECE]
        body = EXTENSION + guid + struct.pack(">II", len(extension), offset) + piece
        made.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    return b"".join(made)


def put_extension(path: Path, extension: bytes) -> None:
    """Write an extension into a JPEG, right behind its packet, in place.

    It comes before the index of the other pictures (MPF), which counts their places from its own.

    Raises
    ------
    ScatteredMetadata
        The file has no packet that the extension could follow.
    """
    content = path.read_bytes()
    start, place = 2, 0
    while not place and content[start : start + 1] == b"\xff" and content[start + 1] != _START_OF_SCAN:
        after = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        if content.startswith(b"MPF\0", start + 4):
            place = start
        elif content.startswith(PACKET, start + 4):
            place = after
        start = after
    if not place:
        raise ScatteredMetadata("has no XMP packet where one was written")
    path.write_bytes(content[:place] + segments_of(extension) + content[place:])

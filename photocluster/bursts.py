"""Bursts: the photos that a camera took in one go, by what it wrote into them or by the names that it gave them."""

from __future__ import annotations

import re
import struct

HEAD = 1 << 18
"""Bytes of a file in which the camera's word is looked for: EXIF, in which the maker's note lies, and XMP come before
the pixels, and each part of a JPEG takes 64 KB at the most."""

_XMP = re.compile(rb"""GCamera:BurstID(?:\s*=\s*["']|>)\s*([\w.:-]{8,64})""")
"""Google's cameras (and others that follow them) write `GCamera:BurstID` into the XMP of each photo of a burst."""

_APPLE = b"Apple iOS\0"
_APPLE_BURST = 0x000B
"""Tag of Apple's maker note (ExifTool's table Apple, "BurstUUID"): a UUID that the photos of a burst share."""

_NAMES = (
    re.compile(r".*burst(\d{14,17})(?:_cover)?"),  # Google 00001IMG_00001_BURST20200101120000123; Sony
    re.compile(r"(.+?)[ _-]?burst[ _-]?\d{1,4}(?:_cover)?"),  # others: IMG_20200101_120000_BURST001_COVER
    re.compile(r"(\d{8}_\d{6})_\d{3}"),  # Samsung: 20200101_120000_001, with the second in which all were taken
)
"""Names without extension, in lower case; the group is what the files of a burst share. As immich-go and Aves, programs
that stack photos, have learned from their users' phones."""


def burst_of(content: bytes, name: str) -> str | None:
    """Return what the photos of one burst share and no others do, or None if the photo is of no burst.

    Names may come again: equal ones say so only of photos of one camera that were taken about the same time.

    Parameters
    ----------
    content
        Of the file, whole or its beginning.
    name
        Of the file.
    """
    found = _XMP.search(content, 0, HEAD)
    if found:
        return f"google:{found[1].decode()}"
    return _apple(content[:HEAD]) or _named(name)


def _named(name: str) -> str | None:
    stem = name.rpartition(".")[0].casefold()
    matches = (pattern.fullmatch(stem) for pattern in _NAMES)
    return next((f"name:{match[1]}" for match in matches if match), None)


def _apple(content: bytes) -> str | None:
    """Read the one tag of Apple's maker note: a directory of TIFF whose offsets count from the note's beginning."""
    start = content.find(_APPLE)
    order = {b"MM": ">", b"II": "<"}.get(content[start + 12 : start + 14]) if start >= 0 else None
    if order is None or len(content) < start + 16:
        return None
    (count,) = struct.unpack_from(f"{order}H", content, start + 14)
    for entry in range(start + 16, min(start + 16 + 12 * count, len(content) - 11), 12):
        tag, kind, length, offset = struct.unpack_from(f"{order}HHII", content, entry)
        if (tag, kind) == (_APPLE_BURST, 2) and 8 <= length <= 64:
            value = content[start + offset : start + offset + length].split(b"\0")[0]
            return f"apple:{value.decode('ascii')}" if value.isascii() and len(value) >= 8 else None
    return None

"""HEIF photos that are too large to be decoded as a whole: their tiles, one row at a time.

Phones cut a photo into tiles of 512 pixels, each an image of its own that only the grid refers to. libheif decodes
the grid at once (nine bytes a pixel with what Pillow needs); pillow-heif has no call for one tile. But a tile that is
not marked as hidden is a picture of the file like any other: so the marks are taken off in a copy of the content, and
each tile is read by its place. The boxes are those of ISO/IEC 14496-12 (8.11) and 23008-12 (6.6.2.3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image


@dataclass(frozen=True, slots=True)
class _Structure:
    """What the meta box says: the primary item, its tiles in order, where each item's entry lies, how it is turned."""

    tiles: tuple[int, ...]
    entries: dict[int, int]
    orientation: int


class TiledPicture:
    """A grid of tiles, as stored, that looks like a Pillow image whose parts are asked for from the top down."""

    def __init__(self, images: list[Any], tiling: dict[str, int], orientation: int) -> None:
        self.mode: str = images[0].mode
        self.size = (tiling["image_width"], tiling["image_height"])
        self.orientation = orientation
        self._tiling = tiling
        self._images = images
        self._row = (-1, Image.new(self.mode, (1, 1)))

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        """Return a part: left, top, right, bottom."""
        left, top, right, bottom = box
        part = Image.new(self.mode, (right - left, bottom - top))
        height = self._tiling["tile_height"]
        for row in range(top // height, -(-bottom // height)):
            part.paste(self._decoded_row(row), (-left, row * height - top))
        return part

    def _decoded_row(self, row: int) -> Image.Image:
        if self._row[0] != row:
            columns, width, height = (self._tiling[name] for name in ("num_columns", "tile_width", "tile_height"))
            picture = Image.new(self.mode, (self.size[0], height))
            for column in range(columns):
                index = row * columns + column
                picture.paste(self._images[index].to_pillow(), (column * width, 0))
                self._images[index] = None  # its pixels with it
            self._row = (row, picture)
        return self._row[1]


def open_tiles(content: bytes) -> TiledPicture | None:
    """Return the tiles of a HEIF photo; None where it is not a plain grid of tiles.

    Raises
    ------
    Exception
        Almost anything, on damaged data.
    """
    import pillow_heif

    structure = _structure(content)
    tiles = structure.tiles
    if not tiles or list(tiles) != sorted(set(tiles)):
        return None
    shown = bytearray(content)
    for item in tiles:
        shown[structure.entries[item]] &= 0xFE
    images = list(pillow_heif.open_heif(bytes(shown), convert_hdr_to_8bit=True))
    grids = [image for image in images if "tiling" in image.info]
    pieces = [image for image in images if "tiling" not in image.info]
    if len(grids) != 1 or len(pieces) != len(tiles):
        return None
    turned: Any = grids[0].info["tiling"]
    tiling = _as_stored(turned, structure.orientation)
    tile = (tiling["tile_width"], tiling["tile_height"])
    whole = tiling["num_columns"] * tiling["num_rows"] == len(pieces)
    if not whole or any(image.size != tile or image.mode not in ("L", "RGB") for image in pieces):
        return None
    return TiledPicture(pieces, tiling, structure.orientation)


def _as_stored(tiling: dict[str, int], orientation: int) -> dict[str, int]:
    """Return the figures of the grid as it lies in the file: pillow-heif gives those of the turned photo."""
    if orientation < 5:
        return tiling
    pairs = (("num_columns", "num_rows"), ("tile_width", "tile_height"), ("image_width", "image_height"))
    swapped = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return {swapped[name]: value for name, value in tiling.items()}


def orientation_of(content: bytes) -> int:
    """Return how the container of a HEIF or AVIF turns its picture, as an EXIF orientation; 1 where that is damaged.

    Parameters
    ----------
    content
        The file, or its boxes up to the end of the one named "meta".
    """
    try:
        meta = next(at for name, at in _boxes(content, 0, len(content)) if name == b"meta")
        parts = dict(_boxes(content, meta[0] + 4, meta[1]))
        start = parts[b"pitm"][0]
        primary = _number(content, start + 4, 2 if content[start] == 0 else 4)
        return _orientation(content, parts[b"iprp"], primary)
    except (IndexError, KeyError, StopIteration):
        return 1


def _structure(content: bytes) -> _Structure:
    """Read the meta box."""
    meta = next(at for name, at in _boxes(content, 0, len(content)) if name == b"meta")
    parts = dict(_boxes(content, meta[0] + 4, meta[1]))
    start = parts[b"pitm"][0]
    primary = _number(content, start + 4, 2 if content[start] == 0 else 4)
    return _Structure(
        _tiles(content, parts[b"iref"], primary) if b"iref" in parts else (),
        _entries(content, parts[b"iinf"]),
        _orientation(content, parts[b"iprp"], primary),
    )


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield the name of each box, and where its payload begins and ends."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", content, start)
        head = 8
        if size == 1:
            size, head = _number(content, start + 8, 8), 16
        size = size or end - start
        if size < head:
            return
        yield name, (start + head, min(end, start + size))
        start += size


def _number(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "big")


def _entries(content: bytes, where: tuple[int, int]) -> dict[int, int]:
    """Return where the last byte of the flags of each item's entry lies, which holds the mark of a hidden item."""
    start, end = where
    entries = {}
    for _, (at, _) in _boxes(content, start + (6 if content[start] == 0 else 8), end):
        entries[_number(content, at + 4, 4 if content[at] >= 3 else 2)] = at + 3
    return entries


def _tiles(content: bytes, where: tuple[int, int], primary: int) -> tuple[int, ...]:
    """Return the items that the primary one is derived from."""
    start, end = where
    size = 2 if content[start] == 0 else 4
    for name, (at, _) in _boxes(content, start + 4, end):
        if name == b"dimg" and _number(content, at, size) == primary:
            count = _number(content, at + size, 2)
            return tuple(_number(content, at + 2 + size * (n + 1), size) for n in range(count))
    return ()


def _orientation(content: bytes, where: tuple[int, int], primary: int) -> int:
    """Return the turn of an item as an EXIF orientation: its properties irot and imir, in their order."""
    parts = dict(_boxes(content, *where))
    properties = list(_boxes(content, *parts[b"ipco"]))
    start, end = parts[b"ipma"]
    wide_item, wide_property = content[start] >= 1, bool(content[start + 3] & 1)
    at = start + 8
    turns, mirrored = 0, False  # mirrored left to right first, then turned anticlockwise by quarters
    while at < end:
        item = _number(content, at, 4 if wide_item else 2)
        at += 4 if wide_item else 2
        count, at = content[at], at + 1
        for _ in range(count):
            index = _number(content, at, 2) & 0x7FFF if wide_property else content[at] & 0x7F
            at += 2 if wide_property else 1
            if item != primary or not index:
                continue
            name, (place, _) = properties[index - 1]
            if name == b"irot":
                turns += content[place] & 3
            elif name == b"imir":  # axis 1: left and right are swapped; 0: top and bottom, a half turn more
                turns = -turns + (0 if content[place] & 1 else 2)
                mirrored = not mirrored
    return ((1, 8, 3, 6), (2, 5, 4, 7))[mirrored][turns % 4]

"""Face regions as other programs keep them: values, the eight orientations, and the two forms MWG and MP.

A region's box is in fractions of a picture, 0..1, from its top left corner; it may reach over the edge. There are two
pictures it can refer to: the *stored* one, before the EXIF orientation is applied, which the standards mean, and the
*upright* one, which is what `records` measures in. A `Frame` says how the one becomes the other.

Sources: Metadata Working Group, Guidelines for Handling Image Metadata 2.0, section 5.9 (regions); Microsoft, People
Tagging Overview (MP); EXIF 2.32, tag 0x0112 (orientation).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from photocluster.records import Box, PhotoFacts

FACE = "Face"
"""The kind of region that stands for a person; MWG also knows Pet, Focus and BarCode, which are kept and not read."""

DIGITS = 6
"""Decimals of a fraction as it is written: a hundredth of a pixel in a photo of 10,000."""

SAME_ASPECT = 0.01
"""Aspect ratios that differ by less than this fraction are those of one picture: whole pixels of a reduced copy, and
the margin of a few pixels by which two RAW converters differ. A crop from 3:2 to 4:3 changes the ratio by 0.11."""


@dataclass(frozen=True, slots=True)
class Region:
    """A named part of a picture.

    `name` is "" where there is none; `kind` is "Face", "Pet", "Focus", "BarCode" or what a program made up; `box` is in
    fractions of the picture, or None where the source tells no place, or one of another picture; `form` is "MWG" or
    "MP".
    """

    name: str
    kind: str
    box: Box | None
    form: str

    def turned(self, orientation: int) -> Region:
        """Return the region of the stored picture as it lies in the upright one."""
        return self if self.box is None else replace(self, box=to_upright(self.box, orientation))


@dataclass(frozen=True, slots=True)
class Frame:
    """The stored picture: `width` and `height` in pixels, and the orientation 1..8 that makes it upright."""

    width: int
    height: int
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def frame_of(facts: PhotoFacts, orientation: int | None = None) -> Frame:
    """Return the frame of a photo.

    Parameters
    ----------
    facts
        Of the upright photo.
    orientation
        What to take in place of the one in `facts`: a HEIF is upright for its readers, but its regions refer to the
        picture as it was coded.
    """
    turn = facts.orientation if orientation is None else orientation
    width, height = (facts.height, facts.width) if turn >= 5 else (facts.width, facts.height)
    return Frame(width, height, turn)


def to_upright(box: Box, orientation: int) -> Box:
    """Return a box of the stored picture as it lies in the upright one; both in fractions."""
    return _boxed([_point_to_upright(x, y, orientation) for x, y in ((box.x0, box.y0), (box.x1, box.y1))])


def to_stored(box: Box, orientation: int) -> Box:
    """Return a box of the upright picture as it lies in the stored one; both in fractions."""
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the others are their own inverse
    return to_upright(box, back)


def _point_to_upright(x: float, y: float, orientation: int) -> tuple[float, float]:
    turned = {
        1: (x, y),
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (1 - y, x),
        7: (1 - y, 1 - x),
        8: (y, 1 - x),
    }
    return turned[orientation]


def _boxed(points: Sequence[tuple[float, float]]) -> Box:
    across, down = sorted(point[0] for point in points), sorted(point[1] for point in points)
    return Box(across[0], down[0], across[-1], down[-1])


def in_pixels(box: Box, width: int, height: int) -> Box:
    """Return a box in fractions in pixels of a picture of that size."""
    return Box(box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height)


def in_fractions(box: Box, width: int, height: int) -> Box:
    """Return a box in pixels in fractions of the picture of that size."""
    return Box(box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height)


def within(box: Box) -> Box | None:
    """Return the part of a box in fractions that lies in the picture, or None: readers refuse what reaches over."""
    x0, y0, x1, y1 = (min(max(side, 0.0), 1.0) for side in (box.x0, box.y0, box.x1, box.y1))
    return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def mwg_area(box: Box) -> dict[str, str]:
    """Return a box as MWG writes it: x and y of the *centre*, w and h."""
    values = {"x": (box.x0 + box.x1) / 2, "y": (box.y0 + box.y1) / 2, "w": box.width, "h": box.height}
    return {key: _written(value) for key, value in values.items()}


def from_mwg_area(x: str, y: str, w: str, h: str, unit: str, applied: tuple[float, float] | None) -> Box | None:
    """Return the box of an MWG area, or None where it is damaged, or a point.

    Parameters
    ----------
    unit
        "normalized" or "" for fractions, "pixel" for pixels of a picture of the size `applied`.
    """
    values = [_number(text) for text in (x, y, w, h)]
    if None in values:
        return None
    across, down, wide, high = (value or 0.0 for value in values)
    if unit == "pixel":
        if applied is None:
            return None
        across, down, wide, high = across / applied[0], down / applied[1], wide / applied[0], high / applied[1]
    return _valid(across - wide / 2, down - high / 2, wide, high)


def mp_rectangle(box: Box) -> str:
    """Return a box as MP writes it: "x, y, w, h" with the top left *corner*."""
    return ", ".join(_written(value) for value in (box.x0, box.y0, box.width, box.height))


def from_mp_rectangle(text: str) -> Box | None:
    """Return the box of an MP rectangle, or None where it is damaged."""
    parts = [_number(part) for part in re.split(r"[,;\s]+", text.strip())]
    if len(parts) != 4 or None in parts:
        return None
    x, y, w, h = (part or 0.0 for part in parts)
    return _valid(x, y, w, h)


def _valid(x: float, y: float, w: float, h: float) -> Box | None:
    """Return the box, unless it holds pixels where fractions are due, or zeros for want of a place."""
    if w <= 0 or h <= 0 or max(abs(x), abs(y), w, h) > 2:
        return None
    return Box(x, y, x + w, y + h)


def _number(text: str) -> float | None:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _written(value: float) -> str:
    text = f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def turns(applied: tuple[float, float] | None, frame: Frame) -> tuple[int, ...]:
    """Return the orientations by which a file's regions may become upright, the likeliest first.

    Regions are meant to refer to the stored picture (the frame's orientation); some programs have them refer to the
    upright one (1), and then mostly give its size. The second orientation is what to try where the boxes of the first
    meet no face and its own do: there are files whose size says the one, and whose boxes the other.

    Parameters
    ----------
    applied
        Width and height of the picture that the regions were made for, where the file says so.

    Returns
    -------
    tuple of int
        Empty where the regions were made for a picture of another shape: it was cropped, and the boxes say nothing.
    """
    usual = (frame.orientation, 1) if frame.orientation != 1 else (1,)
    if applied is None or alike(applied, (frame.width, frame.height)):
        return usual
    if frame.orientation >= 5 and alike(applied, frame.upright_size):
        return usual[::-1]
    return ()


def alike(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two sizes have one aspect ratio, but for what whole pixels make of it."""
    if min(*one, *other) <= 0:
        return False
    slack = max(1 / min(one), 1 / min(other), SAME_ASPECT)
    return abs(math.log(one[0] / one[1]) - math.log(other[0] / other[1])) <= slack


def choose_turn(boxes: Sequence[Box], candidates: Sequence[int], faces: Sequence[Box]) -> int | None:
    """Return the orientation of `candidates` whose boxes lie on the faces best; the first one where none is better.

    Parameters
    ----------
    boxes
        Of the file's regions, in fractions, as the file has them.
    candidates
        See `turns`; without any the answer is None.
    faces
        Boxes of detected faces, in fractions of the upright picture.
    """
    best, most = None, -1.0
    for candidate in candidates:
        upright = [to_upright(box, candidate) for box in boxes]
        shared = sum(overlap for _, _, overlap in match(upright, faces, least=0.1))
        if shared > most + 1e-9:
            best, most = candidate, shared
    return best


def match(first: Sequence[Box], second: Sequence[Box], *, least: float) -> list[tuple[int, int, float]]:
    """Pair boxes that overlap, the best pair first, each box once.

    Parameters
    ----------
    first, second
        Boxes of one unit.
    least
        Intersection over union that a pair needs.

    Returns
    -------
    list of (int, int, float)
        Index in `first`, index in `second`, and their intersection over union, falling.
    """
    return assign(
        [
            (overlap, i, j)
            for i, one in enumerate(first)
            for j, other in enumerate(second)
            if (overlap := one.iou(other)) >= least
        ]
    )


def assign(scored: Sequence[tuple[float, int, int]]) -> list[tuple[int, int, float]]:
    """Pair indices by their score, the best pair first, each index once: (score, i, j) -> (i, j, score)."""
    pairs: list[tuple[int, int, float]] = []
    used_first: set[int] = set()
    used_second: set[int] = set()
    for score, i, j in sorted(scored, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if i not in used_first and j not in used_second:
            used_first.add(i)
            used_second.add(j)
            pairs.append((i, j, score))
    return pairs

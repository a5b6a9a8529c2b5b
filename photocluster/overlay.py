"""Boxes with names, drawn into a picture; pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from photocluster.records import Box, ImageArray

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

NAMED, UNNAMED = (0, 114, 178), (90, 90, 90)
"""Colours of boxes with a name and without: blue of Okabe and Ito's palette ("Color Universal Design", 2008), which
people with any colour vision tell from grey; white letters on both have a contrast of 5 to 1 and more."""

LINE = 1 / 400
"""Width of a box's line, as a part of the picture's shorter side; two pixels at the least."""

LETTERS = 1 / 36
"""Height of the letters, as a part of the picture's shorter side: 30 pixels in Full HD, as subtitles have at the least.
Fourteen pixels are the least that can be read."""

FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "segoeui.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "PingFang.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "YuGothM.ttc",
    "WenQuanYi Zen Hei.ttf",
    "wqy-zenhei.ttc",
)
"""Fonts of the usual systems, those of Latin, Greek and Cyrillic letters first, then those of Chinese, Japanese and
Korean; Pillow's own font, which has Latin letters, comes when none of them is there."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A box in pixels of the picture, what to write at it, and whether that is a name."""

    box: Box
    text: str
    named: bool


def draw(rgb: ImageArray, captions: Sequence[Caption]) -> ImageArray:
    """Return the picture, uint8 (h, w, 3), with the boxes drawn in and their words above them.

    Words that have no room above stand inside the box's top; names are drawn over those without.
    """
    if not captions:
        return rgb
    image = Image.fromarray(rgb)
    pencil = ImageDraw.Draw(image)
    shorter = min(image.size)
    width = max(2, round(shorter * LINE))
    for caption in sorted(captions, key=lambda c: c.named):
        colour = NAMED if caption.named else UNNAMED
        corners = (caption.box.x0, caption.box.y0, caption.box.x1, caption.box.y1)
        around = (corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1)
        pencil.rectangle(around, outline="white", width=width + 2)  # so that it is seen on any ground
        pencil.rectangle(corners, outline=colour, width=width)
        _write(pencil, image.size, caption, colour, max(14, round(shorter * LETTERS)))
    return np.asarray(image)


def _write(
    pencil: ImageDraw.ImageDraw, size: tuple[int, int], caption: Caption, colour: tuple[int, int, int], letters: int
) -> None:
    font = font_for(caption.text, letters)
    text = written(caption.text, font)
    left, top, right, bottom = pencil.textbbox((0, 0), text, font=font)
    pad = letters // 4
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(caption.box.x0, 0), max(0, size[0] - width))
    y = caption.box.y0 - height if caption.box.y0 >= height else max(caption.box.y0, 0)
    pencil.rectangle((x, y, x + width, y + height), fill=colour)
    pencil.text((x + pad - left, y + pad - top), text, font=font, fill="white")


@lru_cache(maxsize=256)
def font_for(text: str, letters: int) -> Font:
    """Return a font of this computer that has all letters of a text, else the one that has the most."""
    return max((_font(name, letters) for name in (*FONTS, None)), key=lambda font: _known(text, font))


@lru_cache(maxsize=64)
def _font(name: str | None, letters: int) -> Font:
    try:
        return ImageFont.load_default(letters) if name is None else ImageFont.truetype(name, letters)
    except OSError:
        return ImageFont.load_default(letters)


def _known(text: str, font: Font) -> int:
    return sum(_has(font, letter) for letter in text)


def _has(font: Font, letter: str) -> bool:
    """Whether a font has a letter: it draws another picture than for a code that stands for none."""
    if letter.isspace():
        return True
    missing, drawn = font.getmask("\U0010fffe"), font.getmask(letter)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


def written(text: str, font: Font) -> str:
    """Return a text with a question mark for each letter that the font does not have."""
    return "".join(letter if _has(font, letter) else "?" for letter in text)

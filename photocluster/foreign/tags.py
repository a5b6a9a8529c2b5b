"""What the readers have in common: a name that somebody gave a photo, or a rectangle of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from photocluster.records import Box


class Space(StrEnum):
    """What a tag's box counts in, and from where."""

    UPRIGHT = "shares of the upright photo"
    STORED = "shares of the picture as stored, before its orientation is applied"
    PIXELS = "pixels of the upright photo"


@dataclass(frozen=True, slots=True)
class NameTag:
    """A name as another program wrote it.

    Attributes
    ----------
    name
        As it is written there.
    box
        The rectangle that it was said of; None: of the photo as a whole.
    space
        What the box counts in.
    centred
        Said of the face that holds the middle of the frame.
    """

    name: str
    box: Box | None = None
    space: Space = Space.UPRIGHT
    centred: bool = False


@dataclass(frozen=True, slots=True)
class TaggedPhoto:
    """The names that one source gives a photo.

    `path` is the photo's file, `sha256` the hash of its content; one of them may be unknown (None). `said_in` is the
    file or folder that says so. `turns` are the orientations by which boxes of the stored picture may become upright,
    the likeliest first (`regions.turns`); None for those that the photo itself suggests.
    """

    path: Path | None
    tags: tuple[NameTag, ...]
    said_in: Path
    sha256: str | None = None
    turns: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be read, or not made use of, and why."""

    path: Path
    reason: str

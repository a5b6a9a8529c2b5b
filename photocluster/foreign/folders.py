"""A folder per person: the layout of LFW and of every tutorial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from photocluster.foreign.tags import NameTag, Problem, TaggedPhoto
from photocluster.walking import WalkProblem, walk


def read_folders(root: Path, *, centred: bool = False) -> Iterator[TaggedPhoto | Problem]:
    """Yield every file below the folders in `root`, each with the name of the folder right below `root` that holds it.

    Files that lie in `root` itself, hidden folders, and those whose name begins with "_" or holds no letter (a date)
    are nobody's. An underscore in a folder's name stands for a space, as in ``Ben_Affleck``.

    Parameters
    ----------
    root
        The folder that holds the persons' folders.
    centred
        The person is the face in the middle of the frame (LFW), the others are bystanders.
    """
    for found in walk([root]):
        if isinstance(found, WalkProblem):
            yield Problem(found.path, found.reason)
            continue
        below = found.path.relative_to(root.absolute()).parts
        if len(below) > 1 and not below[0].startswith("_") and any(map(str.isalpha, below[0])):
            tag = NameTag(below[0].replace("_", " "), centred=centred)
            yield TaggedPhoto(found.path, (tag,), found.path.parent)

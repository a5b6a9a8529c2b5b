"""Photos that are there more than once: copies, near-duplicates, bursts, and moments in two files. Read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from photocluster.pipeline.copies import SURE_BITS, components, near_photos
from photocluster.pipeline.moments import Rank, rank_of
from photocluster.store import Library
from photocluster.store.moments import Holding


class DuplicateKind(StrEnum):
    """What the files of a group have in common.

    ``COPY``: the content. ``NEAR``: the picture, in other sizes, compression or colours. ``BURST``: what the camera or
    the names say of a burst; or a camera, a folder, and the time within two seconds. ``RAW``, ``LIVE``, ``EDITED``: the
    moment, which one of them shows for all.
    """

    COPY = "copy"
    NEAR = "near"
    BURST = "burst"
    RAW = "raw"
    LIVE = "live"
    EDITED = "edited"


_BY_RANK = {Rank.EDITED: DuplicateKind.EDITED, Rank.RAW: DuplicateKind.RAW, Rank.CLIP: DuplicateKind.LIVE}


@dataclass(frozen=True, slots=True)
class DuplicateFile:
    """One file of a group; `width` and `height` are 0 where it was never looked into. `best`: the one to keep."""

    path: Path
    bytes: int
    width: int
    height: int
    captured_at: str | None
    faces: int
    best: bool


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files that show the same, the best one first."""

    kind: DuplicateKind
    files: tuple[DuplicateFile, ...]

    @property
    def spare_bytes(self) -> int:
        """Bytes of all files but the best one."""
        return sum(file.bytes for file in self.files[1:])


def duplicates(
    library: Library, paths: Sequence[Path] = (), *, kinds: Collection[DuplicateKind] = tuple(DuplicateKind)
) -> list[DuplicateGroup]:
    """Return the groups of duplicates by kind and path.

    The best file is: of equal copies the oldest, of near-duplicates the one with the most pixels, then bytes; of a
    burst the one whose faces are best; of a moment the one that shows it.

    Parameters
    ----------
    paths
        Folders or files: only groups with a file at or below one of them. None: all.
    kinds
        What to look for.
    """
    asked = set(kinds)
    groups: list[DuplicateGroup] = []
    if DuplicateKind.COPY in asked:
        groups += _copies(library)
    if asked & {DuplicateKind.NEAR, DuplicateKind.BURST}:
        groups += _near(library, bursts_only=DuplicateKind.NEAR not in asked)
    if asked & set(_BY_RANK.values()):
        groups += _moments(library)
    order = list(DuplicateKind)
    found = [group for group in groups if group.kind in asked and (not paths or _touches(group, paths))]
    return sorted(found, key=lambda group: (order.index(group.kind), str(group.files[0].path)))


def _touches(group: DuplicateGroup, paths: Sequence[Path]) -> bool:
    return any(file.path == path or path in file.path.parents for file in group.files for path in paths)


def _copies(library: Library) -> Iterator[DuplicateGroup]:
    files: defaultdict[int, list[Holding]] = defaultdict(list)
    for file in library.moments.holding(library.moments.copied()):
        if file.photo is not None:
            files[file.photo].append(file)
    for group in files.values():
        if len(group) > 1:
            yield _group(DuplicateKind.COPY, group, lambda file: (file.mtime_ns, len(str(file.path))))


def _near(library: Library, *, bursts_only: bool) -> Iterator[DuplicateGroup]:
    near = near_photos(library, bursts_only=bursts_only)
    photos, rows = np.unique(near.photos, return_inverse=True)
    number = dict(zip(photos.tolist(), components(rows.reshape(-1, 2), len(photos)).tolist(), strict=True))
    said = {number[photo] for photo in near.photos[near.bursts, 0].tolist()}
    moved = {number[photo] for photo in near.photos[near.bits > SURE_BITS, 0].tolist()}
    files: defaultdict[int, dict[int, Holding]] = defaultdict(dict)
    for file in library.moments.holding(photos.tolist()):
        if file.photo is not None and file.photo in number:
            files[number[file.photo]].setdefault(file.photo, file)  # of equal copies one, the first by path
    for which, found in files.items():
        group = list(found.values())
        if len(group) < 2:
            continue
        if which in said or _is_burst(group, moved=which in moved):
            yield _group(DuplicateKind.BURST, group, lambda file: (-file.quality, -file.bytes))
        else:
            yield _group(DuplicateKind.NEAR, group, lambda file: (-file.width * file.height, -file.bytes))


def _is_burst(files: Sequence[Holding], *, moved: bool) -> bool:
    """Whether one camera took the photos: they lie in one folder, are of one size, and say when they were taken.

    Copies do so, too; but a burst lasts, or something has moved in it.
    """
    if not moved and len({file.captured_at for file in files}) == 1:
        return False
    kinds = {(file.path.parent, file.camera, min(file.width, file.height)) for file in files}
    return len(kinds) == 1 and all(file.camera and file.captured_at for file in files)


def _moments(library: Library) -> Iterator[DuplicateGroup]:
    showing = set(library.moments.showing())
    files: defaultdict[tuple[int, Path], list[Holding]] = defaultdict(list)
    shown: defaultdict[int, list[Holding]] = defaultdict(list)
    for file in library.moments.holding(showing):
        if file.photo in showing and file.shown_by is None:
            shown[file.photo].append(file)
        elif file.shown_by is not None:
            files[file.shown_by, file.path.parent].append(file)
    for (photo, folder), beside in files.items():
        standing = sorted(shown[photo], key=lambda file: file.path.parent != folder)
        if standing:
            rank = max(rank_of(file.path.name) for file in beside)
            yield DuplicateGroup(_BY_RANK[rank], _files([standing[0], *beside]))


def _group(
    kind: DuplicateKind, files: Sequence[Holding], key: Callable[[Holding], tuple[float, ...]]
) -> DuplicateGroup:
    return DuplicateGroup(kind, _files(sorted(files, key=lambda file: (key(file), str(file.path)))))


def _files(ordered: Sequence[Holding]) -> tuple[DuplicateFile, ...]:
    return tuple(
        DuplicateFile(
            *(file.path, file.bytes, file.width, file.height, file.captured_at, file.faces), best=file is ordered[0]
        )
        for file in ordered
    )

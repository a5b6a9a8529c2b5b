"""One moment in two files: a RAW and its JPEG, the picture and the clip of a Live Photo, a photo and its edited copy.

One of the files stands for all: its faces count, and the others are recorded but not worked on while it is there. Which
files may belong together their names say, within one folder: those of cameras, phones and the programs that fetch
photos from them are alike but for what `_ENDINGS` lists. Whether they do, a worker tells by what is in them
(`same_moment`). Links are kept by `store.moments`; what the user said of faces goes over with `carrying`.

A scan holds these files back until all others are stored (`HeldBack`), so that neither the order of names nor the
number of workers decides which file is worked on.
"""

from __future__ import annotations

import mmap
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from enum import IntEnum
from pathlib import Path

from photocluster import video
from photocluster.exif import tiff_facts
from photocluster.store import FileState, Library
from photocluster.store.moments import FileOfMoment
from photocluster.walking import Beside, FoundFile


class Rank(IntEnum):
    """What a file is beside others of its moment; the lowest stands for all."""

    PICTURE = 0
    EDITED = 1
    RAW = 2
    CLIP = 3


_RAW = "3fr|arw|cr2|cr3|crw|dcr|dng|erf|fff|iiq|kdc|mef|mos|mrw|nef|nrw|orf|pef|raf|raw|rw2|rwl|sr2|srf|srw|x3f"
"""Extensions of the cameras' own formats, those that LibRaw reads."""

_CLIP = "mov|mp4|m4v|mp"
"""Extensions of the clips of Live Photos and motion photos; Google Takeout writes .MP4 and .MP."""

_ENDINGS = re.compile(
    rf"\.raw-\d+(\.mp)?\.(cover|original)"  # Google Pixel: PXL_1.RAW-01.COVER.jpg, PXL_1.RAW-02.ORIGINAL.dng
    rf"|\.mp"  # Google: PXL_1.MP.jpg
    rf"|_(hevc|heic|jpg|jpeg)"  # icloudpd: IMG_1.HEIC, IMG_1_HEVC.MOV
    rf"|\.(heic|jpe?g|{_RAW})"  # IMG_1.CR2.jpg, IMG_1.HEIC.MOV, IMG_1.RAW.jpg
)
"""What programs put between the name that a moment's files share and the extension."""

_APPLE_EDIT = re.compile(r"(img_)e(\d{4,})")
"""The edited copy of IMG_1234.HEIC is IMG_E1234.JPG."""

_TAKEOUT_EDIT = re.compile(r"(.+)-edited")

LIVE_SECONDS = 5.0
"""The longest clip that goes with a photo of its name where no identifier says so: a Live Photo lasts 3 seconds, other
phones' motion photos up to 4."""

TIME_APART = 10.0
"""Seconds between the times that two files of a moment may state: of the start, middle or end of a clip; or of a RAW
and of the picture that a phone made of it later."""

ZONE_STEP, WIDEST_ZONE = 900, 14 * 3600
"""Seconds: zones differ by quarters of an hour, from UTC by up to 14 hours; some clips have their time in UTC."""

CONTENT_IDENTIFIER = "com.apple.quicktime.content.identifier"
"""Key of the clip of a Live Photo; the picture has the same UUID in Apple's maker note, whose beginning is this:"""

RAW_HEAD = 1 << 18
"""Bytes of a RAW in which its tags are looked for: they stand before the previews and the pixels."""

_MAKER_NOTE = b"Apple iOS\0"


def rank_of(name: str) -> Rank:
    """Return what a file is, by its name."""
    return _read_name(name)[1]


def _read_name(name: str) -> tuple[str, Rank]:
    """Return what the names of a moment's files share, and what this one is."""
    stem, dot, extension = unicodedata.normalize("NFC", name).casefold().rpartition(".")
    if not dot:
        return extension, Rank.PICTURE
    rank = Rank.PICTURE
    if re.fullmatch(_RAW, extension):
        rank = Rank.RAW
    elif re.fullmatch(_CLIP, extension):
        rank = Rank.CLIP
    while (end := re.search(rf"(?:{_ENDINGS.pattern})$", stem)) and end.start():
        stem = stem[: end.start()]
    edited = _APPLE_EDIT.fullmatch(stem) or _TAKEOUT_EDIT.fullmatch(stem)
    if edited:
        stem = "".join(edited.groups())
        rank = max(rank, Rank.EDITED)
    return stem, rank


class HeldBack:
    """The files of one scan that may show the moment of another photo."""

    def __init__(self, library: Library) -> None:
        self._library = library
        pending = library.files.pending()
        self._empty = library.moments.newest() == (0, 0)
        self._unsure = bool(pending.files) or not pending.complete or library.photos.settled_rows() != library.rows
        self._changed: set[bytes] = set()
        self._files: defaultdict[Path, dict[Path, FoundFile]] = defaultdict(dict)
        self._folders: set[Path] = set()

    def __len__(self) -> int:
        """How many files have still to be given out."""
        return sum(map(len, self._files.values()))

    def takes(self, file: FoundFile) -> bool:
        """Return whether a new or changed file is held back; if not, others of its folder may be its companions."""
        self.note(file)
        folder = file.path.parent
        if rank_of(file.path.name) is Rank.PICTURE:
            return False
        self._files[folder][file.path] = file
        return True

    def note(self, file: FoundFile) -> None:
        """Note that a file is new or changed, or there again: others of its folder may be its companions."""
        if not self._empty:
            self._changed.add(file.raw)
        self._folders.add(file.path.parent)

    def take_left_alone(self) -> None:
        """Hold back, too, the files that were never worked on and whose partner is gone; others may find a new one."""
        for known in self._library.moments.left_alone():
            folder = known.path.parent
            self._folders.add(folder)
            if known.photo is None:
                self._files[folder].setdefault(
                    known.path, FoundFile(os.fsencode(known.path), known.size, known.mtime_ns)
                )

        if self._unsure:  # a scan that was stopped may have stored a picture, and not asked whose moment it shows
            self._folders |= {path.parent for path in self._library.moments.paths() if rank_of(path.name)}

    def due(self, rank: Rank) -> Iterator[FoundFile]:
        """Yield the files of a rank, with their partners; when all of lower ranks are stored."""
        for folder in sorted(self._folders, key=os.fsencode):
            if not self._empty or any(rank_of(path.name) is rank for path in self._files[folder]):
                yield from self._of_folder(folder, rank)

    def _of_folder(self, folder: Path, rank: Rank) -> Iterator[FoundFile]:
        known = self._library.moments.in_folder(folder)
        standing: defaultdict[str, list[tuple[Rank, FileOfMoment]]] = defaultdict(list)
        for file in known:
            key, own = _read_name(file.path.name)
            if own < rank and file.photo is not None and not file.missing:
                standing[key].append((own, file))
        before = {file.path: file for file in known}
        held = self._files[folder]
        for path in sorted(before.keys() | held.keys(), key=os.fsencode):
            key, own = _read_name(path.name)
            if own is not rank:
                continue
            partner = min(standing[key], key=lambda entry: entry[0], default=(None, None))[1]
            old = before.get(path)
            was = None if old is None else old.shown_by
            if path in held:
                yield _with(held.pop(path), partner, was)
            elif old is not None and partner is not None and self._asks(old, partner):
                yield _with(FoundFile(os.fsencode(path), old.size, old.mtime_ns), partner, was)

    def _asks(self, known: FileOfMoment, partner: FileOfMoment) -> bool:
        """Whether it is to be found out if a photo shows the moment of a file that was there: it has just come, say."""
        new = self._unsure or os.fsencode(partner.path) in self._changed
        unsettled = known.state is not FileState.OTHER or known.shown_by is not None
        return (new or known.left_alone) and unsettled and not known.missing and known.shown_by != partner.digest


def _with(file: FoundFile, partner: FileOfMoment | None, before: str | None) -> FoundFile:
    if partner is None:
        return file._replace(beside=Beside(None, None, None, before))
    return file._replace(beside=Beside(partner.path, partner.digest, partner.captured_at, before))


def same_moment(file: FoundFile) -> bool:
    """Return whether a file shows the moment of the photo beside it; runs in a worker.

    An edited copy does by its name; a RAW unless its time is another; a clip if both have the identifier of one Live
    Photo, and unless their identifiers differ, if it is as short as one and its time is none other.

    Raises
    ------
    PhotoError
        The clip cannot be used.
    """
    beside = file.beside
    if beside is None or beside.path is None:
        return False
    rank = rank_of(file.path.name)
    if rank is Rank.EDITED:
        return True
    if rank is Rank.RAW:
        with file.path.open("rb") as opened:
            return _same_time(tiff_facts(opened.read(RAW_HEAD)).captured_at, beside.captured_at)
    with video.Clip(file.path) as clip:
        identifier = clip.container.metadata.get(CONTENT_IDENTIFIER, "")
        facts = clip.facts
    carried = _carries(beside.path, identifier)
    if carried is not None:
        return carried
    return (facts.duration or 0.0) <= LIVE_SECONDS and _same_time(facts.captured_at, beside.captured_at)


def _carries(picture: Path, identifier: str) -> bool | None:
    """Return whether a picture has the identifier of a clip; None where neither has one to compare.

    It is searched for, not read: it stands in the maker note of any of the formats, and is too long to be there by
    chance.
    """
    if not identifier:
        return None
    with (
        suppress(OSError, ValueError),
        picture.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if content.find(identifier.encode()) >= 0:
            return True
        return False if content.find(_MAKER_NOTE) >= 0 else None
    return None


def _same_time(one: str | None, other: str | None) -> bool:
    """Return whether two times may be the same, whatever the zones; a time that is not known may be any."""
    if one is None or other is None:
        return True
    a, b = (datetime.fromisoformat(at).replace(tzinfo=None) for at in (one, other))
    apart = abs((a - b).total_seconds())
    beyond = apart % ZONE_STEP
    return apart <= WIDEST_ZONE + TIME_APART and min(beyond, ZONE_STEP - beyond) <= TIME_APART

"""The contact sheet: a folder of static HTML pages that show every face, by person and by cluster, without a network.

What lies in the folder::

    index.html, index-2.html ...      people A to Z, then clusters without a name, largest first
    confirm.html ...                  what the user may confirm, what is worth most first
    person-<slug>-<digest>.html       a person's faces; further pages end in -2, -3 ...
    cluster-<number>.html             the faces of a cluster that have no name
    noise-1.html ...                  faces in no cluster and with no name
    print.html                        all of it for paper, if asked for
    style.css, sheet.js, no-picture.svg         copied from the package
    sheet-data.js                     names and pages, for the search
    faces/<face // 1000>/<face>-<digest>.jpg    thumbnails, at most 1,000 to a folder
    photos/<photo>.jpg                copies of whole photos that no browser shows, or of all if asked for
    contact-sheet.json                the list of all these: what a later run may overwrite and delete, and nothing else

A person's digest is made of the name, so that names which differ only in case or in letters unsafe in file names get
pages of their own; a thumbnail's is made of the photo's hash and the box, so that a thumbnail which exists is the right
one and its photo need not be decoded again. The pages ask for nothing but the originals, which they link and show;
without their script they can still be read, but not searched.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib import resources
from itertools import chain
from pathlib import Path

from photocluster.errors import PhotoclusterError, PhotoError, UsageError
from photocluster.records import DecodedPhoto, FaceRow
from photocluster.sheet_pages import DATA, PRINT_PAGE, SheetFacts, render_data, render_pages, render_print
from photocluster.sheet_plan import (
    PAGE_NAME,
    PREVIEW_NAME,
    THUMBNAIL_NAME,
    NamedPlace,
    SheetQuestion,
    needs_preview,
    picture_key,
    plan_pages,
    preview_name,
    thumbnail_name,
)
from photocluster.thumbnails import long_side_needed, preview, thumbnail

LoadPhoto = Callable[[FaceRow, int], DecodedPhoto]
"""Takes one of a photo's faces (for the path, and for the time in a video), and the least long side, in pixels, that
the picture should have (it may have more, and never more than the photo). Raises `PhotoError` where there is no
picture."""

PAGE_SIZE = 500
"""Faces to a page: some 10 MB of pictures when scrolled through, which a browser on an old laptop bears."""

PAGE_CARDS = 2000
"""People and clusters to a page of the index: nearly everybody's fit on one, so that sorting and filtering sees all."""

PREVIEW_SIDE = 1600
"""Long side, in pixels, of the copy of a photo: about the width of a laptop's screen."""

MANIFEST = "contact-sheet.json"
MANIFEST_FORMAT = "photocluster contact sheet"
MANIFEST_VERSION = 1

ASSETS = ("style.css", "sheet.js", "no-picture.svg")
CLUTTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that desktops put into folders by themselves; a folder with nothing else is empty."""

_OURS = re.compile("|".join([PAGE_NAME, THUMBNAIL_NAME, PREVIEW_NAME, *map(re.escape, [DATA, *ASSETS])]))


@dataclass(frozen=True, slots=True)
class SheetSummary:
    """What was written.

    Attributes
    ----------
    people, clusters, noise
        Persons with a page, clusters with unnamed faces, faces in no cluster and without a name.
    faces, photos
        On the whole sheet.
    pages, pages_written
        HTML files of the sheet, and how many of them differ from what was there.
    thumbnails_written, photos_decoded
        Pictures made in this run, and photos opened for them.
    removed
        Files of an earlier run that are no longer part of the sheet, and were deleted.
    unreadable
        Photo's hash -> reason, of photos whose faces have a placeholder.
    """

    people: int
    clusters: int
    noise: int
    faces: int
    photos: int
    pages: int
    pages_written: int
    thumbnails_written: int
    photos_decoded: int
    removed: int
    unreadable: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Pictures:
    """What became of the thumbnails: the reasons why photos (by hash) could not be read, and what was done."""

    reasons: Mapping[str, str]
    written: int
    decoded: int


def write_contact_sheet(
    out: Path,
    rows: Sequence[FaceRow],
    *,
    load_photo: LoadPhoto,
    library_name: str,
    made_at: datetime,
    questions: Sequence[SheetQuestion] = (),
    places: Mapping[str, Sequence[NamedPlace]] | None = None,
    moments: Mapping[int, int] | None = None,
    command: str = "photocluster",
    for_print: bool = False,
    with_photos: bool = False,
    whole: bool = True,
    page_size: int = PAGE_SIZE,
    cards: int = PAGE_CARDS,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SheetSummary:
    """Write the contact sheet of `rows` into the folder `out`, or bring the one that is there up to date.

    Files that did not change are left alone, thumbnails that exist are not made again, and pages that are no longer
    part of the sheet are deleted. Nothing that an earlier run did not write is overwritten or deleted.

    Parameters
    ----------
    out
        A folder that is empty, missing, or holds a contact sheet; its parent exists.
    rows
        The faces, in any order.
    load_photo
        Decodes a photo; called once at most for each photo, from several threads where `workers` is over 1.
    library_name
        Shown as the title.
    made_at
        Shown on the index.
    questions
        What the user may confirm, what is worth most first.
    places
        Photo's hash -> names that other programs gave to places where no face was found: drawn into the whole photo.
    moments
        Face -> number of its moment, where several faces of one person are of the same: the best of them is shown with
        the others of the group, the rest behind.
    command
        What stands before the verb in the commands shown.
    for_print
        Write a page for paper, too.
    with_photos
        Put a copy of each photo into the folder, so that the sheet can be given away; else the originals are shown from
        where they are.
    whole
        Whether `rows` are all faces, so that what is not among them is not in the library.
    page_size, cards
        Faces on a page; people, clusters or questions on a page.
    workers
        Threads that decode photos.
    progress
        Called with the number of photos done and the number of all that are to be decoded.

    Raises
    ------
    UsageError
        `out` holds something else.
    PhotoclusterError
        A file cannot be written.
    """
    old = _claim(out)
    plan = plan_pages(rows, page_size, cards=cards, questions=len(questions), moments=moments)
    own = [*plan.page_names, DATA, *ASSETS, *([PRINT_PAGE] if for_print else [])]
    foreign = [name for name in own if name not in old and (out / name).exists()]
    if foreign:
        raise UsageError(f"{out / foreign[0]} was not written by photocluster; move it away, or choose another folder")
    copies = {preview_name(row) for row in rows if with_photos or row.time is not None or needs_preview(row.facts)}
    planned = {*own, *map(thumbnail_name, rows), *copies}
    try:
        out.mkdir(exist_ok=True)
        _write_manifest(out, old | planned)  # before the files: an interrupted run knows its own
        pictures = _write_pictures(out, rows, copies, load_photo, workers, progress)
        for name in ASSETS:
            content = resources.files("photocluster").joinpath("templates", name).read_bytes()
            _write_changed(out / name, content)
        there = frozenset(name for name in copies if (out / name).exists())
        facts = SheetFacts(library_name, made_at, command, pictures.reasons, there, places or {}, whole)
        pages = chain(
            render_pages(plan, facts, questions), [(PRINT_PAGE, render_print(plan, facts))] if for_print else []
        )
        pages_written = sum([_write_changed(out / name, text.encode()) for name, text in pages])
        _write_changed(out / DATA, render_data(plan).encode())
        removed = _remove(out, old - planned)
        _write_manifest(out, planned)
    except OSError as error:
        raise PhotoclusterError(
            f"{error.filename or out}: cannot be written ({error.strerror or error}). Free space, or choose another "
            "folder; what was written stays, and the next run uses it"
        ) from error
    return SheetSummary(
        people=len(plan.people),
        clusters=len(plan.clusters),
        noise=len(plan.noise.rows) if plan.noise else 0,
        faces=len(rows),
        photos=len({row.photo for row in rows}),
        pages=len(plan.page_names) + for_print,
        pages_written=pages_written,
        thumbnails_written=pictures.written,
        photos_decoded=pictures.decoded,
        removed=removed,
        unreadable=pictures.reasons,
    )


# The folder


def _claim(out: Path) -> set[str]:
    """Return the names that an earlier run wrote into `out`; refuse a folder with other things in it."""
    if not out.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}; create it first, or write elsewhere")
    if not out.exists():
        return set()
    if not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder for the contact sheet")
    path = out / MANIFEST
    if not path.exists():
        if all(entry.name in CLUTTER for entry in out.iterdir()):
            return set()
        raise UsageError(
            f"{out} is not empty and is no contact sheet (it has no {MANIFEST}); name an empty folder, so that "
            "nothing of yours is overwritten"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = content["format"] == MANIFEST_FORMAT and content["version"] == MANIFEST_VERSION
        names = {name for name in content["files"] if _OURS.fullmatch(name)}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged ({error}); write the contact sheet into an empty folder") from error
    if not known:
        raise UsageError(f"{path} is of another version of photocluster; write the contact sheet into an empty folder")
    return names


def _write_manifest(out: Path, names: set[str]) -> None:
    content = {"format": MANIFEST_FORMAT, "version": MANIFEST_VERSION, "files": sorted(names)}
    _write_changed(out / MANIFEST, json.dumps(content, indent=0).encode())


def _write_changed(path: Path, content: bytes) -> bool:
    """Write the file, whole or not at all, unless it is so already; return whether it was written."""
    if path.exists() and path.read_bytes() == content:
        return False
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
    return True


def _remove(out: Path, names: Iterable[str]) -> int:
    """Delete files of ours, and the folders of thumbnails that are empty then; return how many files there were."""
    found = [path for path in (out / name for name in names) if path.is_file()]
    for path in found:
        path.unlink()
    for folder in {path.parent for path in found} - {out}:
        if not any(folder.iterdir()):
            folder.rmdir()
    return len(found)


# Thumbnails


def _write_pictures(
    out: Path,
    rows: Sequence[FaceRow],
    copies: set[str],
    load_photo: LoadPhoto,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> _Pictures:
    """Make the thumbnails and copies that are not there, picture by picture."""
    wanted: dict[str, list[FaceRow]] = defaultdict(list)
    missing = {name for name in copies if not (out / name).exists()}
    for row in sorted(rows, key=lambda row: (row.path, row.face)):
        if preview_name(row) in missing or not (out / thumbnail_name(row)).exists():
            wanted[picture_key(row)].append(row)
    for folder in {(out / name).parent for name in [*missing, *map(thumbnail_name, chain(*wanted.values()))]}:
        folder.mkdir(parents=True, exist_ok=True)
    reasons: dict[str, str] = {}
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        results = pool.map(partial(_cut_faces, out, missing, load_photo), wanted.values())
        for done, (faces, reason) in enumerate(zip(wanted.values(), results, strict=True), start=1):
            if reason is not None:
                reasons[faces[0].photo] = reason
            if progress is not None:
                progress(done, len(wanted))
    finally:
        pool.shutdown(cancel_futures=True)
    written = sum(len(faces) for faces in wanted.values() if faces[0].photo not in reasons)
    return _Pictures(reasons, written, decoded=len(wanted) - len(reasons))


def _cut_faces(out: Path, missing: set[str], load_photo: LoadPhoto, faces: Sequence[FaceRow]) -> str | None:
    """Write the thumbnails of the faces in one picture, and its copy; return why not, if it cannot be had."""
    first = faces[0]
    if not first.path:
        return "no file with this photo is known any more"
    copy = preview_name(first)
    facts = first.facts
    least = min(PREVIEW_SIDE, max(facts.width, facts.height)) if copy in missing else 1
    try:
        photo = load_photo(first, max(least, long_side_needed(faces)))
    except PhotoError as error:
        return str(error)
    for row in faces:
        _write_changed(out / thumbnail_name(row), thumbnail(photo, row))
    if copy in missing:
        _write_changed(out / copy, preview(photo, PREVIEW_SIDE))
    return None

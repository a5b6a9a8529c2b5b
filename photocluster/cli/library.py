"""photocluster status, check, forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from photocluster.cli.console import (
    ask,
    count,
    json_option,
    library_folder,
    note,
    open_library,
    plain,
    show_table,
    write_json,
    write_text,
)
from photocluster.errors import StoreCorrupt, UsageError

if TYPE_CHECKING:
    from photocluster.store import Status

MAX_LISTED = 20


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> None:
    """Say what the library holds, what failed and what is missing.

    \b
    Example: photocluster status
    """  # noqa: D301
    from photocluster.pipeline.duplicates import DuplicateKind, duplicates

    with open_library(ctx) as library:
        found = library.status()
        bursts = duplicates(library, kinds=[DuplicateKind.BURST])
        failed, missing = library.photos.failed(), library.photos.missing()
        waiting = sum(library.regions.count().values())
    in_bursts = sum(len(burst.files) for burst in bursts)
    if as_json:
        figures = {**plain(found), "names_without_face": waiting, "bursts": len(bursts), "burst_photos": in_bursts}
        write_json({"library": library_folder(ctx), **figures, "failed": failed, "missing": missing})
        return
    named = (
        f"{found.named_by_user:,} by you, {found.named_by_import:,} imported, {found.named_by_propagation:,} propagated"
    )
    rows = [
        ("library", library_folder(ctx)),
        ("photos", f"{found.photos:,} ({found.photos_without_faces:,} without faces) in {count(found.files, 'file')}"),
        ("faces", f"{found.faces:,}, {found.clustered_faces:,} of them in {count(found.clusters, 'cluster')}"),
        ("companions", f"{count(found.companion_files, 'file')} beside photos: RAWs, clips, edited copies"),
        ("bursts", f"{len(bursts):,} with {count(in_bursts, 'photo')}, each burst one moment"),
        ("pending", _pending(found)),
        ("ignored faces", f"{found.ignored_faces:,}"),
        ("people", f"{found.persons:,}"),
        ("named faces", named),
        ("names without a face", f"{waiting:,} imported"),
        ("missing photos", f"{found.missing_photos:,}"),
        ("failed files", f"{found.failed_files:,}"),
        ("disk used", f"{found.disk_bytes / 1e6:,.1f} MB"),
    ]
    show_table([("", "left"), ("", "left")], rows)
    for path, reason in failed[:MAX_LISTED]:
        note(f"failed: {path}: {reason}")
    for digest, path, faces in missing[:MAX_LISTED]:
        shown = path if path.name else f"photo {digest}"  # its file holds something else now
        note(f"missing: {shown} ({count(faces, 'face')})")
    if max(len(failed), len(missing)) > MAX_LISTED:
        note("... --json lists all")


def _pending(found: Status) -> str:
    """Say what waits for the next scan, and for the next clustering."""
    files = f"{count(found.pending.files, 'file')} to be scanned"
    if not found.pending.complete:
        files = f"{files} or more, as the last scan was stopped before it had found all"
    return f"{files}; {count(found.unclustered_faces, 'face')} to be clustered"


@click.command()
@json_option
@click.pass_context
def check(ctx: click.Context, *, as_json: bool) -> None:
    """Look for damage in the library: the database, the embeddings, and whether they fit each other.

    \b
    Example: photocluster check
    """  # noqa: D301
    with open_library(ctx) as library:
        problems = library.check()
        found = library.status()
    if as_json:
        write_json({"problems": problems, **plain(found)})
    for problem in problems:
        note(problem)
    if problems:
        raise StoreCorrupt(f"{library_folder(ctx)}: {count(len(problems), 'problem')} found")
    if not as_json:
        named = found.named_by_user + found.named_by_import
        write_text(f"all well: {count(found.photos, 'photo')}, {count(found.faces, 'face')}, {named:,} named by you")


@click.command()
@click.argument("photos", nargs=-1, metavar="[PHOTO...]")
@click.option("--missing", is_flag=True, help="Forget every photo of which no file is left.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def forget(ctx: click.Context, photos: tuple[str, ...], *, missing: bool, yes: bool, as_json: bool) -> int:
    """Remove photos with their faces, embeddings and names from the library, for good. No file is touched.

    PHOTO is a path, or the hash that tables show.

    \b
    Example: photocluster forget --missing
    """  # noqa: D301
    if bool(photos) == missing:
        raise UsageError("give either photos or --missing")
    from photocluster.pipeline.forgetting import find_photos

    with open_library(ctx) as library:
        found = find_photos(library, [entry[0] for entry in library.photos.missing()] if missing else photos)
        named = library.photos.named_faces(found)
        if found and not yes:
            question = f"Forget {count(len(found), 'photo')} with {count(named, 'named face')}? This cannot be undone"
            if not ask(question):
                note("nothing was forgotten")
                return 1
        faces = library.photos.forget(found)
    if as_json:
        write_json({"photos": len(found), "faces": faces, "named_faces": named})
    else:
        write_text(f"{count(len(found), 'photo')} forgotten with {count(faces, 'face')}, {named:,} of them named")
    return 0

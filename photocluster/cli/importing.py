"""photocluster import xmp, picasa, folders, takeout, table; photocluster regions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import count, json_option, note, open_library, show_table, stderr, write_json
from photocluster.cli.targets import MAX_LISTED, dry_run_option, say

if TYPE_CHECKING:
    from photocluster.foreign import Problem, TaggedPhoto
    from photocluster.pipeline.importing import ImportReport
    from photocluster.records import Box
    from photocluster.store import Library

EXIT_SKIPPED = 3

replace_option = click.option(
    "--replace", is_flag=True, help="Let names of earlier imports give way; those that you gave never do."
)
paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True))


@click.group("import")
def import_() -> None:
    """Take in the names that other programs gave.

    A name with a rectangle goes to the face at that place. A name of the whole photo goes to its only face, or to the
    one that surely fits the person's other faces. What you said yourself is never changed: where a file says otherwise,
    it is listed, and the exit code is 3. A name that finds no face is kept, and tried again by every scan and import
    (see regions). Doing it twice changes nothing, and undo takes it back. The photos must have been scanned.

    \b
    Example: photocluster import xmp ~/Pictures
    """  # noqa: D301


@import_.command()
@paths_argument
@replace_option
@dry_run_option
@json_option
@click.pass_context
def xmp(ctx: click.Context, paths: tuple[str, ...], *, replace: bool, dry_run: bool, as_json: bool) -> int:
    """Read XMP in photos and in sidecars beside them: regions of digiKam, Lightroom, Immich and others (MWG, MP).

    Of several sources of a photo the newest sidecar counts, then the photo itself. Persons named without a rectangle
    (PersonInImage, tags below People) are said of the whole photo.

    \b
    Example: photocluster import xmp ~/Pictures
    """  # noqa: D301
    from photocluster.foreign.xmp import read_xmp
    from photocluster.pipeline.importing import facts_of

    roots = [Path(path) for path in paths]
    with open_library(ctx) as library:
        return _import(
            library, read_xmp(roots, lambda path: facts_of(library, path)), "xmp", roots, replace, dry_run, as_json
        )


@import_.command()
@paths_argument
@click.option(
    "--contacts",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Picasa's contacts.xml, where a folder's .picasa.ini does not know all names.",
)
@replace_option
@dry_run_option
@json_option
@click.pass_context
def picasa(
    ctx: click.Context, paths: tuple[str, ...], *, contacts: str | None, replace: bool, dry_run: bool, as_json: bool
) -> int:
    """Read the .picasa.ini files in folders.

    \b
    Example: photocluster import picasa ~/Pictures --contacts contacts.xml
    """  # noqa: D301
    from photocluster.foreign.picasa import read_contacts, read_picasa

    roots = [Path(path) for path in paths]
    names = {} if contacts is None else read_contacts(Path(contacts))
    with open_library(ctx) as library:
        return _import(library, read_picasa(roots, names), "picasa", roots, replace, dry_run, as_json)


@import_.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False))
@click.option("--centred", is_flag=True, help="The person is the face in the middle of the frame, as in LFW.")
@replace_option
@dry_run_option
@json_option
@click.pass_context
def folders(ctx: click.Context, path: str, *, centred: bool, replace: bool, dry_run: bool, as_json: bool) -> int:
    """Read the names off folders: PATH holds a folder for each person, with photos in it and in folders below.

    An underscore stands for a space (Ben_Affleck). Folders that begin with "_" or ".", or hold no letter (2019-07), are
    not people. A photo of several people may lie in the folders of all of them.

    \b
    Example: photocluster import folders ~/lfw --centred
    """  # noqa: D301
    from photocluster.foreign.folders import read_folders

    with open_library(ctx) as library:
        found = read_folders(Path(path), centred=centred)
        return _import(library, found, "folders", [Path(path)], replace, dry_run, as_json)


@import_.command()
@paths_argument
@replace_option
@dry_run_option
@json_option
@click.pass_context
def takeout(ctx: click.Context, paths: tuple[str, ...], *, replace: bool, dry_run: bool, as_json: bool) -> int:
    """Read the JSON files that Google Takeout puts beside photos: names, without places.

    Unpack all parts of a takeout into one folder first.

    \b
    Example: photocluster import takeout ~/Takeout
    """  # noqa: D301
    from photocluster.foreign.takeout import read_takeout

    roots = [Path(path) for path in paths]
    with open_library(ctx) as library:
        return _import(library, read_takeout(roots), "takeout", roots, replace, dry_run, as_json)


@import_.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@replace_option
@dry_run_option
@json_option
@click.pass_context
def table(ctx: click.Context, file: str, *, replace: bool, dry_run: bool, as_json: bool) -> int:
    """Read a table of export table (.csv, .json, .jsonl, .parquet), or one of your own.

    Columns: person; photo (SHA-256 of the content) or path; x0, y0, x1, y1 in pixels, or none of them. Rows whose
    source is "propagated" hold guesses and are passed over.

    \b
    Example: photocluster import table faces.csv
    """  # noqa: D301
    from photocluster.foreign.table import read_table

    with open_library(ctx) as library:
        return _import(library, read_table(Path(file)), "table", [Path(file)], replace, dry_run, as_json)


def _import(
    library: Library,
    found: Iterable[TaggedPhoto | Problem],
    origin: str,
    paths: Sequence[Path],
    replace: bool,  # noqa: FBT001  the commands above are the only callers
    dry_run: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    from rich.progress import Progress, TextColumn

    from photocluster.pipeline.importing import import_names

    console = stderr()
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("photos with names", total=None)
        report = import_names(
            library,
            found,
            origin,
            paths,
            replace=replace,
            dry_run=dry_run,
            progress=lambda n: bar.update(task, completed=n),
        )
    if as_json:
        write_json(report)
    else:
        _say(report, dry_run=dry_run)
    return EXIT_SKIPPED if report.skipped else 0


def _say(report: ImportReport, *, dry_run: bool) -> None:
    people = count(len(report.new_persons), "new person", "new people")
    sentence = (
        f"{count(len(report.given), 'face')} named in {count(report.photos, 'photo')}, {people}, "
        f"{report.already:,} known before, {count(len(report.kept), 'name')} kept for want of a face"
    )
    say(sentence, report.event, dry_run=dry_run)
    for conflict in report.conflicts[:MAX_LISTED]:
        note(f"left as it is: f{conflict.face} in {conflict.path}: {conflict.here} here, {conflict.file} in the file")
    for doubt in report.doubts[:MAX_LISTED]:
        note(
            f"look at f{doubt.face} in {doubt.path}: named {doubt.person}, but unlike the other faces "
            f"(distance {doubt.distance:.2f})"
        )
    for path, reason in [*report.problems, *report.unknown][:MAX_LISTED]:
        note(f"{path}: {reason}")
    lists = (report.conflicts, report.doubts, [*report.problems, *report.unknown])
    if any(len(each) > MAX_LISTED for each in lists):
        note("... --json lists all")
    if report.unknown:
        note(f"{count(len(report.unknown), 'photo')} not used: the library does not know them as they are")
    if report.kept:
        note("what was kept is listed by: photocluster regions")


@click.command()
@click.argument("person", required=False)
@json_option
@click.pass_context
def regions(ctx: click.Context, person: str | None, *, as_json: bool) -> None:
    """List the names, of all persons or of one, that were taken in and found no face.

    They are tried again by every scan and every import: name one face of the person yourself, and the next one finds
    the faces like it. A name leaves this list, too, when you give it to a face of that photo (label f345 "Ann").

    \b
    Example: photocluster regions "Ann"
    """  # noqa: D301
    from photocluster.pipeline.targets import person_id

    with open_library(ctx) as library:
        found = library.regions.kept(None if person is None else person_id(library, person))
    if as_json:
        write_json(
            [{"person": k.name, "photo": k.photo, "path": k.path, "box": k.box, "from": k.origin} for k in found]
        )
        return
    columns = [("person", "left"), ("place", "left"), ("from", "left"), ("photo", "left")]
    rows = [(kept.name, _place(kept.box), kept.origin, kept.path) for kept in found]
    show_table(columns, rows)
    note(f"{count(len(found), 'name')} without a face")


def _place(box: Box | None) -> str:
    return "whole photo" if box is None else f"{box.x0:.0f} {box.y0:.0f} {box.x1:.0f} {box.y1:.0f}"

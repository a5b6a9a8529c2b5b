"""photocluster backup, restore."""

from __future__ import annotations

from pathlib import Path

import click

from photocluster.cli.console import count, json_option, note, open_library, write_json, write_text
from photocluster.cli.targets import MAX_LISTED, dry_run_option, say


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
@click.pass_context
def backup(ctx: click.Context, file: str, *, as_json: bool) -> None:
    """Write all persons, names and other decisions to FILE, as JSON that needs no library to be read.

    An earlier backup there is replaced.

    \b
    Example: photocluster backup names.json
    """  # noqa: D301
    from photocluster.pipeline.backup import backup as run

    with open_library(ctx) as library:
        summary = run(library, Path(file))
    if as_json:
        write_json(summary)
        return
    people = count(summary.persons, "person", "people")
    write_text(f"{file}: {people}, {count(summary.faces, 'face')} in {count(summary.photos, 'photo')}")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False), required=False)
@dry_run_option
@json_option
@click.pass_context
def restore(ctx: click.Context, file: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Put the persons and decisions of a backup on the same photos, wherever they lie and however they were scanned.

    What you said in this library stands; where the backup differs it is listed. What has no face here is kept and tried
    again at the next restore: without FILE, only that is done.

    \b
    Example: photocluster restore names.json
    """  # noqa: D301
    from photocluster.pipeline.restoring import restore as run

    with open_library(ctx) as library:
        report = run(library, None if file is None else Path(file), dry_run=dry_run)
    if as_json:
        write_json(report)
        return
    people = count(len(report.new_persons), "new person", "new people")
    say(f"{count(report.placed, 'face')} found, {report.changed:,} changed, {people}", report.event, dry_run=dry_run)
    for conflict in report.conflicts[:MAX_LISTED]:
        note(f"left as it is: {conflict.about}: {conflict.here} here, {conflict.backup} in the backup")
    for unplaced in report.unplaced[:MAX_LISTED]:
        note(f"not placed: {unplaced.said} in {unplaced.file or unplaced.photo[:12]}: {unplaced.reason.value}")
    if max(len(report.conflicts), len(report.unplaced)) > MAX_LISTED:
        note("... --json lists all")
    if report.unplaced:
        note(f"{count(len(report.unplaced), 'decision')} kept for later: scan those photos, then restore again")

"""photocluster export xmp and folders: the names for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import count, json_option, library_and_progress, note, plain, write_json, write_text
from photocluster.cli.targets import dry_run_option

if TYPE_CHECKING:
    from photocluster.pipeline.folders import FoldersReport
    from photocluster.pipeline.sidecars import ExportReport

EXIT_SKIPPED = 3


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True))
@click.option("--include-propagated", is_flag=True, help="Also the names that photocluster gave by itself.")
@click.option("--embed", is_flag=True, help="Write into the photos themselves, not beside them (needs ExifTool).")
@click.option("--no-backup", is_flag=True, help="With --embed: keep no copy of the photo as it was.")
@click.option("--keep-mtime", is_flag=True, help="With --embed: leave the modification time as it is.")
@dry_run_option
@json_option
@click.pass_context
def xmp(
    ctx: click.Context,
    paths: tuple[str, ...],
    *,
    include_propagated: bool,
    embed: bool,
    no_backup: bool,
    keep_mtime: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Write the names and where the faces are into XMP sidecars, for digiKam, Immich, PhotoPrism, darktable and others.

    PATH is a photo or a folder; without one, all photos of the library are meant. The names are those that you gave and
    those that you imported. What others wrote into a sidecar stays; names that you took back since go out again.

    \b
    Example: photocluster export xmp

    \b
    Example: photocluster export xmp --dry-run ~/Pictures/2019

    \b
    Example: photocluster export xmp --embed ~/Pictures/for-lightroom
    """  # noqa: D301
    from photocluster.pipeline.embedding import EmbedOptions, export_embedded
    from photocluster.pipeline.sidecars import export_xmp

    if (no_backup or keep_mtime) and not embed:
        raise click.UsageError("--no-backup and --keep-mtime go with --embed: sidecars leave the photos alone")
    with library_and_progress(ctx, "photos") as (library, progress):
        places = [Path(path) for path in paths]
        if embed:
            options = EmbedOptions(
                backup=not no_backup, keep_mtime=keep_mtime, include_propagated=include_propagated, dry_run=dry_run
            )
            report = export_embedded(library, places, options=options, progress=progress)
        else:
            report = export_xmp(
                library, places, include_propagated=include_propagated, dry_run=dry_run, progress=progress
            )
    if as_json:
        conflicts = [{"path": path, "name": ours, "there": theirs} for path, ours, theirs in report.conflicts]
        write_json({"dry_run": dry_run, **plain(report), "skipped": _skipped(report), "conflicts": conflicts})
    else:
        _say_exported(report, dry_run=dry_run)
    return EXIT_SKIPPED if report.skipped else 0


def _skipped(report: ExportReport | FoldersReport) -> list[dict[str, object]]:
    return [{"path": path, "reason": reason} for path, reason in report.skipped]


def _say_exported(report: ExportReport, *, dry_run: bool) -> None:
    if dry_run:
        for change in report.changes:
            for line in change.diff.expandtabs().split("\n"):
                write_text(line)
    kinds = ("made", "updated", "removed")
    counts = [(kind, sum(change.kind == kind for change in report.changes)) for kind in kinds]
    done = [f"{count(number, 'file')} {kind}" for kind, number in counts if number]
    done += [f"{report.unchanged:,} unchanged"] if report.unchanged else []
    done = done or ["nobody is named there: nothing to write" if not report.skipped else "nothing written"]
    (note if dry_run else write_text)(("dry run: " if dry_run else "") + ", ".join(done))
    for path, ours, theirs in report.conflicts:
        note(f'{path}: "{ours}" here, "{theirs}" by another program for the same face; both are kept')
    for path, reason in report.skipped:
        note(f"{path} {reason}")
    if report.embedded:
        note(
            f"{count(report.embedded, 'photo')} with names in the file itself, from an earlier --embed; to bring those "
            "up to date: photocluster export xmp --embed"
        )


@click.command()
@click.argument("out", type=click.Path(file_okay=False))
@click.option(
    "--link",
    type=click.Choice(["symlink", "hard", "copy"]),
    required=True,
    help="How OUT shows a photo: by a link, by a second name on the same disk, or as a copy.",
)
@click.option("--include-propagated", is_flag=True, help="Also the names that photocluster gave by itself.")
@json_option
@click.pass_context
def folders(ctx: click.Context, out: str, *, link: str, include_propagated: bool, as_json: bool) -> int:
    """Make a folder per person below OUT, with all photos that show that person.

    Run it again to bring OUT up to date: what photocluster made and is not true any more goes, everything else in OUT
    stays. Your photos are not touched.

    \b
    Example: photocluster export folders ~/people --link symlink

    \b
    Example: photocluster export folders /media/stick --link copy
    """  # noqa: D301
    from photocluster.pipeline.folders import Link, export_folders

    with library_and_progress(ctx, "photos") as (library, progress):
        report = export_folders(
            library,
            Path(out),
            link=Link(link),
            include_propagated=include_propagated,
            progress=progress,
        )
    if as_json:
        write_json({**plain(report), "skipped": _skipped(report)})
    else:
        write_text(
            f"{Path(out)}: {count(report.persons, 'person', 'people')}; {report.made:,} made, "
            f"{report.removed:,} removed, {report.unchanged:,} unchanged"
        )
        for path, reason in report.skipped:
            note(f"{path} {reason}")
    return EXIT_SKIPPED if report.skipped else 0

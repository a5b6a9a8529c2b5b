"""photocluster scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import (
    count,
    device_option,
    json_option,
    library_folder,
    note,
    show_table,
    stderr,
    write_json,
)

if TYPE_CHECKING:
    from photocluster.pipeline.recognition import PropagationReport
    from photocluster.pipeline.scanning import Progress, ScanReport

EXIT_SKIPPED = 3
"""Done, but some photos were skipped."""

MAX_NAMES = 5
"""Names told of at the end; photocluster people lists all."""

MAX_LISTED = 50
"""Bad files listed on a terminal; --json lists all."""


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Skip files and folders of this name or relative path.")
@click.option("--hidden", is_flag=True, help="Enter hidden files and folders too.")
@click.option("--workers", type=click.IntRange(1, 64), help="Photos worked on at a time (default: one a core).")
@click.option("--nice", is_flag=True, help="Let other programs go first, at the processor and at the disk.")
@click.option(
    "--timeout",
    type=click.FloatRange(1, 86400),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="Time that reading a file may take, and then each stretch of work on it.",
)
@click.option("--retry-failed", is_flag=True, help="Try files again that could not be used, though they are unchanged.")
@click.option("--propagate/--no-propagate", default=True, help="Name new faces after the named ones at the end.")
@click.option(
    "--mirror/--no-mirror",
    default=True,
    help="Add the mirror image's embedding: somewhat better, and twice the time for each face.",
)
@click.option("--video/--no-video", default=True, help="Look at videos too.")
@click.option(
    "--video-interval",
    type=click.FloatRange(0.04, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between the frames of a video that are looked at.",
)
@device_option
@json_option
@click.pass_context
def scan(
    ctx: click.Context,
    paths: tuple[str, ...],
    *,
    exclude: tuple[str, ...],
    hidden: bool,
    workers: int | None,
    nice: bool,
    timeout: float,
    retry_failed: bool,
    propagate: bool,
    mirror: bool,
    video: bool,
    video_interval: float,
    device: str,
    as_json: bool,
) -> int:
    """Find the faces in the photos and videos below PATHs and keep them in the library.

    Photos are known by their content: a second scan reads only what is new or changed, and a moved or copied file keeps
    its faces. Originals are never written to.

    \b
    Example: photocluster scan ~/Pictures /mnt/nas/photos --exclude "*.thumb.jpg"
    """  # noqa: D301
    from photocluster.pipeline.scanning import ScanOptions
    from photocluster.pipeline.scanning import scan as run

    options = ScanOptions(
        exclude=exclude,
        hidden=hidden,
        workers=workers,
        nice=nice,
        timeout=timeout,
        retry_failed=retry_failed,
        propagate=propagate,
        mirror=mirror,
        video=video,
        video_interval=video_interval,
        device=device,
    )
    with _progress() as tell:
        report = run(library_folder(ctx), [Path(path).expanduser() for path in paths], options, progress=tell)
    if as_json:
        write_json({**_figures(report), "failed": report.failed, "problems": report.problems})
    else:
        _show(report)
    return EXIT_SKIPPED if report.skipped else 0


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Show a bar on stderr where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    console = stderr()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("scanning", total=None, facts="")

        def tell(progress: Progress) -> None:
            rate = progress.photos / progress.seconds if progress.seconds > 0 else 0.0
            facts = f"{progress.photos:,} photos  {progress.faces:,} faces  {rate:.1f} photos/s"
            total = progress.found if progress.complete else None
            bar.update(task, completed=progress.done, total=total, facts=facts)

        yield tell


def _figures(report: ScanReport) -> dict[str, object]:
    propagation = report.propagation
    return {
        "photos": report.photos,
        "photos_with_faces": report.photos_with_faces,
        "videos": report.videos,
        "faces": report.faces,
        "unchanged": report.unchanged,
        "known": report.known,
        "companions": report.companions,
        "others": report.others,
        "missing": report.missing,
        "carried": report.carried,
        "placed": report.placed,
        "seconds": round(report.seconds, 3),
        "stages": {stage: round(seconds, 3) for stage, seconds in report.stages.items()},
        "propagation": None
        if propagation is None
        else {
            "examined": propagation.examined,
            "named": propagation.named,
            "to_confirm": propagation.to_confirm,
            "unknown": propagation.unknown,
            "by_person": dict(propagation.by_person),
        },
    }


def _show(report: ScanReport) -> None:
    rate = report.photos / report.seconds if report.seconds else 0.0
    rows = [
        ("new photos", f"{report.photos:,}", f"{report.photos_with_faces:,} with faces, {rate:.1f} a second"),
        ("videos", f"{report.videos:,}", "of the new photos"),
        ("new faces", f"{report.faces:,}", ""),
        ("unchanged files", f"{report.unchanged:,}", "not opened"),
        ("known photos", f"{report.known:,}", "copied or moved"),
        ("companions", f"{report.companions:,}", "RAWs, clips, edited copies: another photo shows their moment"),
        ("other files", f"{report.others:,}", "no photos"),
        ("skipped", f"{len(report.failed) + len(report.problems):,}", "see below" if report.skipped else ""),
        ("missing photos", f"{report.missing:,}", "see: photocluster status" if report.missing else ""),
    ]
    if report.carried:
        rows.append(("names carried over", f"{report.carried:,}", "to other versions of their photos"))
    if report.placed:
        rows.append(("imported names", f"{report.placed:,}", "had waited for a face, and found it"))
    show_table([("scan", "left"), ("", "right"), ("", "left")], [r for r in rows if r[1] != "0" or "new" in r[0]])
    if report.propagation is not None and report.propagation.examined:
        _show_names(report.propagation)
    bad = [*report.problems, *report.failed]
    for path, reason in bad[:MAX_LISTED]:
        note(f"skipped: {path}: {reason}")
    if len(bad) > MAX_LISTED:
        note(f"... and {len(bad) - MAX_LISTED} more; --json lists all")


def _show_names(propagation: PropagationReport) -> None:
    """Say who the new faces are."""
    people = ", ".join(f"{name} {number}" for name, number in propagation.by_person[:MAX_NAMES])
    more = ", ..." if len(propagation.by_person) > MAX_NAMES else ""
    named = f"{propagation.named:,} named" + (f" ({people}{more})" if people else "")
    note(
        f"{count(propagation.examined, 'new face')}: {named}, {propagation.to_confirm:,} to confirm, "
        f"{propagation.unknown:,} unknown" + (". To confirm: photocluster suggest" if propagation.to_confirm else "")
    )

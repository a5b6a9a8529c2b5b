"""photocluster watch."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import count, json_option, library_folder, note, write_json, write_text
from photocluster.errors import Interrupted

if TYPE_CHECKING:
    from photocluster.pipeline.watching import Batch, Item
    from photocluster.records import FaceRow

SETTLE = 5.0


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Skip files and folders of this name or relative path.")
@click.option("--hidden", is_flag=True, help="Enter hidden files and folders too.")
@click.option("--workers", type=click.IntRange(1, 64), help="Photos worked on at a time (default: one a core).")
@click.option("--propagate/--no-propagate", default=True, help="Name new faces after the named ones.")
@click.option("--mirror/--no-mirror", default=True, help="As for scan: a library keeps to one of them.")
@click.option("--video/--no-video", default=True, help="Look into videos.")
@click.option(
    "--settle",
    type=click.FloatRange(0, 3600),
    default=SETTLE,
    show_default=True,
    metavar="SECONDS",
    help="How long a file must have been left alone: it may still be being copied.",
)
@click.option(
    "--poll",
    type=click.FloatRange(0.1, 86400),
    metavar="SECONDS",
    help="Look at everything that often: for network shares, of which other computers' changes are not announced.",
)
@json_option
@click.pass_context
def watch(
    ctx: click.Context,
    paths: tuple[str, ...],
    *,
    exclude: tuple[str, ...],
    hidden: bool,
    workers: int | None,
    propagate: bool,
    mirror: bool,
    video: bool,
    settle: float,
    poll: float | None,
    as_json: bool,
) -> None:
    """Scan the folders, and then what comes, changes and vanishes in them, until Ctrl-C.

    Each photo is one line: the file, how many faces it shows, and who they are by the names given so far. Other
    commands may be used meanwhile. With --json each line is an object.

    \b
    Example: photocluster watch ~/Pictures /mnt/nas/photos --poll 60
    """  # noqa: D301
    from photocluster.pipeline.scanning import ScanOptions
    from photocluster.pipeline.watching import WatchOptions
    from photocluster.pipeline.watching import watch as run

    options = ScanOptions(
        exclude=exclude, hidden=hidden, workers=workers, propagate=propagate, mirror=mirror, video=video
    )
    roots = [Path(path).expanduser() for path in paths]
    with _ended_by_terminate():
        try:
            for batch in run(library_folder(ctx), roots, options, WatchOptions(settle=settle, poll=poll)):
                _show(batch, as_json=as_json)
        except (KeyboardInterrupt, Interrupted):
            note("stopped watching; all that was found is in the library")


@contextmanager
def _ended_by_terminate() -> Iterator[None]:
    """Have SIGTERM, by which services are stopped, do what Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(batch: Batch, *, as_json: bool) -> None:
    report = batch.report
    if batch.first:
        figures = {"photos": report.photos, "faces": report.faces, "unchanged": report.unchanged}
        if as_json:
            write_json(
                {"news": "scanned", **figures, "failed": report.failed, "problems": report.problems}, indent=None
            )
        failed = f", {count(len(report.failed) + len(report.problems), 'file')} skipped" if report.skipped else ""
        note(
            f"{count(report.photos, 'new photo')} with {count(report.faces, 'face')}, {report.unchanged:,} unchanged "
            f"files{failed}; now watching. Ctrl-C ends"
        )
        for path, reason in report.problems:
            note(f"skipped: {path}: {reason}")
    for item in batch.items:
        if as_json:
            faces = [_face(face) for face in item.faces]
            write_json({"news": item.news, "path": item.path, "faces": faces, "reason": item.reason}, indent=None)
        else:
            write_text(f"{item.news.value:<9}  {item.path}{_words(item)}")


def _face(face: FaceRow) -> dict[str, object]:
    return {"face": face.face, "person": face.person, "source": face.source, "distance": face.distance}


def _words(item: Item) -> str:
    """Return what there is to say of a file's faces, or why it failed."""
    if item.reason:
        return f": {item.reason}"
    if item.news == "companion":
        return ": beside the photo that shows its moment"
    unknown = sum(face.person is None for face in item.faces)
    names = [face.person for face in item.faces if face.person is not None]
    who = ", ".join([*names, *([f"{unknown} unknown"] if unknown else [])])
    return f": {count(len(item.faces), 'face')}" + (f": {who}" if who else "")

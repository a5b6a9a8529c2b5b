"""photocluster export video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from photocluster.cli.console import (
    count,
    device_option,
    json_option,
    note,
    open_library,
    plain,
    stderr,
    write_json,
    write_text,
)


@click.command()
@click.argument("clip", type=click.Path(dir_okay=False))
@click.argument("out", type=click.Path(dir_okay=False), metavar="OUT.mp4")
@click.option("--person", "persons", multiple=True, metavar="NAME", help="Draw only this person (may be given again).")
@device_option
@json_option
@click.pass_context
def video(ctx: click.Context, clip: str, out: str, *, persons: tuple[str, ...], device: str, as_json: bool) -> None:
    """Write the video CLIP with a box and a name at each face; the sound is kept.

    Who is in the clip follows from the names in the library: those that you gave in this clip, and for the rest as
    photocluster identify does it. Nobody is guessed: other faces are "unknown". CLIP need not be in the library, and is
    only read.

    \b
    Example: photocluster export video party.mov party-with-names.mp4
    """  # noqa: D301
    from photocluster.pipeline.clip_export import export_clip

    with open_library(ctx) as library, _progress() as tell:
        summary = export_clip(library, Path(clip), Path(out), persons=persons, device=device, progress=tell)
    if as_json:
        write_json({**plain(summary), "by_person": dict(summary.by_person)})
        return
    people = ", ".join(f"{name} {tracks}" for name, tracks in summary.by_person)
    write_text(
        f"{summary.path}: {count(summary.frames, 'frame')}, {summary.seconds:.1f} seconds, "
        f"{count(summary.tracks, 'track')} of faces" + (f" ({people}, unknown {summary.unknown})" if people else "")
    )
    if summary.codec == "mpeg4":
        note("written as MPEG-4 part 2: libav was built without an H.264 encoder here")
    for name in summary.unwritable:
        note(f"no font on this computer has all letters of {name}; the missing ones are question marks")


@contextmanager
def _progress() -> Iterator[Callable[[str, float, float], None]]:
    """Show a bar on stderr where that is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeRemainingColumn(),
    )
    console = stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("looking", total=1.0)

        def tell(what: str, done: float, whole: float) -> None:
            bar.update(task, description=what, completed=done, total=max(whole, done, 1.0))

        yield tell

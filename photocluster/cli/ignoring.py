"""photocluster ignore, not-a-face, unignore, mirror, unmirror."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import count, json_option, open_library, show_table, write_json
from photocluster.cli.targets import dry_run_option, expand, faces_json, listed, say, say_faces

if TYPE_CHECKING:
    from photocluster.pipeline.ignoring import PhotosReport

KINDS = ("stranger", "crowd", "statue", "drawing")


@click.command()
@click.argument("targets", nargs=-1, metavar="CLUSTER|FACE...", callback=expand)
@click.option("--kind", type=click.Choice(KINDS), default="stranger", show_default=True, help="What these faces are.")
@click.option(
    "--unnamed-below", type=click.IntRange(2), metavar="N", help="Every cluster of fewer than N faces without a name."
)
@click.option("--list", "listing", is_flag=True, help="List what is ignored.")
@dry_run_option
@json_option
@click.pass_context
def ignore(
    ctx: click.Context,
    targets: tuple[str, ...],
    *,
    kind: str,
    unnamed_below: int | None,
    listing: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Leave faces out of clusters, names and sheets, for ever: strangers, crowds, statues, drawings.

    Faces of a cluster that you named are kept.

    \b
    Example: photocluster ignore --unnamed-below 3
    """  # noqa: D301
    from photocluster.pipeline.ignoring import ignore as run
    from photocluster.store import IgnoredKind

    if listing:
        _list_ignored(ctx, as_json=as_json)
        return
    with open_library(ctx) as library:
        report = run(library, targets, IgnoredKind(kind), unnamed_below=unnamed_below, dry_run=dry_run)
    if as_json:
        write_json(faces_json(report))
        return
    say_faces(report, f"ignored ({kind})", dry_run=dry_run)


def _list_ignored(ctx: click.Context, *, as_json: bool) -> None:
    with open_library(ctx) as library:
        ignored = library.names.ignored()
    if as_json:
        write_json([{"face": face, "kind": kind.value} for face, kind in ignored.items()])
        return
    rows = [
        (kind.value, number, listed([face for face, why in ignored.items() if why is kind]))
        for kind, number in Counter(ignored.values()).most_common()
    ]
    show_table([("ignored as", "left"), ("faces", "right"), ("", "left")], rows)


@click.command("not-a-face")
@click.argument("targets", nargs=-1, required=True, metavar="FACE|CLUSTER...", callback=expand)
@dry_run_option
@json_option
@click.pass_context
def not_a_face(ctx: click.Context, targets: tuple[str, ...], *, dry_run: bool, as_json: bool) -> None:
    """Leave out what the detector took for a face.

    \b
    Example: photocluster not-a-face f345
    """  # noqa: D301
    from photocluster.pipeline.ignoring import ignore as run
    from photocluster.store import IgnoredKind

    with open_library(ctx) as library:
        report = run(library, targets, IgnoredKind.NOT_A_FACE, dry_run=dry_run)
    if as_json:
        write_json(faces_json(report))
        return
    say_faces(report, "marked as not a face", dry_run=dry_run)


@click.command()
@click.argument("targets", nargs=-1, metavar="FACE...", callback=expand)
@click.option("--kind", type=click.Choice([*KINDS, "not-a-face"]), help="All faces that are ignored as this.")
@dry_run_option
@json_option
@click.pass_context
def unignore(ctx: click.Context, targets: tuple[str, ...], *, kind: str | None, dry_run: bool, as_json: bool) -> None:
    """Take ignored faces back in. The next clustering finds their place.

    \b
    Example: photocluster unignore f345
    """  # noqa: D301
    from photocluster.pipeline.ignoring import unignore as run
    from photocluster.store import IgnoredKind

    with open_library(ctx) as library:
        report = run(library, targets, kind=IgnoredKind(kind) if kind else None, dry_run=dry_run)
    if as_json:
        write_json(faces_json(report))
        return
    say_faces(report, "back in", dry_run=dry_run, unchanged="were not ignored")


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@dry_run_option
@json_option
@click.pass_context
def mirror(ctx: click.Context, photos: tuple[str, ...], *, dry_run: bool, as_json: bool) -> None:
    """Say that photos may show one person more than once: a mirror, a collage.

    Two faces of any other photo are taken for two people. PHOTO is a path, a hash, or one of its faces (f345).

    \b
    Example: photocluster mirror ~/Pictures/collage.jpg
    """  # noqa: D301
    from photocluster.pipeline.ignoring import mirror as run

    with open_library(ctx) as library:
        report = run(library, photos, dry_run=dry_run)
    _show_photos(report, "may show a person twice", dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@dry_run_option
@json_option
@click.pass_context
def unmirror(ctx: click.Context, photos: tuple[str, ...], *, dry_run: bool, as_json: bool) -> None:
    """Take back that photos show one person more than once.

    \b
    Example: photocluster unmirror ~/Pictures/collage.jpg
    """  # noqa: D301
    from photocluster.pipeline.ignoring import mirror as run

    with open_library(ctx) as library:
        report = run(library, photos, remove=True, dry_run=dry_run)
    _show_photos(report, "to show nobody twice", dry_run=dry_run, as_json=as_json)


def _show_photos(report: PhotosReport, done: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        write_json(report)
        return
    say(f"{count(len(report.photos), 'photo')} marked: {done}", report.event, dry_run=dry_run)

"""photocluster label, unlabel, accept, reject, move."""

from __future__ import annotations

import click

from photocluster.cli.console import count, json_option, note, open_library, write_json
from photocluster.cli.suggest import answer_numbers
from photocluster.cli.targets import dry_run_option, expand, faces_json, listed, say, say_faces
from photocluster.errors import UsageError


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="CLUSTER|FACE...", callback=expand)
@click.argument("name")
@dry_run_option
@json_option
@click.pass_context
def label(ctx: click.Context, targets: tuple[str, ...], name: str, *, dry_run: bool, as_json: bool) -> None:
    """Name the faces of clusters (12, 12-15), or single faces (f345, f3-f9); "-" reads them from stdin.

    The name belongs to the faces: it stays with them whatever later runs do. Faces that you named otherwise keep their
    name, unless you point at the face itself.

    \b
    Example: photocluster label 12 "Madonna"
    """  # noqa: D301
    from photocluster.pipeline.naming import label as run

    with open_library(ctx) as library:
        report = run(library, targets, name, dry_run=dry_run)
    if as_json:
        write_json(report)
        return
    new = " (a new person)" if report.new_person else ""
    say(f"{report.person}{new}: {count(len(report.named), 'face')} named", report.event, dry_run=dry_run)
    if report.already:
        note(f"{count(len(report.already), 'face')} had the name already")
    if report.kept:
        others = ", ".join(sorted({other for _, other in report.kept}))
        faces = listed([face for face, _ in report.kept])
        note(f"{count(len(report.kept), 'face')} left alone, since you named them {others}: {faces}")
    if report.rejected:
        note(f"{count(len(report.rejected), 'face')} left alone, since you said they are not {report.person}")
    if report.same_photo:
        note(
            f"{count(len(report.same_photo), 'face')} left alone, since another face of the same photo is "
            f"{report.person}: {listed(report.same_photo)}. Name them one by one if they are (a mirror, a collage)"
        )


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="CLUSTER|PERSON|FACE...", callback=expand)
@dry_run_option
@json_option
@click.pass_context
def unlabel(ctx: click.Context, targets: tuple[str, ...], *, dry_run: bool, as_json: bool) -> None:
    """Take the names off the faces of a cluster (12), of a person, or off single faces (f345).

    \b
    Example: photocluster unlabel f345 f346
    """  # noqa: D301
    from photocluster.pipeline.naming import unlabel as run

    with open_library(ctx) as library:
        report = run(library, targets, dry_run=dry_run)
    if as_json:
        write_json(faces_json(report))
        return
    say_faces(report, "without a name now", dry_run=dry_run, unchanged="had none")


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="SUGGESTION|PERSON|FACE...", callback=expand)
@click.option("--name", metavar="NAME", help="Who it is, for suggestions.")
@click.option("--clusters", is_flag=True, help="Numbers are those of clusters, not of suggestions.")
@dry_run_option
@json_option
@click.pass_context
def accept(
    ctx: click.Context, targets: tuple[str, ...], *, name: str | None, clusters: bool, dry_run: bool, as_json: bool
) -> None:
    """Say yes: to suggestions by their numbers (3), or to the propagated names of a person or of single faces (f345).

    Propagated names become your own word by it. Those in clusters: accept --clusters 12.

    \b
    Example: photocluster accept 3 --name "Madonna"
    """  # noqa: D301
    from photocluster.pipeline.naming import accept as run

    if not clusters and all(target.isdecimal() for target in targets):
        answer_numbers(ctx, targets, yes=True, name=name, dry_run=dry_run, as_json=as_json)
        return
    if not clusters and any(target.isdecimal() for target in targets):
        raise UsageError("give either numbers of suggestions, or faces and persons; for clusters add --clusters")
    if name is not None:
        raise UsageError("--name goes with numbers of suggestions; for faces and clusters: photocluster label")
    with open_library(ctx) as library:
        report = run(library, targets, dry_run=dry_run)
    if as_json:
        write_json(faces_json(report))
        return
    say_faces(report, "confirmed", dry_run=dry_run, unchanged="had no name, or one by you")


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="SUGGESTION|CLUSTER|FACE...", callback=expand)
@click.option("--person", metavar="NAME", help="Who these faces or clusters are not.")
@dry_run_option
@json_option
@click.pass_context
def reject(ctx: click.Context, targets: tuple[str, ...], *, person: str | None, dry_run: bool, as_json: bool) -> None:
    """Say no to suggestions (3), or that faces, or all faces of a cluster, are not a person. It is remembered for ever.

    Numbers are suggestions, or with --person clusters. The name goes off the faces that carry it, and neither
    clustering nor propagation brings them together again.

    \b
    Example: photocluster reject f345 --person "Madonna"
    """  # noqa: D301
    from photocluster.pipeline.naming import reject as run

    if person is None:
        answer_numbers(ctx, targets, yes=False, name=None, dry_run=dry_run, as_json=as_json)
        return
    with open_library(ctx) as library:
        report = run(library, targets, person, dry_run=dry_run)
    if as_json:
        write_json(faces_json(report))
        return
    say_faces(report, f"not {report.person}", dry_run=dry_run, unchanged="were so already")


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="FACE|CLUSTER|PERSON...", callback=expand)
@click.option("--to", "name", required=True, metavar="NAME", help="Whose faces these are.")
@dry_run_option
@json_option
@click.pass_context
def move(ctx: click.Context, targets: tuple[str, ...], *, name: str, dry_run: bool, as_json: bool) -> None:
    """Give faces to a person, whatever they were named before.

    Other than label, it takes a cluster's faces that you named otherwise along.

    \b
    Example: photocluster move f345 f346 --to "Ann's sister"
    """  # noqa: D301
    from photocluster.pipeline.naming import move as run

    with open_library(ctx) as library:
        report = run(library, targets, name, dry_run=dry_run)
    if as_json:
        write_json(faces_json(report))
        return
    say_faces(report, f"to {report.person}", dry_run=dry_run, unchanged="were there already")

"""photocluster label, unlabel, rename, people."""

from __future__ import annotations

import click

from photocluster.cli.console import count, json_option, note, open_library, show_table, write_json


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="CLUSTER|FACE...")
@click.argument("name")
@json_option
@click.pass_context
def label(ctx: click.Context, targets: tuple[str, ...], name: str, *, as_json: bool) -> None:
    """Name the faces of a cluster (12), or single faces (f345).

    The name belongs to the faces: it stays with them whatever later runs do. Faces that you named otherwise keep their
    name, unless you point at the face itself.

    \b
    Example: photocluster label 12 "Madonna"
    """  # noqa: D301
    from photocluster.pipeline.naming import label as run

    with open_library(ctx) as library:
        report = run(library, targets, name)
    if as_json:
        write_json(report)
        return
    new = " (a new person)" if report.new_person else ""
    click.echo(f"{report.person}{new}: {count(len(report.named), 'face')} named")
    if report.already:
        note(f"{count(len(report.already), 'face')} had the name already")
    if report.kept:
        others = ", ".join(sorted({other for _, other in report.kept}))
        faces = " ".join(f"f{face}" for face, _ in report.kept[:10])
        note(f"{count(len(report.kept), 'face')} left alone, since you named them {others}: {faces}")
    if report.rejected:
        note(f"{count(len(report.rejected), 'face')} left alone, since you said they are not {report.person}")
    if report.same_photo:
        faces = " ".join(f"f{face}" for face in report.same_photo[:10])
        note(
            f"{count(len(report.same_photo), 'face')} left alone, since another face of the same photo is "
            f"{report.person}: {faces}. Name them one by one if they are (a mirror, a collage)"
        )


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="CLUSTER|PERSON|FACE...")
@json_option
@click.pass_context
def unlabel(ctx: click.Context, targets: tuple[str, ...], *, as_json: bool) -> None:
    """Take the names off the faces of a cluster (12), of a person, or off single faces (f345).

    \b
    Example: photocluster unlabel f345 f346
    """  # noqa: D301
    from photocluster.pipeline.naming import unlabel as run

    with open_library(ctx) as library:
        report = run(library, targets)
    if as_json:
        write_json({"faces": [{"face": face, "was": was} for face, was in report.faces]})
        return
    names = ", ".join(sorted({was for _, was in report.faces}))
    click.echo(f"{count(len(report.faces), 'face')} without a name now (before: {names})")


@click.command()
@click.argument("person")
@click.argument("name")
@json_option
@click.pass_context
def rename(ctx: click.Context, person: str, name: str, *, as_json: bool) -> None:
    """Give a person another name.

    \b
    Example: photocluster rename "Madona" "Madonna"
    """  # noqa: D301
    from photocluster.pipeline.naming import rename as run

    with open_library(ctx) as library:
        kept = run(library, person, name)
    if as_json:
        write_json({"person": kept, "was": person})
        return
    click.echo(f"{person} is {kept} now")


@click.command()
@json_option
@click.pass_context
def people(ctx: click.Context, *, as_json: bool) -> None:
    """List the persons and how many faces carry their names.

    \b
    Example: photocluster people --json
    """  # noqa: D301
    with open_library(ctx) as library:
        infos = library.names.persons()
    if as_json:
        write_json(
            [
                {
                    "name": info.name,
                    "faces": info.faces,
                    "photos": info.photos,
                    "user": info.user,
                    "imported": info.imported,
                    "propagated": info.propagated,
                }
                for info in infos
            ]
        )
        return
    columns = [("person", "left"), ("faces", "right"), ("photos", "right"), ("by you", "right")]
    columns += [("imported", "right"), ("propagated", "right")]
    show_table(columns, [(i.name, i.faces, i.photos, i.user, i.imported, i.propagated) for i in infos])
    if not infos:
        note('nobody is named yet. Name a cluster with: photocluster label 12 "NAME"')

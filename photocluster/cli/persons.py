"""photocluster people, person, rename, merge, split, cover."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import ask, count, json_option, note, open_library, show_table, write_json, write_text
from photocluster.cli.targets import dry_run_option, expand, listed, say

if TYPE_CHECKING:
    from photocluster.store import PersonInfo


@click.command()
@click.option("--all", "everybody", is_flag=True, help="Hidden persons too.")
@json_option
@click.pass_context
def people(ctx: click.Context, *, everybody: bool, as_json: bool) -> None:
    """List the persons and how many faces carry their names.

    \b
    Example: photocluster people --json
    """  # noqa: D301
    with open_library(ctx) as library:
        known, waiting = library.names.persons(), library.regions.count()
    infos = [info for info in known if everybody or not info.hidden]
    if as_json:
        write_json([_facts(info, waiting.get(info.id, 0)) for info in infos])
        return
    columns = [("person", "left"), ("faces", "right"), ("photos", "right"), ("by you", "right")]
    columns += [("imported", "right"), ("propagated", "right"), ("born", "left"), ("also known as", "left")]
    rows = [(i.name, i.faces, i.photos, i.user, i.imported, i.propagated, i.born, ", ".join(i.aliases)) for i in infos]
    show_table(columns, rows)
    if waiting:
        note(f"{count(sum(waiting.values()), 'imported name')} without a face; see: photocluster regions")
    if not known:
        note('nobody is named yet. Name a cluster with: photocluster label 12 "NAME"')
    elif len(infos) < len(known):
        note(f"{count(len(known) - len(infos), 'hidden person', 'hidden people')}; --all lists them")


def _facts(info: PersonInfo, waiting: int) -> dict[str, object]:
    return {
        "name": info.name,
        "aliases": list(info.aliases),
        "born": info.born,
        "note": info.note,
        "hidden": info.hidden,
        "cover": info.cover,
        "faces": info.faces,
        "photos": info.photos,
        "user": info.user,
        "imported": info.imported,
        "propagated": info.propagated,
        "without_face": waiting,
    }


@click.command()
@click.argument("name")
@click.option("--alias", multiple=True, metavar="NAME", help="Another name that stands for the person, to add.")
@click.option("--no-alias", multiple=True, metavar="NAME", help="An alias to remove.")
@click.option("--born", metavar="DATE", help='Birth date (2010-05-01); "" for not known.')
@click.option("--note", "remark", metavar="TEXT", help='A note; "" for none.')
@click.option("--hide/--show", "hidden", default=None, help="Whether people lists the person.")
@dry_run_option
@json_option
@click.pass_context
def person(
    ctx: click.Context,
    name: str,
    *,
    alias: tuple[str, ...],
    no_alias: tuple[str, ...],
    born: str | None,
    remark: str | None,
    hidden: bool | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Show a person, or change what is known: aliases, birth date, note, hidden or not.

    \b
    Example: photocluster person "Ann" --alias "Annie" --born 2010-05-01
    """  # noqa: D301
    from photocluster.pipeline.persons import PersonFacts, change_person

    facts = PersonFacts(add_aliases=alias, remove_aliases=no_alias, born=born, note=remark, hidden=hidden)
    with open_library(ctx) as library:
        report = change_person(library, name, facts, dry_run=dry_run)
        waiting = library.regions.count().get(report.person.id, 0)
    if as_json:
        write_json({"event": report.event, **_facts(report.person, waiting)})
        return
    info = report.person
    rows = [
        ("name", info.name),
        ("also known as", ", ".join(info.aliases)),
        ("born", info.born),
        ("note", info.note),
        ("hidden", "yes" if info.hidden else "no"),
        ("cover", None if info.cover is None else f"f{info.cover}"),
        ("faces", f"{info.faces} ({info.user} by you, {info.imported} imported, {info.propagated} propagated)"),
        ("photos", info.photos),
    ]
    if waiting:
        rows.append(("without a face", f"{waiting} imported names; see: photocluster regions"))
    show_table([("", "left"), ("", "left")], rows)
    if report.event is not None:
        note(f"event {report.event}; to take it back: photocluster undo")


@click.command()
@click.argument("person")
@click.argument("name")
@click.option("--merge", is_flag=True, help="If somebody has the new name already, make the two one.")
@dry_run_option
@json_option
@click.pass_context
def rename(ctx: click.Context, person: str, name: str, *, merge: bool, dry_run: bool, as_json: bool) -> None:
    """Give a person another name.

    \b
    Example: photocluster rename "Madona" "Madonna"
    """  # noqa: D301
    from photocluster.pipeline.persons import rename as run
    from photocluster.pipeline.targets import person_id

    with open_library(ctx) as library:
        other = library.names.person_id(name)
        if not (merge or dry_run or as_json) and other not in {None, person_id(library, person)} and sys.stdin.isatty():
            question = f'There is a person "{name}" already. Make the two one? (undo takes it back)'
            merge = ask(question, abort=True)
        report = run(library, person, name, merge=merge, dry_run=dry_run)
    if as_json:
        write_json({"event": report.event, "person": report.person.name, "was": person})
        return
    say(f"{person} is {report.person.name} now", report.event, dry_run=dry_run)


@click.command()
@click.argument("person")
@click.argument("others", nargs=-1, required=True, metavar="PERSON...")
@click.option("--force", is_flag=True, help="Even if they were named side by side in a photo.")
@dry_run_option
@json_option
@click.pass_context
def merge(
    ctx: click.Context, person: str, others: tuple[str, ...], *, force: bool, dry_run: bool, as_json: bool
) -> None:
    """Make persons one: all go into the first, and the names of the others become its aliases.

    \b
    Example: photocluster merge "Ann" "Ann (2)"
    """  # noqa: D301
    from photocluster.pipeline.persons import merge_persons

    with open_library(ctx) as library:
        report = merge_persons(library, [person, *others], force=force, dry_run=dry_run)
    if as_json:
        write_json(report)
        return
    moved = f"{count(report.faces, 'face')} and {count(report.rejections, 'rejection')} moved"
    say(f"{', '.join(report.merged)} -> {report.person}: {moved}", report.event, dry_run=dry_run)
    if report.photos:
        note(f"{report.person} is named more than once in {count(len(report.photos), 'photo')} now")


@click.command()
@click.argument("target", metavar="PERSON|CLUSTER")
@click.argument("faces", nargs=-1, metavar="[FACE...]", callback=expand)
@click.option("--to", metavar="NAME", help='Who the faces are (default: "PERSON (2)").')
@click.option("--min-faces", type=click.IntRange(2), help="Least size of a part, where none are given.")
@dry_run_option
@json_option
@click.pass_context
def split(
    ctx: click.Context,
    target: str,
    faces: tuple[str, ...],
    *,
    to: str | None,
    min_faces: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make one person or cluster several: by the faces that leave, or without any by HDBSCAN.

    The largest part of a person keeps the name, others become "NAME (2)" and so on. Look first with --dry-run.

    \b
    Example: photocluster split "Ann" f345 f346 --to "Ann's sister"
    """  # noqa: D301
    from photocluster.pipeline.splitting import split as run

    with open_library(ctx) as library:
        report = run(library, target, faces, to=to, min_faces=min_faces, dry_run=dry_run)
    if as_json:
        write_json(report)
        return
    for part in report.parts:
        name = f"{part.person or target} (stays)" if part.stays else part.person
        write_text(f"{name}: {count(len(part.faces), 'face')}: {listed(part.faces)}")
    if report.event is not None:
        note(f"event {report.event}; to take it back: photocluster undo")


@click.command()
@click.argument("face")
@dry_run_option
@json_option
@click.pass_context
def cover(ctx: click.Context, face: str, *, dry_run: bool, as_json: bool) -> None:
    """Choose the face that stands for the person whose name it carries.

    \b
    Example: photocluster cover f345
    """  # noqa: D301
    from photocluster.pipeline.persons import cover as run

    with open_library(ctx) as library:
        report = run(library, face, dry_run=dry_run)
        waiting = library.regions.count().get(report.person.id, 0)
    if as_json:
        write_json({"event": report.event, **_facts(report.person, waiting)})
        return
    say(f"{face} stands for {report.person.name}", report.event, dry_run=dry_run)

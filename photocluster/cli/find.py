"""photocluster find."""

from __future__ import annotations

import click

from photocluster.cli.console import count, json_option, note, open_library, show_table, write_json, write_paths


@click.command()
@click.argument("persons", nargs=-1, required=True, metavar="PERSON...")
@click.option("--not", "without", multiple=True, metavar="PERSON", help="Without this person.")
@click.option("--any", "any_of", is_flag=True, help="One of the persons is enough.")
@click.option("--from", "since", metavar="DATE", help="Taken then or later: 2019, 2019-07 or 2019-07-14.")
@click.option("--to", "until", metavar="DATE", help="Taken then or earlier: 2021 is until its last day.")
@click.option("--user-only", is_flag=True, help="Propagated names do not count.")
@click.option("--paths", is_flag=True, help="Print one path a line, for other programs.")
@click.option("-0", "--null", "null", is_flag=True, help="Print paths, each ended by a null byte (xargs -0).")
@json_option
@click.pass_context
def find(
    ctx: click.Context,
    persons: tuple[str, ...],
    *,
    without: tuple[str, ...],
    any_of: bool,
    since: str | None,
    until: str | None,
    user_only: bool,
    paths: bool,
    null: bool,
    as_json: bool,
) -> None:
    """Find the photos that show all these persons, and none of those.

    \b
    Example: photocluster find "Ann" "Ben" --not "Carl" --from 2019 --to 2021 --paths
    """  # noqa: D301
    from photocluster.pipeline.queries import find_photos_of

    with open_library(ctx) as library:
        found = find_photos_of(
            library,
            persons,
            without=without,
            any_of=any_of,
            since=since,
            until=until,
            propagated=not user_only,
        )
    if as_json:
        write_json(found)
        return
    if paths or null:
        write_paths([photo.path for photo in found if not photo.missing], null=null)
    else:
        columns = [("taken", "left"), ("with", "left"), ("photo", "left")]
        rows = [
            (
                photo.captured_at,
                ", ".join(photo.persons),
                photo.path + (" (missing)" if photo.missing else ""),
            )
            for photo in found
        ]
        show_table(columns, rows)
    gone = sum(photo.missing for photo in found)
    note(f"{count(len(found), 'photo')}" + (f", {gone:,} of them missing" if gone else ""))

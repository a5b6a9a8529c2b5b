"""photocluster history, undo, redo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from photocluster.cli.console import count, json_option, note, open_library, show_table, write_json, write_text
from photocluster.cli.targets import dry_run_option

if TYPE_CHECKING:
    from photocluster.store import Event, TakenBack

MAX_WORDS = 6
"""Values of a list that are shown."""


@click.command()
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="Newest N; 0 is all.")
@json_option
@click.pass_context
def history(ctx: click.Context, *, limit: int, as_json: bool) -> None:
    """List your decisions, newest first, and which of them were undone.

    \b
    Example: photocluster history --limit 50
    """  # noqa: D301
    with open_library(ctx) as library:
        events = library.history.events()
    shown = events[:limit] if limit else events
    if as_json:
        write_json(shown)
        return
    columns = [("event", "right"), ("when (UTC)", "left"), ("what", "left"), ("", "left"), ("changes", "right")]
    columns += [("", "left")]
    rows = [
        (e.id, e.at[:19].replace("T", " "), e.kind, _arguments(e), e.changes, "" if e.in_force else "undone")
        for e in shown
    ]
    show_table(columns, rows)
    if not events:
        note("nothing was decided yet")
    elif len(shown) < len(events):
        note(f"{len(events) - len(shown):,} earlier ones; --limit 0 lists all")


def _arguments(event: Event) -> str:
    """Return the arguments of an event in words."""
    parts = []
    for key, value in event.arguments.items():
        if value in (None, [], ""):
            continue
        text = " ".join(str(v) for v in value[:MAX_WORDS]) if isinstance(value, list) else str(value)
        more = f" and {len(value) - MAX_WORDS} more" if isinstance(value, list) and len(value) > MAX_WORDS else ""
        parts.append(f"{key} {text}{more}")
    return ", ".join(parts)


@click.command()
@click.argument("event", type=click.IntRange(1), required=False)
@dry_run_option
@json_option
@click.pass_context
def undo(ctx: click.Context, event: int | None, *, dry_run: bool, as_json: bool) -> None:
    """Take back your last decision, or the one with the number that history shows.

    Everything is again as it was before it. What later decisions built on is not taken back by itself: the message says
    which they are. What scans did with its names meanwhile is taken back along with it.

    \b
    Example: photocluster undo
    """  # noqa: D301
    from photocluster.pipeline.history import undo as run

    with open_library(ctx) as library:
        done = run(library, event, dry_run=dry_run)
    _show(done, "undone", dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("event", type=click.IntRange(1), required=False)
@dry_run_option
@json_option
@click.pass_context
def redo(ctx: click.Context, event: int | None, *, dry_run: bool, as_json: bool) -> None:
    """Do again what was undone last, or the undone decision with that number.

    \b
    Example: photocluster redo
    """  # noqa: D301
    from photocluster.pipeline.history import redo as run

    with open_library(ctx) as library:
        done = run(library, event, dry_run=dry_run)
        decided = {e.id: e for e in library.history.events()}[done.concerned.arguments["event"]]
    _show(done, "done again", dry_run=dry_run, as_json=as_json, decided=decided)


def _show(done: TakenBack, verb: str, *, dry_run: bool, as_json: bool, decided: Event | None = None) -> None:
    concerned = decided or done.concerned
    if as_json:
        answer = {"event": done.event, "concerned": concerned.id, "kind": concerned.kind, "changes": done.changes}
        write_json({**answer, "along": [other.id for other in done.along]})
        return
    would = "would be " if dry_run else ""
    what = f"{concerned.kind}: {_arguments(concerned)}"
    write_text(f"event {concerned.id} {would}{verb} ({what}), {count(done.changes, 'change')}")
    for other in done.along:
        note(f"{would}taken back along with it: event {other.id} ({other.kind}), which a scan made of it")

"""What the commands that decide share: targets from the command line or stdin, --dry-run, and lists of faces."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import count, note, write_text

if TYPE_CHECKING:
    from photocluster.pipeline.naming import FacesReport

dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what would change.")

_NUMBERED = re.compile(r"[fF]?\d+(-[fF]?\d+)?")

MAX_LISTED = 20
"""Faces listed on a terminal; --json lists all."""


def expand(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments with "-" replaced by what stdin lists: faces and clusters, or one name a line."""
    if "-" not in values:
        return values
    read: list[str] = []
    for line in sys.stdin.read().splitlines():
        words = line.split()
        read += words if all(_NUMBERED.fullmatch(word) for word in words) else [line.strip()]
    place = values.index("-")
    return (*values[:place], *read, *(value for value in values[place:] if value != "-"))


def listed(faces: Sequence[int]) -> str:
    """Return "f3 f4 f9", or the first of them and how many more."""
    more = f" and {len(faces) - MAX_LISTED:,} more (--json lists all)" if len(faces) > MAX_LISTED else ""
    return " ".join(f"f{face}" for face in faces[:MAX_LISTED]) + more


def say(sentence: str, event: int | None, *, dry_run: bool) -> None:
    """Print what a decision did, and how to take it back."""
    write_text(f"dry run: {sentence}" if dry_run else sentence)
    if event is not None:
        note(f"event {event}; to take it back: photocluster undo")


def say_faces(report: FacesReport, done: str, *, dry_run: bool, unchanged: str = "left as they were") -> None:
    """Print which faces a decision changed."""
    faces = [face for face, _ in report.faces]
    names = sorted({name for _, name in report.faces if name})
    before = f" (before: {', '.join(names)})" if names else ""
    say(
        f"{count(len(faces), 'face')} {done}{before}" + (f": {listed(faces)}" if faces else ""),
        report.event,
        dry_run=dry_run,
    )
    if report.unchanged:
        note(f"{count(len(report.unchanged), 'face')} {unchanged}")


def faces_json(report: FacesReport) -> dict[str, object]:
    """Return the report as JSON values."""
    return {
        "event": report.event,
        "person": report.person,
        "faces": [{"face": face, "was": was} for face, was in report.faces],
        "unchanged": list(report.unchanged),
    }

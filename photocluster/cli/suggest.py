"""photocluster suggest: questions whose answers name the most faces; on a list, or one by one at the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import (
    count,
    distance_text,
    json_option,
    moment_text,
    note,
    open_library,
    show_table,
    write_json,
    write_text,
)
from photocluster.errors import PhotoclusterError, UsageError

if TYPE_CHECKING:
    from photocluster.cli.pictures import Protocol
    from photocluster.pipeline.suggesting import AnswerReport, Suggestion
    from photocluster.records import FaceRow
    from photocluster.store import Library

KEYS = "y yes  n no  l or space: later  x no face  u undo  q quit"


@click.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many questions.")
@click.option("--ask", is_flag=True, help="Ask them one by one, answered with one key each.")
@json_option
@click.pass_context
def suggest(ctx: click.Context, *, limit: int, ask: bool, as_json: bool) -> None:
    """Ask what would name the most faces: who a cluster is, whether it is a person, whether two are one.

    Answer by number: `accept 3` for yes, `accept 3 --name "Ann"` to say who it is, `reject 3` for no; or with --ask by
    one key each. The probability is that of a yes. What you rejected is never asked again, nor whether two people in
    one photo are the same.

    \b
    Example: photocluster suggest --ask
    """  # noqa: D301
    from photocluster.pipeline.suggesting import suggestions

    with open_library(ctx) as library:
        if ask:
            _ask(library, limit)
            return
        found = suggestions(library, limit=limit)
        if as_json:
            write_json([_json(library, each) for each in found])
            return
        columns = [("no.", "right"), ("question", "left"), ("faces", "right"), ("distance", "right")]
        columns += [("second", "right"), ("likely", "right"), ("look at", "left")]
        rows = [
            (
                s.number,
                s.words,
                len(s.faces),
                distance_text(s.distance),
                distance_text(s.second_distance),
                f"{s.probability:.0%}" if s.distance is not None else "",
                " ".join(f"f{face}" for face in (*s.faces[:3], *s.others[:2])),
            )
            for s in found
        ]
    if not found:
        note("nothing to ask: every group is named, ruled out, or too far from everybody")
        return
    show_table(columns, rows)
    note("answer with: photocluster accept 1, accept 1 --name NAME, reject 1; or all with: photocluster suggest --ask")


def _json(library: Library, suggestion: Suggestion) -> dict[str, object]:
    from photocluster.pipeline.suggesting import samples

    own, others = samples(library, suggestion)
    return {
        "number": suggestion.number,
        "kind": suggestion.kind.value,
        "question": suggestion.words,
        "person": suggestion.person,
        "cluster": suggestion.cluster,
        "other_cluster": suggestion.other_cluster,
        "distance": suggestion.distance,
        "second_distance": suggestion.second_distance,
        "probability": suggestion.probability,
        "faces_at_stake": len(suggestion.faces),
        "faces": list(suggestion.faces),
        "look_at": [{"face": row.face, "path": row.path} for row in own],
        "compare_with": [{"face": row.face, "path": row.path} for row in others],
    }


def answer_numbers(
    ctx: click.Context, numbers: Sequence[str], *, yes: bool, name: str | None, dry_run: bool, as_json: bool
) -> None:
    """Answer suggestions by their numbers: what `accept 3` and `reject 3` do."""
    from photocluster.pipeline.suggesting import Answer, answer

    wrong = [number for number in numbers if not number.isdecimal()]
    if wrong:
        raise UsageError(
            f'"{wrong[0]}" is no number of a suggestion. Faces and clusters need --person NAME: who they are not'
        )
    with open_library(ctx) as library:
        said = Answer.YES if yes else Answer.NO
        reports = [answer(library, int(number), said, name=name, dry_run=dry_run) for number in numbers]
    if as_json:
        write_json(reports)
        return
    for report in reports:
        _say(report, dry_run=dry_run)


def _say(report: AnswerReport, *, dry_run: bool = False) -> None:
    from photocluster.cli.targets import say

    say(f"{report.number}: {report.words}", report.event, dry_run=dry_run)


def _ask(library: Library, limit: int) -> None:
    """Ask one question after the other until none is left, or the user has had enough."""
    from photocluster.cli.pictures import detect
    from photocluster.pipeline.suggesting import is_open, suggestions

    protocol = detect()
    note(KEYS)
    made: list[int] = []  # the events of the answers
    later: set[tuple[object, ...]] = set()
    before, outcome = -1, ""
    while outcome != "q" and len(made) != before and len(made) + len(later) < limit:
        # What was answered makes other questions worth asking: look again when the list is through.
        before = len(made)
        found = [each for each in suggestions(library, limit=limit) if _key(each) not in later]
        place, answered = 0, [0]
        while place < len(found) and outcome != "q":
            outcome = _ask_one(library, found[place], protocol, made) if is_open(library, found[place].number) else ""
            if outcome == "u":
                place = answered.pop() if len(answered) > 1 else place
                continue
            if outcome == "l":
                later.add(_key(found[place]))
            elif outcome in {"y", "n", "x"}:
                answered.append(place)
            place += 1
    write_text(f"{count(len(made), 'answer')}. Carry the names to other faces with: photocluster propagate")


def _key(suggestion: Suggestion) -> tuple[object, ...]:
    return suggestion.kind, suggestion.person, suggestion.faces[0], suggestion.others[:1]


def _ask_one(library: Library, suggestion: Suggestion, protocol: Protocol, made: list[int]) -> str:
    """Ask one question and do what is answered; return the key: y, n, x, l, u or q."""
    from photocluster.pipeline.history import undo
    from photocluster.pipeline.suggesting import Answer, answer
    from photocluster.suggestions import Kind

    _show(library, suggestion, protocol)
    likely = (
        f" (likely {suggestion.probability:.0%}, distance {suggestion.distance:.3f})" if suggestion.distance else ""
    )
    while True:
        write_text(f"{suggestion.words}{likely}", end=" ")
        key = click.getchar().lower()
        write_text(key if key.isprintable() else "")
        if key in {" ", "\r", "\n", "l"}:
            return "l"
        if key in {"q", "\x03", "\x04", "\x1b", ""}:
            return "q"
        try:
            if key == "u":
                if made:
                    undo(library, made.pop())
                    write_text("taken back")
                else:
                    write_text("nothing was answered yet")
                return "u"
            if key in {"y", "n", "x"}:
                name = (
                    click.prompt("name (empty: later)", default="", show_default=False)
                    if (key == "y" and suggestion.kind is Kind.NAME)
                    else None
                )
                if name == "":
                    return "l"
                said = {"y": Answer.YES, "n": Answer.NO, "x": Answer.NOT_A_FACE}[key]
                report = answer(library, suggestion.number, said, name=name)
                write_text(report.words)
                made += [] if report.event is None else [report.event]
                return key
        except PhotoclusterError as error:
            note(error)
            return "l"
        note(KEYS)


def _show(library: Library, suggestion: Suggestion, protocol: Protocol) -> None:
    """Show the faces: as pictures where the terminal can, else as paths."""
    from photocluster.cli.pictures import Protocol, show_picture, side_by_side
    from photocluster.pipeline.suggesting import samples

    own, others = samples(library, suggestion)
    if protocol is not Protocol.NONE:
        left, right = [crop for row in own if (crop := _crop(row))], [crop for row in others if (crop := _crop(row))]
        if left or right:
            show_picture(side_by_side(left, right), protocol)
            return
    for title, rows in (("faces", own), ("and", others)):
        for row in rows:
            box = row.detection.box
            place = f"{box.x0:.0f},{box.y0:.0f} to {box.x1:.0f},{box.y1:.0f}"
            write_text(f"  {title:5} f{row.face}  {row.path}{moment_text(row.time)}  at {place}")


def _crop(row: FaceRow) -> bytes | None:
    """Return the picture of a face as a JPEG file, None where its photo cannot be read now."""
    from photocluster.pipeline.showing import load_picture
    from photocluster.thumbnails import long_side_needed, thumbnail

    try:
        decoded = load_picture(row, long_side_needed([row]))
    except PhotoclusterError:
        return None
    return thumbnail(decoded, row)

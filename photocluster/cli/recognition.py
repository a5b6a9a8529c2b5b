"""photocluster propagate, why, identify, compare."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from photocluster.cli.console import (
    count,
    device_option,
    distance_text,
    json_option,
    library_folder,
    moment_text,
    note,
    open_library,
    show_table,
    write_json,
    write_text,
)
from photocluster.identification import MARGIN, VERIFICATION_THRESHOLD, Method

if TYPE_CHECKING:
    from photocluster.pipeline.recognition import Comparing

F = TypeVar("F", bound=Callable[..., Any])


def _comparing(command: F) -> F:
    """Add the options that say how faces are compared with persons, given to the command as one `comparing`."""

    @functools.wraps(command)
    def wrapped(*args: Any, threshold: float | None, margin: float, method: str, **rest: Any) -> Any:
        from photocluster.pipeline.recognition import Comparing

        return command(*args, comparing=Comparing(threshold=threshold, margin=margin, method=Method(method)), **rest)

    options = (
        click.option(
            "--threshold",
            type=click.FloatRange(0, 2),
            help="Greatest distance to a person.  [default: calibrated on your named faces]",
        ),
        click.option(
            "--margin",
            type=click.FloatRange(0, 2),
            default=MARGIN,
            show_default=True,
            help="How much farther the second person must be.",
        ),
        click.option(
            "--method",
            type=click.Choice([method.value for method in Method]),
            default=Method.CENTROID.value,
            show_default=True,
            help="Compare with each person's centroid, with the nearest faces, or by a linear SVM.",
        ),
    )
    decorated: Any = wrapped
    for option in reversed(options):
        decorated = option(decorated)
    return cast("F", decorated)


@click.command()
@_comparing
@click.option("--dry-run", is_flag=True, help="Show what it would do, and do nothing.")
@json_option
@click.pass_context
def propagate(ctx: click.Context, *, comparing: Comparing, dry_run: bool, as_json: bool) -> None:
    """Name the faces that lie near a named person and near nobody else; the rest stays unknown.

    Names that you gave are never touched. What was propagated before and does not hold any more is taken back. Faces
    that are near, but not surely, are asked about by `photocluster suggest`. `photocluster undo` takes it all back.

    \b
    Example: photocluster propagate --dry-run
    """  # noqa: D301
    from photocluster.pipeline.recognition import propagate as run

    with open_library(ctx) as library:
        report = run(library, comparing, dry_run=dry_run, logged=True)
    if as_json:
        write_json(report)
        return
    if dry_run:
        columns = [("face", "left"), ("person", "left"), ("distance", "right"), ("second", "right")]
        rows = [
            (f"f{f.face}", f.person, distance_text(f.distance), distance_text(f.second_distance)) for f in report.faces
        ]
        show_table(columns, rows)
    else:
        show_table([("person", "left"), ("faces", "right")], report.by_person)
    would = "would be named" if dry_run else "named"
    write_text(
        f"{count(report.examined, 'face')} without your word: {report.named:,} {would} ({report.changed:,} new), "
        f"{report.taken_back:,} taken back, {report.to_confirm:,} to confirm, {report.unknown:,} unknown"
    )
    note(f"threshold {report.threshold:.3f}, margin {comparing.margin:.3f}")
    if report.to_confirm:
        note("to confirm: photocluster suggest")


@click.command()
@click.argument("face", metavar="FACE")
@_comparing
@json_option
@click.pass_context
def why(ctx: click.Context, face: str, *, comparing: Comparing, as_json: bool) -> None:
    """Say why a face (f345) has its name, or none: the nearest persons and faces, the threshold, the margin.

    \b
    Example: photocluster why f345
    """  # noqa: D301
    from photocluster.pipeline.explaining import explain

    with open_library(ctx) as library:
        found = explain(library, face, comparing)
    if as_json:
        write_json(found)
        return
    write_text(f"f{found.face}: {found.words}")
    rows = [(p.person, f"{p.distance:.3f}", f"{p.radius:.3f}", p.note) for p in found.persons]
    if rows:
        show_table([("person", "left"), ("distance", "right"), ("accepted to", "right"), ("", "left")], rows)
        faces = [(f"f{f.face}", f.person, f"{f.distance:.3f}", f.path) for f in found.faces]
        show_table([("named face", "left"), ("person", "left"), ("distance", "right"), ("photo", "left")], faces)
        note(f"threshold {found.threshold:.3f}, margin {found.margin:.3f}")


@click.command()
@click.argument("photo", type=click.Path())
@_comparing
@device_option
@json_option
@click.pass_context
def identify(ctx: click.Context, photo: str, *, comparing: Comparing, device: str, as_json: bool) -> None:
    """Say who is in a photo or a video, by the names in the library, without adding it.

    \b
    Example: photocluster identify new.jpg
    """  # noqa: D301
    from photocluster.pipeline.recognition import identify_file

    found = identify_file(library_folder(ctx), Path(photo), comparing, device=device)
    if as_json:
        write_json(
            [
                {
                    "box": _box(answer.face),
                    "time": answer.face.time,
                    "detector_score": round(answer.face.detection.score, 4),
                    "quality": round(answer.face.quality.overall, 4),
                    "person": answer.person,
                    "nearest": answer.nearest,
                    "distance": answer.distance,
                    "second": answer.second,
                    "second_distance": answer.second_distance,
                }
                for answer in found
            ]
        )
        return
    columns = [("face at", "left"), ("person", "left"), ("nearest", "left"), ("distance", "right")]
    columns += [("second", "left"), ("distance", "right")]
    show_table(
        columns,
        [
            (
                " ".join(f"{v:.0f}" for v in _box(a.face)) + moment_text(a.face.time),
                a.person or "unknown",
                a.nearest,
                distance_text(a.distance),
                a.second,
                distance_text(a.second_distance),
            )
            for a in found
        ],
    )
    if not found:
        note(f"{photo}: no face found")


@click.command()
@click.argument("a", type=click.Path(), metavar="A")
@click.argument("b", type=click.Path(), metavar="B")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 2),
    default=VERIFICATION_THRESHOLD,
    show_default=True,
    help="Greatest distance of two faces of one person.",
)
@device_option
@json_option
def compare(a: str, b: str, *, threshold: float, device: str, as_json: bool) -> int:
    """Say whether two photos show the same person: the distance of their faces, and whether it is within the threshold.

    With several faces all pairs are listed, and the nearest pair decides.

    \b
    Example: photocluster compare a.jpg b.jpg
    """  # noqa: D301
    from photocluster.pipeline.recognition import compare_files

    result = compare_files(Path(a), Path(b), threshold=threshold, device=device)
    boxes = [[_box(face) for face in faces] for faces in result.faces]
    if as_json:
        write_json(
            {
                "same": result.same,
                "distance": result.pairs[0][2] if result.pairs else None,
                "threshold": threshold,
                "pairs": [{"a": boxes[0][i], "b": boxes[1][j], "distance": d} for i, j, d in result.pairs],
            }
        )
    elif result.same is None:
        empty = [name for name, faces in zip((a, b), result.faces, strict=True) if not faces]
        note(f"no face found in {' and '.join(empty)}")
    else:
        if len(result.pairs) > 1:
            texts = [[" ".join(f"{v:.0f}" for v in box) for box in side] for side in boxes]
            rows = [(texts[0][i], texts[1][j], distance_text(d)) for i, j, d in result.pairs]
            show_table([("face in A at", "left"), ("face in B at", "left"), ("distance", "right")], rows)
        verdict = "same person" if result.same else "different people"
        write_text(f"{verdict}: distance {result.pairs[0][2]:.3f}, threshold {threshold:.3f}")
    return 1 if result.same is None else 0


def _box(face: object) -> list[float]:
    box = face.detection.box  # type: ignore[attr-defined]
    return [round(v, 1) for v in (box.x0, box.y0, box.x1, box.y1)]

"""photocluster propagate, identify, compare."""

from __future__ import annotations

from pathlib import Path

import click

from photocluster.cli.console import (
    count,
    distance_text,
    json_option,
    library_folder,
    note,
    open_library,
    show_table,
    write_json,
)
from photocluster.identification import MARGIN, THRESHOLD, VERIFICATION_THRESHOLD

_threshold = click.option(
    "--threshold", type=click.FloatRange(0, 2), default=THRESHOLD, show_default=True, help="Greatest distance."
)
_margin = click.option(
    "--margin",
    type=click.FloatRange(0, 2),
    default=MARGIN,
    show_default=True,
    help="How much farther the second person must be.",
)


@click.command()
@_threshold
@_margin
@click.option("--dry-run", is_flag=True, help="Show what it would do, and do nothing.")
@json_option
@click.pass_context
def propagate(ctx: click.Context, *, threshold: float, margin: float, dry_run: bool, as_json: bool) -> None:
    """Name the faces that lie near a named person and near nobody else; the rest stays unknown.

    Names that you gave are never touched. What was propagated before and does not hold any more is taken back.

    \b
    Example: photocluster propagate --dry-run
    """  # noqa: D301
    from photocluster.pipeline.recognition import propagate as run

    with open_library(ctx) as library:
        report = run(library, threshold=threshold, margin=margin, dry_run=dry_run)
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
    click.echo(
        f"{count(report.examined, 'face')} without your word: {report.named:,} {would} ({report.changed:,} new), "
        f"{report.taken_back:,} taken back, {report.unknown:,} unknown"
    )


@click.command()
@click.argument("photo", type=click.Path())
@_threshold
@_margin
@json_option
@click.pass_context
def identify(ctx: click.Context, photo: str, *, threshold: float, margin: float, as_json: bool) -> None:
    """Say who is in a photo, by the names in the library, without adding the photo.

    \b
    Example: photocluster identify new.jpg
    """  # noqa: D301
    from photocluster.pipeline.recognition import identify_file

    found = identify_file(library_folder(ctx), Path(photo), threshold=threshold, margin=margin)
    if as_json:
        write_json(
            [
                {
                    "box": _box(answer.face),
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
                " ".join(f"{v:.0f}" for v in _box(a.face)),
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
@json_option
def compare(a: str, b: str, *, threshold: float, as_json: bool) -> int:
    """Say whether two photos show the same person: the distance of their faces, and whether it is within the threshold.

    With several faces all pairs are listed, and the nearest pair decides.

    \b
    Example: photocluster compare a.jpg b.jpg
    """  # noqa: D301
    from photocluster.pipeline.recognition import compare_files

    result = compare_files(Path(a), Path(b), threshold=threshold)
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
        click.echo(f"{verdict}: distance {result.pairs[0][2]:.3f}, threshold {threshold:.3f}")
    return 1 if result.same is None else 0


def _box(face: object) -> list[float]:
    box = face.detection.box  # type: ignore[attr-defined]
    return [round(v, 1) for v in (box.x0, box.y0, box.x1, box.y1)]

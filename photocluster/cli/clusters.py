"""photocluster cluster, clusters, show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from photocluster.cli.console import (
    count,
    distance_text,
    json_option,
    moment_text,
    note,
    open_library,
    show_table,
    stderr,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from photocluster.pipeline.clusters import ClusterChange
    from photocluster.store import ClusterInfo

MAX_CHANGES = 30

MAX_CLUSTERS = 100
"""Clusters that are listed after a run, the largest ones: `clusters` lists them all."""


@click.command()
@click.option("--min-cluster-size", type=click.IntRange(2), help="Groups of fewer faces are noise.")
@click.option("--min-samples", type=click.IntRange(1), help="HDBSCAN's min_samples, counted without the face itself.")
@click.option(
    "--max-distance", type=click.FloatRange(0, 2), help="Ceiling of HDBSCAN's tree: joins above it do not count."
)
@click.option(
    "--plain", is_flag=True, help="HDBSCAN and nothing else: no constraints, no ceiling, no second judgement."
)
@json_option
@click.pass_context
def cluster(
    ctx: click.Context,
    *,
    min_cluster_size: int | None,
    min_samples: int | None,
    max_distance: float | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Group all faces into people.

    The numbers of clusters stay: a cluster keeps the number of the earlier one that it overlaps most. Names that you
    gave stay where they are, whatever the options.

    \b
    Example: photocluster cluster
    """  # noqa: D301
    from photocluster.pipeline.clusters import ClusterParameters
    from photocluster.pipeline.clusters import cluster as run

    parameters = ClusterParameters(
        min_cluster_size=min_cluster_size, min_samples=min_samples, max_distance=max_distance, extras=not plain
    )
    with open_library(ctx) as library, _progress() as tell:
        report = run(library, parameters, progress=tell)
    if as_json:
        write_json(report)
        return
    _show_clusters(report.clusters[:MAX_CLUSTERS])
    if len(report.clusters) > MAX_CLUSTERS:
        note(f"... and {count(len(report.clusters) - MAX_CLUSTERS, 'smaller cluster')}: photocluster clusters")
    _show_changes(report.changes)
    for sentence in report.contradictions:
        note(f"your words contradict each other: {sentence}")
    if report.recall is not None:
        note(f"the search for neighbours was approximate: {report.recall:.1%} of the near ones were found")
    note(
        f"{count(report.faces, 'face')}: {count(len(report.clusters), 'cluster')}, {report.noise:,} in none. "
        "Look: photocluster export html people/. Name: photocluster label NUMBER NAME"
    )


@contextmanager
def _progress() -> Iterator[Callable[[float, str], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("clustering", total=1.0)

        def tell(fraction: float, stage: str) -> None:
            bar.update(task, completed=fraction, description=stage or "clustering")

        yield tell


@click.command()
@click.option("--limit", type=click.IntRange(0), default=0, help="Show only the largest N.", metavar="N")
@json_option
@click.pass_context
def clusters(ctx: click.Context, *, limit: int, as_json: bool) -> None:
    """List the clusters of the last run, largest first.

    \b
    Example: photocluster clusters --limit 20
    """  # noqa: D301
    with open_library(ctx) as library:
        infos = library.clusters.infos()
    if as_json:
        write_json(infos[:limit] if limit else infos)
        return
    _show_clusters(infos[:limit] if limit else infos)
    if not infos:
        note("there are no clusters yet. Run: photocluster cluster")


def _show_clusters(infos: Sequence[ClusterInfo]) -> None:
    columns = [("cluster", "right"), ("faces", "right"), ("photos", "right"), ("person", "left"), ("tightness", "left")]
    rows = [(info.number, info.faces, info.photos, _persons_text(info), _tightness(info.probability)) for info in infos]
    show_table(columns, rows)


def _persons_text(info: ClusterInfo) -> str:
    """Return "Ann", "Ann 12 of 20", or "Ann 12, Ben 3 of 20"."""
    if not info.names:
        return ""
    if len(info.names) == 1 and info.names[0][1] == info.faces:
        return info.names[0][0]
    return ", ".join(f"{name} {faces}" for name, faces in info.names) + f" of {info.faces}"


def _tightness(probability: float) -> str:
    """Return the mean membership probability with a word for it."""
    word = "tight" if probability >= 0.9 else "fair" if probability >= 0.75 else "loose: look at it"
    return f"{probability:.2f} {word}"


def _show_changes(changes: Sequence[ClusterChange]) -> None:
    for change in changes[:MAX_CHANGES]:
        others = ", ".join(str(number) for number in change.others)
        link = {"merged": f" (took in {others})", "split": f" (into {others})", "gone": f" (into {others})"}
        note(
            f"{change.kind.value}: cluster {change.number}, {change.before} -> {change.faces} faces"
            + (link.get(change.kind.value, "") if others else "")
        )
    if len(changes) > MAX_CHANGES:
        note(f"... and {len(changes) - MAX_CHANGES} more changes; --json lists all")


@click.command()
@click.argument("target", metavar="CLUSTER|PERSON|FACE")
@json_option
@click.pass_context
def show(ctx: click.Context, target: str, *, as_json: bool) -> None:
    """List the faces of a cluster (12), of a person ("Madonna"), or one face (f345).

    Faces with the same number under "moment" are one face of one moment (a burst, near-duplicates, a track of a video):
    they count once as evidence.

    \b
    Example: photocluster show 12
    """  # noqa: D301
    import numpy as np

    from photocluster.pipeline.copies import moments_of
    from photocluster.pipeline.targets import resolve

    with open_library(ctx) as library:
        rows = resolve(library, target, persons=True).faces
        moments = _numbered(moments_of(library, np.array([row.face for row in rows], dtype=np.int64)).tolist())
        person = None if target.isdecimal() else library.names.person_id(target)
        waiting = 0 if person is None else library.regions.count().get(person, 0)
    if as_json:
        write_json([{**_face_facts(row), "moment": moment} for row, moment in zip(rows, moments, strict=True)])
        return
    shared = any(moments)
    columns = [("face", "left"), ("person", "left"), ("said by", "left"), ("distance", "right"), ("cluster", "right")]
    columns += [("quality", "right"), ("taken", "left"), *([("moment", "right")] if shared else []), ("photo", "left")]
    show_table(
        columns,
        [
            (
                f"f{row.face}",
                row.person,
                row.source.value if row.source else None,
                distance_text(row.distance),
                row.cluster,
                f"{row.quality.overall:.2f}",
                row.facts.captured_at,
                *([moment] if shared else []),
                row.path + moment_text(row.time) + (" (missing)" if row.missing else ""),
            )
            for row, moment in zip(rows, moments, strict=True)
        ],
    )
    if shared:
        together = max(moment or 0 for moment in moments)
        note(f"{count(len(rows), 'face')} of {count(together + moments.count(None), 'moment')}")
    if waiting:
        note(f'{count(waiting, "imported name")} without a face; see: photocluster regions "{target}"')


def _numbered(moments: Sequence[int]) -> list[int | None]:
    """Return numbers from 1 on for moments that several faces share, None for the others (-1)."""
    place = {moment: number for number, moment in enumerate(dict.fromkeys(m for m in moments if m >= 0), start=1)}
    return [place.get(moment) for moment in moments]


def _face_facts(row: Any) -> dict[str, object]:
    box = row.detection.box
    return {
        "face": row.face,
        "photo": row.photo,
        "path": row.path,
        "missing": row.missing,
        "box": [round(v, 2) for v in (box.x0, box.y0, box.x1, box.y1)],
        "detector_score": round(row.detection.score, 4),
        "quality": round(row.quality.overall, 4),
        "cluster": row.cluster,
        "person": row.person,
        "source": row.source.value if row.source else None,
        "distance": row.distance,
        "captured_at": row.facts.captured_at,
        "time": row.time,
        "track": row.track,
    }

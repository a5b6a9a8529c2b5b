"""What the commands of `photocluster evaluate` share: their options, tables and endings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from photocluster.cli.console import count, json_option, note, show_table, stderr, write_text
from photocluster.errors import UsageError

if TYPE_CHECKING:
    from photocluster.evaluation import Interval, Panel
    from photocluster.pipeline.evaluating import Census, KnownFaces, Material

EXIT_SKIPPED = 3
MAX_LISTED = 20
TREE = click.Path(exists=True, file_okay=False)
FILE = click.Path(exists=True, dir_okay=False)

Rows = Sequence[tuple[str, object, str]]
"""What a table shows: the measure's name, its value, and the interval's key ("" where there is none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What all commands of the group share."""

    labels: Path | None
    group_by: str | None
    keep: Path | None
    workers: int | None
    resamples: int
    seed: int
    plot: Path | None
    as_json: bool


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all commands share; they arrive as `options`."""

    @click.option("--labels", type=FILE, metavar="FILE", help="Who is in which photo: columns rel, identity, ...")
    @click.option("--group-by", metavar="COLUMN", help="A column of the labels to break the figures down by.")
    @click.option(
        "--keep",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Keep what the scan finds in DIR: the next evaluation reads only new and changed files.",
    )
    @click.option("--workers", type=click.IntRange(1, 64), help="Photos worked on at a time (default: one a core).")
    @click.option(
        "--resamples",
        type=click.IntRange(0),
        default=1000,
        show_default=True,
        help="Draws of people for the 95 % intervals; 0: none.",
    )
    @click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn by lot.")
    @click.option("--plot", type=click.Path(dir_okay=False), metavar="OUT", help="Draw figures: OUT.png or OUT.html.")
    @json_option
    @functools.wraps(command)
    def run(
        *arguments: Any, labels: str | None, keep: str | None, plot: str | None, as_json: bool, **others: Any
    ) -> Any:
        shared = {name: others.pop(name) for name in ("group_by", "workers", "resamples", "seed")}
        options = Options(
            labels=Path(labels) if labels else None,
            keep=Path(keep) if keep else None,
            plot=Path(plot) if plot else None,
            as_json=as_json,
            **shared,
        )
        if options.plot:
            from photocluster.evaluation import check_plot

            check_plot(options.plot)
        return command(*arguments, options=options, **others)

    return run


def clustering_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `photocluster cluster`; they arrive as `parameters`."""

    @click.option("--min-cluster-size", type=click.IntRange(2), help="As of: photocluster cluster.")
    @click.option("--min-samples", type=click.IntRange(1), help="As of: photocluster cluster.")
    @click.option("--max-distance", type=click.FloatRange(0, 2), help="As of: photocluster cluster.")
    @click.option("--plain", is_flag=True, help="HDBSCAN and nothing else.")
    @functools.wraps(command)
    def run(*arguments: Any, plain: bool, **others: Any) -> Any:
        from photocluster.pipeline.clusters import ClusterParameters

        given = {name: others.pop(name) for name in ("min_cluster_size", "min_samples", "max_distance")}
        return command(*arguments, parameters=ClusterParameters(**given, extras=not plain), **others)

    return run


@contextmanager
def material(options: Options) -> Iterator[Material]:
    """Read the labels, and show the progress of the scan."""
    from photocluster.pipeline.evaluating import Material, read_labels

    if options.group_by and not options.labels:
        raise UsageError(
            f"--group-by {options.group_by}: the column is one of a table of labels; give it with --labels"
        )
    labels = read_labels(options.labels, group_by=options.group_by) if options.labels else None
    with progress() as tell:
        yield Material(labels=labels, keep=options.keep, workers=options.workers, tell=tell)


def read(tree: Path, options: Options) -> KnownFaces:
    """Return the faces of a tree."""
    from photocluster.pipeline.evaluating import read_tree

    with material(options) as how:
        return read_tree(tree, how)


@contextmanager
def progress() -> Iterator[Callable[[float, str], None]]:
    """Show a bar on stderr where that is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = stderr()
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda fraction, stage: bar.update(task, completed=fraction, description=stage)


def show_measures(title: str, rows: Rows, intervals: Mapping[str, Interval]) -> None:
    """Print a title, and the measures with their intervals."""
    columns = [("measure", "left"), ("value", "right"), ("95 %", "left")]
    write_text(title)
    show_table(columns, [(name, cell(value), between(intervals.get(key))) for name, value, key in rows])


def show_groups(options: Options, headings: Sequence[str], rows: Mapping[Any, Sequence[object]]) -> None:
    """Print a row for each group; a key may be a pair, whose first is the group."""
    if not options.group_by:
        return
    columns = [(options.group_by, "left"), *((h, "left" if h == "way" else "right") for h in headings)]
    cells = [(key if isinstance(key, str) else key[0], *(cell(v) for v in row)) for key, row in rows.items()]
    show_table(columns, cells)


def cell(value: object) -> str:
    """Return a value as it stands in a table."""
    if isinstance(value, float):
        return f"{value:.4f}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def between(interval: Interval | None, *, digits: int = 4) -> str:
    """Return an interval as text."""
    return "" if interval is None else f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def some(names: Sequence[str]) -> str:
    """Return the first of many names as text."""
    listed = ", ".join(names[:MAX_LISTED])
    return listed + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")


def plot(options: Options, panels: Sequence[Panel], title: str) -> None:
    """Write the figures, if they were asked for."""
    from photocluster.evaluation import write_plot

    if options.plot:
        write_plot(options.plot, panels, title=title)
        note(f"figures: {options.plot}")


def note_census(census: Census) -> None:
    """Say what there was to measure on."""
    text = (
        f"{count(census.photos, 'photo')}, {census.named:,} of them of {count(census.people, 'person', 'people')}: "
        f"{count(census.labelled, 'face')} judged; {census.no_face:,} photos without a face, {census.no_subject:,} "
        f"without the person's; {count(census.faces - census.labelled, 'other face')}"
    )
    note(text)
    if census.contradictions:
        note(f"{count(census.contradictions, 'photo')} in folders of two people: not judged")


def end(problems: Sequence[tuple[Path, str]], *, skipped: bool = False) -> int:
    """Say what was skipped, and return the exit code."""
    for path, reason in problems[:MAX_LISTED]:
        note(f"skipped: {path}: {reason}")
    if len(problems) > MAX_LISTED:
        note(f"... and {len(problems) - MAX_LISTED} more; --json lists all")
    return EXIT_SKIPPED if problems or skipped else 0

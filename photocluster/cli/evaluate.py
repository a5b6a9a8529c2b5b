"""photocluster evaluate verify, cluster, identify, detect, clicks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from photocluster.cli.console import count, json_option, note, printable, show_table, stderr, write_json
from photocluster.errors import UsageError
from photocluster.identification import MARGIN, THRESHOLD

if TYPE_CHECKING:
    from photocluster.evaluation import Interval, Panel
    from photocluster.pipeline.clusters import ClusterParameters
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


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
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


def _clustering(command: Callable[..., Any]) -> Callable[..., Any]:
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


@click.group()
def evaluate() -> None:
    """Measure how good all this is on photos that you know.

    TREE is a folder with a folder for each person, or a folder of such folders: the folder that holds a photo names the
    person, and folders that begin with "_" are nobody's. Judged is one face of a photo: the largest that holds the
    frame's centre, or else the largest. A table of --labels may say otherwise.

    Nothing is written to your library. Intervals hold 95 % of what other people, drawn from the same lot, would give.

    \b
    Example: photocluster evaluate cluster people/
    """  # noqa: D301


@evaluate.command()
@click.argument("pairs", required=False, type=FILE)
@click.option("--root", type=TREE, metavar="TREE", help="The folder of the persons' folders that PAIRS names.")
@click.option("--all-pairs", type=TREE, metavar="TREE", help="Compare all faces of TREE with each other.")
@_shared
def verify(*, pairs: str | None, root: str | None, all_pairs: str | None, options: Options) -> int:
    """Tell pairs of one person from pairs of two.

    PAIRS is a file as LFW's pairs.txt: "name 1 4" is TREE/name/name_0001.jpg and name_0004.jpg, other endings may be.
    Each of its folds is judged at the distance that is best on the others. Pairs whose photos are not there are left
    out; pairs with a photo in which no face was found count as two people.

    \b
    Example: photocluster evaluate verify pairs.txt --root lfw/
             photocluster evaluate verify --all-pairs people/
    """  # noqa: D301
    if bool(pairs) == bool(all_pairs):
        raise UsageError("give either a file of PAIRS with --root, or --all-pairs TREE")
    if pairs:
        if not root:
            raise UsageError(f"{pairs}: give the folder that holds the persons' folders with --root TREE")
        return _verify_pairs(Path(pairs), Path(root), options)
    return _verify_all(Path(str(all_pairs)), options)


def _verify_pairs(pairs: Path, root: Path, options: Options) -> int:
    from photocluster.evaluation import distances_panel, roc_panel
    from photocluster.pipeline.evaluating import evaluate_pairs

    with _material(options) as material:
        found = evaluate_pairs(pairs, root, material, resamples=options.resamples, seed=options.seed)
    panels = [roc_panel({"pairs": found.curve}), distances_panel(found.distances, found.same)]
    _plot(options, panels, f"{pairs.name}: {found.measures.pairs:,} pairs")
    measured = found.measures
    if options.as_json:
        write_json(
            {
                **measured.as_dict(),
                "intervals": found.intervals,
                "groups": found.groups,
                "pairs_without_photo": found.pairs_without_photo,
                "photos_not_found": found.photos_not_found,
                "pairs_without_face": found.pairs_without_face,
                "photos_without_face": found.photos_without_face,
                "roc": found.curve.as_dict(),
                "skipped": found.skipped,
            }
        )
    else:
        spread = (
            "" if measured.accuracy_sd is None else f" sd {measured.accuracy_sd:.4f}, se {measured.accuracy_se:.4f}"
        )
        rows = [
            (f"accuracy ({measured.folds} folds{',' if spread else ''}{spread})", measured.accuracy, "accuracy"),
            *_rates(measured),
        ]
        title = f"{measured.same_pairs:,} pairs of one person, {measured.different_pairs:,} of two"
        _show(title, rows, found.intervals)
        _show_groups(
            options,
            ("pairs", "accuracy", "EER", "AUC"),
            {name: (m.pairs, m.accuracy, m.eer, m.auc) for name, m in found.groups.items()},
        )
        if found.pairs_without_face:
            note(
                f"{count(found.pairs_without_face, 'pair')} counted as two people, since no face was found in: "
                + _some(found.photos_without_face)
            )
    if found.pairs_without_photo:
        missing = _some(found.photos_not_found)
        note(f"{count(found.pairs_without_photo, 'pair')} left out, since a photo is not there: {missing}")
    return _end(found.skipped, skipped=bool(found.pairs_without_photo))


def _verify_all(tree: Path, options: Options) -> int:
    from photocluster.evaluation import histogram_panel, roc_panel
    from photocluster.pipeline.evaluating import evaluate_all_pairs

    known = _read(tree, options)
    found = evaluate_all_pairs(known, resamples=options.resamples, seed=options.seed)
    measured, curve = found.measures, found.pairs.roc()
    panels = [roc_panel({"all pairs": curve}), histogram_panel(found.pairs)]
    _plot(options, panels, f"{tree.name}: all pairs of {measured.faces:,} faces")
    if options.as_json:
        write_json(
            {
                **measured.as_dict(),
                "intervals": found.intervals,
                "groups": found.groups,
                "roc": curve.as_dict(),
                "photos": known.census,
                "skipped": known.skipped,
            }
        )
    else:
        title = f"{measured.same_pairs:,} pairs of one person, {measured.different_pairs:,} of two"
        _show(title, _rates(measured), found.intervals)
        keys = [key for key, distance in measured.distance_at_far.items() if distance is not None]
        _show_groups(
            options,
            ("faces", "people", "EER", *(f"{rate} at {key}" for key in keys for rate in ("FAR", "TAR"))),
            {
                name: (
                    *(rates.own.faces, rates.own.people, rates.own.eer),
                    *(
                        f"{rates.at_common_distance[key][rate]:.2e}"
                        if rate == "far"
                        else rates.at_common_distance[key][rate]
                        for key in keys
                        for rate in ("far", "tar")
                    ),
                )
                for name, rates in found.groups.items()
            },
        )
        _note_census(known.census)
    return _end(known.skipped)


@evaluate.command()
@click.argument("tree", type=TREE)
@_clustering
@click.option(
    "--churn",
    "churn_photos",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="See what adding one photo changes: cluster again without it, for N photos.",
)
@_shared
def cluster(tree: str, *, parameters: ClusterParameters, churn_photos: int, options: Options) -> int:
    """Cluster the faces of TREE, and compare the clusters with the people.

    The clustering is that of `photocluster cluster` with the same options. Faces without identity take part in it, and
    are not judged. A face in no cluster is a cluster of its own.

    \b
    Example: photocluster evaluate cluster people/ --churn 20
    """  # noqa: D301
    from photocluster.pipeline.evaluating import evaluate_clusters

    known = _read(Path(tree), options)
    with _progress() as tell:
        found = evaluate_clusters(
            known,
            parameters,
            churn_photos=churn_photos,
            resamples=options.resamples,
            seed=options.seed,
            tell=tell,
        )
    measured = found.measures
    noise = int((found.clusters == -1).sum())
    if options.plot:
        _plot(options, _cluster_panels(known), f"{Path(tree).name}: pairwise F {measured.pairwise.f:.4f}")
    if options.as_json:
        write_json(
            {
                **measured.as_dict(),
                "noise": noise,
                "churn": found.churn,
                "intervals": found.intervals,
                "groups": {name: group.as_dict() for name, group in found.groups.items()},
                "photos": known.census,
                "seconds": found.seconds,
                "skipped": known.skipped,
            }
        )
        return _end(known.skipped)
    _show(
        f"{count(measured.clusters, 'cluster')} of {measured.faces:,} faces, {noise:,} in none; "
        f"{found.seconds:.1f} s to cluster",
        [
            *((f"pairwise {name}", getattr(measured.pairwise, name), f"pairwise.{name}") for name in _PRF),
            *((f"BCubed {name}", getattr(measured.bcubed, name), f"bcubed.{name}") for name in _PRF),
            ("NMI", measured.nmi, "nmi"),
            ("ARI", measured.ari, "ari"),
            ("people", measured.people, ""),
            ("clusters with two faces of one photo", measured.same_photo_violations, ""),
            ("largest cluster, share of faces", measured.largest_cluster_share, ""),
            *(
                [
                    (f"churn by one photo more, mean of {found.churn.photos}", found.churn.mean, ""),
                    ("churn by one photo more, largest", found.churn.largest, ""),
                ]
                if found.churn
                else []
            ),
        ],
        found.intervals,
    )
    _show_groups(
        options,
        ("judged", "people", "pairwise P", "pairwise R", "pairwise F", "BCubed F", "noise"),
        {
            name: (m.labelled, m.people, *(getattr(m.pairwise, key) for key in _PRF), m.bcubed.f, m.noise_share)
            for name, m in found.groups.items()
        },
    )
    _note_census(known.census)
    return _end(known.skipped)


_PRF = ("precision", "recall", "f")


def _cluster_panels(known: KnownFaces) -> list[Panel]:
    from photocluster.evaluation import (
        all_pairs,
        component_clusterings,
        histogram_panel,
        threshold_curve,
        threshold_panel,
    )

    points = threshold_curve(known.identities, component_clusterings(known.embeddings))
    title = "Yardstick: all faces linked within a distance"
    return [threshold_panel(points, title=title), histogram_panel(all_pairs(known.embeddings, known.identities))]


@evaluate.command()
@click.argument("tree", type=TREE)
@click.option(
    "--strangers", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of people unknown."
)
@click.option(
    "--threshold", type=click.FloatRange(0, 2), default=THRESHOLD, show_default=True, help="Greatest distance."
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 2),
    default=MARGIN,
    show_default=True,
    help="How much farther the second person must be.",
)
@_shared
def identify(tree: str, *, strangers: float, threshold: float, margin: float, options: Options) -> int:
    """Name faces after known ones, where some of the people are strangers.

    A share of the people is held back. Half of the faces of each other person are known; the other half, and all faces
    of the strangers, are to be named as `photocluster propagate` does it.

    \b
    Example: photocluster evaluate identify people/ --strangers 0.2
    """  # noqa: D301
    from photocluster.evaluation import roc_panel
    from photocluster.pipeline.evaluating import evaluate_identification

    known = _read(Path(tree), options)
    found = evaluate_identification(
        known,
        strangers=strangers,
        threshold=threshold,
        margin=margin,
        resamples=options.resamples,
        seed=options.seed,
    )
    if options.plot:
        if found.curve is None:
            raise UsageError(f"{tree}: a curve needs faces of known people and of strangers to name; leave out --plot")
        _plot(options, [roc_panel({"open set": found.curve.curve}, title="DIR over FAR")], Path(tree).name)
    measured = found.measures
    if options.as_json:
        write_json(
            {
                **measured.as_dict(),
                "gallery": found.gallery,
                "gallery_people": found.gallery_people,
                "stranger_people": found.stranger_people,
                "curve": found.curve.as_dict() if found.curve else None,
                "intervals": found.intervals,
                "groups": found.groups,
                "photos": known.census,
                "skipped": known.skipped,
            }
        )
        return _end(known.skipped)
    _show(
        f"{count(found.gallery, 'face')} of {found.gallery_people:,} people known; to be named: {measured.known:,} of "
        f"theirs, {measured.strangers:,} of {count(found.stranger_people, 'stranger')}",
        [
            ("known people: right", measured.known_right, "known_right"),
            ("known people: wrong", measured.known_wrong, "known_wrong"),
            ("known people: unknown", measured.known_unknown, "known_unknown"),
            ("strangers: wrongly named", measured.strangers_named, "strangers_named"),
            (f"wrong among the {measured.names_given:,} names", measured.names_wrong, "names_wrong"),
            *([("nearest person right, at any distance", found.curve.rank1, "")] if found.curve else []),
            *((f"DIR at FAR {far}", dir_, "") for far, dir_ in (found.curve.dir_at_far.items() if found.curve else ())),
        ],
        found.intervals,
    )
    _show_groups(
        options,
        ("known", "right", "wrong", "unknown", "strangers", "named"),
        {
            name: (m.known, m.known_right, m.known_wrong, m.known_unknown, m.strangers, m.strangers_named)
            for name, m in found.groups.items()
        },
    )
    _note_census(known.census)
    return _end(known.skipped)


@evaluate.command()
@click.argument("boxes", type=FILE)
@click.option("--root", type=TREE, metavar="DIR", help="Where the images' paths start (default: the folder of BOXES).")
@click.option("--min-iou", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Overlap of a box found.")
@_shared
def detect(boxes: str, *, root: str | None, min_iou: float, options: Options) -> int:
    """Count the faces that the detector finds, and what it finds that is none, by size.

    BOXES is tab-separated with the columns image, kind (box, nose_point or none), x, y, w, h and perhaps ignore (1:
    does not count). Every face of an image must be there. Intervals are over images.

    \b
    Example: photocluster evaluate detect faces.tsv --root photos/
    """  # noqa: D301
    from photocluster.evaluation import recall_panel
    from photocluster.pipeline.evaluating import evaluate_detection

    with _material(options) as material:
        found = evaluate_detection(
            Path(boxes),
            Path(root) if root else Path(boxes).parent,
            material,
            min_iou=min_iou,
            resamples=options.resamples,
            seed=options.seed,
        )
    _plot(options, [recall_panel(found.measures)], Path(boxes).name)
    measured = found.measures
    if options.as_json:
        write_json(
            {
                **measured.as_dict(),
                "misses": found.misses,
                "false_positives_by_image": dict(found.false_positives),
                "intervals": found.intervals,
                "groups": {name: group.as_dict() for name, group in found.groups.items()},
                "skipped": found.skipped,
            }
        )
        return _end(found.skipped)
    per_photo = measured.total.false_positives / measured.photos
    _show(
        f"{measured.total.found:,} of {measured.total.faces:,} faces in {count(measured.photos, 'image')}",
        [
            ("recall", measured.total.recall, "recall"),
            ("precision", measured.total.precision, "precision"),
            ("false positives a photo", per_photo, "false_positives_per_photo"),
        ],
        found.intervals,
    )
    columns = [("size in pixels", "left"), ("faces", "right"), ("found", "right"), ("recall", "right")]
    bins = [
        (name, counts.faces, counts.found, _cell(counts.recall), counts.false_positives)
        for name, counts in measured.by_size.items()
    ]
    show_table([*columns, ("false positives", "right")], bins)
    _show_groups(
        options,
        ("images", "faces", "recall", "false positives"),
        {name: (m.photos, m.total.faces, m.total.recall, m.total.false_positives) for name, m in found.groups.items()},
    )
    for miss in found.misses[:MAX_LISTED]:
        place = miss.box or miss.nose or ()
        note(f"missed: {printable(miss.image)} at {' '.join(f'{v:g}' for v in place)}")
    if len(found.misses) > MAX_LISTED:
        note(f"... and {len(found.misses) - MAX_LISTED} more; --json lists all")
    return _end(found.skipped)


@evaluate.command()
@click.argument("tree", type=TREE)
@_clustering
@_shared
def clicks(tree: str, *, parameters: ClusterParameters, options: Options) -> int:
    """Count the decisions until 80 % and 95 % of the faces carry the right names.

    Counted are the faces of people with three or more photos. A decision names a cluster, passes over one of nobody
    known, or puts one wrong face right; clusters come by falling size, the faces in none after them one by one.

    \b
    Example: photocluster evaluate clicks people/
    """  # noqa: D301
    from photocluster.evaluation import clicks_panel
    from photocluster.pipeline.evaluating import evaluate_clicks

    known = _read(Path(tree), options)
    with _progress() as tell:
        found = evaluate_clicks(known, parameters, resamples=options.resamples, seed=options.seed, tell=tell)
    _plot(options, [clicks_panel(found.ways)], Path(tree).name)
    if options.as_json:
        write_json(
            {
                "ways": {
                    name: {**way.as_dict(), "intervals": found.intervals[name]} for name, way in found.ways.items()
                },
                "groups": {
                    group: {name: way.as_dict() for name, way in ways.items()} for group, ways in found.groups.items()
                },
                "photos": known.census,
                "seconds": found.seconds,
                "skipped": known.skipped,
            }
        )
        return _end(known.skipped)
    first = next(iter(found.ways.values()))
    columns = [("way", "left"), ("right", "right"), ("decisions", "right"), ("95 %", "left"), ("wrong then", "right")]
    rows = [
        (
            name,
            f"{goal.share:.0%}",
            "not reached" if goal.decisions is None else goal.decisions,
            _between(found.intervals[name].get(f"decisions.{goal.share:g}"), digits=0),
            goal.wrong,
        )
        for name, way in found.ways.items()
        for goal in way.goals
    ]
    click.echo(f"naming {count(first.faces, 'face')} of {first.people:,} people")
    show_table(columns, rows)
    _show_groups(
        options,
        ("way", "faces", *(f"until {goal.share:.0%}" for goal in first.goals)),
        {
            (group, name): (name, way.faces, *(goal.decisions for goal in way.goals))
            for group, ways in found.groups.items()
            for name, way in ways.items()
            if way.faces
        },
    )
    _note_census(known.census)
    return _end(known.skipped)


@contextmanager
def _material(options: Options) -> Iterator[Material]:
    from photocluster.pipeline.evaluating import Material, read_labels

    if options.group_by and not options.labels:
        raise UsageError(
            f"--group-by {options.group_by}: the column is one of a table of labels; give it with --labels"
        )
    labels = read_labels(options.labels, group_by=options.group_by) if options.labels else None
    with _progress() as tell:
        yield Material(labels=labels, keep=options.keep, workers=options.workers, tell=tell)


def _read(tree: Path, options: Options) -> KnownFaces:
    from photocluster.pipeline.evaluating import read_tree

    with _material(options) as material:
        return read_tree(tree, material)


@contextmanager
def _progress() -> Iterator[Callable[[float, str], None]]:
    """Show a bar on stderr where that is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = stderr()
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda fraction, stage: bar.update(task, completed=fraction, description=stage)


def _rates(measured: Any) -> list[tuple[str, object, str]]:
    """Return the rows that both kinds of verification share."""
    tars = [
        (
            f"TAR at FAR {far}" + (f" (distance {distance:.3f})" if distance is not None else ""),
            tar,
            f"tar_at_far.{far}",
        )
        for (far, tar), distance in zip(measured.tar_at_far.items(), measured.distance_at_far.values(), strict=True)
    ]
    return [("EER", measured.eer, "eer"), ("AUC", measured.auc, ""), *tars]


def _show(title: str, rows: Rows, intervals: Mapping[str, Interval]) -> None:
    columns = [("measure", "left"), ("value", "right"), ("95 %", "left")]
    click.echo(title)
    show_table(columns, [(name, _cell(value), _between(intervals.get(key))) for name, value, key in rows])


def _show_groups(options: Options, headings: Sequence[str], rows: Mapping[Any, Sequence[object]]) -> None:
    """Print a row for each group; a key may be a pair, whose first is the group."""
    if not options.group_by:
        return
    columns = [(options.group_by, "left"), *((h, "left" if h == "way" else "right") for h in headings)]
    cells = [(key if isinstance(key, str) else key[0], *(_cell(v) for v in row)) for key, row in rows.items()]
    show_table(columns, cells)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _between(interval: Interval | None, *, digits: int = 4) -> str:
    return "" if interval is None else f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(printable(name) for name in names[:MAX_LISTED])
    return listed + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")


def _plot(options: Options, panels: Sequence[Panel], title: str) -> None:
    from photocluster.evaluation import write_plot

    if options.plot:
        write_plot(options.plot, panels, title=title)
        note(f"figures: {printable(options.plot)}")


def _note_census(census: Census) -> None:
    text = (
        f"{count(census.photos, 'photo')}, {census.named:,} of them of {count(census.people, 'person', 'people')}: "
        f"{count(census.labelled, 'face')} judged; {census.no_face:,} photos without a face, {census.no_subject:,} "
        f"without the person's; {count(census.faces - census.labelled, 'other face')}"
    )
    note(text)
    if census.contradictions:
        note(f"{count(census.contradictions, 'photo')} in folders of two people: not judged")


def _end(problems: Sequence[tuple[Path, str]], *, skipped: bool = False) -> int:
    """Say what was skipped, and return the exit code."""
    for path, reason in problems[:MAX_LISTED]:
        note(f"skipped: {printable(path)}: {reason}")
    if len(problems) > MAX_LISTED:
        note(f"... and {len(problems) - MAX_LISTED} more; --json lists all")
    return EXIT_SKIPPED if problems or skipped else 0

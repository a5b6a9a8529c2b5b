"""photocluster evaluate verify, cluster, identify, detect, clicks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import count, note, show_table, write_json, write_text
from photocluster.cli.measuring import (
    FILE,
    MAX_LISTED,
    TREE,
    Options,
    between,
    cell,
    clustering_options,
    end,
    material,
    note_census,
    plot,
    progress,
    read,
    shared_options,
    show_groups,
    show_measures,
)
from photocluster.cli.verifying import verify
from photocluster.errors import UsageError
from photocluster.identification import Method

if TYPE_CHECKING:
    from photocluster.evaluation import Panel
    from photocluster.pipeline.clusters import ClusterParameters
    from photocluster.pipeline.evaluating import KnownFaces


@click.group()
def evaluate() -> None:
    """Measure how good all this is on photos that you know.

    TREE is a folder with a folder for each person, or a folder of such folders: the folder that holds a photo names the
    person, and folders that begin with "_" are nobody's. Judged is one face of a photo: the largest that holds the
    frame's centre, or else the largest. A table of --labels may say otherwise.

    Nothing is written to your library. Intervals are of 95 %, by bootstrap over people.

    \b
    Example: photocluster evaluate cluster people/
    """  # noqa: D301


evaluate.add_command(verify)


@evaluate.command()
@click.argument("tree", type=TREE)
@clustering_options
@click.option(
    "--churn",
    "churn_photos",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="See what adding one photo changes: cluster again without it, for N photos.",
)
@shared_options
def cluster(tree: str, *, parameters: ClusterParameters, churn_photos: int, options: Options) -> int:
    """Compare the clusters of TREE's faces with the people.

    The clustering is that of `photocluster cluster` with the same options. Faces without identity take part in it, and
    are not judged. A face in no cluster is a cluster of its own.

    \b
    Example: photocluster evaluate cluster people/ --churn 20
    """  # noqa: D301
    from photocluster.pipeline.evaluating import evaluate_clusters

    known = read(Path(tree), options)
    with progress() as tell:
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
        plot(options, _cluster_panels(known), f"{Path(tree).name}: pairwise F {measured.pairwise.f:.4f}")
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
        return end(known.skipped)
    show_measures(
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
    show_groups(
        options,
        ("judged", "people", "pairwise P", "pairwise R", "pairwise F", "BCubed F", "noise"),
        {
            name: (m.labelled, m.people, *(getattr(m.pairwise, key) for key in _PRF), m.bcubed.f, m.noise_share)
            for name, m in found.groups.items()
        },
    )
    note_census(known.census)
    return end(known.skipped)


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
@click.option("--threshold", type=click.FloatRange(0, 2), help="As of: photocluster propagate.")
@click.option("--margin", type=click.FloatRange(0, 2), help="As of: photocluster propagate.")
@click.option(
    "--method",
    type=click.Choice([method.value for method in Method]),
    default=Method.CENTROID.value,
    show_default=True,
    help="As of: photocluster propagate.",
)
@shared_options
def identify(
    tree: str, *, strangers: float, threshold: float | None, margin: float | None, method: str, options: Options
) -> int:
    """Name faces after known ones, with strangers about.

    A share of the people is held back. Half of the faces of each other person are known; the other half, and all faces
    of the strangers, are to be named as `photocluster propagate` does it.

    \b
    Example: photocluster evaluate identify people/ --strangers 0.2
    """  # noqa: D301
    from photocluster.evaluation import roc_panel
    from photocluster.pipeline.evaluating import evaluate_identification

    known = read(Path(tree), options)
    found = evaluate_identification(
        known,
        strangers=strangers,
        threshold=threshold,
        margin=margin,
        method=Method(method),
        resamples=options.resamples,
        seed=options.seed,
    )
    if options.plot:
        if found.curve is None:
            raise UsageError(f"{tree}: a curve needs faces of known people and of strangers to name; leave out --plot")
        plot(options, [roc_panel({"open set": found.curve.curve}, title="DIR over FAR")], Path(tree).name)
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
        return end(known.skipped)
    show_measures(
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
    show_groups(
        options,
        ("known", "right", "wrong", "unknown", "strangers", "named"),
        {
            name: (m.known, m.known_right, m.known_wrong, m.known_unknown, m.strangers, m.strangers_named)
            for name, m in found.groups.items()
        },
    )
    note_census(known.census)
    return end(known.skipped)


@evaluate.command()
@click.argument("boxes", type=FILE)
@click.option("--root", type=TREE, metavar="DIR", help="Where the images' paths start (default: the folder of BOXES).")
@click.option("--min-iou", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Overlap of a box found.")
@shared_options
def detect(boxes: str, *, root: str | None, min_iou: float, options: Options) -> int:
    """Count the faces found, missed and invented, by size.

    BOXES is tab-separated with the columns image, kind (box, nose_point or none), x, y, w, h and perhaps ignore (1:
    does not count). Every face of an image must be there. Intervals are over images.

    \b
    Example: photocluster evaluate detect faces.tsv --root photos/
    """  # noqa: D301
    from photocluster.evaluation import recall_panel
    from photocluster.pipeline.evaluating import evaluate_detection

    with material(options) as how:
        found = evaluate_detection(
            Path(boxes),
            Path(root) if root else Path(boxes).parent,
            how,
            min_iou=min_iou,
            resamples=options.resamples,
            seed=options.seed,
        )
    plot(options, [recall_panel(found.measures)], Path(boxes).name)
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
        return end(found.skipped)
    per_photo = measured.total.false_positives / measured.photos
    show_measures(
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
        (name, counts.faces, counts.found, cell(counts.recall), counts.false_positives)
        for name, counts in measured.by_size.items()
    ]
    show_table([*columns, ("false positives", "right")], bins)
    show_groups(
        options,
        ("images", "faces", "recall", "false positives"),
        {name: (m.photos, m.total.faces, m.total.recall, m.total.false_positives) for name, m in found.groups.items()},
    )
    for miss in found.misses[:MAX_LISTED]:
        place = miss.box or miss.nose or ()
        note(f"missed: {miss.image} at {' '.join(f'{v:g}' for v in place)}")
    if len(found.misses) > MAX_LISTED:
        note(f"... and {len(found.misses) - MAX_LISTED} more; --json lists all")
    return end(found.skipped)


@evaluate.command()
@click.argument("tree", type=TREE)
@clustering_options
@shared_options
def clicks(tree: str, *, parameters: ClusterParameters, options: Options) -> int:
    """Count the decisions until the names are right.

    Given are those until 80 % and until 95 % of the faces carry the right name, of people with three or more photos.
    A decision names a cluster, passes over one of nobody known, or puts one wrong face right; clusters come by falling
    size, the faces in none after them one by one.

    \b
    Example: photocluster evaluate clicks people/
    """  # noqa: D301
    from photocluster.evaluation import clicks_panel
    from photocluster.pipeline.evaluating import evaluate_clicks

    known = read(Path(tree), options)
    with progress() as tell:
        found = evaluate_clicks(known, parameters, resamples=options.resamples, seed=options.seed, tell=tell)
    plot(options, [clicks_panel(found.ways)], Path(tree).name)
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
        return end(known.skipped)
    first = next(iter(found.ways.values()))
    columns = [("way", "left"), ("right", "right"), ("decisions", "right"), ("95 %", "left"), ("wrong then", "right")]
    rows = [
        (
            name,
            f"{goal.share:.0%}",
            "not reached" if goal.decisions is None else goal.decisions,
            between(found.intervals[name].get(f"decisions.{goal.share:g}"), digits=0),
            goal.wrong,
        )
        for name, way in found.ways.items()
        for goal in way.goals
    ]
    write_text(f"naming {count(first.faces, 'face')} of {first.people:,} people")
    show_table(columns, rows)
    show_groups(
        options,
        ("way", "faces", *(f"until {goal.share:.0%}" for goal in first.goals)),
        {
            (group, name): (name, way.faces, *(goal.decisions for goal in way.goals))
            for group, ways in found.groups.items()
            for name, way in ways.items()
            if way.faces
        },
    )
    note_census(known.census)
    return end(known.skipped)

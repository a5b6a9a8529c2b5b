"""photocluster evaluate verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from photocluster.cli.console import count, note, write_json
from photocluster.cli.measuring import (
    FILE,
    TREE,
    Options,
    end,
    material,
    note_census,
    plot,
    read,
    shared_options,
    show_groups,
    show_measures,
    some,
)
from photocluster.errors import UsageError

SHOWN_FARS = ("1e-3", "1e-4")
"""Thresholds of the whole at which the table compares the groups; --json has all."""


@click.command()
@click.argument("pairs", required=False, type=FILE)
@click.option("--root", type=TREE, metavar="TREE", help="The folder of the persons' folders that PAIRS names.")
@click.option("--all-pairs", type=TREE, metavar="TREE", help="Compare all faces of TREE with each other.")
@shared_options
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

    with material(options) as how:
        found = evaluate_pairs(pairs, root, how, resamples=options.resamples, seed=options.seed)
    panels = [roc_panel({"pairs": found.curve}), distances_panel(found.distances, found.same)]
    plot(options, panels, f"{pairs.name}: {found.measures.pairs:,} pairs")
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
        show_measures(title, rows, found.intervals)
        show_groups(
            options,
            ("pairs", "accuracy", "EER", "AUC"),
            {name: (m.pairs, m.accuracy, m.eer, m.auc) for name, m in found.groups.items()},
        )
        if found.pairs_without_face:
            note(
                f"{count(found.pairs_without_face, 'pair')} counted as two people, since no face was found in: "
                + some(found.photos_without_face)
            )
    if found.pairs_without_photo:
        missing = some(found.photos_not_found)
        note(f"{count(found.pairs_without_photo, 'pair')} left out, since a photo is not there: {missing}")
    return end(found.skipped, skipped=bool(found.pairs_without_photo))


def _verify_all(tree: Path, options: Options) -> int:
    from photocluster.evaluation import histogram_panel, roc_panel
    from photocluster.pipeline.evaluating import evaluate_all_pairs

    known = read(tree, options)
    found = evaluate_all_pairs(known, resamples=options.resamples, seed=options.seed)
    measured, curve = found.measures, found.pairs.roc()
    panels = [roc_panel({"all pairs": curve}), histogram_panel(found.pairs)]
    plot(options, panels, f"{tree.name}: all pairs of {measured.faces:,} faces")
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
        show_measures(title, _rates(measured), found.intervals)
        keys = [key for key in SHOWN_FARS if measured.distance_at_far[key] is not None]
        show_groups(
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
        note_census(known.census)
    return end(known.skipped)


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

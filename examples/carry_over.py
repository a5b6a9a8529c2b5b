"""How well names are carried over to new photos, on a folder-per-person tree.

    python examples/carry_over.py TREE... [--people 5] [--held-back 0.1] [--seed 0]

Scans nine tenths of the photos into a scratch library, clusters them, names the largest cluster of each of the five
people with the most photos as a user would (``photocluster label NUMBER NAME``), then scans the held-back tenth and
counts: of the held-back photos of these people, how many faces got the right name, a wrong one, none; and how many
faces of other people got a name. The subject of a photo is the largest face that holds its centre, as in ``photocluster
evaluate``.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from pathlib import Path

from photocluster.pipeline.clusters import cluster
from photocluster.pipeline.naming import label
from photocluster.pipeline.scanning import ScanOptions, scan
from photocluster.records import FaceRow
from photocluster.store import Library


def subjects(rows: list[FaceRow]) -> dict[str, FaceRow]:
    """Return path -> the face that the photo is of."""
    best: dict[str, FaceRow] = {}
    for row in rows:
        box = row.detection.box
        if not box.contains(row.facts.width / 2, row.facts.height / 2):
            continue
        other = best.get(row.path)
        if other is None or box.width * box.height > other.detection.box.width * other.detection.box.height:
            best[row.path] = row
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", type=Path)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--held-back", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = (path.absolute() for tree in arguments.trees for path in tree.glob("*/*"))
    photos = sorted(path for path in found if not path.parent.name.startswith("_"))
    random.Random(arguments.seed).shuffle(photos)  # noqa: S311  a split, not a secret
    later, first = part(photos, arguments.held_back)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "library"
        report = scan(folder, first)
        print(f"{report.photos} photos, {report.faces} faces; {len(later)} photos held back")
        chosen = [name for name, _ in Counter(p.parent.name for p in first).most_common(arguments.people)]
        with Library(folder) as library:
            cluster(library)
            clusters = Counter(
                (Path(path).parent.name, row.cluster)
                for path, row in subjects(library.faces.rows()).items()
                if row.cluster is not None
            )
            for name in chosen:
                own = Counter({number: count for (who, number), count in clusters.items() if who == name})
                if own:
                    ((number, count),) = own.most_common(1)
                    named = label(library, [str(number)], name)
                    print(f"label {number} {name!r}: {len(named.named)} faces, {count} of them of that folder")
        before = Library(folder).rows
        scan(folder, [*first, *later], ScanOptions())
        with Library(folder) as library:
            count_names([row for row in library.faces.rows() if row.face >= before], set(chosen))


def part(photos: list[Path], share: float) -> tuple[list[Path], list[Path]]:
    """Return the first share of the photos, and the rest."""
    end = round(len(photos) * share)
    return photos[:end], photos[end:]


def count_names(rows: list[FaceRow], chosen: set[str]) -> None:
    """Print what became of the held-back faces."""
    known: Counter[str] = Counter()
    strangers: Counter[str] = Counter()
    main_faces = {row.face for row in subjects(rows).values()}
    for row in rows:
        folder = Path(row.path).parent.name
        if row.face in main_faces and folder in chosen:
            known["none" if row.person is None else "right" if row.person == folder else "wrong"] += 1
        else:
            strangers["none" if row.person is None else "wrong"] += 1
    print(f"held-back faces of the named people: {known['right']} right, {known['wrong']} wrong, {known['none']} none")
    print(f"other held-back faces: {strangers['none']} without a name, {strangers['wrong']} with one")


if __name__ == "__main__":
    main()

"""From a folder of people to faces with identities.

The folder that holds a photo names the person, by its path relative to the tree: TREE/Ann/1.jpg is "Ann", and
TREE/school/Ann/1.jpg is "school/Ann". Photos directly in TREE, and those below a folder whose name begins with "_" or
".", are of nobody. A table of labels may say otherwise, see `labels`; only so can two folders be of one person.

One face of a photo is the person, the *subject*: the largest of those whose box holds the frame's centre (the rule of
LFW), or where none does, the largest of all. The other faces are there, in the clustering too, but have no identity
and are not judged. A photo whose subject is not found is counted in the `Census`, and takes no part in the measures.

Photos are analysed by a scan into a library: one in `keep`, where a later run finds them again, or one that is removed
at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photocluster.errors import UsageError
from photocluster.evaluation import UNLABELLED, identity_numbers
from photocluster.pipeline.evaluating.labels import Label, Labels
from photocluster.pipeline.scanning import Progress, ScanOptions, scan
from photocluster.records import Face, FaceRow, FloatArray, IntArray, Recipe
from photocluster.store import FileState, Library, ScannedFile

Tell = Callable[[float, str], None]
"""Called with a share done (0..1) and what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """How photos become faces: the labels, the folder of the kept library, workers of the scan, and who is told."""

    labels: Labels | None = None
    keep: Path | None = None
    workers: int | None = None
    tell: Tell | None = None


@dataclass(frozen=True, slots=True)
class Census:
    """What there was to measure on.

    Attributes
    ----------
    photos
        Different photos that could be read.
    named
        Photos that are said to show a person.
    no_face, no_subject
        Of `named`: those in which no face was found; those with faces of which none is the person.
    contradictions
        Photos of which two copies are said to show two people; they count as unlabelled.
    faces, labelled, people
        All faces found; those that are a person; how many people those are.
    """

    photos: int
    named: int
    no_face: int
    no_subject: int
    contradictions: int
    faces: int
    labelled: int
    people: int


@dataclass(frozen=True, slots=True, eq=False)
class KnownFaces:
    """The faces of some photos, ordered by the photo's path, and who they are.

    Attributes
    ----------
    rows
        Of n faces: where they are, their quality. `rows[i].face` is the row in the library that was scanned into.
    embeddings
        float32 (n, 128), unit norm.
    identities
        int64 (n,): the person's number in `people`, -1 for a face without identity.
    photos
        int64 (n,): the number of the photo that the face is in.
    groups
        (n,) the group of the photo, "" for none.
    people
        Names by number.
    faces_of
        File, absolute path -> its faces; a photo that could not be read is absent.
    skipped
        (path, reason) of what could not be read.
    """

    rows: tuple[FaceRow, ...]
    embeddings: FloatArray
    identities: IntArray
    photos: IntArray
    groups: tuple[str, ...]
    people: tuple[str, ...]
    faces_of: Mapping[Path, tuple[int, ...]]
    recipe: Recipe
    census: Census
    skipped: tuple[tuple[Path, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Photo:
    """A photo, who it shows ("" for nobody) and which of its faces, by index, that is."""

    rows: tuple[FaceRow, ...]
    identity: str
    group: str
    subject: int | None
    contradiction: bool


def read_tree(tree: Path, material: Material) -> KnownFaces:
    """Scan a tree of people and return its faces.

    Raises
    ------
    UsageError
        There are no photos in the tree, no person folders, no labels that fit, or no face that is a person.
    """
    tree = Path(os.path.abspath(tree))  # noqa: PTH100  resolve() would follow links
    known = _read([tree], tree, material)
    census = known.census
    if not census.photos:
        raise UsageError(f"{tree}: no photos in this folder; give one that holds a folder for each person")
    if not census.named:
        raise UsageError(
            f"{tree}: no photo is in a folder of a person; put each person's photos into a folder of their own "
            "(TREE/Ann/1.jpg), or give --labels"
        )
    if not census.labelled:
        raise UsageError(f"{tree}: {census.named} photos of people, and no face was found that could be one of them")
    return known


def read_files(files: Sequence[Path], root: Path, material: Material) -> KnownFaces:
    """Scan single files below `root` and return their faces; the person is told as in a tree at `root`."""
    root = Path(os.path.abspath(root))  # noqa: PTH100
    return _read([Path(os.path.abspath(file)) for file in files], root, material)  # noqa: PTH100


def _read(roots: Sequence[Path], tree: Path, material: Material) -> KnownFaces:
    def told(progress: Progress) -> None:
        if material.tell:
            material.tell(progress.done / max(progress.found, 1), f"{progress.photos:,} new photos")

    folder = nullcontext(str(material.keep)) if material.keep else tempfile.TemporaryDirectory(prefix="photocluster-")
    with folder as name:
        options = ScanOptions(workers=material.workers, propagate=False)
        report = scan(Path(name), roots, options, progress=told)
        with Library(Path(name)) as library:
            files = sorted({path for root in roots for _, path in library.photos.below(root)}, key=os.fsencode)
            hashes = {path: digest for path in files if (digest := library.photos.hash_of(path)) is not None}
            recipe = library.recipe
            rows: dict[str, list[FaceRow]] = {digest: [] for digest in hashes.values()}
            for row in library.faces.rows():
                if row.photo in rows:
                    rows[row.photo].append(row)
            wanted = [row.face for faces in rows.values() for row in faces]
            embeddings = np.array(library.embeddings()[wanted], dtype=np.float32).reshape(-1, 128)
    photos = _photos(hashes, rows, tree, material.labels)
    skipped = (*report.problems, *report.failed)
    return _known(photos, hashes, embeddings, recipe, skipped)


def _photos(
    hashes: Mapping[Path, str], rows: Mapping[str, Sequence[FaceRow]], tree: Path, labels: Labels | None
) -> dict[str, _Photo]:
    """Return the photos by content hash, in the order of their first paths."""
    labelled: dict[str, list[Label]] = {}
    told = 0
    for path, digest in hashes.items():
        label = labels.of(path, tree) if labels else None
        told += label is not None
        folder = _person_folder(path, tree)
        if label is None:
            label = Label(folder, "", "")
        elif label.identity is None:
            label = Label(folder, label.scope, label.group)
        labelled.setdefault(digest, []).append(label)
    if labels and hashes and not told:
        example = os.path.relpath(next(iter(hashes)), tree)
        raise UsageError(
            f'{labels.path}: no row is about a photo below {tree}; the column "rel" must hold paths relative to the '
            f"folder of the labels, or to that tree, like {example}"
        )
    photos = {}
    for digest, found in labelled.items():
        people = sorted({label.identity or "" for label in found} - {""})
        faces = tuple(rows[digest])
        clear = len(people) == 1
        scope = next((label.scope for label in found if label.identity), "")
        photos[digest] = _Photo(
            rows=faces,
            identity=people[0] if clear else "",
            group=found[0].group,
            subject=subject_of(faces, scope) if clear else None,
            contradiction=len(people) > 1,
        )
    return photos


def _person_folder(path: Path, tree: Path) -> str:
    """Return the folder of a photo relative to the tree, "" where it is no person's."""
    parts = Path(os.path.relpath(path, tree)).parts[:-1]
    return "" if any(part.startswith(("_", ".")) for part in parts) else "/".join(parts)


def subject_of(rows: Sequence[FaceRow], scope: str = "") -> int | None:
    """Return which of a photo's faces is the one that it is said to show; `scope` is one of `labels.SCOPES`."""
    everyone = range(len(rows))
    central = [i for i in everyone if rows[i].detection.box.contains(rows[i].facts.width / 2, rows[i].facts.height / 2)]
    candidates: Mapping[str, Sequence[int]] = {
        "": central or everyone,
        "centre": central,
        "single": everyone,
        "contains": everyone if len(rows) == 1 else (),
    }
    return max(
        candidates.get(scope, ()),
        key=lambda i: rows[i].detection.box.width * rows[i].detection.box.height,
        default=None,
    )


def _known(
    photos: Mapping[str, _Photo],
    hashes: Mapping[Path, str],
    embeddings: FloatArray,
    recipe: Recipe,
    skipped: tuple[tuple[Path, str], ...],
) -> KnownFaces:
    """Lay the photos' faces out as arrays."""
    rows: list[FaceRow] = []
    names: list[str] = []
    number: list[int] = []
    faces_of: dict[str, tuple[int, ...]] = {}
    for i, (digest, photo) in enumerate(photos.items()):
        faces_of[digest] = tuple(range(len(rows), len(rows) + len(photo.rows)))
        rows += photo.rows
        names += [photo.identity if face == photo.subject else "" for face in range(len(photo.rows))]
        number += [i] * len(photo.rows)
    identities = identity_numbers(names)
    people = sorted(set(names) - {""})
    groups = [photo.group for photo in photos.values()]
    named = [photo for photo in photos.values() if photo.identity]
    return KnownFaces(
        rows=tuple(rows),
        embeddings=embeddings,
        identities=identities,
        photos=np.array(number, dtype=np.int64),
        groups=tuple(groups[i] for i in number),
        people=tuple(people),
        faces_of={path: faces_of[digest] for path, digest in hashes.items()},
        recipe=recipe,
        census=Census(
            photos=len(photos),
            named=len(named),
            no_face=sum(not photo.rows for photo in named),
            no_subject=sum(bool(photo.rows) and photo.subject is None for photo in named),
            contradictions=sum(photo.contradiction for photo in photos.values()),
            faces=len(rows),
            labelled=int((identities != UNLABELLED).sum()),
            people=len(people),
        ),
        skipped=skipped,
    )


@contextmanager
def scratch_library(known: KnownFaces, *, without_photo: int | None = None) -> Iterator[tuple[Library, IntArray]]:
    """Open a library that holds these faces and nothing else, and the faces' indices (k,) by row; removed at the end.

    Without the faces of one photo, if asked, as if it had not been scanned yet.
    """
    faces = np.flatnonzero(known.photos != without_photo) if without_photo is not None else np.arange(len(known.rows))
    by_photo: dict[str, list[int]] = {}
    for i in faces.tolist():
        by_photo.setdefault(known.rows[i].photo, []).append(i)
    files = [
        ScannedFile(
            path=Path(known.rows[own[0]].path),
            size=0,
            mtime_ns=0,
            state=FileState.PHOTO,
            photo=digest,
            facts=known.rows[own[0]].facts,
            faces=[Face(known.rows[i].detection, known.rows[i].quality, known.embeddings[i]) for i in own],
        )
        for digest, own in by_photo.items()
    ]
    with (
        tempfile.TemporaryDirectory(prefix="photocluster-") as folder,
        Library(Path(folder) / "library", recipe=known.recipe, create=True) as library,
    ):
        library.photos.add(files)
        yield library, faces.astype(np.int64)

"""Names for faces without one: propagation to stored faces, identification and verification of files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photocluster.identification import (
    MARGIN,
    THRESHOLD,
    UNKNOWN,
    VERIFICATION_THRESHOLD,
    Identification,
    identify,
    one_person_per_photo,
)
from photocluster.pipeline.analysis import Analyser, recipe
from photocluster.records import Face, FloatArray, IntArray, Source
from photocluster.store import Library


@dataclass(frozen=True, slots=True)
class PropagatedFace:
    """A face that propagation names: the person, the distance, and the second person's distance (None: no second)."""

    face: int
    person: str
    distance: float
    second_distance: float | None


@dataclass(frozen=True, slots=True)
class PropagationReport:
    """What a propagation did, or would do.

    `examined` faces had no name by the user; `named` of them have one now (`by_person`, most first), `changed` of which
    is new or different; `taken_back` earlier guesses do not hold any more; `unknown` is the rest.
    """

    examined: int
    named: int
    changed: int
    taken_back: int
    unknown: int
    by_person: tuple[tuple[str, int], ...]
    faces: tuple[PropagatedFace, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The faces whose person the user or an import named: embeddings (m, 128), person ids (m,), and the names."""

    embeddings: FloatArray
    persons: IntArray
    names: dict[int, str]


def gallery(library: Library) -> Gallery:
    """Return the gallery of a library."""
    named = {
        face: said.person
        for face, said in sorted(library.names.assignments().items())
        if said.source is not Source.PROPAGATED
    }
    faces = np.fromiter(named.keys(), dtype=np.int64, count=len(named))
    persons = np.fromiter(named.values(), dtype=np.int64, count=len(named))
    return Gallery(
        np.asarray(library.embeddings()[faces]), persons, {info.id: info.name for info in library.names.persons()}
    )


def propagate(
    library: Library,
    *,
    threshold: float = THRESHOLD,
    margin: float = MARGIN,
    first_face: int = 0,
    dry_run: bool = False,
) -> PropagationReport:
    """Name the faces that lie near a named person and near nobody else, and take back guesses that hold no more.

    Parameters
    ----------
    threshold, margin
        See `identification.identify`.
    first_face
        Look only at faces from this row on: those of the scan that just ended.
    dry_run
        Only report.
    """
    known = gallery(library)
    assignments = library.names.assignments()
    faces, photos = library.faces.photos()
    photo_of = dict(zip(faces.tolist(), photos.tolist(), strict=True))
    said = {face: a for face, a in assignments.items() if a.source is not Source.PROPAGATED}
    probes = np.array([face for face in faces.tolist() if face >= first_face and face not in said], dtype=np.int64)
    row_of = {face: row for row, face in enumerate(probes.tolist())}
    answers = identify(
        np.asarray(library.embeddings()[probes]),
        known.embeddings,
        known.persons,
        threshold=threshold,
        margin=margin,
        rejected=[(row_of[face], person) for face, person in library.names.rejections() if face in row_of],
    )
    taken: dict[int, set[int]] = {}
    for face, assignment in said.items():
        if face in photo_of:
            taken.setdefault(photo_of[face], set()).add(assignment.person)
    rows = one_person_per_photo(answers, [photo_of[face] for face in probes.tolist()], taken)
    named = {int(probes[row]): answer for row, answer in rows.items()}
    old = {face: assignments[face].person for face in row_of if face in assignments}
    taken_back = [face for face in old if face not in named]
    if not dry_run and (named or taken_back):
        library.names.propagate(named, taken_back)
    return _report(probes, answers, named, old, taken_back, known.names)


def _report(
    probes: IntArray,
    answers: Identification,
    named: dict[int, tuple[int, float]],
    old: dict[int, int],
    taken_back: list[int],
    names: dict[int, str],
) -> PropagationReport:
    second = dict(zip(probes.tolist(), answers.second_distance.tolist(), strict=True))
    faces = tuple(
        PropagatedFace(face, names[person], distance, second[face] if np.isfinite(second[face]) else None)
        for face, (person, distance) in sorted(named.items())
    )
    by_person = Counter(face.person for face in faces)
    return PropagationReport(
        examined=len(probes),
        named=len(named),
        changed=sum(old.get(face) != person for face, (person, _) in named.items()),
        taken_back=len(taken_back),
        unknown=len(probes) - len(named),
        by_person=tuple(sorted(by_person.items(), key=lambda item: (-item[1], item[0]))),
        faces=faces,
    )


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedFace:
    """A face of a file that is not in the library: `person` is None when unknown; `nearest` may still be somebody."""

    face: Face
    person: str | None
    nearest: str | None
    distance: float | None
    second: str | None
    second_distance: float | None


def identify_file(
    folder: Path, path: Path, *, threshold: float = THRESHOLD, margin: float = MARGIN
) -> list[IdentifiedFace]:
    """Return who is in a photo by the names in the library, best detector score first; nothing is stored.

    Raises
    ------
    PhotoError
        The file cannot be used.
    StoreError
        The library cannot be used, or was made by another recipe.
    """
    with Library(folder) as library:
        mirror = library.recipe.mirror
        library.require(recipe(mirror=mirror))
        known = gallery(library)
    _, faces = Analyser(mirror=mirror).read(path)
    if not faces:
        return []
    embeddings = np.stack([face.embedding for face in faces])
    answers = identify(embeddings, known.embeddings, known.persons, threshold=threshold, margin=margin)
    named = one_person_per_photo(answers, [0] * len(faces), {})
    return [
        IdentifiedFace(
            face,
            known.names[named[row][0]] if row in named else None,
            *_candidate(known, answers.nearest[row], answers.distance[row]),
            *_candidate(known, answers.second[row], answers.second_distance[row]),
        )
        for row, face in enumerate(faces)
    ]


def _candidate(known: Gallery, person: np.int64, distance: np.float32) -> tuple[str | None, float | None]:
    return (None, None) if person == UNKNOWN else (known.names[int(person)], float(distance))


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Verification of two photos: all pairs of their faces, nearest first, as (face of A, face of B, distance).

    `same` says whether the nearest pair is within the threshold; None where a photo shows no face.
    """

    faces: tuple[list[Face], list[Face]]
    pairs: list[tuple[int, int, float]]
    threshold: float

    @property
    def same(self) -> bool | None:
        """Whether the nearest pair is one person."""
        return self.pairs[0][2] <= self.threshold if self.pairs else None


def compare_files(a: Path, b: Path, *, threshold: float = VERIFICATION_THRESHOLD) -> Comparison:
    """Return the distances between the faces of two photos; needs no library.

    Raises
    ------
    PhotoError
        A file cannot be used.
    """
    analyser = Analyser()
    _, faces_a = analyser.read(a)
    _, faces_b = analyser.read(b)
    pairs = [
        (i, j, float(np.linalg.norm(x.embedding - y.embedding)))
        for i, x in enumerate(faces_a)
        for j, y in enumerate(faces_b)
    ]
    return Comparison((faces_a, faces_b), sorted(pairs, key=lambda pair: pair[2]), threshold)

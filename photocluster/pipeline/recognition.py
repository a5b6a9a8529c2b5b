"""Names for faces without one: propagation to stored faces, identification and verification of files.

Propagation follows from what the user and imports said, and from nothing else: earlier guesses take no part, so that
doing it twice changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from photocluster import video
from photocluster.identification import (
    MARGIN,
    UNKNOWN,
    VERIFICATION_THRESHOLD,
    Gallery,
    Identification,
    Method,
    People,
    one_person_per_photo,
)
from photocluster.pipeline.analysis import Analyser, Stopwatch, recipe
from photocluster.pipeline.copies import without_copies
from photocluster.pipeline.footage import analyse_video
from photocluster.records import Face, FloatArray, IntArray, Source
from photocluster.store import Library
from photocluster.suggestions import MIN_PROBABILITY, probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """How faces are compared with persons: see `identification.People`; no threshold stands for the calibrated one."""

    threshold: float | None = None
    margin: float = MARGIN
    method: Method = Method.CENTROID


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
    is new or different; `taken_back` earlier guesses do not hold any more; `to_confirm` are near one person, but not
    surely (see `photocluster suggest`); `unknown` is the rest. `threshold` is what it came to. `event` is its number in
    the log, if it was to be noted there and changed something.
    """

    examined: int
    named: int
    changed: int
    taken_back: int
    to_confirm: int
    unknown: int
    threshold: float
    by_person: tuple[tuple[str, int], ...]
    faces: tuple[PropagatedFace, ...]
    event: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """What the user and imports said of the faces, and what follows for others.

    Attributes
    ----------
    said
        Face -> person, by the user or an import; living faces only.
    photo_of
        Face -> photo, negative where the photo tells nobody apart.
    taken
        Photo -> the persons that are named in it.
    rejected
        (face, person) of each "not this person".
    names
        Person -> name.
    """

    said: dict[int, int]
    photo_of: dict[int, int]
    taken: dict[int, set[int]]
    rejected: list[tuple[int, int]]
    names: dict[int, str]


def read_word(library: Library, beside: Collection[int] | None = None) -> Word:
    """Return what the user and imports said of the living faces, or of those of the photos that show some faces."""
    faces, photos = library.faces.photos(beside)
    photo_of = dict(zip(faces.tolist(), photos.tolist(), strict=True))
    asked = None if beside is None else photo_of
    said = {
        face: a.person
        for face, a in sorted(library.names.assignments(asked).items())
        if a.source is not Source.PROPAGATED and face in photo_of
    }
    taken: defaultdict[int, set[int]] = defaultdict(set)
    for face, person in said.items():
        taken[photo_of[face]].add(person)
    rejected = [(face, person) for face, person in library.names.rejections(asked) if face in photo_of]
    return Word(said, photo_of, taken, rejected, library.names.names())


def known_people(library: Library, word: Word, comparing: Comparing) -> People:
    """Return the named persons of a library, to compare faces with; of copies of a photo one speaks for the person."""
    return People(
        _gallery(library.embeddings(), without_copies(library, word.said).items()),
        threshold=comparing.threshold,
        method=comparing.method,
        rejected=_gallery(library.embeddings(), word.rejected),
    )


def _gallery(embeddings: FloatArray, said: Iterable[tuple[int, int]]) -> Gallery:
    pairs = np.array(list(said), dtype=np.int64).reshape(-1, 2)
    return Gallery(np.asarray(embeddings[pairs[:, 0]]), pairs[:, 1])


def propagate(
    library: Library,
    comparing: Comparing | None = None,
    *,
    first_face: int = 0,
    dry_run: bool = False,
    logged: bool = False,
) -> PropagationReport:
    """Name the faces that lie near a named person and near nobody else, and take back guesses that hold no more.

    Others may decide while it computes: what they said then is taken in before anything is written.

    Parameters
    ----------
    comparing
        How to compare.
    first_face
        Look only at faces from this row on: those of the scan that just ended.
    dry_run
        Only report.
    logged
        Note it in the log, as the user asked for it: it can be taken back then.
    """
    comparing = comparing or Comparing()
    known = library.history.last()
    found = _found(library, comparing, first_face)
    if dry_run:
        return found.report
    with library.together():
        if library.history.last() != known:
            found = _found(library, comparing, first_face)
        arguments = {"faces": found.report.changed, "taken_back": found.report.taken_back} if logged else None
        event = library.names.propagate(found.named, found.taken_back, arguments=arguments)
    return replace(found.report, event=event)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What a propagation comes to: face -> (person, distance), and the faces whose guesses hold no more."""

    report: PropagationReport
    named: dict[int, tuple[int, float]]
    taken_back: list[int]


def _found(library: Library, comparing: Comparing, first_face: int) -> _Found:
    word = read_word(library)
    people = known_people(library, word, comparing)
    probes = np.array([face for face in word.photo_of if face >= first_face and face not in word.said], dtype=np.int64)
    answers = _answers(library, word, people, comparing, probes)
    named = _named(word, answers, probes)
    guesses = {face: a.person for face, a in library.names.assignments().items() if a.source is Source.PROPAGATED}
    old = {face: guesses[face] for face in probes.tolist() if face in guesses}
    unsure = _to_confirm(answers, people, np.isin(probes, list(named)))
    report = _report(probes, answers, named, old, unsure, word.names)
    return _Found(report, named, [face for face in old if face not in named])


def _answers(library: Library, word: Word, people: People, comparing: Comparing, probes: IntArray) -> Identification:
    row_of = {face: row for row, face in enumerate(probes.tolist())}
    return people.identify(
        np.asarray(library.embeddings()[probes]),
        margin=comparing.margin,
        rejected=[(row_of[face], person) for face, person in word.rejected if face in row_of],
    )


def _named(word: Word, answers: Identification, probes: IntArray) -> dict[int, tuple[int, float]]:
    """Return face -> (person, distance), of two faces of one photo only the nearer one."""
    rows = one_person_per_photo(answers, [word.photo_of[face] for face in probes.tolist()], word.taken)
    return {int(probes[row]): answer for row, answer in rows.items()}


def _to_confirm(answers: Identification, people: People, named: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """Return how many faces are likely enough to be somebody to be asked about."""
    near = np.isfinite(answers.distance) & ~named & (answers.person == UNKNOWN)
    likely = probability(answers.distance[near], answers.second_distance[near], people.strangers)
    return int((likely >= MIN_PROBABILITY).sum())


def _report(
    probes: IntArray,
    answers: Identification,
    named: dict[int, tuple[int, float]],
    old: dict[int, int],
    to_confirm: int,
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
        taken_back=sum(face not in named for face in old),
        to_confirm=to_confirm,
        unknown=len(probes) - len(named) - to_confirm,
        threshold=answers.threshold,
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
    folder: Path, path: Path, comparing: Comparing | None = None, *, device: str = "auto"
) -> list[IdentifiedFace]:
    """Return who is in a photo by the names in the library, best detector score first; nothing is stored.

    Of a video, the best faces of each track, by time.

    Raises
    ------
    PhotoError
        The file cannot be used.
    StoreError
        The library cannot be used, or was made by another recipe.
    """
    comparing = comparing or Comparing()
    with Library(folder) as library:
        mirror = library.recipe.mirror
        library.require(recipe(mirror=mirror))
        word = read_word(library)
        people = known_people(library, word, comparing)
    faces, pictures = _faces_of(path, Analyser(mirror=mirror, device=device))
    if not faces:
        return []
    embeddings = np.stack([face.embedding for face in faces])
    answers = people.identify(embeddings, margin=comparing.margin)
    named = one_person_per_photo(answers, pictures, {})
    return [
        IdentifiedFace(
            face,
            word.names[named[row][0]] if row in named else None,
            *_candidate(word, answers.nearest[row], answers.distance[row]),
            *_candidate(word, answers.second[row], answers.second_distance[row]),
        )
        for row, face in enumerate(faces)
    ]


def _faces_of(path: Path, analyser: Analyser) -> tuple[list[Face], list[int]]:
    """Return the faces of a photo, or those that a scan keeps of a video, and the number of the picture of each."""
    if not video.sniff(path):
        faces = analyser.read(path)[1]
        return faces, [0] * len(faces)
    faces = analyse_video(path, analyser, Stopwatch()).faces
    frames = sorted({face.time or 0.0 for face in faces})
    return faces, [frames.index(face.time or 0.0) for face in faces]


def _candidate(word: Word, person: np.int64, distance: np.float32) -> tuple[str | None, float | None]:
    return (None, None) if person == UNKNOWN else (word.names[int(person)], float(distance))


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


def compare_files(a: Path, b: Path, *, threshold: float = VERIFICATION_THRESHOLD, device: str = "auto") -> Comparison:
    """Return the distances between the faces of two photos; needs no library.

    Raises
    ------
    PhotoError
        A file cannot be used.
    """
    analyser = Analyser(device=device)
    _, faces_a = analyser.read(a)
    _, faces_b = analyser.read(b)
    pairs = [
        (i, j, float(np.linalg.norm(x.embedding - y.embedding)))
        for i, x in enumerate(faces_a)
        for j, y in enumerate(faces_b)
    ]
    return Comparison((faces_a, faces_b), sorted(pairs, key=lambda pair: pair[2]), threshold)

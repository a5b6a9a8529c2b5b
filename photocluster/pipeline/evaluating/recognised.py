"""Verification by a file of pairs and by all pairs, and open-set identification."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photocluster.errors import UsageError
from photocluster.evaluation import (
    UNLABELLED,
    AllPairs,
    AllPairsMeasures,
    GroupRates,
    IdentificationMeasures,
    Interval,
    OpenSetCurve,
    Pair,
    Roc,
    VerificationMeasures,
    all_pairs,
    all_pairs_by_group,
    all_pairs_intervals,
    identification_by_group,
    identification_intervals,
    identification_measures,
    identity_numbers,
    lfw_verification,
    open_set_curve,
    open_set_split,
    parse_pairs,
    roc,
    verification_by_group,
    verification_intervals,
)
from photocluster.evaluation.labels import BoolArray, DoubleArray
from photocluster.identification import UNKNOWN, Method, identify, one_person_per_photo
from photocluster.pipeline.evaluating.known import KnownFaces, Material, read_files, subject_of
from photocluster.records import IntArray

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".bmp", ".tif", ".tiff")
"""Looked for in this order, in small and in capital letters; LFW has the first."""


@dataclass(frozen=True, slots=True, eq=False)
class PairsEvaluation:
    """The LFW protocol on a file of pairs.

    Attributes
    ----------
    pairs_without_photo
        Pairs left out, since a file is not there; `photos_not_found` lists which.
    pairs_without_face
        Pairs with a photo in which no face was found: they count as two people at every threshold.
        `photos_without_face` lists the photos.
    curve, distances, same
        Of all judged pairs, for figures: ROC; distance (n,) float64, infinite without a face; bool (n,), one person.
    """

    measures: VerificationMeasures
    intervals: Mapping[str, Interval]
    groups: Mapping[str, VerificationMeasures]
    pairs_without_photo: int
    photos_not_found: tuple[str, ...]
    pairs_without_face: int
    photos_without_face: tuple[str, ...]
    skipped: tuple[tuple[Path, str], ...]
    curve: Roc
    distances: DoubleArray
    same: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class AllPairsEvaluation:
    """All pairs of labelled faces."""

    measures: AllPairsMeasures
    intervals: Mapping[str, Interval]
    groups: Mapping[str, GroupRates]
    pairs: AllPairs


@dataclass(frozen=True, slots=True, eq=False)
class IdentificationEvaluation:
    """Open-set identification: `gallery` is how many faces are known; `curve` is None without probes of both kinds."""

    gallery: int
    gallery_people: int
    stranger_people: int
    measures: IdentificationMeasures
    intervals: Mapping[str, Interval]
    groups: Mapping[str, IdentificationMeasures]
    curve: OpenSetCurve | None


def evaluate_pairs(
    pairs_file: Path, root: Path, material: Material, *, resamples: int, seed: int = 0
) -> PairsEvaluation:
    """Scan the photos that a file of pairs names, and judge the pairs by the LFW protocol.

    Photo n of a name is the file NAME/NAME_000n with any of `SUFFIXES`. Its face is the largest that holds the
    frame's centre, or else the largest, as in `known`.

    Raises
    ------
    UsageError
        The file cannot be read, or none of its photos is below `root`.
    """
    try:
        text = pairs_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{pairs_file}: the pairs cannot be read: {error}") from error
    pairs = parse_pairs(text, source=str(pairs_file))
    root = Path(os.path.abspath(root))  # noqa: PTH100  resolve() would follow links
    wanted = sorted({side for pair in pairs for side in _sides(pair)})
    files = {side: found for side in wanted if (found := _find(root, *side)) is not None}
    judged = [pair for pair in pairs if all(side in files for side in _sides(pair))]
    if not judged:
        name, number = wanted[0]
        raise UsageError(
            f"{root}: for no pair of {pairs_file} are both photos there; expected is, for example, "
            f"{root / name / f'{name}_{number:04}.jpg'}. Give the folder of the persons' folders with --root"
        )
    known = read_files(list(files.values()), root, material)
    chosen = {path: subject_of([known.rows[face] for face in own]) for path, own in known.faces_of.items()}
    subjects = {path: known.faces_of[path][face] for path, face in chosen.items() if face is not None}
    faces = np.array([[subjects.get(files[side], -1) for side in _sides(pair)] for pair in judged], dtype=np.int64)
    distances = _distances(known, faces)
    same = np.array([pair.same for pair in judged], dtype=np.bool_)
    folds = np.array([pair.fold for pair in judged], dtype=np.int64)
    people = identity_numbers([name for pair in judged for name in (pair.first, pair.second)]).reshape(-1, 2)
    faceless = sorted(os.path.relpath(path, root) for path in files.values() if path not in subjects)
    return PairsEvaluation(
        measures=lfw_verification(distances, same, folds),
        intervals=verification_intervals(distances, folds, people, resamples=resamples, seed=seed) if resamples else {},
        groups=verification_by_group(distances, same, folds, _pair_groups(known, faces)),
        pairs_without_photo=len(pairs) - len(judged),
        photos_not_found=tuple(f"{name}/{name}_{number:04}" for name, number in wanted if (name, number) not in files),
        pairs_without_face=int(np.isinf(distances).sum()),
        photos_without_face=tuple(faceless),
        skipped=known.skipped,
        curve=roc(distances, same),
        distances=distances,
        same=same,
    )


def _sides(pair: Pair) -> tuple[tuple[str, int], tuple[str, int]]:
    return (pair.first, pair.first_photo), (pair.second, pair.second_photo)


def _find(root: Path, name: str, number: int) -> Path | None:
    """Return the file of a photo of a pairs file."""
    stem = root / name / f"{name}_{number:04}"
    for suffix in SUFFIXES:
        for variant in (suffix, suffix.upper()):
            file = stem.with_name(stem.name + variant)
            if file.is_file():
                return file
    return None


def _distances(known: KnownFaces, faces: IntArray) -> DoubleArray:
    """Return the distances of pairs of faces (n, 2), infinity where a face is -1."""
    distances = np.full(len(faces), np.inf)
    both = (faces >= 0).all(axis=1)
    first, second = known.embeddings[faces[both, 0]], known.embeddings[faces[both, 1]]
    distances[both] = np.linalg.norm(first.astype(np.float64) - second, axis=1)
    return distances


def _pair_groups(known: KnownFaces, faces: IntArray) -> list[str]:
    """Return the group of both faces of each pair, "" where they differ or a face is missing."""
    names = np.array([*known.groups, ""], dtype=np.str_)  # -1 is the last
    first, second = names[faces[:, 0]], names[faces[:, 1]]
    return [str(name) for name in np.where(first == second, first, "")]


def evaluate_all_pairs(known: KnownFaces, *, resamples: int, seed: int = 0) -> AllPairsEvaluation:
    """Compare every labelled face with every other.

    Raises
    ------
    UsageError
        Nobody has two faces, or there is one person only.
    """
    pairs = all_pairs(known.embeddings, known.identities)
    return AllPairsEvaluation(
        measures=pairs.measures(),
        intervals=all_pairs_intervals(known.embeddings, known.identities, resamples=resamples, seed=seed)
        if resamples
        else {},
        groups=all_pairs_by_group(known.embeddings, known.identities, known.groups) if any(known.groups) else {},
        pairs=pairs,
    )


def evaluate_identification(
    known: KnownFaces,
    *,
    strangers: float,
    threshold: float | None = None,
    margin: float | None = None,
    method: Method = Method.CENTROID,
    resamples: int,
    seed: int = 0,
) -> IdentificationEvaluation:
    """Name faces after a gallery, as `photocluster propagate` does, where some of the people are not in it.

    Of the people held back no face is in the gallery; of each other, half of the faces (`evaluation.open_set_split`).
    Every other face asks for its name, those without identity too, since they contend for the one name that a person
    has in a photo; judged are those with identity.

    Parameters
    ----------
    known
        The faces.
    strangers
        Share of the people held back, 0..1.
    threshold, margin
        See `identification.identify`; None stands for its own default.
    method
        What is compared, see `identification.Method`.
    resamples, seed
        Draws of the intervals (0: none), and the seed of these and of the split.

    Raises
    ------
    UsageError
        No face is left to be named.
    """
    split = open_set_split(known.identities, stranger_share=strangers, seed=seed)
    if not len(split.probes) + len(split.strangers):
        raise UsageError("nobody has a second photo to be recognised in, and nobody was held back as a stranger")
    probes = np.setdiff1d(np.arange(len(known.identities)), split.gallery)
    gallery_people = known.identities[split.gallery]
    given: dict[str, Any] = {"threshold": threshold, "margin": margin}
    given = {name: value for name, value in given.items() if value is not None}
    answers = identify(
        known.embeddings[probes], known.embeddings[split.gallery], gallery_people, method=method, **given
    )
    taken: dict[int, set[int]] = {}
    for photo, person in zip(known.photos[split.gallery].tolist(), gallery_people.tolist(), strict=True):
        taken.setdefault(photo, set()).add(person)
    named = np.full(len(probes), UNKNOWN, dtype=np.int64)
    for row, (person, _) in one_person_per_photo(answers, known.photos[probes].tolist(), taken).items():
        named[row] = person
    judged = known.identities[probes] != UNLABELLED
    people = known.identities[probes][judged]
    truth = np.where(np.isin(people, gallery_people), people, UNLABELLED)
    groups = np.asarray(known.groups, dtype=np.str_)[probes][judged]
    both = len(split.probes) and len(split.strangers) and len(split.gallery)
    return IdentificationEvaluation(
        gallery=len(split.gallery),
        gallery_people=len(np.unique(gallery_people)),
        stranger_people=len(np.unique(known.identities[split.strangers])),
        measures=identification_measures(truth, named[judged]),
        intervals=identification_intervals(truth, named[judged], people, resamples=resamples, seed=seed),
        groups=identification_by_group(truth, named[judged], groups.tolist()),
        curve=open_set_curve(truth, answers.nearest[judged], answers.distance[judged].astype(np.float64))
        if both
        else None,
    )

"""Splitting: faces that carry one name, or lie in one cluster, and are several people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from photocluster.errors import Outdated, UsageError
from photocluster.models import unit
from photocluster.pipeline.targets import all_faces, resolve, resolve_all
from photocluster.records import NOISE, FaceRow, FloatArray, IntArray, Source
from photocluster.store import Library, clean_name

MOST_MIN_FACES = 5
"""Least size of a part in a large group: HDBSCAN's own default of min_cluster_size."""

LEAST_PARTS = 4
"""In a small group a part may be as small as a fourth of it, so that two unequal halves can be found."""


@dataclass(frozen=True, slots=True)
class SplitPart:
    """A part: the person's name, and its faces; `stays` for the part that keeps what it was."""

    person: str
    faces: tuple[int, ...]
    stays: bool


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What a `split` did: the number of the event (None: nothing changed, or only tried), and the parts."""

    event: int | None
    parts: tuple[SplitPart, ...]


def split(
    library: Library,
    target: str,
    faces: Sequence[str] = (),
    *,
    to: str | None = None,
    min_faces: int | None = None,
    parts: Sequence[Sequence[int]] | None = None,
    dry_run: bool = False,
) -> SplitReport:
    """Give a part of a person's or a cluster's faces to new persons, by the user's word.

    With `faces`, these leave, for the person `to`, or a new one called after the old ("Ann (2)"). What stays of a
    cluster is remembered as not that person. Without faces HDBSCAN looks for parts; the largest of a person stays (of a
    cluster: that with most faces of its best known person, if any), each other becomes a new person.

    Parameters
    ----------
    target
        A person's name, or a cluster's number.
    faces
        Faces of the target, one by one (f3, f3-f9).
    to
        The name of the person for `faces`.
    min_faces
        Least size of a part, where HDBSCAN looks for them; None for a size by the number of faces.
    parts
        What `look_for_parts` found, where that is known; nobody has to wait for more than the decision then.

    Raises
    ------
    UnknownName
        There is no such person, cluster or face.
    UsageError
        The faces are not the target's, or nothing would stay; or no parts were found.
    Outdated
        While HDBSCAN looked for parts, faces came to the target or left it.
    """
    if to is not None and not faces:
        raise UsageError("--to needs the faces that it is for")
    found = [] if faces else parts or look_for_parts(library, target, min_faces)
    with library.together():
        group = _faces_of(library, target)
        is_cluster = library.names.person_id(target) is None or target.isdecimal()
        if faces:
            found = _leaving(library, target, group, faces)
        elif {face for part in found for face in part} != set(group):
            raise Outdated(f"the faces of {target} are others by now. Nothing was changed; try again")
        splitting = _Split(library, target, group, is_cluster=is_cluster)
        return splitting.run(found, by_hand=bool(faces), to=to, dry_run=dry_run)


def look_for_parts(library: Library, target: str, min_faces: int | None = None) -> list[list[int]]:
    """Return the parts for `split`: seconds of computing for thousands of faces, and nothing is changed.

    Raises
    ------
    UnknownName
        There is no such person or cluster.
    UsageError
        There is one part only.
    """
    return find_parts(library, list(_faces_of(library, target).values()), min_faces)


def _faces_of(library: Library, target: str) -> dict[int, FaceRow]:
    found = resolve(library, target, persons=True)
    if found.one_by_one or not found.faces:
        raise UsageError(f"{target}: give a person with faces, or a cluster's number")
    return {row.face: row for row in found.faces}


def _leaving(library: Library, target: str, group: Mapping[int, FaceRow], faces: Sequence[str]) -> list[list[int]]:
    """Return the faces that stay, and those that the user says leave."""
    leaving = all_faces(resolve_all(library, faces))
    stray = sorted(set(leaving) - set(group))
    if stray:
        raise UsageError(f"f{stray[0]} is none of the faces of {target}; see: photocluster show {target}")
    if len(leaving) == len(group):
        raise UsageError(f'these are all faces of {target}; to name them otherwise: photocluster label {target} "NAME"')
    return [sorted(set(group) - set(leaving)), sorted(leaving)]


def find_parts(library: Library, rows: Sequence[FaceRow], min_faces: int | None) -> list[list[int]]:
    """Return the parts that HDBSCAN finds among faces, largest first; what it leaves out joins the likest part.

    Raises
    ------
    UsageError
        There is one part only.
    """
    from photocluster.clustering import FaceClusterer

    size = min_faces or max(2, min(MOST_MIN_FACES, len(rows) // LEAST_PARTS))
    faces = np.array([row.face for row in rows], dtype=np.int64)
    vectors = np.asarray(library.embeddings()[faces])
    labels = FaceClusterer.plain(min_cluster_size=size, min_samples=min(2, size)).fit(vectors).labels_
    kinds = np.unique(labels[labels != NOISE])
    if len(kinds) < 2:
        raise UsageError(
            "no separate parts were found among these faces. Say which leave: photocluster split TARGET f3 f4 --to NAME"
        )
    labels = _likest(vectors, labels, kinds)
    parts = [sorted(faces[labels == kind].tolist()) for kind in kinds]
    return sorted(parts, key=lambda part: (-len(part), part))


def _likest(vectors: FloatArray, labels: IntArray, kinds: IntArray) -> IntArray:
    """Return the labels with noise replaced by the part whose mean direction is nearest."""
    middles = unit(np.stack([vectors[labels == kind].mean(axis=0) for kind in kinds]))  # (parts, 128)
    nearest = kinds[np.argmax(vectors @ middles.T, axis=1)]
    return np.where(labels == NOISE, nearest, labels)


class _Split:
    """One split: who is who in the group."""

    def __init__(self, library: Library, target: str, group: dict[int, FaceRow], *, is_cluster: bool) -> None:
        self._library = library
        self._target = target
        self._group = group
        self._is_cluster = is_cluster
        by_user = Counter(row.person for row in group.values() if row.person and row.source is not Source.PROPAGATED)
        self._known = by_user.most_common(1)[0][0] if by_user else None
        if not is_cluster:
            self._known = next(iter(group.values())).person

    def run(self, parts: Sequence[Sequence[int]], *, by_hand: bool, to: str | None, dry_run: bool) -> SplitReport:
        stays = 0 if by_hand or not self._is_cluster else self._best_known(parts)
        base = self._known or f"Cluster {self._target}"
        free = self._free_names(base, first=2 if by_hand or stays is not None else 1)
        report = []
        arguments = {"target": self._target, "parts": [len(part) for part in parts]}
        with self._library.names.decide("split", arguments, dry_run=dry_run) as decision:
            for number, part in enumerate(parts):
                if number == stays:
                    report.append(SplitPart(self._known or "", tuple(part), stays=True))
                    continue
                name = clean_name(to) if to else next(free)
                person = decision.person(name)
                faces = part if by_hand else [face for face in part if self._may_leave(self._group[face])]
                for face in faces:
                    decision.assign(face, person, Source.USER)
                report.append(SplitPart(name, tuple(faces), stays=False))
                if by_hand and self._is_cluster:
                    for face in parts[0]:
                        if self._may_leave(self._group[face]):
                            decision.reject(face, person)
        return SplitReport(decision.event, tuple(report))

    def _best_known(self, parts: Sequence[Sequence[int]]) -> int | None:
        """Return the part of a cluster that holds most faces which the user gave to its best known person."""
        if self._known is None:
            return None
        counts = [sum(self._is_known(self._group[face]) for face in part) for part in parts]
        return int(np.argmax(counts))

    def _is_known(self, row: FaceRow) -> bool:
        return row.person == self._known and row.source is not Source.PROPAGATED

    def _may_leave(self, row: FaceRow) -> bool:
        """Whether HDBSCAN may move a face: all faces of a person that is split, but of a cluster none that is named."""
        return not self._is_cluster or row.person is None or row.source is Source.PROPAGATED

    def _free_names(self, base: str, *, first: int) -> Iterator[str]:
        number = first
        while True:
            name = f"{base} ({number})"
            if self._library.names.person_id(name) is None:
                yield name
            number += 1

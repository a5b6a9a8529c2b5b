"""What may and may not be one person: the user's words, the photos, and their contradictions.

Pure on arrays. Three kinds of statement go in: faces of one photo are two people, faces that the user gave to one
person are one, and pairs that the user told apart. Out come pairs that never join (`Constraints`), and a list of the
statements that cannot all be true (`Contradiction`), of which the stronger one is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from photocluster.errors import UsageError
from photocluster.records import IntArray

BoolArray = NDArray[np.bool_]


class ContradictionKind(StrEnum):
    """Which two statements cannot both be true; the first named is the one that is kept."""

    SAME_PERSON_IN_ONE_PHOTO = "same person twice in one photo"
    ASSIGNED_AND_REJECTED = "assigned to a person and rejected for it"
    SAME_PERSON_AND_DIFFERENT = "assigned to one person and told apart"


@dataclass(frozen=True, slots=True, order=True)
class Contradiction:
    """Two statements that cannot both be true: the faces (rows, ascending) and the person that they concern."""

    kind: ContradictionKind
    faces: tuple[int, ...]
    person: int


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """What binds a clustering of n faces.

    Attributes
    ----------
    persons
        (n,) int64: the user's word; faces of equal numbers >= 0 are one person, of different numbers never join.
    pairs
        (m, 2) int64, the rows of two faces that never join. A pair with a face of a person holds for all its faces.
    contradictions
        Sorted.
    copies
        (n,) int64: faces of equal numbers >= 0 are one face of one moment, as far as nothing else forbids it.
    """

    persons: IntArray
    pairs: IntArray
    contradictions: tuple[Contradiction, ...]
    copies: IntArray

    def reordered(self, order: IntArray) -> Constraints:
        """Return the same constraints where row i is row order[i] here; faces not in `order` (k,) are left out."""
        place = np.full(len(self.persons), -1, dtype=np.int64)
        place[order] = np.arange(len(order))
        pairs = place[self.pairs]
        pairs = pairs[(pairs >= 0).all(axis=1)]
        return Constraints(self.persons[order], pairs, self.contradictions, self.copies[order])


def gather(
    n: int,
    *,
    photos: object = None,
    persons: object = None,
    rejected: object = None,
    different: object = None,
    copies: object = None,
) -> Constraints:
    """Bring the statements about n faces into one form.

    Parameters
    ----------
    n
        Number of faces.
    photos
        (n,) int, or None: faces with the same number >= 0 are in one photo, thus two people; -1 says nothing.
    persons
        (n,) int, or None: faces with the same number >= 0 are one person, with different numbers two; -1 is unknown.
    rejected
        (m, 2) int, or None: (face row, person number), the face is not that person.
    different
        (m, 2) int, or None: the rows of two faces that are two people.
    copies
        (n,) int, or None: faces with the same number >= 0 are one face of one moment; -1 says nothing.

    Raises
    ------
    UsageError
        An array of another shape, or a row that does not exist.
    """
    photo = _column(photos, n, "photos")
    person = _column(persons, n, "persons")
    apart = [_photo_pairs(photo), _rows(different, n, "different", both=True)]
    kinds = [ContradictionKind.SAME_PERSON_IN_ONE_PHOTO, ContradictionKind.SAME_PERSON_AND_DIFFERENT]
    pairs: list[IntArray] = []
    found: set[Contradiction] = set()
    for kind, candidates in zip(kinds, apart, strict=True):
        same = _one_person(person, candidates)
        found |= {Contradiction(kind, _ascending(row), int(person[row[0]])) for row in candidates[same]}
        pairs.append(candidates[~same])
    refused = _rows(rejected, n, "rejected", both=False)
    if len(refused):
        own = person[refused[:, 0]] == refused[:, 1]
        kind = ContradictionKind.ASSIGNED_AND_REJECTED
        found |= {Contradiction(kind, (int(face),), int(who)) for face, who in refused[own]}
        pairs.append(_to_first_face(person, refused[~own]))
    return Constraints(person, np.concatenate(pairs), tuple(sorted(found)), _column(copies, n, "copies"))


def _column(values: object, n: int, name: str) -> IntArray:
    if values is None:
        return np.full(n, -1, dtype=np.int64)
    column = np.asarray(values)
    if column.shape != (n,) or not (column.dtype.kind in "iu" or column.size == 0):
        raise UsageError(f"{name} must be {n} whole numbers, one a face, not {column.dtype} of shape {column.shape}")
    return column.astype(np.int64)


def _rows(values: object, n: int, name: str, *, both: bool) -> IntArray:
    if values is None:
        return np.empty((0, 2), dtype=np.int64)
    rows = np.asarray(values)
    if rows.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu":
        raise UsageError(f"{name} must be whole numbers of shape (m, 2), not {rows.dtype} of shape {rows.shape}")
    faces = rows if both else rows[:, :1]
    if faces.min() < 0 or faces.max() >= n:
        raise UsageError(f"{name} names face {faces.max()} of {n}; rows count from 0")
    rows = rows.astype(np.int64)
    return rows[rows[:, 0] != rows[:, 1]] if both else rows


def _photo_pairs(photo: IntArray) -> IntArray:
    """Return all pairs of faces that share a photo (m, 2)."""
    order = np.argsort(photo, kind="stable")
    order = order[photo[order] >= 0]
    _, start, size = np.unique(photo[order], return_index=True, return_counts=True)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for count in np.unique(size[size > 1]):
        faces = order[start[size == count][:, None] + np.arange(count)]  # (photos of this size, count)
        left, right = np.triu_indices(count, 1)
        pairs.append(np.stack([faces[:, left].ravel(), faces[:, right].ravel()], axis=1))
    return np.concatenate(pairs)


def _one_person(person: IntArray, pairs: IntArray) -> BoolArray:
    left, right = person[pairs[:, 0]], person[pairs[:, 1]]
    return np.asarray((left == right) & (left >= 0))


def _ascending(row: IntArray) -> tuple[int, ...]:
    return tuple(sorted(int(face) for face in row))


def _to_first_face(person: IntArray, refused: IntArray) -> IntArray:
    """Turn (face, person number) into (face, a face of that person); persons without faces drop out."""
    numbers, first = np.unique(person, return_index=True)
    place = np.searchsorted(numbers, refused[:, 1]).clip(max=len(numbers) - 1)
    known = (numbers[place] == refused[:, 1]) & (refused[:, 1] >= 0)
    return np.stack([refused[known, 0], first[place[known]]], axis=1).astype(np.int64)

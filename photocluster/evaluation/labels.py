"""Identities, clusters and groups as numbers: what all measures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from photocluster.records import IntArray

UNLABELLED = -1
"""The identity of a face that nobody has labelled; as the truth of a probe, a stranger; as an answer, *unknown*."""

BoolArray = NDArray[np.bool_]
DoubleArray = NDArray[np.float64]
Measure = TypeVar("Measure")


def identity_numbers(names: Sequence[str]) -> IntArray:
    """Return int64 (n,): 0, 1, 2 ... in the alphabetical order of the names, -1 for the empty name."""
    known = {name: number for number, name in enumerate(sorted(set(names) - {""}))}
    return np.array([known.get(name, UNLABELLED) for name in names], dtype=np.int64)


def by_group(groups: Sequence[str], measure: Callable[[BoolArray], Measure]) -> dict[str, Measure]:
    """Return measure(mask) of each group, in alphabetical order; faces of the group "" belong to none.

    `mask` is bool (n,), true for the group's faces.
    """
    values = np.asarray(groups, dtype=np.str_)
    return {str(group): measure(values == group) for group in np.unique(values) if group != ""}


def same_length(**arrays: NDArray[np.generic]) -> None:
    """Raise ValueError unless all are one-dimensional and of one length."""
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"these must be one-dimensional arrays of one length: {shapes}")

"""Synthetic albums: embeddings of people who follow the distances measured on real faces.

Distances follow the table of SFace's embeddings of all of LFW, model's mean subtracted (share of pairs within a
distance):

========  =========  ==============
distance  same       different
========  =========  ==============
0.90      .793       8.5e-7
1.00      .954       1.8e-6
1.05      .981       5.7e-6
1.10      .992       3.0e-5
1.15      .996       2.0e-4
1.20      .998       1.5e-3
========  =========  ==============

A person is a direction; a face is that direction times its quality plus a random direction of its own. All directions
are Gaussian with a falling spectrum of 128 variances that amounts to 111 equal ones (real faces: 97), and each person
has one of 200 looks in common with others, which gives the right column with its tail;
qualities are a person's own minus an exponential variate, which gives the left one with its tail. Besides:

- a share of the faces are strangers, each seen once; the others are of people whose numbers of faces follow Zipf's law;
- some people have a relative, whose direction is closer to theirs;
- some faces are exact copies of another of the person, some are one of a burst (0.05 to 0.3 from another).

``python examples/synthetic_album.py`` prints the table above beside that of an album.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 128
SPECTRUM = np.linspace(1.0, 0.20, DIMENSIONS)
LOOKS, LIKENESS = 200, 0.40
QUALITY, QUALITY_SPREAD, QUALITY_LOSS = 0.879, 0.03, 0.06
RELATIVE = 0.45
DISTANCES = (0.90, 1.00, 1.05, 1.10, 1.15, 1.20)
SAME = (0.793, 0.954, 0.981, 0.992, 0.996, 0.998)
DIFFERENT = (8.5e-7, 1.8e-6, 5.7e-6, 3.0e-5, 2.0e-4, 1.5e-3)


@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """Embeddings and who they are of.

    Attributes
    ----------
    embeddings
        float32 (n, 128), unit norm.
    people
        int64 (n,) the person of each face; strangers have a number of their own.
    strangers
        bool (n,).
    """

    embeddings: NDArray[np.float32]
    people: NDArray[np.int64]
    strangers: NDArray[np.bool_]


def synthetic_album(
    n: int,
    seed: int = 0,
    *,
    strangers: float = 0.30,
    faces_per_person: float = 45.0,
    relatives: float = 0.10,
    copies: float = 0.03,
    bursts: float = 0.08,
) -> Album:
    """Return an album of n faces, in random order; the same for the same arguments.

    Parameters
    ----------
    n
        Number of faces.
    seed
        Of all random choices.
    strangers
        Share of the faces whose person has no other.
    faces_per_person
        Mean over the people who are no strangers; the sizes follow Zipf's law with exponent 1, at least two each.
    relatives
        Share of the people who are a relative of another.
    copies, bursts
        Share of the known people's faces that are an exact copy, or a slight change, of another face.
    """
    rng = np.random.default_rng([seed, n])
    known = n - round(n * strangers)
    people = _people(rng, known, faces_per_person)
    looks = _directions(rng, LOOKS)
    centres = _persons(rng, looks, int(people[-1]) + 1 if known else 0)
    related = np.flatnonzero(rng.random(len(centres) // 2) < 2 * relatives) * 2 + 1  # the odd one of a pair
    centres[related] = RELATIVE * centres[related - 1] + np.sqrt(1 - RELATIVE**2) * centres[related]
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    X = np.empty((n, DIMENSIONS), np.float32)
    own = rng.normal(QUALITY, QUALITY_SPREAD, len(centres))
    for start in range(0, known, 1 << 16):
        block = people[start : start + (1 << 16)]
        quality = np.clip(own[block] - rng.exponential(QUALITY_LOSS, len(block)), 0.2, 0.97)[:, None]
        faces = quality * centres[block] + np.sqrt(1 - quality**2) * _directions(rng, len(block))
        X[start : start + len(block)] = faces / np.linalg.norm(faces, axis=1, keepdims=True)
    for start in range(known, n, 1 << 16):
        X[start : start + (1 << 16)] = _persons(rng, looks, min(1 << 16, n - start))
    _repeat(rng, X[:known], people, copies, bursts)

    labels = np.concatenate([people, len(centres) + np.arange(n - known)])
    order = rng.permutation(n)
    return Album(X[order], labels[order], order >= known)


def _people(rng: np.random.Generator, known: int, faces_per_person: float) -> NDArray[np.int64]:
    """Return the person of each face, ascending; nobody has a single face."""
    count = max(1, min(round(known / faces_per_person), known // 2))
    weights = 1.0 / np.arange(1, count + 1)
    sizes = 2 + rng.multinomial(max(0, known - 2 * count), weights / weights.sum())
    return np.repeat(np.arange(count), rng.permutation(sizes))[:known]


def _directions(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    vectors = rng.standard_normal((count, DIMENSIONS), dtype=np.float32) * np.sqrt(SPECTRUM, dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _persons(rng: np.random.Generator, looks: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    shared = looks[rng.integers(len(looks), size=count)]
    vectors = LIKENESS * shared + np.sqrt(1 - LIKENESS**2) * _directions(rng, count)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _repeat(
    rng: np.random.Generator, X: NDArray[np.float32], people: NDArray[np.int64], copies: float, bursts: float
) -> None:
    """Replace some faces by a copy or a near copy of the face before them, where that is of the same person."""
    draw = rng.random(len(X))
    again = np.flatnonzero((draw[1:] < copies + bursts) & (people[1:] == people[:-1])) + 1
    X[again] = X[again - 1]
    burst = again[draw[again] >= copies]
    shift = rng.uniform(0.05, 0.3, len(burst)).astype(np.float32)[:, None] * _directions(rng, len(burst))
    X[burst] += shift
    X[burst] /= np.linalg.norm(X[burst], axis=1, keepdims=True)


def measured_table(n: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of same and of different pairs within each of `DISTANCES`, in an album without repeats."""
    album = synthetic_album(n, seed, relatives=0.0, copies=0.0, bursts=0.0)
    X, people = album.embeddings, album.people
    limits = 1 - np.array(DISTANCES) ** 2 / 2
    same, different = np.zeros(len(limits)), np.zeros(len(limits))
    pairs = np.zeros(2)
    for start in range(0, n, 1000):
        products = X[start : start + 1000] @ X.T
        alike = people[start : start + 1000, None] == people
        later = np.arange(n) > np.arange(start, min(start + 1000, n))[:, None]
        for counts, kind, mask in ((same, 0, alike & later), (different, 1, ~alike & later)):
            values = products[mask]
            pairs[kind] += len(values)
            counts += [(values >= limit).sum() for limit in limits]
    return same / pairs[0], different / pairs[1]


def main() -> None:
    """Print the table of an album beside the one it should follow."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    same, different = measured_table(arguments.faces, arguments.seed)
    print("distance  same (real)      different (real)")
    for row in zip(DISTANCES, same, SAME, different, DIFFERENT, strict=True):
        print("{:.2f}      {:.3f} ({:.3f})    {:.1e} ({:.1e})".format(*row))


if __name__ == "__main__":
    main()

"""The tutorial of the FaceNet articles, with photocluster: five celebrities, learn from one part, name the other.

``python examples/celebrities.py [FOLDER]``

FOLDER holds a folder for each person; which photos are learnt from and which are to be named, their names say
(``train__....jpg``, ``val__....jpg``). Default: sets/celeb5 in $PHOTOCLUSTER_TEST_DATA, or in ../shared/data.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from photocluster.errors import PhotoError
from photocluster.identification import UNKNOWN, identify
from photocluster.pipeline.analysis import Analyser

LEARN, NAME = "train__", "val__"


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """One face a photo: embeddings (n, 128), people (n,) by number, and how many photos show none."""

    embeddings: NDArray[np.float32]
    people: NDArray[np.int64]
    without_face: int


@dataclass(frozen=True, slots=True)
class Answers:
    """Photos given the right name, a wrong one, and none."""

    right: int
    wrong: int
    unknown: int

    def __str__(self) -> str:
        """Return shares with counts."""
        total = self.right + self.wrong + self.unknown
        shares = {"right": self.right, "wrong": self.wrong, "unknown": self.unknown}
        return ", ".join(f"{n / total:6.1%} {word} ({n} of {total})" for word, n in shares.items())


def default_folder() -> Path:
    """Return the celebrities' place among the test data."""
    repository = Path(__file__).resolve().parents[1]
    return Path(os.environ.get("PHOTOCLUSTER_TEST_DATA", repository.parent / "shared/data")) / "sets/celeb5"


def read_part(analyser: Analyser, folder: Path, people: Sequence[str], prefix: str) -> Faces:
    """Return the largest face of each photo whose name begins with `prefix`."""
    embeddings, numbers, without_face = [], [], 0
    for number, person in enumerate(people):
        for path in sorted((folder / person).glob(f"{prefix}*")):
            try:
                _, found = analyser.read(path)
            except PhotoError as error:
                print(f"  skipped: {error}", file=sys.stderr)
                continue
            if found:
                largest = max(found, key=lambda face: face.quality.size)
                embeddings.append(largest.embedding)
                numbers.append(number)
            without_face += not found
    return Faces(np.array(embeddings, np.float32).reshape(-1, 128), np.array(numbers, np.int64), without_face)


def by_svm(known: Faces, asked: Faces) -> Answers:
    """Name faces by a linear support vector machine, as the tutorial does: it always knows a name."""
    names = SVC(kernel="linear").fit(known.embeddings, known.people).predict(asked.embeddings)
    return count(names, asked)


def by_default(known: Faces, asked: Faces) -> Answers:
    """Name faces as photocluster does: by the nearest person, or nobody."""
    return count(identify(asked.embeddings, known.embeddings, known.people).person, asked)


def count(names: NDArray[np.int64], asked: Faces) -> Answers:
    """Compare; a photo in which no face was found is unknown."""
    outcome = Counter(np.where(names == UNKNOWN, "unknown", np.where(names == asked.people, "right", "wrong")).tolist())
    return Answers(outcome["right"], outcome["wrong"], outcome["unknown"] + asked.without_face)


def with_a_stranger(known: Faces, asked: Faces, people: int) -> tuple[Answers, Answers]:
    """Leave one person after the other out of what is learnt, and ask for that person; no name is right."""
    totals = np.zeros((2, 3), dtype=np.int64)
    for stranger in range(people):
        others, own = known.people != stranger, asked.people == stranger
        gallery = Faces(known.embeddings[others], known.people[others], 0)
        probes = Faces(asked.embeddings[own], asked.people[own], 0)
        for row, answers in enumerate((by_svm(gallery, probes), by_default(gallery, probes))):
            totals[row] += (answers.right, answers.wrong, answers.unknown)
    return Answers(*totals[0].tolist()), Answers(*totals[1].tolist())


def main(arguments: Sequence[str]) -> int:
    """Walk through it."""
    folder = Path(arguments[0]) if arguments else default_folder()
    people = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len([person for person in people if any((folder / person).glob(f"{LEARN}*"))]) < 2:
        print(
            f"{folder}: there must be a folder for each of two or more people, with photos named {LEARN}....jpg to "
            f"learn from and {NAME}....jpg to name",
            file=sys.stderr,
        )
        return 2
    print(f"1. {len(people)} people: {', '.join(people)}.\n")

    analyser = Analyser()
    known, asked = (read_part(analyser, folder, people, prefix) for prefix in (LEARN, NAME))
    print(
        "2. In each photo the largest face is found, turned upright by its eyes, nose and mouth, and made into 128\n"
        f"   numbers: {len(known.people)} faces to learn from, {len(asked.people)} to name "
        f"({known.without_face + asked.without_face} photos without a face).\n"
    )
    if not len(asked.people):
        print(f"{folder}: no face in the photos named {NAME}....jpg, so there is nothing to name", file=sys.stderr)
        return 1

    print("3. The tutorial's way: a linear support vector machine learns the names.")
    print(f"   SVM on what it has learnt:  {by_svm(known, known)}")
    print(f"   SVM on new photos:          {by_svm(known, asked)}\n")

    print(
        "4. Our default, without training: the nearest person, if near enough and clearly nearer than the second;\n"
        "   otherwise nobody."
    )
    print(f"   default on new photos:      {by_default(known, asked)}\n")

    svm, default = with_a_stranger(known, asked, len(people))
    print(
        "5. In a photo library most faces are of people whom nobody named. So each person in turn is left out of what\n"
        "   is learnt, and asked for. The right answer is nobody, which a support vector machine cannot give."
    )
    print(f"   SVM on a stranger:          {svm}")
    print(f"   default on a stranger:      {default}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

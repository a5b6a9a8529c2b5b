"""What a review page needs of a library beyond the other verbs: what there is to ask, how far one is, what is shown.

Decisions are those of the other verbs: `decide` only sees to it that what the user saw when deciding is still so.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from photocluster import photos
from photocluster.errors import Outdated, UndecodablePhoto, UsageError
from photocluster.pipeline.exports import from_middle
from photocluster.pipeline.queries import FoundPhoto, find_photos_of
from photocluster.pipeline.showing import load_picture
from photocluster.pipeline.suggesting import Suggestion, agenda
from photocluster.records import DecodedPhoto, FaceRow, Source
from photocluster.sheet_plan import letters
from photocluster.store import Event, Library, PersonInfo
from photocluster.store.names import PROPAGATE

GOAL = 0.95
"""Part of the faces that shall carry a name: those that are left are strangers and blurs for the most part."""

SAMPLES = 6
"""Faces that stand for a cluster in a list."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one is: living faces, those with a name, and about how many decisions it takes to name `goal` of them."""

    faces: int
    named: int
    goal: float
    decisions: int


@dataclass(frozen=True, slots=True)
class ToAsk:
    """The questions worth most, how far one is, and the newest event that both know of."""

    suggestions: list[Suggestion]
    progress: Progress
    event: int


def to_ask(library: Library, *, limit: int) -> ToAsk:
    """Return what there is to ask in a library; takes seconds for 100,000 faces."""
    event = library.history.last()
    found = agenda(library, limit=limit)
    status = library.status()
    named = status.named_by_user + status.named_by_import + status.named_by_propagation
    needed = GOAL * status.faces - named
    return ToAsk(found.suggestions, Progress(status.faces, named, GOAL, decisions_needed(needed, found.values)), event)


def decisions_needed(faces: float, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int:
    """Return about how many answers name so many faces; what no question is about takes a decision each.

    Parameters
    ----------
    faces
        How many faces are still to be named.
    values
        (q,) the faces that each answer names, to be expected, most first.
    """
    if faces <= 0:
        return 0
    reached = np.cumsum(values)
    if len(reached) and reached[-1] >= faces:
        return int(np.searchsorted(reached, faces)) + 1
    left = faces - (float(reached[-1]) if len(reached) else 0.0)
    return len(values) + int(np.ceil(left))


def decide(library: Library, seen: Mapping[int, str | None], what: Callable[[], Result]) -> Result:
    """Do what the user decided, if what was shown is still so; nobody else can write in between.

    Parameters
    ----------
    seen
        Face -> the name that was shown with it, or None.
    what
        The verb.

    Raises
    ------
    Outdated
        A face carries another name by now; nothing is changed.
    """
    with library.together():
        for row in library.faces.several(seen):
            if row.person != seen[row.face]:
                now = f'carries the name "{row.person}"' if row.person else "carries no name any more"
                raise Outdated(f"f{row.face} {now}: that was said in the meantime. Nothing was changed; look again")
        return what()


def still_open(library: Library, questions: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Return for each question (see `suggesting.as_stored`) whether the user said nothing yet of one of its faces."""
    faces = {face for question in questions for face in question["faces"]}
    said = {face for face, a in library.names.assignments(faces).items() if a.source is not Source.PROPAGATED}
    free = faces - said - library.names.ignored().keys()
    refused: dict[int, set[int]] = {}
    for face, person in library.names.rejections(faces):
        refused.setdefault(person, set()).add(face)
    names = library.names.names()
    pairs = {frozenset(pair) for same in (True, False) for pair in library.questions.pairs(same=same)}
    return [_is_open(question, free, refused, names, pairs) for question in questions]


def _is_open(
    question: Mapping[str, Any],
    free: Collection[int],
    refused: Mapping[int, set[int]],
    names: Mapping[int, str],
    pairs: Collection[frozenset[int]],
) -> bool:
    person = question["person"]
    if person is not None and person not in names:
        return False
    if question["others"] and person is None and frozenset((question["faces"][0], question["others"][0])) in pairs:
        return False
    return any(face in free and face not in refused.get(person, ()) for face in question["faces"])


def everybody(library: Library) -> list[PersonInfo]:
    """Return the persons by name, the hidden ones at the end."""
    return sorted(library.names.persons(), key=lambda info: info.hidden)


def matching(infos: Sequence[PersonInfo], text: str, *, largest_first: bool) -> list[PersonInfo]:
    """Return the persons with a text in their name or an alias, whatever its case and accents."""
    sought = letters(text.strip())
    found = [info for info in infos if any(sought in letters(name) for name in (info.name, *info.aliases))]
    return sorted(found, key=lambda info: (info.hidden, -info.faces)) if largest_first else found


def covers(library: Library, infos: Sequence[PersonInfo]) -> dict[int, FaceRow]:
    """Return person -> the face that stands for it: the cover, or its best one; persons without a face are left out."""
    best = library.names.best_faces({info.id for info in infos if info.cover is None})
    shown = {info.id: info.cover if info.cover is not None else best.get(info.id) for info in infos}
    rows = {row.face: row for row in library.faces.several({face for face in shown.values() if face is not None})}
    return {person: rows[face] for person, face in shown.items() if face is not None and face in rows}


def person_faces(library: Library, person: int) -> list[tuple[int, float]]:
    """Return (face, distance to the middle of all) of a person's faces: guesses first, the farthest of each first."""
    named = library.faces.named(person)
    faces = [face for face, _, _ in named]
    distances = from_middle(library.embeddings()[faces]).tolist()
    guess = [source is Source.PROPAGATED for _, source, _ in named]
    order = sorted(range(len(faces)), key=lambda i: (not guess[i], -distances[i], faces[i]))
    return [(faces[i], distances[i]) for i in order]


def cluster_samples(library: Library, numbers: Sequence[int]) -> dict[int, list[FaceRow]]:
    """Return cluster -> its faces without a name that belong to it most surely, at most `SAMPLES`."""
    found = library.clusters.samples(numbers, SAMPLES)
    rows = {row.face: row for row in library.faces.several({face for faces in found.values() for face in faces})}
    return {number: [rows[face] for face in faces if face in rows] for number, faces in found.items()}


_OPERATOR = re.compile(r"(?:^|(?<=\s))([+\N{MINUS SIGN}-])")


@dataclass(frozen=True, slots=True)
class Search:
    """What "Ann + Ben - Carl" asks for: who is to be in a photo, and who not."""

    persons: tuple[str, ...]
    without: tuple[str, ...]


def parse_search(text: str) -> Search:
    """Return what is asked for; + and - count where a word begins, so that Anne-Marie is one name.

    Raises
    ------
    UsageError
        Nobody is to be in the photo, or a sign has no name behind it.
    """
    parts = _OPERATOR.split(text.strip())
    parts = ["+", *parts] if parts[0].strip() else parts[1:]
    signs, names = parts[::2], [" ".join(part.split()) for part in parts[1::2]]
    if not all(names):
        raise UsageError("write a name behind each + and -, as in: Ann + Ben - Carl")
    wanted = tuple(name for sign, name in zip(signs, names, strict=True) if sign == "+")
    if not wanted:
        raise UsageError("name at least one person to look for, as in: Ann + Ben - Carl")
    return Search(wanted, tuple(name for sign, name in zip(signs, names, strict=True) if sign != "+"))


def search(library: Library, text: str) -> list[FoundPhoto]:
    """Return the photos that a search such as "Ann + Ben - Carl" finds, by the time they were taken.

    Raises
    ------
    UsageError
        The search cannot be read.
    UnknownName
        There is no such person.
    """
    asked = parse_search(text)
    return find_photos_of(library, asked.persons, without=asked.without)


def picture_of(row: FaceRow, least_long_side: int) -> DecodedPhoto:
    """Return the picture of a face: its photo, or its frame of a video (where the content is not compared).

    Raises
    ------
    PhotoError
        The file is not there, cannot be decoded, or holds another photo by now.
    """
    if not row.path:
        raise UndecodablePhoto("no file with this photo is known any more")
    if row.time is not None:
        return load_picture(row, least_long_side)
    content = photos.read(Path(row.path))
    if hashlib.sha256(content).hexdigest() != row.photo:
        raise UndecodablePhoto("the file holds another photo by now; scan again")
    return photos.decode(content, longest_side=least_long_side)


def words_of(event: Event) -> str:
    """Return what was decided, as a sentence without a full stop."""
    arguments = event.arguments
    what = _SENTENCES.get(event.kind)
    if event.kind == "answer":
        said = {"yes": "Yes", "no": "No", "not-a-face": "No face", "ignore": "Nobody to name"}.get(arguments["answer"])
        return f"{arguments['words']} {_quoted(arguments['name']) if arguments['name'] else said}"
    if event.kind == PROPAGATE:
        faces = "1 face its name" if arguments["faces"] == 1 else f"{arguments['faces']:,} faces their names"
        return f"Gave {faces}, as they are surely like named ones"
    if what is None:
        return event.kind.replace("-", " ").capitalize()
    values = {
        key: str(value) if key == "event" else _listed(value, quoted=key in _NAMES) for key, value in arguments.items()
    }
    return what.format_map(defaultdict(str, values))


_NAMES = {"person", "persons", "name"}

_SENTENCES = {
    "label": "Named {targets} {person}",
    "unlabel": "Took the names off {targets}",
    "accept": "Confirmed {targets}",
    "reject": "{targets}: not {person}",
    "move": "Gave {targets} to {person}",
    "ignore": "Left out {targets}",
    "not-a-face": "Left out as no faces: {targets}",
    "unignore": "Took {targets} back in",
    "rename": "{person} is called {name} now",
    "merge": "Made {persons} one person",
    "split": "Split {target}",
    "cover": "{face} stands for its person",
    "person": "Changed what is known of {person}",
    "mirror": "Marked a photo that shows people more than once",
    "unmirror": "Unmarked a photo that shows people more than once",
    "undo": "Took back decision {event}",
    "redo": "Did decision {event} again",
    "restore": "Restored a backup",
    "carry": "Names went over to the new version of an edited photo",
    "import": "Took in names that other programs gave",
    "place": "Names that had waited for a face found it",
}

_MOST_LISTED = 4


def _listed(value: object, *, quoted: bool) -> str:
    values = value if isinstance(value, list) else [] if value is None else [value]
    shown = [_quoted(str(each)) if quoted else _pointed_at(str(each)) for each in values[:_MOST_LISTED]]
    return ", ".join(shown) + (f" and {len(values) - _MOST_LISTED} more" if len(values) > _MOST_LISTED else "")


def _quoted(name: str) -> str:
    """Return a name in quotes that a name from right to left does not turn round: within Unicode's isolates."""
    return f'"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"'


def _pointed_at(target: str) -> str:
    """Return what stands for "12" and "f345" in a sentence."""
    if target.isdecimal():
        return f"cluster {target}"
    return f"face {target[1:]}" if target[:1] in {"f", "F"} and target[1:].isdecimal() else target

"""From a JSON object that a page sends to the verb of the command line that it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from photocluster.errors import Outdated, UsageError
from photocluster.pipeline import history, ignoring, naming, persons, splitting
from photocluster.pipeline.reviewing import decide, words_of
from photocluster.pipeline.suggesting import Answer, answer_question
from photocluster.store import IgnoredKind, Library

MAX_FACES = 20_000
"""Faces of one decision."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a decision did: its event (None: nothing changed), and that as a sentence."""

    event: int | None
    words: str


class Request:
    """The fields of a JSON object; each getter raises `UsageError` for a value that cannot be meant."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def has(self, key: str) -> bool:
        """Return whether the field is given."""
        return self._fields.get(key) is not None

    def text(self, key: str) -> str:
        """Return a field that is text."""
        value = self._fields.get(key)
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f'"{key}" is missing')
        return value

    def number(self, key: str) -> int:
        """Return a field that is a whole number."""
        value = self._fields.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise UsageError(f'"{key}" is no number')
        return value

    def numbers(self, key: str) -> list[int]:
        """Return a field that is a list of whole numbers, each once."""
        values = self._fields.get(key, [])
        if not isinstance(values, list) or len(values) > MAX_FACES:
            raise UsageError(f'"{key}" is no list, or too long')
        return [Request({key: value}).number(key) for value in dict.fromkeys(values)]

    def flag(self, key: str) -> bool:
        """Return whether a field is true."""
        return self._fields.get(key) is True

    def targets(self) -> list[str]:
        """Return what is decided on, as the command line writes it: a cluster, or faces."""
        if self.has("cluster"):
            return [str(self.number("cluster"))]
        faces = self.numbers("faces")
        if not faces:
            raise UsageError("no face is chosen")
        return [f"f{face}" for face in faces]

    def seen(self) -> dict[int, str | None]:
        """Return face -> name, as they were shown when the user decided."""
        value = self._fields.get("seen", {})
        if not isinstance(value, dict) or len(value) > MAX_FACES or not all(k.isdecimal() for k in value):
            raise UsageError('"seen" is not an object of faces')
        return {int(face): name if isinstance(name, str) else None for face, name in value.items()}


Question = Callable[[str], dict[str, Any]]


def look_first(fields: Mapping[str, Any]) -> Callable[[Library], list[list[int]]] | None:
    """Return what takes seconds of computing before a decision, and changes nothing; None for most decisions."""
    request = Request(fields)
    if fields.get("do") != "split" or request.numbers("faces"):
        return None
    return lambda library: splitting.look_for_parts(library, _split_target(library, request))


def do(
    library: Library, fields: Mapping[str, Any], question: Question, parts: Sequence[Sequence[int]] | None = None
) -> Done:
    """Do what a page asks for.

    Parameters
    ----------
    fields
        ``do`` names the verb; the rest depends on it. ``seen``: see `Request.seen`.
    question
        Gives a question by its id.
    parts
        What `look_first` found.

    Raises
    ------
    Outdated
        What the user saw is different by now.
    UsageError, StoreError
        As of the verbs.
    """
    request = Request(fields)
    if request.text("do") == "answer":
        return _answer(library, request, question)
    verb = partial(_split, parts=parts) if request.text("do") == "split" else _VERBS.get(request.text("do"))
    if verb is None:
        raise UsageError(f"there is no decision {request.text('do')!r}")
    return decide(library, request.seen(), partial(verb, library, request))


def _faces(count: int) -> str:
    return f"{count:,} face{'' if count == 1 else 's'}"


def named_the_sure(named: Mapping[str, Any]) -> str:
    """Return what a propagation did as a sentence."""
    taken = named["taken_back"]
    return f"{_faces(named['faces'])} named as guesses" + (f", {_faces(taken)} not any more" if taken else "")


def _person(library: Library, number: int) -> str:
    """Return the name by which the verbs find a person.

    Raises
    ------
    Outdated
        There is no such person any more.
    """
    name = library.names.names().get(number)
    if name is None:
        raise Outdated("that person is gone: merged with another, or taken back. Look again")
    return name


def _answer(library: Library, request: Request, question: Question) -> Done:
    said = request.text("answer")
    if said not in set(Answer):
        raise UsageError(f"{said!r} is no answer")
    name = request.text("name") if request.has("name") else None
    asked = question(request.text("question"))
    try:
        report = answer_question(library, asked, Answer(said), name=name, without=request.numbers("without"))
    except Outdated as error:
        raise Outdated(
            "this was answered in the meantime, in another window or by a command; nothing is lost"
        ) from error
    return Done(report.event, report.words)


def _label(library: Library, request: Request) -> Done:
    report = naming.label(library, request.targets(), request.text("name"))
    left = [
        f"{_faces(len(faces))} {why}"
        for faces, why in (
            (report.kept, "kept another name that you gave"),
            (report.rejected, "not, since you said so"),
            (report.same_photo, "not, since another face of the same photo has that name"),
        )
        if faces
    ]
    return Done(report.event, "; ".join([f"{_faces(len(report.named))} named {report.person}", *left]))


def _changed(report: naming.FacesReport, what: str) -> Done:
    return Done(report.event, f"{_faces(len(report.faces))} {what}")


def _unlabel(library: Library, request: Request) -> Done:
    return _changed(naming.unlabel(library, request.targets()), "without a name now")


def _accept(library: Library, request: Request) -> Done:
    targets = [_person(library, request.number("person"))] if request.has("person") else request.targets()
    return _changed(naming.accept(library, targets), "confirmed")


def _reject(library: Library, request: Request) -> Done:
    name = _person(library, request.number("person"))
    return _changed(naming.reject(library, request.targets(), name), f"said not to be {name}")


def _move(library: Library, request: Request) -> Done:
    report = naming.move(library, request.targets(), request.text("name"))
    return _changed(report, f"given to {report.person}")


def _ignore(library: Library, request: Request) -> Done:
    kind = request.text("kind")
    if kind not in set(IgnoredKind):
        raise UsageError(f"{kind!r} is no reason to leave a face out")
    return _changed(ignoring.ignore(library, request.targets(), IgnoredKind(kind)), "left out")


def _unignore(library: Library, request: Request) -> Done:
    return _changed(ignoring.unignore(library, request.targets()), "taken back in")


def _cover(library: Library, request: Request) -> Done:
    report = persons.cover(library, f"f{request.number('face')}")
    return Done(report.event, f"this face stands for {report.person.name} now")


def _rename(library: Library, request: Request) -> Done:
    report = persons.rename(library, _person(library, request.number("person")), request.text("name"))
    return Done(report.event, f"the name is {report.person.name} now")


def _merge(library: Library, request: Request) -> Done:
    names = [_person(library, number) for number in request.numbers("persons")]
    report = persons.merge_persons(library, names, force=request.flag("force"))
    return Done(report.event, f"{', '.join(report.merged)} and {report.person} are one person now")


def _split_target(library: Library, request: Request) -> str:
    if request.has("cluster"):
        return str(request.number("cluster"))
    name = _person(library, request.number("person"))
    if name.isdecimal():
        raise UsageError(f'"{name}" would be read as the number of a cluster; rename the person first')
    return name


def _split(library: Library, request: Request, parts: Sequence[Sequence[int]] | None) -> Done:
    faces = [f"f{face}" for face in request.numbers("faces")]
    name = request.text("name") if request.has("name") else None
    report = splitting.split(library, _split_target(library, request), faces, to=name, parts=parts)
    made = [f"{_faces(len(part.faces))} to {part.person}" for part in report.parts if not part.stays]
    return Done(report.event, "; ".join(made))


def _hide(library: Library, request: Request) -> Done:
    hidden = request.flag("hidden")
    facts = persons.PersonFacts(hidden=hidden)
    report = persons.change_person(library, _person(library, request.number("person")), facts)
    return Done(report.event, f"{report.person.name} is {'hidden' if hidden else 'shown'} now")


def _mirror(library: Library, request: Request) -> Done:
    remove = request.flag("remove")
    report = ignoring.mirror(library, [f"f{request.number('face')}"], remove=remove)
    return Done(
        report.event, "the photo shows nobody twice" if remove else "the photo may show a person more than once"
    )


def _undo(library: Library, request: Request) -> Done:
    taken = history.undo(library, request.number("event") if request.has("event") else None)
    return Done(taken.event, f"taken back: {words_of(taken.concerned)}")


def _redo(library: Library, request: Request) -> Done:
    taken = history.redo(library, request.number("event") if request.has("event") else None)
    return Done(taken.event, f"decision {taken.concerned.arguments['event']} is done again")


_VERBS: dict[str, Callable[[Library, Request], Done]] = {
    "label": _label,
    "unlabel": _unlabel,
    "accept": _accept,
    "reject": _reject,
    "move": _move,
    "ignore": _ignore,
    "unignore": _unignore,
    "cover": _cover,
    "rename": _rename,
    "merge": _merge,
    "hide": _hide,
    "mirror": _mirror,
    "undo": _undo,
    "redo": _redo,
}

"""What the user says of persons: their names and facts, the face that stands for them, and that two are one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from photocluster.errors import UsageError
from photocluster.pipeline.targets import person_id, resolve
from photocluster.records import Source
from photocluster.store import Decision, Library, PersonInfo, box_of, clean_name, name_key, region_row

_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonFacts:
    """What to change of a person; None leaves it as it is. `born` is an ISO date, "" for not known."""

    add_aliases: tuple[str, ...] = ()
    remove_aliases: tuple[str, ...] = ()
    born: str | None = None
    note: str | None = None
    hidden: bool | None = None


@dataclass(frozen=True, slots=True)
class PersonReport:
    """The number of the event (None: nothing changed, or only tried) and the person as it is (or would be) now."""

    event: int | None
    person: PersonInfo


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a `merge` did.

    `merged` are the names that went into `person` and are its aliases now, `faces` counts the faces that changed their
    name, `rejections` the "not this person" that came along. `photos` holds the hashes of photos in which the person is
    now named twice.
    """

    event: int | None
    person: str
    merged: tuple[str, ...]
    faces: int
    rejections: int
    photos: tuple[str, ...]


def change_person(library: Library, name: str, facts: PersonFacts, *, dry_run: bool = False) -> PersonReport:
    """Change what is known of a person.

    Raises
    ------
    UnknownName
        Nobody has that name.
    UsageError
        An alias is somebody's name already, or the date is none.
    """
    person = person_id(library, name)
    with library.names.decide("person", {"person": name, **_given(facts)}, dry_run=dry_run) as decision:
        for alias in facts.remove_aliases:
            row = decision.get("alias", {"key": name_key(alias)})
            if row is None or row["person"] != person:
                raise UsageError(f'"{alias}" is no alias of {name}; see: photocluster person "{name}"')
            decision.remove("alias", row)
        for alias in facts.add_aliases:
            add_alias(decision, person, alias)
        row = decision.get("person", {"id": person}) or {}
        if facts.born is not None:
            row["born"] = _date(facts.born) if facts.born else None
        if facts.note is not None:
            row["note"] = facts.note.strip()
        if facts.hidden is not None:
            row["hidden"] = int(facts.hidden)
        decision.put("person", row)
        info = library.names.person(person)
    return PersonReport(decision.event, info)


def _given(facts: PersonFacts) -> dict[str, object]:
    """Return the facts that are to be changed, for the log."""
    values = {
        "add_aliases": list(facts.add_aliases) or None,
        "remove_aliases": list(facts.remove_aliases) or None,
        "born": facts.born,
        "note": facts.note,
        "hidden": facts.hidden,
    }
    return {key: value for key, value in values.items() if value is not None}


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f'"{text}" is no date; write it as 2010-05-01') from error


def add_alias(decision: Decision, person: int, alias: str) -> None:
    """Give a person another name, unless it goes by that already.

    Raises
    ------
    UsageError
        Somebody else goes by it.
    """
    alias = clean_name(alias)
    holder = decision.named(alias)
    if holder not in {None, person}:
        raise UsageError(f'somebody else goes by "{alias}"; are they one person? See: photocluster merge --help')
    if holder is None:
        decision.put("alias", {"key": name_key(alias), "name": alias, "person": person})


def rename(library: Library, old: str, new: str, *, merge: bool = False, dry_run: bool = False) -> PersonReport:
    """Give a person another name.

    Parameters
    ----------
    merge
        Where somebody has the new name already, the two become one.

    Raises
    ------
    UnknownName
        Nobody has the old name.
    UsageError
        Somebody else has the new one.
    """
    person = person_id(library, old)
    new = clean_name(new)
    other = library.names.person_id(new)
    if other not in {None, person}:
        if not merge:
            raise UsageError(f'there is a person "{new}" already; give another name, or --merge to make the two one')
        report = merge_persons(library, [new, old], dry_run=dry_run)
        return PersonReport(report.event, library.names.person(person_id(library, new)))
    with library.names.decide("rename", {"person": old, "name": new}, dry_run=dry_run) as decision:
        decision.remove("alias", {"key": name_key(new)})
        row = decision.get("person", {"id": person}) or {}
        decision.put("person", {**row, "name": new, "key": name_key(new)})
        info = library.names.person(person)
    return PersonReport(decision.event, info)


def cover(library: Library, face: str, *, dry_run: bool = False) -> PersonReport:
    """Let a face stand for the person whose name it carries; a propagated name becomes the user's word by this.

    Raises
    ------
    UnknownName, UsageError
    """
    rows = resolve(library, face).faces
    if len(rows) != 1:
        raise UsageError(f"{face}: give one face (f345)")
    assignment = library.names.assignments([rows[0].face]).get(rows[0].face)
    if assignment is None:
        raise UsageError(f"{face} carries no name; name it first: photocluster label {face} NAME")
    with library.names.decide("cover", {"face": face}, dry_run=dry_run) as decision:
        if assignment.source is Source.PROPAGATED:
            decision.assign(rows[0].face, assignment.person, Source.USER)
        decision.put("cover", {"person": assignment.person, "face": rows[0].face})
        info = library.names.person(assignment.person)
    return PersonReport(decision.event, info)


def merge_persons(library: Library, names: Sequence[str], *, force: bool = False, dry_run: bool = False) -> MergeReport:
    """Make persons one: the first keeps its name, the names of the others become its aliases.

    Faces, rejections, names that wait for a face, and aliases move along; birth date, note and cover where the first
    has none.

    Raises
    ------
    UnknownName
        Nobody goes by one of the names.
    UsageError
        Fewer than two persons; or they were seen together in a photo, and `force` is not given.
    """
    persons = list(dict.fromkeys(person_id(library, name) for name in names))
    if len(persons) < 2:
        raise UsageError("name at least two different persons to merge")
    into, others = persons[0], persons[1:]
    twice = _seen_together(library, persons)
    if twice and not force:
        shown = ", ".join(sorted(twice.values())[:_LISTED])
        raise UsageError(
            f"they were named side by side in {len(twice)} photos, thus are different people ({shown}). If they are "
            "one, mark those photos (photocluster mirror PHOTO) or give --force"
        )
    merged = [library.names.name(person) for person in others]
    with library.names.decide("merge", {"persons": list(names)}, dry_run=dry_run) as decision:
        merging = _Merge(decision, into)
        for other in others:
            merging.take_in(other)
        name = library.names.name(into)
    return MergeReport(decision.event, name, tuple(merged), merging.faces, merging.rejections, tuple(sorted(twice)))


def _seen_together(library: Library, persons: Sequence[int]) -> dict[str, str]:
    """Return photo hash -> path of the photos in which several of the persons are named, mirrors left out.

    In a video they are seen together where one frame shows both.
    """
    seen: dict[tuple[str, float | None], set[int]] = {}
    paths: dict[str, str] = {}
    for person in persons:
        for row in library.faces.rows(person=person):
            if row.source is not Source.PROPAGATED:
                seen.setdefault((row.photo, row.time), set()).add(person)
                paths[row.photo] = row.path or row.photo[:12]
    mirrors = library.names.mirrors()
    return {photo: paths[photo] for (photo, _), who in seen.items() if len(who) > 1 and photo not in mirrors}


class _Merge:
    """Brings persons into one, within a decision."""

    def __init__(self, decision: Decision, into: int) -> None:
        self._decision = decision
        self._into = into
        self.faces = self.rejections = 0

    def take_in(self, other: int) -> None:
        self._take_rejections(other)
        self._take_cover_and_faces(other)
        self._take_waiting(other)
        self._take_regions(other)
        self._take_facts(other)

    def _take_rejections(self, other: int) -> None:
        for row in self._decision.rows_of_person("rejection", other):
            self._decision.remove("rejection", row)
            said = self._decision.get("assignment", row)
            if said is not None and said["source"] != Source.PROPAGATED.value and said["person"] in {self._into, other}:
                continue  # the user's word that it is one of the two is the stronger one
            self._decision.put("rejection", {"face": row["face"], "person": self._into})
            self.rejections += 1

    def _take_cover_and_faces(self, other: int) -> None:
        cover = self._decision.get("cover", {"person": other})
        for row in self._decision.rows_of_person("assignment", other):
            self._decision.assign(row["face"], self._into, Source(row["source"]), row["distance"])
            self.faces += 1
        if cover is not None:
            self._decision.remove("cover", cover)
            if self._decision.get("cover", {"person": self._into}) is None:
                self._decision.put("cover", {"person": self._into, "face": cover["face"]})

    def _take_waiting(self, other: int) -> None:
        for row in self._decision.waiting():
            entry = json.loads(row["entry"])
            refused = [self._into if person == other else person for person in entry["rejected"]]
            person = self._into if entry["person"] == other else entry["person"]
            changed = {**entry, "person": person, "rejected": sorted(set(refused) - {person})}
            if changed != entry:
                self._decision.remove("waiting", row)
                key = row["key"].replace(f" region {other} ", f" region {self._into} ")
                self._decision.put("waiting", {"key": key, "entry": json.dumps(changed, sort_keys=True)})

    def _take_regions(self, other: int) -> None:
        for row in self._decision.rows_of_person("region", other):
            self._decision.remove("region", row)
            moved = region_row(row["photo"], self._into, box_of(row), row["origin"])
            if self._decision.get("region", moved) is None:
                self._decision.put("region", moved)

    def _take_facts(self, other: int) -> None:
        own = self._decision.get("person", {"id": self._into}) or {}
        gone = self._decision.get("person", {"id": other}) or {}
        for row in self._decision.rows_of_person("alias", other):
            self._decision.put("alias", {**row, "person": self._into})
        self._decision.remove_person(other)
        self._decision.put("alias", {"key": gone["key"], "name": gone["name"], "person": self._into})
        note = "\n".join(dict.fromkeys(text for text in (own["note"], gone["note"]) if text))
        self._decision.put("person", {**own, "born": own["born"] or gone["born"], "note": note})

"""The log of the user's decisions: listing it, and taking an event back.

The log only grows: an undo is an event of its own, which takes another back, and a redo takes an undo back. An event is
in force unless an event in force takes it back.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from photocluster.errors import UsageError
from photocluster.store.database import Database
from photocluster.store.journal import TABLES, Change, Decision, Row, is_guess
from photocluster.store.names import Names

UNDO, REDO = "undo", "redo"
ALONG = "along"
"""The argument of an undo or redo that lists the automatic events which it takes back besides."""

AUTOMATIC: Final = frozenset({"carry", "place"})
"""Events that no command of the user made: undone only by number."""

_NAMED_AT_MOST = 5
_READ_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Event:
    """A decision: its number, when (ISO 8601, UTC), what, how many rows it changed.

    `takes_back` is the event that it undoes, or the undo that it redoes; `in_force` is False for what was undone.
    """

    id: int
    at: str
    kind: str
    arguments: dict[str, Any]
    changes: int
    takes_back: int | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What an undo or redo did: the event concerned, its own event (None: only tried), and how many rows it changed.

    `along` are the events that no command made and that built on it, newest first: they were taken back before it.
    """

    concerned: Event
    event: int | None
    changes: int
    along: tuple[Event, ...] = ()


class _InTheWay(Exception):
    """Rows that are not as an event left them."""

    def __init__(self, clashes: Iterable[tuple[object, ...]]) -> None:
        super().__init__()
        self.clashes = frozenset(clashes)


class History:
    """The events of a library."""

    def __init__(self, database: Database, names: Names) -> None:
        self._database = database
        self._names = names

    def events(self) -> list[Event]:
        """Return all events, newest first."""
        return list(self.newest())

    def newest(self) -> Iterator[Event]:
        """Yield the events, newest first, reading no more of the log than is asked for."""
        query = (
            "SELECT id, at, kind, arguments, json_array_length(changes), takes_back FROM event "
            f"WHERE id < ? ORDER BY id DESC LIMIT {_READ_AT_ONCE}"
        )
        void: set[int] = set()
        before = sys.maxsize
        while rows := self._database.execute(query, (before,)).fetchall():
            for number, at, kind, arguments, changes, takes_back in rows:
                if takes_back is not None and number not in void:
                    void |= {takes_back, *json.loads(arguments).get(ALONG, ())}
                yield Event(number, at, kind, json.loads(arguments), changes, takes_back, number not in void)
            before = rows[-1][0]

    def last(self) -> int:
        """Return the number of the newest event; 0 without any."""
        return int(self._database.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0])

    def faces_of(self, event: int, limit: int) -> list[int]:
        """Return the faces that an event changed something of, at most `limit`, in the order of the log."""
        query = (
            "SELECT DISTINCT coalesce(json_extract(value, '$[2].face'), json_extract(value, '$[1].face')) AS face "
            "FROM event, json_each(changes) WHERE event.id = ? AND face IS NOT NULL LIMIT ?"
        )
        return [row[0] for row in self._database.execute(query, (event, limit))]

    def take_back(self, event: Event, kind: str, *, dry_run: bool = False) -> TakenBack:
        """Put everything back as it was before an event, as an event of the given kind.

        What later guesses say does not stand in the way; what later decisions say does. A person that the event made
        stays if something else was said of it since. Faces and photos that were forgotten are left out. Automatic
        events that built on it are taken back with it.

        Raises
        ------
        UsageError
            Later decisions concern the same rows; the message names them.
        """
        along: tuple[Event, ...] = ()
        arguments: dict[str, Any] = {"event": event.takes_back if kind == REDO else event.id}
        while True:
            more = {**arguments, ALONG: [other.id for other in along]} if along else arguments
            try:
                with self._names.decide(kind, more, takes_back=event.id, dry_run=dry_run) as decision:
                    for each in (*along, event):
                        clashes = _Inverse(decision, self._net_changes(each.id)).apply()
                        if clashes:
                            raise _InTheWay(clashes)  # noqa: TRY301  the way out of the transaction
            except _InTheWay as found:
                later = self._later(event, found.clashes)
                automatic = [other for other in later if other.kind in AUTOMATIC]
                new = {other.id: other for other in (*along, *automatic)}
                if len(automatic) < len(later) or len(new) == len(along):
                    raise UsageError(_clash_message(event, kind, later)) from None
                along = tuple(other for _, other in sorted(new.items(), reverse=True))
            else:
                return TakenBack(event, decision.event, len(decision.changes), along)

    def _net_changes(self, event: int) -> list[Change]:
        """Return one change a row of an event: the first row before, the last row after."""
        (text,) = self._database.execute("SELECT changes FROM event WHERE id = ?", (event,)).fetchone()
        net: dict[tuple[object, ...], Change] = {}
        for table, before, after in json.loads(text):
            key = row_key(table, before or after)
            first = net[key][1] if key in net else before
            net[key] = (table, first, after)
        return [change for change in net.values() if change[1] != change[2]]

    def _later(self, event: Event, clashes: frozenset[tuple[object, ...]]) -> list[Event]:
        """Return the later events in force that touched some rows, newest first."""
        later = []
        for other in self.newest():
            if other.id <= event.id:
                break
            if not other.in_force:
                continue
            (text,) = self._database.execute("SELECT changes FROM event WHERE id = ?", (other.id,)).fetchone()
            touched = {row_key(table, before or after) for table, before, after in json.loads(text)}
            if clashes & (touched | {("face", key[1]) for key in touched if key[0] in _OF_FACES}):
                later.append(other)
        return [other for other in later if other.kind not in {UNDO, REDO}] or later


def _clash_message(event: Event, kind: str, later: list[Event]) -> str:
    """Say which later events are in the way."""
    later = [other for other in later if other.kind not in AUTOMATIC] or later
    shown = ", ".join(f"event {other.id} ({other.kind})" for other in later[:_NAMED_AT_MOST])
    more = f" and {len(later) - _NAMED_AT_MOST} more" if len(later) > _NAMED_AT_MOST else ""
    what = "redone" if kind == REDO else "undone"
    number = event.takes_back if kind == REDO else event.id
    if not later:
        return (
            f"event {number} cannot be {what}: what it changed is different now (photos were forgotten, or the "
            "log was written by another version). See: photocluster history"
        )
    return (
        f"event {number} cannot be {what} by itself: {shown}{more} changed the same faces or persons later. "
        f"First take that back: photocluster {_opposite(later[0])}"
    )


def _opposite(event: Event) -> str:
    """Return the command that takes an event back."""
    if event.kind in {UNDO, REDO}:
        return f"{REDO if event.kind == UNDO else UNDO} {event.arguments['event']}"
    return f"{UNDO} {event.id}"


_OF_FACES = frozenset({"assignment", "rejection", "ignored"})
_OF_NAMES = frozenset({"person", "alias"})


def row_key(table: str, row: Row) -> tuple[object, ...]:
    """Return what tells a row of a journaled table from all others."""
    return (table, *(row[column] for column in TABLES[table][0]))


class _Inverse:
    """Applies the inverse of changes within a decision."""

    def __init__(self, decision: Decision, changes: list[Change]) -> None:
        self._decision = decision
        self._changes = changes
        self._clashes: list[tuple[object, ...]] = []
        self._made: list[int] = []
        self._puts: list[tuple[str, Row]] = []
        self._back = {before["id"] for table, before, _ in changes if table == "person" and before is not None}

    def apply(self) -> list[tuple[object, ...]]:
        """Apply the inverse; return the keys of the rows that stand in the way (then the decision must not be kept)."""
        self._decision.defer_references()
        for change in self._changes:
            self._sort_out(*change)
        names = [(table, row) for table, row in self._puts if table in _OF_NAMES]
        for table, row in self._puts:
            if table not in _OF_NAMES:
                self._decision.put(table, row)
            elif table == "alias":
                self._decision.remove(table, row)  # it may be somebody else's, who goes
        for person in self._made:
            if not self._decision.is_spoken_of(person):
                self._decision.remove_person(person)
        for table, row in names:
            self._put_name(table, row)
        self._contradictions()
        return self._clashes

    def _sort_out(self, table: str, before: Row | None, after: Row | None) -> None:
        """Remove a row that was added, note one that is to be put back, or that it is not as the event left it."""
        there = before or after or {}
        row, left = self._decision.standing(table, before), self._decision.standing(table, after)
        current = self._decision.get(table, there)
        if table == "person" and row is None:
            if current is not None and current == left:
                self._made.append(current["id"])
            return
        if table == "assignment" and is_guess(before) and is_guess(after) and not is_guess(current):
            return  # only a guess was changed, and the user named the face since
        if not _same(table, current, left):
            self._clashes.append(row_key(table, there))
            return
        row = self._with_its_person(table, row)
        if row is not None:
            self._puts.append((table, row))
        elif current is not None:
            self._decision.remove(table, current)

    def _with_its_person(self, table: str, row: Row | None) -> Row | None:
        """Return the row, unless its person is gone and does not come back: then a guess is dropped."""
        if row is None or table == "person" or "person" not in row or row["person"] in self._back:
            return row
        if self._decision.get("person", {"id": row["person"]}) is not None:
            return row
        if table == "assignment" and is_guess(row):
            return None
        self._clashes.append(("person", row["person"]))
        return None

    def _put_name(self, table: str, row: Row) -> None:
        """Put a person or an alias back, unless that name is somebody else's now."""
        holder = self._decision.named(row["key"])
        if holder not in {None, row["id"] if table == "person" else row["person"]}:
            self._clashes += [("person", holder), ("alias", row["key"])]
            return
        self._decision.put(table, row)

    def _contradictions(self) -> None:
        """Note faces of which the user's words would contradict each other after this."""
        faces = {(before or after or {})["face"] for table, before, after in self._changes if table in _OF_FACES}
        for face in sorted(faces):
            named = self._decision.get("assignment", {"face": face})
            if named is None or is_guess(named):
                continue
            if self._decision.get("ignored", {"face": face}) or self._decision.get("rejection", named):
                self._clashes.append(("face", face))


def _same(table: str, current: Row | None, expected: Row | None) -> bool:
    """Return whether a row is still as an event left it; a guess is as good as no name."""
    if current == expected:
        return True
    return table == "assignment" and is_guess(current) and is_guess(expected)

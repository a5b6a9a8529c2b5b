"""A plain model of what the user said: cells in a dict, and events that are differences of such dicts.

A cell is (table, key) -> value; what is not there is None. Persons are counted by the model itself (`who`), so that
nothing of the library's own bookkeeping is taken over. A face is its row number, a photo its hash.

===========================  ==================================
("person", who)              (name, born, note, hidden)
("alias", key)               (name, who)
("named", face)              (who, "user" or "imported")
("refused", face, who)       True
("ignored", face)            kind
("cover", who)               face
("mirror", photo)            True
("pair", face, face)         whether they are one person
("region", photo, who, box)  True
===========================  ==================================
"""

from __future__ import annotations

from dataclasses import dataclass, field

from photocluster.store import name_key

Cell = tuple
State = dict


@dataclass
class Event:
    kind: str
    cells: dict[Cell, tuple]
    takes_back: int | None = None


@dataclass
class Model:
    state: State = field(default_factory=dict)
    events: dict[int, Event] = field(default_factory=dict)
    persons: int = 0

    # Looking

    def who(self, name: str) -> int | None:
        key = name_key(name)
        for cell, value in self.state.items():
            if cell[0] == "person" and name_key(value[0]) == key:
                return cell[1]
        alias = self.state.get(("alias", key))
        return None if alias is None else alias[1]

    def names(self) -> dict[int, str]:
        return {cell[1]: value[0] for cell, value in self.state.items() if cell[0] == "person"}

    def part(self, table: str) -> dict:
        return {cell[1:]: value for cell, value in self.state.items() if cell[0] == table}

    def in_force(self, number: int) -> bool:
        return not any(e.takes_back == number and self.in_force(n) for n, e in self.events.items() if n > number)

    # Saying

    def person(self, name: str) -> int:
        found = self.who(name)
        if found is None:
            self.persons += 1
            found = self.persons
            self.state["person", found] = (name, None, "", False)
        return found

    def named(self, face: int) -> int | None:
        """Return who a face is, by the user's or an import's word."""
        return self.state.get(("named", face), (None,))[0]

    def name(self, face: int, who: int, source: str = "user") -> None:
        self.state.pop(("refused", face, who), None)
        self.state.pop(("ignored", face), None)
        self._uncover(face, who)
        self.state["named", face] = (who, source)

    def unname(self, face: int) -> None:
        self._uncover(face, None)
        self.state.pop(("named", face), None)

    def refuse(self, face: int, who: int) -> None:
        if self.named(face) == who:
            self.unname(face)
        self.state["refused", face, who] = True

    def ignore(self, face: int, kind: str) -> None:
        self.unname(face)
        self.state["ignored", face] = kind

    def merge(self, into: int, other: int) -> None:
        born, note, hidden = self.state["person", into][1:]
        other_name, other_born, other_note, _ = self.state["person", other]
        cover = self.state.get(("cover", other))
        for face, who in [cell[1:] for cell in self.state if cell[0] == "refused" and cell[2] == other]:
            del self.state["refused", face, who]
            if self.named(face) not in {into, other}:
                self.state["refused", face, into] = True
        for (face,), (who, source) in self.part("named").items():
            if who == other:
                self.name(face, into, source)
        for photo, who, box in self.part("region"):
            if who == other:
                del self.state["region", photo, who, box]
                self.state["region", photo, into, box] = True
        self.state.pop(("cover", other), None)
        if cover is not None:
            self.state.setdefault(("cover", into), cover)
        for (key,), (name, who) in self.part("alias").items():
            if who == other:
                self.state["alias", key] = (name, into)
        del self.state["person", other]
        self.state["alias", name_key(other_name)] = (other_name, into)
        notes = "\n".join(dict.fromkeys(text for text in (note, other_note) if text))
        self.state["person", into] = (self.state["person", into][0], born or other_born, notes, hidden)

    def _uncover(self, face: int, keep: int | None) -> None:
        for (who,), covering in self.part("cover").items():
            if covering == face and who != keep:
                del self.state["cover", who]

    # The log

    def note(self, number: int | None, kind: str, before: State, takes_back: int | None = None) -> None:
        """Note the event of what was said since `before`; the library made an event if and only if something was."""
        cells = {
            cell: (before.get(cell), self.state.get(cell))
            for cell in before.keys() | self.state.keys()
            if before.get(cell) != self.state.get(cell)
        }
        if number is None:
            assert not cells, f"{kind} changed {cells} and made no event"
        elif number not in self.events:
            self.events[number] = Event(kind, cells, takes_back)

    def last(self, kinds: set[str] | None = None) -> int | None:
        """Return the newest event in force, of some kinds or of the user's own."""
        for number in sorted(self.events, reverse=True):
            kind = self.events[number].kind
            if (kind in kinds if kinds else kind not in {"undo", "redo", "carry", "place"}) and self.in_force(number):
                return number
        return None

    def without(self, number: int) -> State | None:
        """Return the state with an event taken back, or None where later words stand in the way."""
        state = dict(self.state)
        cells = self.events[number].cells
        back = {cell[1] for cell, (was, _) in cells.items() if cell[0] == "person" and was is not None}
        made = []
        for cell, (was, left) in cells.items():
            if cell[0] == "person" and was is None:
                if state.get(cell) == left:
                    made.append(cell[1])
                continue
            if state.get(cell) != left:
                return None
            if was is None:
                state.pop(cell, None)
            else:
                state[cell] = was
        for who in made:
            if not any(who in _persons_of(cell, value) for cell, value in state.items() if cell[0] != "person"):
                del state["person", who]
        return state if _is_sound(state, cells, back) else None

    def forget(self, faces: set[int], photo: str) -> None:
        """Nothing of these faces and of that photo was ever said."""

        def gone(cell: Cell, value: object) -> bool:
            at_face = cell[0] in {"named", "refused", "ignored"} and cell[1] in faces
            in_pair = cell[0] == "pair" and not faces.isdisjoint(cell[1:])
            in_photo = cell[:2] in {("mirror", photo), ("region", photo)}
            return at_face or (cell[0] == "cover" and value in faces) or in_pair or in_photo

        self.state = {cell: value for cell, value in self.state.items() if not gone(cell, value)}
        for event in self.events.values():
            event.cells = {
                cell: tuple(None if gone(cell, value) else value for value in pair)
                for cell, pair in event.cells.items()
            }
            event.cells = {cell: pair for cell, pair in event.cells.items() if pair[0] != pair[1]}


def _persons_of(cell: Cell, value: object) -> tuple:
    table = cell[0]
    if table == "named":
        return value[:1]
    if table == "alias":
        return (value[1],)
    return {"refused": cell[2:], "cover": cell[1:], "region": cell[2:3]}.get(table, ())


def _is_sound(state: State, cells: dict[Cell, tuple], back: set[int]) -> bool:
    """Whether no name is two persons', nobody is named after somebody who is gone, and no face is two things."""
    persons = {cell[1] for cell in state if cell[0] == "person"}
    keys = [name_key(value[0]) for cell, value in state.items() if cell[0] == "person"]
    keys += [cell[1] for cell in state if cell[0] == "alias"]
    if len(keys) != len(set(keys)):
        return False
    for cell, value in state.items():
        if cell[0] != "person" and not persons.issuperset(_persons_of(cell, value)):
            return False
    return not any(
        ("ignored", cell[1]) in state or ("refused", cell[1], value[0]) in state
        for cell, value in state.items()
        if cell[0] == "named"
    )

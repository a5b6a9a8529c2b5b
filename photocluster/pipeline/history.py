"""Undo and redo: which event is meant, and taking it back."""

from __future__ import annotations

from collections.abc import Iterable

from photocluster.errors import UsageError
from photocluster.pipeline.carrying import carry_names
from photocluster.pipeline.importing import place_kept
from photocluster.store import Event, Library, TakenBack
from photocluster.store.history import AUTOMATIC, REDO, UNDO


def undo(library: Library, number: int | None = None, *, dry_run: bool = False) -> TakenBack:
    """Take back the last decision that is in force, or that of a number.

    A decision takes its rows back to what they were before it, propagated names included. One that later decisions
    built on cannot be taken back by itself. What scans did with its names (`place`, `carry`) is taken back along with
    it, and done again for the names that stay.

    Raises
    ------
    UsageError
        There is no such decision, it is undone already, or later ones stand in the way.
    """
    if number is None:
        wanted = (
            e for e in library.history.newest() if e.in_force and e.kind not in {UNDO, REDO} and e.kind not in AUTOMATIC
        )
        last = next(wanted, None)
        if last is None:
            raise UsageError("there is nothing to undo; see: photocluster history")
        return _take_back(library, last, UNDO, dry_run=dry_run)
    event = _event(library.history.newest(), number)
    if not event.in_force:
        raise UsageError(f"event {number} is undone already; to do it again: photocluster redo {number}")
    if event.kind in {UNDO, REDO}:
        opposite = REDO if event.kind == UNDO else UNDO
        raise UsageError(
            f"event {number} only took something back; say: photocluster {opposite} {event.arguments['event']}"
        )
    return _take_back(library, event, UNDO, dry_run=dry_run)


def redo(library: Library, number: int | None = None, *, dry_run: bool = False) -> TakenBack:
    """Do again what was undone last, or the undone event of a number.

    Raises
    ------
    UsageError
        Nothing was undone, or decisions were made since (then the number has to be given), or they stand in the way.
    """
    events = library.history.events()
    undone = [event for event in events if event.kind == UNDO and event.in_force]
    if number is not None:
        _event(events, number)
        undone = [event for event in undone if event.arguments["event"] == number]
        if not undone:
            raise UsageError(f"event {number} is not undone; see: photocluster history")
        return _take_back(library, undone[0], REDO, dry_run=dry_run)
    if not undone:
        raise UsageError("nothing was undone; see: photocluster history")
    since = [e for e in events if e.id > undone[0].id and e.kind not in {UNDO, REDO} | AUTOMATIC]
    if since:
        number = undone[0].arguments["event"]
        raise UsageError(
            f"event {since[0].id} ({since[0].kind}) was decided since the last undo; to do event {number} again all "
            f"the same: photocluster redo {number}"
        )
    return _take_back(library, undone[0], REDO, dry_run=dry_run)


def _take_back(library: Library, event: Event, kind: str, *, dry_run: bool) -> TakenBack:
    done = library.history.take_back(event, kind, dry_run=dry_run)
    if done.along and not dry_run:
        carry_names(library)
        place_kept(library)
    return done


def _event(events: Iterable[Event], number: int) -> Event:
    found = next((event for event in events if event.id <= number), None)
    if found is None or found.id != number:
        raise UsageError(f"there is no event {number}; see: photocluster history")
    return found

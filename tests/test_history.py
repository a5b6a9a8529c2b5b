"""The log of decisions: what undo gives back, what it refuses, and what it leaves out."""

from __future__ import annotations

import json
import sqlite3

import pytest
from making import RECIPE, dump, face, scanned, unit_vector

from photocluster.errors import UsageError
from photocluster.pipeline.history import redo, undo
from photocluster.pipeline.ignoring import ignore, mirror
from photocluster.pipeline.naming import label, move, reject, unlabel
from photocluster.pipeline.persons import PersonFacts, change_person, cover, merge_persons, rename
from photocluster.pipeline.recognition import propagate
from photocluster.records import Source
from photocluster.store import Library

TABLES = ("person", "alias", "assignment", "rejection", "ignored", "cover", "mirror", "waiting")


@pytest.fixture
def library(library_folder):
    """Eleven photos of one face each; faces 0 to 4 are one person, 5 to 9 another, 10 a third."""
    with Library(library_folder, recipe=RECIPE, create=True) as library:
        for i in range(11):
            library.photos.add([scanned(f"/{i}", str(i), [face(unit_vector(i // 5))])])
        yield library


def everything(library: Library) -> dict[str, list]:
    return dump(library.folder, TABLES)


def named(library: Library) -> dict[int, str]:
    return {row.face: row.person for row in library.faces.rows() if row.person}


def kinds(library: Library) -> list[tuple[str, bool]]:
    return [(event.kind, event.in_force) for event in reversed(library.history.events())]


def test_undo_of_a_merge_gives_back_exactly_what_was_there(library):
    label(library, ["f0", "f1"], "Ann")
    label(library, ["f5", "f6"], "Ben")
    change_person(library, "Ben", PersonFacts(add_aliases=("Benny", "B"), born="2010-05-01", note="tall", hidden=True))
    cover(library, "f5")
    reject(library, ["f10", "f0"], "Ben")
    propagate(library)
    before = everything(library)
    assert len(before["assignment"]) == 10
    merge_persons(library, ["Ann", "Ben"])
    merged = everything(library)
    assert merged != before
    undo(library)
    assert everything(library) == before
    redo(library)
    assert everything(library) == merged
    undo(library)
    assert everything(library) == before


def test_undo_and_redo_walk_back_and_forth(library):
    states = [everything(library)]
    for decide in (
        lambda: label(library, ["f0-f4"], "Ann"),
        lambda: move(library, ["f3"], "Ben"),
        lambda: ignore(library, ["f4"]),
        lambda: mirror(library, ["f4"]),
        lambda: rename(library, "Ann", "Anna"),
    ):
        decide()
        states.append(everything(library))
    for state in reversed(states[:-1]):
        undo(library)
        assert everything(library) == state
    with pytest.raises(UsageError, match="nothing to undo"):
        undo(library)
    for state in states[1:]:
        redo(library)
        assert everything(library) == state
    with pytest.raises(UsageError, match="nothing was undone"):
        redo(library)
    assert len(library.history.events()) == 15


def test_a_guess_that_a_name_replaced_comes_back_as_a_guess(library):
    label(library, ["f0"], "Ann")
    propagate(library)
    before = everything(library)
    label(library, ["f1"], "Ben")
    undo(library)
    assert everything(library) == before
    assert library.names.assignments()[1].source is Source.PROPAGATED


def test_a_person_that_an_undo_removes_takes_its_guesses_along(library):
    label(library, ["f0"], "Ann")
    propagate(library)
    undo(library)
    assert (everything(library)["person"], everything(library)["assignment"]) == ([], [])
    redo(library)
    assert named(library) == dict.fromkeys(range(5), "Ann")


def test_an_event_alone(library):
    label(library, ["f0"], "Ann")
    label(library, ["f5"], "Ben")
    label(library, ["f1"], "Ann")
    undo(library, 1)
    assert named(library) == {1: "Ann", 5: "Ben"}
    redo(library, 1)
    assert named(library) == {0: "Ann", 1: "Ann", 5: "Ben"}


@pytest.mark.parametrize(
    "later",
    [
        lambda library: move(library, ["f0"], "Ben"),
        lambda library: unlabel(library, ["f0"]),
        lambda library: ignore(library, ["f0"]),
        lambda library: reject(library, ["f0"], "Ann"),
    ],
)
def test_later_words_on_the_same_faces_are_in_the_way(library, later):
    label(library, ["f0", "f1"], "Ann")
    event = later(library).event
    before = everything(library)
    with pytest.raises(UsageError, match=rf"event 1 cannot be undone by itself: event {event} .* photocluster undo 2"):
        undo(library, 1)
    assert everything(library) == before
    undo(library, event)
    undo(library, 1)
    assert named(library) == {}


def test_a_name_that_went_to_somebody_else_is_in_the_way(library):
    label(library, ["f0"], "Ann")
    rename(library, "Ann", "Anna")
    label(library, ["f5"], "Ann")
    with pytest.raises(UsageError, match=r"event 2 cannot be undone by itself: event 3 \(label\)"):
        undo(library, 2)


def test_a_person_that_was_merged_away_is_in_the_way(library):
    label(library, ["f0", "f1"], "Ann")
    move(library, ["f0"], "Ben")
    label(library, ["f5"], "Carl")
    merge_persons(library, ["Carl", "Ann"])
    with pytest.raises(UsageError, match=r"event 2 cannot .*event 4 \(merge\)"):
        undo(library, 2)


def test_words_that_would_contradict_each_other_are_not_brought_back(library):
    label(library, ["f0"], "Ann")
    unlabel(library, ["f0"])
    ignore(library, ["f0"])
    with pytest.raises(UsageError, match=r"event 2 cannot .*event 3 \(ignore\)"):
        undo(library, 2)


def test_guesses_are_never_in_the_way(library):
    label(library, ["f0", "f1"], "Ann")
    unlabel(library, ["f1"])
    propagate(library)
    assert library.names.assignments()[1].source is Source.PROPAGATED
    undo(library)
    assert library.names.assignments()[1].source is Source.USER


def test_undo_brings_no_guess_back_over_a_name(library):
    label(library, ["f0"], "Ann")
    propagate(library)
    unlabel(library, ["f1", "f2"])
    label(library, ["f1"], "Ben")
    undo(library, 2)
    assert named(library) == {0: "Ann", 1: "Ben", 2: "Ann", 3: "Ann", 4: "Ann"}


def test_plain_redo_stops_at_a_new_decision(library):
    label(library, ["f0"], "Ann")
    undo(library)
    label(library, ["f5"], "Ben")
    with pytest.raises(UsageError, match=r"event 3 \(label\) was decided since.*photocluster redo 1"):
        redo(library)
    redo(library, 1)
    assert named(library) == {0: "Ann", 5: "Ben"}
    with pytest.raises(UsageError, match="is not undone"):
        redo(library, 1)


def test_the_way_out_is_named_by_decisions(library):
    label(library, ["f0"], "Ann")
    move(library, ["f0"], "Ben")
    undo(library)
    redo(library)
    with pytest.raises(UsageError, match=r"itself: event 2 \(move\) changed.*photocluster undo 2$"):
        undo(library, 1)
    undo(library)
    undo(library)
    with pytest.raises(UsageError, match=r"event 2 cannot be redone.*event 6 \(undo\).*photocluster redo 1$"):
        redo(library, 2)


def test_an_undo_is_not_undone_but_redone(library):
    label(library, ["f0"], "Ann")
    undo(library)
    with pytest.raises(UsageError, match="photocluster redo 1"):
        undo(library, 2)
    with pytest.raises(UsageError, match="undone already"):
        undo(library, 1)
    assert kinds(library) == [("label", False), ("undo", True)]


def test_forgotten_faces_are_left_out(library):
    label(library, ["f0", "f5"], "Ann")
    cover(library, "f0")
    cover(library, "f5")
    library.photos.forget(["0"])
    undo(library)
    assert library.names.persons()[0].cover is None
    undo(library)
    undo(library)
    assert (everything(library)["assignment"], everything(library)["person"]) == ([], [])
    redo(library)
    assert named(library) == {5: "Ann"}


def test_an_event_of_which_all_is_forgotten_is_undone_all_the_same(library):
    label(library, ["f5"], "Ann")
    label(library, ["f0"], "Ann")
    library.photos.forget(["0"])
    assert undo(library).changes == 0
    assert undo(library).concerned.id == 1


def test_dry_run_of_an_undo(library):
    label(library, ["f0"], "Ann")
    before = everything(library)
    done = undo(library, dry_run=True)
    assert (done.event, done.changes) == (None, 2)
    assert everything(library) == before
    assert len(library.history.events()) == 1


def test_the_log_only_grows(library):
    def log():
        connection = sqlite3.connect(library.folder / "library.sqlite")
        rows = connection.execute("SELECT * FROM event ORDER BY id").fetchall()
        connection.close()
        return rows

    label(library, ["f0"], "Ann")
    first = log()
    undo(library)
    redo(library)
    assert log()[:1] == first
    assert [json.loads(row[3]) for row in log()[1:]] == [{"event": 1}, {"event": 1}]


def test_history_as_the_user_sees_it(library, run_cli):
    label(library, ["f0", "f1"], "Ann")
    undo(library)
    listed = run_cli("history", "--json").json
    assert [(e["id"], e["kind"], e["in_force"]) for e in listed] == [(2, "undo", True), (1, "label", False)]
    assert "targets f0 f1, person Ann" in run_cli("history").out
    assert "1 earlier" in run_cli("history", "--limit", "1").err

"""Propagation on a library: who is named, why, what is taken back, and that doing it twice changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import face, make_library, scanned

from photocluster.errors import UsageError
from photocluster.identification import Method
from photocluster.pipeline import recognition
from photocluster.pipeline.explaining import explain
from photocluster.pipeline.history import redo, undo
from photocluster.pipeline.ignoring import ignore, mirror
from photocluster.pipeline.naming import label, reject
from photocluster.pipeline.recognition import Comparing, propagate
from photocluster.records import Source
from photocluster.store import Library

ANN, BEN = [1, 0, 0], [0, 1, 0]


def near(person, distance, axis=2):
    """Return a vector (128,) at that distance from a person, away from the other one."""
    vector = np.zeros(128, dtype=np.float32)
    cos = 1 - distance**2 / 2
    vector[:3] = cos * np.array(person)
    vector[axis] += np.sqrt(1 - cos**2)
    return vector


def fill(library, *photos):
    """Store photos of faces."""
    library.photos.add(
        [
            scanned(f"/p/{i}.jpg", f"{i:064x}", [face(v, left=10.0 + 60 * k) for k, v in enumerate(vectors)])
            for i, vectors in enumerate(photos)
        ]
    )


@pytest.fixture
def library(library_folder):
    with make_library(library_folder) as opened:
        yield opened


def guesses(library):
    names = {info.id: info.name for info in library.names.persons()}
    return {
        number: names[said.person]
        for number, said in library.names.assignments().items()
        if said.source is Source.PROPAGATED
    }


def test_near_faces_are_named_and_others_not(library):
    fill(library, [near(ANN, 0)], [near(BEN, 0)], [near(ANN, 0.6)], [near(ANN, 0.97, 5)], [near(ANN, 1.3, 6)])
    label(library, ["f0"], "Ann")
    label(library, ["f1"], "Ben")
    report = propagate(library)
    assert guesses(library) == {2: "Ann", 3: "Ann"}
    assert (report.examined, report.named, report.changed, report.taken_back) == (3, 2, 2, 0)
    assert report.unknown + report.to_confirm == 1
    assert report.by_person == (("Ann", 2),)
    assert report.threshold == pytest.approx(1.0)


def test_twice_is_the_same(library):
    fill(library, [near(ANN, 0)], [near(BEN, 0)], [near(ANN, 0.6)], [near(BEN, 0.9, 5)])
    label(library, ["f0"], "Ann")
    label(library, ["f1"], "Ben")
    propagate(library)
    first = library.names.assignments()
    report = propagate(library)
    assert (report.changed, report.taken_back) == (0, 0)
    assert library.names.assignments() == first


def test_one_that_was_asked_for_is_in_the_log_and_can_be_taken_back(library):
    fill(library, [near(ANN, 0)], [near(BEN, 0)], [near(ANN, 0.6)], [near(ANN, 0.7, 5)], [near(BEN, 0.8, 6)])
    label(library, ["f0"], "Ann")
    propagate(library)
    label(library, ["f1"], "Ben")
    report = propagate(library, logged=True)
    assert (report.changed, report.taken_back) == (1, 0)
    (event, *_) = library.history.events()
    assert (event.id, event.kind, event.arguments) == (report.event, "propagate", {"faces": 1, "taken_back": 0})
    assert guesses(library) == {2: "Ann", 3: "Ann", 4: "Ben"}
    assert propagate(library, logged=True).event is None, "what changes nothing is no event"

    # What the user said since stays, and does not stand in the way.
    label(library, ["f4"], "Ben")
    undo(library, report.event)
    assert guesses(library) == {2: "Ann", 3: "Ann"}
    assert library.names.assignments()[4].source is Source.USER
    redo(library, report.event)
    assert library.names.assignments()[4].source is Source.USER


def test_what_is_decided_while_it_computes_is_taken_in(library, library_folder, monkeypatch):
    fill(library, [near(ANN, 0)], [near(ANN, 0.85)], [near(ANN, 0.2, 5)])
    label(library, ["f0"], "Ann")
    compute = recognition._found

    def meanwhile(*arguments):
        found = compute(*arguments)
        monkeypatch.setattr(recognition, "_found", compute)
        with Library(library_folder) as other:
            reject(other, ["f1"], "Ann")
        return found

    monkeypatch.setattr(recognition, "_found", meanwhile)
    assert propagate(library).named == 1
    assert guesses(library) == {2: "Ann"}


def test_a_dry_run_changes_nothing(library):
    fill(library, [near(ANN, 0)], [near(ANN, 0.6)])
    label(library, ["f0"], "Ann")
    assert propagate(library, dry_run=True).named == 1
    assert guesses(library) == {}


def test_of_two_faces_in_a_photo_the_nearer_one_is_named_unless_it_is_a_mirror(library):
    fill(library, [near(ANN, 0)], [near(ANN, 0.5), near(ANN, 0.7, 5)])
    label(library, ["f0"], "Ann")
    propagate(library)
    assert guesses(library) == {1: "Ann"}
    mirror(library, ["f1"])
    propagate(library)
    assert guesses(library) == {1: "Ann", 2: "Ann"}


def test_whoever_is_named_in_a_photo_is_nobody_else_there(library):
    fill(library, [near(ANN, 0), near(ANN, 0.3, 5)])
    label(library, ["f0"], "Ann")
    propagate(library)
    assert guesses(library) == {}
    assert "another face of this photo" in explain(library, "f1").words


def test_a_no_takes_guesses_back_and_keeps_look_alikes_away(library):
    brother = [near(ANN, 0.85), near(ANN, 0.86), near(ANN, 0.84)]
    fill(library, [near(ANN, 0)], [near(ANN, 0.2, 5)], *([vector] for vector in brother), [near(ANN, 0.5, 6)])
    label(library, ["f0", "f1"], "Ann")
    propagate(library)
    assert guesses(library) == dict.fromkeys([2, 3, 4, 5], "Ann")
    reject(library, ["f2"], "Ann")
    report = propagate(library)
    assert report.taken_back == 2
    assert guesses(library) == {5: "Ann"}
    assert explain(library, "f2").persons[0].note == "you said that it is not"
    assert explain(library, "f5").decision == "Ann"


def test_another_name_takes_guesses_back(library):
    fill(library, [near(ANN, 0)], [near(ANN, 0.6)], [near(ANN, 0.62)])
    label(library, ["f0"], "Ann")
    propagate(library)
    assert guesses(library) == {1: "Ann", 2: "Ann"}
    label(library, ["f1"], "Ben")
    propagate(library)
    assert guesses(library) == {2: "Ben"}


def test_ignored_faces_are_not_named(library):
    fill(library, [near(ANN, 0)], [near(ANN, 0.4)])
    label(library, ["f0"], "Ann")
    ignore(library, ["f1"])
    assert propagate(library).examined == 0
    with pytest.raises(UsageError, match="unignore f1"):
        explain(library, "f1")


@pytest.mark.parametrize("method", list(Method))
def test_every_method_names_the_plain_case(library, method):
    fill(library, [near(ANN, 0)], [near(BEN, 0)], [near(ANN, 0.5)], [near(BEN, 0.5)], [near([0, 0, 1], 0, 7)])
    label(library, ["f0"], "Ann")
    label(library, ["f1"], "Ben")
    propagate(library, Comparing(method=method))
    assert guesses(library) == {2: "Ann", 3: "Ben"}


def test_why_says_what_decides(library):
    between = (near(ANN, 0) + near(BEN, 0)) / np.sqrt(2)
    fill(library, [near(ANN, 0)], [near(BEN, 0)], [near(ANN, 0.6)], [near(ANN, 1.3, 6)], [between])
    assert explain(library, "f2").words.endswith("nobody is named yet")
    label(library, ["f0"], "Ann")
    label(library, ["f1"], "Ben")
    found = explain(library, "f2")
    assert found.decision == "Ann"
    assert found.words.startswith("no name so far, the next propagation says Ann")
    assert [person.person for person in found.persons] == ["Ann", "Ben"]
    assert found.persons[0].distance == pytest.approx(0.6, abs=1e-3)
    assert [near_face.face for near_face in found.faces] == [0, 1]
    propagate(library)
    assert explain(library, "f2").words.startswith("Ann: Ann is nearest at 0.600")
    assert "greatest distance accepted" in explain(library, "f3").words
    assert "hardly farther" in explain(library, "f4").words
    assert "you said so" in explain(library, "f0").words
    assert "no second person" not in explain(library, "f2").words


def test_commands(library, run_cli):
    fill(library, [near(ANN, 0)], [near(ANN, 0.6)], [near(ANN, 0.9, 5)])
    label(library, ["f0"], "Ann")
    said = run_cli("propagate", "--json").json
    assert (said["named"], said["to_confirm"], said["unknown"]) == (2, 0, 0)
    assert (
        run_cli("propagate", "--threshold", "0.7").out.splitlines()[-1].startswith("2 faces without your word: 1 named")
    )
    assert run_cli("why", "f1", "--json").json["decision"] == "Ann"
    assert "Ann is nearest at 0.600" in run_cli("why", "f1").out
    assert run_cli("why", "12").code == 2
    assert run_cli("why", "f99").code == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_rules_hold_on_any_library(tmp_path_factory, seed):
    """No person twice in a photo, nobody who was rejected, the user's word untouched, and twice is the same."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(4, 128))
    who = rng.integers(0, 4, 40)
    vectors = middles[who] + rng.uniform(0.3, 1.2, (40, 1)) * rng.normal(size=(40, 128))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    photos = np.array_split(vectors, 18)
    with make_library(tmp_path_factory.mktemp("any") / "library") as library:
        fill(library, *[list(part) for part in photos])
        for number in rng.permutation(40)[:10].tolist():
            label(library, [f"f{number}"], f"Person {who[number]}")
        names = [info.name for info in library.names.persons()]
        for number in rng.permutation(40)[:6].tolist():
            reject(library, [f"f{number}"], names[int(rng.integers(len(names)))])
        user = {f: a for f, a in library.names.assignments().items() if a.source is Source.USER}
        propagate(library)
        after = library.names.assignments()
        assert {f: a for f, a in after.items() if a.source is Source.USER} == user
        rejected = set(library.names.rejections())
        seen = set()
        photo_of = dict(zip(*(column.tolist() for column in library.faces.photos()), strict=True))
        for number, said in after.items():
            if said.source is Source.PROPAGATED:
                assert (number, said.person) not in rejected
                assert (photo_of[number], said.person) not in seen
            seen.add((photo_of[number], said.person))
        assert propagate(library).changed == 0
        assert library.names.assignments() == after

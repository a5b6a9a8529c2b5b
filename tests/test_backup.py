"""Backup and restore: every name back on the right face, or said why not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import RECIPE, FakeAnalyser, face, picture, scan_in_this_process, scanned, unit_vector

from photocluster.errors import StoreVersion, UsageError
from photocluster.pipeline.backup import backup, collect, read_backup
from photocluster.pipeline.history import undo
from photocluster.pipeline.ignoring import ignore, mirror
from photocluster.pipeline.naming import label, reject
from photocluster.pipeline.persons import PersonFacts, change_person, cover, merge_persons
from photocluster.pipeline.restoring import LEAST_IOU, SAME_FACE_IOU, Reason, match_boxes, restore
from photocluster.pipeline.scanning import ScanOptions, scan
from photocluster.records import Box, Source
from photocluster.store import IgnoredKind, Library

BOXES = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    *(st.floats(0, 1) for _ in range(2)),
    *(st.floats(0.01, 0.5) for _ in range(2)),
)


def make(folder, *photos, shift=0.0, grow=0.0):
    """Make a library in which each photo (name, number of faces) has its faces side by side."""
    library = Library(folder, recipe=RECIPE, create=True)
    for name, count in photos:
        faces = [
            face(unit_vector(i), left=100.0 * i + shift - grow / 2, top=10.0 - grow / 2, side=40.0 + grow)
            for i in range(count)
        ]
        library.photos.add([scanned(folder / f"{name}.jpg", name * 64, faces)])
    return library


@pytest.fixture
def saved(tmp_path):
    """A backup of photos a (3 faces: Ann, ignored, not Ann) and b (Ben, Ann), of which b is a mirror."""
    with make(tmp_path / "first", ("a", 3), ("b", 2), ("c", 1)) as library:
        label(library, ["f0", "f4"], "Ann")
        label(library, ["f3"], "Ben")
        change_person(library, "Ann", PersonFacts(add_aliases=("Annie",), born="2010-05-01", note="Zoë's", hidden=True))
        cover(library, "f4")
        ignore(library, ["f1"], IgnoredKind.STATUE)
        reject(library, ["f2"], "Ann")
        mirror(library, ["f3"])
        backup(library, tmp_path / "names.json")
        return tmp_path / "names.json"


def words(library):
    """Return all that the user said, without row numbers."""
    content = collect(library)
    faces = [(photo.sha256, f) for photo in content.photos for f in photo.faces]
    return content.persons, {(digest, f.person, f.rejected, f.ignored, f.cover) for digest, f in faces}


def test_the_file_is_what_its_description_says(saved):
    document = json.loads(saved.read_text(encoding="utf-8"))
    assert (document["format"], document["version"]) == ("photocluster backup", 1)
    assert document["persons"][0] == {
        "name": "Ann",
        "aliases": ["Annie"],
        "born": "2010-05-01",
        "note": "Zoë's",
        "hidden": True,
    }
    photo = document["photos"][0]
    assert (photo["sha256"], photo["mirror"]) == ("a" * 64, False)
    assert photo["file"].endswith("a.jpg")
    assert photo["faces"][0] == {
        "box": [0.0, 0.020833, 0.0625, 0.104167],
        "person": "Ann",
        "source": "user",
        "cover": False,
        "not": [],
        "ignored": None,
    }
    assert document["photos"][1]["mirror"] is True
    assert [photo["sha256"][0] for photo in document["photos"]] == ["a", "b"]
    assert saved.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("shift", "grow"), [(0.0, 0.0), (6.0, 4.0), (0.0, 35.0)])
def test_everything_is_put_back_whatever_the_detector(saved, tmp_path, shift, grow):
    with make(tmp_path / "first") as first:
        before = words(first)
    with make(tmp_path / "second", ("c", 1), ("b", 2), ("a", 3), shift=shift, grow=grow) as library:
        report = restore(library, saved)
        assert (report.placed, report.changed, report.conflicts, report.unplaced) == (5, 5, (), ())
        assert report.new_persons == ("Ann", "Ben")
        assert words(library) == before
        assert library.names.mirrors() == {"b" * 64}
        again = restore(library, saved)
        assert (again.event, again.changed, again.placed) == (None, 0, 5)
        undo(library)
        assert words(library) == ((), set())
        assert library.names.mirrors() == set()


def test_dry_run(saved, tmp_path):
    with make(tmp_path / "second", ("a", 3)) as library:
        report = restore(library, saved, dry_run=True)
        assert (report.event, report.placed, len(report.unplaced)) == (None, 3, 3)
        assert words(library) == ((), set())
        assert library.names.waiting() == {}


def test_what_is_not_placed_is_kept_and_tried_again(saved, tmp_path):
    with make(tmp_path / "first") as first:
        before = words(first)
    with make(tmp_path / "second", ("a", 1)) as library:
        report = restore(library, saved)
        assert sorted((u.photo[0], u.said, u.reason) for u in report.unplaced) == [
            ("a", "ignored (statue)", Reason.NO_FACE),
            ("a", "not Ann", Reason.NO_FACE),
            ("b", "Ann", Reason.NO_PHOTO),
            ("b", "Ben", Reason.NO_PHOTO),
            ("b", "a mirror", Reason.NO_PHOTO),
        ]
        assert words(library) == before, "what waits is in the next backup"
        assert restore(library).event is None
        faces = [face(unit_vector(i), left=100.0 * i) for i in range(2)]
        library.photos.add([scanned("/new/b.jpg", "b" * 64, faces)])
        report = restore(library)
        assert (report.placed, report.changed, len(report.unplaced)) == (2, 2, 2)
        assert library.names.mirrors() == {"b" * 64}
        assert len(library.names.waiting()) == 2
        library.photos.forget(["a" * 64])
        assert library.names.waiting() == {}


def test_merging_takes_what_waits_along(saved, tmp_path):
    with make(tmp_path / "second", ("a", 3)) as library:
        restore(library, saved)
        merge_persons(library, ["Ben", "Ann"])
        faces = [face(unit_vector(i), left=100.0 * i) for i in range(2)]
        library.photos.add([scanned("/new/b.jpg", "b" * 64, faces)])
        restore(library)
        assert [row.person for row in library.faces.rows()] == ["Ben", None, "Ben", "Ben"]
        undo(library)
        undo(library)
        assert words(library)[0][0].name == "Ann"


def test_the_users_word_here_stands(saved, tmp_path):
    with make(tmp_path / "second", ("a", 3), ("b", 2)) as library:
        label(library, ["f0", "f1"], "Cleo")
        ignore(library, ["f3"])
        change_person(library, "Cleo", PersonFacts(add_aliases=("Annie",)))
        label(library, ["f2"], "Ann")
        change_person(library, "Ann", PersonFacts(born="2011-01-01"))
        before = library.names.assignments()
        report = restore(library, saved)
        assert {(c.about.split(" ")[0], c.here, c.backup) for c in report.conflicts} == {
            ("born", "2011-01-01", "2010-05-01"),
            ("the", "somebody else's", "Ann"),
            ("f0", "Cleo", "Ann"),
            ("f1", "Cleo", "ignored (statue)"),
            ("f2", "Ann", "not Ann"),
            ("f3", "ignored (stranger)", "Ben"),
        }
        after = library.names.assignments()
        assert {f: after[f] for f in before} == before
        assert set(after) == {0, 1, 2, 4}
        assert restore(library, saved).event is None


def test_a_person_is_not_named_twice_in_a_photo_by_two_libraries(saved, tmp_path):
    with make(tmp_path / "second", ("a", 3)) as library:
        label(library, ["f2"], "Ann")
        report = restore(library, saved)
        assert ("Ann is another face of this photo", "Ann") in {(c.here, c.backup) for c in report.conflicts}


def test_imported_names_give_way_to_the_users(saved, tmp_path):
    with make(tmp_path / "second", ("a", 3)) as library:
        with library.names.decide("import", {}) as decision:
            decision.assign(0, decision.person("Cleo"), Source.IMPORTED)
        restore(library, saved)
        assert library.faces.rows(face=0)[0].person == "Ann"


def test_an_edited_photo_is_said_to_be_one(tmp_path, library_folder, fake_analyser):
    photos = tmp_path / "p"
    photo = picture(photos / "a.png", 1)
    scan(library_folder, [photos], ScanOptions(workers=1))
    with Library(library_folder) as library:
        label(library, ["f0"], "Ann")
        backup(library, tmp_path / "names.json")
    shutil.rmtree(library_folder)
    picture(photo, 1, note="edited")
    scan(library_folder, [photos], ScanOptions(workers=1))
    with Library(library_folder) as library:
        (unplaced,) = restore(library, tmp_path / "names.json").unplaced
        assert (unplaced.said, unplaced.reason) == ("Ann", Reason.EDITED)


def test_a_fresh_scan_in_another_folder_by_another_detector(
    tmp_path, library_folder, fake_analyser, monkeypatch, run_cli
):
    picture(tmp_path / "p" / "a.png", 1, 0, 2)
    scan(library_folder, [tmp_path / "p"], ScanOptions(workers=1))
    with Library(library_folder) as library:
        label(library, ["f0"], "Ann")
        label(library, ["f1"], "Ben")
    assert run_cli("backup", tmp_path / "names.json").code == 0
    shutil.rmtree(library_folder)
    (tmp_path / "p").rename(tmp_path / "q")
    plain = FakeAnalyser.faces

    def loose(self, decoded, watch):
        """See boxes a third larger, in another order, and with other embeddings."""
        found = []
        for seen in reversed(plain(self, decoded, watch)):
            box = seen.detection.box
            wide = Box(box.x0 - 2, box.y0 - 4, box.x1 + 2, box.y1)
            embedding = np.roll(seen.embedding, 1)
            found.append(replace(seen, detection=replace(seen.detection, box=wide), embedding=embedding))
        return found

    monkeypatch.setattr(FakeAnalyser, "faces", loose)
    scan(library_folder, [tmp_path / "q"], ScanOptions(workers=1))
    restored = run_cli("restore", tmp_path / "names.json")
    assert "2 faces found, 2 changed, 2 new people" in restored.out
    with Library(library_folder) as library:
        assert [row.person for row in library.faces.rows()] == ["Ben", "Ann"]


@given(st.lists(BOXES, max_size=5), st.lists(BOXES, max_size=5))
def test_boxes_are_matched_one_to_one_and_only_where_they_overlap(saved_boxes, found):
    pairs = match_boxes(saved_boxes, found)
    assert len(set(pairs.values())) == len(pairs)
    assert all(saved_boxes[i].iou(found[j]) >= LEAST_IOU for i, j in pairs.items())
    sure = [(i, j) for i, a in enumerate(saved_boxes) for j, b in enumerate(found) if a.iou(b) >= SAME_FACE_IOU]
    assert all(i in pairs or j in pairs.values() for i, j in sure)


def test_a_larger_box_around_the_same_centre_is_the_same_face():
    small, large = Box(0.4, 0.4, 0.5, 0.5), Box(0.36, 0.36, 0.54, 0.54)
    assert small.iou(large) < SAME_FACE_IOU
    assert match_boxes([small], [large]) == {0: 0}
    assert match_boxes([small], [large, Box(0.37, 0.37, 0.53, 0.55)]) == {}
    assert match_boxes([small], [Box(0.45, 0.45, 0.63, 0.63)]) == {}


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("", UsageError, "is no backup"),
        ("[]", UsageError, "is no backup"),
        ('{"format": "x"}', UsageError, "is no backup"),
        ('{"format": "photocluster backup", "version": 2}', StoreVersion, "update photocluster"),
        ('{"format": "photocluster backup", "version": 1, "persons": [{}], "photos": []}', UsageError, "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, text, error, says):
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=says):
        read_backup(file)
    if text:
        with make(tmp_path / "library") as library, pytest.raises(error):
            backup(library, file)
        assert file.read_text(encoding="utf-8") == text


def test_a_missing_file(tmp_path):
    with make(tmp_path / "library") as library, pytest.raises(UsageError, match="cannot be read"):
        restore(library, tmp_path / "none.json")


@pytest.mark.slow
def test_names_of_celeb5_come_back_under_other_detector_settings(data, tmp_path, monkeypatch):
    """Every face that the other settings find has its name again (measured: 120 of 120)."""
    from photocluster import models
    from photocluster.pipeline import analysis

    photos = tmp_path / "photos"
    shutil.copytree(data / "sets" / "celeb5", photos)
    scan(tmp_path / "one", [photos], ScanOptions(workers=1))
    with Library(tmp_path / "one") as library:
        rows = library.faces.rows()
        places = {row.photo: row.path.split("/")[-2] for row in rows}
        for row in rows:
            label(library, [f"f{row.face}"], f"{places[row.photo]} {row.face}")
        before = {row.person: row for row in library.faces.rows()}
        backup(library, tmp_path / "names.json")
    photos.rename(tmp_path / "elsewhere")
    plain = analysis.Analyser.__init__

    def other(self, *, mirror=True, device="auto"):
        plain(self, mirror=mirror, device=device)
        self.detector = models.Detector(sizes=(640,), threshold=0.6)

    scan_in_this_process(monkeypatch, analysis.Analyser)
    monkeypatch.setattr(analysis.Analyser, "__init__", other)
    monkeypatch.setattr(models, "DETECTION_SIZES", (640,))
    monkeypatch.setattr(models, "DETECTION_THRESHOLD", 0.6)
    scan(tmp_path / "two", [tmp_path / "elsewhere"], ScanOptions(workers=1))
    with Library(tmp_path / "two") as library:
        assert library.recipe.detection_sizes == (640,)
        report = restore(library, tmp_path / "names.json")
        named = [row for row in library.faces.rows() if row.person]
        assert len(named) == report.placed == len(before) - len(report.unplaced)
        assert len(report.unplaced) <= 0.02 * len(before)
        for row in named:
            was = before[row.person].detection
            eyes = np.linalg.norm(was.landmarks[0] - was.landmarks[1])
            assert np.linalg.norm(row.detection.landmarks - was.landmarks, axis=1).mean() < eyes / 2

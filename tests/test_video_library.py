"""What holds of a video's faces in a library: a frame tells two people apart, and a track is one person."""

from __future__ import annotations

from dataclasses import replace

import pytest
from making import FACTS, face, make_library, unit_vector

from photocluster.errors import UsageError
from photocluster.pipeline.backup import backup
from photocluster.pipeline.history import undo
from photocluster.pipeline.ignoring import ignore
from photocluster.pipeline.naming import label, reject
from photocluster.pipeline.persons import merge_persons
from photocluster.pipeline.recognition import Comparing, propagate
from photocluster.pipeline.restoring import restore
from photocluster.records import Source
from photocluster.store import FileState, Library, ScannedFile

CLIP = replace(FACTS, format="MP4", duration=12.0)


def filmed(person: int, time: float, track: int, *, left: float = 10.0):
    """Return a face of a video; those of one person are near each other."""
    vector = unit_vector(person) + 0.05 * unit_vector(person, int(10 * time))
    return replace(face((vector / (vector @ vector) ** 0.5).astype("float32"), left=left), time=time, track=track)


@pytest.fixture
def library(library_folder):
    """Ann (0, 1, 2) and Ben (3, 4) in a video, Ann on her own track until second 4; and Ann in a photo (5)."""
    faces = [
        *(filmed(1, time, 0) for time in (1.0, 2.5, 4.0)),
        *(filmed(2, time, 1, left=200) for time in (1.0, 4.0)),
    ]
    clip = ScannedFile("/clip.mp4", 1, 1000, FileState.PHOTO, "c" * 64, CLIP, faces)
    photo = ScannedFile("/a.jpg", 1, 1000, FileState.PHOTO, "a" * 64, FACTS, [face(unit_vector(1))])
    with make_library(library_folder) as library:
        library.photos.add([clip, photo])
        yield library


def names(library: Library) -> dict[int, str]:
    return {row.face: row.person for row in library.faces.rows() if row.person}


def test_naming_one_face_names_its_track(library):
    report = label(library, ["f1"], "Ann")
    assert report.named == (0, 1, 2)
    assert names(library) == dict.fromkeys((0, 1, 2), "Ann")
    undo(library)
    assert names(library) == {}


def test_what_the_user_said_of_a_face_of_the_track_stands(library):
    label(library, ["f3"], "Ben")
    label(library, ["f0", "f1", "f2"], "Carl")
    label(library, ["f1"], "Ann")
    assert names(library) == {0: "Carl", 1: "Ann", 2: "Carl", 3: "Ben", 4: "Ben"}


def test_saying_no_of_one_face_says_it_of_its_track(library):
    label(library, ["f5"], "Ann")
    report = reject(library, ["f0"], "Ann")
    assert {f for f, _ in report.faces} == {0, 1, 2}
    assert propagate(library, Comparing(threshold=1.0)).named == 0


def test_a_no_leaves_the_face_that_the_user_named(library):
    label(library, ["f0"], "Ann")
    reject(library, ["f1"], "Ann")
    assert names(library) == {0: "Ann", 2: "Ann"}


def test_ignoring_one_face_ignores_its_track(library):
    ignore(library, ["f3"])
    assert set(library.names.ignored()) == {3, 4}


def test_a_person_is_named_in_every_frame_and_once_in_each(library):
    label(library, ["f5"], "Ann")
    propagate(library, Comparing(threshold=2.0, margin=0.0))
    assert names(library) == dict.fromkeys((0, 1, 2, 5), "Ann")  # nearer than Ben in each of their two frames


def test_the_users_word_takes_back_a_guess_of_the_same_frame_only(library):
    label(library, ["f5"], "Ann")
    propagate(library, Comparing(threshold=1.0))
    with library.names.decide("label", {}) as decision:
        decision.assign(3, decision.person("Ann"), Source.USER)
    assert names(library) == dict.fromkeys((1, 2, 3, 5), "Ann")


def test_two_persons_of_a_video_are_one_unless_a_frame_shows_both(library):
    label(library, ["f1"], "Ann")
    with library.names.decide("label", {}) as decision:
        decision.unassign(0)
        decision.unassign(2)
    label(library, ["f3", "f4"], "Ben")
    assert merge_persons(library, ["Ann", "Ben"], dry_run=True).faces == 2
    label(library, ["f0"], "Ann")
    with pytest.raises(UsageError, match=r"clip\.mp4"):
        merge_persons(library, ["Ann", "Ben"], dry_run=True)


def test_frames_are_pictures_and_tracks_are_groups(library):
    faces, pictures = library.faces.photos()
    assert pictures[0] == pictures[3] != pictures[1]
    assert pictures[2] == pictures[4]
    of_video, tracks = library.faces.tracks(faces)
    assert of_video.tolist() == [True] * 5 + [False]
    assert len(set(tracks[:3].tolist())) == 1
    assert tracks[5] == -1


def test_a_backup_puts_names_on_the_right_frames(library, library_folder, tmp_path):
    label(library, ["f0"], "Ann")  # her track; Ben's faces lie elsewhere in the same frames
    label(library, ["f3", "f4"], "Ben")
    with library.names.decide("pair", {}) as decision:
        decision.put("pair", {"face": 1, "other": 5, "same": 1})
    backup(library, tmp_path / "backup.json")
    with make_library(tmp_path / "other") as other:
        others = [filmed(1, time, 0) for time in (0.9, 2.6, 9.0)]  # a scan that looked at other frames
        others += [filmed(2, 4.1, 1, left=200)]
        clip = ScannedFile("/clip.mp4", 1, 1000, FileState.PHOTO, "c" * 64, CLIP, others)
        photo = ScannedFile("/a.jpg", 1, 1000, FileState.PHOTO, "a" * 64, FACTS, [face(unit_vector(1))])
        other.photos.add([clip, photo])
        report = restore(other, tmp_path / "backup.json")
        assert names(other) == {0: "Ann", 1: "Ann", 3: "Ben"}
        assert other.questions.pairs(same=True) == [(1, 4)]
        assert {unplaced.said for unplaced in report.unplaced} == {"Ann", "Ben"}  # no faces at 4.0 and 1.0
        assert restore(other).placed == 0
        backup(other, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text().count('"time"') == 3 + 2 + 1
    with make_library(tmp_path / "third") as third:
        third.photos.add([clip, photo])
        restore(third, tmp_path / "again.json")
        assert names(third) == {0: "Ann", 1: "Ann", 3: "Ben"}


def test_show_says_when(library, run_cli):
    assert "/clip.mp4 at 0:02" in run_cli("show", "f1").out
    (row,) = run_cli("show", "f1", "--json").json
    assert (row["time"], row["track"]) == (2.5, 0)

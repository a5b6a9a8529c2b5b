"""Videos in a library with the real models: scanned, clustered with photos, shown, and written with names."""

from __future__ import annotations

import csv
import hashlib

import av
import numpy as np
import pytest
from filming import actor, astronaut, film, scene
from making import FACTS, FakeAnalyser, scan_in_this_process
from PIL import Image

from photocluster import overlay, video
from photocluster.errors import UsageError
from photocluster.overlay import NAMED, UNNAMED, Caption, draw
from photocluster.pipeline.analysis import Analyser, Stopwatch
from photocluster.pipeline.clip_export import LOOK_EVERY, _Path, box_at, export_clip
from photocluster.pipeline.footage import Footage, analyse_video
from photocluster.pipeline.scanning import ScanOptions, scan
from photocluster.records import Box, Source
from photocluster.store import Library


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Four seconds with sound: an astronaut who stays, an actor who walks by, and then the astronaut alone."""
    people = [((astronaut(), 380, 20, 240), (actor(), 10 + 9 * i, 60, 200)) for i in range(20)]
    pictures = [scene(*placed, shade=170) for placed in people]
    pictures += [scene((astronaut(), 100, 60, 240), shade=240) for _ in range(20)]
    return film(tmp_path_factory.mktemp("clips") / "party.mp4", pictures, sound=4.0)


@pytest.fixture(scope="module")
def footage(clip):
    return analyse_video(clip, Analyser(), Stopwatch())


@pytest.fixture(scope="module")
def library(clip, tmp_path_factory):
    """The clip and two photos of the astronaut, who is named in one of them."""
    folder = tmp_path_factory.mktemp("library") / "lib"
    for number in range(2):
        astronaut().rotate(4 * number).save(clip.with_name(f"{number}.png"))
    with pytest.MonkeyPatch.context() as patch:
        scan_in_this_process(patch, Analyser)
        report = scan(folder, [clip.parent], ScanOptions(workers=1))
    assert (report.photos, report.videos, report.failed) == (3, 1, [])
    with Library(folder) as library:
        (face,) = [row.face for row in library.faces.rows() if row.path.endswith("0.png")]
        with library.names.decide("label", {}) as decision:
            decision.assign(face, decision.person("Eileen"), Source.USER)
        yield library


def test_a_clip_adds_a_few_good_faces_of_everybody(footage):
    assert footage.samples == 4
    tracks = {face.track: [f for f in footage.faces if f.track == face.track] for face in footage.faces}
    assert all(1 <= len(faces) <= 3 for faces in tracks.values())
    assert 2 <= len(tracks) <= 3  # the cut may end the astronaut's track
    assert {face.time for face in footage.faces} <= {0.0, 1.0, 2.0, 3.0}
    assert footage.facts.duration == pytest.approx(4.0, abs=0.1)
    for faces in tracks.values():
        assert np.diff(sorted(face.time for face in faces)).min(initial=9) >= 1.5
    together = {face.track for face in footage.faces if face.time == footage.faces[0].time}
    assert len(together) == 2  # one frame says that the two are two


def test_the_faces_kept_are_those_of_a_look_with_the_mirror_image_at_each(clip, footage):
    analyser = Analyser()
    analyser.of_frames.embedder = analyser.embedder
    with video.Clip(clip) as opened:
        faces = {
            round(sample.time, 3): analyser.of_frames.faces(sample.picture, Stopwatch()) for sample in opened.sample()
        }
    for kept in footage.faces:
        (whole,) = [face for face in faces[kept.time] if face.detection.box == kept.detection.box]
        assert np.array_equal(whole.embedding, kept.embedding)


@pytest.mark.slow
def test_crops_are_not_held_for_ever(clip, footage, monkeypatch):
    monkeypatch.setattr("photocluster.pipeline.footage.MAX_CROPS", 1)
    again = analyse_video(clip, Analyser(), Stopwatch())
    assert len(again.faces) == len(footage.faces) > 2
    for one, other in zip(footage.faces, again.faces, strict=True):
        assert np.array_equal(one.embedding, other.embedding)


@pytest.mark.slow
def test_the_same_clip_gives_the_same_faces(clip, footage):
    again = analyse_video(clip, Analyser(), Stopwatch())
    for one, other in zip(footage.faces, again.faces, strict=True):
        assert (one.time, one.track, one.detection.box) == (other.time, other.track, other.detection.box)
        assert np.array_equal(one.embedding, other.embedding)


def test_a_scan_keeps_the_clip_as_a_photo_and_reads_it_once(clip, library):
    rows = [row for row in library.faces.rows() if row.time is not None]
    assert {row.photo for row in rows} == {hashlib.sha256(clip.read_bytes()).hexdigest()}
    assert {row.facts.format for row in rows} == {"MP4"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("photocluster.pipeline.working.work_on", None)
        report = scan(library.folder, [clip.parent], ScanOptions(workers=1))
    assert (report.photos, report.unchanged) == (0, 3)


def test_no_video_and_its_interval(clip, tmp_path, monkeypatch):
    asked = []

    def footage(_path, _analyser, _watch, *, interval, alive):
        asked.append(interval)
        return Footage(FACTS, [], 0, 0, 0)

    scan_in_this_process(monkeypatch, FakeAnalyser)
    monkeypatch.setattr("photocluster.pipeline.working.analyse_video", footage)
    report = scan(tmp_path / "lib", [clip], ScanOptions(workers=1, video=False))
    assert (report.photos, report.others) == (0, 1)
    report = scan(tmp_path / "lib", [clip], ScanOptions(workers=1, video_interval=0.5))
    assert (report.photos, asked) == (1, [0.5])


def test_tables_and_sheets_show_the_frame(library, run_cli, tmp_path):
    at = ["--library", library.folder]
    assert run_cli(*at, "export", "table", tmp_path / "faces.csv").code == 0
    with (tmp_path / "faces.csv").open(encoding="utf-8") as file:
        rows = {row["face"]: row for row in csv.DictReader(file)}
    filmed = [row for row in rows.values() if row["time"]]
    assert {row["track"] for row in filmed} >= {"0", "1"}
    assert run_cli(*at, "export", "html", tmp_path / "sheet").code == 0
    (picture,) = (tmp_path / "sheet").glob(f"faces/*/{filmed[0]['face']}-*.jpg")
    seen = Analyser().of_frames.detector.detect(np.asarray(Image.open(picture)))
    assert len(seen) == 1


@pytest.mark.slow
def test_a_clip_can_be_asked_about(clip, library, run_cli):
    ran = run_cli("--library", library.folder, "identify", clip, "--json")
    assert ran.code == 0, ran.err
    named = [(answer["person"], answer["time"]) for answer in ran.json]
    assert {person for person, _ in named} == {"Eileen", None}
    assert len({time for person, time in named if person}) >= 2  # one person in several frames
    assert "at 0:0" in run_cli("--library", library.folder, "identify", clip).out


def test_the_written_clip(clip, library, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr("photocluster.pipeline.clip_export.LOOK_EVERY", 0.4)  # in half the time
    out = tmp_path / "out.mp4"
    ran = run_cli("--library", library.folder, "export", "video", clip, out, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["by_person"].keys() == {"Eileen"}
    assert ran.json["unknown"] >= 1
    assert (ran.json["frames"], ran.json["sound"]) == (40, "copied")
    with av.open(str(out)) as written, av.open(str(clip)) as original:
        assert [s.type for s in written.streams] == ["video", "audio"]
        assert written.streams.video[0].codec_context.name == "h264"
        sounds = [[bytes(p) for p in c.demux(c.streams.audio[0]) if p.size] for c in (written, original)]
        assert sounds[0] == sounds[1]
    assert not list(tmp_path.glob(".*"))
    with video.Clip(out) as opened:
        assert opened.facts.duration == pytest.approx(4.0, abs=0.1)
    assert colours_drawn(out, clip, 1.1) == {NAMED, UNNAMED}
    assert colours_drawn(out, clip, 3.1) == {NAMED}


def colours_drawn(out, clip, time: float) -> set[tuple[int, int, int]]:
    """Return which of the boxes' colours were drawn into a frame."""
    rgb = []
    for path in (out, clip):
        with video.Clip(path) as opened:
            ((_, picture),) = opened.at([time])
        rgb.append(picture.rgb.astype(int))
    changed = np.abs(rgb[0] - rgb[1]).max(axis=2) > 30
    near = {colour: (np.abs(rgb[0] - colour).max(axis=2) < 20) & changed for colour in (NAMED, UNNAMED)}
    return {colour for colour, mask in near.items() if mask.sum() > 250}


@pytest.mark.slow
def test_only_some_persons_are_drawn(clip, library, tmp_path):
    export_clip(library, clip, tmp_path / "out.mp4", persons=["eileen"])
    assert colours_drawn(tmp_path / "out.mp4", clip, 1.1) == {NAMED}


def test_what_may_not_be_written_over(clip, library, tmp_path):
    with pytest.raises(UsageError, match="the clip itself"):
        export_clip(library, clip, clip)
    (tmp_path / "link.mp4").hardlink_to(clip)
    with pytest.raises(UsageError, match="the clip itself"):
        export_clip(library, clip, tmp_path / "link.mp4")
    other = film(tmp_path / "other.mp4", [scene()])
    with pytest.raises(UsageError, match="file of the library"):
        export_clip(library, other, clip)
    with pytest.raises(UsageError, match="must end in"):
        export_clip(library, clip, tmp_path / "out.mkv")
    with pytest.raises(UsageError, match="no folder"):
        export_clip(library, clip, tmp_path / "none" / "out.mp4")


def test_sound_that_mp4_does_not_hold_becomes_aac_and_odd_sizes_even(library, tmp_path):
    source = tmp_path / "a.avi"
    with av.open(str(source), "w") as out:
        seen, heard = out.add_stream("mjpeg", rate=10), out.add_stream("pcm_s16le", rate=8000, layout="mono")
        seen.width, seen.height, seen.pix_fmt = 161, 121, "yuvj420p"
        for number in range(10):
            frame = av.VideoFrame.from_image(scene(size=(161, 121)))
            frame.pts = number
            out.mux(seen.encode(frame))
            sound = av.AudioFrame.from_ndarray(np.full((1, 800), 100, np.int16), "s16", "mono")
            sound.sample_rate, sound.pts = 8000, 800 * number
            out.mux(heard.encode(sound))
        out.mux(seen.encode())
        out.mux(heard.encode())
    summary = export_clip(library, source, tmp_path / "out.mp4")
    assert (summary.sound, summary.frames, summary.tracks) == ("converted", 10, 0)
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert [s.codec_context.name for s in written.streams] == ["h264", "aac"]
        assert (written.streams.video[0].width, written.streams.video[0].height) == (160, 120)


def way(*sightings: tuple[float, float, int]) -> _Path:
    """Return a path of (time, left, scene)."""
    boxes = [Box(left, 0, left + 10, 10) for _, left, _ in sightings]
    return _Path("Ann", [t for t, _, _ in sightings], boxes, [s for _, _, s in sightings])


def test_boxes_follow_between_sightings():
    path = way((1.0, 0, 0), (1.2, 20, 0), (3.0, 50, 0), (3.2, 90, 1))
    assert box_at(path, 1.1, 0).x0 == pytest.approx(10)
    assert box_at(path, 1.19 + LOOK_EVERY / 2, 0).x0 == 20  # held for half a look
    assert box_at(path, 2.0, 0) is None  # not seen for long
    assert box_at(path, 0.95, 0).x0 == 0
    assert box_at(path, 0.5, 0) is None
    assert box_at(path, 3.1, 0).x0 == 50  # before the cut
    assert box_at(path, 3.15, 1).x0 == 90  # behind it
    assert box_at(path, 3.25, 2) is None


def test_words_stay_inside_the_picture_and_names_are_on_top():
    blank = np.zeros((100, 200, 3), dtype=np.uint8)
    top_right = draw(blank, [Caption(Box(180, -5, 199, 20), "Maximilian", named=True)])
    assert not blank.any()
    left = np.flatnonzero((top_right == NAMED).all(axis=2).any(axis=0))[0]
    assert left < 150
    both = [Caption(Box(10, 40, 60, 90), "unknown", named=False), Caption(Box(10, 40, 60, 90), "Ann", named=True)]
    assert tuple(draw(blank, both)[89, 30]) == NAMED
    assert tuple(draw(blank, both[::-1])[89, 30]) == NAMED
    assert draw(blank, []) is blank


def test_letters_that_no_font_has_are_question_marks(monkeypatch):
    monkeypatch.setattr(overlay, "FONTS", ())
    overlay.font_for.cache_clear()
    font = overlay.font_for("Ann 李", 20)
    assert overlay.written("Ann 李", font) == "Ann ?"
    overlay.font_for.cache_clear()

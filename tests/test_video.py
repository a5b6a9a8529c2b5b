"""Videos: told by content, sampled in time, upright, and refused with a reason."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from filming import film, scene, shades
from PIL import Image

from photocluster import frames, photos, video
from photocluster.containers import HEAD, captured_at
from photocluster.errors import PhotoError, PhotoTooLarge, UndecodablePhoto, UnreadableFile

FORMATS = [
    ("MP4", "mp4", "libx264", {}),
    ("MOV", "mov", "libx264", {}),
    ("3GP", "3gp", "mpeg4", {}),
    ("AVI", "avi", "mjpeg", {}),
    ("MKV", "matroska", "libx264", {}),
    ("WebM", "webm", "libvpx", {}),
    ("MTS", "mpegts", "libx264", {}),
    ("MTS", "mpegts", "libx264", {"mpegts_m2ts_mode": "1"}),
    ("WMV", "asf", "wmv2", {}),
    ("FLV", "flv", "flv", {}),
    ("MPEG", "mpeg", "mpeg1video", {}),
]


def times_of(path, interval=1.0):
    with video.Clip(path) as clip:
        return [round(sample.time, 2) for sample in clip.sample(interval)]


@pytest.mark.parametrize(("name", "container", "codec", "options"), FORMATS)
def test_a_clip_is_told_by_its_content_and_sampled_each_second(tmp_path, name, container, codec, options):
    fps = 25 if name == "MPEG" else 10
    pictures = shades(35 * fps // 10)
    path = film(tmp_path / "holiday.jpg", pictures, fps=fps, container=container, codec=codec, options=options)
    head = path.read_bytes()[:HEAD]
    assert video.is_video(head)
    assert not photos.is_photo(head[: photos.HEAD])
    with video.Clip(path) as clip:
        samples = list(clip.sample(1.0))
        assert clip.facts.format == name
        assert (clip.facts.width, clip.facts.height) == (320, 240)
        assert clip.facts.duration == pytest.approx(3.5, abs=0.2)
    times = [sample.time for sample in samples]
    assert np.allclose(np.diff([*times, 4.0])[:3], 1.0, atol=0.3)
    assert times[0] < 0.3
    left, right = samples[0].picture.rgb[200, 50].astype(int), samples[0].picture.rgb[200, 250].astype(int)
    assert left[0] - right[0] > 60  # the red half is on the left
    with video.Clip(path) as clip:
        again = dict(clip.at([round(sample.time, 3) for sample in samples]))
    for sample in samples:
        assert np.array_equal(again[round(sample.time, 3)].rgb, sample.picture.rgb)


def test_what_is_no_video(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.mp4", format="JPEG")
    sound = film(tmp_path / "a.m4a", [], sound=0.2)
    heic = b"\0\0\0\x18ftypheic" + bytes(400)
    for head in (
        b"",
        b"\x47" * 3,
        b"The wide world",
        (tmp_path / "a.mp4").read_bytes()[:400],
        sound.read_bytes()[:400],
        heic,
    ):
        assert not video.is_video(head)


def test_long_stretches_between_keyframes_change_no_times(tmp_path):
    path = film(tmp_path / "a.mkv", shades(45), gop=250)
    assert times_of(path) == [0, 1, 2, 3, 4]
    assert times_of(path, 2.0) == [0, 1.2, 2.3, 3.4]  # four samples of a short clip


def test_a_new_scene_is_sampled_though_it_is_not_due(tmp_path):
    dark, bright = [scene(shade=30)] * 24, [scene(shade=200)] * 21
    path = film(tmp_path / "a.mp4", [*dark, *bright], gop=250)
    with video.Clip(path) as clip:
        samples = list(clip.sample(2.0))
    scenes = [sample.time for sample in samples if sample.new_scene]
    assert scenes[0] == 0
    assert len(scenes) == 2
    assert 2.4 <= scenes[1] <= 2.7


def test_a_long_clip_is_sampled_at_longer_intervals(tmp_path):
    path = film(tmp_path / "a.mp4", shades(100), gop=10)
    with video.Clip(path) as clip:
        samples = list(clip.sample(0.5, most=5))
        assert clip.interval == pytest.approx(2.0)
    assert [round(sample.time) for sample in samples] == [0, 2, 4, 6, 8]


def test_variable_frame_rate(tmp_path):
    path = film(tmp_path / "a.mkv", shades(6), times=[0, 0.1, 0.15, 2.0, 2.05, 7.0])
    assert times_of(path) == [0, 2, 7]


QUARTERS = [(a, b, c, d) for a, b, c, d in product((-1, 0, 1), repeat=4) if a * d - b * c in (-1, 1) and a * b == 0]


def test_all_eight_turns_and_reflections_come_upright(tmp_path):
    turns = [(a, b, c, d) for a, b, c, d in QUARTERS if c * d == 0]
    assert len(turns) == 8
    seen = set()
    for number, (a, b, c, d) in enumerate(turns):
        matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
        path = film(tmp_path / f"{number}.mp4", shades(2), matrix=matrix)
        with video.Clip(path) as clip:
            (_, picture), *_ = clip.at([0.0])
        stored = np.asarray(next(shades(1))).astype(int)
        # The display matrix takes the point (x, y) to (ax + cy, bx + dy), about the centre here.
        height, width = picture.rgb.shape[:2]
        assert (clip.facts.width, clip.facts.height) == (width, height) == ((320, 240) if a else (240, 320))
        for x, y in ((-80, -60), (80, -60), (-80, 60), (80, 60)):
            u, v = a * x + c * y, b * x + d * y
            shown = picture.rgb[height // 2 + v, width // 2 + u].astype(int)
            assert np.abs(shown - stored[120 + y, 160 + x]).max() < 12
        seen.add(clip.facts.orientation)
    assert seen == set(range(1, 9))


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    path = film(tmp_path / "a.avi", shades(5, (720, 576)), codec="mpeg4", aspect=Fraction(16, 15))
    with video.Clip(path) as clip:
        assert (clip.facts.width, clip.facts.height) == (768, 576)
        sample = next(clip.sample())
    assert sample.picture.rgb.shape == (576, 768, 3)
    assert sample.picture.scale == 1.0


def test_large_frames_are_reduced_and_huge_ones_refused(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", shades(2))
    with video.Clip(path, longest_side=160) as clip:
        sample = next(clip.sample())
    assert sample.picture.rgb.shape == (120, 160, 3)
    assert sample.picture.scale == 0.5
    assert clip.facts.width == 320
    monkeypatch.setattr(video, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(PhotoTooLarge, match="320 x 240"):
        video.Clip(path)


def test_interlaced_rows_are_of_one_moment():
    rgb = np.zeros((7, 4, 3), dtype=np.uint8)
    rgb[1::2] = 255
    assert not frames.one_field(rgb)[:-1].any()
    assert frames.one_field(rgb[:6])[:5].max() == 0


def test_date_and_camera(tmp_path):
    said = {
        "com.apple.quicktime.creationdate": "2021-05-04T13:02:03+0200",
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.model": "Apple Phone 12",
        "creation_time": "2020-01-01T00:00:00Z",
    }
    path = film(tmp_path / "a.mov", shades(2), metadata=said, options={"movflags": "use_metadata_tags"})
    with video.Clip(path) as clip:
        assert (clip.facts.captured_at, clip.facts.camera) == ("2021-05-04T13:02:03", "Apple Phone 12")
    path = film(tmp_path / "b.mp4", shades(2), metadata={"creation_time": "2020-01-01T12:00:00Z"})
    with video.Clip(path) as clip:
        assert (clip.facts.captured_at, clip.facts.camera) == ("2020-01-01T12:00:00", None)


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ({"creation_time": "1904-01-01T00:00:00.000000Z"}, None),
        ({"creation_time": "1970-01-01T00:00:00Z", "date": "2005-06-07 08:09:10"}, "2005-06-07T08:09:10"),
        ({"date": "2005"}, None),
        ({"creation_time": "2005-13-07T08:09:10Z"}, None),
        ({}, None),
    ],
)
def test_clocks_that_were_never_set(said, time):
    assert captured_at(said) == time


def test_the_same_frame_again(tmp_path):
    """What a thumbnail shows is the frame in which the face was found."""
    for gop in (10, 250):
        path = film(tmp_path / f"{gop}.mp4", shades(35), gop=gop)
        with video.Clip(path) as clip:
            samples = list(clip.sample(1.0))
        with video.Clip(path) as clip:
            again = dict(clip.at([round(sample.time, 3) for sample in samples[::-1]]))
        for sample in samples:
            assert np.array_equal(again[round(sample.time, 3)].rgb, sample.picture.rgb)


def test_the_hash_is_that_of_the_content(tmp_path):
    path = film(tmp_path / "a.mp4", shades(2))
    assert video.content_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UnreadableFile):
        video.content_hash(tmp_path / "none")
    with pytest.raises(UnreadableFile):
        video.Clip(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return film(tmp_path_factory.mktemp("clips") / "a.mp4", shades(35)).read_bytes()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda b: b[: len(b) * 2 // 3], "cut off: .* still being copied"),
        (lambda b: b[:60], "cut off"),
        (lambda b: b[:32], "index"),
        (lambda b: b[:32] + bytes(len(b) - 32), "index"),
        (lambda b: b.replace(b"avc1", b"encv").replace(b"avcC", b"sinf"), "encrypted"),
        (lambda b: b.replace(b"avc1", b"zzzz"), "codec"),
        (lambda b: b.replace(b"mdat", b"free"), None),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, whole, spoil, reason):
    path = tmp_path / "a.mp4"
    path.write_bytes(spoil(whole))
    if reason is None:
        assert times_of(path) == [0, 1, 2, 3]  # the index says where the frames are, whatever the box is called
        return
    with pytest.raises(UndecodablePhoto, match=reason) as caught:
        video.Clip(path)
    assert "\n" not in str(caught.value)


def test_sound_without_pictures(tmp_path):
    with pytest.raises(UndecodablePhoto, match="only sound"):
        video.Clip(film(tmp_path / "a.mp4", [], sound=0.2))


def test_damage_costs_the_frames_that_it_hits(tmp_path, whole):
    content = bytearray(whole)
    start = content.index(b"mdat") + 4
    content[start : start + 2000] = bytes(2000)
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    times = times_of(path)
    assert 3.0 in times
    assert len(times) < 5


def test_random_damage_never_raises_anything_else(tmp_path, whole):
    containers = ("matroska", "mpegts", "avi")
    others = [film(tmp_path / name, shades(25), container=name, codec="mpeg4").read_bytes() for name in containers]
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    outcomes = set()
    for content in [whole, *others] * 6:
        spoiled = bytearray(content[: int(rng.integers(len(content) // 3, len(content) + 1))])
        for position in rng.integers(0, len(spoiled), int(rng.integers(1, 60))):
            spoiled[position] ^= int(rng.integers(1, 256))
        path.write_bytes(spoiled)
        try:
            outcomes.add(bool(times_of(path)))
        except PhotoError:
            outcomes.add("refused")
    assert {True, "refused"} <= outcomes

"""Moments in two files: which belong together, which of them is looked into, and that no name is lost between them."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from filming import film, shades
from making import FakeAnalyser, dump, picture
from PIL import ExifTags, Image

from photocluster import photos
from photocluster.pipeline import scanning
from photocluster.pipeline.forgetting import find_photos
from photocluster.pipeline.moments import CONTENT_IDENTIFIER, Rank, _read_name, _same_time, rank_of
from photocluster.pipeline.naming import label
from photocluster.pipeline.scanning import ScanOptions, ScanReport
from photocluster.store import Library

pytestmark = pytest.mark.usefixtures("fake_analyser")

IDENTIFIER = "4636F170-F379-42AC-9CEA-20233E95936F"


@pytest.fixture
def album(tmp_path) -> Path:
    (tmp_path / "album").mkdir()
    return tmp_path / "album"


@pytest.fixture
def scan(library_folder, album):
    def call(*roots: Path, **options) -> ScanReport:
        return scanning.scan(library_folder, roots or [album], ScanOptions(**options))

    return call


@pytest.fixture
def seen(library_folder):
    """Return a function that lists the living faces as (file name, person)."""

    def call() -> list[tuple[str, str | None]]:
        with Library(library_folder) as library:
            assert library.check() == []
            return sorted(
                ((Path(row.path).name, row.person) for row in library.faces.rows()),
                key=lambda face: (face[0], face[1] or ""),
            )

    return call


@pytest.fixture
def name(library_folder):
    """Return a function that names the first living face of a file."""

    def call(file: str, person: str) -> None:
        with Library(library_folder) as library:
            face = min(row.face for row in library.faces.rows() if Path(row.path).name == file)
            label(library, [f"f{face}"], person)

    return call


def companions(folder: Path) -> int:
    with Library(folder) as library:
        return library.status().companion_files


def clip(path: Path, *, seconds: float = 1, identifier: str = "", at: str = "") -> Path:
    metadata = {CONTENT_IDENTIFIER: identifier} if identifier else {}
    metadata |= {"creation_time": at} if at else {}
    return film(path, shades(int(10 * seconds)), metadata=metadata, options={"movflags": "use_metadata_tags"})


def exif(at: str) -> Image.Exif:
    said = Image.Exif()
    said.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = at
    return said


def dated(path: Path, at: str, *persons: int) -> Path:
    """Write a picture that was taken then."""
    with Image.open(picture(path, *persons)) as drawn:
        drawn.convert("RGB").save(path, format="JPEG", quality=100, subsampling=0, exif=exif(at))
    return path


def raw(path: Path, at: str) -> Path:
    """Write the tags of a RAW without its pixels."""
    path.write_bytes(exif(at).tobytes().removeprefix(b"Exif\0\0"))
    return path


# Names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture_name", "other", "rank"),
    [
        ("IMG_1.JPG", "IMG_1.CR2", Rank.RAW),
        ("img_1.jpg", "IMG_1.NEF", Rank.RAW),
        ("DSC00001.HIF", "DSC00001.ARW", Rank.RAW),
        ("PXL_20231207_032111247.RAW-01.COVER.jpg", "PXL_20231207_032111247.RAW-02.ORIGINAL.dng", Rank.RAW),
        ("PXL_20231207_032108788.RAW-01.MP.COVER.jpg", "PXL_20231207_032108788.RAW-02.ORIGINAL.dng", Rank.RAW),
        ("PXL_20231026_205755225.MP.jpg", "PXL_20231026_205755225.dng", Rank.RAW),
        ("PXL_20231026_205755225.MP.jpg", "PXL_20231026_205755225.MP", Rank.CLIP),
        ("IMG_1.CR2.jpg", "IMG_1.CR2", Rank.RAW),
        ("IMG_1.RAW.JPG", "IMG_1.DNG", Rank.RAW),
        ("IMG_7943.HEIC", "IMG_7943.MOV", Rank.CLIP),
        ("IMG_7943.HEIC", "IMG_7943.mp4", Rank.CLIP),
        ("IMG_7943.HEIC", "IMG_7943_HEVC.MOV", Rank.CLIP),
        ("IMG_7943.HEIC", "IMG_7943_HEIC.MOV", Rank.CLIP),
        ("IMG_1234.HEIC", "IMG_E1234.JPG", Rank.EDITED),
        ("IMG_1234.HEIC", "IMG_E1234.MOV", Rank.CLIP),
        ("beach.jpg", "beach-edited.jpg", Rank.EDITED),
        ("A\u0308nne.jpg", "\u00c4NNE.dng", Rank.RAW),
    ],
)
def test_names_of_one_moment(picture_name, other, rank):
    assert _read_name(picture_name)[0] == _read_name(other)[0]
    assert (rank_of(picture_name), rank_of(other)) == (Rank.PICTURE, rank)


@pytest.mark.parametrize(
    ("one", "other"),
    [("IMG_1.JPG", "IMG_2.CR2"), ("IMG_1.JPG", "IMG_1 (1).CR2"), ("IMG_1234.JPG", "MVI_1234.MOV"), (".jpg", ".mov")],
)
def test_names_of_two_moments(one, other):
    same = _read_name(one)[0] == _read_name(other)[0]
    assert not same or one.startswith(".")


def test_names_without_an_extension_are_pictures():
    assert [rank_of(name) for name in ("IMG_1", "raw", "mov", "", "a.txt")] == [Rank.PICTURE] * 5


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2026-03-23T15:57:20", "2026-03-23T15:57:22", True),
        ("2026-03-23T15:57:20", "2026-03-23T14:57:21", True),  # UTC
        ("2026-03-23T15:57:20", "2026-03-23T10:27:18", True),  # half-hour zones
        ("2026-03-23T15:57:20", "2026-03-23T15:59:20", False),
        ("2026-03-23T15:57:20", "2026-03-25T15:57:20", False),
        (None, "2026-03-23T15:57:20", True),
        (None, None, True),
    ],
)
def test_times_of_one_moment(one, other, same):
    assert _same_time(one, other) is same
    assert _same_time(other, one) is same


# RAW and JPEG -------------------------------------------------------------------------------------------------------


def test_a_raw_beside_its_jpeg_is_recorded_and_not_looked_into(scan, album, seen, library_folder, monkeypatch):
    picture(album / "IMG_1.CR2", 1, 2, shade=9)
    picture(album / "IMG_1.JPG", 1, 2)
    picture(album / "IMG_2.CR2", 3)
    report = scan()
    assert (report.photos, report.companions, report.others) == (2, 1, 0)
    assert seen() == [("IMG_1.JPG", None), ("IMG_1.JPG", None), ("IMG_2.CR2", None)]
    assert companions(library_folder) == 1
    opened = []
    monkeypatch.setattr(photos, "sniff", opened.append)
    again = scan()
    assert (again.unchanged, again.companions, opened) == (3, 0, [])


@pytest.mark.parametrize("workers", [1, 4])
def test_what_comes_first_changes_nothing(scan, album, seen, workers):
    for number in range(1, 9):
        picture(album / f"IMG_{number}.CR2", number, shade=9)
        picture(album / f"IMG_{number}.jpg", number)
        picture(album / f"aaa_{number}.ARW", number + 10, shade=9)
        picture(album / f"AAA_{number}.JPG", number + 10)
    scan(workers=workers)
    assert FakeAnalyser.analysed == 16
    assert [file for file, _ in seen()] == sorted(f.name for f in album.iterdir() if f.suffix.lower() == ".jpg")


@pytest.mark.parametrize("order", [("IMG_1.CR2", "IMG_1.JPG"), ("IMG_1.JPG", "IMG_1.CR2")])
def test_files_that_come_one_after_the_other(scan, album, seen, library_folder, tmp_path, order):
    picture(tmp_path / "IMG_1.CR2", 1, 2, shade=9)
    picture(tmp_path / "IMG_1.JPG", 1, 2)
    for file in order:
        shutil.move(tmp_path / file, album)
        scan()
    assert seen() == [("IMG_1.JPG", None), ("IMG_1.JPG", None)]
    assert companions(library_folder) == 1
    with Library(library_folder) as library:
        assert (library.status().photos, library.photos.missing()) == (1, [])


def test_names_go_over_to_the_jpeg_that_came_later_and_back(scan, album, seen, name, library_folder, tmp_path):
    raw = picture(album / "IMG_1.CR2", 1, 2, shade=9)
    scan()
    name("IMG_1.CR2", "Ann")
    jpeg = picture(album / "IMG_1.JPG", 1, 2)
    assert scan().carried == 1
    assert seen() == [("IMG_1.JPG", None), ("IMG_1.JPG", "Ann")]
    jpeg.rename(tmp_path / "away.jpg")
    report = scan()
    assert (report.carried, report.missing) == (1, 0)
    assert seen() == [("IMG_1.CR2", None), ("IMG_1.CR2", "Ann")]
    (tmp_path / "away.jpg").rename(jpeg)
    scan()
    assert seen() == [("IMG_1.JPG", None), ("IMG_1.JPG", "Ann")]
    raw.unlink()
    scan()
    assert seen() == [("IMG_1.JPG", None), ("IMG_1.JPG", "Ann")]
    assert FakeAnalyser.analysed == 2
    with Library(library_folder) as library:
        assert library.photos.missing() == []


def test_a_raw_is_looked_into_when_its_jpeg_vanishes(scan, album, seen, name, library_folder):
    picture(album / "IMG_1.CR2", 1, 2, shade=9)
    jpeg = picture(album / "IMG_1.JPG", 1, 2)
    scan()
    name("IMG_1.JPG", "Ann")
    jpeg.unlink()
    report = scan()
    assert (report.photos, report.carried) == (1, 1)
    assert seen() == [("IMG_1.CR2", None), ("IMG_1.CR2", "Ann")]
    assert companions(library_folder) == 0
    assert scan().unchanged == 1


def test_a_face_that_the_other_file_does_not_show_keeps_its_name(scan, album, seen, name):
    picture(album / "IMG_1.CR2", 1, shade=9)
    scan()
    name("IMG_1.CR2", "Ann")
    picture(album / "IMG_1.JPG", 2)
    scan()
    assert seen() == [("IMG_1.CR2", "Ann"), ("IMG_1.JPG", None)]


def test_a_jpeg_that_fails_does_not_stand_for_its_raw(scan, album, seen, library_folder):
    picture(album / "IMG_1.CR2", 1, shade=9)
    (album / "IMG_1.JPG").write_bytes(b"\xff\xd8\xff rubbish")
    report = scan()
    assert [path.name for path, _ in report.failed] == ["IMG_1.JPG"]
    assert seen() == [("IMG_1.CR2", None)]
    picture(album / "IMG_1.JPG", 1)
    scan()
    assert seen() == [("IMG_1.JPG", None)]
    assert companions(library_folder) == 1


def test_another_picture_takes_over_when_the_first_vanishes(scan, album, seen, name):
    picture(album / "IMG_1.CR2", 1, 2, shade=9)
    scan()
    name("IMG_1.CR2", "Ann")
    picture(album / "IMG_1.HEIC", 1, 2)
    picture(album / "IMG_1.JPG", 1, 2, shade=5)
    scan()
    assert [file for file, _ in seen()] == ["IMG_1.HEIC", "IMG_1.HEIC", "IMG_1.JPG", "IMG_1.JPG"]
    (album / "IMG_1.HEIC").unlink()
    scan()
    assert [file for file, _ in seen()] == [
        "IMG_1.HEIC",
        "IMG_1.HEIC",
        "IMG_1.JPG",
        "IMG_1.JPG",
    ]  # the first is missing
    assert ("IMG_1.HEIC", "Ann") in seen()


def test_a_raw_that_failed_before_its_jpeg_came(scan, album):
    (album / "IMG_1.CR2").write_bytes(b"\xff\xd8\xff rubbish")
    assert scan().failed
    picture(album / "IMG_1.JPG", 1)
    report = scan()
    assert report.companions == 1
    assert scan().failed == []


def test_a_jpeg_that_is_left_out_does_not_stand_for_its_raw(scan, album, seen):
    picture(album / "IMG_1.CR2", 1, shade=9)
    picture(album / "IMG_1.JPG", 1)
    scan(exclude=("*.JPG",))
    assert seen() == [("IMG_1.CR2", None)]


def test_files_of_two_folders_are_two_moments(scan, album, seen):
    picture(album / "a" / "IMG_1.CR2", 1, shade=9)
    picture(album / "b" / "IMG_1.JPG", 1)
    picture(album / "a" / "b" / "IMG_1.JPG", 1)
    scan()
    assert [file for file, _ in seen()] == ["IMG_1.CR2", "IMG_1.JPG"]


def test_two_cameras_that_used_one_name(scan, album, seen):
    raw(album / "IMG_1.NEF", "2019:07:14 16:02:11")
    dated(album / "IMG_1.JPG", "2021:01:01 10:20:30", 2)
    raw(album / "IMG_2.NEF", "2019:07:14 16:02:11")
    dated(album / "IMG_2.JPG", "2019:07:14 16:02:12", 3)
    report = scan()
    assert [path.name for path, _ in report.failed] == ["IMG_1.NEF"]  # it was looked into, and has no pixels
    assert report.companions == 1


def test_a_moved_pair_is_not_looked_into_again(scan, album, seen, library_folder):
    picture(album / "a" / "IMG_1.CR2", 1, shade=9)
    picture(album / "a" / "IMG_1.JPG", 1)
    scan()
    (album / "a").rename(album / "b")
    report = scan()
    assert (report.photos, report.companions, FakeAnalyser.analysed) == (0, 1, 1)
    assert seen() == [("IMG_1.JPG", None)]
    assert {Path(row[1].decode()).parent.name for row in dump(library_folder, ("file",))["file"]} == {"b"}


def test_a_jpeg_edited_in_place_still_stands_for_its_raw(scan, album, seen, name, library_folder):
    picture(album / "IMG_1.CR2", 1, shade=9)
    picture(album / "IMG_1.JPG", 1)
    scan()
    name("IMG_1.JPG", "Ann")
    picture(album / "IMG_1.JPG", 1, note="edited, and longer")
    scan()
    assert seen() == [("IMG_1.JPG", "Ann")]
    assert companions(library_folder) == 1
    assert FakeAnalyser.analysed == 2


def test_a_raw_that_changes_beside_its_jpeg_keeps_its_names(scan, album, seen, name, library_folder):
    picture(album / "IMG_1.CR2", 1, 2, shade=9)
    scan()
    name("IMG_1.CR2", "Ann")
    picture(album / "IMG_1.CR2", 1, 2, shade=9, note="a rating")
    picture(album / "IMG_1.JPG", 1, 2)
    scan()
    assert seen() == [("IMG_1.JPG", None), ("IMG_1.JPG", "Ann")]
    with Library(library_folder) as library:
        assert library.photos.missing() == []


def test_a_raw_is_looked_into_when_its_jpeg_was_forgotten(scan, album, seen, library_folder):
    picture(album / "IMG_1.CR2", 1, shade=9)
    jpeg = picture(album / "IMG_1.JPG", 1)
    scan()
    jpeg.unlink()
    with Library(library_folder) as library:
        library.photos.forget(find_photos(library, [str(jpeg)]))
        assert library.check() == []
    assert scan().photos == 1
    assert seen() == [("IMG_1.CR2", None)]


def test_an_interrupted_scan_holds_back_again(scan, album, seen, library_folder, monkeypatch):
    picture(album / "IMG_1.CR2", 1, shade=9)
    picture(album / "IMG_1.JPG", 1)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("photocluster.pipeline.moments.HeldBack.due", stop)
        with pytest.raises(scanning.Interrupted):
            scan()
    assert seen() == [("IMG_1.JPG", None)]
    assert scan().companions == 1
    assert seen() == [("IMG_1.JPG", None)]


# Edited copies and Live Photos --------------------------------------------------------------------------------------


def test_edited_copies_are_shown_by_the_original(scan, album, seen, library_folder):
    picture(album / "IMG_1234.HEIC", 1, 2)
    picture(album / "IMG_E1234.JPG", 1, shade=9)
    picture(album / "beach.jpg", 3)
    picture(album / "beach-edited.jpg", 3, shade=9)
    picture(album / "IMG_E9.JPG", 4)
    scan()
    assert [file for file, _ in seen()] == ["IMG_1234.HEIC", "IMG_1234.HEIC", "IMG_E9.JPG", "beach.jpg"]
    assert companions(library_folder) == 2


def test_the_clip_of_a_live_photo_is_not_looked_into(scan, album, seen, library_folder):
    picture(album / "IMG_1.HEIC", 1)
    clip(album / "IMG_1.MOV")
    picture(album / "IMG_2.JPG", 2)
    clip(album / "IMG_2.MOV", seconds=6)
    report = scan()
    assert (report.photos, report.companions) == (3, 1)
    assert companions(library_folder) == 1
    assert scan().unchanged == 4


@pytest.mark.parametrize(
    ("note", "companion"),
    [
        (f"Apple iOS\0 {IDENTIFIER}", True),
        ("Apple iOS\0 4636F170-0000-0000-0000-000000000000", False),
        ("another program took the maker note away", True),
    ],
)
@pytest.mark.parametrize("clip_first", [False, True])
def test_the_identifier_of_a_live_photo_decides(scan, album, library_folder, note, companion, clip_first):
    clip(album / "IMG_1.MOV", identifier=IDENTIFIER)
    if clip_first:
        assert scan().photos == 1
    picture(album / "IMG_1.HEIC", 1, note=note)
    scan()
    assert companions(library_folder) == companion
    with Library(library_folder) as library:
        assert library.status().photos == 2 - companion


def test_an_identifier_outweighs_length(scan, album):
    picture(album / "IMG_1.HEIC", 1, note=f"Apple iOS\0 {IDENTIFIER}")
    clip(album / "IMG_1.MOV", identifier=IDENTIFIER, seconds=6)
    assert scan().companions == 1


def test_a_clip_of_another_time_is_no_live_photo(scan, album):
    dated(album / "IMG_1.JPG", "2021:01:01 10:20:30", 1)
    clip(album / "IMG_1.MOV", at="2019-07-14T16:02:11Z")
    dated(album / "IMG_2.JPG", "2021:01:01 10:20:30", 2)
    clip(album / "IMG_2.MOV", at="2021-01-01T09:20:29Z")
    assert scan().companions == 1


def test_jpeg_raw_and_clip_of_one_moment(scan, album, seen, library_folder):
    picture(album / "IMG_1.DNG", 1, shade=9)
    clip(album / "IMG_1.MOV")
    assert scan().companions == 1
    picture(album / "IMG_1.JPG", 1)
    scan()
    assert seen() == [("IMG_1.JPG", None)]
    assert companions(library_folder) == 2
    (album / "IMG_1.JPG").unlink()
    scan()
    assert seen() == [("IMG_1.DNG", None)]
    assert companions(library_folder) == 1


def test_without_videos_a_live_photo_is_still_one(scan, album):
    picture(album / "IMG_1.HEIC", 1)
    clip(album / "IMG_1.MOV")
    assert scan(video=False).companions == 1
    assert scan(video=False).unchanged == 2


def test_a_clip_behind_a_jpeg_changes_nothing(scan, album, seen):
    """Google's and Samsung's motion photos are one file."""
    jpeg = picture(album / "PXL_1.MP.jpg", 1)
    with jpeg.open("ab") as file:
        file.write(clip(album.parent / "clip.mp4").read_bytes())
    assert scan().photos == 1
    assert seen() == [("PXL_1.MP.jpg", None)]


# Any order of events ------------------------------------------------------------------------------------------------


def test_a_scan_that_was_stopped_leaves_no_pair_unlinked(scan, album, seen, name, monkeypatch):
    picture(album / "IMG_1.CR2", 1, shade=9)
    scan()
    name("IMG_1.CR2", "Ann")
    picture(album / "IMG_1.JPG", 1)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("photocluster.pipeline.moments.HeldBack.take_left_alone", stop)
        with pytest.raises(scanning.Interrupted):
            scan()
    scan()
    assert seen() == [("IMG_1.JPG", "Ann")]


def test_a_jpeg_that_returns_shows_the_raw_that_came_meanwhile(scan, album, seen, tmp_path):
    jpeg = picture(album / "IMG_1.JPG", 1)
    scan()
    jpeg.rename(tmp_path / "away.jpg")
    picture(album / "IMG_1.CR2", 1, shade=9)
    scan()
    (tmp_path / "away.jpg").rename(jpeg)
    scan()
    assert seen() == [("IMG_1.JPG", None)]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_and_goes_no_name_is_lost_and_the_past_decides_nothing(scan, album, seen, library_folder, seed):
    """Files of three moments come and go at random, their faces are named; in the end a new library sees the same."""
    chance = random.Random(seed)
    endings = ("JPG", "CR2", "HEIC")
    named = set()
    for step in range(12):
        moment, ending = chance.randrange(3), chance.choice(endings)
        path = album / f"IMG_{moment}.{ending}"
        if path.exists():
            path.unlink()
        else:
            picture(path, 1 + moment, 11 + moment, shade=1 + endings.index(ending))
        if chance.random() < 0.6:
            scan(propagate=False, workers=chance.choice([1, 3]))
            with Library(library_folder) as library:
                faces = [row for row in library.faces.rows() if not row.missing and row.person is None]
                if faces and chance.random() < 0.5:
                    face = chance.choice(faces)
                    label(library, [f"f{face.face}"], f"Person {step}")
                    named.add(f"Person {step}")
    scan(propagate=False)
    assert named <= {person for _, person in seen()}
    with Library(library_folder) as library:
        assert library.check() == []
        here = Counter(row.path for row in library.faces.rows() if not row.missing)
    fresh = library_folder.parent / "fresh"
    if any(album.iterdir()):
        scanning.scan(fresh, [album], ScanOptions())
        with Library(fresh) as library:
            anew = Counter(row.path for row in library.faces.rows())
        assert {path: count for path, count in here.items() if path in anew} == dict(anew)
        extra = here - anew
        with Library(library_folder) as library:  # what else counts does so because the user named it
            assert all(row.person for row in library.faces.rows() if row.path in extra and not row.missing)
    else:
        assert not here

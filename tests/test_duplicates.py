"""photocluster duplicates: what is listed, and which file is the best."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from making import FACTS, face, make_library, picture, scanned, unit_vector

from photocluster.pipeline.duplicates import DuplicateKind, duplicates
from photocluster.store import Library

ANN = unit_vector(1)


def listed(library: Library, *paths: Path, **options) -> list[tuple[str, list[str]]]:
    return [(g.kind.value, [file.path.name for file in g.files]) for g in duplicates(library, paths, **options)]


def photo(path: str, number: int, phash: int, *faces, size: int = 1, **facts):
    made = scanned(path, f"{number:064}", faces, size=size)
    return replace(made, facts=replace(FACTS, **{"captured_at": None, **facts}), phash=phash)


@pytest.fixture
def library(library_folder):
    with make_library(library_folder) as made:
        yield made


def test_near_duplicates_are_listed_the_largest_first(library):
    library.photos.add(
        [
            photo("/a/small.jpg", 1, 7, face(ANN, left=5, top=5, side=20), width=320, height=240, size=90),
            photo("/a/large.jpg", 2, 5, face(ANN), size=70),
            photo("/a/worse.jpg", 3, 4, face(ANN), size=60),
            photo("/a/other.jpg", 4, -7, face(ANN)),
        ]
    )
    (group,) = duplicates(library)
    assert [file.path.name for file in group.files] == ["large.jpg", "worse.jpg", "small.jpg"]
    assert [file.best for file in group.files] == [True, False, False]
    assert (group.kind, group.spare_bytes) == (DuplicateKind.NEAR, 150)
    assert (group.files[0].width, group.files[0].height, group.files[0].faces) == (640, 480, 1)


def test_of_a_burst_the_best_faces_come_first(library):
    blurred = face(ANN)
    sharp = replace(blurred, quality=replace(blurred.quality, overall=0.9))
    library.photos.add(
        [
            photo("/a/1.jpg", 1, 7, blurred, captured_at="2019-07-14T16:02:11", size=9),
            photo("/a/2.jpg", 2, 1, sharp, captured_at="2019-07-14T16:02:11"),
            photo("/a/3.jpg", 3, 4, blurred, captured_at="2019-07-14T16:02:12", size=8),
        ]
    )
    assert listed(library) == [("burst", ["2.jpg", "1.jpg", "3.jpg"])]
    library.photos.add(
        [photo(f"/c/{n}.jpg", 7 + n, -(2**40) + n, captured_at="2020-07-14T16:02:11") for n in range(2)],
    )
    assert listed(library)[0] == ("near", ["0.jpg", "1.jpg"])  # copies of one photo
    library.photos.add([replace(photo("/b/small.jpg", 4, 7, blurred, captured_at="2019-07-14T16:02:11"), size=2)])
    assert listed(library)[0][0] == "near"  # not one camera's work


def test_copies_moments_and_a_choice_of_kinds_and_paths(fake_analyser, tmp_path, run_cli, library_folder):
    album = tmp_path / "album"
    old = picture(album / "a" / "IMG_1.JPG", 1)
    picture(album / "a" / "IMG_1.CR2", 1, shade=9)
    picture(album / "a" / "IMG_2.HEIC", 2)
    picture(album / "a" / "IMG_E2.JPG", 2, shade=9)
    picture(album / "a" / "IMG_E0002.JPG", 2, shade=8)
    shutil.copy(old, album / "copy of 1.jpg")
    os.utime(old, (1e9, 1e9))
    assert run_cli("scan", album).code == 0
    with Library(library_folder) as library:
        assert listed(library) == [
            ("copy", ["IMG_1.JPG", "copy of 1.jpg"]),
            ("raw", ["IMG_1.JPG", "IMG_1.CR2"]),
        ]
        assert listed(library, kinds=[DuplicateKind.COPY]) == [("copy", ["IMG_1.JPG", "copy of 1.jpg"])]
        assert listed(library, album / "copy of 1.jpg") == [("copy", ["IMG_1.JPG", "copy of 1.jpg"])]
        assert listed(library, tmp_path / "elsewhere") == []
    before = sorted(album.rglob("*"))
    shown = run_cli("duplicates", album)
    assert shown.code == 0
    assert "RAW and picture" in shown.out
    assert "2 groups; beside the best files 2 files" in shown.err
    assert sorted(album.rglob("*")) == before
    (group,) = run_cli("duplicates", "--kind", "raw", "--json").json
    assert group["kind"] == "raw"
    assert [Path(file["path"]).name for file in group["files"]] == ["IMG_1.JPG", "IMG_1.CR2"]
    assert run_cli("duplicates", "--kind", "twins").code == 2


def test_a_copy_that_is_gone_is_not_listed(fake_analyser, tmp_path, run_cli, library_folder):
    shutil.copy(picture(tmp_path / "a" / "1.png", 1), tmp_path / "a" / "2.png")
    run_cli("scan", tmp_path / "a")
    assert len(run_cli("duplicates", "--json").json) == 1
    (tmp_path / "a" / "2.png").unlink()
    run_cli("scan", tmp_path / "a")
    assert run_cli("duplicates", "--json").json == []

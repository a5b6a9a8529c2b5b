"""The rules of scanning, on tiny pictures in which a fake analyser sees coloured squares as people."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from making import dump, face, picture, unit_vector
from PIL import Image

from photocluster import photos
from photocluster.errors import Interrupted, RecipeMismatch, StoreBusy, StoreError, UnreadableFile, UsageError
from photocluster.pipeline import scanning, working
from photocluster.pipeline.clusters import _days
from photocluster.pipeline.forgetting import find_photos
from photocluster.pipeline.naming import label
from photocluster.pipeline.scanning import ScanOptions, ScanReport
from photocluster.records import Source
from photocluster.store import Library

pytestmark = pytest.mark.usefixtures("fake_analyser")


@pytest.fixture
def album(tmp_path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    return folder


@pytest.fixture
def scan(library_folder, album):
    """Return a function that scans `album`, or other roots, into the test's library."""

    def call(*roots: Path, progress=None, **options) -> ScanReport:
        return scanning.scan(library_folder, roots or [album], ScanOptions(**options), progress=progress)

    return call


@pytest.fixture
def calls(monkeypatch) -> Counter:
    """Count the files that are read and decoded."""
    counted: Counter = Counter()

    def watch(name):
        original = getattr(photos, name)

        def wrapped(*arguments, **options):
            counted[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(photos, name, wrapped)

    for name in ("sniff", "read", "decode"):
        watch(name)
    return counted


def names(folder: Path) -> dict[int, tuple[str, str]]:
    """Return face -> (person, source) of the faces that have a name."""
    with Library(folder) as library:
        assert library.check() == []
        return {row.face: (row.person, row.source.value) for row in library.faces.rows() if row.person}


def paths(folder: Path) -> dict[int, str]:
    """Return face -> file name."""
    with Library(folder) as library:
        return {row.face: Path(row.path).name for row in library.faces.rows()}


def say(folder: Path, number: int, name: str) -> None:
    with Library(folder) as library:
        label(library, [f"f{number}"], name)


def wait_a_tick(path: Path) -> None:
    """Set a modification time that differs from the last one: two writes can fall into one tick of the clock."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10_000_000))


# Rule 5: what is read again, and what is not ------------------------------------------------------------------------


def test_a_scan_finds_what_is_there(scan, album, library_folder):
    picture(album / "a.png", 1, 2)
    picture(album / "deep" / "b.png", 0, 3)
    picture(album / "nobody.png")
    (album / "notes.txt").write_text("not a photo")
    report = scan()
    assert (report.photos, report.photos_with_faces, report.faces, report.others) == (3, 2, 3, 1)
    assert (report.unchanged, report.known, report.missing, report.failed, report.skipped) == (0, 0, 0, [], False)
    assert report.stages.keys() >= {"read", "decode", "store"}
    assert paths(library_folder) == {0: "a.png", 1: "a.png", 2: "b.png"}
    with Library(library_folder) as library:
        status = library.status()
    assert (status.photos, status.photos_without_faces, status.files, status.faces) == (3, 1, 3, 3)


def test_a_second_scan_opens_nothing(scan, album, calls):
    picture(album / "a.png", 1)
    picture(album / "nobody.png")
    (album / "notes.txt").write_text("not a photo")
    (album / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    first = scan()
    assert calls == {"sniff": 4, "read": 3, "decode": 3}
    calls.clear()
    second = scan()
    assert calls == {}
    assert (second.photos, second.faces, second.others, second.unchanged) == (0, 0, 0, 4)
    assert second.failed == first.failed != []
    assert second.skipped


def test_moved_renamed_and_copied_files_keep_their_faces(scan, album, library_folder, calls):
    for number in (1, 2, 3):
        picture(album / f"{number}.png", number)
    scan()
    say(library_folder, 0, "Ann")
    vectors = np.load(library_folder / "embeddings.npy")
    calls.clear()
    (album / "1.png").rename(album / "new name.png")
    (album / "sub").mkdir()
    shutil.move(album / "2.png", album / "sub")
    shutil.copy(album / "3.png", album / "copy of 3.png")
    report = scan()
    assert calls["decode"] == 0
    assert (report.photos, report.known, report.missing) == (0, 3, 0)
    assert paths(library_folder) == {0: "new name.png", 1: "2.png", 2: "3.png"}
    assert names(library_folder) == {0: ("Ann", "user")}
    np.testing.assert_array_equal(np.load(library_folder / "embeddings.npy"), vectors)
    with Library(library_folder) as library:
        assert library.status().files == 4


def test_two_copies_in_one_scan_are_one_photo(scan, album, library_folder):
    picture(album / "a.png", 1, 2)
    for number in range(20):
        shutil.copy(album / "a.png", album / f"copy {number}.png")
    report = scan(workers=4)
    assert (report.photos, report.faces, report.known) == (1, 2, 20)
    assert len(paths(library_folder)) == 2


def test_a_moved_root_keeps_everything(scan, album, library_folder, tmp_path, calls):
    for number in (1, 2):
        picture(album / f"{number}.png", number)
    scan()
    say(library_folder, 1, "Ben")
    calls.clear()
    album.rename(tmp_path / "elsewhere")
    report = scan(tmp_path / "elsewhere")
    assert (calls["decode"], report.known, report.missing) == (0, 2, 0)
    assert names(library_folder) == {1: ("Ben", "user")}
    with Library(library_folder) as library:
        assert {Path(row.path).parent.name for row in library.faces.rows()} == {"elsewhere"}


# Changed files ------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_done_again(scan, album, library_folder):
    picture(album / "a.png", 1)
    picture(album / "b.png", 2)
    scan()
    picture(album / "a.png", 3, 4)
    report = scan()
    assert (report.photos, report.faces, report.unchanged, report.missing) == (1, 2, 1, 0)
    assert paths(library_folder) == {1: "b.png", 2: "a.png", 3: "a.png"}


def test_names_go_over_to_the_new_version_of_a_photo(scan, album, library_folder):
    """A program that writes keywords into a photo makes a new content of it; the faces are the same."""
    picture(album / "a.png", 1, 2)
    scan()
    say(library_folder, 0, "Ann")
    say(library_folder, 1, "Ben")
    with Library(library_folder) as library, library.names.decide("reject", {}) as decision:
        decision.put("rejection", {"face": 0, "person": decision.person("Ben")})
    picture(album / "a.png", 1, 2, note="keywords")
    report = scan(propagate=False)
    assert (report.photos, report.carried) == (1, 2)
    assert names(library_folder) == {2: ("Ann", "user"), 3: ("Ben", "user")}
    with Library(library_folder) as library:
        assert [face for face, _ in library.names.rejections()] == [2]
    assert scan().carried == 0
    picture(album / "a.png", 1, 2)  # and back again
    assert scan(propagate=False).carried == 2
    assert names(library_folder) == {0: ("Ann", "user"), 1: ("Ben", "user")}


def test_a_face_that_was_cropped_away_keeps_its_name_and_row(scan, album, library_folder):
    picture(album / "a.png", 1, 2, 3)
    scan()
    say(library_folder, 0, "Ann")
    say(library_folder, 1, "Ben")
    picture(album / "a.png", 0, 1)  # the others are cropped away, and Ann is elsewhere now
    report = scan(propagate=False)
    assert report.carried == 1
    assert names(library_folder) == {3: ("Ann", "user"), 1: ("Ben", "user")}
    assert set(paths(library_folder)) == {1, 3}  # the third, whom nobody named, is gone with the old version
    scan(propagate=False)
    assert names(library_folder) == {3: ("Ann", "user"), 1: ("Ben", "user")}


def test_another_portrait_under_the_same_file_name_gets_no_name(scan, album, library_folder):
    """Cameras count from one again. The two faces lie in the same place, and are of two people."""
    picture(album / "DSC_0001.png", 1)
    scan()
    say(library_folder, 0, "Ann")
    picture(album / "DSC_0001.png", 2)
    report = scan(propagate=False)
    assert report.carried == 0
    assert names(library_folder) == {0: ("Ann", "user")}


def test_a_newer_word_is_not_overwritten_by_the_older_one(scan, album, library_folder, monkeypatch):
    picture(album / "a.png", 1)
    scan()
    say(library_folder, 0, "Ann")
    picture(album / "a.png", 1, note="edited")
    with monkeypatch.context() as patch:
        patch.setattr(scanning, "carry_names", lambda _: 0)  # killed before it got there
        scan(propagate=False)
    say(library_folder, 1, "Zoe")
    scan(propagate=False)
    assert names(library_folder) == {0: ("Ann", "user"), 1: ("Zoe", "user")}


def test_swapped_files_are_no_edits(scan, album, library_folder):
    picture(album / "a.png", 1)
    picture(album / "b.png", 2)
    scan()
    say(library_folder, 0, "Ann")
    say(library_folder, 1, "Ben")
    (album / "a.png").rename(album / "x")
    (album / "b.png").rename(album / "a.png")
    (album / "x").rename(album / "b.png")
    wait_a_tick(album / "a.png")
    wait_a_tick(album / "b.png")
    assert scan().photos == 0
    assert names(library_folder) == {0: ("Ann", "user"), 1: ("Ben", "user")}
    assert paths(library_folder) == {0: "b.png", 1: "a.png"}


def test_a_file_that_goes_bad_and_comes_back_edited_keeps_its_names(scan, album, library_folder):
    picture(album / "a.png", 1)
    whole = picture(album / "edited.png", 1, note="edited").read_bytes()
    (album / "edited.png").unlink()
    scan()
    say(library_folder, 0, "Ann")
    (album / "a.png").write_bytes(whole[:60])  # an editor is at work
    report = scan()
    assert [path.name for path, _ in report.failed] == ["a.png"]
    assert names(library_folder) == {0: ("Ann", "user")}
    assert [path.name for path, _ in scan().failed] == ["a.png"]  # tried again
    (album / "a.png").write_bytes(whole)
    assert scan(propagate=False).carried == 1
    assert names(library_folder) == {1: ("Ann", "user")}


# Vanished files -----------------------------------------------------------------------------------------------------


def test_a_vanished_file_is_missing_until_it_is_back(scan, album, library_folder, calls, tmp_path):
    picture(album / "a.png", 1)
    picture(album / "b.png", 2)
    scan()
    say(library_folder, 0, "Ann")
    shutil.move(album / "a.png", tmp_path / "away.png")
    assert scan().missing == 1
    assert scan().missing == 1
    assert names(library_folder) == {0: ("Ann", "user")}
    with Library(library_folder) as library:
        assert [(path.name, faces) for _, path, faces in library.photos.missing()] == [("a.png", 1)]
        assert library.faces.rows(face=0)[0].missing
        assert library.status().missing_photos == 1
    calls.clear()
    shutil.move(tmp_path / "away.png", album / "a.png")
    report = scan()
    assert (report.missing, calls["decode"]) == (0, 0)
    with Library(library_folder) as library:
        assert not library.faces.rows(face=0)[0].missing


def test_the_last_photo_of_a_folder_may_vanish(scan, album):
    picture(album / "a.png", 1)
    scan()
    (album / "a.png").unlink()
    assert scan().missing == 1


def test_only_what_lies_below_the_roots_can_vanish(scan, album):
    picture(album / "one" / "a.png", 1)
    picture(album / "two" / "b.png", 2)
    scan()
    shutil.rmtree(album / "two")
    assert scan(album / "one").missing == 0
    assert scan(album).missing == 1


def test_a_root_that_is_not_there_is_a_problem_and_nothing_is_missing(scan, album, tmp_path):
    picture(album / "a.png", 1)
    other = picture(tmp_path / "other" / "b.png", 2).parent
    scan(album, other)
    album.rename(tmp_path / "unmounted")
    report = scan(album, other)
    assert report.missing == 0
    assert [path for path, _ in report.problems] == [album]
    assert report.skipped
    with pytest.raises(UsageError, match="mount the disk"):
        scan(album)


def test_a_root_behind_a_link_to_nothing_is_not_missing(scan, album, tmp_path):
    disk = tmp_path / "disk"
    picture(disk / "a.png", 1)
    (album / "linked").symlink_to(disk)
    root = tmp_path / "root"
    root.symlink_to(disk)
    picture(tmp_path / "x" / "x.png", 2)
    scan(root, album, tmp_path / "x")
    disk.rename(tmp_path / "unmounted")
    assert scan(root, album, tmp_path / "x").missing == 0


def test_an_empty_mount_point_is_not_an_empty_folder(scan, album, library_folder, monkeypatch):
    mounted = [True]
    is_mount = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: is_mount(path) or (mounted[0] and str(path) == str(album)))
    content = picture(album / "a.png", 1).read_bytes()
    scan()
    say(library_folder, 0, "Ann")
    (album / "a.png").unlink()
    mounted[0] = False
    report = scan()
    assert report.missing == 0
    assert [(path, "not mounted" in reason) for path, reason in report.problems] == [(album, True)]
    assert scan().skipped
    mounted[0] = True
    (album / "a.png").write_bytes(content)
    report = scan()
    assert (report.missing, report.photos, report.problems) == (0, 0, [])
    (album / "a.png").unlink()
    assert scan().missing == 1  # the disk is there, the photo is not


def test_a_folder_that_may_not_be_entered_loses_nothing(scan, album, monkeypatch):
    picture(album / "private" / "a.png", 1)
    scan()
    original_stat, original_scandir = os.stat, os.scandir
    private = str(album / "private")

    def stat(path, *arguments, **options):
        if str(path).startswith(private + "/"):
            raise PermissionError(13, "Permission denied", str(path))
        return original_stat(path, *arguments, **options)

    def scandir(path):
        if str(path) == private:
            raise PermissionError(13, "Permission denied", path)
        return original_scandir(path)

    with monkeypatch.context() as patch:  # root may enter any folder, so that chmod would show nothing
        patch.setattr(os, "stat", stat)
        patch.setattr(os, "scandir", scandir)
        report = scan()
    assert report.missing == 0
    assert [str(path) for path, _ in report.problems] == [private]


def test_a_file_that_became_a_folder_is_gone(scan, album):
    picture(album / "a.png", 1)
    picture(album / "b.png", 2)
    scan()
    (album / "a.png").unlink()
    picture(album / "a.png" / "inside.png", 3)
    assert scan().missing == 1


def test_what_is_excluded_later_is_not_missing(scan, album, library_folder):
    picture(album / "a.png", 1)
    picture(album / "trash" / "b.png", 2)
    picture(album / "c.tmp.png", 3)
    assert scan(exclude=("trash", "*.tmp.png")).photos == 1
    assert scan().photos == 2
    report = scan(exclude=("trash",))
    assert (report.missing, report.unchanged) == (0, 2)
    assert len(paths(library_folder)) == 3


# Forgetting ---------------------------------------------------------------------------------------------------------


def test_a_forgotten_photo_is_new_again_if_it_is_still_there(scan, album, library_folder):
    picture(album / "a.png", 1)
    picture(album / "b.png", 2)
    scan()
    say(library_folder, 0, "Ann")
    with Library(library_folder) as library:
        found = find_photos(library, [str(album / "a.png"), str(album / "a.png")])
        assert library.photos.forget(found) == 1
    assert paths(library_folder) == {1: "b.png"}
    assert scan().photos == 1
    assert paths(library_folder) == {1: "b.png", 2: "a.png"}
    assert names(library_folder) == {}


# Failures -----------------------------------------------------------------------------------------------------------


def test_failed_files_are_listed_on_every_scan_and_tried_again_when_asked(scan, album, run_cli, calls):
    picture(album / "a.png", 1)
    (album / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    for _ in range(2):
        result = run_cli("scan", album)
        assert result.code == 3
        assert "bad.png: damaged" in result.err
    assert calls["decode"] == 2
    assert scan(retry_failed=True).failed != []
    assert calls["decode"] == 3
    picture(album / "bad.png", 2)
    assert run_cli("scan", album).code == 0
    assert run_cli("status", "--json").json["failed_files"] == 0


def test_a_file_that_cannot_be_read_is_tried_at_every_scan(scan, album, monkeypatch, library_folder):
    """What is wrong lies outside it (its permissions, the network), and its size and time do not tell when it ends."""
    picture(album / "a.png", 1)
    original = photos.read

    def refuse(path, **options):
        del options
        raise UnreadableFile(f"{path} cannot be read: Permission denied") from PermissionError(13)

    monkeypatch.setattr(photos, "read", refuse)
    assert scan().failed == [(album / "a.png", "cannot be read: Permission denied")]
    with Library(library_folder) as library:
        assert library.photos.failed() == [(album / "a.png", "cannot be read: Permission denied")]
    monkeypatch.setattr(photos, "read", original)
    report = scan()
    assert (report.photos, report.failed) == (1, [])


def test_a_photo_that_is_still_being_copied_is_tried_again_and_a_cut_off_one_is_taken(scan, album, library_folder):
    """A JPEG without its end: fresh, it may be a copy in progress; after a while it is all there is of the photo."""
    path = album / "a.jpg"
    Image.new("RGB", (64, 48), "grey").save(path, quality=90)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    report = scan()
    assert [reason for _, reason in report.failed] == ["it ends too early: it is still being copied, or was cut off"]
    assert scan().failed, "tried again, though size and time are the same"
    path.write_bytes(whole)
    assert scan().photos == 1
    path.write_bytes(whole[:-20])
    long_ago = time.time() - 2 * working.SETTLED_SECONDS
    os.utime(path, (long_ago, long_ago))
    report = scan()
    assert (report.photos, report.failed) == (1, [])
    assert len(dump(library_folder)["photo"]) == 2


def test_a_file_that_vanishes_in_mid_scan_is_nothing(scan, album, monkeypatch, library_folder):
    picture(album / "a.png", 1)
    picture(album / "b.png", 2)
    original = photos.read

    def vanish(path, **options):
        if path.name == "a.png":
            path.unlink()
        return original(path, **options)

    monkeypatch.setattr(photos, "read", vanish)
    report = scan()
    assert (report.photos, report.failed, report.missing) == (1, [], 0)
    assert paths(library_folder) == {0: "b.png"}


def test_a_file_that_changes_in_mid_scan_is_looked_at_again(scan, album, monkeypatch, library_folder):
    picture(album / "a.png", 1)
    original = photos.content_hash

    def change_afterwards(content):
        picture(album / "a.png", 2, 3, note="longer")
        return original(content)

    with monkeypatch.context() as patch:
        patch.setattr(photos, "content_hash", change_afterwards)
        assert scan().faces == 1
    report = scan()
    assert (report.photos, report.faces) == (1, 2)
    assert scan().unchanged == 1
    assert len(paths(library_folder)) == 2


def test_a_file_that_grows_before_it_is_read_is_looked_at_again(scan, album, monkeypatch, calls):
    picture(album / "a.png", 1)
    original = photos.sniff

    def grow(path):
        picture(path, 1, 2, note="the rest of it has come")
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(photos, "sniff", grow)
        assert scan().faces == 2  # what was read is whole
    calls.clear()
    report = scan()
    assert (calls["read"], calls["decode"], report.known, report.unchanged) == (1, 0, 1, 0)
    assert scan().unchanged == 1


def test_an_unexpected_error_on_one_photo_is_a_line_in_the_report(scan, album, monkeypatch):
    picture(album / "a.png", 1)
    picture(album / "b.png", 2)
    original = photos.decode
    (content,) = {(album / "a.png").read_bytes()}

    def fail(data, **options):
        if data == content:
            raise ZeroDivisionError("by a strange file")
        return original(data, **options)

    monkeypatch.setattr(photos, "decode", fail)
    report = scan()
    assert report.photos == 1
    assert report.failed == [(album / "a.png", "unexpected ZeroDivisionError: by a strange file")]


def test_no_memory_for_one_photo_is_no_word_on_the_photo(scan, album, monkeypatch):
    picture(album / "a.png", 1)

    def fail(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(photos, "decode", fail)
        assert "memory" in scan().failed[0][1]
    assert scan().photos == 1


def test_names_that_are_not_utf8_can_be_stored_and_printed(album, run_cli, library_folder):
    raw = os.fsencode(album)
    picture(album / "a.png", 1)
    (album / "a.png").rename(os.fsdecode(raw + b"/gr\xfc\xdfe.png"))
    Path(os.fsdecode(raw + b"/b\xe4d.png")).write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    picture(Path(os.fsdecode(raw + b"/f\xf6lder/c.png")), 2)
    result = run_cli("scan", album)
    assert result.code == 3
    assert r"b\xe4d.png" in result.err
    result = run_cli("scan", album, "--json")
    assert result.json["failed"][0][0].endswith(r"b\xe4d.png")
    assert result.json["unchanged"] == 3
    assert run_cli("show", "f0", "--json").json[0]["path"].endswith(r"f\xf6lder/c.png")
    assert r"gr\xfc\xdfe.png" in run_cli("show", "f1").out.replace("\n", "").replace(" ", "")
    assert run_cli("status").code == 0


def test_an_unreadable_file_with_such_a_name_does_not_end_the_scan(album, run_cli, monkeypatch):
    path = Path(os.fsdecode(os.fsencode(album) + b"/b\xe4d.png"))
    picture(album / "a.png", 1)
    path.write_bytes(b"")

    def refuse(file):
        if file == path:
            raise UnreadableFile(f"{file} cannot be read: Input/output error") from OSError(5)
        return True

    monkeypatch.setattr(photos, "sniff", refuse)
    result = run_cli("scan", album, "--json")
    assert result.code == 3
    assert result.json["failed"] == [[str(album) + r"/b\xe4d.png", "cannot be read: Input/output error"]]
    assert result.json["photos"] == 1


# Rule 7: the order of folders and the number of workers -------------------------------------------------------------


def test_neither_order_nor_workers_change_a_result(tmp_path, album, monkeypatch):
    folders = [album / name for name in ("x", "y", "z")]
    for number in range(45):
        folder = folders[number % 3]
        persons = [1 + (number * step) % 7 for step in range(number % 4)]
        picture(folder / f"{number}.png", *persons, shade=number)
    shutil.copy(folders[0] / "3.png", folders[1] / "copy of 3.png")
    shutil.copy(folders[0] / "3.png", folders[2] / "copy of 3.png")
    (folders[1] / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (folders[2] / "notes.txt").write_text("no photo")
    monkeypatch.setattr(scanning, "BATCH_PHOTOS", 7)
    results = []
    orders = [folders, folders[::-1], [folders[1], folders[0], folders[2]], [album], [album, folders[2]]]
    for number, (workers, roots) in enumerate(zip((1, 2, 4, 3, 2), orders, strict=True)):
        library = tmp_path / f"library {number}"
        monkeypatch.setattr(scanning, "BATCH_PHOTOS", 7 + number)
        scanning.scan(library, roots, ScanOptions(workers=workers))
        results.append((dump(library), (library / "embeddings.npy").read_bytes()))
    assert len(results[0][0]["face"]) == sum(number % 4 for number in range(45))
    assert all(result == results[0] for result in results)


def test_order_of_completion_changes_nothing(tmp_path, album, monkeypatch, fake_analyser):
    for number in range(12):
        picture(album / f"{number:02}.png", 1 + number, shade=number)
    first = tmp_path / "first"
    scanning.scan(first, [album], ScanOptions(workers=1))
    original = fake_analyser.faces
    turn = threading.Event()

    def slow_first(self, decoded, watch):
        if decoded.rgb[0, 0, 0] == 5:  # the first waits for the fourth
            assert turn.wait(10)
        if decoded.rgb[0, 0, 0] == 20:
            turn.set()
        return original(self, decoded, watch)

    monkeypatch.setattr(fake_analyser, "faces", slow_first)
    second = tmp_path / "second"
    scanning.scan(second, [album], ScanOptions(workers=3))
    assert dump(second) == dump(first)
    assert (second / "embeddings.npy").read_bytes() == (first / "embeddings.npy").read_bytes()


# Interruptions ------------------------------------------------------------------------------------------------------


def interrupt_after(photos_done: int):
    def tell(progress):
        if progress.photos >= photos_done:
            raise KeyboardInterrupt

    return tell


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(scan, album, library_folder, fake_analyser):
    for number in range(30):
        picture(album / f"{number:02}.png", 1 + number % 5, shade=number)
    with pytest.raises(Interrupted, match=r"\d+ photos with \d+ faces are stored. Run the same scan again"):
        scan(progress=interrupt_after(10), workers=2)
    with Library(library_folder) as library:
        kept = library.status().photos
        assert library.check() == []
    assert kept == fake_analyser.analysed >= 10  # nothing that was worked on is lost
    report = scan()
    assert (report.unchanged, report.photos) == (kept, 30 - kept)
    assert fake_analyser.analysed == 30


def test_ctrl_c_at_the_commit_loses_nothing(scan, album, library_folder, monkeypatch, fake_analyser):
    for number in range(9):
        picture(album / f"{number}.png", 1 + number)
    original = Library.embeddings
    fsync, hits = os.fsync, []

    def interrupted_once(descriptor):
        fsync(descriptor)
        hits.append(descriptor)
        if len(hits) == 2:  # the first is the making of the matrix
            raise KeyboardInterrupt

    monkeypatch.setattr("photocluster.store.matrix.os.fsync", interrupted_once)
    with pytest.raises(Interrupted):
        scan()
    monkeypatch.setattr("photocluster.store.matrix.os.fsync", fsync)
    with Library(library_folder) as library:
        assert library.status().photos == fake_analyser.analysed == 9
        assert library.check() == []
        assert original(library).shape == (9, 128)


def test_faces_of_an_interrupted_scan_get_their_names_from_the_next(scan, album, library_folder):
    picture(album / "a.png", 1)
    scan()
    say(library_folder, 0, "Ann")
    for number in range(12):
        picture(album / f"b{number:02}.png", 1, shade=1 + number)
    with pytest.raises(Interrupted):
        scan(progress=interrupt_after(5), workers=1)
    assert len(names(library_folder)) == 1
    report = scan()
    assert report.propagation is not None
    assert report.propagation.named == 12
    assert set(names(library_folder).values()) == {("Ann", "user"), ("Ann", "propagated")}
    assert scan().propagation is None


def test_faces_that_were_not_to_be_propagated_stay_without_names(scan, album, library_folder):
    picture(album / "a.png", 1)
    scan()
    say(library_folder, 0, "Ann")
    picture(album / "b.png", 1, shade=1)
    assert scan(propagate=False).propagation is None
    picture(album / "c.png", 1, shade=2)
    assert scan().propagation.examined == 1
    assert names(library_folder) == {0: ("Ann", "user"), 2: ("Ann", "propagated")}


SLOW_SCAN = """
import sys, time
sys.path.insert(0, {tests!r})
from making import FakeAnalyser, InThisProcess
import photocluster.pipeline.scanning as scanning

class Slow(FakeAnalyser):
    def faces(self, decoded, watch):
        time.sleep(0.2)
        print("face", flush=True)
        return super().faces(decoded, watch)

from photocluster.pipeline import crew
scanning.Analyser, crew.Worker = Slow, InThisProcess
from photocluster.cli import main
main(["scan", {album!r}, "--workers", "1"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_the_signal_of_ctrl_c(album, library_folder):
    for number in range(60):
        picture(album / f"{number:02}.png", 1 + number % 5, shade=number)
    code = SLOW_SCAN.format(tests=str(Path(__file__).parent), album=str(album))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "photocluster: stopped; " in err
    assert "Run the same scan again to go on from there" in err
    assert "Traceback" not in err
    with Library(library_folder) as library:
        assert library.status().photos == 5 + out.count("face") >= 5
        assert library.check() == []


# A store that does not obey -----------------------------------------------------------------------------------------


def test_a_full_disk_ends_the_scan_and_keeps_what_was_stored(album, run_cli, monkeypatch, library_folder):
    for number in range(20):
        picture(album / f"{number:02}.png", 1 + number)
    monkeypatch.setattr(scanning, "BATCH_PHOTOS", 4)
    fsync, hits = os.fsync, []

    def full(descriptor):
        hits.append(descriptor)
        if len(hits) == 4:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr("photocluster.store.matrix.os.fsync", full)
    result = run_cli("scan", album)
    assert result.code == 1
    assert "No space left on device" in result.err
    assert "then run the same command again; all that was stored before is kept" in result.err
    assert "fault of photocluster" not in result.err
    with Library(library_folder) as library:
        assert library.status().photos == 8
        assert library.check() == []
    monkeypatch.setattr("photocluster.store.matrix.os.fsync", fsync)
    assert run_cli("scan", album).code == 0
    assert len(paths(library_folder)) == 20


def test_a_library_that_is_busy_for_a_while_costs_nothing(scan, album, library_folder, monkeypatch):
    monkeypatch.setattr("photocluster.store.database.BUSY_SECONDS", 0.05)
    monkeypatch.setattr(scanning, "BATCH_PHOTOS", 5)
    picture(album / "00.png", 1)
    scan()
    for number in range(1, 40):
        picture(album / f"{number:02}.png", 1 + number)
    with closing(sqlite3.connect(library_folder / "library.sqlite", isolation_level=None)) as other:

        def hold(progress):
            if progress.photos == 2 and not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")
            if progress.photos == 18 and other.in_transaction:
                other.execute("ROLLBACK")

        report = scan(progress=hold, workers=1)
    assert report.photos == 39
    assert len(paths(library_folder)) == 40


def test_a_library_that_stays_busy_ends_the_scan(scan, album, library_folder, monkeypatch):
    monkeypatch.setattr("photocluster.store.database.BUSY_SECONDS", 0.01)
    monkeypatch.setattr(scanning, "BATCH_PHOTOS", 1)
    picture(album / "00.png", 1)
    scan()
    for number in range(1, 40):
        picture(album / f"{number:02}.png", 1 + number)
    with closing(sqlite3.connect(library_folder / "library.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="wait for it to end"):
            scan(workers=1)
        other.execute("ROLLBACK")
    assert scan().photos == 39


def test_a_photo_that_is_forgotten_while_a_copy_is_scanned(scan, album, library_folder):
    picture(album / "a.png", 1)
    scan()
    shutil.copy(album / "a.png", album / "b.png")
    picture(album / "c.png", 2)

    def forget(progress):
        if progress.done:
            with Library(library_folder) as library:
                library.photos.forget(list(library.photos.hashes()))

    with pytest.raises(StoreError, match="scan again"):
        scan(progress=forget, workers=1)
    assert scan().photos + len(paths(library_folder)) > 0
    assert {Path(row.path).name for row in Library(library_folder).faces.rows()} >= {"c.png"}


def test_another_recipe_is_refused_before_anything_is_read(scan, album, calls):
    picture(album / "a.png", 1)
    scan()
    calls.clear()
    with pytest.raises(RecipeMismatch, match="mirror = True"):
        scan(mirror=False)
    assert calls == {}


# More ---------------------------------------------------------------------------------------------------------------


def test_large_photos_are_decoded_one_at_a_time(scan, album, monkeypatch):
    for number in range(8):
        picture(album / f"{number}.png", 1 + number)
    monkeypatch.setattr("photocluster.pipeline.working.PARALLEL_PIXELS", 100)
    original = photos.decode
    at_work, most = [0], [0]

    def count(content, *, longest_side, whole, max_pixels=10**9):
        if max_pixels == 100:
            return original(content, longest_side=longest_side, max_pixels=max_pixels, whole=whole)
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        time.sleep(0.005)
        at_work[0] -= 1
        return original(content, longest_side=longest_side, whole=whole)

    monkeypatch.setattr(photos, "decode", count)
    assert scan(workers=4).photos == 8
    assert most == [1]


def test_a_hundred_photos_and_then_only_what_is_new(scan, album, fake_analyser):
    for number in range(100):
        picture(album / f"{number}.png", 1 + number % 9, shade=number)
    assert scan().photos == 100
    picture(album / "new.png", 1, shade=200)
    report = scan()
    assert (report.photos, report.unchanged, fake_analyser.analysed) == (1, 100, 101)


@pytest.mark.parametrize("seed", range(6))
def test_each_of_a_few_changes_among_many_files_is_found(scan, album, monkeypatch, seed):
    monkeypatch.setattr("photocluster.walking.RUN", 7)
    monkeypatch.setattr("photocluster.store.files.ROWS", 5)
    rng = random.Random(seed)
    files = [album / rng.choice(("", "a", "a-b", "b")) / f"{number:02}.png" for number in range(48)]
    for number, file in enumerate(files):
        picture(file, 1 + number % 9, shade=number)
    bad, text, lost = files[:2], files[2:4], files[4:6]
    for file in bad:
        file.write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    for file in text:
        file.write_text("not a photo")
    scan()
    kept = {file: file.read_bytes() for file in lost}
    for file in lost:
        file.unlink()
    assert scan().missing == 2
    edited, gone = rng.sample(files[6:], 5), rng.sample(files[6:], 5)
    for number, file in enumerate(edited):
        picture(file, 1 + number, 2, note="edited")
    for file in set(gone) - set(edited):
        file.unlink()
    new = [picture(album / rng.choice(("", "a", "c")) / f"new {number}.png", 3, shade=99 + number) for number in (0, 1)]
    with monkeypatch.context() as patch:
        patch.setattr(photos, "sniff", lambda path, original=photos.sniff: opened.append(path) or original(path))
        opened: list[Path] = []
        report = scan()
        assert sorted(opened) == sorted([*edited, *new])
    left = len(files) - len(lost) - len(set(gone) | set(edited))
    assert (report.photos, report.unchanged, len(report.failed)) == (7, left, 2)
    assert report.missing == len(set(gone) - set(edited)) + 2
    for file, content in kept.items():
        file.write_bytes(content)
    report = scan(retry_failed=True)
    assert (report.photos, report.unchanged, report.known, len(report.failed)) == (0, left + 7 - 2, 2, 2)


def test_progress_comes_to_its_end(scan, album):
    for number in range(5):
        picture(album / f"{number}.png", 1 + number)
    seen = []
    scan(progress=seen.append)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    last = seen[-1]
    assert (last.done, last.found, last.complete, last.photos, last.faces) == (5, 5, True, 5, 5)


def test_originals_are_not_touched(scan, album):
    picture(album / "a.png", 1)
    (album / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")

    def state():
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in album.iterdir()}

    before = state()
    scan()
    scan(retry_failed=True)
    assert state() == before


def test_days_know_every_date_and_no_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    days = _days(["1970-01-02T12:00:00", "0001-01-01T00:00:00", None])
    monkeypatch.delenv("TZ")
    time.tzset()
    assert days[0] == 1.5
    assert days[1] == -719162
    assert np.isnan(days[2])


def test_the_fake_tells_people_apart():
    a, b = (0.95 * unit_vector(5) + 0.05 * unit_vector(5, shade) for shade in (1, 2))
    assert np.linalg.norm(a - b) < 0.2
    assert np.linalg.norm(unit_vector(5) - unit_vector(10)) > 1.2
    assert face(a).detection.score == 0.9
    assert Source.USER == "user"

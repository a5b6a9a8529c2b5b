"""A folder per person: safe names, what is removed again, and what is never touched."""

from __future__ import annotations

import errno
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import make_library
from test_export_xmp import add, write_photo

from photocluster.errors import UsageError
from photocluster.pipeline.folders import LONGEST_NAME, MANIFEST, Link, _free, _same, export_folders, safe_name
from photocluster.pipeline.history import undo
from photocluster.pipeline.naming import label, unlabel
from photocluster.pipeline.persons import PersonFacts, change_person, rename
from photocluster.store import Library

LINKS = list(Link)


@pytest.fixture
def library(library_folder) -> Iterator[Library]:
    with make_library(library_folder) as opened:
        yield opened


@pytest.fixture
def pictures(library, tmp_path) -> list[Path]:
    """Return two photos of one name: Ann and Bob are in the first, Ann is in the second."""
    paths = [write_photo(tmp_path / "photos" / folder / "a.jpg", shade=i) for i, folder in enumerate("xy")]
    add(library, *paths)
    label(library, ["f0", "f2"], "Ann")
    label(library, ["f1"], "Bob")
    return paths


def tree(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("link", LINKS)
def test_a_folder_per_person_and_group_photos_in_each(library, pictures, tmp_path, link):
    out = tmp_path / "people"
    report = export_folders(library, out, link=link)
    assert (report.persons, report.made, report.skipped) == (2, 3, [])
    assert tree(out) == ["Ann/a (2).jpg", "Ann/a.jpg", "Bob/a.jpg", MANIFEST]
    shown = out / "Ann" / "a.jpg"
    assert shown.read_bytes() == pictures[0].read_bytes()
    assert (out / "Ann" / "a (2).jpg").read_bytes() == pictures[1].read_bytes()
    assert shown.is_symlink() == (link is Link.SYMLINK)
    assert shown.samefile(pictures[0]) == (link is not Link.COPY)
    again = export_folders(library, out, link=link)
    assert (again.made, again.removed, again.unchanged, again.skipped) == (0, 0, 3, [])


@pytest.mark.parametrize("link", LINKS)
def test_what_is_not_true_any_more_goes(library, pictures, tmp_path, link):
    out = tmp_path / "people"
    export_folders(library, out, link=link)
    unlabel(library, ["f0", "f1"])
    report = export_folders(library, out, link=link)
    assert (report.made, report.removed, report.unchanged) == (0, 2, 1)
    assert tree(out) == ["Ann/a (2).jpg", MANIFEST]
    assert not (out / "Bob").exists()
    assert all(path.exists() for path in pictures)
    label(library, ["f2"], "Cid")
    export_folders(library, out, link=link)
    assert tree(out) == ["Cid/a.jpg", MANIFEST]


@pytest.mark.parametrize("link", LINKS)
def test_what_others_put_there_stays(library, pictures, tmp_path, link):
    out = tmp_path / "people"
    (out / "Ann").mkdir(parents=True)
    (out / "Ann" / "notes.txt").write_text("mine")
    (out / "Bob").mkdir()
    (out / "Bob" / "a.jpg").write_text("mine too")
    report = export_folders(library, out, link=link)
    assert [path for path, _ in report.skipped] == [pictures[0]]
    assert "something else" in report.skipped[0][1]
    replaced = out / "Ann" / "a.jpg"
    replaced.unlink()
    replaced.write_text("edited")
    unlabel(library, ["f0", "f1", "f2"])
    report = export_folders(library, out, link=link)
    assert [path for path, _ in report.skipped] == [replaced]
    assert tree(out) == ["Ann/a.jpg", "Ann/notes.txt", "Bob/a.jpg", MANIFEST]
    assert replaced.read_text() == "edited"
    assert json.loads((out / MANIFEST).read_text())["entries"] == {}


def test_a_folder_that_is_a_link_is_not_written_through(library, pictures, tmp_path):
    out, elsewhere = tmp_path / "people", tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (out / "Ann").symlink_to(elsewhere)
    report = export_folders(library, out, link=Link.COPY)
    assert len(report.skipped) == 2
    assert list(elsewhere.iterdir()) == []


def test_another_kind_of_link_replaces_the_first(library, pictures, tmp_path):
    out = tmp_path / "people"
    export_folders(library, out, link=Link.SYMLINK)
    report = export_folders(library, out, link=Link.COPY)
    assert (report.made, report.removed) == (3, 0)
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert tree(out) == ["Ann/a (2).jpg", "Ann/a.jpg", "Bob/a.jpg", MANIFEST]


def test_a_link_that_was_removed_by_hand_comes_back(library, pictures, tmp_path):
    out = tmp_path / "people"
    export_folders(library, out, link=Link.SYMLINK)
    (out / "Bob" / "a.jpg").unlink()
    report = export_folders(library, out, link=Link.SYMLINK)
    assert (report.made, report.unchanged) == (1, 2)


@pytest.mark.parametrize("link", LINKS)
def test_a_photo_that_was_edited_keeps_its_place(library, pictures, tmp_path, link):
    out = tmp_path / "people"
    export_folders(library, out, link=link)
    old = library.photos.hash_of(pictures[0])
    pictures[0].unlink()
    write_photo(pictures[0], shade=7)
    status = pictures[0].stat()
    import hashlib

    new = hashlib.sha256(pictures[0].read_bytes()).hexdigest()
    library.exchange.rewrite(old, new, {pictures[0]: (status.st_size, status.st_mtime_ns)})
    report = export_folders(library, out, link=link)
    assert report.skipped == []
    assert tree(out) == ["Ann/a (2).jpg", "Ann/a.jpg", "Bob/a.jpg", MANIFEST]
    assert (out / "Ann" / "a.jpg").read_bytes() == pictures[0].read_bytes()


def test_guesses_on_request_and_hidden_persons_never(library, pictures, tmp_path):
    with library.names.decide("label", {}) as decision:
        cid = decision.person("Cid")
    library.names.propagate({3: (cid, 0.5)})
    change_person(library, "Bob", PersonFacts(hidden=True))
    out = tmp_path / "people"
    export_folders(library, out, link=Link.SYMLINK)
    assert tree(out) == ["Ann/a (2).jpg", "Ann/a.jpg", MANIFEST]
    export_folders(library, out, link=Link.SYMLINK, include_propagated=True)
    assert "Cid/a.jpg" in tree(out)


def test_a_photo_that_changed_is_not_shown(library, pictures, tmp_path):
    pictures[1].write_bytes(b"something else")
    report = export_folders(library, tmp_path / "people", link=Link.SYMLINK)
    assert [path for path, _ in report.skipped] == [pictures[1]]


def test_another_disk_and_file_systems_without_links_are_told(library, pictures, tmp_path, monkeypatch):
    def across(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", across)
    report = export_folders(library, tmp_path / "a", link=Link.HARD)
    assert {reason for _, reason in report.skipped} == {
        "is on another disk, where hard links do not reach: use --link symlink or --link copy"
    }

    def refused(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)
    report = export_folders(library, tmp_path / "b", link=Link.SYMLINK)
    assert all("use --link copy" in reason for _, reason in report.skipped)
    assert json.loads((tmp_path / "b" / MANIFEST).read_text())["entries"] == {}


@pytest.mark.parametrize(
    "manifest",
    [
        "{",
        "[]",
        '{"format": "photocluster folders", "version": 9, "link": "copy", "entries": {}}',
        (
            '{"format": "photocluster folders", "version": 1, "link": "copy", "entries": '
            '{"../x.jpg": {"person": "", "photo": "", "file": ""}}}'
        ),
    ],
)
def test_a_manifest_that_cannot_be_trusted_stops_everything(library, pictures, tmp_path, manifest):
    out = tmp_path / "people"
    out.mkdir()
    (out / MANIFEST).write_text(manifest)
    with pytest.raises(UsageError, match=MANIFEST):
        export_folders(library, out, link=Link.COPY)
    assert tree(out) == [MANIFEST]


def test_persons_whose_names_a_file_system_cannot_tell_apart(library, tmp_path):
    paths = [write_photo(tmp_path / f"{i}.jpg", shade=i) for i in range(3)]
    add(library, *paths)
    for number, name in enumerate(("A/B", "A:B", "CON")):
        label(library, [f"f{2 * number}"], name)
    out = tmp_path / "people"
    export_folders(library, out, link=Link.SYMLINK)
    assert tree(out) == ["A_B (2)/1.jpg", "A_B/0.jpg", "_CON/2.jpg", MANIFEST]
    rename(library, "A/B", "Ann")
    report = export_folders(library, out, link=Link.SYMLINK)
    assert tree(out) == ["A_B (2)/1.jpg", "Ann/0.jpg", "_CON/2.jpg", MANIFEST]
    assert (report.made, report.unchanged) == (1, 2), "who had a folder keeps it"
    undo(library)
    export_folders(library, out, link=Link.SYMLINK)
    assert tree(out) == ["A_B (2)/1.jpg", "A_B/0.jpg", "_CON/2.jpg", MANIFEST]


def test_a_place_that_cannot_be_written_to_is_told(library, pictures, tmp_path, monkeypatch, run_cli):
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    result = run_cli("--library", library.folder, "export", "folders", tmp_path / "people", "--link", "copy")
    assert result.code == 1
    assert "cannot be written to (Permission denied); free space, or name another folder" in result.err


def test_the_command_line(library, pictures, tmp_path, run_cli):
    out = tmp_path / "people"
    result = run_cli("--library", library.folder, "export", "folders", out, "--link", "symlink")
    assert (result.code, result.out) == (0, f"{out}: 2 people; 3 made, 0 removed, 0 unchanged\n")
    (out / "Bob" / "a.jpg").unlink()
    (out / "Bob" / "a.jpg").write_text("mine")
    result = run_cli("--library", library.folder, "export", "folders", out, "--link", "symlink", "--json")
    assert (result.code, result.json["unchanged"], len(result.json["skipped"])) == (3, 2, 1)
    assert run_cli("--library", library.folder, "export", "folders", out).code == 2


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Ann", "Ann"),
        ("Bjo\u0308rn", "Björn"),
        ("Ann.", "Ann"),
        ("Ann. . ", "Ann"),
        (" Ann", "Ann"),
        ("...", "_"),
        ("..", "_"),
        (".hidden", "_hidden"),
        ('a/b\\c:d*e?f"g<h>i|j', "a_b_c_d_e_f_g_h_i_j"),
        ("con", "_con"),
        ("COM1.jpg", "_COM1.jpg"),
        ("LPT\u00b9", "_LPT\u00b9"),
        ("nul .txt", "_nul .txt"),
        ("console", "console"),
        ("", "_"),
        ("x" * 300 + ".jpeg", "x" * (LONGEST_NAME - 5) + ".jpeg"),
        (os.fsdecode(b"\xff\xfe.jpg"), "\ufffd\ufffd.jpg"),
    ],
)
def test_names_that_every_platform_takes(name, safe):
    assert safe_name(name) == safe


@given(st.text(max_size=200))
def test_no_name_is_refused_anywhere(name):
    safe = safe_name(name)
    assert safe_name(safe) == safe
    assert 0 < len(safe.encode()) <= LONGEST_NAME + 1
    assert unicodedata.is_normalized("NFC", safe)
    assert not set(safe) & set('<>:"/\\|?*')
    assert min(safe) >= " "
    assert not safe.startswith((" ", "."))
    assert not safe.endswith((" ", "."))


@given(st.lists(st.text(max_size=8), max_size=20))
def test_no_two_names_are_one(names):
    taken: set[str] = set()
    given_out = [_free(name, taken) for name in names]
    assert len({_same(name) for name in given_out}) == len(names)

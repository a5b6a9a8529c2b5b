"""The contract of the store: its format on the disk, its commits, what it refuses, and a model to agree with."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from making import RECIPE, dump, face, make_library, scanned, unit_vector

from photocluster.errors import RecipeMismatch, StoreBusy, StoreCorrupt, StoreError, StoreMissing, StoreVersion
from photocluster.records import Source
from photocluster.store import FileState, Library, ScannedFile, database
from photocluster.store.database import CLEARING
from photocluster.store.matrix import HEADER_BYTES, ROW_BYTES
from photocluster.store.schema import MIGRATIONS

GOLDEN = Path(__file__).parent / "golden"


def add(library: Library, path: str, photo: str, *seeds: int) -> int:
    return library.photos.add([scanned(path, photo, [face(unit_vector(seed)) for seed in seeds])])


def label(library: Library, number: int, name: str) -> None:
    with library.names.decide("label", {}) as decision:
        decision.assign(number, decision.person(name), Source.USER)


def matrix(folder: Path) -> Path:
    return folder / "embeddings.npy"


# Format -------------------------------------------------------------------------------------------------------------


def test_matrix_is_a_plain_numpy_file_with_row_i_as_face_i(library_folder):
    with make_library(library_folder) as library:
        add(library, "/a", "a", 1, 2)
        add(library, "/b", "b", 3)
        rows = [row.face for row in library.faces.rows()]
    content = matrix(library_folder).read_bytes()
    vectors = np.load(matrix(library_folder), mmap_mode="r")
    assert rows == [0, 1, 2]
    assert isinstance(vectors, np.memmap)
    assert vectors.shape == (3, 128)
    assert vectors.dtype == np.dtype("<f4")
    assert vectors.flags.c_contiguous
    np.testing.assert_array_equal(vectors, [unit_vector(1), unit_vector(2), unit_vector(3)])
    assert HEADER_BYTES == 128
    assert len(content) == 128 + 3 * 512
    assert content[:10] == b"\x93NUMPY\x01\x00\x76\x00"
    assert content[127:128] == b"\n"


def test_database_names_its_format_and_uses_a_write_ahead_log(library_folder):
    make_library(library_folder).close()
    with closing(sqlite3.connect(library_folder / "library.sqlite")) as connection:
        values = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode")
        ]
    assert values == [0x50434C31, len(MIGRATIONS), "wal"]


def test_everything_of_a_face_comes_back(library_folder):
    found = face(unit_vector(1), left=1.5)
    path = os.fsdecode(b"/photos/tw\xf6.jpg")
    with make_library(library_folder) as library:
        library.photos.add([scanned(path, "a" * 64, [found])])
        (row,) = library.faces.rows()
    assert (row.face, row.photo, row.path, row.missing) == (0, "a" * 64, path, False)
    assert (row.detection.box, row.detection.score, row.quality) == (
        found.detection.box,
        found.detection.score,
        found.quality,
    )
    np.testing.assert_array_equal(row.detection.landmarks, found.detection.landmarks)
    assert (row.cluster, row.person, row.source, row.distance) == (None, None, None, None)


def test_folder_and_files_are_their_owners_alone(tmp_path):
    with make_library(tmp_path / "new" / "library") as library:
        add(library, "/a", "a", 1)
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in library.folder.iterdir()}
    assert stat.S_IMODE((tmp_path / "new" / "library").stat().st_mode) == 0o700
    assert set(modes) >= {"library.sqlite", "embeddings.npy"}
    assert set(modes.values()) == {0o600}


def test_a_folder_with_other_things_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "holiday.jpg").write_bytes(b"")
    make_library(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


# Commits ------------------------------------------------------------------------------------------------------------


def test_leftover_tail_is_overwritten(library_folder):
    with make_library(library_folder) as library:
        add(library, "/a", "a", 1)
        with matrix(library_folder).open("ab") as file:
            file.write(b"\x7f" * (5 * ROW_BYTES + 100))  # a commit that was killed before COMMIT
        assert library.embeddings().shape == (1, 128)
        add(library, "/b", "b", 2)
        np.testing.assert_array_equal(library.embeddings(), [unit_vector(1), unit_vector(2)])
        assert library.check() == []
    assert matrix(library_folder).stat().st_size == HEADER_BYTES + 2 * ROW_BYTES
    assert np.load(matrix(library_folder)).shape == (2, 128)


def test_a_batch_is_stored_whole_or_not_at_all(library_folder):
    good = scanned("/a", "a", [face(unit_vector(1))])
    lost = scanned("/b", "never seen", None)  # names a photo that is not in the library
    with make_library(library_folder) as library:
        with pytest.raises(StoreError, match="scan again"):
            library.photos.add([good, lost])
        assert library.photos.file(Path("/a")) is None
        assert (library.rows, library.faces.rows()) == (0, [])
        add(library, "/a", "a", 1)
        assert library.check() == []


@pytest.mark.parametrize("moment", ["open", "fsync"])
def test_full_disk_is_a_store_error_and_keeps_what_was_there(library_folder, monkeypatch, moment):
    def full(*_):
        raise OSError(28, "No space left on device")

    with make_library(library_folder) as library:
        add(library, "/a", "a", 1)
        with monkeypatch.context() as patch:
            if moment == "open":
                patch.setattr(type(library._database.matrix.path), "open", full)
            else:
                patch.setattr("photocluster.store.matrix.os.fsync", full)
            with pytest.raises(StoreError, match=r"No space left.*kept"):
                library.photos.add([scanned("/b", "b", [face(unit_vector(2))])])
        assert library.rows == 1
        add(library, "/b", "b", 2)
        assert library.check() == []
        np.testing.assert_array_equal(library.embeddings(), [unit_vector(1), unit_vector(2)])


def test_full_database_is_a_store_error_too(library_folder):
    with make_library(library_folder) as library:
        pages = library._database.execute("PRAGMA page_count").fetchone()[0]
        library._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"full.*kept") as caught:
            library.photos.add([scanned(f"/{i}", f"{i:064}", [face(unit_vector(i))] * 50) for i in range(50)])
        assert not isinstance(caught.value, StoreCorrupt)
        assert library.photos.hashes() == set()
        library._database.execute(f"PRAGMA max_page_count = {pages + 1000}")
        add(library, "/a", "a", 1)
        assert library.check() == []


def test_a_writer_that_waits_in_vain_is_told_so(library_folder, monkeypatch):
    monkeypatch.setattr("photocluster.store.database.BUSY_SECONDS", 0.05)
    with make_library(library_folder) as first, Library(library_folder) as second:
        with first._database.transaction():
            with pytest.raises(StoreBusy, match="another photocluster is writing"):
                add(second, "/a", "a", 1)
            with Library(library_folder) as third:  # to look, nobody has to wait
                assert third.status().photos == 0
        assert add(second, "/a", "a", 1) == 1


def _add_many(folder: str, name: str, barrier) -> None:
    database.BUSY_SECONDS = 300.0  # however slow the disk
    with Library(Path(folder), recipe=RECIPE, create=True) as library:
        barrier.wait(timeout=300)
        for i in range(20):
            seeds = [hash((name, i, j)) % 2**32 for j in range(i % 3)]
            library.photos.add(
                [
                    scanned(f"/{name}/{i}", f"{name}{i}", [face(unit_vector(seed)) for seed in seeds]),
                    scanned(f"/{name}/shared {i}", f"shared{i}", [face(unit_vector(i))]),
                ]
            )


def test_two_processes_that_add_at_the_same_time_lose_nothing(library_folder):
    context = multiprocessing.get_context("forkserver")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_add_many, args=(str(library_folder), name, barrier)) for name in "xy"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=600)
        assert process.exitcode == 0
    with Library(library_folder) as library:
        assert library.check() == []
        assert len(library.photos.hashes()) == 60
        rows = library.faces.rows()
        assert len(rows) == library.rows == 20 + 2 * sum(i % 3 for i in range(20))
        vectors = library.embeddings()
        for row in rows:
            if row.photo.startswith("shared"):
                np.testing.assert_array_equal(vectors[row.face], unit_vector(int(row.photo[6:])))


# What it refuses ----------------------------------------------------------------------------------------------------


def test_no_library(tmp_path):
    with pytest.raises(StoreMissing, match=r"no library in .*photocluster scan"):
        Library(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("field", [field.name for field in fields(RECIPE)])
def test_other_recipe_is_refused_by_the_field_that_differs(library_folder, field):
    other = {"mirror": False, "detection_sizes": (640,), "detection_threshold": 0.5, "nms_threshold": 0.3}
    wanted = replace(RECIPE, **{field: other.get(field, "another")})
    make_library(library_folder).close()
    with pytest.raises(RecipeMismatch, match=rf"{field} = .*another library with --library"):
        Library(library_folder, recipe=wanted, create=True)
    with Library(library_folder) as library:
        assert library.recipe == RECIPE


def test_a_newer_format_is_refused_and_left_alone(library_folder):
    make_library(library_folder).close()
    with closing(sqlite3.connect(library_folder / "library.sqlite")) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreVersion, match="update photocluster"):
        Library(library_folder)
    with pytest.raises(StoreVersion):
        Library(library_folder, recipe=RECIPE, create=True)


@pytest.mark.parametrize("version", [0, 1, 7])
def test_the_database_of_another_program_is_refused_and_left_alone(library_folder, version):
    library_folder.mkdir()
    path = library_folder / "library.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE books (title TEXT)")
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(StoreVersion, match="another program"):
        Library(library_folder, recipe=RECIPE, create=True)
    assert path.read_bytes() == before
    assert [entry.name for entry in library_folder.iterdir()] == ["library.sqlite"]


def test_a_file_that_is_no_database(library_folder):
    library_folder.mkdir()
    (library_folder / "library.sqlite").write_bytes(b"holiday photos" * 1000)
    with pytest.raises(StoreCorrupt, match="not a database"):
        Library(library_folder, recipe=RECIPE, create=True)


def test_a_shorter_or_strange_or_missing_matrix_is_corrupt(library_folder):
    with make_library(library_folder) as library:
        add(library, "/a", "a", 1, 2, 3)
    whole = matrix(library_folder).read_bytes()
    matrix(library_folder).write_bytes(whole[:-1])
    with pytest.raises(StoreCorrupt, match="holds 2 embeddings, the database counts 3"):
        Library(library_folder)
    matrix(library_folder).write_bytes(b"PK" + whole[2:])
    with pytest.raises(StoreCorrupt, match="not photocluster's matrix"):
        Library(library_folder)
    matrix(library_folder).unlink()
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        Library(library_folder)
    matrix(library_folder).write_bytes(whole)
    with Library(library_folder) as library:
        assert library.check() == []


def test_what_a_kill_while_it_was_made_left_is_made_anew(library_folder):
    library_folder.mkdir()
    (library_folder / "library.sqlite").touch()
    matrix(library_folder).with_suffix(".part").write_bytes(b"\x93NU")
    with pytest.raises(StoreMissing, match="empty"):
        Library(library_folder)
    with make_library(library_folder) as library:
        add(library, "/a", "a", 1)
        assert library.check() == []


# Check --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(library_folder) -> Path:
    with make_library(library_folder) as library:
        add(library, "/a", "a", 1, 2)
        add(library, "/b", "b", 3)
        assert library.check() == []
    return library_folder


def problems(folder: Path) -> str:
    with Library(folder) as library:
        return "\n".join(library.check())


@pytest.mark.parametrize("damage", [b"\0" * ROW_BYTES, b"\xff" * ROW_BYTES, b"\x7f\xc0\x12\x41" * 128])
def test_check_finds_a_damaged_row(filled, damage):
    with matrix(filled).open("r+b") as file:
        file.seek(HEADER_BYTES + ROW_BYTES)
        file.write(damage)
    assert "row 1 has norm" in problems(filled)
    assert "forget its photo and scan it again" in problems(filled)


def test_check_finds_rows_that_point_nowhere(filled):
    with closing(sqlite3.connect(filled / "library.sqlite")) as connection, connection:
        connection.execute("UPDATE face SET photo = 99 WHERE id = 2")
    assert "table face, row 2 points to a row of photo that is not there" in problems(filled)


def test_check_finds_a_face_behind_the_committed_rows(filled):
    with closing(sqlite3.connect(filled / "library.sqlite")) as connection, connection:
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'rows'")
    assert "face 2 is beyond the 2 committed rows" in problems(filled)


def test_check_finds_an_embedding_of_nobody(filled):
    with closing(sqlite3.connect(filled / "library.sqlite")) as connection, connection:
        connection.execute("DELETE FROM face WHERE id = 0")
    assert "row 0 has norm 1.0000 instead of 0" in problems(filled)


def test_check_reports_a_damaged_database(filled):
    path = filled / "library.sqlite"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xa5" * 8192
    path.write_bytes(content)
    try:
        with Library(filled) as library:
            assert library.check() != []
    except StoreCorrupt as error:
        assert "Restore it from a copy" in str(error)  # noqa: PT017  either answer is right


# Forgetting ---------------------------------------------------------------------------------------------------------


def test_forget_leaves_nothing(library_folder):
    with make_library(library_folder) as library:
        add(library, "/secret.jpg", "5ec2e7" * 10 + "0000", 1, 2)
        add(library, "/b", "b", 3)
        label(library, 0, "Ann")
        label(library, 2, "Ben")
        assert library.photos.named_faces(["5ec2e7" * 10 + "0000"]) == 1
        assert library.photos.forget(["5ec2e7" * 10 + "0000"] * 2) == 2
        np.testing.assert_array_equal(library.embeddings()[:2], np.zeros((2, 128)))
        np.testing.assert_array_equal(library.embeddings()[2], unit_vector(3))
        assert [row.face for row in library.faces.rows()] == [2]
        assert library.check() == []
        add(library, "/c", "c", 4)
        assert [row.face for row in library.faces.rows()] == [2, 3]  # rows are not used again
        assert (library.rows, library.names.assignments().keys()) == (4, {2})
    for entry in library_folder.iterdir():
        content = entry.read_bytes()
        assert b"secret" not in content
        assert b"5ec2e75ec2e7" not in content
        assert unit_vector(1).tobytes() not in content
        assert unit_vector(2).tobytes() not in content
    assert b'"face": 0' not in (library_folder / "library.sqlite").read_bytes()


def test_a_forget_that_was_killed_is_ended_by_the_next_to_open(library_folder, monkeypatch):
    with make_library(library_folder) as library:
        add(library, "/a", "a", 1, 2)

        def killed(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(type(library._database), "clear_forgotten", killed)
        with pytest.raises(KeyboardInterrupt):
            library.photos.forget(["a"])
        monkeypatch.undo()
        assert library.faces.rows() == []
    assert np.load(matrix(library_folder))[0].any()
    with Library(library_folder) as library:
        assert not library.embeddings().any()
        assert library._database.meta(CLEARING) is None
        assert library.check() == []


def test_forget_takes_the_earlier_versions_along(library_folder):
    with make_library(library_folder) as library:
        add(library, "/a", "old", 1)
        add(library, "/a", "newer", 2)
        add(library, "/a", "newest", 3)
        add(library, "/b", "other", 4)
        assert library.photos.with_versions(["newest"]) == ["newest", "newer", "old"]
        assert library.photos.with_versions(["other", "other", "unknown"]) == ["other"]
        library.photos.forget(library.photos.with_versions(["newest"]))
        assert library.photos.hashes() == {"other"}


# Files --------------------------------------------------------------------------------------------------------------


def test_a_file_that_went_bad_keeps_its_photo_in_sight(library_folder):
    bad = ScannedFile(Path("/a"), 5, 2000, FileState.FAILED, error="damaged")
    with make_library(library_folder) as library:
        add(library, "/a", "a", 1)
        label(library, 0, "Ann")
        library.photos.add([bad, replace(bad, path=Path("/new"))])
        assert library.photos.failed() == [(Path("/new"), "damaged")]
        assert [(row.path, row.person) for row in library.faces.rows()] == [("/a", "Ann")]
        library.photos.add([scanned("/a", "edited", [face(unit_vector(2))], size=6)])  # the editor has ended its work
        assert library.photos.replaced() == [(1, 2)]


def test_below_is_by_path_component(library_folder):
    with make_library(library_folder) as library:
        for path in ("/p/a", "/p/b/c", "/p2/a", "/p", "/p-/a", "/p/\xff"):
            add(library, path, path, 1)
        assert {str(path) for _, path in library.photos.below(Path("/p"))} == {"/p", "/p/a", "/p/b/c", "/p/\xff"}
        assert len(list(library.photos.below(Path("/")))) == 6


# Old libraries ------------------------------------------------------------------------------------------------------


@pytest.fixture
def version_1(library_folder) -> Path:
    library_folder.mkdir(mode=0o700)
    with closing(sqlite3.connect(library_folder / "library.sqlite")) as connection:
        connection.executescript((GOLDEN / "library-v1.sql").read_text(encoding="utf-8"))
    vectors = np.eye(128, dtype=np.float32)[:5]
    vectors[3] = 0
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 128), }"
    matrix(library_folder).write_bytes(b"\x93NUMPY\x01\0v\0" + header.ljust(117) + b"\n" + vectors.tobytes())
    return library_folder


def test_a_library_of_format_1_opens_with_all_that_was_said(version_1):
    with Library(version_1, recipe=RECIPE) as library:
        assert library.check() == []
        rows = {row.face: row for row in library.faces.rows()}
        assert {f: (r.person, r.source, r.cluster) for f, r in rows.items()} == {
            0: ("Ann", "user", 2),
            1: ("Zoë", "imported", 3),
            2: ("Ann", "propagated", 2),
        }
        assert rows[2].path == os.fsdecode(b"/photos/tw\xf6.png")
        assert rows[0].facts.camera == "NIKON D70"
        assert rows[0].detection.landmarks.tolist()[0] == [20.0, 30.0]
        assert library.names.rejections() == [(2, 3)]
        assert library.photos.failed() == [(Path("/photos/bad.jpg"), "damaged: image file is truncated")]
        assert library.photos.file(Path("/photos/bad.jpg")).mtime_ns == -1  # other formats are known by now
        assert [entry[0] for entry in library.photos.missing()] == ["b" * 64]
        assert library.clusters.numbers() == {1, 2, 3}
        np.testing.assert_array_equal(library.embeddings()[4], np.eye(128)[4])
        status = library.status()
        assert (status.photos, status.files, status.persons, status.named_by_user) == (3, 3, 2, 1)
        add(library, "/new", "e" * 64, 1)
        assert library.faces.rows()[-1].face == 5


def test_the_old_database_is_kept_beside_the_new_one(version_1):
    before = dump(version_1)
    Library(version_1).close()
    copies = list(version_1.glob("library.sqlite.before-v*"))
    assert len(copies) == (len(MIGRATIONS) > 1)
    for copy in copies:
        shutil.copy(copy, version_1 / "library.sqlite")
        assert dump(version_1) == before
    assert {k: v for k, v in dump(version_1).items() if k != "person"} == {
        k: v for k, v in before.items() if k != "person"
    }


# A model ------------------------------------------------------------------------------------------------------------

PATHS = st.sampled_from([f"/{folder}/{name}" for folder in "pq" for name in "ab"])
CONTENTS = st.integers(0, 5)


class StoreAgainstModel(RuleBasedStateMachine):
    """Files come, go, move and change, photos are named and forgotten; a few dicts say what must come of it.

    Content i is a photo with i % 3 faces.
    """

    @initialize()
    def make(self):
        self.folder = Path(tempfile.mkdtemp())
        self.library = make_library(self.folder / "library")
        self.files: dict[str, tuple[int, bool]] = {}  # path -> content, missing
        self.photos: dict[int, list[int]] = {}  # content -> faces
        self.replaced: dict[int, int] = {}
        self.named: dict[int, str] = {}  # face -> person
        self.rows: list[np.ndarray] = []

    def teardown(self):
        self.library.close()
        shutil.rmtree(self.folder)

    @rule(path=PATHS, content=CONTENTS)
    def add(self, path, content):
        vectors = [unit_vector(content, i, len(self.rows)) for i in range(content % 3)]
        known = content in self.photos
        faces = None if known else [face(vector) for vector in vectors]
        self.library.photos.add([scanned(path, str(content), faces)])
        if not known:
            self.photos[content] = list(range(len(self.rows), len(self.rows) + len(vectors)))
            self.rows += vectors
        old = self.files.get(path)
        self.files[path] = (content, False)
        self.files = {p: (c, gone) for p, (c, gone) in self.files.items() if c != content or not gone}
        self.replaced.pop(content, None)
        if old and old[0] not in {c for c, _ in self.files.values()}:
            self.replaced[old[0]] = content

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def vanish(self, data):
        path = data.draw(st.sampled_from(sorted(self.files)))
        content, _ = self.files[path]
        self.library.photos.mark_missing([self.library.photos.file(Path(path)).id])
        self.files[path] = (content, True)
        here = {c for c, gone in self.files.values() if not gone}
        self.files = {p: (c, gone) for p, (c, gone) in self.files.items() if not gone or c not in here}

    @precondition(lambda self: any(gone for _, gone in self.files.values()))
    @rule(data=st.data())
    def reappear(self, data):
        path = data.draw(st.sampled_from(sorted(p for p, (_, gone) in self.files.items() if gone)))
        self.library.photos.mark_seen([self.library.photos.file(Path(path)).id])
        self.files[path] = (self.files[path][0], False)

    @precondition(lambda self: any(self.photos.values()))
    @rule(data=st.data(), name=st.sampled_from(["Ann", "Ben"]))
    def label(self, data, name):
        number = data.draw(st.sampled_from([f for faces in self.photos.values() for f in faces]))
        label(self.library, number, name)
        self.named[number] = name

    @precondition(lambda self: self.photos)
    @rule(data=st.data())
    def forget(self, data):
        content = data.draw(st.sampled_from(sorted(self.photos)))
        faces = self.photos.pop(content)
        assert self.library.photos.forget([str(content)]) == len(faces)
        for number in faces:
            self.rows[number] = np.zeros(128)
            self.named.pop(number, None)
        self.files = {p: (c, gone) for p, (c, gone) in self.files.items() if c != content}
        self.replaced = {old: new for old, new in self.replaced.items() if content not in (old, new)}

    @rule()
    def open_again(self):
        self.library.close()
        self.library = Library(self.folder / "library", recipe=RECIPE)

    @invariant()
    def agree(self):
        library = self.library
        assert library.photos.hashes() == {str(content) for content in self.photos}
        assert {str(path): library.photos.hash_of(path) for _, path in library.photos.below(Path("/"))} == {
            path: str(content) for path, (content, gone) in self.files.items() if not gone
        }
        here = {content for content, gone in self.files.values() if not gone}
        assert {entry[0] for entry in library.photos.missing()} == {
            str(content) for content in self.photos if content not in here and content not in self.replaced
        }
        rows = {row.face: row for row in library.faces.rows()}
        assert set(rows) == {
            number
            for content, faces in self.photos.items()
            for number in faces
            if content not in self.replaced or number in self.named
        }
        assert {number: row.person for number, row in rows.items() if row.person} == self.named
        assert library.rows == len(self.rows)
        np.testing.assert_array_equal(library.embeddings(), np.array(self.rows).reshape(-1, 128).astype(np.float32))
        assert library.check() == []


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_events_hold_every_word(library_folder):
    with make_library(library_folder) as library:
        add(library, "/a", "a", 1)
        label(library, 0, "Ann")
        label(library, 0, "Ann")
        label(library, 0, "Ben")
    with closing(sqlite3.connect(library_folder / "library.sqlite")) as connection:
        events = [json.loads(row[0]) for row in connection.execute("SELECT changes FROM event ORDER BY id")]
    assert [[change[0] for change in changes] for changes in events] == [["person", "assignment"]] * 2

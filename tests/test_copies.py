"""Near-duplicates: which photos are, and that a face that was copied is one piece of evidence."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import FACTS, face, make_library, unit_vector
from PIL import Image, ImageEnhance

from photocluster.pipeline.copies import BURST_SECONDS, copies_of, near_photos, without_copies
from photocluster.pipeline.naming import label
from photocluster.pipeline.recognition import Comparing, known_people, propagate, read_word
from photocluster.records import PhotoFacts
from photocluster.store import FileState, Library, ScannedFile

HASH = 0x5A5A_0F0F_3C3C_1234


def near(*bits: int) -> int:
    """Return `HASH` with these bits turned over."""
    return HASH ^ sum(1 << bit for bit in bits)


def far(seed: int) -> int:
    """Return a hash of another picture."""
    return int(np.random.default_rng(seed).integers(2**63))


def between(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    vector = (1 - share) * a + share * b
    return (vector / np.linalg.norm(vector)).astype(np.float32)


ANN, BEN = unit_vector(1), unit_vector(2)


class Album:
    """Photos that were never taken, in a library."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.count = 0

    def add(self, phash: int | None, *faces, at: str | None = None, facts: PhotoFacts = FACTS) -> int:
        """Add a photo; return its first face's id."""
        self.count += 1
        first = self.library.rows
        photo = ScannedFile(
            Path(f"/{self.count}.jpg"),
            1,
            1,
            FileState.PHOTO,
            f"{self.count:064}",
            replace(facts, captured_at=at),
            faces,
        )
        self.library.photos.add([replace(photo, phash=phash)])
        return first

    def pairs(self) -> list[list[int]]:
        return near_photos(self.library).photos.tolist()

    def copies(self) -> list[int]:
        return copies_of(self.library, np.arange(self.library.rows)).tolist()


@pytest.fixture
def album(library_folder):
    with make_library(library_folder) as library:
        yield Album(library)


def test_copies_without_times_need_the_same_faces(album):
    album.add(HASH, face(ANN))
    album.add(near(1, 2, 3, 4, 5), face(between(ANN, BEN, 0.1)))
    album.add(near(6, 7), face(BEN))
    album.add(near(8, 9))
    assert album.pairs() == [[1, 2], [1, 4], [3, 4]]
    assert album.copies() == [0, 0, -1]


def test_photos_of_nobody_are_near_within_few_bits(album):
    album.add(HASH)
    album.add(near(1, 2, 3, 4))
    album.add(near(60, 61, 62, 58, 59))
    assert album.pairs() == [[1, 2]]


@pytest.mark.parametrize(
    ("other", "found"),
    [("2019-07-14T16:02:12", True), ("2019-07-14T16:02:13", True), ("2019-07-14T16:02:14", False), (None, False)],
)
def test_photos_of_a_burst_may_differ_more(album, other, found):
    assert BURST_SECONDS == 2
    album.add(HASH, face(ANN), at="2019-07-14T16:02:11")
    album.add(near(*range(10)), face(ANN, left=30), at=other)
    assert album.pairs() == [[1, 2]] * found


def test_equal_photos_of_other_times_are_no_copies(album):
    album.add(HASH, face(ANN), at="2019-07-14T16:02:11")
    album.add(HASH, face(ANN), at="2023-07-14T16:02:11")
    assert album.pairs() == []
    assert album.copies() == [-1, -1]


def test_a_long_burst_is_held_together(album):
    for second in range(30):
        album.add(near(second, second + 1), face(ANN), at=f"2019-07-14T16:02:{second:02}")
    assert album.copies() == [0] * 30


def test_another_shape_is_another_photo(album):
    album.add(HASH, face(ANN))
    album.add(HASH, face(ANN), facts=replace(FACTS, width=480, height=640))
    album.add(HASH, face(ANN, left=5, top=5, side=20), facts=replace(FACTS, width=320, height=240))
    assert album.pairs() == [[1, 3]]


def test_faces_in_other_places_are_no_copies(album):
    album.add(HASH, face(ANN), face(BEN, left=400))
    album.add(near(1), face(ANN, left=12), face(ANN, left=300), face(BEN, left=390))
    assert album.copies() == [0, 1, 0, -1, 1]


def test_photos_of_an_older_version_have_no_hash(album):
    album.add(None, face(ANN))
    album.add(None, face(ANN))
    assert album.pairs() == []
    assert album.copies() == [-1, -1]


def test_some_faces_are_asked_about(album):
    faces = [album.add(HASH, face(ANN)) for _ in range(4)]
    assert copies_of(album.library, np.array([faces[3], faces[1]])).tolist() == [0, 0]
    assert copies_of(album.library, np.empty(0, dtype=np.int64)).tolist() == []


def test_fifty_copies_do_not_move_a_centroid(album):
    """Ann is named in three photos, of which one was copied fifty times."""
    others = [unit_vector(1, 2), unit_vector(1, 3)]
    named = [album.add(far(n), face(between(ANN, v, 0.4))) for n, v in enumerate(others)] + [
        album.add(HASH, face(between(ANN, others[0], 0.01)))
    ]
    with_three = known_people(album.library, _named(album, named), Comparing()).centroids
    copies = [album.add(near(n % 3), face(between(ANN, others[0], 0.01))) for n in range(50)]
    for copy in copies:
        label(album.library, [f"f{copy}"], "Ann")
    word = read_word(album.library)
    assert len(word.said) == 53
    assert len(without_copies(album.library, word.said)) == 3
    with_copies = known_people(album.library, word, Comparing()).centroids
    assert np.linalg.norm(with_three - with_copies) < 0.01


def _named(album: Album, faces: list[int]):
    for row in faces:
        label(album.library, [f"f{row}"], "Ann")
    return read_word(album.library)


def test_the_best_of_the_copies_speaks(album):
    small = face(ANN)
    large = replace(small, quality=replace(small.quality, overall=0.9))
    for made in (small, large, small):
        album.add(HASH, made)
    assert without_copies(album.library, {0: 7, 1: 7, 2: 7}) == {1: 7}
    assert without_copies(album.library, {0: 7, 1: 8, 2: 7}) == {0: 7, 1: 8}
    assert without_copies(album.library, {}) == {}


def test_a_track_speaks_once(album):
    tracked = [replace(face(between(ANN, BEN, n / 10)), time=float(n), track=1) for n in range(3)]
    album.add(None, *tracked, replace(face(BEN), time=1.0, track=2), facts=replace(FACTS, duration=9.0))
    assert without_copies(album.library, {0: 7, 1: 7, 2: 7, 3: 8}) == {0: 7, 3: 8}


def test_propagation_is_not_outvoted_by_copies(album):
    """Ben's one photo was copied twenty times; the face between the two is nearer to Ann's than to his."""
    ann, ben = unit_vector(3), unit_vector(4)
    for n in range(3):
        label(album.library, [f"f{album.add(far(n), face(between(ann, unit_vector(5, n), 0.3)))}"], "Ann")
    for _ in range(20):
        label(album.library, [f"f{album.add(HASH, face(ben))}"], "Ben")
    probe = album.add(None, face(between(ann, ben, 0.2)))
    report = propagate(album.library)
    assert [(found.face, found.person) for found in report.faces] == [(probe, "Ann")]


@pytest.mark.slow
def test_copies_of_real_photos_are_found_and_nothing_else(data, tmp_path, run_cli, library_folder):
    """Thirty photos, each in half the size, brighter, and cut by 2.5 % at each edge."""
    for source in sorted((data / "sets" / "celeb5").glob("*/*.jpg"))[::4]:
        original = Image.open(source).convert("RGB")
        width, height = original.size
        cut = (round(0.025 * width), round(0.025 * height), round(0.975 * width), round(0.975 * height))
        versions = {
            "as it is": original,
            "half": original.resize((width // 2, height // 2), Image.Resampling.LANCZOS),
            "bright": ImageEnhance.Brightness(original).enhance(1.3),
            "cut": original.crop(cut),
        }
        for name, version in versions.items():
            buffer = io.BytesIO()
            version.save(buffer, "JPEG", quality=80)
            (tmp_path / source.stem).mkdir(exist_ok=True)
            (tmp_path / source.stem / f"{name}.jpg").write_bytes(buffer.getvalue())
    assert run_cli("scan", tmp_path).code == 0
    with Library(library_folder) as library:
        place = dict(library._database.execute("SELECT photo, path FROM file").fetchall())
        pairs = near_photos(library).photos.tolist()
    names = [[Path(place[photo].decode()) for photo in pair] for pair in pairs]
    assert all(a.parent == b.parent for a, b in names)
    versions = [{a.stem, b.stem} for a, b in names]
    assert sum(pair == {"as it is", "half"} for pair in versions) >= 27
    assert sum(pair == {"as it is", "bright"} for pair in versions) >= 27
    assert sum(pair == {"as it is", "cut"} for pair in versions) >= 10

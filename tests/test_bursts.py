"""Bursts: known by the camera's word or by their names, one moment each, whose faces count once."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import FACTS, face, make_library, scanned, unit_vector
from PIL import Image
from test_contact_sheet import named

from photocluster.bursts import burst_of
from photocluster.pipeline.copies import copies_of, near_photos
from photocluster.pipeline.duplicates import DuplicateKind, duplicates
from photocluster.pipeline.exports import with_distances
from photocluster.sheet_plan import plan_pages
from photocluster.store import Library

ANN, BEN = unit_vector(1), unit_vector(2)
UUID = "5F9B6BC0-9B1C-4F2B-8C75-0123456789AB"


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("20200101_120000_001.jpg", "20200101_120000_039.jpg", True),
        ("20200101_120000_001.jpg", "20200101_120001_001.jpg", False),
        ("IMG_20200101_120000_BURST001_COVER.jpg", "IMG_20200101_120000_BURST12.JPG", True),
        ("IMG_20200101_120000123_BURST000_COVER.jpg", "IMG_20200101_120000123_BURST001.jpg", True),
        ("20200101 120000 BURST1.jpg", "20200101 120000 BURST10.jpg", True),
        ("00000IMG_00000_BURST20180901101751159_COVER.jpg", "00014IMG_00014_BURST20180901101751159.jpg", True),
        ("00000IMG_00000_BURST20180901101751159.jpg", "00000IMG_00000_BURST20180901101752159.jpg", False),
        ("DSC_0001_BURST20230709220904977.JPG", "DSC_0052_BURST20230709220904977_COVER.JPG", True),
        ("IMG_20200101_120000.jpg", "IMG_20200101_120000.jpg", False),
        ("DSC_0001.JPG", "DSC_0002.JPG", False),
        ("PXL_20231026_210642603.jpg", "PXL_20231026_210642604.jpg", False),
        ("Sunburst 1 of 12.jpg", "Sunburst 2 of 12.jpg", False),
    ],
)
def test_names_of_bursts(one, other, together):
    assert (burst_of(b"", one) is not None and burst_of(b"", one) == burst_of(b"", other)) is together


def apple_note(uuid: str, order: str = ">") -> bytes:
    """Return a maker note with two tags: the version, and the burst."""
    value = uuid.encode() + b"\0"
    head = b"Apple iOS\0\0\1" + (b"MM" if order == ">" else b"II")
    entries = [(0x0001, 9, 1, 14), (0x000B, 2, len(value), len(head) + 2 + 2 * 12 + 4)]
    packed = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return head + struct.pack(f"{order}H", len(entries)) + packed + bytes(4) + value


def jpeg(path: Path, *, note: bytes = b"", xmp: bytes = b"") -> bytes:
    exif = Image.Exif()
    if note:
        exif.get_ifd(0x8769)[0x927C] = note
    Image.new("RGB", (64, 64)).save(path, exif=exif, xmp=xmp)
    return path.read_bytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_word_of_an_iphone(tmp_path, order):
    content = jpeg(tmp_path / "IMG_0001.JPG", note=apple_note(UUID, order))
    assert burst_of(content, "IMG_0001.JPG") == f"apple:{UUID}"
    assert burst_of(jpeg(tmp_path / "a.jpg", note=apple_note("")), "a.jpg") is None


@pytest.mark.parametrize(
    "form", [' GCamera:BurstID="{}"/>', "><GCamera:BurstID>{}</GCamera:BurstID></rdf:Description>"]
)
def test_the_word_of_an_android(tmp_path, form):
    xmp = "<x:xmpmeta><rdf:RDF><rdf:Description" + form.format(UUID) + "</rdf:RDF></x:xmpmeta>"
    assert burst_of(jpeg(tmp_path / "a.jpg", xmp=xmp.encode()), "20200101_120000_001.jpg") == f"google:{UUID}"


def test_any_bytes_are_no_harm():
    rng = np.random.default_rng(0)
    note = apple_note(UUID)
    for _ in range(2000):
        damaged = bytearray(note[: rng.integers(10, len(note))])
        for place in rng.integers(10, len(damaged) + 1, 3).clip(max=len(damaged) - 1):
            damaged[place] = rng.integers(256)
        found = burst_of(bytes(damaged), "a.jpg")
        assert found is None or found.startswith("apple:")


def shot(number: int, second: int | None, *faces, burst: str | None = "b", folder: str = "/a", **facts):
    at = None if second is None else f"2019-07-14T16:{second // 60:02}:{second % 60:02}"
    made = scanned(f"{folder}/{number}.jpg", f"{number:064}", faces)
    phash = int(np.random.default_rng(number).integers(2**63))  # of another picture each: all of it moves
    return replace(made, facts=replace(FACTS, captured_at=at, **facts), phash=phash, burst=burst)


@pytest.fixture
def library(library_folder):
    with make_library(library_folder) as made:
        yield made


def moved(vector: np.ndarray, number: int, by: float = 0.4) -> np.ndarray:
    changed = vector + by * unit_vector(9, number)
    return (changed / np.linalg.norm(changed)).astype(np.float32)


def test_photos_of_a_burst_are_one_moment_however_they_differ(library):
    library.photos.add(
        [shot(n, n, face(moved(ANN, n), left=10 + 40 * n), face(moved(BEN, 50 + n), left=400)) for n in range(5)]
    )
    library.photos.add([shot(7, 2, face(moved(ANN, 7)), burst=None), shot(8, 200, face(moved(ANN, 8)))])
    library.photos.add([shot(9, 3, face(moved(ANN, 9)), camera="Another")])
    assert copies_of(library, np.arange(library.rows)).tolist() == [0, 1] * 5 + [-1] * 3
    (group,) = duplicates(library)
    assert group.kind is DuplicateKind.BURST
    assert {file.path.name for file in group.files} == {f"{n}.jpg" for n in range(5)}
    assert duplicates(library, kinds=[DuplicateKind.BURST]) == [group]


def test_a_face_of_a_burst_has_one_counterpart_at_the_most(library):
    """Twins side by side, who change places: nobody is both."""
    library.photos.add(
        [
            shot(1, 1, face(moved(ANN, 1)), face(moved(ANN, 2), left=60)),
            shot(2, 1, face(moved(ANN, 3), left=30), face(moved(ANN, 4), left=90)),
        ]
    )
    near = near_photos(library)
    assert near.bursts.tolist() == [True]
    assert len(np.unique(near.faces[:, 0])) == len(np.unique(near.faces[:, 1])) == len(near.faces) > 0


def test_a_burst_without_times_and_photos_of_nobody(library):
    library.photos.add([shot(n, None) for n in range(3)])
    assert near_photos(library).photos.tolist() == [[1, 2], [1, 3], [2, 3]]


def test_a_moment_counts_once_in_the_middle_of_a_person():
    vectors = np.stack([ANN, ANN, ANN, BEN])
    rows = [replace(named(i, "Ann"), distance=None) for i in range(4)]
    plain = [row.distance for row in with_distances(rows, vectors, {})]
    once = [row.distance for row in with_distances(rows, vectors, {0: 7, 1: 7, 2: 7})]
    assert plain[0] < plain[3]
    assert once[0] == pytest.approx(once[3], abs=1e-6)


def large_picture(path: Path, shade: int) -> None:
    """Write a picture of one person that is large enough for a perceptual hash, and unlike all others."""
    rgb = np.random.default_rng(shade).integers(255, size=(8, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    rgb[:16] = 0
    rgb[:16, :16] = (5, 100, shade)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rgb).save(path)


def test_a_burst_from_scan_to_sheet(fake_analyser, tmp_path, run_cli, library_folder):
    album, out = tmp_path / "album", tmp_path / "people"
    for number in range(1, 5):
        large_picture(album / f"20200101_120000_{number:03}.png", 20 * number)
    for number in range(3):
        large_picture(album / f"{number}.png", 150 + 30 * number)
    assert run_cli("scan", album, "--workers", "1").code == 0
    with Library(library_folder) as library:
        copies = copies_of(library, np.arange(7)).tolist()
    assert [copies.count(number) for number in {*copies} - {-1}] == [4]
    status = run_cli("status", "--json").json
    assert (status["bursts"], status["burst_photos"]) == (1, 4)
    assert "1 with 4 photos" in run_cli("status").out
    listed = run_cli("duplicates", "--kind", "burst", "--json").json
    assert [len(group["files"]) for group in listed] == [4]
    run_cli("cluster")
    shown = run_cli("show", "1", "--json").json
    assert sorted(row["moment"] is None for row in shown) == [False] * 4 + [True] * 3
    assert "7 faces of 4 moments" in run_cli("show", "1").err
    assert run_cli("export", "html", out).code == 0
    page = (out / "cluster-1.html").read_text(encoding="utf-8")
    assert "of 4 moments" in page
    assert page.index("More of the same moments") > page.index('id="face-0"')
    with Library(library_folder) as library:
        rows = library.faces.rows()
    plan = plan_pages(rows, 100, moments={face: copies[face] for face in range(7) if copies[face] >= 0})
    (group,) = plan.groups
    assert {row.face for row in group.rows[-3:]} == group.again

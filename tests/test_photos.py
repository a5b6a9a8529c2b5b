"""Walking, reading and decoding, on trees and pictures that the tests make, and on the awkward real files."""

import hashlib
import io
import logging
import os
import random
import struct
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageDraw, ImageOps

from photocluster import formats, photos
from photocluster.errors import IncompletePhoto, PhotoError, PhotoTooLarge, UndecodablePhoto, UnreadableFile
from photocluster.photos import content_hash, decode, is_photo, read, sniff
from photocluster.walking import FoundFile, WalkProblem, walk

ROOT = Path(__file__).parents[1]
AWKWARD = Path(os.environ.get("PHOTOCLUSTER_TEST_DATA", ROOT.parent / "shared" / "data")) / "awkward"
pillow_heif.register_heif_opener()  # for writing
needs_data = pytest.mark.skipif(not AWKWARD.is_dir(), reason="PHOTOCLUSTER_TEST_DATA has no folder 'awkward'")


# Making files -------------------------------------------------------------------------------------------------------


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """Return a picture that no turn or mirror image leaves as it was: smooth, so that JPEG keeps it."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rgb = np.stack([255 * x, 255 * y, 200 * (1 - x) * (1 - y)], axis=2)
    return Image.fromarray(rgb.astype(np.uint8))


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    stream = io.BytesIO()
    if format_ in ("HEIF", "JXL") and "exif" in options:
        options["exif"] = options["exif"].tobytes()
    image.save(stream, format_, **options)
    return stream.getvalue()


def exif(**tags) -> Image.Exif:
    names = {"orientation": 0x112, "make": 0x10F, "model": 0x110, "changed": 0x132}
    details = {"original": 0x9003, "digitized": 0x9004}
    made = Image.Exif()
    for name, value in tags.items():
        if name in names:
            made[names[name]] = value
    made[0x8769] = {details[name]: value for name, value in tags.items() if name in details}
    loaded = Image.Exif()  # as of a file: a TIFF takes the details from no other
    loaded.load(made.tobytes())
    return loaded


def difference(first, second) -> float:
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Assemble an ICC profile, version 2 (ICC.1:2001-04)."""
    head = struct.pack(
        ">I4sI4s4s4s",
        0,
        b"lcms",
        0x02400000,
        b"prtr" if space == b"CMYK" else b"mntr",
        space,
        (b"Lab " if space == b"CMYK" else b"XYZ "),
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)  # illuminant D50
    head = head.ljust(128, b"\0")
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, start + len(data), len(value))
        data += padded
    whole = head + table + data
    return struct.pack(">I", len(whole)) + whole[4:]


def named(text: bytes) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(8 + 3 + 67)


def swapping_rgb_profile() -> bytes:
    """Return an RGB profile whose red primary is sRGB's green and the other way round."""
    primaries = {
        b"rXYZ": (0.3851, 0.7169, 0.0971),
        b"gXYZ": (0.4361, 0.2225, 0.0139),
        b"bXYZ": (0.1431, 0.0606, 0.7141),
    }
    tags = {
        name: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in value))
        for name, value in primaries.items()
    }
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256))
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    return profile(
        b"RGB ", {b"desc": named(b"swapped"), b"wtpt": white, **tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    )


def cmyk_profile() -> bytes:
    """Return a CMYK profile of two grid points per ink in which black alone counts: it makes a grey of any colour."""
    ramp = bytes(range(256))
    grid = b"".join(bytes([0 if node & 1 else 255, 128, 128]) for node in range(16))  # the last ink varies fastest
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    return profile(b"CMYK", {b"desc": named(b"black only"), b"wtpt": white, b"A2B0": table})


# walk ---------------------------------------------------------------------------------------------------------------


def plant(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def found(*roots: Path, base: Path, **options) -> list[str]:
    return [os.path.relpath(entry.path, base) for entry in walk(roots, **options) if isinstance(entry, FoundFile)]


def test_walk_yields_facts_in_the_order_of_the_path_bytes(tmp_path):
    plant(tmp_path, "a/x.jpg", "a-b.jpg", "a.jpg", "a0.jpg", "a/b/y.jpg", "é.jpg", "Z.jpg", "b/c/d/e.jpg")
    entries = list(walk([tmp_path]))
    paths = [entry.path for entry in entries]
    assert paths == sorted(paths, key=os.fsencode)
    assert len(paths) == 8
    first = entries[0]
    status = first.path.stat()
    assert first == FoundFile(os.fsencode(first.path), status.st_size, status.st_mtime_ns, status.st_dev)
    assert all(path.is_absolute() for path in paths)


def test_walk_does_not_depend_on_the_order_of_roots_and_yields_each_file_once(tmp_path):
    plant(tmp_path, "a/1.jpg", "a/n/2.jpg", "a/n/m/3.jpg", "a/z.jpg", "a.d/5.jpg", "a/.h/k/6.jpg", "b/4.jpg")
    roots = [tmp_path / name for name in ("a", "a/n", "b", "a/n/2.jpg", "a", "a/.h/k", "a.d", "a/../b")]
    expected = ["a.d/5.jpg", "a/.h/k/6.jpg", "a/1.jpg", "a/n/2.jpg", "a/n/m/3.jpg", "a/z.jpg", "b/4.jpg"]
    shuffler = random.Random(0)
    for _ in range(10):
        shuffler.shuffle(roots)
        assert found(*roots, base=tmp_path) == expected


@pytest.mark.parametrize("seed", range(12))
def test_walk_of_any_roots_yields_all_files_in_order(tmp_path, monkeypatch, seed):
    monkeypatch.setattr("photocluster.walking.RUN", 3)
    rng = random.Random(seed)
    parts = ["a", "a-b", "a.b", "ab", "é", "B"]
    files = {"/".join(rng.choices(parts, k=rng.randint(1, 3))) + f"/{rng.randint(0, 99)}.jpg" for _ in range(60)}
    plant(tmp_path, *files)
    everything = sorted((tmp_path / name for name in files), key=os.fsencode)
    below = [path for file in everything for path in (file, *file.relative_to(tmp_path).parents)]
    roots = [tmp_path / path for path in rng.sample(below, rng.randint(1, 12))]
    expected = [file for file in everything if any(root == file or root in file.parents for root in roots)]
    assert [entry.path for entry in walk(roots)] == expected


def test_walk_takes_relative_roots_and_files(tmp_path, monkeypatch):
    plant(tmp_path, "a/1.jpg", "2.jpg")
    monkeypatch.chdir(tmp_path)
    assert [entry.path for entry in walk([Path("2.jpg"), Path("a")])] == [tmp_path / "2.jpg", tmp_path / "a" / "1.jpg"]


def test_walk_follows_links_once_and_ends_in_loops(tmp_path):
    plant(tmp_path, "lib/a/1.jpg", "else/2.jpg", "else/3.jpg")
    (tmp_path / "lib" / "a" / "up").symlink_to(tmp_path / "lib")
    (tmp_path / "lib" / "a" / "self").symlink_to("self")
    (tmp_path / "lib" / "again").symlink_to(tmp_path / "else")
    (tmp_path / "lib" / "and again").symlink_to(tmp_path / "else")
    (tmp_path / "lib" / "gone.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "lib" / "one.jpg").symlink_to(tmp_path / "else" / "2.jpg")
    expected = ["lib/a/1.jpg", "lib/again/2.jpg", "lib/again/3.jpg", "lib/one.jpg"]
    assert found(tmp_path / "lib", base=tmp_path) == expected
    assert all(isinstance(entry, FoundFile) for entry in walk([tmp_path / "lib"]))


HIDDEN_FILES = (
    ".dot.jpg", "._resource.jpg", ".dir/a.jpg", "@eaDir/a.jpg", ".Trash-1000/a.jpg", "$RECYCLE.BIN/a.jpg",
    "#recycle/a.jpg", "System Volume Information/a.jpg", "Catalog Previews.lrdata/a.jpg",
    "My.photoslibrary/resources/derivatives/a.jpg",
)  # fmt: skip


def test_walk_passes_over_hidden_files_unless_asked(tmp_path):
    plant(tmp_path, *HIDDEN_FILES, "My.photoslibrary/originals/b.jpg", "resources/c.jpg")
    shown = ["My.photoslibrary/originals/b.jpg", "resources/c.jpg"]
    assert found(tmp_path, base=tmp_path) == shown
    assert found(tmp_path, base=tmp_path, hidden=True) == sorted([*HIDDEN_FILES, *shown])


def test_walk_takes_a_hidden_root_that_is_named(tmp_path):
    plant(tmp_path, ".private/a.jpg", ".private/.more/b.jpg", ".c.jpg")
    assert found(tmp_path / ".private", tmp_path / ".c.jpg", base=tmp_path) == [".c.jpg", ".private/a.jpg"]


def test_walk_honours_nomedia_below_the_roots(tmp_path):
    plant(tmp_path, "a/.nomedia", "a/1.jpg", "a/b/2.jpg", "c/3.jpg")
    assert found(tmp_path, base=tmp_path) == ["c/3.jpg"]
    assert found(tmp_path, base=tmp_path, hidden=True) == ["c/3.jpg"]
    assert found(tmp_path / "a", base=tmp_path) == ["a/1.jpg", "a/b/2.jpg"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("b", ["a/1.jpg", "a/2.png"]),
        ("b/", ["a/1.jpg", "a/2.png"]),
        ("*.jpg", ["a/2.png"]),
        ("a/[12].*", ["a/b/3.jpg", "b/4.jpg"]),
        ("a/b", ["a/1.jpg", "a/2.png", "b/4.jpg"]),
        ("A/B", ["a/1.jpg", "a/2.png", "a/b/3.jpg", "b/4.jpg"]),
        ("a/*.jpg", ["a/2.png", "b/4.jpg"]),
    ],
)
def test_walk_excludes_by_name_and_by_relative_path(tmp_path, pattern, left):
    plant(tmp_path, "a/1.jpg", "a/2.png", "a/b/3.jpg", "b/4.jpg")
    assert found(tmp_path, base=tmp_path, exclude=[pattern]) == left


def test_walk_reports_what_cannot_be_read_and_goes_on(tmp_path, monkeypatch):
    plant(tmp_path, "a/1.jpg", "b/2.jpg", "b-1.jpg", "c/3.jpg")
    scandir = os.scandir

    def refusing(path):
        if os.fspath(path) == str(tmp_path / "b"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    entries = list(walk([tmp_path, tmp_path / "missing"]))
    problems = [entry for entry in entries if isinstance(entry, WalkProblem)]
    assert [problem.path.name for problem in problems] == ["b", "missing"]
    assert "Permission denied" in problems[0].reason
    assert "No such file" in problems[1].reason
    assert [entry.path.name for entry in entries] == ["1.jpg", "b-1.jpg", "b", "3.jpg", "missing"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")
def test_walk_keeps_names_that_are_not_utf8(tmp_path):
    name = b"caf\xe9.jpg"
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
    (entry,) = walk([tmp_path], exclude=["x*"])
    assert os.fsencode(entry.path.name) == name
    assert read(entry.path) == b"x"


def test_walk_and_read_leave_pipes_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert list(walk([tmp_path])) == []
    with pytest.raises(UnreadableFile, match="no regular file"):
        read(tmp_path / "pipe.jpg")


# read, content_hash, is_photo ---------------------------------------------------------------------------------------


def test_content_hash_is_that_of_sha256sum():
    assert content_hash(b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert content_hash(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_read_refuses_what_is_missing_a_folder_or_beyond_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read(tmp_path / "a", limit=5) == b"12345"
    with pytest.raises(UnreadableFile, match="limit of 4"):
        read(tmp_path / "a", limit=4)
    with pytest.raises(UnreadableFile, match="No such file"):
        read(tmp_path / "b")
    with pytest.raises(UnreadableFile, match="no regular file"):
        read(tmp_path)
    with pytest.raises(UnreadableFile):
        read(Path("nul\0"))


PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF")


@pytest.mark.parametrize("format_", PHOTO_FORMATS)
def test_a_photo_is_told_by_content_and_decoded(tmp_path, format_):
    content = encoded(scene(), format_)
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    assert is_photo(content[: photos.HEAD])
    assert sniff(path)
    decoded = decode(content)
    assert decoded.facts == photos.PhotoFacts(96, 64, 1, format_, None, None)
    assert decoded.rgb.shape == (64, 96, 3)
    assert decoded.rgb.dtype == np.uint8
    assert decoded.rgb.flags.c_contiguous
    assert decoded.scale == 1
    assert difference(decoded.rgb, scene()) < (12 if format_ == "GIF" else 4)


def test_the_formats_tested_are_all_that_are_known():
    assert {*PHOTO_FORMATS, "JXL", "RAW"} == set(photos.FORMATS)  # those two: test_raw.py, and below


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xd8", b"plain text", b"BM is no bitmap, it is a text of BM and others", b"P5 is a projector",
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", b"RIFF\0\0\0\0AVI LIST",
        b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF-3.0", b"8BPS\0\1", b"<svg>", b"\0\0\1\0\1\0", b"PK\3\4", bytes(64),
    ],
)  # fmt: skip
def test_other_content_is_no_photo(content):
    assert not is_photo(content)
    with pytest.raises(UndecodablePhoto, match="no known photo format"):
        decode(content)


def test_the_brand_list_tells_avif_from_heif():
    box = b"\0\0\0\x20ftypmif1\0\0\0\0"
    assert formats.format_of(box + b"mif1miafMA1Bavif") == "AVIF"
    assert formats.format_of(box + b"mif1miafheic\0\0\0\0") == "HEIF"


def test_a_jpeg_xl_is_decoded_upright():
    pytest.importorskip("pillow_jxl", reason="the extra jxl is not installed")
    made = exif(make="Apple", model="iPhone", original="2019:07:14 16:02:11", orientation=6)
    for options in ({}, {"use_container": True, "exif": made}):
        content = encoded(scene(), "JXL", lossless=True, **options)
        assert is_photo(content[: photos.HEAD])
        decoded = decode(content, longest_side=48)
        assert (decoded.rgb.shape, decoded.scale) == ((32, 48, 3), 0.5)
        assert difference(decoded.rgb, scene().reduce(2)) < 2
        assert (decoded.facts.width, decoded.facts.height, decoded.facts.format) == (96, 64, "JXL")
        assert decoded.facts.orientation == 1  # the codestream's own counts, and the decoder follows it
    assert (decoded.facts.camera, decoded.facts.captured_at) == ("Apple iPhone", "2019-07-14T16:02:11")
    grey = encoded(scene().convert("L"), "JXL", lossless=True)
    assert difference(decode(grey).rgb, scene().convert("L").convert("RGB")) == 0
    with pytest.raises(UndecodablePhoto, match=r"^damaged: \S"):
        decode(content[: len(content) // 2])


def test_a_jpeg_packed_into_jpeg_xl_is_that_jpeg(tmp_path):
    pytest.importorskip("pillow_jxl", reason="the extra jxl is not installed")
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(scene(), "JPEG", exif=exif(orientation=6, make="Apple")))
    with Image.open(path) as image:
        content = encoded(image, "JXL", lossless_jpeg=True)
    decoded = decode(content)
    assert (decoded.facts.width, decoded.facts.height, decoded.facts.format) == (64, 96, "JXL")
    assert (decoded.facts.orientation, decoded.facts.camera) == (6, "Apple")
    assert np.array_equal(decoded.rgb, decode(path.read_bytes()).rgb)


@pytest.mark.parametrize("size", [(96, 64), (64, 64), (1, 1), (8, 16), (256, 256), (333, 777), (1600, 900), (9000, 3)])
def test_the_size_of_a_jpeg_xl_is_in_its_header(size):
    pytest.importorskip("pillow_jxl", reason="the extra jxl is not installed")
    from photocluster.jxl import jxl_size

    content = encoded(Image.new("RGB", size), "JXL")
    assert jxl_size(content) == size
    with pytest.raises(PhotoTooLarge):
        decode(content, max_pixels=size[0] * size[1])


def test_jpeg_xl_without_its_package_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    header = b"\xff\x0a\xff\x07" + bytes(60)
    with pytest.raises(UndecodablePhoto, match="pip install pillow-jxl-plugin"):
        decode(header)
    with pytest.raises(UndecodablePhoto, match="without a picture"):
        decode(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40))


# decode: orientation, size, facts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_every_orientation_comes_out_upright(format_, orientation):
    upright = scene(96, 64)
    # The inverse of a turn is found by Pillow's own rule: all but 6 and 8 are their own inverse.
    stored = upright.copy()
    stored.getexif()[0x112] = {6: 8, 8: 6}.get(orientation, orientation)
    stored = ImageOps.exif_transpose(stored)
    tag = exif(orientation=orientation)
    content = encoded(stored, format_, exif=tag)
    decoded = decode(content)
    assert (decoded.facts.width, decoded.facts.height) == (96, 64)
    assert decoded.facts.orientation == (1 if format_ in ("AVIF", "HEIF") else orientation)
    assert decoded.rgb.shape == (64, 96, 3)
    assert difference(decoded.rgb, upright) < 4
    reduced = decode(content, longest_side=48)
    assert (reduced.rgb.shape, reduced.scale) == ((32, 48, 3), 0.5)
    assert (reduced.facts.width, reduced.facts.height) == (96, 64)
    assert difference(reduced.rgb, upright.reduce(2)) < 4


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(value):
    decoded = decode(encoded(scene(), "JPEG", exif=exif(orientation=value)))
    assert decoded.facts.orientation == 1
    assert difference(decoded.rgb, scene()) < 4


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("longest", "shape", "factor"),
    [
        (None, (301, 1001), 1), (2000, (301, 1001), 1), (1001, (301, 1001), 1), (501, (301, 1001), 1),
        (500, (151, 501), 2), (300, None, None), (125, (38, 126), 8), (60, (19, 63), 16), (1, (1, 1), 1001),
    ],
)  # fmt: skip
def test_longest_side_reduces_by_whole_factors_and_never_below(format_, longest, shape, factor):
    decoded = decode(encoded(scene(1001, 301), format_), longest_side=longest)
    if shape is None:  # JPEG halves, the others reduce by any whole number
        shape, factor = ((151, 501), 2) if format_ == "JPEG" else ((101, 334), 3)
    if longest == 1:
        shape, factor = decoded.rgb.shape[:2], 1 / decoded.scale
        assert max(shape) < 8
    assert decoded.rgb.shape == (*shape, 3)
    assert decoded.scale == 1 / factor
    assert (decoded.facts.width, decoded.facts.height) == (1001, 301)


def test_a_reduced_photo_has_its_content_where_the_scale_says():
    image = Image.new("RGB", (1600, 1200), "black")
    ImageDraw.Draw(image).rectangle((800, 400, 1000, 500), fill="white")
    for format_ in ("JPEG", "PNG"):
        decoded = decode(encoded(image, format_), longest_side=400)
        rows, columns = np.nonzero(decoded.rgb[:, :, 0] > 128)
        edges = np.array([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]) / decoded.scale
        assert np.abs(edges - [800, 1001, 400, 501]).max() <= 4


def test_longest_side_must_be_positive():
    with pytest.raises(ValueError, match="longest_side"):
        decode(encoded(scene(), "PNG"), longest_side=0)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"original": "2019:07:14 16:02:11"}, "2019-07-14T16:02:11"),
        ({"original": "2019:07:14 16:02:11\0", "digitized": "2001:01:01 00:00:00"}, "2019-07-14T16:02:11"),
        ({"digitized": "2001:01:02 03:04:05"}, "2001-01-02T03:04:05"),
        ({"original": "0000:00:00 00:00:00", "digitized": "2001:01:02 03:04:05"}, "2001-01-02T03:04:05"),
        ({"original": "2019-07-14T16:02:11"}, "2019-07-14T16:02:11"),
        ({"changed": "2020:01:01 00:00:00"}, None),
        ({"original": "    :  :     :  :  "}, None),
        ({"original": "2019:02:30 10:00:00"}, None),
        ({"original": "2019:07:14 24:61:00"}, None),
        ({"original": "yesterday"}, None),
    ],
)
def test_the_time_of_capture(tags, expected):
    assert decode(encoded(scene(), "JPEG", exif=exif(**tags))).facts.captured_at == expected


@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D70", "NIKON D70"),
        ("Apple", "iPhone 13 Pro", "Apple iPhone 13 Pro"),
        ("SONY   \0\0", "  DSC-W1 \0x", "SONY DSC-W1"),
        ("Apple", "Applesauce", "Apple Applesauce"),
        ("Pentax", "", "Pentax"),
        ("", "X100", "X100"),
        ("", " \0", None),
    ],
)
def test_the_camera(make, model, expected):
    assert decode(encoded(scene(), "JPEG", exif=exif(make=make, model=model))).facts.camera == expected


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_facts_of_other_formats(format_):
    made = exif(make="Apple", model="iPhone", original="2019:07:14 16:02:11")
    image = scene()
    content = encoded(image, format_, exif=made)
    facts = decode(content).facts
    assert (facts.captured_at, facts.camera) == ("2019-07-14T16:02:11", "Apple iPhone")


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0junk", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
def test_damaged_exif_loses_only_the_exif(damage):
    decoded = decode(encoded(scene(), "JPEG", exif=damage))
    assert (decoded.facts.orientation, decoded.facts.captured_at, decoded.facts.camera) == (1, None, None)
    assert difference(decoded.rgb, scene()) < 4


# decode: colour -----------------------------------------------------------------------------------------------------


def test_transparency_becomes_white():
    image = scene().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    image.paste(scene(), (0, 0, 96, 64), Image.new("1", (96, 64)))
    image.alpha_composite(scene(48, 64).convert("RGBA"))
    paper = Image.new("RGB", image.size, "white")
    paper.paste(scene(48, 64))
    for format_, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("HEIF", {"quality": -1})):
        assert difference(decode(encoded(image, format_, **options)).rgb, paper) < 2, format_
    grey = image.convert("LA")
    assert difference(decode(encoded(grey, "PNG")).rgb, paper.convert("L").convert("RGB")) < 1


def test_transparent_palettes_and_key_colours_become_white():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.paste(0, (0, 0, 2, 4))
    for format_ in ("PNG", "GIF"):
        rgb = decode(encoded(palette, format_, transparency=0)).rgb
        assert rgb[0, 0].tolist() == [255, 255, 255]
        assert rgb[0, 3].tolist() == [200, 100, 50]
    key = Image.new("RGB", (2, 1), (9, 9, 9))
    key.putpixel((1, 0), (1, 2, 3))
    assert decode(encoded(key, "PNG", transparency=(9, 9, 9))).rgb.tolist() == [[[255] * 3, [1, 2, 3]]]


def test_one_bit_and_palette_and_grey():
    bits = scene().convert("1")
    assert np.array_equal(decode(encoded(bits, "PNG")).rgb, np.asarray(bits.convert("RGB")))
    assert set(np.unique(decode(encoded(bits, "TIFF", compression="group4"), longest_side=48).rgb)) - {0, 255}
    palette = scene().quantize(16)
    assert np.array_equal(decode(encoded(palette, "PNG")).rgb, np.asarray(palette.convert("RGB")))
    grey = scene().convert("L")
    assert np.array_equal(decode(encoded(grey, "PNG")).rgb, np.asarray(grey.convert("RGB")))


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_deep_grey_is_scaled_not_clipped(format_, bits):
    ramp = np.linspace(0, 2**bits - 1, 256).astype(np.uint16)
    decoded = decode(encoded(Image.fromarray(np.tile(ramp, (4, 1))), format_)).rgb
    assert np.abs(decoded[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_float_and_integer_tiff():
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (4, 1))
    ramp[1, 0], ramp[2, 0] = np.nan, -5
    for white in (1, 255, 65535, 1e6):
        decoded = decode(encoded(Image.fromarray(ramp * np.float32(white)), "TIFF")).rgb
        assert np.abs(decoded[0, :, 0].astype(int) - np.arange(256)).max() <= 1, white
        assert decoded[1:3, 0].max() == 0
    whole = Image.fromarray((ramp[:1] * 65535).astype(np.int32))
    assert np.abs(decode(encoded(whole, "TIFF")).rgb[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    assert decode(encoded(Image.new("F", (3, 3)), "TIFF")).rgb.max() == 0


def test_deep_colour_png_is_scaled():
    rows = b"".join(b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, value) for value in (0, 0x4000))
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 2, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert decode(content).rgb.tolist() == [[[255, 128, 0]], [[255, 128, 64]]]


def test_cmyk_without_profile():
    image = scene().convert("CMYK")
    assert difference(decode(encoded(image, "JPEG", quality=95)).rgb, scene()) < 6
    assert difference(decode(encoded(image, "TIFF")).rgb, scene()) < 2


def test_lab_tiff():
    from PIL import ImageCms

    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    content = encoded(to_lab.apply(scene()), "TIFF")
    assert difference(decode(content).rgb, scene()) < 3
    assert difference(decode(content, longest_side=48).rgb, scene().reduce(2)) < 3


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF"])
def test_an_embedded_rgb_profile_is_followed(format_):
    content = encoded(scene(), format_, icc_profile=swapping_rgb_profile())
    swapped = np.asarray(scene())[:, :, [1, 0, 2]]
    assert difference(decode(content).rgb, swapped) < 6
    assert difference(decode(content, longest_side=48).rgb, Image.fromarray(swapped).reduce(2)) < 6


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_an_embedded_cmyk_profile_is_followed(format_):
    inks = Image.merge("CMYK", [Image.new("L", (16, 16), value) for value in (200, 0, 90, 0)])
    plain = decode(encoded(inks, format_)).rgb
    followed = decode(encoded(inks, format_, icc_profile=cmyk_profile())).rgb
    assert difference(plain, np.full_like(plain, 255)) > 60
    assert difference(followed, np.full_like(followed, 255)) < 5


@pytest.mark.parametrize("icc", [b"junk", b"\0" * 200, cmyk_profile(), swapping_rgb_profile()[:300]])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_profile_that_is_damaged_or_of_another_mode_is_ignored(icc, mode):
    image = scene().convert(mode)
    assert difference(decode(encoded(image, "PNG", icc_profile=icc)).rgb, image.convert("RGB")) == 0


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_picture_of_many_is_taken(format_):
    colours = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    content = encoded(colours[0], format_, save_all=True, append_images=colours[1:])
    assert difference(decode(content).rgb, np.asarray(colours[0])) < 4


def test_an_mpo_is_the_jpeg_it_begins_with():
    content = encoded(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (20, 10))])
    decoded = decode(content, longest_side=48)
    assert decoded.facts.format == "JPEG"
    assert difference(decoded.rgb, scene().reduce(2)) < 4


# decode: damage and limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", PHOTO_FORMATS)
def test_half_a_file_is_refused_with_a_reason(format_):
    content = encoded(scene(200, 150), format_)
    reason = r"^it ends too early" if format_ == "JPEG" else r"^damaged: \S"
    with pytest.raises(UndecodablePhoto, match=reason):
        decode(content[: len(content) // 2], whole=True)


@pytest.mark.parametrize("longest_side", [None, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_ends_too_early_is_shown_as_far_as_it_goes(longest_side, progressive):
    content = encoded(scene(200, 160), "JPEG", exif=exif(orientation=3), progressive=progressive)
    complete = decode(content, longest_side=longest_side).rgb
    for missing in (1, 2, 30):
        cut = content[:-missing]
        with pytest.raises(IncompletePhoto, match="ends too early"):
            decode(cut, longest_side=longest_side, whole=True)
        assert difference(decode(cut, longest_side=longest_side).rgb, complete) < 4
    half = decode(content[: len(content) * 3 // 4], longest_side=longest_side)
    assert half.facts == decode(content).facts
    lower = half.rgb.shape[0] * 3 // 4  # upside down: the end of the file is the top of the photo
    assert difference(half.rgb[lower:], complete[lower:]) < (8 if progressive else 4)
    with pytest.raises(UndecodablePhoto, match="damaged"):
        decode(content[:100])


@pytest.mark.parametrize("format_", PHOTO_FORMATS)
def test_random_damage_is_never_more_than_a_photo_error(format_):
    content = encoded(scene(), format_, exif=exif(orientation=6, make="x")) if format_ in ("JPEG", "TIFF") else None
    content = content or encoded(scene(), format_)
    dice = random.Random(format_)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(dice.choice([1, 3, 20])):
            damaged[dice.randrange(12, len(damaged))] = dice.randrange(256)
        try:
            decoded = decode(bytes(damaged), max_pixels=1_000_000)
        except PhotoError:
            continue
        assert decoded.rgb.shape == (decoded.facts.height, decoded.facts.width, 3)


@pytest.mark.parametrize("error", [MemoryError(), struct.error("x"), IndexError(), RecursionError("deep"), KeyError(3)])
def test_whatever_pillow_raises_is_a_damaged_photo(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setitem(formats._READERS, "PNG", fail)
    with pytest.raises(UndecodablePhoto, match=r"^damaged: \S"):
        decode(encoded(scene(), "PNG"))


def test_heif_without_its_package_says_which(monkeypatch):
    content = encoded(scene(), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UndecodablePhoto, match="pip install pillow-heif"):
        decode(content)


def test_too_many_pixels_are_refused_before_loading(monkeypatch):
    content = encoded(scene(), "PNG")
    assert decode(content, max_pixels=96 * 64).scale == 1
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("loaded"))
    with pytest.raises(PhotoTooLarge, match="96 x 64 pixels"):
        decode(content, max_pixels=96 * 64 - 1)


def test_a_jpeg_counts_at_its_reduced_size():
    content = encoded(scene(800, 600), "JPEG")
    with pytest.raises(PhotoTooLarge):
        decode(content, max_pixels=200_000)
    assert decode(content, max_pixels=200_000, longest_side=400).scale == 0.5
    progressive = encoded(scene(800, 600), "JPEG", progressive=True)
    with pytest.raises(PhotoTooLarge):  # libjpeg holds all coefficients, whatever the reduced size
        decode(progressive, max_pixels=200_000, longest_side=400)


def test_formats_whose_decoders_keep_copies_may_have_fewer_pixels():
    content = encoded(scene(), "WEBP")
    with pytest.raises(PhotoTooLarge):
        decode(content, max_pixels=96 * 64 * 2)
    assert decode(content, max_pixels=96 * 64 * 3).scale == 1


def bomb(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + b";"


def test_bombs_are_refused_and_pillows_global_limit_is_neither_used_nor_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert decode(encoded(scene(), "JPEG")).rgb.shape == (64, 96, 3)  # by Image.open an error: over twice the limit
    with pytest.raises(PhotoError):
        decode(bomb(65535, 65535))
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.undo()
    huge = bytearray(encoded(scene(), "BMP"))
    huge[18:26] = struct.pack("<ii", 60000, 60000)
    with pytest.raises(PhotoTooLarge, match="60000 x 60000"):
        decode(bytes(huge))


def test_pillow_does_not_warn_and_other_threads_still_may(capsys):
    odd = encoded(scene(), "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0\0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            decode(odd)
            decode(encoded(Image.new("RGB", (20, 10)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0\0"))
        assert caught == []
        assert sum(rule[3] is photos._IN_DECODING_THREAD for rule in warnings.filters) == 1

        inside, done = threading.Event(), threading.Event()

        def decoding():
            with photos._IN_DECODING_THREAD.silenced():
                warnings.warn("unheard", UserWarning, stacklevel=1)
                inside.set()
                done.wait(10)

        thread = threading.Thread(target=decoding)
        thread.start()
        assert inside.wait(10)
        warnings.warn("heard", UserWarning, stacklevel=1)
        done.set()
        thread.join()
        warnings.warn("heard again", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["heard", "heard again"]
    logging.getLogger("PIL.TiffImagePlugin").error("of a damaged file")
    assert capsys.readouterr().err == ""


def test_decoding_in_threads_gives_what_one_thread_gives():
    contents = [encoded(scene(200 + i, 150), format_) for i, format_ in enumerate(PHOTO_FORMATS * 4)]
    alone = [decode(content, longest_side=90).rgb for content in contents]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda content: decode(content, longest_side=90).rgb, contents))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


# Real files ---------------------------------------------------------------------------------------------------------

DECODE_ALL = """
import sys
from pathlib import Path
from photocluster import photos
from photocluster.errors import PhotoError
from photocluster.walking import walk
for entry in walk([Path(sys.argv[1])], hidden=True):
    content = photos.read(entry.path)
    assert photos.sniff(entry.path) == photos.is_photo(content)
    try:
        photo = photos.decode(content)
        assert photo.rgb.shape == (photo.facts.height, photo.facts.width, 3), entry
        outcome = "decoded"
    except PhotoError as error:
        assert str(error) and len(str(error)) < 250 and "\\n" not in str(error)
        outcome = type(error).__name__ if photos.is_photo(content) else "no photo"
    print(f"{outcome}\\t{entry.path.relative_to(sys.argv[1]).as_posix()}")
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(f"peak\\t{int(peak.split()[1]) // 1024}")
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    command = [sys.executable, "-W", "error", "-c", DECODE_ALL, os.fspath(AWKWARD)]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT), "PYTHONIOENCODING": "utf-8:surrogateescape"}
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, check=False)
    assert run.returncode == 0, run.stderr
    lines = [line.split("\t", 1) for line in run.stdout.splitlines()]
    return {"peak": lines[-1][1], **{path: outcome for outcome, path in lines[:-1]}}


@needs_data
@pytest.mark.slow
def test_awkward_files_decode_or_raise_a_photo_error_within_memory(outcomes):
    assert len(outcomes) - 1 == sum(path.is_file() for path in AWKWARD.rglob("*"))
    assert int(outcomes["peak"]) < 1500
    counts = {kind: list(outcomes.values()).count(kind) for kind in ("decoded", "PhotoTooLarge")}
    assert counts["decoded"] >= 200
    assert counts["PhotoTooLarge"] >= 3


@needs_data
@pytest.mark.slow
def test_awkward_files_that_viewers_show_decode(outcomes):
    whole = ("exif_orientation/", "face_regions/", "formats/", "metadata/", "no_faces/", "paths/", "live_photo/")
    # Cut off in the fixture itself, WebP within TIFF (no libtiff of Pillow's wheels has it), and no photo.
    known = {"formats/pillow/ultrahdr.jpg", "formats/pillow/hopper_webp.tif", "formats/pillow/hopper.ico",
             "formats/cmyk_and_colour/balloon_eciRGBv2_aware.jp2"}  # fmt: skip
    sidecars = (".json", ".xmp", ".md", ".mp4")
    failed = {
        path
        for path, outcome in outcomes.items()
        if outcome != "decoded" and path.startswith(whole) and not path.lower().endswith(sidecars)
    }
    assert failed <= known


@needs_data
def test_faces_of_every_orientation_decode_alike():
    hopper = decode(read(AWKWARD / "formats" / "pillow" / "hopper.png")).rgb
    paths = sorted((AWKWARD / "exif_orientation" / "pillow_hopper_face").iterdir())
    assert len(paths) == 14
    for path in paths:
        assert difference(decode(read(path)).rgb, hopper) < 12, path.name
    turned = [decode(read(path)).rgb for path in sorted(AWKWARD.glob("exif_orientation/pillow_other/avif_rot*.avif"))]
    assert {rgb.shape for rgb in turned} == {(427, 640, 3)}
    assert max(difference(turned[0], other) for other in turned) < 12

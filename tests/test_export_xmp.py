"""Names in sidecars and in photos: what is written where, what is left alone, and what other programs read of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import face, make_library, unit_vector
from PIL import Image

from photocluster import photos
from photocluster.errors import MissingDependency, UsageError
from photocluster.metadata import read_regions
from photocluster.pipeline import embedding, places, sidecars
from photocluster.pipeline.embedding import BACKUP, EmbedOptions, export_embedded
from photocluster.pipeline.history import undo
from photocluster.pipeline.ignoring import ignore, mirror
from photocluster.pipeline.naming import label, unlabel
from photocluster.pipeline.persons import PersonFacts, change_person
from photocluster.pipeline.places import sidecars_to_write
from photocluster.pipeline.sidecars import ExportReport, export_xmp
from photocluster.records import Box, DecodedPhoto, PhotoFacts
from photocluster.regions import in_fractions
from photocluster.store import FileState, Library, ScannedFile, region_row

FACES = (Box(10, 12, 30, 36), Box(60, 20, 84, 48))
"""Two faces in a picture of 120 x 80 pixels, as shown."""

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
needs_exiv2 = pytest.mark.skipif(shutil.which("exiv2") is None, reason="exiv2 is not installed")


def write_photo(path: Path, *, orientation: int = 1, shade: int = 0, size: tuple[int, int] = (120, 80)) -> Path:
    """Write a picture that is `size` as shown, stored as the orientation asks for."""
    width, height = size if orientation < 5 else size[::-1]
    pixels = np.random.default_rng(orientation + 8 * shade).integers(0, 255, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if path.suffix == ".heic":
        import pillow_heif

        pillow_heif.from_pillow(picture).save(path, exif=exif.tobytes())
    else:
        picture.save(path, exif=exif)
    return path


def add(library: Library, *paths: Path, boxes: Sequence[Box] = FACES, facts: PhotoFacts | None = None) -> None:
    """Put photos into the library as a scan would, with faces in these places."""
    files = []
    for number, path in enumerate(paths):
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        known = facts or photos.decode(path.read_bytes()).facts
        found = [
            face(unit_vector(number, i, len(library.photos.hashes())), left=b.x0, top=b.y0, side=b.width)
            for i, b in enumerate(boxes)
        ]
        for detected, box in zip(found, boxes, strict=True):
            object.__setattr__(detected.detection, "box", box)
        files.append(ScannedFile(path, status.st_size, status.st_mtime_ns, FileState.PHOTO, digest, known, found))
    library.photos.add(files)


@pytest.fixture
def library(library_folder) -> Iterator[Library]:
    with make_library(library_folder) as opened:
        yield opened


@pytest.fixture
def photo(library, tmp_path) -> Path:
    """Return a photo in the library in which Ann (face 0) and Bob (face 1) are named."""
    path = write_photo(tmp_path / "photos" / "a.jpg")
    add(library, path)
    label(library, ["f0"], "Ann")
    label(library, ["f1"], "Bob")
    return path


def names(path: Path) -> list[str]:
    """Return the names of the faces that a sidecar or photo has."""
    found = read_regions(path.with_suffix("") if path.suffix == ".xmp" else path)
    return sorted(region.name for entry in found if entry.path == path for region in entry.faces())


def said(report: ExportReport) -> list[tuple[str, str]]:
    return [(change.path.name, change.kind) for change in report.changes]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def exiftool(path: Path, *options: str) -> dict[str, Any]:
    return exiftool_all([path], *options)[path]


def exiftool_all(paths: Sequence[Path], *options: str) -> dict[Path, dict[str, Any]]:
    answer = subprocess.run(["exiftool", "-j", "-struct", *options, *paths], capture_output=True, check=True, text=True)
    return {Path(found["SourceFile"]): found for found in json.loads(answer.stdout)}


# Sidecars.


def test_a_sidecar_is_written_beside_the_photo_and_once(library, photo):
    before = photo.read_bytes()
    report = export_xmp(library)
    sidecar = photo.with_name("a.jpg.xmp")
    assert said(report) == [("a.jpg.xmp", "made")]
    assert photo.read_bytes() == before
    (found,) = read_regions(photo)
    assert found.applied == (120, 80)
    for region, box in zip(found.faces(), FACES, strict=True):
        assert region.box.iou(in_fractions(box, 120, 80)) > 0.999
    assert [region.name for region in found.faces()] == ["Ann", "Bob"]
    status, content = sidecar.stat(), sidecar.read_bytes()
    again = export_xmp(library)
    assert (said(again), again.unchanged, again.skipped) == ([], 1, [])
    assert (sidecar.stat().st_mtime_ns, sidecar.read_bytes()) == (status.st_mtime_ns, content)
    assert status.st_mode & 0o777 == 0o666 & ~places._umask()
    assert sorted(path.name for path in photo.parent.iterdir()) == ["a.jpg", "a.jpg.xmp"]


def test_a_name_that_was_taken_back_goes_out_again(library, photo):
    export_xmp(library)
    sidecar = photo.with_name("a.jpg.xmp")
    label(library, ["f1"], "Cid")
    assert said(export_xmp(library)) == [("a.jpg.xmp", "updated")]
    assert names(sidecar) == ["Ann", "Cid"]
    undo(library)
    export_xmp(library)
    assert names(sidecar) == ["Ann", "Bob"]
    unlabel(library, ["f0"])
    export_xmp(library)
    assert names(sidecar) == ["Bob"]
    unlabel(library, ["f1"])
    assert said(export_xmp(library)) == [("a.jpg.xmp", "removed")]
    assert not sidecar.exists()
    assert library.exchange.written() == {}
    assert said(export_xmp(library)) == []


def test_the_sidecar_of_another_program_stays_when_our_names_go(library, photo):
    sidecar = photo.with_name("a.xmp")
    sidecar.write_text(
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        "<rdf:Description xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='5'/></rdf:RDF></x:xmpmeta>"
    )
    sidecar.chmod(0o640)
    assert said(export_xmp(library)) == [("a.xmp", "updated")]
    assert sidecar.stat().st_mode & 0o777 == 0o640
    assert "Rating" in sidecar.read_text()
    for target in ("f0", "f1"):
        unlabel(library, [target])
    assert said(export_xmp(library)) == [("a.xmp", "updated")]
    assert "Rating" in sidecar.read_text()
    assert "Ann" not in sidecar.read_text()


def test_which_sidecar_is_written(tmp_path):
    photo = tmp_path / "a.jpg"
    photo.touch()
    full, short = tmp_path / "a.jpg.xmp", tmp_path / "a.xmp"
    assert sidecars_to_write(photo) == [full]
    short.touch()
    assert sidecars_to_write(photo) == [short]
    full.touch()
    assert sidecars_to_write(photo) == [full, short]
    short.rename(tmp_path / "a.XMP")
    assert sidecars_to_write(photo)[1].samefile(tmp_path / "a.XMP")
    (tmp_path / "a.XMP").rename(short)
    (tmp_path / "a.AAE").touch()
    assert sidecars_to_write(photo) == [full, short]
    (tmp_path / "A.nef").touch()
    assert sidecars_to_write(photo) == [full]
    assert sidecars_to_write(tmp_path / "A.nef") == [tmp_path / "A.nef.xmp"]


def test_guesses_are_written_on_request_and_imported_names_always(library, tmp_path):
    path = write_photo(tmp_path / "a.jpg")
    add(library, path)
    label(library, ["f0"], "Ann")
    with library.names.decide("import", {}) as decision:
        bob = decision.person("Bob")
        decision.put("region", region_row(library.photos.hash_of(path), bob, Box(90, 50, 110, 70), "picasa"))
    cid = _person(library, "Cid")
    library.names.propagate({1: (cid, 0.5)})
    export_xmp(library)
    assert names(path.with_name("a.jpg.xmp")) == ["Ann", "Bob"]
    export_xmp(library, include_propagated=True)
    assert names(path.with_name("a.jpg.xmp")) == ["Ann", "Bob", "Cid"]
    export_xmp(library)
    assert names(path.with_name("a.jpg.xmp")) == ["Ann", "Bob"]


def _person(library: Library, name: str) -> int:
    with library.names.decide("label", {}) as decision:
        return decision.person(name)


def test_hidden_persons_and_ignored_faces_are_nobodys_business(library, photo):
    export_xmp(library)
    change_person(library, "Ann", PersonFacts(hidden=True))
    export_xmp(library)
    assert names(photo.with_name("a.jpg.xmp")) == ["Bob"]
    unlabel(library, ["f1"])
    ignore(library, ["f1"])
    assert said(export_xmp(library)) == [("a.jpg.xmp", "removed")]


def test_a_photo_that_changed_is_left_out(library, photo, run_cli):
    other = write_photo(photo.with_name("b.jpg"), shade=1)
    add(library, other)
    label(library, ["f2"], "Ann")
    other.unlink()
    write_photo(photo, shade=9)
    library_folder = library.folder
    result = run_cli("--library", library_folder, "export", "xmp", photo.parent, "--json")
    assert result.code == 3
    assert [(Path(s["path"]).name, re.split("[;:]", s["reason"])[0]) for s in result.json["skipped"]] == [
        ("a.jpg", "has changed since the last scan"),
        ("b.jpg", "cannot be read"),
    ]
    assert list(photo.parent.glob("*.xmp")) == []


def test_a_photo_that_was_only_touched_is_not_left_out(library, photo):
    os.utime(photo, (5, 5))
    assert said(export_xmp(library)) == [("a.jpg.xmp", "made")]


def test_a_dry_run_shows_the_difference_and_writes_nothing(library, photo, run_cli):
    before = contents(photo.parent)
    result = run_cli("--library", library.folder, "export", "xmp", "--dry-run")
    assert result.code == 0
    assert f"+++ {photo}.xmp" in result.out
    assert "+     <rdf:li>People/Ann</rdf:li>" in result.out
    assert "dry run: 1 file made" in result.err
    assert contents(photo.parent) == before
    assert library.exchange.written() == {}
    assert run_cli("--library", library.folder, "export", "xmp").out == "1 file made\n"
    assert run_cli("--library", library.folder, "export", "xmp", "--dry-run").out == ""
    assert run_cli("--library", library.folder, "export", "xmp").out == "1 unchanged\n"


def test_only_the_paths_that_are_asked_for(library, photo, tmp_path, run_cli):
    other = write_photo(tmp_path / "more" / "b.jpg", shade=1)
    add(library, other)
    label(library, ["f2"], "Ann")
    assert said(export_xmp(library, [other])) == [("b.jpg.xmp", "made")]
    assert said(export_xmp(library, [photo.parent])) == [("a.jpg.xmp", "made")]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="holds no photo"):
        export_xmp(library, [empty])
    assert run_cli("--library", library.folder, "export", "xmp", empty).code == 2
    assert run_cli("--library", library.folder, "export", "xmp", "--keep-mtime").code == 2


def test_a_folder_may_be_named_by_a_link_to_it(library, photo, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(photo.parent)
    assert said(export_xmp(library, [link])) == [("a.jpg.xmp", "made")]
    assert export_xmp(library, [link, photo, photo.parent, Path("/")]).unchanged == 1
    with pytest.raises(UsageError, match="photo holds no photo"):
        export_xmp(library, [link, tmp_path / "photo"])


def test_of_a_video_names_without_boxes(library, tmp_path):
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"no real clip")
    add(library, clip, facts=PhotoFacts(120, 80, 1, "MP4", None, None, 12.0))
    label(library, ["f0"], "Ann")
    export_xmp(library)
    content = (tmp_path / "a.mp4.xmp").read_text()
    assert "PersonInImage" in content
    assert "mwg-rs" not in content


@pytest.mark.parametrize("of_its_own", [True, False])
def test_a_raw_gets_the_names_of_its_jpeg(library, tmp_path, of_its_own):
    """Be the RAW a photo that the JPEG stands for, or a file that was never worked on."""
    jpeg, raw = write_photo(tmp_path / "a.jpg"), tmp_path / "a.nef"
    write_photo(tmp_path / "a.tif", orientation=6).rename(raw)
    add(library, jpeg)
    digest = library.photos.hash_of(jpeg)
    status = raw.stat()
    if of_its_own:
        add(library, raw, boxes=(), facts=PhotoFacts(120, 80, 6, "RAW", None, None))
        library._database.execute(
            "UPDATE photo SET shown_by = (SELECT id FROM photo WHERE hash = ?) WHERE format = 'RAW'", (digest,)
        )
    else:
        library.photos.add([ScannedFile(raw, status.st_size, status.st_mtime_ns, FileState.OTHER, shown_by=digest)])
    label(library, ["f0"], "Ann")
    report = export_xmp(library)
    assert sorted(said(report)) == [("a.jpg.xmp", "made"), ("a.nef.xmp", "made")]
    of_raw = read_regions(raw, PhotoFacts(120, 80, 6, "RAW", None, None))[0]
    assert of_raw.applied == (80, 120)
    assert of_raw.faces()[0].box.iou(in_fractions(FACES[0], 120, 80)) > 0.999
    assert export_xmp(library).unchanged == 2


def test_what_is_ours_is_known_again_after_a_move(library, photo, tmp_path):
    export_xmp(library)
    place = tmp_path / "moved"
    photo.parent.rename(place)
    moved = place / "a.jpg"
    status = moved.stat()
    library.photos.add(
        [ScannedFile(moved, status.st_size, status.st_mtime_ns, FileState.PHOTO, library.photos.hash_of(photo))]
    )
    library.photos.mark_missing([library.photos.file(photo).id])
    unlabel(library, ["f0"])
    assert said(export_xmp(library)) == [("a.jpg.xmp", "updated")]
    assert names(place / "a.jpg.xmp") == ["Bob"]


LONGEST = (f"{'漢' * 82}.jpg", f"{'x' * 246}.jpg", f"a.{'漢' * 81}")
"""Names after which a sidecar's has nearly 255 bytes, which is the most that file systems take."""


@pytest.mark.parametrize("name", LONGEST)
def test_a_name_of_full_length(library, tmp_path, name):
    path = tmp_path / "p" / name
    write_photo(path.with_name("short.jpg")).rename(path)
    add(library, path)
    label(library, ["f0"], "Ann")
    assert said(export_xmp(library)) == [(f"{name}.xmp", "made")]
    assert export_xmp(library).skipped == []


@needs_exiftool
def test_long_names_and_line_breaks_do_not_keep_names_out_of_the_photo(library, tmp_path):
    places = [tmp_path / "p" / name for name in (*LONGEST, "new\nline.jpg")]
    for shade, place in enumerate(places):
        write_photo(tmp_path / "p" / "short.jpg", shade=shade).rename(place)
    add(library, *places)
    label(library, [f"f{number}" for number in range(0, library.rows, 2)], "Ann")
    report = export_embedded(library, options=EmbedOptions())
    assert {reason.split(";")[0] for _, reason in report.skipped} == {"has too long a name for a backup beside it"}
    assert [change.path.name for change in report.changes] == ["new\nline.jpg"]
    report = export_embedded(library, options=EmbedOptions(backup=False))
    assert (len(report.changes), report.unchanged, report.skipped) == (3, 1, [])
    assert all(names(place) == ["Ann"] for place in places)
    worse = write_photo(tmp_path / "p" / "new\nline $.jpg", shade=9)
    add(library, worse)
    label(library, [f"f{library.rows - 1}"], "Ann")
    report = export_embedded(library, options=EmbedOptions())
    assert [reason for _, reason in report.skipped if "line break" in reason]


@pytest.mark.parametrize("content", [b"<x:xmpmeta", b"%PDF"])
def test_a_damaged_sidecar_is_told_and_left_alone(library, photo, content):
    sidecar = photo.with_name("a.jpg.xmp")
    sidecar.write_bytes(content)
    report = export_xmp(library)
    assert [path.name for path, _ in report.skipped] == ["a.jpg.xmp"]
    assert sidecar.read_bytes() == content


def test_a_sidecar_that_is_a_link_stays_one(library, photo, tmp_path):
    place = tmp_path / "elsewhere.xmp"
    place.write_text("<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>")
    photo.with_name("a.jpg.xmp").symlink_to(place)
    export_xmp(library)
    assert photo.with_name("a.jpg.xmp").is_symlink()
    assert "Ann" in place.read_text()


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_while_writing_loses_no_memory_of_what_is_ours(library, photo, monkeypatch, after):
    """Between the note of what is to be written, the file, and the note of what was."""
    put = sidecars.put

    def killed(path: Path, content: bytes | None) -> None:
        if after:
            put(path, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(sidecars, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        export_xmp(library)
    monkeypatch.undo()
    assert photo.with_name("a.jpg.xmp").exists() == after
    for target in ("f0", "f1"):
        unlabel(library, [target])
    export_xmp(library)
    assert not photo.with_name("a.jpg.xmp").exists()


def test_a_folder_that_cannot_be_written_to_is_told(library, photo, monkeypatch):
    def refused(path: Path, content: bytes | None) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sidecars, "put", refused)
    report = export_xmp(library)
    assert report.skipped == [(photo.with_name("a.jpg.xmp"), "cannot be written: Permission denied")]
    assert library.exchange.written() == {}
    monkeypatch.undo()
    assert said(export_xmp(library)) == [("a.jpg.xmp", "made")]


def test_what_is_read_only_is_left_alone(library, photo):
    sidecar = photo.with_name("a.jpg.xmp")
    export_xmp(library)
    content = sidecar.read_bytes()
    sidecar.chmod(0o444)
    assert export_xmp(library).unchanged == 1
    label(library, ["f1"], "Cid")
    for dry_run in (True, False):
        report = export_xmp(library, dry_run=dry_run)
        assert (report.skipped, report.changes) == ([(sidecar, places.READ_ONLY)], [])
    assert sidecar.read_bytes() == content
    sidecar.chmod(0o644)
    assert said(export_xmp(library)) == [("a.jpg.xmp", "updated")]
    assert names(sidecar) == ["Ann", "Cid"]


@needs_exiftool
def test_a_photo_that_is_read_only_is_left_alone(library, photo):
    photo.chmod(0o444)
    before = contents(photo.parent)
    assert export_embedded(library, options=EmbedOptions()).skipped == [(photo, places.READ_ONLY)]
    assert contents(photo.parent) == before


def test_forgetting_a_photo_forgets_what_was_written(library, photo):
    export_xmp(library)
    library.photos.forget([library.photos.hash_of(photo)])
    assert library.exchange.written() == {}


# What other programs read.


def _immich(found: dict[str, Any], orientation: int) -> list[tuple[str, Box]]:
    """Return the faces as Immich places them: by exiftool's RegionInfo and the EXIF orientation.

    After server/src/services/metadata.service.ts (`orientRegionInfo`, `applyTaggedFaces`): regions without
    AppliedToDimensions are passed over, sides are exchanged for orientations 5 to 8.
    """
    info = found["RegionInfo"]
    width, height = info["AppliedToDimensions"]["W"], info["AppliedToDimensions"]["H"]
    faces = []
    for region in info["RegionList"]:
        x, y, w, h = (float(region["Area"][key]) for key in "XYWH")
        x, y = {
            1: (x, y), 2: (1 - x, y), 3: (1 - x, 1 - y), 4: (x, 1 - y),
            5: (y, x), 6: (1 - y, x), 7: (1 - y, 1 - x), 8: (y, 1 - x),
        }[orientation]  # fmt: skip
        if orientation >= 5:
            w, h = h, w
        shown = (height, width) if orientation >= 5 else (width, height)
        box = Box((x - w / 2) * shown[0], (y - h / 2) * shown[1], (x + w / 2) * shown[0], (y + h / 2) * shown[1])
        faces.append((region["Name"], box))
    return faces


@pytest.mark.slow
@needs_exiftool
def test_a_new_sidecar_hides_nothing_of_the_photo_from_immich(library, tmp_path):
    """Immich puts the sidecar's lists in the place of the photo's, and reads the first of three lists of tags."""
    paths = [write_photo(tmp_path / name, shade=shade) for shade, name in enumerate(("x.jpg", "i.jpg"))]
    region = "{Name=Dora,Type=Face,Area={X=0.9,Y=0.9,W=0.1,H=0.1,Unit=normalized}}"
    known = "{Name=Bob,Type=Face,Area={X=0.9,Y=0.1,W=0.1,H=0.1,Unit=normalized}}"
    subprocess.run(
        ["exiftool", "-q", "-overwrite_original", "-XMP:Subject=Sea", "-XMP:Subject=Bob",
         "-XMP:HierarchicalSubject=Places|Rome", "-XMP:PersonInImage=Bob",
         f"-RegionInfo={{AppliedToDimensions={{W=120,H=80,Unit=pixel}},RegionList=[{region},{known}]}}", paths[0]],
        check=True,
    )  # fmt: skip
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-IPTC:Keywords=Sea", paths[1]], check=True)
    add(library, *paths)
    label(library, ["f0", "f2"], "Ann")
    label(library, ["f3"], "Bob")
    assert (len(export_xmp(library).changes), export_xmp(library).unchanged) == (2, 2)
    first, second = ({**exiftool(path), **exiftool(path.with_name(f"{path.name}.xmp"))} for path in paths)
    assert first["TagsList"] == ["Places/Rome", "People/Ann"]
    assert first["Subject"] == ["Sea", "Ann"]
    assert [entry["Name"] for entry in first["RegionInfo"]["RegionList"]] == ["Ann", "Dora"], "Bob is elsewhere"
    assert second["TagsList"] == ["Sea", "People/Ann", "People/Bob"]
    for target in ("f0", "f2", "f3"):
        unlabel(library, [target])
    assert [kind for _, kind in said(export_xmp(library))] == ["removed", "removed"]


@pytest.mark.slow
@needs_exiftool
def test_new_lists_in_the_photo_hide_no_iptc_keywords(library, tmp_path):
    path = write_photo(tmp_path / "a.jpg")
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-IPTC:Keywords=Sea", path], check=True)
    add(library, path)
    label(library, ["f0"], "Ann")
    export_embedded(library, options=EmbedOptions(backup=False))
    found = exiftool(path)
    assert (found["Keywords"], found["Subject"], found["TagsList"]) == (
        ["Sea", "Ann"],
        ["Sea", "Ann"],
        ["Sea", "People/Ann"],
    )
    again = export_embedded(library, options=EmbedOptions(backup=False))
    assert (again.changes, again.unchanged) == ([], 1)
    unlabel(library, ["f0"])
    export_embedded(library, options=EmbedOptions(backup=False))
    found = exiftool(path)
    assert (found["Keywords"], "Subject" in found, "TagsList" in found) == ("Sea", False, False)


def _hold_fields(found: dict[str, Any], orientation: int, stored: tuple[int, int]) -> None:
    """Hold every field that exiftool read against the conventions."""
    info = found["RegionInfo"]
    assert info["AppliedToDimensions"] == {"W": stored[0], "H": stored[1], "Unit": "pixel"}
    assert [region["Type"] for region in info["RegionList"]] == ["Face", "Face"]
    assert {region["Area"]["Unit"] for region in info["RegionList"]} == {"normalized"}
    for (name, box), (expected, place) in zip(
        _immich(found, orientation), zip(("Ann Ö", "Bob"), FACES, strict=True), strict=True
    ):
        assert name == expected
        assert box.iou(place) > 0.999
    rectangles = found["RegionInfoMP"]["Regions"]
    for region, mwg in zip(rectangles, info["RegionList"], strict=True):
        assert region["PersonDisplayName"] == mwg["Name"]
        x, y, w, h = (float(part) for part in region["Rectangle"].split(", "))
        area = mwg["Area"]
        assert (x + w / 2, y + h / 2) == pytest.approx((float(area["X"]), float(area["Y"])), abs=2e-6)
        assert (w, h) == pytest.approx((float(area["W"]), float(area["H"])), abs=2e-6)
    assert found["TagsList"] == ["People/Ann Ö", "People/Bob"]
    assert found["HierarchicalSubject"] == ["People|Ann Ö", "People|Bob"]
    assert found["Subject"] == found["PersonInImage"] == ["Ann Ö", "Bob"]


FIELDS = ("-XMP:all", "-IPTC:Keywords")


@needs_exiftool
@pytest.mark.parametrize(
    "suffix", ["jpg", "nef", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in ("heic", "png", "tif"))]
)
def test_exiftool_reads_every_field_of_a_sidecar_in_all_eight_orientations(library, tmp_path, suffix):
    paths = []
    for orientation in range(1, 9):
        path = tmp_path / f"o{orientation}.{suffix}"
        if suffix == "nef":
            write_photo(path.with_suffix(".tif"), orientation=orientation).rename(path)
            add(library, path, facts=PhotoFacts(120, 80, orientation, "RAW", None, None))
        else:
            add(library, write_photo(path, orientation=orientation))
        paths.append(path)
    _name_all(library)
    report = export_xmp(library)
    assert (len(report.changes), report.skipped) == (8, [])
    written = exiftool_all([path.with_name(f"{path.name}.xmp") for path in paths], *FIELDS)
    for orientation, found in enumerate(written.values(), 1):
        _hold_fields(found, orientation, (120, 80) if orientation < 5 else (80, 120))
        assert "Orientation" not in found
    assert export_xmp(library).unchanged == 8


def _name_all(library: Library) -> None:
    """Name the first face of each photo Ann Ö, the second Bob."""
    label(library, [f"f{i}" for i in range(0, library.rows, 2)], "Ann Ö")
    label(library, [f"f{i}" for i in range(1, library.rows, 2)], "Bob")


@needs_exiv2
def test_exiv2_reads_the_sidecar_too(library, photo):
    export_xmp(library)
    answer = subprocess.run(
        ["exiv2", "-PXkt", photo.with_name("a.jpg.xmp")], capture_output=True, check=True, text=True
    )
    found = dict(line.split(None, 1) for line in answer.stdout.splitlines() if len(line.split(None, 1)) == 2)
    region = "Xmp.mwg-rs.Regions/mwg-rs:RegionList[1]/mwg-rs:"
    assert found[f"{region}Name"].strip() == "Ann"
    assert found[f"{region}Type"].strip() == "Face"
    assert float(found[f"{region}Area/stArea:x"]) == pytest.approx(20 / 120, abs=1e-6)
    assert found["Xmp.mwg-rs.Regions/mwg-rs:AppliedToDimensions/stDim:w"].strip() == "120"
    assert found["Xmp.MP.RegionInfo/MPRI:Regions[2]/MPReg:PersonDisplayName"].strip() == "Bob"
    assert found["Xmp.digiKam.TagsList"].strip() == "People/Ann, People/Bob"
    assert found["Xmp.lr.hierarchicalSubject"].strip() == "People|Ann, People|Bob"
    assert found["Xmp.iptcExt.PersonInImage"].strip() == "Ann, Bob"


def test_an_import_finds_the_same_names_on_the_same_faces(library, tmp_path):
    """Read the sidecars as an import does: every box within 2 % of its size."""
    paths = [write_photo(tmp_path / f"o{o}.jpg", orientation=o) for o in range(1, 9)]
    add(library, *paths)
    _name_all(library)
    export_xmp(library)
    for path in paths:
        (found,) = read_regions(path)
        assert [region.name for region in found.faces()] == ["Ann Ö", "Bob"]
        for region, box in zip(found.faces(), FACES, strict=True):
            expected = in_fractions(box, 120, 80)
            for side in ("x0", "y0", "x1", "y1"):
                assert abs(getattr(region.box, side) - getattr(expected, side)) < 0.02 * expected.width


# Into the photo.

EMBEDDED = ("jpg", "png", "tif", "webp", "heic", "avif")


@needs_exiftool
@pytest.mark.parametrize("suffix", ["jpg", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in EMBEDDED[1:])])
def test_embedding_touches_nothing_but_the_names(library, tmp_path, suffix):
    paths = [write_photo(tmp_path / f"o{o}.{suffix}", orientation=o) for o in (1, 6, 7)]
    add(library, *paths)
    _name_all(library)
    ignored = (
        "--System:all",
        "--File:all",
        "--XMP:all",
        "--IPTC:all",
        "--Photoshop:all",
        "--ExifTool:all",
        "--Composite:all",
    )
    before = {path: (photos.decode(path.read_bytes()), path.read_bytes()) for path in paths}
    tags = exiftool_all(paths, "-n", *ignored)
    report = export_embedded(library, options=EmbedOptions())
    assert sorted(said(report)) == [(path.name, "updated") for path in paths]
    assert report.skipped == []
    assert _without_places(exiftool_all(paths, "-n", *ignored)) == _without_places(tags)
    fields = exiftool_all(paths, *FIELDS)
    for path, (decoded, content) in before.items():
        assert np.array_equal(photos.decode(path.read_bytes()).rgb, decoded.rgb)
        orientation = int(path.stem[1])
        _hold_fields(fields[path], orientation, (120, 80) if orientation < 5 else (80, 120))
        assert fields[path].get("Keywords") == (["Ann Ö", "Bob"] if suffix in {"jpg", "tif"} else None)
        assert path.with_name(path.name + BACKUP).read_bytes() == content
    again = export_embedded(library, options=EmbedOptions())
    assert (said(again), again.unchanged, again.skipped) == ([], 3, [])


def _without_places(found: dict[Path, dict[str, Any]]) -> dict[Path, dict[str, Any]]:
    return {path: {key: value for key, value in tags.items() if key not in MOVED} for path, tags in found.items()}


MOVED = {
    "WebP_Flags",
    "StripOffsets",
    "MediaDataOffset",
    "MediaDataSize",
    "HandlerType",
    "MetaImageSize",
    "ThumbnailOffset",
}
"""Where things lie in a file, and which parts it has."""


@needs_exiftool
def test_the_library_knows_the_photo_with_the_names_at_once(library, photo, run_cli, fake_analyser):
    mirror(library, [str(photo)])
    old = library.photos.hash_of(photo)
    result = run_cli("--library", library.folder, "export", "xmp", "--embed", photo, "--json")
    assert (result.code, [change["kind"] for change in result.json["changes"]]) == (0, ["updated"])
    new = hashlib.sha256(photo.read_bytes()).hexdigest()
    assert library.photos.hash_of(photo) == new != old
    assert library.exchange.former_hashes() == {old: new}
    assert library.names.mirrors() == {new}
    assert {row.person for row in library.faces.rows()} == {"Ann", "Bob"}
    scan = run_cli("--library", library.folder, "status", "--json")
    assert scan.json["photos"] == 1
    undo(library)  # the mirror, by the hash of today
    assert library.names.mirrors() == set()
    assert library.check() == []
    known = library.photos.file(photo)
    assert (known.size, known.mtime_ns) == (photo.stat().st_size, photo.stat().st_mtime_ns)


@needs_exiftool
@pytest.mark.slow
def test_a_backup_of_the_names_from_before_still_fits(library, photo, tmp_path):
    from photocluster.pipeline.backup import backup
    from photocluster.pipeline.restoring import restore

    file = tmp_path / "names.json"
    backup(library, file)
    export_embedded(library, options=EmbedOptions())
    unlabel(library, ["f0"])
    assert restore(library, file).unplaced == ()
    assert [row.person for row in library.faces.rows()] == ["Ann", "Bob"]


@needs_exiftool
@pytest.mark.slow
def test_names_go_out_of_the_photo_again(library, photo):
    from_before = exiftool(photo, "--System:all", "--File:all")
    export_embedded(library, options=EmbedOptions(backup=False))
    assert [path.name for path in photo.parent.iterdir()] == ["a.jpg"]
    unlabel(library, ["f0"])
    export_embedded(library, options=EmbedOptions(backup=False))
    assert names(photo) == ["Bob"]
    assert exiftool(photo)["Keywords"] == "Bob"
    unlabel(library, ["f1"])
    export_embedded(library, options=EmbedOptions(backup=False))
    left = exiftool(photo, "--System:all", "--File:all")
    assert left == from_before


@needs_exiftool
@pytest.mark.slow
def test_the_first_backup_is_the_photo_as_the_camera_made_it(library, photo):
    original = photo.read_bytes()
    export_embedded(library, options=EmbedOptions())
    label(library, ["f1"], "Cid")
    export_embedded(library, options=EmbedOptions())
    backups = sorted(photo.parent.glob(f"*{BACKUP}*"))
    assert [path.name for path in backups] == [f"a.jpg{BACKUP}"]
    assert backups[0].read_bytes() == original


@needs_exiftool
def test_a_backup_is_no_photo_to_a_scan(library, photo):
    from photocluster.walking import walk

    export_embedded(library, options=EmbedOptions())
    assert [found.path.name for found in walk([photo.parent])] == ["a.jpg"]


@needs_exiftool
@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_the_modification_time_is_kept_on_request(library, photo, keep):
    os.utime(photo, (1_000_000_000, 1_000_000_000))
    export_embedded(library, options=EmbedOptions(keep_mtime=keep))
    assert (photo.stat().st_mtime == 1_000_000_000) == keep
    assert names(photo) == ["Ann", "Bob"]


@needs_exiftool
@pytest.mark.slow
def test_keywords_and_regions_of_others_stay_in_the_photo(library, photo):
    subprocess.run(
        ["exiftool", "-q", "-overwrite_original", "-IPTC:Keywords=Holiday", "-IPTC:Keywords=Ann", "-XMP:Subject=Sea",
         "-XMP:Rating=4", "-RegionInfo={RegionList=[{Name=Rex,Type=Pet,Area={X=0.9,Y=0.9,W=0.1,H=0.1}}]}", photo],
        check=True,
    )  # fmt: skip
    library.photos.add([_as_now(library, photo)])
    export_embedded(library, options=EmbedOptions())
    found = exiftool(photo)
    assert found["Keywords"] == ["Holiday", "Ann", "Bob"]
    assert found["Subject"] == ["Sea", "Ann", "Bob"]
    assert found["Rating"] == 4
    assert [region["Name"] for region in found["RegionInfo"]["RegionList"]] == ["Rex", "Ann", "Bob"]
    for target in ("f0", "f1"):
        unlabel(library, [target])
    export_embedded(library, options=EmbedOptions())
    found = exiftool(photo)
    assert (found["Keywords"], found["Subject"]) == (["Holiday", "Ann"], ["Sea"])
    assert [region["Name"] for region in found["RegionInfo"]["RegionList"]] == ["Rex"]


def _as_now(library: Library, path: Path) -> ScannedFile:
    """Have the library know a file as it is now, with the faces that it had."""
    old = library.photos.hash_of(path)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    status = path.stat()
    library.exchange.rewrite(old, new, {path: (status.st_size, status.st_mtime_ns)})
    return ScannedFile(path, status.st_size, status.st_mtime_ns, FileState.PHOTO, new)


@needs_exiftool
@pytest.mark.slow
def test_copies_stay_copies(library, photo):
    copy = photo.with_name("copy.jpg")
    shutil.copy2(photo, copy)
    status = copy.stat()
    library.photos.add(
        [ScannedFile(copy, status.st_size, status.st_mtime_ns, FileState.PHOTO, library.photos.hash_of(photo))]
    )
    report = export_embedded(library, [photo], options=EmbedOptions())
    assert [reason.split(";")[0] for _, reason in report.skipped] == ["has a copy outside of what is to be exported"]
    report = export_embedded(library, options=EmbedOptions())
    assert sorted(said(report)) == [("a.jpg", "updated"), ("copy.jpg", "updated")]
    assert photo.read_bytes() == copy.read_bytes()
    assert library.photos.hash_of(copy) == library.photos.hash_of(photo)


@needs_exiftool
def test_formats_without_a_place_for_names_get_a_sidecar(library, tmp_path):
    path = tmp_path / "a.bmp"
    Image.new("RGB", (120, 80)).save(path)
    add(library, path)
    label(library, ["f0"], "Ann")
    content = path.read_bytes()
    assert said(export_embedded(library, options=EmbedOptions())) == [("a.bmp.xmp", "made")]
    assert path.read_bytes() == content


@needs_exiftool
@pytest.mark.slow
def test_a_sidecar_that_is_there_follows_the_photo(library, photo, run_cli):
    export_xmp(library)
    label(library, ["f1"], "Cid")
    report = export_embedded(library, options=EmbedOptions())
    assert sorted(said(report)) == [("a.jpg", "updated"), ("a.jpg.xmp", "updated")]
    assert names(photo) == names(photo.with_name("a.jpg.xmp")) == ["Ann", "Cid"]
    unlabel(library, ["f0"])
    assert "1 photo with names in the file itself" in run_cli("--library", library.folder, "export", "xmp").err


@needs_exiftool
@pytest.mark.slow
@pytest.mark.parametrize("at", ["embed", "replace", "rewrite"])
def test_a_kill_while_embedding_leaves_a_whole_photo_and_all_names(library, photo, monkeypatch, at):
    original = photo.read_bytes()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    place = {
        "embed": (embedding.ExifTool, "embed"),
        "replace": (embedding._Part, "put"),
        "rewrite": (type(library.exchange), "rewrite"),
    }[at]
    monkeypatch.setattr(*place, killed)
    with pytest.raises(KeyboardInterrupt):
        export_embedded(library, options=EmbedOptions())
    monkeypatch.undo()
    assert np.array_equal(_decoded(photo).rgb, photos.decode(original).rgb)
    assert (photo.read_bytes() == original) == (at != "rewrite")
    assert {path.name for path in photo.parent.iterdir()} <= {"a.jpg", f"a.jpg{BACKUP}"}
    assert {row.person for row in library.faces.rows()} == {"Ann", "Bob"}


def _decoded(path: Path) -> DecodedPhoto:
    return photos.decode(path.read_bytes())


@needs_exiftool
def test_what_could_not_be_embedded_is_not_remembered(library, photo, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(embedding, "part_beside", refused)
    report = export_embedded(library, options=EmbedOptions())
    assert report.skipped == [(photo, "cannot be written: Permission denied")]
    assert library.exchange.written() == {}
    assert export_xmp(library).embedded == 0


@needs_exiftool
def test_a_dry_run_embeds_nothing(library, photo):
    before = contents(photo.parent)
    report = export_embedded(library, options=EmbedOptions(dry_run=True))
    assert "+IPTC keyword: Ann" in report.changes[0].diff
    assert contents(photo.parent) == before
    assert library.exchange.written() == {}


def test_without_exiftool_the_remedy_is_named(library, photo, monkeypatch, run_cli):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(MissingDependency, match="apt install libimage-exiftool-perl"):
        export_embedded(library, options=EmbedOptions())
    result = run_cli("--library", library.folder, "export", "xmp", "--embed")
    assert result.code == 1
    assert "without --embed" in result.err

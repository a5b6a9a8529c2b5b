"""XMP in several parts of a JPEG: read, written, and put apart again without a loss."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_export_xmp import add, exiftool, library, names, needs_exiftool, said, write_photo  # noqa: F401  a fixture
from test_metadata import HEAD, TAIL, _extended, packet
from test_xmp_merge import RELAXED, model, packets

from photocluster import embedded, photos, rdf, xmp_parts
from photocluster.errors import PhotoError
from photocluster.metadata import read_regions
from photocluster.pipeline.embedding import EmbedOptions, export_embedded
from photocluster.pipeline.naming import label, unlabel

LONG = "long line of a history, " * 4000
"""More than a segment holds."""


def filled(*properties: str) -> bytes:
    return f"{HEAD} xmlns:u='http://example.org/u/'>{''.join(properties)}{TAIL}".encode()


@settings(RELAXED, max_examples=60)
@given(content=packets().filter(bool), most=st.integers(600, 4000))
def test_a_packet_put_apart_and_together_says_the_same(content, most):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(xmp_parts, "LARGEST_PACKET", most)
        main, extension = xmp_parts.divided(content)
    if not extension:
        assert main == content
        return
    assert rdf.parse(main) is not None
    guid = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()
    assert guid.encode() in main
    assert model(xmp_parts.joined([main, extension])) == model(content)


def test_what_fits_stays_in_one_packet():
    content = packet("<dc:subject>Ann</dc:subject>")
    assert xmp_parts.divided(content) == (content, b"")


def test_the_large_goes_out_first_and_names_last():
    everything = filled(
        f"<dc:description>{LONG[:40_000]}</dc:description>",
        f"<u:history>{LONG[:30_000]}</u:history>",
        f"<u:mask>{LONG[:20_000]}</u:mask>",
        "<u:small>1</u:small>",
    )
    main, extension = xmp_parts.divided(everything)
    assert len(main) <= xmp_parts.LARGEST_PACKET
    inside = [name in main for name in (b"<u:history", b"<u:mask", b"<u:small", b"<dc:desc")]
    assert inside == [False, True, True, True]
    assert b"<u:history" in extension


def test_a_property_as_an_attribute_goes_out_too():
    content = packet("", f"xmlns:u='http://example.org/u/' u:data='{LONG}' u:small='1'")
    main, extension = xmp_parts.divided(content)
    assert len(main) < 3000
    assert model(xmp_parts.joined([main, extension])) == model(content)


def test_a_text_of_more_than_ten_million_bytes_is_read():
    content = packet(f"<dc:title>{'A' * 11_000_000}</dc:title>")
    assert rdf.parse(content) is not None


def extended(path: Path) -> Path:
    """Write a photo whose XMP ExifTool had to put into several parts."""
    write_photo(path, orientation=6)
    subprocess.run(
        ["exiftool", "-q", "-overwrite_original", f"-XMP-photoshop:History={LONG}", "-XMP:Rating=4",
         f"-XMP-dc:Description={LONG[:30_000]}", "-XMP:Subject=Sea", f"-XMP-crs:ToneMapStrength={4}",
         f"-XMP-photoshop:Instructions={LONG[:40_000]}", path],
        check=True,
    )  # fmt: skip
    return path


PLACES = {"HasExtendedXMP", "SourceFile", "XMPToolkit", "ExifToolVersion", "Warning", "CurrentIPTCDigest"}


def tags(path: Path) -> dict[str, object]:
    found = exiftool(path, "-a", "--System:all", "--File:all", "--Composite:all", "--IPTC:all")
    return {key: value for key, value in found.items() if key not in PLACES}


@pytest.mark.slow
@needs_exiftool
def test_names_go_into_a_photo_with_extended_xmp_and_out_again(library, tmp_path):  # noqa: F811
    path = extended(tmp_path / "a.jpg")
    before, rgb = tags(path), photos.decode(path.read_bytes()).rgb
    assert len(embedded.packets(path)) == 2
    add(library, path)
    label(library, ["f0"], "Ann")
    report = export_embedded(library, options=EmbedOptions(backup=False))
    assert (said(report), report.skipped) == ([("a.jpg", "updated")], [])
    after = tags(path)
    assert "Warning" not in exiftool(path)
    assert {key: after[key] for key in before if key != "Subject"} == {
        key: value for key, value in before.items() if key != "Subject"
    }
    assert set(after) - set(before) == {
        "HierarchicalSubject", "PersonInImage", "RegionInfo", "RegionInfoMP", "TagsList",
    }  # fmt: skip
    assert after["Subject"] == ["Sea", "Ann"]
    assert names(path) == ["Ann"]
    assert read_regions(path)[0].keywords == ("Sea", "Ann")
    assert b"mwg-rs:Name" in embedded.packets(path)[0]
    assert np.array_equal(photos.decode(path.read_bytes()).rgb, rgb)
    again = export_embedded(library, options=EmbedOptions(backup=False))
    assert (said(again), again.unchanged) == ([], 1)
    unlabel(library, ["f0"])
    export_embedded(library, options=EmbedOptions(backup=False))
    left = tags(path)
    assert {key: left[key] for key in before} == before
    assert names(path) == []


@needs_exiftool
def test_an_extension_goes_where_there_is_no_need_for_it(library, tmp_path):  # noqa: F811
    path = tmp_path / "a.jpg"
    _extended(path, packet("<dc:subject>A</dc:subject>"), packet("<dc:title>B</dc:title>"))
    add(library, path, boxes=())
    with library.names.decide("import", {}) as decision:
        from photocluster.store import region_row

        ann = decision.person("Ann")
        decision.put("region", region_row(library.photos.hash_of(path), ann, None, "takeout"))
    assert export_embedded(library, options=EmbedOptions()).skipped == []
    found = exiftool(path)
    assert (found["Title"], found["Subject"]) == ("B", ["A", "Ann"])
    assert len(embedded.packets(path)) == 1


@needs_exiftool
def test_a_packet_that_our_names_make_too_large_gets_an_extension(library, tmp_path):  # noqa: F811
    path = write_photo(tmp_path / "a.jpg")
    large = tmp_path / "large.xmp"
    large.write_bytes(filled(f"<u:history>{LONG[:64_000]}</u:history>"))
    subprocess.run(["exiftool", "-q", "-overwrite_original", f"-xmp<={large}", path], check=True)
    before = model(embedded.packets(path)[0])
    add(library, path)
    label(library, ["f0"], "Ann")
    assert export_embedded(library, options=EmbedOptions()).skipped == []
    assert len(embedded.packets(path)) == 2
    assert names(path) == ["Ann"]
    unlabel(library, ["f0"])
    export_embedded(library, options=EmbedOptions())
    assert model(xmp_parts.joined(embedded.packets(path))) == before


def pictures(path: Path) -> list[bytes]:
    with Image.open(path) as picture:
        frames = []
        for number in range(picture.n_frames):
            picture.seek(number)
            frames.append(picture.convert("RGB").tobytes())
        return frames


@needs_exiftool
@pytest.mark.parametrize("behind", [False, True])
def test_the_other_pictures_of_a_file_are_found_as_before(library, tmp_path, behind):  # noqa: F811
    """An MPO counts the places of its pictures from its index, before which or behind which XMP may stand."""
    path = tmp_path / "a.jpg"
    first, second = (Image.new("RGB", (120, 80), (shade, 0, 0)) for shade in (50, 200))
    first.save(path, format="MPO", save_all=True, append_images=[second])
    body = xmp_parts.PACKET + filled(f"<u:history>{LONG[:64_000]}</u:history>")
    packet_segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    content = path.read_bytes()
    index = content.index(b"MPF\0") - 4
    after = index + 2 + int.from_bytes(content[index + 2 : index + 4], "big")
    if behind:
        distance = content.index(b"\xff\xd8", 2) - (index + 8)
        was, now = (number.to_bytes(4, "little") for number in (distance, distance + len(packet_segment)))
        assert content[index:after].count(was) == 1
        content = content[:index] + content[index:after].replace(was, now) + packet_segment + content[after:]
    else:
        content = content[:index] + packet_segment + content[index:]
    path.write_bytes(content)
    before = pictures(path)
    assert embedded.pictures(path) == 1
    add(library, path)
    label(library, ["f0"], "Ann")
    report = export_embedded(library, options=EmbedOptions(backup=False))
    assert pictures(path) == before
    if behind:  # ExifTool leaves the index as it is
        assert "the other pictures in it would not be found" in report.skipped[0][1]
    else:
        assert (len(embedded.packets(path)), report.skipped) == (2, [])


def scattered(path: Path, how: str) -> None:
    _extended(path, packet("<dc:subject>A</dc:subject>"), packet("<dc:title>B</dc:title>"))
    content = path.read_bytes()
    if how == "two XMP packets":
        start = content.index(b"\xff\xe1", 2)
        length = 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        content = content[:start] + content[start : start + length] + content[start:]
    elif how == "no packet names":
        content = content.replace(b"HasExtendedXMP='" + b"A" * 32, b"HasExtendedXMP='" + b"B" * 32)
    else:
        start = content.rindex(xmp_parts.EXTENSION) - 4
        length = 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        content = content[:start] + content[start + length :]
    path.write_bytes(content)


@needs_exiftool
@pytest.mark.parametrize("how", ["two XMP packets", "no packet names", "is damaged"])
def test_parts_that_do_not_belong_together_are_left_alone(library, tmp_path, how):  # noqa: F811
    path = tmp_path / "a.jpg"
    scattered(path, how)
    add(library, path)
    label(library, ["f0"], "Ann")
    content = path.read_bytes()
    report = export_embedded(library, options=EmbedOptions())
    assert how in report.skipped[0][1]
    assert path.read_bytes() == content


def test_a_photo_that_is_not_there_has_no_parts(tmp_path):
    with pytest.raises(PhotoError):
        embedded.check_parts(tmp_path / "a.jpg")

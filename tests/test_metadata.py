"""What is read of other programs' metadata: from packets in every form of RDF, from files, and from sidecars."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photocluster import embedded, rdf
from photocluster.metadata import Metadata, read_regions, read_sidecar, sidecars_of
from photocluster.records import Box, PhotoFacts
from photocluster.regions import Frame, Region

HEAD = (
    "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    "<rdf:Description rdf:about='' "
    + " ".join(f"xmlns:{prefix}='{uri}'" for prefix, uri in rdf.NAMESPACES.items() if prefix not in {"x", "rdf", "xml"})
)
TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"

AREA = {
    "elements": (
        "<mwg-rs:Area rdf:parseType='Resource'><stArea:x>0.5</stArea:x><stArea:y>0.4</stArea:y><stArea:w>0.2</stArea:w>"
        "<stArea:h>0.1</stArea:h><stArea:unit>normalized</stArea:unit></mwg-rs:Area>"
    ),
    "attributes": "<mwg-rs:Area stArea:x='0.5' stArea:y='0.4' stArea:w='0.2' stArea:h='0.1' stArea:unit='normalized'/>",
    "description": (
        "<mwg-rs:Area><rdf:Description stArea:x='0.5' stArea:y='0.4'><stArea:w>0.2</stArea:w>"
        "<stArea:h>0.1</stArea:h></rdf:Description></mwg-rs:Area>"
    ),
}
REGION = {
    "elements": (
        "<rdf:li rdf:parseType='Resource'><mwg-rs:Name>Ann</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type>{}</rdf:li>"
    ),
    "attributes": "<rdf:li><rdf:Description mwg-rs:Name='Ann' mwg-rs:Type='Face'>{}</rdf:Description></rdf:li>",
    "description": (
        "<rdf:li><rdf:Description><mwg-rs:Name><rdf:Description rdf:value='Ann'/></mwg-rs:Name>{}</rdf:Description>"
        "</rdf:li>"
    ),
}
SIZE = {
    "elements": (
        "<mwg-rs:AppliedToDimensions rdf:parseType='Resource'><stDim:w>800</stDim:w><stDim:h>600</stDim:h>"
        "</mwg-rs:AppliedToDimensions>"
    ),
    "attributes": "<mwg-rs:AppliedToDimensions stDim:w='800' stDim:h='600' stDim:unit='pixel'/>",
    "description": (
        "<mwg-rs:AppliedToDimensions><rdf:Description stDim:w='800' stDim:h='600'/></mwg-rs:AppliedToDimensions>"
    ),
}
FORMS = ("elements", "attributes", "description")


def packet(inside: str, attributes: str = "") -> bytes:
    return f"{HEAD} {attributes}>{inside}{TAIL}".encode()


def regions(size: str, *items: str) -> str:
    return (
        f"<mwg-rs:Regions rdf:parseType='Resource'>{size}<mwg-rs:RegionList><rdf:Bag>{''.join(items)}</rdf:Bag>"
        "</mwg-rs:RegionList></mwg-rs:Regions>"
    )


def named(name: str, x: float = 0.5, kind: str = "Face") -> str:
    return (
        f"<rdf:li><rdf:Description mwg-rs:Name='{name}' mwg-rs:Type='{kind}'><mwg-rs:Area stArea:x='{x}' "
        "stArea:y='0.4' stArea:w='0.2' stArea:h='0.1' stArea:unit='normalized'/></rdf:Description></rdf:li>"
    )


def photo(path: Path, size: tuple[int, int] = (80, 60), orientation: int = 1, xmp: bytes = b"") -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif, **({"xmp": xmp} if xmp else {}))
    return path


def said(content: bytes, tmp_path: Path, frame: Frame | None = None) -> Metadata:
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(content)
    return read_sidecar(path, frame)


@pytest.mark.parametrize("size", FORMS)
@pytest.mark.parametrize("region", FORMS)
@pytest.mark.parametrize("area", FORMS)
def test_every_form_of_a_region(tmp_path, size, region, area):
    found = said(packet(regions(SIZE[size], REGION[region].format(AREA[area]))), tmp_path, Frame(800, 600, 1))
    assert found.applied == (800, 600)
    assert [(r.name, r.kind, r.form) for r in found.regions] == [("Ann", "Face", "MWG")]
    box = found.regions[0].box
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((0.4, 0.35, 0.6, 0.45))


def test_lists_in_every_form(tmp_path):
    found = said(
        packet(
            "<dc:subject><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li> </rdf:li><rdf:li xml:lang='de'>Bob  B</rdf:li></rdf:Seq>"
            "</dc:subject><lr:hierarchicalSubject>Places|Rome</lr:hierarchicalSubject>"
            "<digiKam:TagsList><rdf:Seq><rdf:li>People/Family/Ann</rdf:li></rdf:Seq></digiKam:TagsList>",
            "Iptc4xmpExt:PersonInImage='Cid'",
        ),
        tmp_path,
    )
    assert found.keywords == ("Ann", "Bob B")
    assert found.tags == (("People", "Family", "Ann"), ("Places", "Rome"))
    assert found.persons == ("Cid",)
    assert found.names() == ["Cid", "Ann"]


def test_mp_speaks_where_mwg_names_nobody(tmp_path):
    mp = (
        "<MP:RegionInfo rdf:parseType='Resource'><MPRI:Regions><rdf:Bag><rdf:li MPReg:PersonDisplayName='Bob' "
        "MPReg:Rectangle='0.1, 0.2, 0.3, 0.4'/><rdf:li MPReg:PersonDisplayName='Cid'/></rdf:Bag></MPRI:Regions>"
        "</MP:RegionInfo>"
    )
    frame = Frame(800, 600, 1)
    with_mwg = said(packet(regions(SIZE["elements"], named("Ann")) + mp), tmp_path, frame)
    assert [r.name for r in with_mwg.faces()] == ["Ann"]
    pets = said(packet(regions(SIZE["elements"], named("Rex", kind="Pet"), named("")) + mp), tmp_path, frame)
    assert [r.name for r in pets.faces()] == ["Bob", "Cid"]
    assert pets.faces()[0].box == Box(0.1, 0.2, 0.4, 0.6000000000000001)
    assert pets.faces()[1].box is None
    assert ("Rex", "Pet") in [(r.name, r.kind) for r in pets.regions]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0",
        b"no XML at all",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF",
        b"<html/>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><x:xmpmeta xmlns:x='adobe:ns:meta/'>&b;</x:xmpmeta>",
    ],
)
def test_damaged_metadata_say_nothing(tmp_path, content):
    assert rdf.parse(content) is None
    assert said(content, tmp_path).regions == ()
    picture = photo(tmp_path / "b.jpg")
    (tmp_path / "b.jpg.xmp").write_bytes(content)
    assert read_regions(picture) == []


def test_a_packet_padded_with_zeros_or_after_a_mark_is_read():
    content = packet("<dc:subject>Ann</dc:subject>")
    for padded in (content + b"\0" * 50, b"\xef\xbb\xbf" + content, b"\n \n" + content):
        tree = rdf.parse(padded)
        assert rdf.values(rdf.top(tree)[0], "dc:subject") == ["Ann"]


def test_a_sidecar_has_no_say_in_the_orientation(tmp_path):
    picture = photo(tmp_path / "a.jpg", (80, 60), orientation=6)
    said_so = packet(
        regions(SIZE["elements"], named("Ann")), "xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='3'"
    )
    (tmp_path / "a.jpg.xmp").write_bytes(said_so)
    (found,) = read_regions(picture)
    assert found.frame == Frame(80, 60, 6)
    assert found.turns == (6, 1)
    box = found.faces()[0].box
    assert ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) == pytest.approx((0.6, 0.5))


def test_swapped_sizes_mean_the_picture_as_it_is_shown(tmp_path):
    picture = photo(tmp_path / "a.jpg", (60, 80), orientation=8, xmp=packet(regions(SIZE["elements"], named("Ann"))))
    (found,) = read_regions(picture)
    assert found.turns == (1, 8)
    box = found.faces()[0].box
    assert ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) == pytest.approx((0.5, 0.4))
    box = found.faces(8)[0].box
    assert ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) == pytest.approx((0.4, 0.5))


def test_of_a_crop_only_the_names_count(tmp_path):
    picture = photo(tmp_path / "a.jpg", (80, 45), xmp=packet(regions(SIZE["elements"], named("Ann"))))
    (found,) = read_regions(picture)
    assert found.turns == ()
    assert found.faces() == [Region("Ann", "Face", None, "MWG")]


def test_the_newest_sidecar_counts_and_the_full_name_among_equals(tmp_path):
    picture = photo(tmp_path / "a.jpg", xmp=packet(regions(SIZE["elements"], named("Embedded"))))
    full, short = tmp_path / "a.jpg.xmp", tmp_path / "a.xmp"
    full.write_bytes(packet(regions(SIZE["elements"], named("Full"))))
    short.write_bytes(packet(regions(SIZE["elements"], named("Short"))))
    for times, expected in (((5, 5), ["Full", "Short"]), ((5, 6), ["Short", "Full"]), ((6, 5), ["Full", "Short"])):
        os.utime(full, (0, times[0]))
        os.utime(short, (0, times[1]))
        assert [found.names()[0] for found in read_regions(picture)] == [*expected, "Embedded"]
    assert sidecars_of(tmp_path / "other.jpg") == []


def test_the_library_knows_size_and_orientation(tmp_path):
    (tmp_path / "a.nef.xmp").write_bytes(packet(regions(SIZE["elements"], named("Ann"))))
    facts = PhotoFacts(600, 800, 6, "NEF", None, None)
    (found,) = read_regions(tmp_path / "a.nef", facts)
    assert found.frame == Frame(800, 600, 6)
    assert found.turns == (6, 1)


def _extended(path: Path, main: bytes, extension: bytes) -> None:
    """Give a JPEG a packet and an extension in two parts, as the specification has it (XMP part 3, 1.1.3.1)."""
    guid = b"A" * 32
    main = main.replace(
        b"rdf:about=''",
        b"rdf:about='' xmpNote:HasExtendedXMP='" + guid + b"'",
    )
    half = len(extension) // 2
    pieces = [(0, extension[:half]), (half, extension[half:])]
    segments = [b"http://ns.adobe.com/xap/1.0/\0" + main]
    segments += [
        b"http://ns.adobe.com/xmp/extension/\0" + guid + struct.pack(">II", len(extension), offset) + piece
        for offset, piece in reversed(pieces)
    ]
    content = photo(path).read_bytes()
    marked = b"".join(b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment for segment in segments)
    path.write_bytes(content[:2] + marked + content[2:])


def test_an_extended_packet_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.jpg"
    _extended(path, packet("<dc:subject>Ann</dc:subject>"), packet(regions(SIZE["elements"], named("Bob"))))
    assert len(embedded.packets(path)) == 2
    (found,) = read_regions(path)
    assert found.keywords == ("Ann",)
    assert [region.name for region in found.faces()] == ["Bob"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif", "heic"])
def test_packets_in_every_format(tmp_path, suffix):
    import pillow_heif

    content = packet(regions(SIZE["elements"], named("Ann")))
    path = tmp_path / f"a.{suffix}"
    picture = Image.new("RGB", (80, 60))
    if suffix == "heic":
        heif = pillow_heif.from_pillow(picture)
        heif.info["xmp"] = content
        heif.save(path)
    elif suffix == "png":
        from PIL import PngImagePlugin

        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", content.decode())
        picture.save(path, pnginfo=info)
    elif suffix == "tif":
        from PIL import TiffImagePlugin

        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700] = content
        picture.save(path, tiffinfo=tags)
    else:
        picture.save(path, xmp=content)
    (found,) = read_regions(path)
    assert found.names() == ["Ann"]
    assert found.frame == Frame(80, 60, 1)


def test_a_packet_is_found_in_a_file_of_no_known_format(tmp_path):
    path = tmp_path / "a.raf"
    path.write_bytes(b"FUJIFILM" + bytes(5000) + packet("<dc:subject>Ann</dc:subject>") + bytes(5000))
    assert read_regions(path)[0].keywords == ("Ann",)
    path.write_bytes(b"")
    assert embedded.packets(path) == []


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["heic", "avif"])
def test_how_a_heif_is_turned_is_read_from_its_container(tmp_path, suffix, orientation):
    import pillow_heif

    from photocluster import photos

    stored = np.zeros((64, 96, 3), dtype=np.uint8)
    stored[:24, :40] = (255, 0, 0)  # red in the top left corner of what is stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    picture = Image.fromarray(stored)
    if suffix == "heic":
        pillow_heif.from_pillow(picture).save(path, exif=exif.tobytes(), quality=90)
        _turn_heif(path, orientation)
    else:
        picture.save(path, exif=exif)
    turn = embedded.orientation(path)
    decoded = photos.decode(path.read_bytes())
    frame = Frame(96, 64, turn)
    assert frame.upright_size == (decoded.facts.width, decoded.facts.height)
    box = Region("", "Face", Box(0, 0, 40 / 96, 24 / 64), "MWG").turned(turn).box
    height, width = decoded.rgb.shape[:2]
    x, y = (box.x0 + box.x1) / 2 * width, (box.y0 + box.y1) / 2 * height
    assert decoded.rgb[int(y), int(x), 0] > 150
    assert decoded.rgb[int(y), int(x), 1] < 100


def _turn_heif(path: Path, orientation: int) -> None:
    """Check that the writer put the turn into the container, where libheif looks for it."""
    content = path.read_bytes()
    assert (b"irot" in content or b"imir" in content) == (orientation != 1)


def test_the_orientation_of_what_cannot_be_read_is_1(tmp_path):
    path = tmp_path / "a.heic"
    path.write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(12))
    assert embedded.orientation(path) == 1
    assert embedded.orientation(tmp_path / "nowhere.jpg") == 1
    assert embedded.size(path) is None


# The files of other programs.


def test_regions_of_a_turned_photo_lie_where_those_of_the_upright_one_do(data):
    folder = data / "awkward" / "face_regions" / "pigallery2_sidecar" / "sidecar" / "orientation"
    upright = read_regions(data / "awkward" / "face_regions" / "immich" / "portrait.jpg")[0].faces()
    seen = 0
    for path in sorted(folder.glob("*.jpg")):
        for found in read_regions(path):
            seen += 1
            for region, expected in zip(found.faces(), upright, strict=True):
                assert region.name == expected.name
                assert region.box.iou(expected.box) > 0.99, path
    assert seen == 9


def test_contradictory_sizes_are_settled_by_the_faces(data):
    from photocluster.regions import choose_turn

    folder = data / "awkward" / "face_regions" / "skatsubo"
    faces = [region.box for region in read_regions(folder / "photo.jpg")[0].faces()]
    for path in sorted(folder.glob("photo.[68].embedded*.jpg")):
        for found in read_regions(path):
            boxes = [region.box for region in found.regions]
            turn = choose_turn(boxes, found.turns, faces)
            assert turn == found.frame.orientation
            for region, face in zip(found.faces(turn), faces, strict=True):
                assert region.box.iou(face) > 0.8, path


def test_what_the_files_of_other_programs_say(data):
    folder = data / "awkward" / "face_regions"
    expected = {
        "pigallery2_tests/special_names.jpg": ['"quoted "@#$ name" !@#$%^&*()_+'],
        "pigallery2_tests/digikam.jpg": ["Æske Øllegård"],
        "pigallery2_tests/test_png.png": ["raspberry", "leaf"],
        "pigallery2_demo/wild-1.jpg": ["Balu the bear", "Hugin the raven", "Akela the wolf"],
        "pigallery2_sidecar/sidecar/testimagedesc1.jpg": ["squirrel", "special_chars űáéúőóüío?._:"],
        "pigallery2_sidecar/sidecar/flatxmp.jpg": ["Person1", "Person2"],
    }
    for name, faces in expected.items():
        assert [region.name for region in read_regions(folder / name)[0].faces()] == faces
    assert read_regions(folder / "pigallery2_sidecar/sidecar/bunny_1sec.mp4")[0].keywords == ("rabbit", "test")


def test_only_one_module_knows_of_xml():
    package = Path(rdf.__file__).parent
    users = {path.name for path in package.rglob("*.py") if "lxml" in path.read_text(encoding="utf-8")}
    assert users == {"rdf.py"}

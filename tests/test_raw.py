"""RAW files: DNGs that the tests write of a picture that a package ships, with and without previews."""

from __future__ import annotations

import importlib.util
import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from photocluster import formats, photos
from photocluster.errors import PhotoTooLarge, UndecodablePhoto
from photocluster.photos import decode, is_photo

SRGB_FROM_XYZ = (31339, 10000, -16169, 10000, -4907, 10000, -9690, 10000, 18763, 10000, 415, 10000, 557, 10000, -2041,
                 10000, 10571, 10000)  # fmt: skip
"""As rationals, for D50: the colour matrix of a camera whose colours are sRGB's."""


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A face that no turn or mirror image leaves as it was, 480 x 400."""
    folder = Path(importlib.util.find_spec("skimage").submodule_search_locations[0])
    return Image.open(folder / "data" / "astronaut.png").convert("RGB").crop((0, 0, 480, 400))


def as_stored(upright: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture so that `orientation` brings it back; all but 6 and 8 are their own inverse."""
    turned = upright.copy()
    turned.getexif()[0x112] = {6: 8, 8: 6}.get(orientation, orientation)
    return ImageOps.exif_transpose(turned)


def jpeg(image: Image.Image, orientation: int | None = None) -> bytes:
    exif = Image.Exif()
    if orientation:
        exif[0x112] = orientation
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **({"exif": exif} if orientation else {}))
    content = stream.getvalue()
    return content[:2] + content[20:] if orientation else content  # as cameras: Exif comes first, and no JFIF


def dng(upright: Image.Image, orientation: int = 1, preview: bytes | None = None, *, linear: bool = False) -> bytes:
    """Write a DNG 1.4: the picture as a Bayer mosaic of 16 bits (or of three samples a pixel), and a JPEG preview.

    As cameras do: the preview's directory comes first where there is one, the raw data lie in a sub-IFD.
    """
    stored = np.asarray(as_stored(upright, orientation), dtype=float) / 255
    light = (stored**2.2 * 60000 + 2000).astype("<u2")
    height, width = light.shape[:2]
    facts = {271: b"Test\0", 272: b"Test One\0", 274: orientation, 50706: bytes([1, 4, 0, 0]), 50708: b"Test One\0",
             50721: struct.pack("<18i", *SRGB_FROM_XYZ), 50728: struct.pack("<6I", 1, 1, 1, 1, 1, 1),
             50778: 21}  # fmt: skip
    if linear:
        samples = {258: struct.pack("<3H", 16, 16, 16), 262: 34892, 277: 3}
    else:
        mosaic = light[:, :, 1].copy()
        mosaic[0::2, 0::2], mosaic[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
        light = mosaic
        samples = {258: 16, 262: 32803, 277: 1, 33421: struct.pack("<2H", 2, 2), 33422: bytes([0, 1, 1, 2])}
    raw = {254: 0, 256: width, 257: height, 259: 1, 278: height, 50714: 2000, 50717: 62000, **samples}
    if preview is None:
        return tiff_file([(raw | facts, light.tobytes())])
    with Image.open(io.BytesIO(preview)) as image:
        shown = {254: 1, 256: image.width, 257: image.height, 258: struct.pack("<3H", 8, 8, 8), 259: 7, 262: 6, 277: 3,
                 278: image.height, 330: 0}  # fmt: skip
    return tiff_file([(shown | facts, preview), (raw, light.tobytes())])


KINDS = {258: 3, 271: 2, 272: 2, 50708: 2, 50706: 1, 33422: 1, 33421: 3, 50721: 10, 50728: 5}
"""TIFF types of the tags whose values are given as bytes."""
LENGTHS = {1: 1, 2: 1, 3: 2, 5: 8, 10: 8}


def tiff_file(pictures: list[tuple[dict[int, int | bytes], bytes]]) -> bytes:
    """Write the first picture's directory, the second's as its sub-IFD; each picture is one strip."""
    out = bytearray(b"II*\0" + bytes(4))
    offset = 0
    for tags, strip in reversed(pictures):
        entries = dict(tags) | {273: len(out), 279: len(strip)}
        if 330 in entries:
            entries[330] = offset
        out += strip + bytes(len(strip) % 2)
        directory = struct.pack("<H", len(entries))
        for tag, value in sorted(entries.items()):
            if isinstance(value, int):
                directory += struct.pack("<HHII", tag, 4, 1, value)
                continue
            kind = KINDS[tag]
            count = len(value) // LENGTHS[kind]
            directory += struct.pack("<HHI", tag, kind, count)
            directory += value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", len(out))
            out += b"" if len(value) <= 4 else value + bytes(len(value) % 2)
        offset = len(out)
        out += directory + bytes(4)
    out[4:8] = struct.pack("<I", offset)
    return bytes(out)


def difference(rgb: np.ndarray, image: Image.Image) -> float:
    """Return the mean difference of two pictures in shape, not in brightness: developing brightens."""
    made, wanted = (np.asarray(Image.fromarray(np.asarray(one)).convert("L"), dtype=float) for one in (rgb, image))
    return float(np.abs((made - made.mean()) / made.std() - (wanted - wanted.mean()) / wanted.std()).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_raw_file_is_developed_upright(astronaut, orientation):
    content = dng(astronaut, orientation)
    assert is_photo(content[: photos.HEAD])
    assert formats.format_of(content) == "RAW"
    decoded = decode(content)  # all pixels
    assert decoded.rgb.shape == (400, 480, 3)
    assert decoded.scale == 1
    assert decoded.facts == photos.PhotoFacts(480, 400, orientation, "RAW", None, "Test One")
    assert difference(decoded.rgb, astronaut) < 0.15
    half = decode(content, longest_side=480)
    assert (half.rgb.shape, half.scale) == ((200, 240, 3), 0.5)
    assert (half.facts.width, half.facts.height) == (480, 400)
    assert difference(half.rgb, astronaut.reduce(2)) < 0.15


@pytest.mark.parametrize("longest_side", [None, 480, 481, 250, 100])
def test_a_small_sensor_is_developed_in_full(astronaut, longest_side):
    decoded = decode(dng(astronaut), longest_side=longest_side)
    long_side = {None: 480, 480: 240, 481: 480, 250: 240, 100: 120}[longest_side]
    assert max(decoded.rgb.shape) == long_side
    assert decoded.scale == long_side / 480


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["untagged", "tagged", "upright", "upright and tagged 1"])
def test_the_preview_is_turned_once(astronaut, orientation, kind):
    """Brighter than what would be developed, so that it is known again."""
    bright = Image.eval(astronaut, lambda value: 128 + value // 2)
    if kind.startswith("upright"):
        if orientation in (2, 3, 4) and kind == "upright":
            pytest.skip("nothing in such a file tells which way up its preview is")
        preview = jpeg(bright, 1 if kind.endswith("1") else None)
        if orientation in (5, 7):
            pytest.skip("no camera mirrors")
    else:
        preview = jpeg(as_stored(bright, orientation), orientation if kind == "tagged" else None)
    decoded = decode(dng(astronaut, orientation, preview), longest_side=480)
    assert decoded.rgb.shape == (400, 480, 3)
    assert decoded.scale == 1
    assert np.abs(decoded.rgb.astype(float) - np.asarray(bright)).mean() < 4
    assert decoded.facts == photos.PhotoFacts(480, 400, orientation, "RAW", None, "Test One")


def test_a_preview_is_taken_where_it_has_the_pixels(astronaut):
    bright = Image.eval(astronaut, lambda value: 128 + value // 2)
    for size, longest_side, taken in (
        ((480, 400), None, True), ((480, 400), 480, True), ((240, 200), 480, True), ((240, 200), None, False),
        ((230, 192), 480, False), ((120, 100), 240, False), ((120, 100), 120, True), ((480, 320), 480, False),
    ):  # fmt: skip
        decoded = decode(dng(astronaut, 6, jpeg(as_stored(bright, 6).resize(size[::-1]))), longest_side=longest_side)
        assert (decoded.rgb.min() >= 100) == taken, (size, longest_side)
        assert (decoded.facts.width, decoded.facts.height) == (480, 400)
        assert decoded.scale == max(decoded.rgb.shape) / 480


def test_a_large_preview_is_reduced(astronaut):
    decoded = decode(dng(astronaut, 8, jpeg(as_stored(astronaut, 8))), longest_side=100)
    assert (decoded.rgb.shape, decoded.scale) == ((100, 120, 3), 0.25)
    assert difference(decoded.rgb, astronaut.reduce(4)) < 0.1


def test_linear_raw_is_developed(astronaut):
    content = dng(astronaut, 6, linear=True)
    assert formats.format_of(content) == "RAW"
    decoded = decode(content, longest_side=400)
    assert (decoded.facts.width, decoded.facts.height) == (480, 400)
    assert decoded.rgb.shape == (400, 480, 3)
    assert difference(decoded.rgb, astronaut) < 0.15


def test_raw_is_told_by_its_tags_and_other_tiffs_are_not(astronaut):
    def tiff(**tags):
        stream = io.BytesIO()
        astronaut.save(stream, "TIFF", tiffinfo={int(tag[1:]): value for tag, value in tags.items()})
        return stream.getvalue()

    assert formats.format_of(tiff()) == "TIFF"
    assert formats.format_of(tiff(_254=0, _274=6)) == "TIFF"
    for tags in ({"_254": 1}, {"_50706": b"\1\4\0\0"}):
        assert formats.format_of(tiff(**tags)) == "RAW"
    for damaged in (b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0+" + bytes(80), tiff()[:20]):
        assert formats.format_of(damaged + bytes(16)) == "TIFF"
    endless = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 330, 4, 1, 8, 0)  # a sub-IFD that is its own parent
    assert formats.format_of(endless) == "TIFF"


def test_libraw_sees_nothing_but_raw(monkeypatch, astronaut):
    import rawpy

    monkeypatch.setattr(rawpy, "imread", lambda *_: pytest.fail("LibRaw was asked"))
    for name in ("TIFF", "JPEG", "PNG", "JPEG2000"):
        stream = io.BytesIO()
        astronaut.save(stream, name)
        assert decode(stream.getvalue()).facts.format == name


@pytest.mark.parametrize(
    "head",
    [
        b"II*\0\x10\0\0\0CR\2\0", b"\0\0\0\x18ftypcrx \0\0\0\1", b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0",
        b"IIU\0\x18\0\0\0", b"\0MRM\0\0\0\0", b"FOVb\0\0\0\0", b"II\x1a\0\0\0\0\0HEAPCCDR",
    ],
)  # fmt: skip
def test_raw_that_libraw_cannot_read_is_named_with_a_way_out(head, capfd):
    assert is_photo(head)
    with pytest.raises(UndecodablePhoto, match=r"RAW, which LibRaw .* cannot read \(.*\): update rawpy, or export"):
        decode(head + bytes(2000))


def test_damaged_raw_is_a_photo_error(astronaut, capfd):
    content = dng(astronaut, preview=jpeg(astronaut.reduce(4)))
    for length in (300, len(content) // 2, len(content) - 1000):
        with pytest.raises(UndecodablePhoto):
            decode(content[:length])


def test_raw_without_its_package_says_which(monkeypatch, astronaut):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(UndecodablePhoto, match="pip install rawpy"):
        decode(dng(astronaut))


def test_raw_that_is_too_large_to_develop_is_refused_and_its_preview_is_not(astronaut):
    with pytest.raises(PhotoTooLarge, match="480 x 400 pixels of RAW"):
        decode(dng(astronaut), max_pixels=100_000)
    assert decode(dng(astronaut, 1, jpeg(astronaut.reduce(2))), longest_side=480, max_pixels=50_000).scale == 0.5

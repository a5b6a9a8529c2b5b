"""Photos of 200 and 500 million pixels, in a process of their own whose memory is measured; and their parts, small."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from photocluster import heif, large, photos
from photocluster.alignment import align
from photocluster.errors import PhotoTooLarge, UndecodablePhoto
from photocluster.photos import decode
from photocluster.pipeline import analysis
from photocluster.pipeline.analysis import Analyser, Stopwatch
from photocluster.records import DecodedPhoto

ROOT = Path(__file__).parents[1]
AWKWARD = Path(os.environ.get("PHOTOCLUSTER_TEST_DATA", ROOT.parent / "shared" / "data")) / "awkward"
pillow_heif.register_heif_opener()  # for writing

LIMIT_MB = 700
"""Peak memory of a process that decodes one photo."""


def scene(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rgb = np.stack([255 * x, 255 * y, 200 * (1 - x) * (1 - y)], axis=2)
    return Image.fromarray(rgb.astype(np.uint8))


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def difference(first, second) -> float:
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


def repeated_tile(rows: int, columns: int) -> bytes:
    """Return a HEIF of rows x columns tiles of 512 pixels, all of which show the same coded picture.

    The file of four tiles that libheif writes is taken apart, and put together with more.
    """
    small = encoded(scene(1024, 1024), "HEIF", quality=50, tile_size=512)
    boxes = dict(heif._boxes(small, 0, len(small)))
    meta = boxes[b"meta"]
    parts = {name: small[start - 8 : end] for name, (start, end) in heif._boxes(small, meta[0] + 4, meta[1])}
    structure = heif._structure(small)
    first, grid = structure.tiles[0], heif._number(parts[b"pitm"], 12, 2)
    count = rows * columns
    tiles = [first, *range(1000, 1000 + count - 1)]

    def box(name: bytes, payload: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(payload), name) + payload

    def entry(item: int, kind: bytes, *, hidden: bool) -> bytes:
        return box(b"infe", struct.pack(">BBBBHH4sB", 2, 0, 0, int(hidden), item, 0, kind, 0))

    entries = [entry(item, b"hvc1", hidden=True) for item in tiles] + [entry(grid, b"grid", hidden=False)]
    iinf = box(b"iinf", struct.pack(">IH", 0, len(entries)) + b"".join(entries))
    references = struct.pack(">HH", grid, count) + struct.pack(f">{count}H", *tiles)
    iref = box(b"iref", struct.pack(">I", 0) + box(b"dimg", references))
    configuration = _property(parts[b"iprp"], b"hvcC")
    sizes = [box(b"ispe", struct.pack(">III", 0, *size)) for size in ((512, 512), (512 * columns, 512 * rows))]
    ipco = box(b"ipco", configuration + sizes[0] + sizes[1])
    associations = b"".join(struct.pack(">HBBB", item, 2, 0x81, 2) for item in tiles)
    associations += struct.pack(">HBB", grid, 1, 3)
    iprp = box(b"iprp", ipco + box(b"ipma", struct.pack(">II", 0, count + 1) + associations))
    figures = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, 512 * columns, 512 * rows)
    place, length = _place(small, parts[b"iloc"], first)
    picture = small[place : place + length]

    def iloc(offset: int) -> bytes:
        items = b"".join(struct.pack(">HHHHII", item, 0, 0, 1, offset, length) for item in tiles)
        items += struct.pack(">HHHHII", grid, 1, 0, 1, 0, len(figures))
        return box(b"iloc", struct.pack(">BBBBBBH", 1, 0, 0, 0, 0x44, 0, count + 1) + items)

    def whole(offset: int) -> bytes:
        inner = parts[b"hdlr"] + parts[b"pitm"] + iloc(offset) + iinf + iprp + iref + box(b"idat", figures)
        head = small[: boxes[b"ftyp"][1]] + box(b"meta", bytes(4) + inner)
        return head + box(b"mdat", picture)

    return whole(len(whole(0)) - len(picture))


def _property(iprp: bytes, wanted: bytes) -> bytes:
    ipco = dict(heif._boxes(iprp, 8, len(iprp)))[b"ipco"]
    return next(iprp[start - 8 : end] for name, (start, end) in heif._boxes(iprp, *ipco) if name == wanted)


def _place(content: bytes, iloc: bytes, item: int) -> tuple[int, int]:
    """Return where the first extent of an item lies, as libheif writes it."""
    version = iloc[8]
    sizes = (iloc[12] >> 4, iloc[12] & 15, iloc[13] >> 4)
    at = 16
    for _ in range(heif._number(iloc, 14, 2)):
        number = heif._number(iloc, at, 2)
        at += 2 + (2 if version >= 1 else 0) + 2
        base = heif._number(iloc, at, sizes[2])
        at += sizes[2]
        extents = heif._number(iloc, at, 2)
        at += 2
        start, length = heif._number(iloc, at, sizes[0]), heif._number(iloc, at + sizes[0], sizes[1])
        at += extents * (sizes[0] + sizes[1])
        if number == item:
            return base + start, length
    pytest.fail(f"item {item} has no place")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiles_make_the_picture_that_the_whole_makes(monkeypatch, orientation):
    upright = scene(300, 240)
    stored = upright.copy()
    stored.getexif()[0x112] = {6: 8, 8: 6}.get(orientation, orientation)
    stored = ImageOps.exif_transpose(stored)
    tag = Image.Exif()
    tag[0x112] = orientation
    content = encoded(stored, "HEIF", tile_size=128, exif=tag.tobytes(), quality=90)
    assert heif.open_tiles(content) is not None
    for factor in (1, 2, 3):
        monkeypatch.undo()
        whole = decode(content, longest_side=300 // factor)
        assert difference(whole.rgb, upright.reduce(factor)) < 3
        monkeypatch.setattr(photos, "MAX_PIXELS", 10_000)
        tiled = decode(content, longest_side=300 // factor, max_pixels=10_000_000)
        assert tiled.facts == whole.facts
        assert tiled.scale == whole.scale
        assert tiled.rgb.shape == whole.rgb.shape
        assert difference(tiled.rgb, whole.rgb) < 0.5


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
@pytest.mark.parametrize(
    ("format_", "options"),
    [("AVIF", {}), ("AVIF", {"subsampling": "4:4:4"}), ("AVIF", {"range": "limited"}), ("HEIF", {})],
)
def test_planes_make_the_picture_that_the_whole_makes(monkeypatch, format_, options, orientation):
    upright = scene(301, 241)
    stored = upright.copy()
    stored.getexif()[0x112] = {6: 8, 8: 6}.get(orientation, orientation)
    stored = ImageOps.exif_transpose(stored)
    tag = Image.Exif()
    tag[0x112] = orientation
    content = encoded(stored, format_, exif=tag.tobytes(), quality=90, **options)
    for factor in (1, 2, 3):
        monkeypatch.undo()
        whole = decode(content, longest_side=300 // factor)
        assert difference(whole.rgb, upright.reduce(factor)) < 3
        monkeypatch.setattr(photos, "MAX_PIXELS", 10_000)
        apart = decode(content, longest_side=300 // factor, max_pixels=10_000_000)
        assert (apart.facts, apart.scale, apart.rgb.shape) == (whole.facts, whole.scale, whole.rgb.shape)
        assert difference(apart.rgb, whole.rgb) < 1.5  # a turned HEIF is reduced from its other end


def test_what_libav_would_hold_counts():
    size = (10_000, 10_000)
    for subsampling, needed in (("4:2:0", 200), ("4:2:2", 250), ("4:4:4", 350)):
        content = encoded(scene(8, 8), "AVIF", subsampling=subsampling)
        assert large.bytes_needed(content, "AVIF", size) == needed * 1_000_000
    assert large.bytes_needed(encoded(scene(64, 64), "HEIF"), "HEIF", size) == 350_000_000


def test_damaged_planes_are_told(monkeypatch):
    content = encoded(scene(300, 240), "AVIF")
    monkeypatch.setattr(photos, "MAX_PIXELS", 10_000)
    with pytest.raises(UndecodablePhoto, match="damaged"):
        decode(content[:-200] + bytes(200), longest_side=100, max_pixels=10_000_000)


def test_what_has_transparent_parts_is_refused_as_a_whole(monkeypatch):
    image = scene(700, 560)
    image.putalpha(128)
    content = encoded(image, "HEIF")
    assert heif.open_tiles(content) is None
    monkeypatch.setattr(photos, "MAX_PIXELS", 100_000)
    with pytest.raises(PhotoTooLarge, match=r"700 x 560 pixels .* as HEIF, the limit is 2 MB; save it as JPEG"):
        decode(content, longest_side=200, max_pixels=300_000)


def test_a_phones_own_tiles(monkeypatch):
    path = AWKWARD / "formats" / "immich" / "IMG_2682.heic"
    if not path.exists():
        pytest.skip("PHOTOCLUSTER_TEST_DATA has no such photo")
    content = path.read_bytes()
    whole = decode(content, longest_side=2000)
    monkeypatch.setattr(photos, "MAX_PIXELS", 1_000_000)
    tiled = decode(content, longest_side=2000, max_pixels=24_000_000)
    assert tiled.facts == whole.facts
    assert difference(tiled.rgb, whole.rgb) < 0.5


@pytest.mark.parametrize(("side", "larger"), [(700, False), (240, True)])
def test_a_jpeg_is_decoded_larger_only_where_a_face_in_it_is_small(monkeypatch, side, larger):
    monkeypatch.setattr(analysis, "COARSE_SIDE", 700)
    monkeypatch.setattr(analysis, "DECODE_SIDE", 1100)
    skimage_data = pytest.importorskip("skimage.data")
    face = Image.fromarray(skimage_data.astronaut()).crop((120, 0, 330, 210))
    canvas = Image.new("RGB", (1500, 1000), (90, 110, 90))
    canvas.paste(face.resize((side, side)), (700, 200))
    content, asked = encoded(canvas, "JPEG", quality=92), []

    def by(content: bytes, longest_side: int) -> DecodedPhoto:
        asked.append(longest_side)
        return decode(content, longest_side=longest_side)

    decoded = analysis.decode(content, by)
    assert (decoded.rgb.shape, decoded.scale) == ((500, 750, 3), 0.5)
    analyser = Analyser()
    (found,) = analyser.look(decoded, Stopwatch())
    assert asked == [analysis.COARSE_SIDE, *[analysis.DECODE_SIDE] * larger]
    assert (found.face.detection.box.height / 2 < analysis.SMALLEST_CROP) == larger
    shown = decode(content) if larger else decoded
    expected = align(shown.rgb, found.face.detection.landmarks * np.float32(shown.scale))
    assert (found.crop == expected).all()
    (whole,) = analyser.faces(decode(content), Stopwatch())
    assert found.face.detection.box.iou(whole.detection.box) > 0.9
    assert np.linalg.norm(found.face.embedding - whole.embedding) < 0.5


@pytest.mark.parametrize(("width", "format_"), [(5000, "JPEG"), (8000, "JPEG"), (5400, "PNG")])
def test_what_is_read_as_quickly_is_decoded_at_once(width, format_):
    asked = []

    def by(content: bytes, longest_side: int) -> DecodedPhoto:
        asked.append(longest_side)
        return decode(content, longest_side=longest_side)

    decoded = analysis.decode(encoded(Image.new("RGB", (width, 100)), format_), by)
    assert (decoded.finer, len(asked)) == (None, 1)
    assert max(decoded.rgb.shape) >= analysis.DECODE_SIDE


@pytest.mark.parametrize("format_", large.FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16", "CMYK"])
def test_libvips_makes_the_picture_that_pillow_makes(monkeypatch, format_, mode):
    pytest.importorskip("pyvips", reason="the extra large is not installed")
    image = scene(301, 199)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "P":
        image = image.quantize(64)
    else:
        image = image.convert(mode)
    if (format_, mode) in (("PNG", "CMYK"), ("WEBP", "CMYK"), ("WEBP", "I;16")):
        pytest.skip("there is no such file")
    tag = Image.Exif()
    tag[0x112] = 6
    content = encoded(image, format_, exif=tag, **({"lossless": True} if format_ == "WEBP" else {}))
    whole = decode(content, longest_side=100)
    monkeypatch.setattr(photos, "MAX_PIXELS", 10_000)
    apart = decode(content, longest_side=100, max_pixels=10_000_000)
    assert apart.facts == whole.facts
    assert apart.scale == whole.scale
    assert np.abs(np.subtract(apart.rgb.shape, whole.rgb.shape)).max() <= (1 if format_ == "WEBP" else 0)
    rows, columns = np.minimum(apart.rgb.shape[:2], whole.rgb.shape[:2])
    assert difference(apart.rgb[:rows, :columns], whole.rgb[:rows, :columns]) < 3


def test_what_libvips_would_hold_counts():
    size = (10_000, 10_000)
    assert large.bytes_needed(encoded(scene(8, 8), "WEBP"), "WEBP", size) == 300_000_000
    assert large.bytes_needed(encoded(scene(8, 8), "WEBP", lossless=True), "WEBP", size) == 600_000_000
    assert large.bytes_needed(bytes(1000), "TIFF", size) == 2000
    assert large.bytes_needed(bytes(1000), "PNG", size) == 0


def test_without_libvips_the_remedy_is_named(monkeypatch):
    content = encoded(scene(300, 200), "PNG")
    monkeypatch.setattr(photos, "MAX_PIXELS", 10_000)
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(PhotoTooLarge, match=r"pip install 'photocluster\[large\]'"):
        decode(content, longest_side=100, max_pixels=10_000)


def test_jpeg_2000_is_halved_where_it_is_too_large(monkeypatch):
    content = encoded(scene(800, 600), "JPEG2000", num_resolutions=3)
    whole = decode(content, longest_side=100)
    monkeypatch.setattr(photos, "MAX_PIXELS", 100_000)
    halved = decode(content, longest_side=100, max_pixels=100_000)
    assert halved.facts == whole.facts
    assert halved.scale == whole.scale
    assert difference(halved.rgb, whole.rgb) < 3
    with pytest.raises(PhotoTooLarge):  # two halvings are all that it has
        decode(content, longest_side=100, max_pixels=10_000)
    with pytest.raises(PhotoTooLarge):
        decode(content, max_pixels=100_000)


# Truly large ones ---------------------------------------------------------------------------------------------------

MEASURE = """
import sys, resource
from photocluster import photos
from photocluster.pipeline.analysis import DECODE_SIDE, decode
from pathlib import Path
decoded = decode(photos.read(Path(sys.argv[1])), lambda content, side: photos.decode(content, longest_side=side))
decoded = decoded.showing(0, 1)
assert max(decoded.rgb.shape) >= min(DECODE_SIDE, max(decoded.facts.width, decoded.facts.height))
print(decoded.facts.width, decoded.facts.height, int(decoded.rgb.mean()),
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def measured(path: Path) -> tuple[int, int, int, int]:
    """Decode a file in a process of its own; return width, height, mean brightness, and peak memory in MB."""
    # In between a small process: Linux counts what was held when it was forked.
    command = [sys.executable, "-S", "-c", "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))",
               sys.executable, "-c", MEASURE, os.fspath(path)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return tuple(map(int, run.stdout.split()))


def stack(path: Path, tile: Image.Image, columns: int, rows: int, format_: str, **options) -> None:
    image = Image.new("RGB", (tile.width * columns, tile.height * rows))
    for row in range(rows):
        for column in range(columns):
            image.paste(tile, (column * tile.width, row * tile.height))
    image.save(path, format_, **options)


LARGE = {
    "500 MP JPEG": ("JPEG", (26, 20), {"quality": 75}),
    "160 MP progressive JPEG": ("JPEG", (16, 10), {"quality": 75, "progressive": True}),
    "200 MP PNG": ("PNG", (16, 13), {"compress_level": 1}),
    "200 MP TIFF": ("TIFF", (16, 13), {"compression": "tiff_deflate"}),
    "120 MP WebP": ("WEBP", (12, 10), {"quality": 50, "method": 0}),
    "60 MP AVIF": ("AVIF", (10, 6), {"quality": 50, "speed": 10}),
    "50 MP JPEG 2000": ("JPEG2000", (8, 6), {"irreversible": True, "quality_mode": "rates", "quality_layers": [40]}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*LARGE, "200 MP HEIC"])
def test_large_photos_are_decoded_in_bounded_memory(tmp_path, kind):
    tile, path = scene(1000, 1000), tmp_path / "large"
    if kind == "200 MP HEIC":
        path.write_bytes(repeated_tile(24, 32))
        size, brightness = (16384, 12288), np.asarray(scene(1024, 1024).crop((0, 0, 512, 512))).mean()
    else:
        format_, (columns, rows), options = LARGE[kind]
        if format_ in large.FORMATS:
            pytest.importorskip("pyvips", reason="the extra large is not installed")
        stack(path, tile, columns, rows, format_, **options)
        size, brightness = (columns * 1000, rows * 1000), np.asarray(tile).mean()
    width, height, mean, peak = measured(path)
    assert (width, height) == size
    assert abs(mean - brightness) < 4
    assert peak < LIMIT_MB

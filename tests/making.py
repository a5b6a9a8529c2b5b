"""What the tests are made of: faces and files for a store, and tiny pictures in which a fake analyser sees people."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, PngImagePlugin

from photocluster.pipeline.analysis import SeenFace
from photocluster.pipeline.working import work_on
from photocluster.records import Box, DecodedPhoto, Detection, Face, PhotoFacts, Quality, Recipe
from photocluster.store import FileState, Library, ScannedFile

RECIPE = Recipe(
    detector="sha256:d",
    embedder="sha256:e",
    mean="sha256:m",
    mirror=True,
    detection_sizes=(320, 1280),
    detection_threshold=0.8,
    nms_threshold=0.4,
    alignment="arcface-112",
    decoding="upright-srgb-1/4000",
)
FACTS = PhotoFacts(640, 480, 1, "JPEG", "2019-07-14T16:02:11", "Maker Model")

SLOT = 16
"""Pixels of the square in which a face of a picture lies."""


def unit_vector(*seed: int) -> np.ndarray:
    """Return a random unit vector (128,) float32; the same for the same seed."""
    vector = np.random.default_rng(seed).standard_normal(128)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def face(embedding: np.ndarray, *, left: float = 10.0, top: float = 10.0, side: float = 40.0) -> Face:
    box = Box(left, top, left + side, top + side)
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side + [left, top]
    quality = Quality(size=side, sharpness=0.2, yaw=1.0, pitch=2.0, roll=3.0, norm=11.0, overall=0.5)
    return Face(Detection(box, 0.9, points.astype(np.float32)), quality, embedding)


def scanned(path: Path | str, photo: str, faces: Sequence[Face] | None = (), *, size: int = 1) -> ScannedFile:
    """Return a photo's file as a scan would store it; `faces` None stands for a photo that is known."""
    return ScannedFile(Path(path), size, 1000, FileState.PHOTO, photo, None if faces is None else FACTS, faces)


def make_library(folder: Path, **options) -> Library:
    return Library(folder, recipe=RECIPE, create=True, **options)


def dump(library: Path, tables: Sequence[str] = ("photo", "file", "face", "assignment", "person")) -> dict[str, list]:
    """Return the rows of some tables of a closed library."""
    import sqlite3

    connection = sqlite3.connect(library / "library.sqlite")
    try:
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}
    finally:
        connection.close()


def picture(path: Path, *persons: int, shade: int = 0, note: str = "") -> Path:
    """Write a PNG in which `FakeAnalyser` sees these persons (1 .. 40; 0 is an empty place), from left to right.

    `shade` (0 .. 255) is what tells two pictures of the same persons apart; `note` is metadata, which changes the
    file's content and none of its pixels.
    """
    rgb = np.zeros((2 * SLOT, SLOT * max(4, len(persons)), 3), dtype=np.uint8)
    for place, person in enumerate(persons):
        if person:
            rgb[:SLOT, place * SLOT : (place + 1) * SLOT] = (5 * person, 100, shade)
    rgb[-1, -1] = (0, 0, shade)
    metadata = PngImagePlugin.PngInfo()
    if note:
        metadata.add_text("Comment", note)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    Image.fromarray(rgb).save(content, format="PNG", pnginfo=metadata, compress_level=1)
    path.write_bytes(content.getvalue())  # at once: a test may watch
    return path


class FakeAnalyser:
    """Sees a person in each coloured square of a `picture`: the colour says who, the shade moves the embedding a bit.

    Two faces of a person are 0.1 or so apart, those of two persons 1.4. `analysed` counts the photos.
    """

    analysed: ClassVar[int] = 0
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, *, mirror: bool = True, device: str = "auto") -> None:
        self.mirror, self.device = mirror, device

    @property
    def of_frames(self) -> FakeAnalyser:
        return self

    def faces(self, decoded: DecodedPhoto, _watch: object) -> list[Face]:
        with self._lock:
            FakeAnalyser.analysed += 1
        found = []
        for left in range(0, decoded.rgb.shape[1], SLOT):
            red, _, shade = (int(v) for v in decoded.rgb[0, left])
            if red:
                vector = unit_vector(red) + 0.05 * unit_vector(red, shade, left)
                vector = (vector / np.linalg.norm(vector)).astype(np.float32)
                found.append(face(vector, left=left, top=0, side=SLOT))
        return found

    def look(self, decoded: DecodedPhoto, watch: object) -> list[SeenFace]:
        crop = np.zeros((112, 112, 3), dtype=np.uint8)
        return [SeenFace(seen, crop, seen.embedding) for seen in self.faces(decoded, watch)]

    @property
    def embedder(self) -> FakeAnalyser:
        return self

    def finished(self, raw: np.ndarray, _crops: np.ndarray) -> np.ndarray:
        return raw


class InThisProcess:
    """Stands for `crew.Worker` without a process: a test sees and replaces what happens in the work on a file."""

    retired = False

    def __init__(self, make_analyser, options) -> None:
        self.analyser, self.options = make_analyser(), options

    def work(self, file, desk, _timeout):
        return work_on(file, self.analyser, desk, self.options)

    def hurry(self, seconds) -> None:
        """Nothing: what runs in a thread ends by itself."""

    def kill(self) -> None:
        """Nothing is there to be killed."""


def scan_in_this_process(monkeypatch, analyser) -> None:
    """Have scans look for faces with `analyser` in place of the real one, and work in this process."""
    monkeypatch.setattr("photocluster.pipeline.scanning.Analyser", analyser)
    monkeypatch.setattr("photocluster.pipeline.crew.Worker", InThisProcess)

"""From a decoded photo to its faces: detect, align, embed, measure. The recipe of it all is made here too."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np

from photocluster import models, photos, sessions
from photocluster.alignment import CROP_SIZE, TEMPLATE_NAME, align
from photocluster.errors import DegenerateLandmarks
from photocluster.formats import format_of
from photocluster.quality import measure
from photocluster.records import DecodedPhoto, Detection, Face, FloatArray, ImageArray, Recipe

DECODE_SIDE = 4000
"""A photo is decoded so that its long side has at least this many pixels, if it has them: the whole of a 12-megapixel
photo (4000 x 3000), in which a face of 20 pixels is to be found; larger photos at half or a quarter where the format
can."""

COARSE_SIDE = max(models.DETECTION_SIZES)
"""A JPEG is decoded at this size first, and larger only where something in it is small: a photo of 20 to 33 megapixels
takes six tenths of the time, if the faces in it are large."""

SMALLEST_CROP = CROP_SIZE
"""Height in pixels from which on a face is cut out of the picture as it is: less would have to be enlarged. A face of
140 pixels lies .10 from the same at full size, decoded at half the size or not; one of 100 .13 and .11, one of 50 .32
and .17, one of 25 .79 and .41 (medians of 40 faces, brought down to twice that height, saved as JPEG)."""

FRAME_SIZES = (320, 1280)
"""Sizes at which faces are looked for in frames of videos, see `models.DETECTION_SIZES`. The finest look would find
faces of 13 pixels and more in Full HD, where these find those of 20, and would take more than twice the time; faces so
small tell nobody (`quality.LOWEST_NORM`), the less in motion."""

DECODING = "upright-srgb-2"
"""Names the rules of `photos.decode` in a recipe; changed when they change a pixel."""


@dataclass(slots=True)
class Stopwatch:
    """CPU seconds by stage of the work on photos; each file has its own."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _since: float = 0.0

    def start(self) -> None:
        """Begin a stage."""
        self._since = time.thread_time()

    def stop(self, stage: str) -> None:
        """Book the time since the last call under `stage`."""
        now = time.thread_time()
        self.seconds[stage] += now - self._since
        self._since = now


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """A face, its aligned crop uint8 (112, 112, 3), and what the embedder said of that alone, float32 (128,)."""

    face: Face
    crop: ImageArray
    raw: FloatArray


def decode(content: bytes, by: Callable[[bytes, int], DecodedPhoto]) -> DecodedPhoto:
    """Return a photo as faces are looked for in it: a large JPEG at a reduced size, and how to have it finer.

    Parameters
    ----------
    content
        The file's bytes.
    by
        Decodes a content so that its long side has at least so many pixels, if it has them.

    Raises
    ------
    PhotoError
        What `by` raises.
    """
    if format_of(content) != "JPEG":
        return by(content, DECODE_SIDE)
    coarse = by(content, COARSE_SIDE)
    if coarse.scale == 1 or max(coarse.rgb.shape) >= DECODE_SIDE:
        return coarse
    return replace(coarse, finer=cache(partial(by, content, DECODE_SIDE)))


class Analyser:
    """Detector and embedder with their settings; may be shared by threads.

    Parameters
    ----------
    mirror
        Add the mirror image's embedding.
    device
        One of `sessions.DEVICES`: what the models run on. The recipe does not name it: the models are the same, and the
        results differ by rounding.

    Raises
    ------
    MissingDependency
        The device is not there; the message says what to install.
    """

    def __init__(self, *, mirror: bool = True, device: str = "auto") -> None:
        self.device = device
        self.mirror = mirror
        self.detector = models.Detector(device=device)
        self.embedder = models.Embedder(mirror=mirror, device=device)

    @cached_property
    def of_frames(self) -> Analyser:
        """The same for frames of videos: without the finest look, and upright, as their cameras note the turn.

        And without the mirror image, which only those faces get that are kept (`footage.Follower`).
        """
        other = copy(self)
        other.detector = models.Detector(sizes=FRAME_SIZES, turned=False, device=self.device)
        other.embedder = self.embedder.without_mirror()
        return other

    def read(self, path: Path) -> tuple[DecodedPhoto, list[Face]]:
        """Return a file's photo and its faces.

        Raises
        ------
        PhotoError
            The file cannot be read or decoded.
        """
        decoded = decode(photos.read(path), lambda content, side: photos.decode(content, longest_side=side))
        return decoded, self.faces(decoded, Stopwatch())

    def faces(self, decoded: DecodedPhoto, watch: Stopwatch) -> list[Face]:
        """Return the faces of a photo, best detector score first."""
        return [seen.face for seen in self.look(decoded, watch)]

    def look(self, decoded: DecodedPhoto, watch: Stopwatch) -> list[SeenFace]:
        """Return the same with what the embeddings were made of."""
        watch.start()
        detections = self.detector.detect(decoded.rgb, scale=decoded.scale, finer=decoded.finer)
        watch.stop("detect")
        crops: list[ImageArray] = []
        aligned: list[Detection] = []
        for detection in detections:
            shown = decoded.showing(detection.box.height * decoded.scale, SMALLEST_CROP)
            try:
                crops.append(align(shown.rgb, detection.landmarks * np.float32(shown.scale)))
            except DegenerateLandmarks:
                continue  # five points in one place are no face
            aligned.append(detection)
        watch.stop("align")
        if not aligned:
            return []
        raw = self.embedder.raw(np.stack(crops))
        embeddings = self.embedder.finished(raw, np.stack(crops))
        watch.stop("embed")
        found = [
            SeenFace(Face(detection, measure(detection, crop, float(np.linalg.norm(vector))), embedding), crop, vector)
            for detection, crop, vector, embedding in zip(aligned, crops, raw, embeddings, strict=True)
        ]
        watch.stop("align")
        return found


def recipe(*, mirror: bool = True) -> Recipe:
    """Return the recipe of the embeddings that an `Analyser` with these settings makes; loads no model."""
    return Recipe(
        detector=f"{sessions.model_identity(models.DETECTOR_FILE)}/{models.DETECTION_METHOD}",
        embedder=sessions.model_identity(models.EMBEDDER_FILE),
        mean=models.mean_identity(),
        mirror=mirror,
        detection_sizes=models.DETECTION_SIZES,
        detection_threshold=models.DETECTION_THRESHOLD,
        nms_threshold=models.NMS_THRESHOLD,
        alignment=TEMPLATE_NAME,
        decoding=f"{DECODING}/{DECODE_SIDE}",
    )

"""From a decoded photo to its faces: detect, align, embed, measure. The recipe of it all is made here too."""

from __future__ import annotations

import time
from collections import defaultdict
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from photocluster import models, photos
from photocluster.alignment import TEMPLATE_NAME, align
from photocluster.errors import DegenerateLandmarks
from photocluster.quality import measure
from photocluster.records import DecodedPhoto, Detection, Face, ImageArray, Recipe

DECODE_SIDE = 4000
"""A photo is decoded so that its long side has at least this many pixels, if it has them: the whole of a 12-megapixel
photo (4000 x 3000), in which a face of 20 pixels is to be found; larger photos at half or a quarter where the format
can."""

FRAME_SIZES = (320, 1280)
"""Sizes at which faces are looked for in frames of videos, see `models.DETECTION_SIZES`. The finest look would find
faces of 13 pixels and more in Full HD, where these find those of 20, and would take more than twice the time; faces so
small tell nobody (`quality.LOWEST_NORM`), the less in motion."""

DECODING = "upright-srgb-1"
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


class Analyser:
    """Detector and embedder with their settings; may be shared by threads.

    Parameters
    ----------
    mirror
        Add the mirror image's embedding.
    device
        One of `models.DEVICES`: what the models run on. The recipe does not name it: the models are the same, and the
        results differ by rounding.

    Raises
    ------
    MissingDependency
        The device is not there; the message says what to install.
    """

    def __init__(self, *, mirror: bool = True, device: str = "auto") -> None:
        self.device = device
        self.detector = models.Detector(device=device)
        self.embedder = models.Embedder(mirror=mirror, device=device)

    @cached_property
    def of_frames(self) -> Analyser:
        """The same for frames of videos: without the finest look, and upright, as their cameras note the turn."""
        other = copy(self)
        other.detector = models.Detector(sizes=FRAME_SIZES, turned=False, device=self.device)
        return other

    def read(self, path: Path) -> tuple[DecodedPhoto, list[Face]]:
        """Return a file's photo and its faces.

        Raises
        ------
        PhotoError
            The file cannot be read or decoded.
        """
        decoded = photos.decode(photos.read(path), longest_side=DECODE_SIDE)
        return decoded, self.faces(decoded, Stopwatch())

    def faces(self, decoded: DecodedPhoto, watch: Stopwatch) -> list[Face]:
        """Return the faces of a photo, best detector score first."""
        watch.start()
        detections = self.detector.detect(decoded.rgb, scale=decoded.scale)
        watch.stop("detect")
        crops: list[ImageArray] = []
        aligned: list[Detection] = []
        for detection in detections:
            try:
                crops.append(align(decoded.rgb, detection.landmarks * np.float32(decoded.scale)))
            except DegenerateLandmarks:
                continue  # five points in one place are no face
            aligned.append(detection)
        watch.stop("align")
        if not aligned:
            return []
        embeddings, norms = self.embedder.embed(np.stack(crops))
        watch.stop("embed")
        found = [
            Face(detection, measure(detection, crop, float(norm)), embedding)
            for detection, crop, embedding, norm in zip(aligned, crops, embeddings, norms, strict=True)
        ]
        watch.stop("align")
        return found


def recipe(*, mirror: bool = True) -> Recipe:
    """Return the recipe of the embeddings that an `Analyser` with these settings makes; loads no model."""
    return Recipe(
        detector=f"{models.model_identity(models.DETECTOR_FILE)}/{models.DETECTION_METHOD}",
        embedder=models.model_identity(models.EMBEDDER_FILE),
        mean=models.mean_identity(),
        mirror=mirror,
        detection_sizes=models.DETECTION_SIZES,
        detection_threshold=models.DETECTION_THRESHOLD,
        nms_threshold=models.NMS_THRESHOLD,
        alignment=TEMPLATE_NAME,
        decoding=f"{DECODING}/{DECODE_SIDE}",
    )

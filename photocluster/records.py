"""The values that pass between the modules, and the one place where their shapes, units and orders are defined.

Conventions, valid everywhere:

- Pixels count from the top left corner of the *upright* photo (EXIF orientation applied), x to the right, y down,
  at the photo's full size even where it was decoded at a reduced one. Coordinates are continuous: the photo spans
  0..width, 0..height.
- Images are uint8 arrays of shape (height, width, 3), RGB.
- Landmarks are float32 (5, 2), x before y: left eye, right eye, nose, left mouth corner, right mouth corner, left and
  right as seen in the picture.
- Embeddings are float32 (128,), unit L2 norm, the model's mean subtracted.
- Distances are Euclidean between unit vectors: 0..2, d**2 == 2 - 2 cos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
ImageArray = NDArray[np.uint8]

EMBEDDING_DIM = 128
NOISE = -1
"""The label of a face that belongs to no cluster."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright photo: x0 < x1, y0 < y1. It may reach over the photo's edge."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.y1 - self.y0

    def iou(self, other: Box) -> float:
        """Intersection over union with `other`, 0..1."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.width * self.height + other.width * other.height - shared)

    def contains(self, x: float, y: float) -> bool:
        """Whether the point lies inside."""
        return self.x0 <= x < self.x1 and self.y0 <= y < self.y1


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One detected face: its box, the detector's score 0..1 and its landmarks (5, 2) float32, in pixels."""

    box: Box
    score: float
    landmarks: FloatArray


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of how well a face can be recognised.

    Attributes
    ----------
    size
        Geometric mean of the box's sides, in pixels of the upright photo at full size.
    sharpness
        Standard deviation of the Laplacian of the aligned crop's luminance, divided by the standard deviation of that
        luminance: about 0.05 for a blurred face, 0.3 and more for a sharp one; without a unit.
    yaw, pitch, roll
        Degrees, estimated from the five landmarks: positive yaw looks to the picture's right, positive pitch up,
        positive roll is clockwise in the picture.
    norm
        L2 norm of the embedding before normalisation (without the mirror image): the model's own confidence.
    overall
        One figure 0..1, made of the above, for sorting.
    """

    size: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    norm: float
    overall: float


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A detection with what was measured on it: `embedding` is float32 (128,), unit norm.

    In a video, `time` is the frame's, in seconds from the clip's start, and faces of one `track` are one person whom
    the tracker followed from frame to frame; both are None in a still photo.
    """

    detection: Detection
    quality: Quality
    embedding: FloatArray
    time: float | None = None
    track: int | None = None


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What a photo's file says of it.

    Attributes
    ----------
    width, height
        Of the upright photo, in pixels, at full size.
    orientation
        EXIF orientation 1..8 as stored in the file; 1 where there is none, or where the decoder turned it already.
    format
        Pillow's name of the format: "JPEG", "PNG", "HEIF" ...; "RAW" for all formats of cameras
    captured_at
        ISO 8601 local time without zone ("2019-07-14T16:02:11"), from EXIF; None where it is not known.
    camera
        Maker and model, from EXIF; None where it is not known.
    duration
        Seconds that a video lasts; None for a still photo. A video's faces have the time of their frame.
    """

    width: int
    height: int
    orientation: int
    format: str
    captured_at: str | None
    camera: str | None
    duration: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPhoto:
    """An upright RGB picture and where it came from.

    `rgb` is uint8 (h, w, 3); `scale` is the decoded size divided by the full one (1.0, or less where a reduced size was
    enough), so that full = decoded / scale. `finer`, if there is one, decodes the same photo at a larger size.
    """

    rgb: ImageArray
    scale: float
    facts: PhotoFacts
    finer: Callable[[], DecodedPhoto] | None = None

    def showing(self, height: float, wanted: float) -> DecodedPhoto:
        """Return the picture to look at something in that has `height` pixels here: a finer one for less than wanted.

        Raises
        ------
        PhotoError
            Decoding at the larger size failed.
        """
        return self if self.finer is None or height >= wanted else self.finer()


class Source(StrEnum):
    """Who said that a face is a person; in falling order of authority."""

    USER = "user"
    IMPORTED = "imported"
    PROPAGATED = "propagated"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that an embedding depends on: two libraries of one recipe are comparable, others are not.

    `detector` and `embedder` name the model files by checksum; `mean` is the checksum of the subtracted mean vector.
    """

    detector: str
    embedder: str
    mean: str
    mirror: bool
    detection_sizes: tuple[int, ...]
    detection_threshold: float
    nms_threshold: float
    alignment: str
    decoding: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "detection_sizes": list(self.detection_sizes)}


@dataclass(frozen=True, slots=True, eq=False)
class FaceRow:
    """One face of the library with all that is known of it by now; the row of every table and sheet.

    `face` is the row number in the store; `photo` the content hash; `path` one file that holds the photo (the first by
    path; "" when none is left), `missing` whether no known file of the photo was there at the last look. `cluster` is
    None for noise and for faces not yet clustered. `source` and `distance` are None without a person; `distance` is
    also None for names that came from no comparison. `time` and `track` are those of `Face`.
    """

    face: int
    photo: str
    path: str
    missing: bool
    facts: PhotoFacts
    detection: Detection
    quality: Quality
    cluster: int | None
    probability: float | None
    person: str | None
    source: Source | None
    distance: float | None
    time: float | None = None
    track: int | None = None

"""Recall and false positives of a detector, by the size of the face.

A labelled face is a box, or only a point on the nose. A box is found by a detected box with enough overlap, a point by
a detected box that holds it; one detection finds at most one face. Faces marked *ignore* (too small, hidden, drawn)
count neither as missed nor as found, and what is detected there is no false positive.

Sizes are the geometric mean of a box's sides in pixels: of the label for a labelled box, of the detection for a nose
that was found and for a false positive. A nose that was missed has no size, and stands in the bin "unknown".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from photocluster.errors import UsageError
from photocluster.evaluation.bootstrap import RESAMPLES, Interval, bootstrap_intervals
from photocluster.evaluation.labels import DoubleArray
from photocluster.records import Box

MIN_IOU = 0.5
"""Overlap at which a box is found: that of PASCAL VOC, FDDB and WIDER FACE."""

SIZE_EDGES = (20.0, 40.0, 80.0, 160.0)
"""Pixels; doublings from the smallest face whose embedding is of use to close-ups."""

UNKNOWN_SIZE = "unknown"


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """A face that is there: where `box` is None, only the point of the nose, (x, y) in pixels, is known."""

    box: Box | None
    nose: tuple[float, float] | None
    ignore: bool = False


@dataclass(frozen=True, slots=True)
class DetectedPhoto:
    """The faces that a photo holds, and the boxes that the detector found in it."""

    faces: tuple[LabelledFace, ...]
    detections: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class DetectionCounts:
    """Faces, how many of them were found, and detections that are none; `recall` is None without faces."""

    faces: int
    found: int
    false_positives: int

    @property
    def recall(self) -> float | None:
        """Share of the faces that were found."""
        return self.found / self.faces if self.faces else None

    @property
    def precision(self) -> float | None:
        """Share of the detections that are faces."""
        detected = self.found + self.false_positives
        return self.found / detected if detected else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with `recall` and `precision`."""
        return {**asdict(self), "recall": self.recall, "precision": self.precision}


@dataclass(frozen=True, slots=True)
class DetectionMeasures:
    """Counts over all photos, and by size bin ("<20", "20-40" ... ">=160", "unknown"), smallest first."""

    photos: int
    total: DetectionCounts
    by_size: Mapping[str, DetectionCounts]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        sizes = {name: counts.as_dict() for name, counts in self.by_size.items()}
        return {"photos": self.photos, **self.total.as_dict(), "by_size": sizes}


def detection_measures(
    photos: Sequence[DetectedPhoto], *, min_iou: float = MIN_IOU, edges: Sequence[float] = SIZE_EDGES
) -> DetectionMeasures:
    """Match the detections of each photo with its faces, and count.

    Parameters
    ----------
    photos
        Photos whose faces are all labelled; a photo without faces is of use too, for false positives.
    min_iou
        Intersection over union from which on a labelled box is found.
    edges
        Ascending edges of the size bins, in pixels; a size on an edge belongs to the upper bin.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for photo in photos:
        counts.update(_outcomes(photo, min_iou, edges))
    bins = [name for name in _bin_names(edges) if any(key[1] == name for key in counts)]
    by_size = {
        name: DetectionCounts(counts["face", name], counts["found", name], counts["false", name]) for name in bins
    }
    total = DetectionCounts(*(sum(counts[kind, name] for name in bins) for kind in ("face", "found", "false")))
    return DetectionMeasures(photos=len(photos), total=total, by_size=by_size)


def detection_intervals(
    photos: Sequence[DetectedPhoto], *, min_iou: float = MIN_IOU, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Return 95 % intervals of ``recall``, ``precision`` and ``false_positives_per_photo``.

    Whole photos are drawn, since nobody has told who the faces are: faces of one photo share its light and its size.
    """
    rows = []
    for photo in photos:
        counts = Counter(kind for kind, _ in _outcomes(photo, min_iou, ()))
        rows.append([counts["face"], counts["found"], counts["false"]])
    sums = np.array(rows, dtype=np.float64).reshape(-1, 3)

    def statistic(multiplicity: DoubleArray) -> Mapping[str, float]:
        faces, found, false = map(float, multiplicity @ sums)
        return {
            "recall": found / faces if faces else float("nan"),
            "precision": found / (found + false) if found + false else float("nan"),
            "false_positives_per_photo": false / len(sums),
        }

    return bootstrap_intervals(statistic, len(sums), resamples=resamples, seed=seed)


def detection_by_group(
    photos: Sequence[DetectedPhoto], groups: Sequence[str], *, min_iou: float = MIN_IOU
) -> dict[str, DetectionMeasures]:
    """Return the measures of each group of photos; `groups` names each photo's group (set, album), "" for none."""
    return {
        group: detection_measures(
            [photo for photo, of in zip(photos, groups, strict=True) if of == group], min_iou=min_iou
        )
        for group in sorted(set(groups) - {""})
    }


def match_faces(
    faces: Sequence[LabelledFace], detections: Sequence[Box], *, min_iou: float = MIN_IOU
) -> dict[int, int]:
    """Return the detection that finds each face, by index; missed faces are left out.

    Boxes are matched greedily, the largest overlap first; then noses, each with the remaining box that holds it and
    whose centre is nearest, nearest first, relative to the box's size. Ties go to the first face and detection.
    """
    by_overlap, by_nose = [], []
    for f, face in enumerate(faces):
        for d, box in enumerate(detections):
            if face.box is not None:
                overlap = face.box.iou(box)
                if overlap >= min_iou:
                    by_overlap.append((-overlap, f, d))
            elif face.nose is not None and box.contains(*face.nose):
                offset = np.hypot(face.nose[0] - (box.x0 + box.x1) / 2, face.nose[1] - (box.y0 + box.y1) / 2)
                by_nose.append((float(offset) / _size(box), f, d))
    found: dict[int, int] = {}
    used: set[int] = set()
    for _, f, d in sorted(by_overlap) + sorted(by_nose):
        if f not in found and d not in used:
            found[f] = d
            used.add(d)
    return found


def parse_labelled_faces(text: str, *, source: str = "boxes") -> dict[str, tuple[LabelledFace, ...]]:
    """Read a table of labelled faces, tab-separated with a header, and return the faces by image.

    Columns: `image`, `kind` ("box": x, y, w, h in pixels from the top left corner; "nose_point": x and y; "none": the
    image holds no face), and optionally `ignore` (1 or 0).

    Raises
    ------
    UsageError
        A column is missing, or a line cannot be read; `source` and the line number stand in the message.
    """
    lines = [line.rstrip("\r").split("\t") for line in text.split("\n")]
    missing = {"image", "kind", "x", "y", "w", "h"} - set(lines[0])
    if missing:
        raise UsageError(f"{source}: the header lacks the columns {', '.join(sorted(missing))}")
    faces: dict[str, list[LabelledFace]] = {}
    for number, fields in enumerate(lines[1:], 2):
        if not any(fields):
            continue
        row = dict(zip(lines[0], fields, strict=False))
        try:
            faces.setdefault(row["image"], []).extend(_read_row(row))
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"{source}, line {number}: {error}; expected kind box, nose_point or none and numbers"
            ) from error
    return {image: tuple(found) for image, found in faces.items()}


def _read_row(row: Mapping[str, str]) -> list[LabelledFace]:
    """Return the face of a line, or none. ValueError where it cannot be read."""
    kind, ignore = row["kind"], row.get("ignore") == "1"
    if kind == "none":
        return []
    x, y = float(row["x"]), float(row["y"])
    if kind == "nose_point":
        return [LabelledFace(None, (x, y), ignore=ignore)]
    width, height = float(row["w"]), float(row["h"])
    if kind != "box" or not (width > 0 and height > 0):
        raise ValueError(f"no face: {kind} of {width:g} x {height:g} pixels")
    return [LabelledFace(Box(x, y, x + width, y + height), None, ignore=ignore)]


def _outcomes(photo: DetectedPhoto, min_iou: float, edges: Sequence[float]) -> list[tuple[str, str]]:
    """Return ("face" | "found" | "false", size bin) for everything in a photo that counts."""
    wanted = [face for face in photo.faces if not face.ignore]
    found = match_faces(wanted, photo.detections, min_iou=min_iou)
    outcomes = []
    for f, face in enumerate(wanted):
        box = face.box or (photo.detections[found[f]] if f in found else None)
        name = _bin_name(box, edges)
        outcomes += [("face", name), ("found", name)] if f in found else [("face", name)]
    ignored = [face for face in photo.faces if face.ignore]
    for d, box in enumerate(photo.detections):
        if d not in found.values() and not any(match_faces([face], [box], min_iou=min_iou) for face in ignored):
            outcomes.append(("false", _bin_name(box, edges)))
    return outcomes


def _size(box: Box) -> float:
    return float(np.sqrt(box.width * box.height))


def _bin_names(edges: Sequence[float]) -> list[str]:
    """Return the bins' names, smallest first, then "unknown"."""
    if not edges:
        return ["all", UNKNOWN_SIZE]
    between = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
    return [f"<{edges[0]:g}", *between, f">={edges[-1]:g}", UNKNOWN_SIZE]


def _bin_name(box: Box | None, edges: Sequence[float]) -> str:
    return UNKNOWN_SIZE if box is None else _bin_names(edges)[int(np.searchsorted(edges, _size(box), side="right"))]

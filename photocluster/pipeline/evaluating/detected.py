"""Detection against a table of the faces that are there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photocluster.errors import UsageError
from photocluster.evaluation import (
    DetectedPhoto,
    DetectionMeasures,
    Interval,
    detection_by_group,
    detection_intervals,
    detection_measures,
    match_faces,
    parse_labelled_faces,
)
from photocluster.pipeline.evaluating.known import Material, read_files


@dataclass(frozen=True, slots=True)
class Miss:
    """A face that was not found: `box` is x0, y0, x1, y1 and `size` the geometric mean of its sides, both in pixels.

    Where only the nose is known, that is `nose`, and there is no size.
    """

    image: str
    box: tuple[float, float, float, float] | None
    nose: tuple[float, float] | None
    size: float | None


@dataclass(frozen=True, slots=True, eq=False)
class DetectionEvaluation:
    """How well the detector found the labelled faces; `false_positives` lists (image, how many), most first."""

    measures: DetectionMeasures
    intervals: Mapping[str, Interval]
    groups: Mapping[str, DetectionMeasures]
    misses: tuple[Miss, ...]
    false_positives: tuple[tuple[str, int], ...]
    skipped: tuple[tuple[Path, str], ...]


def evaluate_detection(
    boxes: Path, root: Path, material: Material, *, min_iou: float, resamples: int, seed: int = 0
) -> DetectionEvaluation:
    """Scan the images of a table of labelled faces (`evaluation.parse_labelled_faces`) and compare.

    An image that is not there or cannot be read is among the skipped, and is not counted.

    Raises
    ------
    UsageError
        The table cannot be read, or none of its images is below `root`.
    """
    try:
        text = boxes.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{boxes}: the labelled faces cannot be read: {error}") from error
    labelled = parse_labelled_faces(text, source=str(boxes))
    root = Path(os.path.abspath(root))  # noqa: PTH100  resolve() would follow links
    paths = {image: Path(os.path.abspath(root / image)) for image in labelled}  # noqa: PTH100
    there = {path for path in paths.values() if path.is_file()}
    if not there:
        raise UsageError(
            f"{boxes}: none of its {len(paths)} images is below {root}; give the folder that the paths in the column "
            "image start from with --root"
        )
    known = read_files(sorted(there), root, material)
    photos = {
        image: DetectedPhoto(labelled[image], tuple(known.rows[i].detection.box for i in known.faces_of[path]))
        for image, path in paths.items()
        if path in known.faces_of
    }
    if not photos:
        raise UsageError(f"{boxes}: none of its images could be read; the first is {known.skipped[0][1]}")
    labels = [material.labels.of(paths[image], root) if material.labels else None for image in photos]
    everything = list(photos.values())
    false = {
        image: detection_measures([photo], min_iou=min_iou).total.false_positives for image, photo in photos.items()
    }
    return DetectionEvaluation(
        measures=detection_measures(everything, min_iou=min_iou),
        intervals=detection_intervals(everything, min_iou=min_iou, resamples=resamples, seed=seed),
        groups=detection_by_group(everything, [label.group if label else "" for label in labels], min_iou=min_iou),
        misses=tuple(miss for image, photo in photos.items() for miss in _misses(image, photo, min_iou)),
        false_positives=tuple(sorted(((i, n) for i, n in false.items() if n), key=lambda item: (-item[1], item[0]))),
        skipped=(*((path, "no such file") for path in paths.values() if path not in there), *known.skipped),
    )


def _misses(image: str, photo: DetectedPhoto, min_iou: float) -> list[Miss]:
    wanted = [face for face in photo.faces if not face.ignore]
    found = match_faces(wanted, photo.detections, min_iou=min_iou)
    misses = []
    for face in (face for i, face in enumerate(wanted) if i not in found):
        box = face.box
        corners = None if box is None else (box.x0, box.y0, box.x1, box.y1)
        size = None if box is None else round(float(np.sqrt(box.width * box.height)), 1)
        misses.append(Miss(image, corners, face.nose, size))
    return misses

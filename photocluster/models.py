"""The face detector (YuNet) and the face embedder (SFace), by onnxruntime, on one thread each.

Sessions are made when an object is, never at import (`sessions`). Both objects may be shared by threads: onnxruntime's
``run`` releases the interpreter and keeps no state.

YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023): input (1, 3, H, W) float32 BGR 0..255, H and
W multiples of 32; per stride 8, 16, 32 the class and objectness scores, box and landmark offsets. SFace (Zhong et al.,
"SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", 2021): input (N, 3, 112, 112) float32 RGB
0..255, output (N, 128).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photocluster import sessions
from photocluster.alignment import CROP_SIZE
from photocluster.records import EMBEDDING_DIM, Box, DecodedPhoto, Detection, FloatArray, ImageArray

DETECTOR_FILE = "yunet_2023mar.onnx"
EMBEDDER_FILE = "sface_2021dec.onnx"
MEAN_FILE = "sface_mean.txt"

STRIDES = (8, 16, 32)

DETECTION_METHOD = "pyramid-close-up-turned-2"
"""Names how `Detector` uses the network in a recipe; changed when it changes a box."""

DETECTION_THRESHOLD = 0.8
"""Least detector score. OpenCV's default of 0.9 loses profiles and faces with sunglasses or masks; at 0.7 the photos
without people show twice as many false faces as at 0.8 (``tests/test_models.py`` holds the recall)."""

PROPOSAL_THRESHOLD = 0.3
"""Least score of a face that is looked at again, enlarged: below, nine in ten proposals are texture."""

NMS_THRESHOLD = 0.4
"""Two boxes that overlap by more than this IoU are one face."""

NMS_CONTAINED = 0.8
"""A box of which this share lies in a better one is a part of that face: at too fine a size a face that fills the frame
is also seen as two, its upper and its lower half."""

DETECTION_SIZES = (320, 640, 2560)
"""Long sides, in pixels, of the pictures in which faces are looked for: 320 for a face that fills the frame (at more
the detector sees parts of it), 2560 for one of 20 pixels in 12 megapixels, there 13 high, 640 for what lies between.
1280 in place of 640 finds the same faces (all of 88 labelled ones in photos of 9 megapixels, and of those of 60 to 900
pixels pasted into 12) and takes a sixth more time; the finest look is three quarters of it, but without it, or where it
is skipped for want of proposals at 1280, half of the faces of 40 pixels are lost and nearly all below 34."""

SECURE_HEIGHT = 24
"""A face of fewer pixels than this in the picture where it was found is looked at again, enlarged: at 24 pixels the
detector finds .96 of the faces at its threshold, at 16 only .70 (same measurement)."""

CLOSE_UP_HEIGHT = 64
"""Height to which a face is enlarged for the second look, in pixels."""

CLOSE_UP_SIDE = 192
"""Side of the square picture of the second look: the face and as much again on each side, a multiple of 32."""

LYING_SIDE = 640
"""Long side, in pixels, up to which a picture without an upright face is looked at on its sides and upside down."""

LYING_THRESHOLD = 0.87
"""Least score of a face that lies, where none is upright. Higher than for upright faces, as three more looks at a photo
without people make three times the false ones: turned faces score .874 and more in the right turn's close-up (212 of
212, .90 for nineteen in twenty), animals and patterns less."""

SURELY_UPRIGHT = 0.92
"""Score from which on a face that looks upright is. Of 227 upright faces three in four score more; of 212 that the
detector took for upright faces after the photo had been turned, none more than .914. Among close-ups of all four turns
the right one had the best score for every one of these 439."""

MAX_CLOSE_UPS = 200
"""Second looks a photo, the most promising first: bounds the time that a photo of gravel takes."""


class Detector:
    """YuNet over a pyramid of sizes, merged by non-maximum suppression.

    Parameters
    ----------
    sizes
        Long sides of the pictures looked at, in pixels. YuNet sees faces of about 10 to 300 pixels in each. Sizes
        larger than the photo stand for the photo as it is.
    threshold
        Least score, 0..1.
    nms_threshold
        IoU above which two boxes are one face.
    turned
        Look for faces that lie on their side or hang upside down too.
    device
        One of `sessions.DEVICES`, see `sessions.providers`.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int] = DETECTION_SIZES,
        threshold: float = DETECTION_THRESHOLD,
        nms_threshold: float = NMS_THRESHOLD,
        turned: bool = True,
        device: str = "cpu",
    ) -> None:
        self.turned = turned
        self.sizes = tuple(sorted(sizes))
        self.threshold = threshold
        self.nms_threshold = nms_threshold
        self._session = sessions.session(sessions.weights_folder() / DETECTOR_FILE, device)
        self._give_back = sessions.giving_back_memory()

    def detect(
        self, rgb: ImageArray, *, scale: float = 1.0, finer: Callable[[], DecodedPhoto] | None = None
    ) -> list[Detection]:
        """Return the faces of a picture, best score first, coordinates divided by `scale`.

        Each size proposes faces; whether a small one is a face is decided by a second look at it, enlarged. (A large
        one is seen well enough at once: a second look only makes faces of patterns.) Where no face is found, or one
        lies, the picture is looked at on its sides and upside down. Landmarks are in the order of the upright face:
        that of one that hangs upside down has its left eye on the picture's right.

        Parameters
        ----------
        rgb
            uint8 (h, w, 3), upright.
        scale, finer
            As in `DecodedPhoto`: the size of `rgb` relative to the full photo, and a larger one in which to look again
            at what is small.
        """
        view = _View(rgb, scale, finer)
        pictures = self._pyramid(rgb)
        rows = self._faces(view, pictures, self.threshold)
        if self.turned:
            rows, some_lie = self._righted(view, rows)
            if some_lie or not len(rows):
                rows = np.concatenate([rows, self._lying(view, pictures)])
                rows, _ = self._merged(rows, rows[:, 14])
        rows[:, :14] /= scale
        return [
            Detection(Box(*(float(v) for v in row[:4])), float(row[14]), row[4:14].reshape(5, 2).copy()) for row in rows
        ]

    def _pyramid(self, rgb: ImageArray) -> list[ImageArray]:
        """Return the picture at all sizes, the largest first."""
        height, width = rgb.shape[:2]
        long_side = max(height, width)
        image = Image.fromarray(rgb)
        pictures = []
        for size in sorted({min(size, long_side) for size in self.sizes}, reverse=True):
            if size < long_side:
                ratio = size / long_side
                shape = (max(1, round(width * ratio)), max(1, round(height * ratio)))
                image = image.resize(shape, Image.Resampling.BILINEAR, reducing_gap=2.0)
            pictures.append(np.asarray(image))
        return pictures

    def _faces(self, view: _View, pictures: Sequence[ImageArray], threshold: float) -> FloatArray:
        """Return the faces (k, 15) in pixels of the view, best first, that the pictures of it show."""
        found, heights = [np.empty((0, 15), dtype=np.float32)], [np.empty(0, dtype=np.float32)]
        for picture in pictures:
            rows = self._raw(picture)
            heights.append(rows[:, 3] - rows[:, 1])
            rows[:, :14:2] *= view.rgb.shape[1] / picture.shape[1]
            rows[:, 1:14:2] *= view.rgb.shape[0] / picture.shape[0]
            found.append(rows)
        proposals, height = self._merged(np.concatenate(found), np.concatenate(heights))
        small = height < SECURE_HEIGHT
        close_ups = [self._look_again(view, row, threshold)[0] for row in proposals[small][:MAX_CLOSE_UPS]]
        rows = np.concatenate([proposals[~small & (proposals[:, 14] >= threshold)], *close_ups])
        return self._merged(rows, rows[:, 14])[0]

    def _lying(self, view: _View, pictures: Sequence[ImageArray]) -> FloatArray:
        """Return the faces (k, 15) of a picture that is turned by quarters, at the coarse sizes."""
        coarse = [picture for picture in pictures if max(picture.shape) <= LYING_SIDE] or pictures[-1:]
        found = []
        for quarters in (1, 2, 3):
            turned = [np.rot90(picture, quarters) for picture in coarse]
            rows = self._faces(view.turned(quarters), turned, LYING_THRESHOLD)
            found.append(_turned_back(rows, quarters, (view.rgb.shape[0], view.rgb.shape[1])))
        rows = np.concatenate(found)
        return self._merged(rows, rows[:, 14])[0]

    def _righted(self, view: _View, rows: FloatArray) -> tuple[FloatArray, bool]:
        """Look at faces that may lie in all four turns, and take the one in which they are seen best.

        An upside-down face is often seen as an upright one, with its eyes where the mouth is. Also returned is whether
        any lies: then others may, whom the detector did not see at all.
        """
        some_lie = False
        for index, row in enumerate(rows):
            if row[14] >= SURELY_UPRIGHT:
                continue
            upright, *others = self._look_again(view, row, self.threshold, range(4))
            turned = np.concatenate(others)
            best = int(turned[:, 14].argmax()) if len(turned) else 0
            if len(turned) and not (len(upright) and upright[0, 14] >= turned[best, 14]):
                rows[index], some_lie = turned[best], True
        return self._merged(rows, rows[:, 14])[0], some_lie

    def _merged(self, rows: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        kept = non_maximum_suppression(rows[:, :4], rows[:, 14], self.nms_threshold)
        return rows[kept], values[kept]

    def _look_again(
        self, view: _View, proposal: FloatArray, threshold: float, turns: Sequence[int] = (0,)
    ) -> list[FloatArray]:
        """Return the proposal as seen in an enlarged cut-out in each of some quarter turns.

        Each is (1, 15), or (0, 15) where no face is seen there.
        """
        x0, y0, x1, y1 = proposal[:4]
        enlargement = CLOSE_UP_HEIGHT / max(float(y1 - y0), 1.0)
        side = CLOSE_UP_SIDE / enlargement
        left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
        rgb, ratio = view.showing(float(y1 - y0), CLOSE_UP_HEIGHT)
        cut_out = np.asarray(cut(rgb, left * ratio, top * ratio, side * ratio))
        seen = []
        for quarters in turns:
            rows = _turned_back(self._raw(np.rot90(cut_out, quarters)), quarters, (CLOSE_UP_SIDE, CLOSE_UP_SIDE))
            rows[:, :14] /= enlargement
            rows[:, :14:2] += left
            rows[:, 1:14:2] += top
            centre = (rows[:, :2] + rows[:, 2:4]) / 2
            same = ((centre > proposal[:2]) & (centre < proposal[2:4])).all(axis=1) & (rows[:, 14] >= threshold)
            rows = rows[same]
            seen.append(rows[np.argsort(-rows[:, 14], kind="stable")[:1]])
        return seen

    def _raw(self, rgb: ImageArray) -> NDArray[np.float32]:
        """Return (k, 15) rows above the proposal threshold at one size: x0 y0 x1 y1, five landmarks, score."""
        height, width = rgb.shape[:2]
        padded_height, padded_width = -(-height // 32) * 32, -(-width // 32) * 32
        tensor = np.zeros((1, 3, padded_height, padded_width), dtype=np.float32)
        tensor[0, :, :height, :width] = rgb[:, :, ::-1].transpose(2, 0, 1)  # RGB -> BGR, (h, w, 3) -> (3, h, w)
        names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]
        outputs = dict(zip(names, self._session.run(names, {"input": tensor}, self._give_back), strict=True))
        rows = []
        for stride in STRIDES:
            cls, obj = outputs[f"cls_{stride}"][0, :, 0], outputs[f"obj_{stride}"][0, :, 0]
            score = np.sqrt(np.clip(cls, 0, 1) * np.clip(obj, 0, 1))
            (kept,) = np.nonzero(score >= min(PROPOSAL_THRESHOLD, self.threshold))
            columns = padded_width // stride
            grid = np.stack([kept % columns, kept // columns], axis=1).astype(np.float32)
            box = outputs[f"bbox_{stride}"][0, kept]
            centre = (grid + box[:, :2]) * stride
            half = np.exp(box[:, 2:]) * (stride / 2)
            points = (np.tile(grid, 5) + outputs[f"kps_{stride}"][0, kept]) * stride
            rows.append(np.column_stack([centre - half, centre + half, points, score[kept]]))
        return np.concatenate(rows).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A picture, turned by some quarters, its scale, and where the same is to be had larger; as in `DecodedPhoto`."""

    rgb: ImageArray
    scale: float
    finer: Callable[[], DecodedPhoto] | None
    quarters: int = 0

    def turned(self, quarters: int) -> _View:
        return _View(np.rot90(self.rgb, quarters), self.scale, self.finer, quarters)

    def showing(self, height: float, wanted: float) -> tuple[ImageArray, float]:
        """Return the picture to look at something in that has `height` pixels here, and its size relative to this."""
        if self.finer is None or height >= wanted:
            return self.rgb, 1.0
        finer = self.finer()
        return np.rot90(finer.rgb, self.quarters), finer.scale / self.scale


def _turned_back(rows: FloatArray, quarters: int, shape: tuple[int, int]) -> FloatArray:
    """Return rows (k, 15) found in ``np.rot90(picture, quarters)`` in pixels of the picture of `shape` (h, w)."""
    height, width = shape
    points = rows[:, :14].reshape(-1, 7, 2)
    x, y = points[:, :, 0], points[:, :, 1]
    back_x, back_y = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[quarters]
    turned = rows.copy()
    turned[:, :14:2], turned[:, 1:14:2] = back_x, back_y
    turned[:, :2], turned[:, 2:4] = np.minimum(turned[:, :2], turned[:, 2:4]), np.maximum(turned[:, :2], turned[:, 2:4])
    return turned


def cut(rgb: ImageArray, left: float, top: float, side: float) -> Image.Image:
    """Return a square of the picture, `side` pixels wide, resized to CLOSE_UP_SIDE; black outside the picture."""
    height, width = rgb.shape[:2]
    margin = 2
    x0, y0 = max(0, int(left) - margin), max(0, int(top) - margin)
    shift_x, shift_y = left - x0, top - y0
    x1, y1 = min(width, int(left + side) + margin + 1), min(height, int(top + side) + margin + 1)
    image = Image.fromarray(rgb[y0:y1, x0:x1])
    step = side / CLOSE_UP_SIDE
    if step >= 2:
        factor = int(step)
        image = image.reduce(factor)
        step, shift_x, shift_y = step / factor, shift_x / factor, shift_y / factor
    matrix = (step, 0.0, shift_x, 0.0, step, shift_y)
    return image.transform((CLOSE_UP_SIDE, CLOSE_UP_SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def non_maximum_suppression(boxes: FloatArray, scores: FloatArray, threshold: float) -> NDArray[np.intp]:
    """Return the indices of the boxes to keep, best score first (ties by position, so that the result is unique).

    Parameters
    ----------
    boxes
        (n, 4): x0 y0 x1 y1.
    scores
        (n,).
    threshold
        A box that overlaps a better one by more than this IoU goes, and so does one that lies in a better one.
    """
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -scores)) if len(boxes) else np.empty(0, dtype=np.intp)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        apart = shared <= threshold * (area[best] + area[rest] - shared)
        order = rest[apart & (shared <= NMS_CONTAINED * area[rest])]
    return np.array(kept, dtype=np.intp)


class Embedder:
    """SFace, its mean subtracted, with or without the mirror image added.

    Parameters
    ----------
    mirror
        Add the embedding of the mirrored crop before normalising; doubles the time.
    device
        One of `sessions.DEVICES`, see `sessions.providers`.
    """

    def __init__(self, *, mirror: bool = True, device: str = "cpu") -> None:
        self.mirror = mirror
        self.mean = load_mean(mirror=mirror)
        self._session = sessions.session(sessions.weights_folder() / EMBEDDER_FILE, device)

    def without_mirror(self) -> Embedder:
        """Return the same without the mirror image, on the same session."""
        other = copy(self)
        other.mirror, other.mean = False, load_mean(mirror=False)
        return other

    def raw(self, crops: ImageArray) -> FloatArray:
        """Return the model's own output (k, 128) float32 of uint8 crops (k, 112, 112, 3), not yet normalised."""
        crops = np.asarray(crops)
        if crops.shape[1:] != (CROP_SIZE, CROP_SIZE, 3) or crops.dtype != np.uint8:
            raise ValueError(f"crops must be uint8 (k, {CROP_SIZE}, {CROP_SIZE}, 3), not {crops.dtype} {crops.shape}")
        if not len(crops):
            return np.empty((0, EMBEDDING_DIM), dtype=np.float32)
        tensor = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        # One crop a call: no slower on a CPU, and a face's numbers then do not depend on its neighbours in the batch.
        return np.concatenate([self._session.run(["fc1"], {"data": crop[None]})[0] for crop in tensor])

    def embed(self, crops: ImageArray) -> tuple[FloatArray, FloatArray]:
        """Return the embeddings (k, 128) float32 of unit norm, and the raw norms (k,) float32 before normalisation.

        Parameters
        ----------
        crops
            uint8 (k, 112, 112, 3) RGB, aligned.
        """
        raw = self.raw(crops)
        return self.finished(raw, crops), np.linalg.norm(raw, axis=1)

    def finished(self, raw: FloatArray, crops: ImageArray) -> FloatArray:
        """Return the embeddings (k, 128) of crops whose own raw outputs are known."""
        if self.mirror:
            raw = raw + self.raw(crops[:, :, ::-1])
        return centre(raw, self.mean)


def unit(vectors: FloatArray) -> FloatArray:
    """Return the rows of (n, d) scaled to unit L2 norm."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, np.finfo(np.float32).tiny), dtype=np.float32)


def centre(raw: FloatArray, mean: FloatArray) -> FloatArray:
    """Return unit vectors (n, 128) of raw outputs: normalised, the mean (128,) subtracted, normalised again."""
    return unit(unit(raw) - mean)


def load_mean(*, mirror: bool) -> FloatArray:
    """Return the model's mean embedding (128,) float32, with or without the mirror image added.

    The file was made by ``examples/make_mean.py`` from one face each of 918 people.
    """
    columns = np.loadtxt(sessions.weights_folder() / MEAN_FILE, dtype=np.float32)
    return np.ascontiguousarray(columns[:, 1 if mirror else 0])


def mean_identity() -> str:
    """Return what names the mean vector in a recipe: the checksum of its file."""
    return "sha256:" + hashlib.sha256((sessions.weights_folder() / MEAN_FILE).read_bytes()).hexdigest()

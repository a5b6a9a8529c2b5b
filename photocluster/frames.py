"""Frames of libav as upright RGB pictures: turned, with square pixels, of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from photocluster.records import ImageArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def turn_of(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return how a frame is to be turned: rows and columns swapped, then left and right, then top and bottom.

    From the container's display matrix (a, b, u, c, d, v ...), which takes (x, y) to (ax + cy, bx + dy).
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d, *_ = np.frombuffer(bytes(cast("Any", data)), dtype=np.int32)[:9].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


ORIENTATIONS: Mapping[tuple[bool, bool, bool], int] = {
    (False, False, False): 1,
    (False, True, False): 2,
    (False, True, True): 3,
    (False, False, True): 4,
    (True, False, False): 5,
    (True, True, False): 6,
    (True, True, True): 7,
    (True, False, True): 8,
}
"""Turn -> EXIF orientation."""


def upright(rgb: ImageArray, turn: tuple[bool, bool, bool]) -> ImageArray:
    """Return a picture turned as `turn_of` says."""
    swapped, mirrored, flipped = turn
    turned = rgb.swapaxes(0, 1) if swapped else rgb
    return np.ascontiguousarray(turned[:: -1 if flipped else 1, :: -1 if mirrored else 1])


def square_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Return width and height of a frame, not yet turned, in square pixels: those of DV and AVCHD are not.

    `aspect` is width by height of a pixel, None where it is not known.
    """
    stretch = float(aspect) if aspect and 0.25 <= aspect <= 4 else 1.0
    return max(1, round(frame.width * stretch)), frame.height


class Developer:
    """Makes RGB of frames, one after the other; it keeps what libav needs for frames of the same kind."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter, self._small = VideoReformatter(), VideoReformatter()

    def picture(self, frame: VideoFrame, aspect: Fraction | None, longest_side: int | None) -> tuple[ImageArray, float]:
        """Return a frame in square pixels, no longer than `longest_side`, not yet turned; and its scale."""
        width, height = square_size(frame, aspect)
        longer = max(width, height)
        scale = min(1.0, (longest_side or longer) / longer)
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgb: ImageArray = np.asarray(self._reformatter.reformat(frame, *shape, format="rgb24").to_ndarray(), np.uint8)
        if frame.interlaced_frame and shape[1] == frame.height:
            rgb = one_field(rgb)
        return rgb, shape[0] / width

    def thumbnail(self, frame: VideoFrame) -> ImageArray:
        """Return a frame's luminance at 64 x 36 points, uint8, not averaged."""
        small = self._small.reformat(frame, 64, 36, format="gray", interpolation="POINT")
        return np.asarray(small.to_ndarray(), dtype=np.uint8)


def one_field(rgb: ImageArray) -> ImageArray:
    """Return an interlaced frame with every second row made of its neighbours: the rows are of two moments."""
    result = rgb.copy()
    end = len(rgb) - 1 - (len(rgb) % 2 == 0)
    result[1:end:2] = rgb[0 : end - 1 : 2] // 2 + rgb[2 : end + 1 : 2] // 2
    return result


def difference(a: ImageArray, b: ImageArray) -> float:
    """Return the mean absolute difference of two luminance pictures, 0..255."""
    return float(np.abs(a.astype(np.int16) - b).mean())

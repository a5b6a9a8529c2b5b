"""Tracking: which detections of successive frames are one person's; pure functions on values.

A link is judged by what the faces look like and by where they are: the distance of their embeddings, less a credit for
the overlap of their boxes. In each frame the links are chosen together, so that the sum of their costs is the least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from photocluster.records import Face, FloatArray

NEAR = 1.0
"""Greatest distance at which two faces are linked by their looks alone: in LFW strangers are 17 times as frequent
within 1.10, the threshold for any two photos, as within 1.00; and nobody looks over a track's links."""

OVERLAP_CREDIT = 0.25
"""What full overlap (IoU 1) of two boxes is worth, as a distance: a face that did not move may have turned away, up to
1.25, within which lies one stranger in a hundred (pairs of the celebrities of the examples' photos), and cuts from one
speaker to another in the same place are common."""

MAX_GAP = 5.0
"""Seconds for which a face may be out of sight and still be followed: to turn round, to pass behind somebody. Who comes
back later begins a new track."""

MAX_KEPT = 3
"""Faces that are kept of a track: the best one, and two at other times, which show the person in another pose."""

APART = 1.5
"""Seconds by which the kept faces of a track lie apart at the least: the next frame shows the same again."""

WORTH_KEEPING = 0.5
"""The second and third face of a track have at least this share of the first one's quality."""

TOGETHER = 0.1
"""Quality that a face is credited with if another track's kept face is in the same frame: two faces of one frame are
known to be two people."""


@dataclass(slots=True, eq=False)
class Track:
    """One person's faces, as followed from frame to frame: (frame, face), in the order of time."""

    faces: list[tuple[int, Face]] = field(default_factory=list)
    _sum: FloatArray = field(default_factory=lambda: np.zeros(1, dtype=np.float32))
    _scene: int = 0

    @property
    def last(self) -> Face:
        """The newest face."""
        return self.faces[-1][1]

    def add(self, frame: int, face: Face, scene: int) -> None:
        """Append a face; its quality is its weight in what the track looks like."""
        self.faces.append((frame, face))
        self._sum = self._sum + (0.1 + face.quality.overall) * face.embedding
        self._scene = scene

    def cost(self, face: Face, scene: int) -> float:
        """Return the distance of a face to the track, less the credit for overlap within a scene."""
        mean = self._sum / max(float(np.linalg.norm(self._sum)), 1e-12)
        likeness = max(float(mean @ face.embedding), float(self.last.embedding @ face.embedding))
        overlap = self.last.detection.box.iou(face.detection.box) if scene == self._scene else 0.0
        return float(np.sqrt(max(0.0, 2 - 2 * likeness))) - OVERLAP_CREDIT * overlap


class Tracker:
    """Follows faces. Give it the frames in the order of time.

    Attributes
    ----------
    tracks
        All tracks, in the order in which they began.
    max_gap
        Seconds for which a face may be out of sight and still be followed.
    """

    def __init__(self, *, max_gap: float = MAX_GAP) -> None:
        self.tracks: list[Track] = []
        self.max_gap = max_gap
        self._times: list[float] = []
        self._scene = 0

    def add(self, time: float, faces: Sequence[Face], *, new_scene: bool) -> list[Track]:
        """Take the faces of the next frame; return the track of each."""
        self._scene += new_scene
        frame = len(self._times)
        self._times.append(time)
        open_tracks = [t for t in self.tracks if time - self._times[t.faces[-1][0]] <= self.max_gap]
        linked = _links(open_tracks, faces, self._scene)
        result = []
        for i, face in enumerate(faces):
            track = linked.get(i)
            if track is None:
                track = Track()
                self.tracks.append(track)
            track.add(frame, face, self._scene)
            result.append(track)
        return result


def _links(tracks: Sequence[Track], faces: Sequence[Face], scene: int) -> dict[int, Track]:
    """Return face -> its track, for the faces that have one."""
    from scipy.optimize import linear_sum_assignment

    if not tracks or not faces:
        return {}
    costs = np.array([[track.cost(face, scene) for face in faces] for track in tracks])
    # What may not be linked costs the same everywhere, so that it does not weigh in the choice among the rest.
    rows, columns = linear_sum_assignment(np.minimum(costs, NEAR))
    return {int(j): tracks[i] for i, j in zip(rows, columns, strict=True) if costs[i, j] <= NEAR}


def best_faces(tracks: Sequence[Track], times: Sequence[float]) -> list[list[tuple[int, Face]]]:
    """Return up to `MAX_KEPT` (frame, face) of each track: good ones, at different times, in the order of time.

    Parameters
    ----------
    tracks
        Of one clip.
    times
        Seconds, of each frame.
    """
    kept: dict[int, list[tuple[int, Face]]] = {}
    frames: set[int] = set()
    by_quality = sorted(range(len(tracks)), key=lambda i: (-max(_qualities(tracks[i])), i))
    for i in by_quality:
        best = max(_qualities(tracks[i]))
        candidates = sorted(
            tracks[i].faces, key=lambda f: (-(f[1].quality.overall + TOGETHER * (f[0] in frames)), f[0])
        )
        chosen: list[tuple[int, Face]] = []
        for frame, face in candidates:
            apart = all(abs(times[frame] - times[other]) >= APART for other, _ in chosen)
            if len(chosen) < MAX_KEPT and apart and face.quality.overall >= WORTH_KEEPING * best:
                chosen.append((frame, face))
        kept[i] = sorted(chosen, key=lambda f: f[0])
        frames |= {frame for frame, _ in chosen}
    return [kept[i] for i in range(len(tracks))]


def _qualities(track: Track) -> list[float]:
    return [face.quality.overall for _, face in track.faces]

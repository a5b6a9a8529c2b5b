"""From a video to its faces: sample, look, follow, and keep the best few faces of each track.

All that a clip adds to a library is a handful of faces for each person whom it shows: what `tracking.best_faces` keeps
of each track, with the time of its frame. The other frames show the same again. So the mirror image of a face, half of
what an embedding costs, is looked at only where the face is kept: to follow somebody from frame to frame, and to say
how good a face is, the face alone will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from photocluster import video
from photocluster.pipeline.analysis import Analyser, SeenFace, Stopwatch
from photocluster.records import Face, FloatArray, PhotoFacts
from photocluster.tracking import MAX_GAP, Tracker, best_faces

MAX_CROPS = 2000
"""Crops that are held of a clip, 75 MB: what 17 minutes of two people make. When there are more, all get their final
embeddings, and the crops are given up."""


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """What a clip says and shows: its facts, and the faces kept, each with time and track, by time.

    `samples` frames were looked at, in which `seen` faces were followed on `tracks` tracks.
    """

    facts: PhotoFacts
    faces: list[Face]
    samples: int
    seen: int
    tracks: int


def analyse_video(
    path: Path,
    analyser: Analyser,
    watch: Stopwatch,
    *,
    interval: float = video.INTERVAL,
    alive: Callable[[], None] | None = None,
) -> Footage:
    """Return what a clip shows; tracks of which no face is any good are left out (`Follower.kept`).

    Parameters
    ----------
    path
        The clip.
    analyser
        Finds the faces of a frame.
    watch
        Is given the CPU seconds by stage.
    interval
        Seconds between two samples, see `video.Clip.sample`.
    alive
        Called after each sample, and now and then in between: the work goes on.

    Raises
    ------
    PhotoError
        The clip cannot be used.
    """
    watch.start()
    follower = Follower(analyser)
    with video.Clip(path, alive=alive) as clip:
        watch.stop("decode")
        for sample in clip.sample(interval):
            watch.stop("decode")
            follower.tracker.max_gap = max(MAX_GAP, 2.5 * clip.interval)
            follower.add(sample, watch)
            if alive is not None:
                alive()
        facts = clip.facts
        watch.stop("decode")
    found = [
        replace(face, time=round(follower.times[frame], 3), track=number)
        for number, faces in enumerate(faces for faces in follower.kept() if faces)
        for frame, face in faces
    ]
    watch.stop("embed")
    found.sort(key=lambda face: (face.time, face.track))
    return Footage(facts, found, len(follower.times), follower.seen, len(follower.tracker.tracks))


class Follower:
    """Follows the faces of a clip, each by the embedding of the face alone, and finishes those that are kept.

    Attributes
    ----------
    tracker
        Has the tracks.
    times
        Seconds, of each frame.
    seen
        Faces followed.
    """

    def __init__(self, analyser: Analyser) -> None:
        self.times: list[float] = []
        self.seen = 0
        self.tracker = Tracker()
        self._analyser = analyser
        self._unfinished: dict[Face, SeenFace] = {}
        self._embeddings: dict[Face, FloatArray] = {}

    def add(self, sample: video.Sample, watch: Stopwatch) -> None:
        """Take the next frame."""
        found = self._analyser.of_frames.look(sample.picture, watch)
        watch.start()
        self.tracker.add(sample.time, [seen.face for seen in found], new_scene=sample.new_scene)
        self.times.append(sample.time)
        self.seen += len(found)
        if self._analyser.mirror:
            self._unfinished.update((seen.face, seen) for seen in found if seen.face.quality.overall > 0)
        watch.stop("track")
        if len(self._unfinished) > MAX_CROPS:
            self._finish(list(self._unfinished))
            watch.stop("embed")

    def kept(self) -> list[list[tuple[int, Face]]]:
        """Return the (frame, face) that are kept of each track, with the embeddings that a photo's faces have.

        None are kept of a track of which no face has a quality above 0: those are as far from themselves at full size
        as strangers are (`quality.LOWEST_NORM`), and a street scene has hundreds.
        """
        kept = [
            [(frame, face) for frame, face in faces if face.quality.overall > 0]
            for faces in best_faces(self.tracker.tracks, self.times)
        ]
        self._finish([face for faces in kept for _, face in faces if face in self._unfinished])
        return [
            [(frame, replace(face, embedding=self._embeddings.get(face, face.embedding))) for frame, face in faces]
            for faces in kept
        ]

    def _finish(self, faces: Sequence[Face]) -> None:
        """Note the final embeddings of faces."""
        if faces:
            seen = [self._unfinished.pop(face) for face in faces]
            raw, crops = np.stack([one.raw for one in seen]), np.stack([one.crop for one in seen])
            embeddings = self._analyser.embedder.finished(raw, crops)
            self._embeddings.update(zip(faces, embeddings, strict=True))

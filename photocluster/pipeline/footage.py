"""From a video to its faces: sample, look, follow, and keep the best few faces of each track.

All that a clip adds to a library is a handful of faces for each person whom it shows: what `tracking.best_faces` keeps
of each track, with the time of its frame. The other frames show the same again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from photocluster import video
from photocluster.pipeline.analysis import Analyser, Stopwatch
from photocluster.records import Face, PhotoFacts
from photocluster.tracking import MAX_GAP, Tracker, best_faces


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
    """Return what a clip shows.

    Tracks of which no face has a quality above 0 are left out: those faces are as far from themselves at full size as
    strangers are (`quality.LOWEST_NORM`), and a street scene has hundreds.

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
    looking = analyser.of_frames
    tracker: Tracker | None = None
    times: list[float] = []
    seen = 0
    with video.Clip(path, alive=alive) as clip:
        watch.stop("decode")
        for sample in clip.sample(interval):
            watch.stop("decode")
            tracker = tracker or Tracker(max_gap=max(MAX_GAP, 2.5 * clip.interval))
            faces = looking.faces(sample.picture, watch)
            watch.start()
            tracker.add(sample.time, faces, new_scene=sample.new_scene)
            watch.stop("track")
            times.append(sample.time)
            seen += len(faces)
            if alive is not None:
                alive()
        facts = clip.facts
        watch.stop("decode")
    tracks = tracker.tracks if tracker is not None else []
    kept = [faces for faces in best_faces(tracks, times) if any(face.quality.overall > 0 for _, face in faces)]
    found = [
        replace(face, time=round(times[frame], 3), track=number)
        for number, faces in enumerate(kept)
        for frame, face in faces
    ]
    watch.stop("track")
    found.sort(key=lambda face: (face.time, face.track))
    return Footage(facts, found, len(times), seen, len(tracks))

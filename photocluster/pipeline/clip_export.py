"""A video with boxes and names drawn in.

The clip is gone through twice: first the faces are found a few times a second, followed, and each track is named; then
every frame is drawn, with boxes that move between the places where a face was seen, and encoded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photocluster import video
from photocluster.errors import UsageError
from photocluster.identification import UNKNOWN, Identification, People
from photocluster.overlay import Caption, draw, font_for, written
from photocluster.pipeline.analysis import Analyser, Stopwatch, recipe
from photocluster.pipeline.clip_writing import ClipWriter
from photocluster.pipeline.footage import Follower
from photocluster.pipeline.recognition import Comparing, known_people, read_word
from photocluster.pipeline.targets import person_id
from photocluster.records import Box, Face, FaceRow, Source
from photocluster.store import Library
from photocluster.tracking import Track

LOOK_EVERY = 0.2
"""Seconds between two looks: who walks moves by about the width of a head in that time, so that boxes overlap from look
to look, and a straight line between them follows the face."""

HELD = 0.5
"""Seconds over which a box moves on between two sightings, while the face was not found in between: longer, and it
would float where nobody is."""

HOLD = LOOK_EVERY / 2 + 1e-3
"""Seconds over which a box stays before the first and after the last sighting: to the middle between two looks."""

SAME_PLACE_IOU = 0.5
"""Overlap with a face of the library, in the same frame, from which on it is that face (as in `restoring`)."""

SAME_FRAME = LOOK_EVERY
"""Seconds within which a face of the library is looked for on a track."""

UNKNOWN_WORD = "unknown"

Progress = Callable[[str, float, float], None]
"""Takes what is being done, the seconds of the clip that are done, and all of them."""


@dataclass(frozen=True, slots=True)
class ClipSummary:
    """What was written: the file, its seconds and frames, tracks followed, and how many of them each person has.

    `unknown` tracks have no name. `unwritable`: names with letters that no font here has. `codec` is that of the
    pictures; `sound` is "copied", "converted" or "none".
    """

    path: Path
    seconds: float
    frames: int
    tracks: int
    unknown: int
    by_person: tuple[tuple[str, int], ...]
    unwritable: tuple[str, ...]
    codec: str
    sound: str


@dataclass(frozen=True, slots=True)
class _Path:
    """Where a track's box is, and who it is: the times and boxes of its sightings, and the scene of each."""

    name: str | None
    times: list[float]
    boxes: list[Box]
    scenes: list[int]


def export_clip(
    library: Library,
    clip: Path,
    out: Path,
    *,
    persons: Sequence[str] = (),
    comparing: Comparing | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> ClipSummary:
    """Write a clip as MP4 with a box at each face, and the name or "unknown" at each box.

    A track has the name that the user or an import gave one of its faces, if the clip is in the library; else the one
    that its best faces are identified as by the library's names, nobody twice in a frame.

    Parameters
    ----------
    clip
        A video; it need not be in the library.
    out
        The file to write, ending in .mp4.
    persons
        Draw only these; nobody unknown then.
    comparing
        How faces are compared with persons.
    device
        What the models run on, see `sessions.DEVICES`.
    progress
        Told how far it is.

    Raises
    ------
    UsageError
        `out` cannot be written there: it is the clip itself, or another file of the library.
    UnknownName
        Nobody has one of these names.
    PhotoError
        The clip cannot be used.
    RecipeMismatch
        The library was made with other models.
    """
    _refuse(library, clip, out)
    only = {library.names.name(person_id(library, name)) for name in persons}
    tell = progress or (lambda _what, _done, _all: None)
    mirror = library.recipe.mirror
    library.require(recipe(mirror=mirror))
    follower, scenes = _follow(clip, Analyser(mirror=mirror, device=device), tell)
    tracks, times = follower.tracker.tracks, follower.times
    names = _names(library, clip, follower, comparing or Comparing())
    ways = [_way(track, name, times, scenes) for track, name in zip(tracks, names, strict=True) if name != ""]
    shown = [way for way in ways if not only or way.name in only]
    writer = _write(clip, out, shown, times, scenes, tell)
    found = Counter(name for name in names if name)
    return ClipSummary(
        out,
        round(writer.seconds, 3),
        writer.frames,
        len(ways),
        sum(way.name is None for way in ways),
        tuple(sorted(found.items(), key=lambda item: (-item[1], item[0]))),
        tuple(sorted(name for name in found if written(name, font_for(name, 30)) != name)),
        writer.codec,
        writer.sound,
    )


def _refuse(library: Library, clip: Path, out: Path) -> None:
    if out.suffix.lower() != ".mp4":
        raise UsageError(f"{out} must end in .mp4: that is what is written")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}; create it first, or write elsewhere")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file in it")
    if not out.exists():
        return
    if clip.exists() and out.samefile(clip):
        raise UsageError(f"{out} is the clip itself; originals are never written to: name another file")
    if library.photos.hash_of(out.absolute()) is not None:
        raise UsageError(f"{out} is a file of the library; originals are never written to: name another file")


def _follow(clip: Path, analyser: Analyser, tell: Progress) -> tuple[Follower, list[int]]:
    """Follow the faces of a clip; return them with the scene of each look."""
    follower = Follower(analyser)
    scenes: list[int] = []
    watch = Stopwatch()
    with video.Clip(clip) as opened:
        for sample in opened.sample(LOOK_EVERY, most=None):
            follower.add(sample, watch)
            scenes.append((scenes[-1] if scenes else 0) + sample.new_scene)
            tell("looking", sample.time, opened.facts.duration or 0.0)
    return follower, scenes


def _names(library: Library, clip: Path, follower: Follower, comparing: Comparing) -> list[str | None]:
    """Return the name of each track, None for unknown, "" for whom the user ignores."""
    tracks, times = follower.tracker.tracks, follower.times
    word = read_word(library)
    people = known_people(library, word, comparing)
    result: list[str | None] = [None] * len(tracks)
    of_clip = library.faces.of_hash(video.content_hash(clip))
    ignored = library.names.ignored()
    said: set[int] = set()
    for row in of_clip:
        number = _track_at(row, tracks, times)
        if number is None:
            continue
        if row.face in ignored:
            result[number] = ""
            said.add(number)
        elif row.source in {Source.USER, Source.IMPORTED}:
            result[number] = row.person
            said.add(number)
    frames = [{frame for frame, _ in track.faces} for track in tracks]
    taken = [(result[number], frames[number]) for number in said]
    for _, person, number in sorted(_candidates(people, follower.kept(), comparing, said)):
        name = word.names[person]
        if not any(name == other and there & frames[number] for other, there in taken):
            result[number] = name
            taken.append((name, frames[number]))
    return result


def _track_at(row: FaceRow, tracks: Sequence[Track], times: Sequence[float]) -> int | None:
    """Return the track on which a face of the library lies, or None."""
    if row.time is None:
        return None
    overlaps = [
        (row.detection.box.iou(face.detection.box), number)
        for number, track in enumerate(tracks)
        for frame, face in track.faces
        if abs(times[frame] - row.time) <= SAME_FRAME
    ]
    best, number = max(overlaps, default=(0.0, 0))
    return number if best >= SAME_PLACE_IOU else None


def _candidates(
    people: People, kept: Sequence[Sequence[tuple[int, Face]]], comparing: Comparing, said: Collection[int]
) -> list[tuple[float, int, int]]:
    """Return (distance, person, track) of the tracks whose best faces are identified as one person, and no other."""
    found = []
    for number, faces in enumerate(kept):
        if number in said or not faces:
            continue
        answers = people.identify(np.stack([face.embedding for _, face in faces]), margin=comparing.margin)
        person, distance = _agreed(answers)
        if person != UNKNOWN:
            found.append((distance, person, number))
    return found


def _agreed(answers: Identification) -> tuple[int, float]:
    """Return whom all faces that are identified as somebody are identified as, and the least distance."""
    known = answers.person != UNKNOWN
    persons = set(answers.person[known].tolist())
    return (persons.pop(), float(answers.distance[known].min())) if len(persons) == 1 else (UNKNOWN, 0.0)


def _way(track: Track, name: str | None, times: Sequence[float], scenes: Sequence[int]) -> _Path:
    frames = [frame for frame, _ in track.faces]
    boxes = [face.detection.box for _, face in track.faces]
    return _Path(name, [times[frame] for frame in frames], boxes, [scenes[frame] for frame in frames])


def box_at(way: _Path, time: float, scene: int) -> Box | None:
    """Return where a track's box is at a time: between two sightings on the straight line, else where it was last."""
    after = bisect_right(way.times, time)
    earlier = after - 1 if after and way.scenes[after - 1] == scene else None
    later = after if after < len(way.times) and way.scenes[after] == scene else None
    if earlier is not None and later is not None and way.times[later] - way.times[earlier] <= HELD:
        share = (time - way.times[earlier]) / (way.times[later] - way.times[earlier])
        return _between(way.boxes[earlier], way.boxes[later], share)
    if earlier is not None and time - way.times[earlier] <= HOLD:
        return way.boxes[earlier]
    if later is not None and way.times[later] - time <= HOLD:
        return way.boxes[later]
    return None


def _between(a: Box, b: Box, share: float) -> Box:
    corners = ((a.x0, b.x0), (a.y0, b.y0), (a.x1, b.x1), (a.y1, b.y1))
    return Box(*(one + share * (other - one) for one, other in corners))


def _write(
    clip: Path, out: Path, ways: Sequence[_Path], times: Sequence[float], scenes: Sequence[int], tell: Progress
) -> ClipWriter:
    with video.Clip(clip, longest_side=None) as opened, ClipWriter(out, opened) as writer:
        for time, frame in opened.frames():
            scene = scenes[max(0, bisect_right(times, time) - 1)] if scenes else 0
            writer.add(time, draw(opened.picture(frame).rgb, list(_captions(ways, time, scene))))
            tell("drawing", time, opened.facts.duration or 0.0)
        writer.finish()
    return writer


def _captions(ways: Sequence[_Path], time: float, scene: int) -> Iterable[Caption]:
    for way in ways:
        box = box_at(way, time, scene)
        if box is not None:
            yield Caption(box, way.name or UNKNOWN_WORD, named=way.name is not None)

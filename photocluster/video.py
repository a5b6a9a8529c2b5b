"""Videos: tell them by content, read what their container says, sample upright RGB frames. No model, no library.

PyAV (libav) decodes, on one thread: clips are worked on in parallel. The demuxer is chosen by the content, as
`is_video` sees it, and reads from an open file: libav guesses nothing from names, and opens no other file or address
that a playlist might name. All functions may be called from several threads at once, each with a `Clip` of its own.

Which frames are decoded: where the keyframes lie close enough together for the interval that is wanted (those of
cameras do, at a second or less), only they; else all, of which the frames that are due are converted. A frame that
differs much from the one looked at before begins a new scene, and is sampled although it is not due.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from photocluster.containers import HEAD, camera, captured_at, format_of, refuse_unusable
from photocluster.errors import PhotoTooLarge, UndecodablePhoto, UnreadableFile
from photocluster.frames import ORIENTATIONS, Developer, difference, square_size, turn_of, upright
from photocluster.records import DecodedPhoto, ImageArray, PhotoFacts

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

INTERVAL = 1.0
"""Seconds between two samples, by default. Who comes into a home video stays for seconds; and cameras set a keyframe a
second or oftener, so that nothing else need be decoded."""

MIN_SAMPLES = 4
"""Samples of a clip that is shorter than so many intervals: its first frame alone may well be black, or blurred."""

MAX_SAMPLES = 1800
"""Samples of one clip, half an hour's at the default interval: a longer clip is sampled at longer intervals. Who plays
a part in a longer film is in view for more than the few seconds that this makes of the interval, and a recording that
ran for a day does not hold up a scan of photos for hours."""

FRAME_SIDE = 1920
"""Long side, in pixels, to which larger frames are reduced: that of Full HD. The details of 4K are beyond what motion
and compression leave of a face, and take four times the time."""

MAX_FRAME_PIXELS = 8192 * 4352
"""Pixels of a frame: the most that H.264 and H.265 allow at their highest levels (6.2). A decoder keeps up to 16 frames
of 1.5 to 3 bytes a pixel."""

SCENE_CHANGE = 27.0
"""Mean difference of luminance, 0..255, from which on a frame begins a new scene: the default of PySceneDetect's
ContentDetector."""

PROBED_SECONDS = 30.0
"""Seconds at the beginning of a clip by which its keyframes are judged."""

PROBED_KEYFRAMES = 12
"""Keyframes by which it is judged, at the most: where they are so close, that is soon seen."""

SAME_TIME = 1e-3
"""Seconds by which two times of one frame may differ: times are kept in milliseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A frame of a clip: its time in seconds from the start, the upright picture, whether a new scene began."""

    time: float
    picture: DecodedPhoto
    new_scene: bool


def is_video(head: bytes) -> bool:
    """Whether the content that begins with `head` (`HEAD` bytes suffice) is a video, whatever the file is called."""
    return format_of(head) is not None


def sniff(path: Path) -> bool:
    """Whether the file is a video; only its first bytes are read.

    Raises
    ------
    UnreadableFile
        It cannot be opened or read.
    """
    with _opened(path) as file:
        try:
            return is_video(file.read(HEAD))
        except OSError as error:
            raise _unreadable(path, error) from error


def content_hash(path: Path, *, alive: Callable[[], None] | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal, a piece of it in memory at a time.

    Parameters
    ----------
    path
        The file.
    alive
        Called after each piece: the work goes on.

    Raises
    ------
    UnreadableFile
        It is missing, locked, or no regular file.
    """
    with _opened(path) as file:
        try:
            digest = hashlib.sha256()
            while piece := file.read(_PIECE):
                digest.update(piece)
                if alive is not None:
                    alive()
            return digest.hexdigest()
        except OSError as error:
            raise _unreadable(path, error) from error


_PIECE = 16 * 2**20
"""Bytes that are hashed at a time, and after which a sign of life is given: less than seconds of a slow disk."""


def _opened(path: Path) -> BufferedReader:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: a pipe would wait for its writer
            raise UnreadableFile(f"{path} is no regular file")
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UnreadableFile:
    return UnreadableFile(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")


class Clip:
    """An open video. Use it in a `with`.

    Parameters
    ----------
    path
        A file that `is_video` knows.
    longest_side
        Frames are reduced to this long side, in pixels, where they are larger; None keeps their size.
    alive
        Called now and then while the clip is gone through: the work goes on.

    Attributes
    ----------
    facts
        Size of the upright frame in square pixels, time, camera, duration; see `PhotoFacts`. A duration that the
        container does not say is 0 until the frames have been gone through.
    interval
        Seconds between samples, as `sample` found it best.

    Raises
    ------
    UnreadableFile
        The file cannot be opened or read.
    UndecodablePhoto
        It is damaged or cut off, encrypted, without pictures, or of a codec that libav does not have.
    PhotoTooLarge
        Its frames have more than `MAX_FRAME_PIXELS`.
    """

    def __init__(
        self, path: Path, *, longest_side: int | None = FRAME_SIDE, alive: Callable[[], None] | None = None
    ) -> None:
        self.path = path
        self.longest_side = longest_side
        self.interval = INTERVAL
        self._alive = alive or (lambda: None)
        self._file = _opened(path)
        self._developer = Developer()
        try:
            self._name, self._demuxer = self._recognised()
            self.rewind()
            first = self._first_frame()
            self._turn = turn_of(first)
            self.facts = self._facts(first)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with suppress(AttributeError):
            self.container.close()
        self._file.close()

    @property
    def stream(self) -> VideoStream:
        """The stream that is decoded: of several the default one, the largest of these; never a cover picture."""
        return self._stream

    def _recognised(self) -> tuple[str, str]:
        try:
            size = self._file.seek(0, 2)
            self._file.seek(0)
            head = self._file.read(HEAD)
            found = format_of(head)
            if found is None:
                raise UndecodablePhoto("of no known video format")
            if found[1] == "mov":
                refuse_unusable(self._file, size)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return found

    def rewind(self) -> None:
        """Open the container anew, to be gone through from its beginning; its streams are others then."""
        import av

        if hasattr(self, "container"):
            self.container.close()
        self._file.seek(0)
        try:
            self.container: InputContainer = av.open(
                self._file, "r", format=self._demuxer, metadata_errors="replace", buffer_size=1 << 20
            )
            self._stream = _chosen(self.container)
        except av.FFmpegError as error:
            raise UndecodablePhoto(f"damaged or cut off: {_one_line(error)}") from error
        context = self._stream.codec_context
        context.thread_count = 1
        if context.width * context.height > MAX_FRAME_PIXELS:
            raise PhotoTooLarge(
                f"too large: frames of {context.width} x {context.height} pixels, more than the limit of "
                f"{MAX_FRAME_PIXELS / 1e6:.0f} million"
            )

    def _first_frame(self) -> VideoFrame:
        for packet in self._packets():
            for frame in self._decoded(packet):
                return frame
        raise UndecodablePhoto("damaged: no frame of it can be decoded")

    def _keyframes_suffice(self, interval: float) -> bool:
        """Whether at the clip's beginning less than a tenth of the time lies between keyframes too far apart."""
        self.rewind()
        times: list[float] = []
        end = 0.0
        for packet in self._packets():
            time = self._seconds(packet.pts if packet.pts is not None else packet.dts)
            if time is None:
                continue
            end = max(end, time)
            if packet.is_keyframe:
                times.append(time)
            if time > PROBED_SECONDS or len(times) > PROBED_KEYFRAMES:
                break
        gaps = np.diff([*sorted(times), end])
        return len(times) > 1 and float(gaps[gaps > 1.5 * interval].sum()) <= 0.1 * end

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield the packets of the stream, up to where the file is damaged beyond going on; the last one is empty."""
        import av

        size = 0
        try:
            for packet in self.container.demux(self._stream):
                size += packet.size
                if size > _PIECE:
                    size = 0
                    self._alive()
                yield packet
        except av.FFmpegError:
            return

    def _decoded(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """Return the frames that a packet brings to light: none where it is damaged."""
        import av

        try:
            frames = self._stream.codec_context.decode(packet if packet.size else None)
        except (av.FFmpegError, EOFError):
            return []
        return [frame for frame in frames if not frame.is_corrupt]

    def _seconds(self, pts: int | None) -> float | None:
        """Return a time stamp in seconds from the clip's start."""
        if pts is None or self._stream.time_base is None:
            return None
        return float((pts - (self._stream.start_time or 0)) * self._stream.time_base)

    def frames(self) -> Iterator[tuple[float, VideoFrame]]:
        """Yield (time in seconds, frame) of all frames that can be decoded, from the beginning."""
        self.rewind()
        yield from self._timed(self._packets())

    def _timed(
        self, packets: Iterator[Packet[VideoStream]], *, from_start: bool = True
    ) -> Iterator[tuple[float, VideoFrame]]:
        """Yield (time, frame); one without a time stamp follows the one before it, where its time is known."""
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        last = -1 / rate if from_start else None
        for packet in packets:
            for frame in self._decoded(packet):
                time = self._seconds(frame.pts)
                if time is None and last is not None:
                    time = last + 1 / rate
                last = time
                if time is not None:
                    yield time, frame

    def sample(self, interval: float = INTERVAL, *, most: int | None = MAX_SAMPLES) -> Iterator[Sample]:
        """Yield frames about `interval` seconds apart, in the order of time, and those that begin a scene.

        Of a short clip there are `MIN_SAMPLES`; the interval grows where there would be more than `most` (None: it does
        not). What cannot be decoded is left out.
        """
        duration = self.facts.duration or 0.0
        if duration:
            interval = max(min(interval, duration / MIN_SAMPLES), duration / most if most else 0.0)
        self.interval = interval
        only_keys = self._keyframes_suffice(interval)
        self.rewind()
        packets = self._key_packets(interval / 4) if only_keys else self._packets()
        early = interval / 4 if only_keys else 0.0
        due, looked_at, taken, end = 0.0, -interval, 0, 0.0
        before: ImageArray | None = None
        for time, frame in self._timed(packets):
            end = max(end, time)
            if time < looked_at + interval / 4 and time < due - early:
                continue
            looked_at = time
            small = self._developer.thumbnail(frame)
            new_scene = before is None or difference(before, small) >= SCENE_CHANGE
            before = small
            if time < due - early and not (new_scene and (most is None or taken < most)):
                continue
            due = max(due + interval, time + interval / 2)
            taken += 1
            if most is not None and taken % (2 * most) == 0:
                self.interval = interval = 2 * interval  # a clip that does not say how long it is
            yield Sample(max(time, 0.0), self.picture(frame), new_scene)
        if not duration:
            self.facts = replace(self.facts, duration=end)

    def _key_packets(self, apart: float) -> Iterator[Packet[VideoStream]]:
        """Yield the packets of keyframes that lie a time apart, and the empty one at the end."""
        self._stream.codec_context.skip_frame = "NONKEY"
        last = -apart
        for packet in self._packets():
            time = self._seconds(packet.pts if packet.pts is not None else packet.dts)
            if packet.size and (not packet.is_keyframe or (time is not None and time < last + apart)):
                continue
            last = last if time is None else time
            yield packet

    def at(self, times: Sequence[float]) -> Iterator[tuple[float, DecodedPhoto]]:
        """Yield (time, picture) of the frames that are shown at some times, ascending: those of `Sample` again.

        Raises
        ------
        UndecodablePhoto
            There is no such frame (any more).
        """
        for time in sorted(set(times)):
            frame = self._frame_at(time)
            if frame is None:
                raise UndecodablePhoto(f"damaged: no frame at {time:.3f} s can be decoded")
            yield time, self.picture(frame)

    def _frame_at(self, time: float) -> VideoFrame | None:
        """Return the frame that is shown from a time on: found by seeking, else by going through from the start."""
        import av

        base = self._stream.time_base
        if base is not None and time > 0:
            self.rewind()
            with suppress(av.FFmpegError):
                self.container.seek(int(time / base) + (self._stream.start_time or 0), stream=self._stream)
                for shown, frame in self._timed(self._packets(), from_start=False):
                    if shown >= time - SAME_TIME:
                        if shown <= time + SAME_TIME:
                            return frame
                        break  # some containers have no index, and seek to somewhere
        last = None
        for shown, frame in self.frames():
            last = frame
            if shown >= time - SAME_TIME:
                break
        return last

    def picture(self, frame: VideoFrame) -> DecodedPhoto:
        """Return a frame as an upright RGB picture of square pixels."""
        rgb, scale = self._developer.picture(frame, self._aspect(), self.longest_side)
        return DecodedPhoto(upright(rgb, self._turn), scale, self.facts)

    def _aspect(self) -> Fraction | None:
        return self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio

    def _facts(self, first: VideoFrame) -> PhotoFacts:
        width, height = square_size(first, self._aspect())
        if self._turn[0]:
            width, height = height, width
        said = {key.casefold(): value for key, value in {**self._stream.metadata, **self.container.metadata}.items()}
        duration = 0.0
        if self._stream.duration and self._stream.time_base:
            duration = float(self._stream.duration * self._stream.time_base)
        elif self.container.duration:
            duration = self.container.duration / 1e6  # AV_TIME_BASE
        return PhotoFacts(
            width, height, ORIENTATIONS[self._turn], self._name, captured_at(said), camera(said), max(duration, 0.0)
        )


def _chosen(container: InputContainer) -> VideoStream:
    """Return the stream to decode.

    Raises
    ------
    UndecodablePhoto
        There is none, or it cannot be decoded.
    """
    from av.stream import Disposition

    beside = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    streams = [stream for stream in container.streams.video if not stream.disposition & beside]
    if not streams:
        sound = ", only sound" if container.streams.audio else ""
        raise UndecodablePhoto(f"there are no pictures in it{sound}")
    playable = [stream for stream in streams if stream.codec_context is not None]
    if not playable:
        raise UndecodablePhoto("its codec is none of those that can be decoded here: convert it to H.264")
    return max(
        playable,
        key=lambda s: (bool(s.disposition & Disposition.default), s.codec_context.width * s.codec_context.height),
    )


def _one_line(error: Any) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:160] or type(error).__name__

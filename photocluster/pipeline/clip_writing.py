"""Writing an MP4: pictures encoded as H.264, the sound of another clip beside them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from photocluster.errors import PhotoclusterError, UndecodablePhoto
from photocluster.records import ImageArray
from photocluster.video import Clip

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

CODECS = (
    ("libx264", {"preset": "veryfast", "crf": "20"}),
    ("libopenh264", {"rate_control": "quality"}),
    ("mpeg4", {"qscale": "3"}),
)
"""Encoders in the order of preference, with their options: H.264, which every player has, where libav was built with
it. Constant rate factor 20 is a little better than x264's default of 23, since the clip was compressed before."""

COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
"""Sound that MP4 holds as it is; other kinds become AAC."""

PRIMING = 0.1
"""Seconds of sound before the first picture that are kept: encoders begin with some, which players skip."""

CLOCK = 90_000
"""Ticks a second of the time stamps, MPEG's own: frames keep the times that they have."""


class ClipWriter:
    """An MP4 that comes to be. Use it in a `with`: the file is there, whole, after `finish`, or not at all.

    Parameters
    ----------
    path
        The file to write.
    source
        The clip whose sound is kept and whose frame rate is said.

    Attributes
    ----------
    frames, seconds
        Written so far.
    codec
        The encoder.
    sound
        "copied", "converted" or "none".
    """

    def __init__(self, path: Path, source: Clip) -> None:
        import av

        self.path = path
        self.frames, self.seconds = 0, 0.0
        self.sound = "none"
        self._rate = source.stream.average_rate or source.stream.guessed_rate or Fraction(25)
        self._last = -1
        self._stream: VideoStream | None = None
        self._hearing = Clip(source.path)  # the other one's packets are taken by its frames
        name, self._options = next((name, options) for name, options in CODECS if name in av.codecs_available)
        self.codec = name
        try:
            self._part = path.with_name(f".{path.name}.part")
            self._file = self._part.open("w+b")
            self._out = av.open(self._file, "w", format="mp4")
        except OSError as error:
            self._hearing.close()
            raise PhotoclusterError(f"{path} cannot be written ({error.strerror or error})") from error
        self._sound: Iterator[tuple[float, list[Any]]] = iter(())
        self._waiting: tuple[float, list[Any]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hearing.close()
        self._file.close()
        self._part.unlink(missing_ok=True)

    def add(self, time: float, rgb: ImageArray) -> None:
        """Append a picture, uint8 (h, w, 3), that is shown from a time (in seconds) on; a time twice is left out.

        Raises
        ------
        PhotoclusterError
            It cannot be written: a full disk, say.
        """
        from av.video.frame import VideoFrame
        from av.video.reformatter import ColorRange, Colorspace

        pts = round(max(time, 0.0) * CLOCK)
        if pts <= self._last:
            return
        even = np.ascontiguousarray(rgb[: len(rgb) // 2 * 2, : rgb.shape[1] // 2 * 2])  # as 4:2:0 needs it
        if self._stream is None:
            self._begin(even.shape[1], even.shape[0])
        frame = VideoFrame.from_ndarray(even, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = pts, Fraction(1, CLOCK)
        self._put(self._stream.encode(frame) if self._stream else [])
        self._last, self.frames, self.seconds = pts, self.frames + 1, pts / CLOCK
        self._keep_sound_up(self.seconds)

    def finish(self) -> None:
        """Write what is left, and put the file in its place.

        Raises
        ------
        UndecodablePhoto
            There was no picture.
        PhotoclusterError
            It cannot be written.
        """
        if self._stream is None:
            raise UndecodablePhoto("damaged: no frame of it can be decoded")
        self._put(self._stream.encode())
        self._keep_sound_up(float("inf"))
        try:
            self._out.close()
            self._file.close()
            self._part.replace(self.path)
        except OSError as error:
            raise PhotoclusterError(f"{self.path} cannot be written ({error.strerror or error})") from error

    def _begin(self, width: int, height: int) -> None:
        """Say what will be in the file, once the pictures' size is known."""
        stream: Any = self._out.add_stream(self.codec, rate=self._rate, options=self._options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, CLOCK)
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709, H.273
        context.color_range = 1  # 16..235
        self._stream = stream
        self._hearing.rewind()
        heard = cast("AudioStream | None", self._hearing.container.streams.best("audio"))
        if heard is None or heard.codec_context is None:
            return
        if heard.codec_context.name in COPIED:
            self.sound, self._sound = "copied", self._copied(heard)
        else:
            self.sound, self._sound = "converted", self._converted(heard)
        self._waiting = next(self._sound, None)

    def _copied(self, heard: AudioStream) -> Iterator[tuple[float, list[Any]]]:
        stream = self._out.add_stream_from_template(heard)
        return self._packets(heard, stream)

    def _packets(self, heard: AudioStream, stream: AudioStream) -> Iterator[tuple[float, list[Any]]]:
        """Yield (time, packets) of the sound as it is, its times counted from the first picture."""
        shift = self._shift(heard)
        for packet in self._hearing.container.demux(heard):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            if (packet.pts - shift) * packet.time_base < -PRIMING:
                continue
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = stream
            yield float(packet.pts * packet.time_base), [packet]

    def _converted(self, heard: AudioStream) -> Iterator[tuple[float, list[Any]]]:
        layout = "mono" if heard.channels == 1 else "stereo"
        stream: Any = self._out.add_stream("aac", rate=heard.rate, layout=layout)
        return self._encoded(heard, stream)

    def _encoded(self, heard: AudioStream, stream: AudioStream) -> Iterator[tuple[float, list[Any]]]:
        """Yield (time, packets) of the sound as AAC."""
        shift = self._shift(heard)
        time = 0.0
        for frame in self._hearing.container.decode(heard):
            if frame.pts is None or frame.pts - shift < 0:
                continue
            frame.pts -= shift
            time = frame.time or time
            yield time, stream.encode(frame)
        yield time, stream.encode(None)

    def _shift(self, heard: AudioStream) -> int:
        """Return the time stamp of the sound at which the pictures begin."""
        seen = self._hearing.stream
        if seen.time_base is None or heard.time_base is None:
            return 0
        return round((seen.start_time or 0) * seen.time_base / heard.time_base)

    def _keep_sound_up(self, seconds: float) -> None:
        """Write the sound up to a time, so that a player finds it beside the pictures."""
        import av

        try:
            while self._waiting is not None and self._waiting[0] <= seconds:
                self._put(self._waiting[1])
                self._waiting = next(self._sound, None)
        except av.FFmpegError:  # the sound is damaged from here on
            self._waiting = None

    def _put(self, packets: list[Any]) -> None:
        try:
            self._out.mux(packets)
        except OSError as error:
            raise PhotoclusterError(
                f"{self.path} cannot be written ({error.strerror or error}): free space, or write elsewhere"
            ) from error

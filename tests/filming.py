"""Clips for the tests of videos, made with PyAV from pictures that installed packages ship."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from importlib import resources
from pathlib import Path

import av
import numpy as np
from PIL import Image

SIZE = (320, 240)


@cache
def astronaut() -> Image.Image:
    """Return a woman, 512 x 512."""
    from skimage.data import astronaut

    return Image.fromarray(astronaut())


@cache
def actor() -> Image.Image:
    """Return a man, about 250 x 250."""
    path = resources.files("insightface").joinpath("data/images/Tom_Hanks_54745.png")
    with resources.as_file(path) as file:
        return Image.open(file).convert("RGB")


def shades(count: int, size: tuple[int, int] = SIZE) -> Iterator[Image.Image]:
    """Yield pictures that brighten slowly; the left half is red, the top half brighter."""
    width, height = size
    for i in range(count):
        rgb = np.full((height, width, 3), 40 + i % 100, dtype=np.uint8)
        rgb[:, : width // 2, 0] += 100
        rgb[: height // 2] += 50
        yield Image.fromarray(rgb)


def scene(
    *placed: tuple[Image.Image, int, int, int], size: tuple[int, int] = (640, 360), shade: int = 100
) -> Image.Image:
    """Return a grey picture with (picture, left, top, side) pasted into it."""
    result = Image.new("RGB", size, (shade, shade, shade))
    for picture, left, top, side in placed:
        result.paste(picture.resize((side, side)), (left, top))
    return result


def film(
    path: Path,
    pictures: Iterable[Image.Image],
    *,
    fps: int = 10,
    codec: str = "libx264",
    gop: int = 10,
    container: str | None = None,
    times: Sequence[float] | None = None,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    sound: float = 0.0,
) -> Path:
    """Write a clip of pictures of one size, with `sound` seconds of a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container, options=options or {}) as out:
        out.metadata.update(metadata or {})
        stream = None
        tone = out.add_stream("aac" if codec != "libvpx" else "libopus", rate=48000, layout="mono") if sound else None
        for number, picture in enumerate(pictures):
            if stream is None:
                fast = {"preset": "ultrafast"} if codec in {"libx264", "libx265"} else {}
                stream = out.add_stream(codec, rate=fps, options=fast)
                stream.width, stream.height = picture.size
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                stream.codec_context.gop_size = gop
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, 1000)
                if aspect is not None:
                    stream.sample_aspect_ratio = aspect
                if matrix is not None:
                    stream.set_display_matrix(list(matrix))
            frame = av.VideoFrame.from_image(picture)
            frame.pts = number
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        if stream is not None:
            out.mux(stream.encode())
        if tone is not None:
            _hum(out, tone, sound)
    return path


def _hum(out, tone, seconds: float) -> None:
    samples = (8000 * np.sin(np.arange(int(48000 * seconds)) * 440 * 2 * np.pi / 48000)).astype(np.int16)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None, start : start + 1024]), "s16", "mono")
        frame.sample_rate, frame.pts = 48000, start
        out.mux(tone.encode(frame))
    out.mux(tone.encode())

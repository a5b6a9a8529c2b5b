"""CPU seconds that a minute of Full HD costs a scan: python examples/video_benchmark.py [SECONDS].

The clip is made here: a camera that moves over a picture of six people (from the package insightface), 30 frames a
second in H.264, once with a keyframe each second, as cameras set them, once with one in ten seconds, as in downloads.
"""

from __future__ import annotations

import math
import sys
import tempfile
from importlib import resources
from pathlib import Path

import av
from PIL import Image

from photocluster.pipeline.analysis import Analyser, Stopwatch
from photocluster.pipeline.footage import analyse_video

SIZE, RATE = (1920, 1080), 30


def make_clip(path: Path, seconds: int, gop: int) -> None:
    """Write the clip."""
    with resources.as_file(resources.files("insightface").joinpath("data/images/t1.jpg")) as file:
        picture = Image.open(file).convert("RGB")
    width, height = 1100, 619  # of 1280 x 886
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.gop_size = gop
        for number in range(seconds * RATE):
            angle = 2 * math.pi * number / (20 * RATE)
            left, top = 90 + 90 * math.cos(angle), 130 + 130 * math.sin(angle)
            view = picture.resize(SIZE, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
            out.mux(stream.encode(av.VideoFrame.from_image(view)))
        out.mux(stream.encode())


def main() -> None:
    """Make the clips and measure."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    analyser = Analyser()
    with tempfile.TemporaryDirectory() as folder:
        for gop in (RATE, 10 * RATE):
            path = Path(folder) / f"{gop}.mp4"
            make_clip(path, seconds, gop)
            watch = Stopwatch()
            footage = analyse_video(path, analyser, watch)
            stages = {stage: spent * 60 / seconds for stage, spent in watch.seconds.items()}
            print(
                f"keyframe each {gop / RATE:.0f} s: {sum(stages.values()):.1f} s of CPU a minute "
                f"({', '.join(f'{stage} {spent:.1f}' for stage, spent in stages.items())}); "
                f"{footage.samples} frames looked at, {footage.seen} faces seen on {footage.tracks} tracks, "
                f"{len(footage.faces)} kept"
            )


if __name__ == "__main__":
    main()

"""Measure what a large library asks of a scan: memory while it grows, and the time of a re-scan of unchanged files.

``python examples/library_benchmark.py --photos 100000`` makes small JPEGs of coloured squares in a temporary folder
(4 KB each), scans them and prints how much memory the scan and its largest worker hold on the way. The models are
replaced by a stand-in that takes a square for a face, so that everything else is what is measured; ``--real`` scans
folders with the real models instead. Then the files are scanned again, unchanged, and the CPU time of that is compared
with `os.walk` and `os.stat` of each file, in turns; the best of five pairs is printed, as other programs may be busy.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from photocluster.pipeline import scanning
from photocluster.pipeline.scanning import Progress, ScanOptions, scan
from photocluster.records import Box, DecodedPhoto, Detection, Face, Quality

SQUARE = 16
"""Pixels of a square."""

FACES = (0, 1, 1, 2, 1, 3, 0, 8)
"""Faces of the photos, in turns: two on average."""

FOLDER = 500
"""Photos in a folder."""


class StandIn:
    """Sees a face in each coloured square of a photo's upper edge. Workers import it from here."""

    def __init__(self, *, mirror: bool = True, device: str = "auto") -> None:
        self.settings = mirror, device

    def faces(self, decoded: DecodedPhoto, _watch: object) -> list[Face]:
        """Return a face for each square."""
        found = []
        for left in range(0, decoded.rgb.shape[1], SQUARE):
            color = decoded.rgb[SQUARE // 2, left + SQUARE // 2].astype(np.int64)
            if color[0] < 2 * SQUARE:
                continue
            vector = np.random.default_rng([*color, left]).standard_normal(128).astype(np.float32)
            box = Box(left, 0, left + SQUARE, SQUARE)
            landmarks = np.full((5, 2), (left + SQUARE / 2, SQUARE / 2), dtype=np.float32)
            quality = Quality(SQUARE, 0.2, 0.0, 0.0, 0.0, 11.0, 0.5)
            found.append(Face(Detection(box, 0.9, landmarks), quality, vector / np.linalg.norm(vector)))
        return found


def make_photos(folder: Path, count: int) -> None:
    """Write photos, each of its own content, with the time and camera that a photo states."""
    rng = np.random.default_rng(0)
    for number in range(count):
        faces = FACES[number % len(FACES)]
        squares = rng.integers(256, size=(5, 8, 3), dtype=np.uint8)
        squares[0] = 0
        squares[0, :faces] = rng.integers(64, 256, size=(faces, 3))
        at = time.strftime("%Y:%m:%d %H:%M:%S", time.gmtime(1.2e9 + 600 * number))
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Made", "Made up"
        exif.get_ifd(0x8769)[0x9003] = at
        path = folder / f"{number // FOLDER:04}" / f"IMG_{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(squares.repeat(SQUARE, axis=0).repeat(SQUARE, axis=1))
        picture.save(path, quality=92, subsampling=0, exif=exif)


def resident(process: str) -> int:
    """Return the megabytes of a process that are in memory."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


def largest_worker() -> int:
    """Return the megabytes that the largest process holds which a thread of this one started."""
    children = [
        child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return max((resident(child) for child in children if Path(f"/proc/{child}").exists()), default=0)


def show_memory(every: int) -> tuple[list[int], object]:
    """Return the peaks (scan, worker) so far, and a function that tells of a scan's memory every so many files."""
    peaks, told = [0, 0], [0]

    def tell(progress: Progress) -> None:
        if progress.done < told[0] + every:
            return
        told[0] = progress.done
        now = resident("self"), largest_worker()
        peaks[:] = map(max, peaks, now)
        print(f"{progress.photos:>9,} photos {progress.faces:>9,} faces   scan {now[0]} MB, largest worker {now[1]} MB")

    return peaks, tell


def main() -> None:
    """Parse, make, measure."""
    import library_benchmark  # so that the stand-in has a name that workers can import

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10_000, help="how many to make (default: 10,000)")
    parser.add_argument("--real", nargs="+", type=Path, metavar="PATH", help="scan these with the real models instead")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        roots, library = options.real or [Path(temporary) / "photos"], Path(temporary) / "library"
        if not options.real:
            scanning.Analyser = library_benchmark.StandIn
            make_photos(roots[0], options.photos)
        settings = ScanOptions(workers=options.workers)
        peaks, tell = show_memory(250 if options.real else max(1000, options.photos // 20))
        report = scan(library, roots, settings, progress=tell)
        print(f"{report.photos:,} photos, {report.faces:,} faces in {report.seconds:.0f} s, at the end "
              f"{resident('self')} MB; peaks: scan {peaks[0]} MB, worker {peaks[1]} MB")  # fmt: skip
        pairs = []
        for _ in range(5):
            start = time.process_time()
            for root in roots:
                for folder, _, names in os.walk(root):
                    for name in names:
                        os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  it is what is compared with
            middle = time.process_time()
            unchanged = scan(library, roots, settings).unchanged
            pairs.append((time.process_time() - middle, middle - start))
        again, bare = min(pairs, key=lambda pair: pair[0] / pair[1])
        print(
            f"{unchanged:,} unchanged files: {again:.2f} CPU s, os.walk + os.stat {bare:.2f}: {again / bare:.2f} times"
        )


if __name__ == "__main__":
    main()

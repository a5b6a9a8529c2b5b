"""Measure a scan against its floor, and against other programs; the command ``scan`` of benchmark.py.

The floor is what the decoder and the models take by themselves on the same photos: each photo decoded by Pillow at the
scale that a scan uses, and one call of onnxruntime for each call that a scan makes, of the same shape. It is measured
in one process and one thread, in the same run. Every subject has a process of its own; CPU seconds count all processes
of a subject, its start included, and are what to compare on a computer that does other things too.

``python examples/benchmark.py scan PHOTOS --against face_recognition --boxes detection_gt.tsv --root data`` also counts
the faces found among those of a table of labelled faces (see `photocluster evaluate detect`). `--python` names the
interpreter of an environment that has the other package, so that the project's own needs not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Boxes = list[list[float]]


def subject_record(files: Sequence[str], _: argparse.Namespace) -> dict[str, Any]:
    """Note the size of each decode, and the shape of each call of a model, that the work on each photo makes."""
    from photocluster import photos
    from photocluster.errors import PhotoError
    from photocluster.pipeline.analysis import Analyser, Stopwatch, decode
    from photocluster.records import DecodedPhoto

    analyser = Analyser()
    calls: list[list[Any]] = []
    for name, model in (("detector", analyser.detector), ("embedder", analyser.embedder)):
        model._session = Recorder(model._session, name, calls)  # noqa: SLF001
    found = {}

    def decode_and_note(content: bytes, side: int) -> DecodedPhoto:
        calls.append(["decode", side])
        return photos.decode(content, longest_side=side)

    for file in files:
        calls.clear()
        try:
            decoded = decode(photos.read(Path(file)), decode_and_note)
        except PhotoError:
            continue
        analyser.faces(decoded, Stopwatch())
        found[file] = list(calls)
    return {"calls": found}


class Recorder:
    """A session of onnxruntime that notes what it is asked for."""

    def __init__(self, session: Any, name: str, calls: list[list[Any]]) -> None:
        self.session, self.name, self.calls = session, name, calls

    def run(self, names: Any, inputs: dict[str, Any], *options: Any) -> Any:
        """Note the shape, and run."""
        self.calls.append([self.name, list(next(iter(inputs.values())).shape)])
        return self.session.run(names, inputs, *options)


def subject_floor(files: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Decode each photo, and make the same calls of the models with noise."""
    import numpy as np
    import pillow_heif
    from PIL import Image

    from photocluster.models import Detector, Embedder

    pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None
    calls = json.loads(arguments.calls.read_text())["calls"]
    sessions = {"detector": Detector()._session, "embedder": Embedder()._session}  # noqa: SLF001
    noise: dict[tuple[int, ...], Any] = {}
    stages = {"decode": 0.0, "detect": 0.0, "embed": 0.0}
    for file in files:
        for name, shape in calls[file]:
            if name == "decode":
                start = time.thread_time()
                with Image.open(file) as picture:
                    picture.draft(None, (shape, 1) if picture.width >= picture.height else (1, shape))
                    picture.convert("RGB")
                stages["decode"] += time.thread_time() - start
                continue
            if tuple(shape) not in noise:
                noise[tuple(shape)] = np.random.default_rng(0).random(shape, dtype=np.float32) * 255
            session = sessions[name]
            start = time.thread_time()
            session.run(None, {session.get_inputs()[0].name: noise[tuple(shape)]})
            stages["detect" if name == "detector" else "embed"] += time.thread_time() - start
    return {"stages": stages}


def subject_photocluster(files: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Scan into a new library."""
    from photocluster.pipeline.scanning import ScanOptions, scan
    from photocluster.store import Library

    with tempfile.TemporaryDirectory() as folder:
        report = scan(Path(folder), list(map(Path, files)), ScanOptions(workers=arguments.workers))
        with Library(Path(folder)) as library:
            boxes: dict[str, Boxes] = {file: [] for file in files}
            for row in library.faces.rows():
                box = row.detection.box
                boxes[row.path].append([box.x0, box.y0, box.x1, box.y1])
    return {"stages": report.stages, "seconds": report.seconds, "boxes": boxes}


def subject_face_recognition(files: Sequence[str], _: argparse.Namespace) -> dict[str, Any]:
    """Do as face_recognition's examples do, with its default detector, HOG."""
    import face_recognition

    stages = {"decode": 0.0, "detect": 0.0, "embed": 0.0}
    boxes = {}
    for file in files:
        start = time.thread_time()
        picture = face_recognition.load_image_file(file)
        decoded = time.thread_time()
        places = face_recognition.face_locations(picture)
        detected = time.thread_time()
        face_recognition.face_encodings(picture, places)
        times = (decoded - start, detected - decoded, time.thread_time() - detected)
        stages = {stage: seconds + more for (stage, seconds), more in zip(stages.items(), times, strict=True)}
        boxes[file] = [[left, top, right, bottom] for top, right, bottom, left in places]
    return {"stages": stages, "boxes": boxes}


def subject_insightface_style(files: Sequence[str], _: argparse.Namespace) -> dict[str, Any]:
    """Do as insightface's examples do, with the models that are here: one look at 640 pixels, one embedding a face."""
    import cv2
    import numpy as np
    from insightface.utils.face_align import norm_crop

    from photocluster.models import Detector, Embedder

    detector, embedder = Detector(sizes=(640,)), Embedder(mirror=False)
    boxes: dict[str, Boxes] = {}
    for file in files:
        picture = cv2.imread(file)
        if picture is None:
            continue
        rgb = np.ascontiguousarray(picture[:, :, ::-1])
        found = detector.detect(rgb)
        for face in found:
            embedder.embed(norm_crop(rgb, face.landmarks)[None])
        boxes[file] = [[face.box.x0, face.box.y0, face.box.x1, face.box.y1] for face in found]
    return {"stages": {}, "boxes": boxes}


SUBJECTS: dict[str, Callable[[Sequence[str], argparse.Namespace], dict[str, Any]]] = {
    "record": subject_record,
    "floor": subject_floor,
    "photocluster": subject_photocluster,
    "face_recognition": subject_face_recognition,
    "insightface_style": subject_insightface_style,
}


def measure(name: str, files: Path, *options: str, python: str = sys.executable) -> dict[str, Any]:
    """Run a subject in a process of its own, and return what it says, and what it took."""
    command = [python, __file__, name, str(files), *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watcher = PeakMemory(process.pid)
        out, _ = process.communicate()
        watcher.stop()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "subject": name,
        "seconds": time.perf_counter() - started,
        **json.loads(out.splitlines()[-1]),
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": watcher.peak,
    }


class PeakMemory:
    """Watches what a process and those that it started hold together, shared memory counted once; Linux alone."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak, self.ended = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self) -> None:
        """Look twice a second."""
        while not self.ended.wait(0.5):
            self.peak = max(self.peak, sum(map(self.held, self.family(self.pid))))

    def family(self, pid: int) -> list[int]:
        """Return a process and all below it."""
        try:
            text = "".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))
        except OSError:
            return []
        return [pid, *(other for child in text.split() for other in self.family(int(child)))]

    def held(self, pid: int) -> int:
        """Return the bytes of a process."""
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

    def stop(self) -> None:
        """End the watch."""
        self.ended.set()
        self.thread.join()


def photos_below(paths: Sequence[Path], limit: int | None) -> list[str]:
    """Return the photos in folders, each content once."""
    from photocluster import photos
    from photocluster.walking import FoundFile, walk

    found: dict[str, str] = {}
    for entry in walk(paths):
        if isinstance(entry, FoundFile) and photos.sniff(entry.path):
            found.setdefault(photos.content_hash(photos.read(entry.path)), str(entry.path))
        if limit and len(found) == limit:
            break
    return list(found.values())


def recall(row: dict[str, Any], table: Path, root: Path, least: float) -> dict[str, Any]:
    """Compare the boxes of a subject with a table of labelled faces."""
    from photocluster.evaluation import DetectedPhoto, detection_measures, parse_labelled_faces
    from photocluster.records import Box

    labelled = parse_labelled_faces(table.read_text(encoding="utf-8"), source=str(table))
    places = {os.path.abspath(root / image): faces for image, faces in labelled.items()}  # noqa: PTH100
    seen = [
        DetectedPhoto(places[file], tuple(Box(*box) for box in boxes))
        for file, boxes in row["boxes"].items()
        if file in places
    ]
    return detection_measures(seen, min_iou=least).total.as_dict() if seen else {}


def line(row: dict[str, Any], floor: dict[str, Any], photos: int) -> str:
    """Return one result as a line of text."""
    split = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row["stages"].items() if seconds >= 0.05)
    text = (
        f"{row['subject']:<18} {photos / row['seconds']:6.1f} photos/s  wall {row['seconds']:6.1f} s"
        f"  cpu {row['cpu']:6.1f} s (floor x {row['cpu'] / floor['cpu']:.2f})  peak {row['peak_bytes'] / 1e9:.2f} GB"
    )
    if row.get("labelled"):
        found = row["labelled"]
        text += f"  recall {found['found']}/{found['faces']}, {found['false_positives']} false"
    return f"{text}\n{'':<18} {split}" if split else text


def scan_benchmark(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all subjects on all photos; print a line for each unless JSON is wanted."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files, calls = Path(folder) / "files.json", Path(folder) / "calls.json"
        files.write_text(json.dumps(photos_below(arguments.photos, arguments.limit)))
        recorded = measure("record", files)
        calls.write_text(json.dumps(recorded))
        files.write_text(json.dumps(list(recorded["calls"])))  # those that can be decoded
        photos = len(recorded["calls"])
        runs = [("floor", ["--calls", str(calls)], sys.executable)]
        runs += [("photocluster", ["--workers", workers], sys.executable) for workers in arguments.workers.split(",")]
        runs += [(name, [], arguments.python) for name in arguments.against.split(",") if name]
        floor = None
        for name, options, python in runs:
            row = measure(name, files, *options, python=python)
            row["subject"] = " ".join([name, *options[1:]]) if name == "photocluster" else name
            floor = floor or row
            if arguments.boxes and "boxes" in row:
                row["labelled"] = recall(row, arguments.boxes, arguments.root, arguments.min_iou)
            row.pop("boxes", None)
            rows.append({"photos": photos, **row})
            if not arguments.json:
                print(line(row, floor, photos), flush=True)
    return rows


def add_parser(commands: Any) -> None:
    """Add the command ``scan`` to benchmark.py's."""
    scan = commands.add_parser("scan", help="scan photos")
    scan.add_argument("photos", nargs="+", type=Path, help="folders or files")
    scan.add_argument("--workers", default="1,2", help="numbers of workers, with commas between them")
    scan.add_argument("--against", default="", help="face_recognition, insightface_style; with commas between them")
    scan.add_argument("--python", default=sys.executable, help="interpreter that has the other packages")
    scan.add_argument("--limit", type=int, help="only so many photos")
    scan.add_argument("--boxes", type=Path, help="table of labelled faces")
    scan.add_argument("--root", type=Path, default=Path(), help="folder from which the table's paths start")
    scan.add_argument("--min-iou", type=float, default=0.5, help="overlap at which a labelled box is found")
    scan.add_argument("--json", action="store_true")


def main() -> None:
    """Be one subject in this process, and print what it says as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SUBJECTS)
    parser.add_argument("files", type=Path)
    parser.add_argument("--calls", type=Path)
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    print(json.dumps(SUBJECTS[arguments.name](json.loads(arguments.files.read_text()), arguments)))


if __name__ == "__main__":
    main()

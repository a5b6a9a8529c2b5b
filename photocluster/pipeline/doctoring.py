"""What `photocluster doctor` looks at: versions, devices, formats, models, the library, and how fast this machine is.

Formats are tried, not asked for: each sample in ``samples/`` (a picture that grows redder to the right and greener
downwards, made for this) is decoded in memory, and looked at.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata, resources
from pathlib import Path

import numpy as np
from PIL import Image

from photocluster import __version__, models, photos, sessions
from photocluster.alignment import CROP_SIZE
from photocluster.errors import PhotoclusterError, PhotoError, StoreMissing
from photocluster.pipeline.analysis import DECODE_SIDE, recipe
from photocluster.records import ImageArray
from photocluster.store import Library

PACKAGES = (
    "numpy", "pillow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "pyvips", "av", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-openvino", "scikit-learn", "hdbscan", "numba", "pyarrow",
)  # fmt: skip
"""Packages whose version tells what may be wrong."""

OPTIONAL_FORMATS = {"JXL": "pip install pillow-jxl-plugin"}
"""Formats that need a package which photocluster does not bring, and how to get it."""

SUFFIXES = {
    "JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "GIF": "gif", "BMP": "bmp", "PPM": "ppm",
    "JPEG2000": "jp2", "AVIF": "avif", "HEIF": "heic", "JXL": "jxl", "RAW": "dng",
}  # fmt: skip
"""The sample of each of `photos.FORMATS`."""

VIDEO_CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg")
"""Those of phones and cameras, and what they are converted to."""

TYPICAL_FACES = 1.5
"""Faces a photo that the estimate of speed assumes; albums of families have one to two."""

REPEATS = 3


class State(StrEnum):
    """How something is: `MISSING` is optional and not there, `BROKEN` is to be mended."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `detail` says what is wrong, and what to do, or what is there."""

    name: str
    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Speed:
    """CPU milliseconds on one core: of a 12-megapixel JPEG to decode and to look for faces in, of a face to embed.

    `photos_a_second` is an estimate for all `cores`, with `TYPICAL_FACES` faces a photo.
    """

    decode_ms: float
    detect_ms: float
    embed_ms: float
    cores: int
    photos_a_second: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found; `speed` is None where it was not asked for, or the models are broken."""

    versions: dict[str, str]
    devices: list[Finding]
    formats: list[Finding]
    models: list[Finding]
    library: Finding
    speed: Speed | None

    @property
    def broken(self) -> list[Finding]:
        """What is to be mended."""
        findings = (*self.devices, *self.formats, *self.models, self.library)
        return [finding for finding in findings if finding.state is State.BROKEN]


def diagnose(folder: Path, *, device: str = "auto", measure: bool = True) -> Diagnosis:
    """Look at everything. What is wrong is a finding, not an exception.

    Parameters
    ----------
    folder
        The library; there need not be one.
    device
        What the models are to run on, see `sessions.providers`.
    measure
        Whether to take the time of a typical photo, a few seconds.
    """
    found = _models()
    devices = _devices(device)
    usable = all(finding.state is not State.BROKEN for finding in (*found, *devices))
    return Diagnosis(
        versions=_versions(),
        devices=devices,
        formats=[_format(name) for name in photos.FORMATS] + [_videos(), _large_files()],
        models=found,
        library=_library(folder),
        speed=_speed(device) if measure and usable else None,
    )


def _versions() -> dict[str, str]:
    found = {"photocluster": __version__, "python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _devices(device: str) -> list[Finding]:
    """Return the devices that the installed onnxruntime has; broken is only the one that was asked for."""
    findings = []
    for name in sessions.DEVICES[1:]:
        try:
            chosen = sessions.providers(name)
            if name == device:
                models.Detector(device=name)
            findings.append(Finding(name, State.OK, chosen[0]))
        except PhotoclusterError as error:
            findings.append(Finding(name, State.BROKEN if name == device else State.MISSING, str(error)))
    return findings


def _sample(name: str) -> bytes:
    return resources.files("photocluster").joinpath("samples", f"sample.{SUFFIXES[name]}").read_bytes()


def _format(name: str) -> Finding:
    """Decode the sample of a format."""
    try:
        rgb = photos.decode(_sample(name)).rgb
    except (PhotoError, OSError) as error:
        optional = name in OPTIONAL_FORMATS and OPTIONAL_FORMATS[name] in str(error)
        return Finding(name, State.MISSING if optional else State.BROKEN, str(error))
    right, below = rgb[4, -5].astype(int), rgb[-5, 4].astype(int)
    if rgb.shape != (64, 64, 3) or right[0] - right[1] < 100 or below[1] - below[0] < 100:
        return Finding(name, State.BROKEN, "the sample decodes to another picture; reinstall its package")
    return Finding(name, State.OK)


def _videos() -> Finding:
    try:
        import av
    except ImportError as error:
        return Finding("video", State.BROKEN, f"the package av cannot be loaded ({error}): pip install av")
    known = [name for name in VIDEO_CODECS if name in av.codecs_available]
    lacking = [name for name in VIDEO_CODECS if name not in known]
    if lacking:
        return Finding("video", State.BROKEN, f"no decoder for {', '.join(lacking)}: pip install --force-reinstall av")
    return Finding("video", State.OK, ", ".join(known))


def _large_files() -> Finding:
    """Say whether PNG, TIFF and WebP of more than 80 million pixels can be read."""
    name = "PNG, TIFF, WebP over 80 megapixels"
    try:
        import pyvips
    except (ImportError, OSError):
        return Finding(name, State.MISSING, "pip install 'photocluster[large]'")
    return Finding(name, State.OK, "libvips " + ".".join(str(pyvips.version(part)) for part in range(3)))


def _models() -> list[Finding]:
    """Hash the model files, and hold them to the manifest that the build wrote."""
    try:
        entries = sessions.manifest()
    except PhotoclusterError as error:
        return [Finding("models", State.BROKEN, str(error))]
    findings = []
    for name, entry in entries.items():
        path = sessions.weights_folder() / name
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            findings.append(Finding(name, State.BROKEN, f"{path}: {error.strerror}. Reinstall photocluster"))
            continue
        if digest != entry["sha256"]:
            wrong = f"{path} has sha256 {digest} instead of {entry['sha256']}. Reinstall photocluster"
            findings.append(Finding(name, State.BROKEN, wrong))
            continue
        findings.append(Finding(name, State.OK, f"sha256 {digest}"))
    return findings


def _library(folder: Path) -> Finding:
    """Check the library, if there is one, and whether this version can add to it."""
    name = str(folder)
    try:
        with Library(folder) as library:
            problems = library.check()
            status = library.status()
            library.require(recipe(mirror=library.recipe.mirror))
    except StoreMissing:
        return Finding(name, State.MISSING, "there is none yet: photocluster scan makes it")
    except PhotoclusterError as error:
        return Finding(name, State.BROKEN, str(error))
    if problems:
        return Finding(name, State.BROKEN, "; ".join(problems))
    return Finding(name, State.OK, f"photos: {status.photos:,}, faces: {status.faces:,}")


def _speed(device: str) -> Speed:
    """Take the time of a photo of 12 megapixels, the best of `REPEATS`: other programs only make it longer."""
    picture = _photo()
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=90)
    content = stream.getvalue()
    detector, embedder = models.Detector(device=device), models.Embedder(device=device)
    crop = np.ascontiguousarray(picture[None, :CROP_SIZE, :CROP_SIZE])
    decode = _milliseconds(lambda: photos.decode(content, longest_side=DECODE_SIDE))
    detect = _milliseconds(lambda: detector.detect(picture))
    embed = _milliseconds(lambda: embedder.embed(crop))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    per_photo = decode + detect + TYPICAL_FACES * embed
    return Speed(round(decode, 1), round(detect, 1), round(embed, 1), cores, round(cores * 1000 / per_photo, 2))


def _photo() -> ImageArray:
    """Return a picture of 4000 x 3000 pixels with as much detail as a photo has, and nobody in it."""
    coarse = np.random.default_rng(0).integers(60, 200, (375, 500, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((4000, 3000), Image.Resampling.BICUBIC))


def _milliseconds(work: Callable[[], object]) -> float:
    """Return the least time of several runs, after one that warms up: CPU time, or a device's own."""
    work()
    best = float("inf")
    for _ in range(REPEATS):
        started, clock = time.process_time(), time.perf_counter()
        work()
        busy = time.process_time() - started
        best = min(best, busy or time.perf_counter() - clock)
    return best * 1000

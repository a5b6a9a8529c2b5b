"""The model files of the package, and sessions of onnxruntime for them; the only import of it.

A session has one thread, because photos are worked on in parallel, and because the numbers then do not depend on how
many cores there are. The weights lie in the package (``weights/``), made at build time from OpenCV Zoo's files
(``model_conversion.py`` in the repository).
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photocluster.errors import MissingDependency, ModelError, UsageError

if TYPE_CHECKING:
    import onnxruntime

CPU = "CPUExecutionProvider"

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""onnxruntime's execution providers by the names that the command line has for them."""

_HOW_TO_GET = {
    "cuda": "For NVIDIA cards: pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "coreml": "It comes with onnxruntime on macOS only: pip install onnxruntime",
    "openvino": "For Intel: pip uninstall onnxruntime, then pip install onnxruntime-openvino",
}

DEVICES = ("auto", "cpu", *PROVIDERS)


def weights_folder() -> Path:
    """Return the package's folder of weights."""
    return Path(str(resources.files("photocluster").joinpath("weights")))


@cache
def manifest() -> dict[str, dict[str, Any]]:
    """Return what the build wrote of each model file: checksums, origin, licence.

    Raises
    ------
    ModelError
        The package was not built: there is no manifest.
    """
    path = weights_folder() / "manifest.json"
    try:
        content: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path} is missing: this photocluster was not built. Install it (pip install .) rather than running it "
            "from its source folder"
        ) from error
    return content


def model_identity(name: str) -> str:
    """Return what names a model in a recipe: the original's checksum and the version of its conversion."""
    entry = manifest()[name]
    return f"sha256:{entry['original_sha256']}/{entry['conversion']}"


def providers(device: str = "auto") -> tuple[str, ...]:
    """Return onnxruntime's execution providers for a device, the preferred one first.

    Parameters
    ----------
    device
        One of `DEVICES`. "auto" is CUDA where onnxruntime has it, else the CPU: CoreML computes in half precision and
        OpenVINO compiles anew for each size of picture, so both are taken only when they are asked for.

    Raises
    ------
    MissingDependency
        The installed onnxruntime has no such provider; the message says what to install.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if device == "auto":
        return (PROVIDERS["cuda"], CPU) if PROVIDERS["cuda"] in available else (CPU,)
    if device == "cpu":
        return (CPU,)
    if device not in PROVIDERS:
        raise UsageError(f"there is no device {device!r}; choose from {', '.join(DEVICES)}")
    if PROVIDERS[device] not in available:
        raise MissingDependency(
            f"--device {device}: the installed onnxruntime {onnxruntime.__version__} has no {PROVIDERS[device]}, only "
            f"{', '.join(available)}. {_HOW_TO_GET[device]}; or use --device cpu"
        )
    return (PROVIDERS[device], CPU)


def session(path: Path, device: str = "cpu") -> onnxruntime.InferenceSession:
    """Load a model.

    Raises
    ------
    ModelError
        It is missing or damaged.
    MissingDependency
        The device that was asked for is not there, or does not start: without its driver, say.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it would keep room for each size of picture that it has seen
    wanted = providers(device)
    try:
        made = onnxruntime.InferenceSession(str(path), options, providers=list(wanted))
    except Exception as error:  # onnxruntime raises a class of its own for each status code, none of them public
        if len(wanted) > 1:
            return _without(device, path, error)
        raise ModelError(f"{path}: onnxruntime cannot load it ({error}). Reinstall photocluster") from error
    # onnxruntime leaves a provider out that does not start, and says so in its log only.
    return made if wanted[0] in made.get_providers() else _without(device, path, None)


def giving_back_memory() -> onnxruntime.RunOptions:
    """Return options of a run that keeps no memory after it: a picture of 2560 pixels takes 300 MB for a moment."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _without(device: str, path: Path, error: Exception | None) -> onnxruntime.InferenceSession:
    """Load a model on the CPU where the choice was left to us; else say that the device does not start."""
    if device == "auto":
        return session(path, "cpu")
    said = f" ({error})" if error else ""
    raise MissingDependency(
        f"--device {device} does not start{said}: see that its driver and libraries are installed. "
        f"{_HOW_TO_GET[device]}; or use --device cpu"
    ) from error

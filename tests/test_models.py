"""The models against the original files by OpenCV's own runtime, and on faces that packages ship."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import model_conversion
from photocluster import models, sessions
from photocluster.alignment import align
from photocluster.errors import MissingDependency, ModelError, UsageError
from photocluster.quality import pose

rng = np.random.default_rng(7)


def package_photo(package: str, path: str) -> np.ndarray:
    spec = importlib.util.find_spec(package)
    return np.asarray(Image.open(Path(spec.submodule_search_locations[0]) / path).convert("RGB"))


@pytest.fixture(scope="session")
def six() -> np.ndarray:
    return package_photo("insightface", "data/images/t1.jpg")


@pytest.fixture(scope="session")
def detector() -> models.Detector:
    return models.Detector()


@pytest.fixture(scope="session")
def embedder() -> models.Embedder:
    return models.Embedder()


@pytest.fixture(scope="session")
def originals() -> Path:
    folder = Path(os.environ.get("PHOTOCLUSTER_MODEL_SOURCE", "nowhere"))
    if not (folder / model_conversion.SOURCES[0].original).exists():
        pytest.skip("PHOTOCLUSTER_MODEL_SOURCE names no folder with the original model files (dev.py test does)")
    return folder


@pytest.fixture(scope="session")
def cv2():
    return pytest.importorskip("cv2", reason="opencv's system libraries (libGL) are missing", exc_type=ImportError)


# -- the conversion ---------------------------------------------------------------------------------------------------


def test_sface_equals_the_original(originals, cv2, embedder, six, detector):
    net = cv2.dnn.readNetFromONNX(str(originals / model_conversion.SOURCES[1].original))
    faces = np.stack([align(six, d.landmarks) for d in detector.detect(six)])
    crops = np.concatenate([faces, rng.integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)])
    expected = []
    for crop in crops:
        net.setInput(np.ascontiguousarray(crop.transpose(2, 0, 1)[None], dtype=np.float32), "data")
        expected.append(net.forward()[0].copy())
    assert np.abs(embedder.raw(crops) - np.array(expected)).max() < 1e-4  # the values themselves are of the order of 1


def test_yunet_equals_the_original(originals, cv2, six):
    """OpenCV's own decoding of the original network, at one size: the same boxes, points and scores."""
    height, width = 640, 640
    rgb = np.asarray(Image.fromarray(six).resize((width, height)))
    reference = cv2.FaceDetectorYN.create(
        str(originals / model_conversion.SOURCES[0].original), "", (width, height), 0.8, 0.4, 100
    )
    _, expected = reference.detect(np.ascontiguousarray(rgb[:, :, ::-1]))
    expected = expected[np.argsort(expected[:, 0])]
    rows = models.Detector(sizes=(640,))._raw(rgb)
    rows = rows[rows[:, 14] >= 0.8]
    rows = rows[models.non_maximum_suppression(rows[:, :4], rows[:, 14], 0.4)]
    rows = rows[np.argsort(rows[:, 0])]
    assert len(rows) == len(expected) == 6
    assert np.abs(rows[:, :2] - expected[:, :2]).max() < 0.05
    assert np.abs(rows[:, 2:4] - rows[:, :2] - expected[:, 2:4]).max() < 0.05  # OpenCV gives width and height
    assert np.abs(rows[:, 4:14] - expected[:, 4:14]).max() < 0.05
    assert np.abs(rows[:, 14] - expected[:, 14]).max() < 1e-3


def test_conversion_is_reproducible(originals, tmp_path, monkeypatch):
    monkeypatch.setenv(model_conversion.SOURCE_VARIABLE, str(originals))
    paths = model_conversion.convert_all(tmp_path)
    for path in paths:
        packed = sessions.weights_folder() / path.name
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(packed.read_bytes()).digest()
    before = [path.stat().st_mtime_ns for path in paths]
    model_conversion.convert_all(tmp_path)
    assert [path.stat().st_mtime_ns for path in paths] == before, "what is current is left alone"
    paths[0].write_bytes(b"damaged")
    model_conversion.convert_all(tmp_path)
    assert paths[0].stat().st_size > 100_000, "what is damaged is made again"


def test_wrong_original_is_refused(originals, tmp_path, monkeypatch):
    for source in model_conversion.SOURCES:
        shutil.copy(originals / source.original, tmp_path / source.original)
    changed = tmp_path / model_conversion.SOURCES[1].original
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    monkeypatch.setenv(model_conversion.SOURCE_VARIABLE, str(tmp_path))
    with pytest.raises(model_conversion.ModelSourceError, match="sha256"):
        model_conversion.convert_all(tmp_path / "out")


def test_missing_original_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv(model_conversion.SOURCE_VARIABLE, str(tmp_path))
    with pytest.raises(model_conversion.ModelSourceError, match=model_conversion.SOURCE_VARIABLE):
        model_conversion.convert_all(tmp_path / "out")


def test_the_package_carries_what_its_manifest_says():
    for name, entry in sessions.manifest().items():
        content = (sessions.weights_folder() / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["licence"] in ("MIT", "Apache-2.0")


def test_a_damaged_model_is_a_clear_error(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        sessions.session(path)


# -- devices ----------------------------------------------------------------------------------------------------------


def test_devices_are_those_of_the_command_line():
    from photocluster.cli import console

    assert sessions.DEVICES == console.DEVICES


def test_a_device_is_a_list_of_providers(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", sessions.CPU])
    assert sessions.providers("auto") == sessions.providers("cpu") == (sessions.CPU,)
    for device, package in (("cuda", "onnxruntime-gpu"), ("openvino", "onnxruntime-openvino"), ("coreml", "macOS")):
        with pytest.raises(MissingDependency, match=rf"--device {device}: .* only Azure.*{package}.* --device cpu"):
            sessions.providers(device)
    with pytest.raises(UsageError, match="no device 'tpu'; choose from auto, cpu"):
        sessions.providers("tpu")
    everything = [*sessions.PROVIDERS.values(), sessions.CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    assert sessions.providers("auto") == ("CUDAExecutionProvider", sessions.CPU)
    assert sessions.providers("cpu") == (sessions.CPU,)
    assert sessions.providers("coreml") == ("CoreMLExecutionProvider", sessions.CPU)


@pytest.mark.parametrize("raises", [True, False])
def test_a_device_that_does_not_start_is_an_error_where_it_was_asked_for(monkeypatch, raises):
    import onnxruntime

    session = onnxruntime.InferenceSession

    def start(path, options, providers):
        if raises and len(providers) > 1:
            raise RuntimeError("libcudnn.so.9: cannot open shared object file")
        return session(path, options, providers=[sessions.CPU])  # as onnxruntime does where CUDA does not start

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", sessions.CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", start)
    assert models.Detector(device="auto")._session.get_providers() == [sessions.CPU]
    with pytest.raises(MissingDependency, match=r"--device cuda does not start.*driver.*--device cpu"):
        models.Embedder(device="cuda")


def test_the_command_line_says_what_to_install(run_cli, monkeypatch, tmp_path):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [sessions.CPU])
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    asked = run_cli("compare", tmp_path / "a.png", tmp_path / "a.png", "--device", "cuda")
    assert (asked.code, "pip install 'onnxruntime-gpu" in asked.err) == (1, True)
    monkeypatch.setenv("PHOTOCLUSTER_DEVICE", "openvino")
    assert "onnxruntime-openvino" in run_cli("compare", tmp_path / "a.png", tmp_path / "a.png").err
    assert run_cli("compare", tmp_path / "a.png", tmp_path / "a.png", "--device", "tpu").code == 2
    monkeypatch.setenv("PHOTOCLUSTER_DEVICE", "cpu")
    assert "no face found" in run_cli("compare", tmp_path / "a.png", tmp_path / "a.png").err


# -- the detector -----------------------------------------------------------------------------------------------------


def test_finds_six_faces(detector, six):
    faces = detector.detect(six)
    assert len(faces) == 6
    for face in faces:
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1]) + 5
        assert face.box.contains(*nose)


def test_coordinates_are_those_of_the_full_photo(detector, six):
    half = np.asarray(Image.fromarray(six).reduce(2))
    full = sorted(detector.detect(six), key=lambda d: d.box.x0)
    small = sorted(detector.detect(half, scale=0.5), key=lambda d: d.box.x0)
    assert [a.box.iou(b.box) > 0.75 for a, b in zip(full, small, strict=True)] == [True] * 6


def test_a_face_that_fills_the_frame(detector):
    face = package_photo("skimage", "data/astronaut.png")
    (found,) = models.Detector(sizes=(320,)).detect(face)
    box = found.box
    middle_x, middle_y, reach = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, box.height * 0.55
    close = Image.fromarray(face).crop(
        (int(middle_x - reach), int(middle_y - reach), int(middle_x + reach), int(middle_y + reach))
    )
    for side in (200, 1000, 3000):
        faces = detector.detect(np.asarray(close.resize((side, side), Image.Resampling.BICUBIC)))
        assert len(faces) == 1, side
        assert faces[0].box.height > 0.7 * side


def test_faces_of_twenty_pixels_in_twelve_megapixels(detector, six):
    heights = [d.box.height for d in detector.detect(six)]
    ratio = 20 / float(np.median(heights))
    small = Image.fromarray(six).resize(
        (round(six.shape[1] * ratio), round(six.shape[0] * ratio)), Image.Resampling.LANCZOS
    )
    canvas = Image.new("RGB", (4000, 3000), (90, 110, 90))
    canvas.paste(small, (2600, 1700))
    faces = detector.detect(np.asarray(canvas))
    assert len(faces) == 6
    assert all(14 < face.box.height < 28 for face in faces)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_faces_on_their_side_and_upside_down(detector, embedder, quarters):
    """Alone in the photo, and taken for upright ones with their eyes where the mouth is: the same face comes out."""
    upright = package_photo("skimage", "data/astronaut.png")
    (face,) = detector.detect(upright)
    (expected,), _ = embedder.embed(align(upright, face.landmarks)[None])
    for width in (512, 1400):
        height = round(512 * width / 512)
        resized = np.asarray(Image.fromarray(upright).resize((width, height)))
        turned = np.ascontiguousarray(np.rot90(resized, quarters))
        (found,) = detector.detect(turned, scale=width / 512)
        left, top, right, bottom = face.box.x0, face.box.y0, face.box.x1, face.box.y1
        corners = {1: (top, 512 - right, bottom, 512 - left), 2: (512 - right, 512 - bottom, 512 - left, 512 - top),
                   3: (512 - bottom, left, 512 - top, right)}  # fmt: skip
        assert found.box.iou(models.Box(*corners[quarters])) > 0.7
        assert round(pose(found.landmarks)[2] / 90) % 4 == -quarters % 4
        (embedding,), _ = embedder.embed(align(turned, found.landmarks * np.float32(width / 512))[None])
        assert np.linalg.norm(embedding - expected) < 0.5


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_group_that_lies(detector, six, quarters):
    """Some of them are seen at first, as if they were upright; all are in the end."""
    turned = detector.detect(np.ascontiguousarray(np.rot90(six, quarters)))
    assert len(turned) == 6
    assert {round(pose(face.landmarks)[2] / 90) % 4 for face in turned} == {-quarters % 4}


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turning_back(quarters):
    picture = np.zeros((30, 50), np.uint8)
    picture[7, 11] = 1
    ((y, x),) = np.argwhere(np.rot90(picture, quarters))
    row = np.array([[x, y, x + 1, y + 1, *(x + 0.5, y + 0.5) * 5, 0.9]], dtype=np.float32)
    back = models._turned_back(row, quarters, picture.shape)
    assert back.tolist() == [[11, 7, 12, 8, *(11.5, 7.5) * 5, pytest.approx(0.9)]]


def test_no_face_no_detection(detector):
    assert detector.detect(np.zeros((64, 64, 3), np.uint8)) == []
    assert detector.detect(np.full((1, 1, 3), 128, np.uint8)) == []
    assert detector.detect(rng.integers(0, 256, (300, 1, 3), dtype=np.uint8)) == []


def test_nms_keeps_the_best_of_each():
    boxes = np.array(
        [[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 10], [6, 6, 9, 9], [8, 8, 14, 14]],
        dtype=np.float32,
    )
    scores = np.array([0.8, 0.9, 0.7, 0.8, 0.5, 0.6], dtype=np.float32)
    assert models.non_maximum_suppression(boxes, scores, 0.4).tolist() == [1, 2, 5]
    assert models.non_maximum_suppression(boxes[:0], scores[:0], 0.4).tolist() == []


# -- the embedder -----------------------------------------------------------------------------------------------------


def test_embeddings_are_unit_and_independent_of_the_batch(embedder, detector, six):
    crops = np.stack([align(six, d.landmarks) for d in detector.detect(six)])
    embeddings, norms = embedder.embed(crops)
    assert embeddings.shape == (6, 128)
    assert embeddings.dtype == np.float32
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert norms.shape == (6,)
    alone = np.concatenate([embedder.embed(crop[None])[0] for crop in crops])
    assert (alone == embeddings).all()
    assert embedder.embed(crops[:0])[0].shape == (0, 128)


def test_mirrored_face_has_the_same_embedding(embedder, detector, six):
    crops = np.stack([align(six, d.landmarks) for d in detector.detect(six)])
    embeddings, _ = embedder.embed(crops)
    mirrored, _ = embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    assert np.abs(embeddings - mirrored).max() < 1e-5


def test_the_same_person_is_near_and_others_are_far(embedder, detector, six):
    boxes = sorted(detector.detect(six), key=lambda d: d.box.x0)
    first, _ = embedder.embed(np.stack([align(six, d.landmarks) for d in boxes]))
    turned = np.asarray(Image.fromarray(six).rotate(8, Image.Resampling.BICUBIC).resize((900, 620)))
    second, _ = embedder.embed(np.stack([align(turned, d.landmarks) for d in detector.detect(turned)]))
    distances = np.linalg.norm(first[:, None] - second[None], axis=2)
    assert sorted(distances.argmin(axis=0).tolist()) == list(range(6))
    assert np.median(distances.min(axis=0)) < 0.6
    between = np.linalg.norm(first[:, None] - first[None], axis=2)[np.triu_indices(6, 1)]
    assert between.min() > 1.1


def test_the_mean_is_subtracted(embedder):
    raw = rng.normal(size=(5, 128)).astype(np.float32)
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True) - embedder.mean
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(models.centre(raw, embedder.mean), expected, atol=1e-6)
    assert 0.25 < np.linalg.norm(embedder.mean) < 0.35


@pytest.mark.parametrize("crops", [np.zeros((1, 111, 112, 3), np.uint8), np.zeros((1, 112, 112, 3), np.float32)])
def test_wrong_crops_are_refused(embedder, crops):
    with pytest.raises(ValueError, match="crops"):
        embedder.embed(crops)

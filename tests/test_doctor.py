"""photocluster doctor: what is well, what is missing, what is broken, and that it notices."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
from making import RECIPE, make_library, scanned

from photocluster import models, photos, sessions
from photocluster.errors import ModelError
from photocluster.pipeline import doctoring
from photocluster.pipeline.doctoring import State, diagnose


@pytest.fixture
def examined(library_folder):
    """Return a function that looks at everything but the speed, and gives the findings by name."""

    def look(**options):
        found = diagnose(library_folder, measure=False, **options)
        findings = (*found.devices, *found.formats, *found.models, found.library)
        return {finding.name: finding for finding in findings}

    return look


def test_all_is_well_here(run_cli, library_folder):
    ran = run_cli("doctor", "--no-speed", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["ok"]
    assert found["versions"]["python"] == sys.version.split()[0]
    assert "onnxruntime" in found["versions"]
    formats = {entry["name"]: entry["state"] for entry in found["formats"]}
    assert set(photos.FORMATS) <= set(formats)
    assert {state for name, state in formats.items() if name in photos.FORMATS and name != "JXL"} == {"ok"}
    assert [entry["state"] for entry in found["models"]] == ["ok", "ok"]
    assert found["library"]["state"] == "missing"
    assert not library_folder.exists(), "looking makes nothing"
    assert found["speed"] is None


def test_shown_as_tables(run_cli):
    ran = run_cli("doctor", "--no-speed")
    assert ran.code == 0
    for word in ("photocluster", "CPUExecutionProvider", "HEIF", "sface_2021dec.onnx", "all well"):
        assert word in ran.out


def test_the_samples_are_of_their_formats():
    assert set(doctoring.SUFFIXES) == set(photos.FORMATS)
    for name in photos.FORMATS:
        assert photos.is_photo(doctoring._sample(name)), name


def test_a_decoder_that_is_missing_or_wrong_is_found(examined, monkeypatch, run_cli):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    monkeypatch.setitem(sys.modules, "pyvips", None)
    found = examined()
    assert (found["HEIF"].state, "pip install pillow-heif" in found["HEIF"].detail) == (State.BROKEN, True)
    assert (found["JXL"].state, "pip install pillow-jxl-plugin" in found["JXL"].detail) == (State.MISSING, True)
    assert found["PNG, TIFF, WebP over 80 megapixels"].state is State.MISSING
    ran = run_cli("doctor", "--no-speed")
    assert ran.code == 1
    assert "broken: HEIF: " in ran.err
    assert "all well" not in ran.out
    decode = photos.decode

    def turned(content):
        decoded = decode(content)
        return type(decoded)(np.ascontiguousarray(np.rot90(decoded.rgb, 2)), 1.0, decoded.facts)

    monkeypatch.setattr(photos, "decode", turned)
    assert examined()["PNG"].detail.startswith("the sample decodes to another picture")


def test_a_damaged_model_is_found(examined, monkeypatch, tmp_path):
    weights = shutil.copytree(sessions.weights_folder(), tmp_path / "weights")
    monkeypatch.setattr(sessions, "weights_folder", lambda: weights)
    with (weights / models.EMBEDDER_FILE).open("ab") as file:
        file.write(b"x")
    (weights / models.DETECTOR_FILE).unlink()
    found = examined()
    assert "Reinstall" in found[models.DETECTOR_FILE].detail
    assert "instead of" in found[models.EMBEDDER_FILE].detail
    assert {found[name].state for name in (models.DETECTOR_FILE, models.EMBEDDER_FILE)} == {State.BROKEN}

    def unbuilt():
        raise ModelError("not built")

    monkeypatch.setattr(sessions, "manifest", unbuilt)
    assert examined()["models"].detail == "not built"


def test_a_device_that_is_not_there_is_broken_only_if_it_was_asked_for(examined):
    assert examined()["openvino"].state is State.MISSING
    assert examined(device="openvino")["openvino"].state is State.BROKEN
    assert examined(device="cpu")["cpu"].detail == "CPUExecutionProvider"


def test_the_library_is_checked(examined, library_folder, monkeypatch):
    with make_library(library_folder) as library:
        library.photos.add([scanned("a.jpg", "h1")])
    assert "was made with detector" in examined()[str(library_folder)].detail
    monkeypatch.setattr(doctoring, "recipe", lambda **_: RECIPE)
    found = examined()[str(library_folder)]
    assert (found.state, found.detail) == (State.OK, "photos: 1, faces: 0")
    (library_folder / "library.sqlite").write_bytes(b"not a database at all" * 100)
    assert examined()[str(library_folder)].state is State.BROKEN


@pytest.mark.slow
def test_the_speed_is_measured(run_cli):
    speed = run_cli("doctor", "--json").json["speed"]
    assert min(speed["decode_ms"], speed["detect_ms"], speed["embed_ms"]) > 0.1
    per_photo = speed["decode_ms"] + speed["detect_ms"] + doctoring.TYPICAL_FACES * speed["embed_ms"]
    assert speed["photos_a_second"] == pytest.approx(speed["cores"] * 1000 / per_photo, rel=0.02)

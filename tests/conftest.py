"""Fixtures of all tests. Every test has a library folder of its own; none sees the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browsing import axe, browser  # noqa: F401  fixtures
from hypothesis import HealthCheck, settings
from making import FakeAnalyser, scan_in_this_process

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes says nothing on a computer that does other things; and a run finds what the last one found:
# PHOTOCLUSTER_TEST_RANDOM=1 looks for new examples.
settings.register_profile(
    "photocluster",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="PHOTOCLUSTER_TEST_RANDOM" not in os.environ,
)
settings.load_profile("photocluster")


@pytest.fixture(autouse=True)
def library_folder(tmp_path, monkeypatch) -> Path:
    """Return the folder of the test's own library, which nothing has made yet."""
    folder = tmp_path / "library"
    monkeypatch.setenv("PHOTOCLUSTER_LIBRARY", str(folder))
    return folder


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real photos, or skip."""
    folder = Path(os.environ.get("PHOTOCLUSTER_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "sets").is_dir():
        pytest.skip("PHOTOCLUSTER_TEST_DATA names no folder of real photos")
    return folder


@pytest.fixture
def fake_analyser(monkeypatch) -> type[FakeAnalyser]:
    """Have scans look for faces with `making.FakeAnalyser`, in pictures that `making.picture` writes."""
    scan_in_this_process(monkeypatch, FakeAnalyser)
    monkeypatch.setattr(FakeAnalyser, "analysed", 0)
    return FakeAnalyser


@dataclass(frozen=True)
class Ran:
    """What a command line answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run_cli(capsys) -> Callable[..., Ran]:
    """Return a function that runs a command line in this process."""
    from photocluster.cli.main import run

    def call(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call

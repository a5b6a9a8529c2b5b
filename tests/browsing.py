"""A browser for the tests: Debian's chromium or the like, headless, driven by playwright.

`browser` and `axe` are fixtures of every test (conftest imports them); they skip, with a reason, where there is no
browser or no npm. Nothing is downloaded but axe-core, from the npm registry, into a folder of the test run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = "axe-core@4.14.1"

SERIOUS = {"serious", "critical"}
"""The impacts, by axe's own scale, that no page may have."""


def browser_path() -> str | None:
    """Return the program of a browser: PHOTOCLUSTER_TEST_BROWSER, or what is installed."""
    given = os.environ.get("PHOTOCLUSTER_TEST_BROWSER")
    return given or next((path for path in map(shutil.which, BROWSERS) if path), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a headless playwright `Browser`, for one module of tests: its event loop is in others' way."""
    program = browser_path()
    if program is None:
        pytest.skip("no chromium is installed (PHOTOCLUSTER_TEST_BROWSER may name one)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--disable-gpu", "--lang=en"], timeout=180_000)
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> Callable[[Any], list[str]]:
    """Return a function that says what axe-core finds wrong with a playwright page: the serious and critical things."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm is installed, which axe-core comes from")
    folder: Path = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", AXE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if done.returncode or not script.exists():
        pytest.skip(f"axe-core could not be installed: {done.stderr.strip()[-200:]}")
    source = script.read_text(encoding="utf-8")

    def findings(page: Any) -> list[str]:
        page.evaluate(source)
        found = page.evaluate("async () => (await axe.run(document)).violations")
        return [
            f"{each['id']} ({each['impact']}): {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
            for each in found
            if each["impact"] in SERIOUS
        ]

    return findings

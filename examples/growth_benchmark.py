"""What `photocluster cluster` takes on a large library, at first and after a few new faces; see benchmark.py.

The library holds the faces of a synthetic album, one to three to a photo, no two of one person in the same. The times
are those of the command, each run a process of its own: everything from opening the library to the table that is
printed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from review_benchmark import FACTS, RECIPE, made
from synthetic_album import Album, synthetic_album

from photocluster.store import FileState, Library, ScannedFile

PHOTOS_AT_ONCE = 5000


def add_parser(commands: Any) -> None:
    """Add the command's options."""
    parser = commands.add_parser("grow", help="cluster a library, add some faces, cluster it again")
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--more", type=int, default=1000)
    parser.add_argument("--json", action="store_true")


def photos_of(album: Album, start: int, end: int, rng: np.random.Generator) -> Iterator[range]:
    """Yield the faces from `start` to `end` in runs of up to three different people, a photo each."""
    while start < end:
        stop = start + 1
        while stop < min(start + int(rng.integers(1, 4)), end) and album.people[stop] not in album.people[start:stop]:
            stop += 1
        yield range(start, stop)
        start = stop


def add_faces(folder: Path, album: Album, start: int, end: int) -> None:
    """Add faces of the album to a library."""
    rng = np.random.default_rng(start)
    with Library(folder, recipe=RECIPE, create=not folder.exists()) as library:
        files: list[ScannedFile] = []
        for faces in photos_of(album, start, end, rng):
            seen = [made(album.embeddings[i], i - faces.start, float(rng.uniform(0.2, 0.9))) for i in faces]
            path = Path(f"/photos/{faces.start // 1000}/{faces.start}.jpg")
            taken = datetime.fromtimestamp(1e9 + 200 * faces.start, UTC).replace(tzinfo=None).isoformat()
            facts = replace(FACTS, captured_at=taken)
            look = int(rng.integers(-(2**63), 2**63))
            files.append(ScannedFile(path, 1, 1, FileState.PHOTO, f"{faces.start:064x}", facts, seen, phash=look))
            if len(files) == PHOTOS_AT_ONCE:
                library.photos.add(files)
                files.clear()
        library.photos.add(files)


def clustered(folder: Path) -> dict[str, float]:
    """Run the command; return what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "photocluster", "--library", str(folder), "cluster", "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall": time.perf_counter() - start,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": after.ru_maxrss * 1024,  # KiB on Linux; of the largest run so far
    }


def growth_benchmark(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Print a line for each run unless JSON is wanted."""
    album = synthetic_album(arguments.faces + arguments.more)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "library"
        runs = ((0, arguments.faces, "at first"), (arguments.faces, len(album.people), f"after {arguments.more} more"))
        for start, end, what in runs:
            add_faces(folder, album, start, end)
            row = {"faces": end, "run": what, **clustered(folder)}
            rows.append(row)
            if not arguments.json:
                print(
                    f"{end:>8} faces, {what:<16} wall {row['wall']:7.2f} s  cpu {row['cpu']:7.2f} s"
                    f"  peak {row['peak_bytes'] / 1e9:.2f} GB",
                    flush=True,
                )
    return rows

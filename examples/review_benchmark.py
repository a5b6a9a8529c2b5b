"""How fast the review page answers on a library of 100,000 faces: made up, since nobody hands out such a library.

    python examples/review_benchmark.py [--faces N] [--decisions N] [--folder DIR]

It makes a library of people whose faces lie about a middle of their own (spread 0.75, as in the tests of suggestions),
names half of the people, starts `photocluster review` and answers its questions over HTTP, one after the other, at the
pace of a quick user, while the questions are made anew in the background. Printed are the times from request to answer;
that of a small file says what the machine and the server take for doing nothing.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from photocluster.records import Box, Detection, Face, FloatArray, IntArray, PhotoFacts, Quality, Recipe, Source
from photocluster.store import FileState, Library, ScannedFile

SPREAD = 0.75
RECIPE = Recipe("d", "e", "m", True, (320, 1280), 0.8, 0.4, "arcface-112", "upright-srgb-1/4000")
FACTS = PhotoFacts(4000, 3000, 1, "JPEG", "2019-07-14T16:02:11", "Maker Model")


def people(faces: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Return unit vectors (n, 128) of people whose numbers of faces fall off as 1 / rank, and who each is (n,)."""
    share = 1 / np.arange(1, faces // 12)
    sizes = np.maximum(1, (share / share.sum() * faces).astype(np.int64))
    who = np.repeat(np.arange(len(sizes)), sizes)[:faces]
    middles = rng.normal(size=(len(sizes), 128)) / np.sqrt(128)
    vectors = middles[who] + SPREAD * rng.normal(size=(len(who), 128)) / np.sqrt(128)
    order = rng.permutation(len(who))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit[order].astype(np.float32), who[order]


def made(vector: FloatArray, place: int, quality: float) -> Face:
    """Return a face at one of three places of its photo."""
    left = 300.0 + 1000 * place
    landmarks = np.array([[100, 120], [220, 120], [160, 180], [110, 230], [210, 230]], dtype=np.float32)
    detection = Detection(Box(left, 500, left + 320, 900), 0.9, landmarks + np.float32([left, 500]))
    return Face(detection, Quality(350, 0.2, 0, 0, 0, 11, quality), vector)


def make_library(folder: Path, faces: int) -> None:
    """Write the library: photos of up to three faces, clusters of up to 40 faces of one person, half of them named."""
    rng = np.random.default_rng(0)
    vectors, who = people(faces, rng)
    quality = rng.uniform(0.2, 0.9, len(who))
    with Library(folder, recipe=RECIPE, create=True) as library:
        start, photo = 0, 0
        while start < len(who):
            files = []
            while start < len(who) and len(files) < 2000:
                count = int(rng.integers(1, 4))
                seen = [
                    made(vectors[i], i - start, float(quality[i])) for i in range(start, min(start + count, len(who)))
                ]
                digest = f"{photo:064x}"
                files.append(ScannedFile(Path(f"/photos/{photo}.jpg"), 1, 1, FileState.PHOTO, digest, FACTS, seen))
                start, photo = start + count, photo + 1
            library.photos.add(files)
        cluster = who * 1000 + np.argsort(np.argsort(who, kind="stable")) % np.maximum(1, np.bincount(who)[who] // 40)
        numbers, label, size = np.unique(cluster, return_inverse=True, return_counts=True)
        large = size[label] > 1
        new = {int(n): -2 - i for i, n in enumerate(numbers[size > 1].tolist())}
        labels = np.array([new[int(c)] if big else -1 for c, big in zip(cluster, large, strict=True)])
        ones = np.ones(len(who), dtype=np.float32)
        library.clusters.store_run({}, np.arange(len(who)), labels, len(new), ones, 0 * ones)
        for person in range(0, int(who.max()) + 1, 2):
            mine = np.flatnonzero(who == person).tolist()
            with library.names.decide("label", {"person": f"Person {person}"}) as decision:
                identity = decision.person(f"Person {person}")
                for face in mine[: max(1, len(mine) * 9 // 10)]:
                    decision.assign(face, identity, Source.USER)


PAGES = (
    "/api/queue",
    "/api/names",
    "/api/people?count=120",
    "/api/people?q=person+4&order=faces",
    "/api/person/1",
    "/api/clusters?count=60",
    "/api/cluster/1",
    "/api/search?q=Person+0&count=120",
    "/api/history?count=50",
)
"""What the pages ask for when they are opened; person 1 has a tenth of all faces."""


class Window:
    """One browser window's connection, token and all."""

    def __init__(self, address: str) -> None:
        host, token = address.removeprefix("http://").split("/?token=")
        self._connection = http.client.HTTPConnection(host, timeout=120)
        self._headers = {"Cookie": f"photocluster-{host.split(':')[1]}={token}", "Origin": f"http://{host}"}

    def ask(self, method: str, path: str, fields: dict[str, object] | None = None) -> tuple[float, dict]:
        """Return the seconds until the answer was there, and the answer."""
        body = None if fields is None else json.dumps(fields)
        began = time.perf_counter()
        self._connection.request(method, path, body, {**self._headers, "Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        seconds = time.perf_counter() - began
        if answer.status not in {200, 409}:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return seconds, json.loads(text) if path.startswith("/api") else {}


def answer_all(window: Window, decisions: int) -> dict[str, list[float]]:
    """Answer questions as a user would, at four a second; return the seconds of each, by what was asked for."""
    seconds: dict[str, list[float]] = {"answer": [], "undo": [], "name 5 faces": [], "queue": [], "a file of 1 kB": []}
    queue: list[dict] = []
    for number in range(decisions):
        while not queue:
            took, state = window.ask("GET", "/api/queue")
            queue = state["questions"]
            seconds["queue"].append(took)
            time.sleep(0 if queue else 1)
        question = queue.pop(0)
        fields = {"do": "answer", "question": question["id"], "answer": "yes", "name": None}
        if question["kind"] == "name":
            fields["name"] = f"New {number}"
        took, done = window.ask("POST", "/api/decide", fields)
        seconds["answer"].append(took)
        seconds["a file of 1 kB"].append(window.ask("GET", "/static/icon.svg")[0])
        if number % 5 == 0 and done.get("event"):
            took, _ = window.ask("POST", "/api/decide", {"do": "undo", "event": done["event"]})
            seconds["undo"].append(took)
            faces = [face["face"] for face in question["faces"][:5]]
            took, _ = window.ask("POST", "/api/decide", {"do": "label", "faces": faces, "name": f"Some {number}"})
            seconds["name 5 faces"].append(took)
        time.sleep(0.25)
    return seconds


def opened(window: Window, page: str, process: int) -> tuple[float, float, float, float]:
    """Return the seconds that a page takes just after a decision, and once more: the middle of five.

    Then the processor time of the server for each, the first with the decision itself.
    """
    first, again = [], []
    busy = [0.0, 0.0]
    for number in range(5):
        began = cpu_seconds(process)
        window.ask("POST", "/api/decide", {"do": "label", "faces": [number], "name": f"Somebody {number % 2}"})
        first.append(window.ask("GET", page)[0])
        between = cpu_seconds(process)
        again.append(window.ask("GET", page)[0])
        busy = [busy[0] + between - began, busy[1] + cpu_seconds(process) - between]
        window.ask("POST", "/api/decide", {"do": "undo"})
    return sorted(first)[2], sorted(again)[2], busy[0] / 5, busy[1] / 5


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process took so far, its children left out; Linux only, 0 elsewhere."""
    path = Path(f"/proc/{process}/stat")
    if not path.exists():
        return 0.0
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def served(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the server as the command does; return it and its address."""
    command = [sys.executable, "-m", "photocluster", "--library", str(folder), "review", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return server, (server.stdout.readline().strip() if server.stdout else "")


def main() -> None:
    """Make the library, serve it, answer, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--decisions", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where the library is kept for the next time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch) / "library"
        if not (folder / "library.sqlite").exists():
            make_library(folder, arguments.faces)
        server, address = served(folder)
        try:
            began = time.perf_counter()
            window = Window(address)
            while window.ask("GET", "/api/queue")[1]["progress"] is None:
                time.sleep(0.2)
            print(f"first questions after {time.perf_counter() - began:.1f} s")
            before = cpu_seconds(server.pid)
            seconds = answer_all(window, arguments.decisions)
            cpu = cpu_seconds(server.pid) - before
            lists = {page: opened(window, page, server.pid) for page in PAGES}
        finally:
            server.terminate()
            server.wait()
    print(f"{'':16}{'n':>6}{'median':>9}{'95 %':>9}{'most':>9}  ms")
    for what, took in seconds.items():
        figures = np.array(took) * 1000
        print(f"{what:16}{len(took):6}{np.median(figures):9.1f}{np.quantile(figures, 0.95):9.1f}{figures.max():9.1f}")
    asked = sum(map(len, seconds.values()))
    print(
        f"processor time of the server: {cpu / asked * 1000:.1f} ms for each of {asked} requests, all it did included"
    )
    print(f"{'':34}{'after a decision':>18}{'again':>9}{'of these, processor':>24}  ms")
    for page, (first, again, *busy) in lists.items():
        print(f"{page:34}{first * 1000:18.1f}{again * 1000:9.1f}{busy[0] * 1000:15.1f}{busy[1] * 1000:9.1f}")


if __name__ == "__main__":
    main()

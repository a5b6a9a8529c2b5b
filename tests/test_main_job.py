"""The main job through the command line, with the real models, on real faces that other packages ship.

Six actors in one photograph (insightface) make an album: of each some photos, in another light, turned, compressed.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from test_structure import HEAVY

from photocluster.cli.main import COMMANDS, run
from photocluster.store import Library


def shipped(package: str, *parts: str) -> Path:
    """Return a file of an installed package, without importing it."""
    return Path(importlib.util.find_spec(package).submodule_search_locations[0]).joinpath(*parts)


ACTORS = shipped("insightface", "data", "images", "t1.jpg")
TOM_HANKS = shipped("insightface", "data", "images", "Tom_Hanks_54745.png")
ASTRONAUT = shipped("skimage", "data", "astronaut.png")

CENTRES = {"A": (517, 339), "B": (798, 414), "C": (1173, 335), "D": (956, 130), "E": (114, 333), "F": (319, 215)}
"""Where the six faces of `ACTORS` are."""


def variation(original: Image.Image, centre: tuple[int, int], number: int) -> Image.Image:
    """Return another photo of the same face; the first is the plain cut-out."""
    rng = random.Random(number)
    x, y = centre
    image = original.rotate(rng.uniform(-6, 6) if number else 0, Image.Resampling.BICUBIC, center=centre)
    dx, dy, half = rng.randint(-8, 8), rng.randint(-8, 8), 95 + rng.randint(-10, 10)
    image = image.crop((x + dx - half, y + dy - half, x + dx + half, y + dy + half))
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.75, 1.25))
    size = round(2 * half * rng.uniform(0.9, 1.6))
    return image.resize((size, size), Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Job:
    """A folder with photos and later ones, and a library of its own."""

    album: Path
    later: Path
    library: Path

    def __call__(self, *arguments: str | Path) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["--library", str(self.library), *map(str, arguments)])
        return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    """Return the album scanned and clustered."""
    root = tmp_path_factory.mktemp("main job")
    made = Job(root / "album", root / "later", root / "library")
    original = Image.open(ACTORS).convert("RGB")
    for actor, centre in CENTRES.items():
        for number in range(5):
            path = (made.album if number < 4 else made.later) / actor / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            variation(original, centre, number).save(path, quality=60 + 6 * number)
    shutil.copy(ACTORS, made.album / "all six.jpg")
    Image.new("RGB", (200, 150), "teal").save(made.album / "wall.png")
    (made.album / "broken.jpg").write_bytes((made.album / "A" / "0.jpg").read_bytes()[:2000])
    (made.album / "notes.txt").write_text("no photo")
    first = made("scan", made.album, "--json")
    assert first.code == 3, first.err
    (root / "first scan.json").write_text(first.out)
    result = made("cluster", "--json")
    assert result.code == 0, result.err
    (root / "clusters.json").write_text(result.out)
    return made


def written(job: Job, name: str) -> Any:
    return json.loads((job.library.parent / name).read_text())


@pytest.fixture(scope="module")
def named(job) -> Job:
    """Return the job with every cluster named after the actor of most of its faces."""
    for cluster in job("clusters", "--json").json:
        rows = job("show", cluster["number"], "--json").json
        actors = [Path(row["path"]).parent.name for row in rows if Path(row["path"]).parent.name in CENTRES]
        result = job("label", cluster["number"], f"Actor {max(actors, key=actors.count)}", "--json")
        assert result.code == 0, result.err
    return job


# The job ------------------------------------------------------------------------------------------------------------


def test_scan_finds_the_faces(job):
    report = written(job, "first scan.json")
    assert (report["photos"], report["photos_with_faces"]) == (26, 25)
    assert 30 <= report["faces"] <= 33
    assert report["others"] == 1
    assert [Path(path).name for path, _ in report["failed"]] == ["broken.jpg"]
    assert set(report["stages"]) == {"read", "decode", "detect", "align", "embed", "store"}


def test_cluster_finds_the_six_people(job):
    report = written(job, "clusters.json")
    assert len(report["clusters"]) == 6
    for cluster in report["clusters"]:
        rows = job("show", cluster["number"], "--json").json
        actors = {Path(row["path"]).parent.name for row in rows} & set(CENTRES)
        assert len(actors) == 1
        assert cluster["faces"] == len(rows) >= 5
    assert report["faces"] - report["noise"] == sum(cluster["faces"] for cluster in report["clusters"])


def test_a_second_run_keeps_the_numbers(job):
    before = {row["number"]: row["faces"] for row in job("clusters", "--json").json}
    result = job("cluster", "--json")
    assert {row["number"]: row["faces"] for row in result.json["clusters"]} == before
    assert result.json["changes"] == []


def test_a_name_goes_over_to_later_photos(named):
    scanned = named("scan", named.album, named.later, "--json")
    assert scanned.json["photos"] == 6
    assert scanned.json["unchanged"] == 27  # broken.jpg ends too early, and is new: it is tried again
    assert scanned.json["propagation"]["named"] >= 6
    faces = {
        Path(row["path"]).parent.name: row["person"]
        for actor in CENTRES
        for row in named("show", f"Actor {actor}", "--json").json
        if "later" in row["path"]
    }
    assert faces == {actor: f"Actor {actor}" for actor in CENTRES}
    people = named("people", "--json").json
    assert [person["name"] for person in people] == [f"Actor {actor}" for actor in CENTRES]
    assert all(person["propagated"] >= 1 for person in people)
    dry = named("propagate", "--dry-run", "--json").json
    assert dry["changed"] == 0


def test_identify_and_compare(named):
    (found, *_) = named("identify", named.later / "A" / "4.jpg", "--json").json
    assert found["person"] == "Actor A"
    (stranger,) = named("identify", ASTRONAUT, "--json").json
    assert stranger["person"] is None
    assert stranger["nearest"]
    same = named("compare", named.album / "B" / "0.jpg", named.later / "B" / "4.jpg", "--json")
    assert (same.code, same.json["same"]) == (0, True)
    assert same.json["distance"] < same.json["threshold"]
    other = named("compare", TOM_HANKS, ASTRONAUT, "--json")
    assert (other.code, other.json["same"]) == (0, False)
    nobody = named("compare", named.album / "wall.png", ASTRONAUT)
    assert nobody.code == 1
    assert "no face found" in nobody.err


def test_export(named, tmp_path):
    sheet = named("export", "html", tmp_path / "people")
    assert sheet.code == 0, sheet.err
    index = (tmp_path / "people" / "index.html").read_text(encoding="utf-8")
    assert "Actor A" in index
    assert "http://" not in index.replace("http://www.w3.org", "")
    for suffix in ("csv", "json", "jsonl", "parquet"):
        result = named("export", "table", tmp_path / f"faces.{suffix}", "--json")
        assert result.code == 0, result.err
        assert (tmp_path / f"faces.{suffix}").stat().st_size > 1000
    with (tmp_path / "faces.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first = "path,photo,face,x0,y0,x1,y1,detector_score,quality,cluster,person,source,distance"
    assert ",".join(list(rows[0])[:13]) == first
    assert len(rows) == result.json["faces"]
    assert named("export", "npz", tmp_path / "faces.npz").code == 0
    with np.load(tmp_path / "faces.npz") as arrays:
        assert arrays["embeddings"].shape == (len(rows), 128)
        np.testing.assert_allclose(np.linalg.norm(arrays["embeddings"], axis=1), 1, atol=1e-5)
        assert arrays["person"].tolist() == [row["person"] for row in rows]


def test_status_and_check(named):
    status = named("status", "--json").json
    assert status["failed_files"] == 1
    assert status["photos_without_faces"] == 1
    assert status["library"] == str(named.library)
    assert named("check", "--json").json["problems"] == []
    assert named("check").out.startswith("all well: ")
    table = named("status")
    assert "broken.jpg" in table.err
    assert "broken.jpg" not in table.out


def test_forget(named, tmp_path):
    library = shutil.copytree(named.library, tmp_path / "library")
    copy = Job(named.album, named.later, library)
    photo = named.album / "A" / "0.jpg"
    result = copy("forget", photo, "--yes", "--json")
    assert (result.code, result.json["photos"]) == (0, 1)
    assert result.json["faces"] == result.json["named_faces"] == 1
    again = copy("forget", photo, "--yes")
    assert (again.code, "knows no photo" in again.err) == (2, True)
    assert copy("forget", "--missing", "--json").json == {"photos": 0, "faces": 0, "named_faces": 0}
    assert copy("forget").code == 2
    assert copy("check").code == 0


def test_forget_asks_first(named, monkeypatch):
    before = named("status", "--json").json["photos"]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    result = named("forget", named.album / "all six.jpg")
    assert result.code == 1
    assert "nothing was forgotten" in result.err
    assert result.out == ""
    assert named("status", "--json").json["photos"] == before


# Exit codes and messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["label", "999", "Ann"], 2, "there is no cluster 999; the nearest numbers are"),
        (["show", "Aktor A"], 2, 'did you mean "Actor A"'),
        (["show", "f99999"], 2, "there is no face f99999"),
        (["unlabel", "Nobody At All"], 2, "there is no person"),
        (["label", "1", "  "], 2, "a name needs at least one character"),
        (["scan", "/nowhere/at/all"], 2, "there is no folder or file /nowhere/at/all"),
        (["forget", "/nowhere.jpg"], 2, "the library knows no photo /nowhere.jpg"),
        (["identify", "/nowhere.jpg"], 1, "/nowhere.jpg cannot be read"),
        (["export", "table", "/tmp/faces.xls"], 2, "must end in one of .csv"),
        (["export", "table", "/nowhere/faces.csv"], 2, "there is no folder /nowhere"),
        (["clusterz"], 2, "Did you mean cluster"),
        (["cluster", "--min-cluster-size", "1"], 2, "--min-cluster-size"),
    ],
)
def test_messages(named, arguments, code, message):
    result = named(*arguments)
    assert (result.code, result.out) == (code, "")
    assert message in " ".join(result.err.split())
    assert "fault of photocluster" not in result.err


def test_without_a_library(run_cli, library_folder):
    for command in (["cluster"], ["people"], ["status"], ["check"], ["propagate"], ["label", "1", "Ann"]):
        result = run_cli(*command)
        assert result.code == 1
        assert "Make one with: photocluster scan FOLDER" in result.err
    assert not library_folder.exists()


@pytest.mark.usefixtures("fake_analyser")
def test_a_library_without_faces(run_cli, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert run_cli("scan", folder).code == 0
    assert run_cli("cluster", "--json").json["clusters"] == []
    for command in (["clusters"], ["people"], ["status"], ["check"], ["propagate"]):
        result = run_cli(*command)
        assert (result.code, "fault" in result.err) == (0, False), result.err
    assert run_cli("export", "table", tmp_path / "t.csv", "--json").json["faces"] == 0
    assert run_cli("export", "html", tmp_path / "sheet").code == 0


def test_every_command_helps_with_an_example(run_cli):
    for command in COMMANDS:
        result = run_cli(command, "--help")
        assert result.code == 0
        assert "Example: photocluster " in result.out, command


def test_an_unexpected_error_says_what_to_do_and_has_no_traceback(run_cli, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("photocluster.cli.library.open_library", fail)
    result = run_cli("status")
    assert result.code == 1
    assert "unexpected ZeroDivisionError: odd" in result.err
    assert "Traceback" not in result.err
    with pytest.raises(ZeroDivisionError):
        run_cli("--debug", "status")


# The process --------------------------------------------------------------------------------------------------------


def process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "photocluster", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, **environment},
    )


def test_stdout_is_data_and_stderr_progress(job):
    done = process("--library", job.library, "scan", job.album, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["photos"] == 0
    done = process("--library", job.library, "scan", job.album)
    assert "unchanged files" in done.stdout
    assert "broken.jpg" not in done.stdout
    assert "skipped: " in done.stderr


def test_a_closed_pipe_is_no_fault(job):
    command = f"'{sys.executable}' -m photocluster --library '{job.library}' show 1 --json | true"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_utf8(named, tmp_path):
    library = shutil.copytree(named.library, tmp_path / "library")
    assert process("--library", library, "label", "f0", "Zoë").returncode == 0
    done = process("--library", library, "people", PYTHONIOENCODING="ascii")
    assert (done.returncode, r"Zo\xeb" in done.stdout) == (0, True), done.stderr
    done = process("--library", library, "people", "--json", PYTHONIOENCODING="ascii")
    assert "Zoë" in {person["name"] for person in json.loads(done.stdout)}


HELP = """
import sys
from photocluster.cli.main import run
code = run(["--help"])
print("\\n".join(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def test_help_is_fast_and_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert "photocluster scan ~/Pictures" in done.stdout
    assert {name.split(".")[0] for name in done.stderr.split()} & HEAVY == set()
    tries = [(_cpu_seconds("-m", "photocluster", "--help"), _cpu_seconds("-c", "")) for _ in range(2)]
    while min(tries)[0] >= 0.3 and len(tries) < 12:
        tries.append((_cpu_seconds("-m", "photocluster", "--help"), _cpu_seconds("-c", "")))
    took, bare = min(tries)
    assert took < max(0.3, 12 * bare), "a slow computer starts any interpreter slowly; here it was 0.13 s and 0.026 s"


def _cpu_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# Awkward files ------------------------------------------------------------------------------------------------------


PEAK_OF_A_RUN = """
import sys
from pathlib import Path
from photocluster.cli.main import run
code = run(sys.argv[2:])
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
Path(sys.argv[1]).write_text(peak.split()[1])
sys.exit(code)
"""
"""A child's ru_maxrss would not do: on Linux it counts what its parent held when it forked."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_awkward_files_in_one_scan_within_a_bound_of_memory(data, tmp_path):
    if not (data / "awkward").is_dir():
        pytest.skip("PHOTOCLUSTER_TEST_DATA has no folder 'awkward'")
    command = ["--library", str(tmp_path / "library"), "scan", str(data / "awkward"), "--json", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF_A_RUN, str(tmp_path / "peak"), *command], capture_output=True, check=False
    )
    assert done.returncode == 3
    report = json.loads(done.stdout)
    files = sum(path.is_file() for path in (data / "awkward").rglob("*"))
    assert report["photos"] + report["known"] + report["others"] + len(report["failed"]) == files
    assert report["photos"] > 150
    assert all(reason and "unexpected" not in reason for _, reason in report["failed"])
    assert int((tmp_path / "peak").read_text()) * 1024 < 1.5e9


# Kill -9 ------------------------------------------------------------------------------------------------------------


def killed_after(seconds: float, *arguments: str | Path) -> bool:
    """Run a command line and kill it; return whether it was killed before its end."""
    with subprocess.Popen(
        [sys.executable, "-m", "photocluster", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        try:
            code = running.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            return True
        assert code in (0, 3)
        return False


def content(folder: Path) -> dict[str, list]:
    """Return photo hash -> (box, embedding) of its faces."""
    with Library(folder) as library:
        vectors = np.array(library.embeddings())
        found: dict[str, list] = {photo: [] for photo in library.photos.hashes()}
        for row in library.faces.rows():
            found[row.photo].append((row.detection.box, vectors[row.face].tobytes()))
    return found


@pytest.mark.slow
def test_kill_9_loses_no_name_and_the_next_scan_makes_up_for_it(job, tmp_path):
    library = tmp_path / "library"
    rng = random.Random(5)
    whole = _seconds(lambda: process("--library", tmp_path / "other", "scan", job.album))
    said: set[str] = set()
    kills = 0
    photos = 0
    while kills < 5:
        if not killed_after(rng.uniform(0.3, 1.2) * whole, "--library", library, "scan", job.album):
            shutil.rmtree(library)
            said, photos = set(), 0
            continue
        kills += 1
        done = process("--library", library, "check", "--json")
        if done.returncode:
            assert "there is no library" in done.stderr or "is empty" in done.stderr
            continue
        assert json.loads(done.stdout)["problems"] == []
        assert json.loads(done.stdout)["photos"] >= photos
        photos = json.loads(done.stdout)["photos"]
        for face in range(len(said), json.loads(done.stdout)["faces"])[:3]:
            if not killed_after(rng.uniform(0.2, 2.0), "--library", library, "label", f"f{face}", f"Person {face}"):
                said.add(f"Person {face}")
        people = {person["name"] for person in json.loads(process("--library", library, "people", "--json").stdout)}
        assert said <= people
    assert process("--library", library, "scan", job.album).returncode == 3
    assert content(library) == content(tmp_path / "other")
    people = {person["name"] for person in json.loads(process("--library", library, "people", "--json").stdout)}
    assert said <= people


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started

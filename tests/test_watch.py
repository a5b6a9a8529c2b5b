"""Watching: what comes, changes and vanishes is scanned when it has settled, and told of."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from making import picture

from photocluster.cli.watch import SETTLE, _words
from photocluster.errors import MissingDependency, UsageError
from photocluster.pipeline import watching
from photocluster.pipeline.naming import label
from photocluster.pipeline.scanning import ScanOptions
from photocluster.pipeline.watching import Batch, News, WatchOptions, _Waiting, watch
from photocluster.store import Library
from photocluster.walking import is_left_out

pytestmark = pytest.mark.usefixtures("fake_analyser")

PATIENCE = 240.0
"""Seconds after which a test gives up waiting for news."""


class Watch:
    """A watch in a thread of its own, and the news so far."""

    def __init__(self, folder: Path, root: Path, options: ScanOptions, watching: WatchOptions) -> None:
        self.news: list[tuple[str, str]] = []
        self.batches: list[Batch] = []
        self.error: Exception | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(folder, root, options, watching))
        self.thread.start()
        self.wait_for(lambda: self.batches)

    def _run(self, folder, root, options, watching) -> None:
        try:
            for batch in watch(folder, [root], options, watching, stop=self.stop):
                self.news += [(item.news.value, item.path.name) for item in batch.items]
                self.batches.append(batch)
        except Exception as error:  # noqa: BLE001
            self.error = error

    def wait_for(self, condition) -> None:
        until = time.monotonic() + PATIENCE
        while not condition() and self.thread.is_alive() and time.monotonic() < until:
            time.sleep(0.02)
        assert self.error is None
        assert condition(), self.news

    def told(self, *news: tuple[str, str]) -> None:
        """Wait until there is this news and no other, in any order, and forget it."""
        self.wait_for(lambda: len(self.news) >= len(news))
        assert sorted(self.news) == sorted(news)
        self.news.clear()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture
def album(tmp_path) -> Path:
    (tmp_path / "album").mkdir()
    return tmp_path / "album"


@pytest.fixture
def start(library_folder, album, monkeypatch):
    """Return a function that begins to watch the album."""
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.1)
    begun: list[Watch] = []

    def call(*, poll: float | None = None, settle: float = 0.3, **options) -> Watch:
        begun.append(Watch(library_folder, album, ScanOptions(**options), WatchOptions(settle=settle, poll=poll)))
        return begun[-1]

    yield call
    for each in begun:
        each.end()


@pytest.mark.slow
@pytest.mark.parametrize("poll", [None, 0.2])
def test_what_comes_changes_and_vanishes_is_told(start, album, tmp_path, poll):
    picture(album / "old.png", 1)
    watched = start(poll=poll)
    assert (watched.batches[0].first, watched.batches[0].report.photos) == (True, 1)
    picture(album / "new.png", 2, 3)
    watched.told(("new", "new.png"))
    edited = picture(tmp_path / "edited.png", 2, 3, note="edited, and so of another size")
    os.utime(edited, (2e9, 2e9))  # a poll knows times by whole seconds
    edited.rename(album / "new.png")
    watched.told(("changed", "new.png"))
    picture(tmp_path / "trip" / "a.png", 4)
    picture(tmp_path / "trip" / "deep" / "b.png", 5)
    (tmp_path / "trip").rename(album / "trip")
    watched.told(("new", "a.png"), ("new", "b.png"))
    (album / "trip" / "a.png").rename(album / "c.png")
    watched.told(("known", "c.png"))
    (album / "old.png").unlink()
    watched.told(("missing", "old.png"))
    (album / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    watched.told(("failed", "bad.png"))
    shutil.rmtree(album / "trip")
    watched.told(("missing", "b.png"))


def test_names_go_to_what_comes_after_them(start, album, library_folder):
    for shade in range(3):
        picture(album / f"{shade}.png", 1, shade=shade)
    watched = start()
    with Library(library_folder) as library:
        label(library, ["f0", "f1", "f2"], "Ann")
    picture(album / "new.png", 2, 1, shade=9)
    watched.told(("new", "new.png"))
    (item,) = watched.batches[-1].items
    assert [face.person for face in item.faces] == [None, "Ann"]
    assert _words(item) == ": 2 faces: Ann, 1 unknown"


@pytest.mark.slow
def test_a_file_that_grows_is_left_to_settle(start, album, tmp_path):
    content = picture(tmp_path / "whole.png", 1).read_bytes()
    watched = start(settle=2.5)
    with (album / "slow.png").open("wb") as file:
        for byte in range(0, len(content), len(content) // 5 + 1):
            file.write(content[byte : byte + len(content) // 5 + 1])
            file.flush()
            time.sleep(0.8)
    watched.told(("new", "slow.png"))
    assert all(not batch.report.failed for batch in watched.batches)


def test_companions_are_told_and_looked_into_when_they_are_left_alone(start, album, library_folder):
    picture(album / "IMG_1.JPG", 1)
    watched = start()
    picture(album / "IMG_1.CR2", 1, shade=9)
    watched.told(("companion", "IMG_1.CR2"))
    (album / "IMG_1.JPG").unlink()
    watched.wait_for(lambda: len(watched.batches) > 2)
    with Library(library_folder) as library:
        assert [Path(row.path).name for row in library.faces.rows()] == ["IMG_1.CR2"]


def test_hidden_and_excluded_files_are_passed_over(start, album):
    watched = start(exclude=("skip/*",))
    picture(album / ".hidden.png", 1)
    picture(album / "skip" / "a.png", 2)
    picture(album / "keep" / "b.png", 3)
    watched.told(("new", "b.png"))
    assert not watched.news


def test_a_library_inside_the_folder_is_no_news(album, monkeypatch):
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.1)
    watched = Watch(album / "library", album, ScanOptions(), WatchOptions(settle=0.3))
    try:
        picture(album / "a.png", 1)
        watched.told(("new", "a.png"))
        time.sleep(1)
        assert len(watched.batches) == 2
    finally:
        watched.end()


@pytest.mark.slow
def test_a_library_that_is_in_use_is_waited_for(start, album, library_folder, monkeypatch):
    monkeypatch.setattr(watching, "BUSY_SECONDS", 0.2)
    monkeypatch.setattr("photocluster.store.database.BUSY_SECONDS", 0.1)
    picture(album / "a.png", 1)
    watched = start()
    with closing(sqlite3.connect(library_folder / "library.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        picture(album / "b.png", 2)
        time.sleep(2)
        assert watched.news == []
        assert watched.thread.is_alive()
        other.execute("ROLLBACK")
    watched.told(("new", "b.png"))


def test_a_disk_that_is_away_loses_nothing(album, library_folder, monkeypatch):
    waiting = _Waiting(library_folder, [album], ScanOptions(), WatchOptions())
    assert waiting._may_be_gone(album / "a.png")
    monkeypatch.setattr(os.path, "ismount", lambda _: False)
    assert not waiting._may_be_gone(album / "a.png")
    monkeypatch.undo()
    album.rmdir()
    assert not waiting._may_be_gone(album / "a.png")


def test_everything_is_looked_at_again_now_and_then(start, album, monkeypatch):
    watched = start()
    monkeypatch.setattr(watching, "RESCAN_SECONDS", 0.5)
    watched.wait_for(lambda: len(watched.batches) > 2)


def test_only_folders_are_watched(library_folder, album):
    with pytest.raises(UsageError, match="no folder"):
        next(watch(library_folder, [album / "nowhere"]))


def test_a_system_that_cannot_watch_says_what_to_do(library_folder, album, monkeypatch):
    import watchfiles

    def refuse(*_, **__):
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    with pytest.raises(MissingDependency, match="--poll 60"):
        next(watch(library_folder, [album]))


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ("a.jpg", False),
        (".a.jpg", True),
        ("b/c/a.jpg", False),
        ("b/@eaDir/a.jpg", True),
        ("skip/a.jpg", True),
        ("b/skip/a.jpg", False),
        ("quiet/a.jpg", True),
        ("x.tmp", True),
    ],
)
def test_what_is_left_out_is_what_a_walk_leaves_out(tmp_path, path, left_out):
    (tmp_path / "quiet").mkdir()
    (tmp_path / "quiet" / ".nomedia").touch()
    assert is_left_out(tmp_path / path, tmp_path, exclude=("skip/*", "*.tmp")) is left_out


def test_the_default_is_the_same_everywhere():
    assert SETTLE == watching.SETTLE_SECONDS
    assert [news.value for news in News] == ["new", "changed", "known", "companion", "failed", "missing"]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly(data, album, library_folder, end):
    """With the real models and a process of its own."""
    source = sorted((data / "sets" / "celeb5" / "Madonna").glob("*.jpg"))
    command = [sys.executable, "-m", "photocluster", "watch", str(album), "--json", "--settle", "0.5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert json.loads(process.stdout.readline())["news"] == "scanned"
        shutil.copy(source[0], album.with_name("new.jpg")).rename(album / "new.jpg")
        line = json.loads(process.stdout.readline())
        assert (line["news"], Path(line["path"]).name, len(line["faces"])) == ("new", "new.jpg", 1)
        process.send_signal(end)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out) == (0, "")
    assert "stopped watching" in err
    assert "Traceback" not in err

"""The server behind the review page: who may ask, what is answered, what decisions do. Without a browser."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from making import face, make_library, picture, scanned, unit_vector

from photocluster.errors import Outdated, StoreBusy, UsageError
from photocluster.pipeline import persons, reviewing, splitting
from photocluster.pipeline.ignoring import ignore
from photocluster.pipeline.naming import label
from photocluster.pipeline.reviewing import decide, decisions_needed, parse_search, words_of
from photocluster.pipeline.suggesting import _shift, agenda, as_stored
from photocluster.review import deciding, showing
from photocluster.review.app import Review, application
from photocluster.review.security import HEADERS, MAX_BODY, Gate, Keys
from photocluster.store import IgnoredKind, Library
from photocluster.store.pictures import FOLDER, PictureCache, forget_pictures
from photocluster.suggestions import Kind

PORT = 8765
HOST = f"127.0.0.1:{PORT}"
ORIGIN = f"http://{HOST}"


def fill(folder: Path, photos: Path, *, persons: int = 4, each: int = 5) -> None:
    """Make a library of pictures that are files, with one face each; the faces of person p are cluster p."""
    with make_library(folder) as library:
        files = []
        for person in range(1, persons + 1):
            for number in range(each):
                path = picture(photos / f"p{person}-{number}.png", person, shade=number + 1)
                vector = unit_vector(person) + 0.05 * unit_vector(person, number)
                seen = face((vector / np.linalg.norm(vector)).astype(np.float32), left=0, top=0, side=16)
                content = path.read_bytes()
                file = scanned(path, hashlib.sha256(content).hexdigest(), [seen])
                files.append(file)
        library.photos.add(files)
        count = persons * each
        numbers = -2 - np.arange(count) // each
        ones = np.ones(count, dtype=np.float32)
        library.clusters.store_run({}, np.arange(count), numbers, persons, ones, 0 * ones)


@pytest.fixture
def folder(library_folder, tmp_path) -> Path:
    fill(library_folder, tmp_path / "photos")
    return library_folder


@pytest.fixture(scope="module")
def untouched(tmp_path_factory) -> Path:
    """Return a library that all tests share in which nothing may happen."""
    folder = tmp_path_factory.mktemp("untouched")
    fill(folder / "library", folder / "photos")
    return folder / "library"


class Site:
    """The application behind its gate, called without a socket; questions are only made where a test wants them."""

    def __init__(self, folder: Path, *, asking: bool = False, **options) -> None:
        self.review = Review(folder, cache_bytes=10_000_000)
        if not asking:
            self.review.queue.run = asyncio.Event().wait
        self.keys = Keys()
        self.gate = Gate(application(self.review), self.keys, port=PORT, **options)

    async def __aenter__(self):
        self.life = self.review.lifespan(None)
        await self.life.__aenter__()
        transport = httpx.ASGITransport(self.gate, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url=ORIGIN)
        return self

    async def __aexit__(self, *error):
        await self.client.aclose()
        await self.life.__aexit__(None, None, None)

    def cookie(self) -> dict[str, str]:
        return {"cookie": f"photocluster-{PORT}={self.keys.token}"}

    async def get(self, path: str, **headers):
        return await self.client.get(path, headers={**self.cookie(), **headers})

    async def post(self, fields, **headers):
        own = {**self.cookie(), "origin": ORIGIN, "content-type": "application/json", **headers}
        content = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        return await self.client.post("/api/decide", content=content, headers=own)


def with_site(folder: Path, test, **options):
    async def run():
        async with Site(folder, **options) as site:
            return await test(site)

    return asyncio.run(run())


def events(folder: Path) -> list[str]:
    with Library(folder) as library:
        return [event.kind for event in library.history.events()]


# Attacks: each is refused, and changes nothing


LABEL = {"do": "label", "faces": [0], "name": "Mallory"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": f"evil.example:{PORT}"}, 421),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": f"127.0.0.1:{PORT + 1}"}, 421),
        ({"host": f"127.0.0.1.evil.example:{PORT}"}, 421),
        ({"host": f"192.168.0.7:{PORT}"}, 421),
        ({"host": ""}, 421),
        ({"cookie": ""}, 403),
        ({"cookie": f"photocluster-{PORT}=" + "x" * 43}, 403),
        ({"cookie": f"photocluster-{PORT}=\xff\xfe".encode("latin-1")}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"http://127.0.0.1:{PORT + 1}"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_a_decision_that_our_page_did_not_send_is_refused(untouched, headers, status):
    async def test(site):
        answer = await site.post(LABEL, **headers)
        assert answer.status_code == status
        assert "content-security-policy" in answer.headers
        if status != 415 and "origin" not in headers:
            assert (await site.get("/api/people", **headers)).status_code == status
            assert (await site.get("/face/0/224", **headers)).status_code == status

    with_site(untouched, test)
    assert events(untouched) == []


def test_a_request_of_two_hosts_is_refused(untouched):
    async def test(site):
        raw = [("host", HOST), ("host", "evil.example"), *site.cookie().items()]
        assert (await site.client.get("/api/people", headers=httpx.Headers(raw))).status_code == 400

    with_site(untouched, test)


def test_a_body_that_is_too_large_is_refused_whatever_its_header_says(untouched):
    async def test(site):
        assert (await site.post(b'{"do": "' + b"x" * MAX_BODY + b'"}')).status_code == 413

        async def chunks():
            for _ in range(20):
                yield b" " * (MAX_BODY // 10)

        headers = {**site.cookie(), "origin": ORIGIN, "content-type": "application/json"}
        answer = await site.client.post("/api/decide", content=chunks(), headers=headers)
        assert answer.status_code == 413

    with_site(untouched, test)
    assert events(untouched) == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/../security.py",
        "/static/..%2f..%2fsecurity.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/security.py",
        "/photo/..%2f..%2flibrary.sqlite/1600",
        "/photo/%2fetc%2fpasswd/1600",
        "/photo/" + "0" * 64 + "/1600",
        "/face/0/99999",
        "/face/-1/224",
        "/face/99/224",
        "/face/" + "9" * 40 + "/224",
        "/api/photo/..%2f..",
        "/api/person/" + "9" * 40,
        "/api/cluster/" + "9" * 40,
        "/library.sqlite",
        "/docs",
    ],
)
def test_no_path_of_a_request_reaches_a_file(untouched, path):
    async def test(site):
        answer = await site.get(path)
        assert answer.status_code in {404, 422}
        assert len(answer.content) < 300
        assert b"root:" not in answer.content
        assert b"SQLite" not in answer.content

    with_site(untouched, test)


def test_a_get_changes_nothing(folder, tmp_path):
    async def test(site):
        assert (await site.get("/api/queue")).status_code == 200
        assert (await site.get("/api/decide")).status_code == 405
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = await site.client.request(method, "/api/decide", headers=site.cookie())
            assert answer.status_code == 405
        for path in (
            "/",
            "/api/people",
            "/api/clusters",
            "/api/cluster/1",
            "/api/history",
            "/api/names",
            "/face/0/224",
        ):
            assert (await site.get(path + "?do=label&name=Mallory&faces=0")).status_code == 200

    before = {path: path.read_bytes() for path in (tmp_path / "photos").iterdir()}
    with_site(folder, test)
    assert events(folder) == []
    assert before == {path: path.read_bytes() for path in (tmp_path / "photos").iterdir()}


def test_the_token_becomes_a_cookie_and_leaves_the_address(untouched):
    async def test(site):
        assert (await site.client.get("/")).status_code == 403
        assert (await site.client.get("/?token=wrong")).status_code == 403
        assert (
            await site.client.get(f"/?token={site.keys.token}", headers={"host": "evil.example"})
        ).status_code == 421
        answer = await site.client.get(f"/?token={site.keys.token}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert all(part in cookie for part in (site.keys.token, "HttpOnly", "SameSite=Strict", "Path=/"))
        shell = await site.get("/")
        assert shell.status_code == 200
        assert site.keys.token not in shell.text
        once = site.keys.once()
        assert (await site.client.get(f"/?token={once}")).status_code == 303
        site.client.cookies.clear()
        assert (await site.client.get(f"/?token={once}")).status_code == 403

    with_site(untouched, test)


def test_every_answer_forbids_what_the_page_does_not_need(untouched):
    async def test(site):
        for path in ("/", "/static/main.js", "/api/people", "/face/0/224", "/nothing", "/api/person/99"):
            answer = await site.get(path)
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        policy = HEADERS["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy

    with_site(untouched, test)


def test_another_host_is_only_served_when_asked_and_by_address(untouched):
    async def test(site):
        for host, status in (
            (f"192.168.0.7:{PORT}", 200),
            (f"[fe80::1]:{PORT}", 200),
            (f"nas:{PORT}", 200),
            (f"evil.example:{PORT}", 421),
        ):
            assert (await site.get("/api/people", host=host)).status_code == status

    with_site(untouched, test, host="nas")


def test_the_page_holds_no_html_from_text_and_no_address_of_others():
    folder = Path(deciding.__file__).parent / "static"
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", " style="):
            assert word not in text, f"{path.name}: {word}"
        assert "https://" not in text
        assert all("w3.org" in line for line in text.splitlines() if "http://" in line), path.name


# Decisions


def test_decisions_are_those_of_the_command_line_and_are_stored_at_once(folder):
    async def test(site):
        async def do(**fields):
            answer = await site.post(fields)
            assert answer.status_code == 200, answer.text
            return answer.json()

        assert (await do(do="label", cluster=1, name="Ann"))["words"] == "5 faces named Ann"
        people = (await site.get("/api/people")).json()["people"]
        (ann,) = people
        assert (ann["name"], ann["faces"], ann["cover"]["face"]) == ("Ann", 5, 0)
        await do(do="reject", faces=[0], person=ann["id"], seen={"0": "Ann"})
        await do(do="move", faces=[1], name="Ben", seen={"1": "Ann"})
        await do(do="label", faces=[2], name="שרה", seen={"2": "Ann"})
        await do(do="cover", face=3)
        await do(do="rename", person=ann["id"], name="Anna")
        await do(do="split", person=ann["id"], faces=[4])
        ids = {each["name"]: each["id"] for each in (await site.get("/api/names")).json()}
        assert set(ids) == {"Anna", "Ben", "שרה", "Anna (2)"}
        merged = await do(do="merge", persons=[ids["Anna"], ids["Anna (2)"]])
        await do(do="undo", event=merged["event"])
        await do(do="redo", event=merged["event"])
        await do(do="hide", person=ids["Ben"], hidden=True)
        await do(do="ignore", faces=[5], kind="not-a-face")
        await do(do="unignore", faces=[5])
        await do(do="ignore", cluster=3, kind="stranger")
        await do(do="mirror", face=6)
        await do(do="accept", person=ids["Anna"])
        await do(do="unlabel", faces=[2])
        history = (await site.get("/api/history")).json()
        assert [each["kind"] for each in history][-6:] == ["rename", "cover", "label", "move", "reject", "label"]
        assert history[-1]["words"].startswith("Named cluster 1 ")
        assert [row["face"] for row in history[-1]["faces"]] == [0, 1, 2, 3, 4]
        assert [each["in_force"] for each in history if each["kind"] == "undo"] == [False]

    with_site(folder, test)
    with Library(folder) as library:
        assert library.names.person(1).name == "Anna"
        assert library.names.person(1).cover == 3
        assert {row.face for row in library.faces.rows(person=1)} == {3, 4}
        assert [event.kind for event in library.history.events()].count("split") == 1


@pytest.mark.parametrize(("name", "status"), [("Ben", 200), ("Ann", 409)])
def test_answers_do_not_wait_for_a_search_for_parts(name, status, folder, monkeypatch):
    answered = threading.Event()

    def find_parts(_library, rows, _min_faces):
        assert answered.wait(10)
        return [[row.face for row in rows[:3]], [row.face for row in rows[3:]]]

    async def test(site):
        await site.post({"do": "label", "cluster": 1, "name": "Ann"})
        split = asyncio.create_task(site.post({"do": "split", "person": 1}))
        await asyncio.sleep(0.1)
        other = await asyncio.wait_for(site.post({"do": "label", "faces": [5], "name": name}), 5)
        assert other.status_code == 200
        answered.set()
        assert (await split).status_code == status

    monkeypatch.setattr(splitting, "find_parts", find_parts)
    try:
        with_site(folder, test)
    finally:
        answered.set()
    with Library(folder) as library:
        assert {row.face for row in library.faces.rows(person=1)} == (
            {0, 1, 2} if status == 200 else {0, 1, 2, 3, 4, 5}
        )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"do": "nothing"},
        {"do": "__class__", "faces": [0]},
        {"do": "label", "faces": [], "name": "Ann"},
        {"do": "label", "faces": ["0; DROP TABLE face"], "name": "Ann"},
        {"do": "label", "faces": [True], "name": "Ann"},
        {"do": "label", "faces": [-1], "name": "Ann"},
        {"do": "label", "faces": [1 << 70], "name": "Ann"},
        {"do": "label", "faces": list(range(30_000)), "name": "Ann"},
        {"do": "label", "faces": {"0": 1}, "name": "Ann"},
        {"do": "label", "faces": [0], "name": 3},
        {"do": "label", "faces": [0], "name": "  "},
        {"do": "label", "faces": [0], "name": "x" * 300},
        {"do": "label", "faces": [0], "name": "Ann\x00"},
        {"do": "label", "cluster": "all", "name": "Ann"},
        {"do": "ignore", "faces": [0], "kind": "whatever"},
        {"do": "answer", "question": "x", "answer": "perhaps"},
        {"do": "rename", "person": "Ann", "name": "Ben"},
        {"do": "label", "faces": [0], "name": "Ann", "seen": {"x": "y"}},
    ],
)
def test_what_cannot_be_meant_is_told_and_changes_nothing(untouched, fields):
    async def test(site):
        answer = await site.post(fields)
        assert answer.status_code == 422
        assert answer.json()["error"]
        assert (await site.post(b"[1]")).status_code == 422
        assert (await site.post(b"{")).status_code == 422

    with_site(untouched, test)
    assert events(untouched) == []


def test_a_face_that_was_named_meanwhile_is_told_and_keeps_its_name(folder):
    async def test(site):
        with Library(folder) as other:
            label(other, ["f0"], "Ben")
        answer = await site.post({"do": "label", "faces": [0, 1], "name": "Ann", "seen": {"0": None, "1": None}})
        assert answer.status_code == 409
        assert "Ben" in answer.json()["error"]
        assert (await site.post({"do": "merge", "persons": [1, 77]})).status_code == 409
        assert (await site.post({"do": "undo", "event": 99})).status_code == 422

    with_site(folder, test)
    with Library(folder) as library:
        assert {face: a.person for face, a in library.names.assignments().items()} == {0: 1}
    assert events(folder) == ["label"]


def test_seen_and_done_are_one_transaction(folder):
    with Library(folder) as library:

        def what():
            with Library(folder) as other:
                other._database.connection.execute("PRAGMA busy_timeout = 0")
                with pytest.raises(StoreBusy):
                    label(other, ["f0"], "Ben")
            return label(library, ["f0"], "Ann")

        assert decide(library, {0: None}, what).event == 1
        with pytest.raises(Outdated, match="Ann"):
            decide(library, {0: None}, lambda: label(library, ["f0"], "Carl"))
        with pytest.raises(ZeroDivisionError):
            decide(library, {0: "Ann"}, lambda: (label(library, ["f0"], "Carl"), 1 / 0))
        assert [row.person for row in library.faces.rows(face=0)] == ["Ann"]
        assert library.names.person_id("Carl") is None


async def until(condition, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def first_questions(site):
    async def made():
        return (await site.get("/api/queue")).json()["questions"] != []

    await until(made)
    return (await site.get("/api/queue")).json()


@pytest.mark.slow
def test_questions_are_answered_once_leave_the_queue_and_can_be_taken_back(folder):
    async def test(site):
        state = await first_questions(site)
        assert state["progress"] == {"faces": 20, "named": 0, "goal": 0.95, "decisions": state["progress"]["decisions"]}
        first, second, *_ = state["questions"]
        assert (first["kind"], first["count"], len(first["faces"])) == ("name", 5, 5)
        answer = {"do": "answer", "question": first["id"], "answer": "yes", "name": "Ann"}
        done = (await site.post(answer)).json()
        assert done["words"] == "Ann: 5 faces named"
        again = await site.post({**answer, "name": "Ben"})
        assert again.status_code == 409
        now = (await site.get(f"/api/queue?current={first['id']}")).json()
        assert first["id"] not in [question["id"] for question in now["questions"]]
        assert not now["current_open"]
        assert (await site.post({"do": "undo", "event": done["event"]})).status_code == 200
        assert (await site.get(f"/api/queue?current={first['id']}")).json()["current_open"]
        part = {**answer, "without": [face["face"] for face in first["faces"][:2]]}
        assert (await site.post(part)).json()["words"] == "Ann: 3 faces named"
        no = {"do": "answer", "question": second["id"], "answer": "ignore"}
        assert (await site.post(no)).json()["words"] == "5 faces left out: nobody to name"
        assert (await site.post({**no, "question": "0123"})).status_code == 409

        async def counted():
            return (await site.get("/api/queue")).json()["progress"]["named"] == 3

        await until(counted)

    with_site(folder, test, asking=True)


@pytest.mark.slow
def test_what_is_put_off_makes_way_for_other_questions(folder, monkeypatch):
    monkeypatch.setattr(showing, "AT_ONCE", 2)

    async def test(site):
        await first_questions(site)
        first = [each["id"] for each in (await site.get("/api/queue")).json()["questions"]]
        assert len(first) == 2
        others = [each["id"] for each in (await site.get(f"/api/queue?later={','.join(first)}")).json()["questions"]]
        assert others
        assert not set(first) & set(others)
        everything = ",".join(question["id"] for question in site.review.queue.questions)
        again = [each["id"] for each in (await site.get(f"/api/queue?later={everything}")).json()["questions"]]
        assert again == first

    with_site(folder, test, asking=True)


def test_a_window_is_told_of_what_another_program_decided(folder):
    async def test(site):
        await first_questions(site)
        changes = site.review.changes
        number = changes.number
        with Library(folder) as other:
            label(other, ["1"], "Ann")
        began = time.monotonic()
        while await changes.after(number, 5.0) == number:
            assert time.monotonic() - began < 120
        assert (await site.get("/api/people")).json()["people"][0]["name"] == "Ann"
        state = (await site.get("/api/queue")).json()
        assert all(face["face"] not in range(5) for question in state["questions"] for face in question["faces"])

    with_site(folder, test, asking=True)


# Pictures


def test_pictures_are_made_once_and_the_originals_only_read(folder, tmp_path, monkeypatch):
    calls = []
    real = reviewing.photos.read
    monkeypatch.setattr(reviewing.photos, "read", lambda path: calls.append(path) or real(path))

    async def test(site):
        for _ in range(3):
            answers = await asyncio.gather(*(site.get("/face/0/224") for _ in range(4)))
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.headers["content-type"] for answer in answers} == {"image/jpeg"}
        assert len(calls) == 1
        digest = (await site.get("/api/cluster/1")).json()["faces"][0]["photo"]
        for side in (400, 1600):
            assert (await site.get(f"/photo/{digest}/{side}")).status_code == 200
        (tmp_path / "photos" / "p1-1.png").write_bytes((tmp_path / "photos" / "p2-0.png").read_bytes())
        assert "another photo" in (await site.get("/face/1/224")).json()["error"]
        (tmp_path / "photos" / "p1-2.png").unlink()
        assert (await site.get("/face/2/224")).status_code == 404
        return digest

    digest = with_site(folder, test)
    kept = list((folder / FOLDER / digest[:2] / digest).iterdir())
    assert len(kept) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)
    with Library(folder) as library:
        library.photos.forget([digest])
    assert not (folder / FOLDER / digest[:2] / digest).exists()


def test_the_cache_keeps_within_its_limit_what_was_looked_at_last(tmp_path):
    cache = PictureCache(tmp_path, max_bytes=10_000)
    names = [f"{i:064x}" for i in range(12)]
    for i, name in enumerate(names[:9]):
        cache.put(name, "a", bytes(1000))
        os.utime(tmp_path / FOLDER / name[:2] / name / "a.jpg", (1000 + i, 1000 + i))
    assert cache.get(names[0], "a") == bytes(1000)
    for name in names[9:]:
        cache.put(name, "a", bytes(1000))
    there = [name for name in names if cache.get(name, "a")]
    assert names[0] in there
    assert names[1] not in there
    assert set(names[9:]) <= set(there)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jpg")) <= 10_000
    for photo, name in (("../x", "a"), (names[0], "../../x"), ("A" * 64, "a")):
        with pytest.raises(ValueError, match="no name"):
            cache.get(photo, name)
    forget_pictures(tmp_path, [names[0], "../.."])
    assert cache.get(names[0], "a") is None


# What is shown


@pytest.mark.parametrize(
    ("text", "persons", "without"),
    [
        ("Ann", ("Ann",), ()),
        ("Ann + Ben - Carl", ("Ann", "Ben"), ("Carl",)),
        (" +Ann  -Carl the Great ", ("Ann",), ("Carl the Great",)),
        ("Anne-Marie + C+D", ("Anne-Marie", "C+D"), ()),
        ("Ann \N{MINUS SIGN} Carl", ("Ann",), ("Carl",)),
    ],
)
def test_a_search_is_read(text, persons, without):
    found = parse_search(text)
    assert (found.persons, found.without) == (persons, without)


@pytest.mark.parametrize("text", ["", "  ", "- Ann", "Ann +", "Ann + - Ben", "+"])
def test_a_search_that_cannot_be_meant(text):
    with pytest.raises(UsageError):
        parse_search(text)


def test_search_finds_photos(folder):
    with Library(folder) as library:
        label(library, ["1"], "Ann")
        label(library, ["2"], "Ben")

    async def test(site):
        found = (await site.get("/api/search")).status_code
        assert found == 422
        answer = (await site.client.get("/api/search?q=Ann%20-%20Ben", headers=site.cookie())).json()
        assert answer["total"] == 5
        assert answer["photos"][0]["persons"] == ["Ann"]
        answer = await site.client.get("/api/search?q=Nobody", headers=site.cookie())
        assert answer.status_code == 404
        assert "Nobody" in answer.json()["error"]

    with_site(folder, test)


def test_decisions_needed():
    assert decisions_needed(0, np.array([5.0])) == 0
    assert decisions_needed(6, np.array([5.0, 3.0, 1.0])) == 2
    assert decisions_needed(5, np.array([5.0, 3.0])) == 1
    assert decisions_needed(10, np.array([5.0, 3.0])) == 4
    assert decisions_needed(2, np.array([])) == 2


def test_what_was_decided_is_told_in_words(folder):
    with Library(folder) as library:
        label(library, ["1"], "Ann")
        label(library, ["f5", "f6"], "Ben")
        question = as_stored(agenda(library, limit=1).suggestions[0])
        deciding.do(library, {"do": "answer", "question": "q", "answer": "yes", "name": "Carl"}, lambda _: question)
        deciding.do(library, {"do": "undo"}, lambda _: question)
        told = [words_of(event).replace("\u2068", "").replace("\u2069", "") for event in library.history.events()]
    assert told[0] == "Took back decision 3"
    assert told[1].endswith('? "Carl"')
    assert told[2:] == ['Named face 5, face 6 "Ben"', 'Named cluster 1 "Ann"']


def test_another_name_is_a_no_to_the_person_that_was_asked_for(folder):
    with Library(folder) as library:
        for person in (1, 2, 3):
            label(library, [f"f{5 * person - 5 + i}" for i in range(3)], f"Person {person}")
        asked = next(each for each in agenda(library, limit=20).suggestions if each.kind is Kind.PERSON)
        before = _shift(library)
        deciding.do(
            library, {"do": "answer", "question": "q", "answer": "yes", "name": "Bob"}, lambda _: as_stored(asked)
        )
        assert _shift(library) < before
        deciding.do(library, {"do": "undo"}, lambda _: {})
        assert _shift(library) == before
        deciding.do(library, {"do": "answer", "question": "q", "answer": "ignore"}, lambda _: as_stored(asked))
        assert _shift(library) == before
        deciding.do(library, {"do": "undo"}, lambda _: {})
        deciding.do(library, {"do": "answer", "question": "q", "answer": "yes"}, lambda _: as_stored(asked))
        assert _shift(library) > before


def test_samples_of_clusters_are_without_a_name(folder):
    with Library(folder) as library:
        label(library, ["f0"], "Ann")
        assert library.clusters.samples([1, 2], 3) == {1: [1, 2, 3], 2: [5, 6, 7]}
        assert library.clusters.unnamed() == [(2, 5), (3, 5), (4, 5), (1, 4)]
        label(library, ["1"], "Ann")
        ignore(library, ["f5"], IgnoredKind.STRANGER)
        assert library.clusters.unnamed() == [(3, 5), (4, 5), (2, 4)]
        assert [(info.number, info.faces) for info in library.clusters.infos([1, 2])] == [(1, 5), (2, 4)]
        assert set(library.clusters.infos([1, 2])) < set(library.clusters.infos())


def test_people_are_counted_found_and_shown_by_their_best_face(folder):
    with Library(folder) as library:
        label(library, ["1"], "Ann")
        label(library, ["f5", "f6"], "Élodie")
        label(library, ["3"], "Ben")
        persons.change_person(library, "Ann", persons.PersonFacts(hidden=True))
        persons.cover(library, "f6")
        ignore(library, ["f10"], IgnoredKind.STRANGER)
        library.names.propagate({15: (library.names.person_id("Ben"), 0.5)})
        infos = reviewing.everybody(library)
        assert [(info.name, info.faces, info.propagated, info.photos) for info in infos] == [
            ("Ben", 5, 1, 5),
            ("Élodie", 2, 0, 2),
            ("Ann", 5, 0, 5),
        ]
        assert [info == library.names.person(info.id) for info in infos] == [True] * 3
        assert [info.name for info in reviewing.matching(infos, "E", largest_first=False)] == ["Ben", "Élodie"]
        assert [info.name for info in reviewing.matching(infos, " elo ", largest_first=True)] == ["Élodie"]
        shown = reviewing.covers(library, infos)
        assert {info.name: shown[info.id].face for info in infos} == {"Ben": 11, "Élodie": 6, "Ann": 0}
        ben = reviewing.person_faces(library, library.names.person_id("Ben"))
        assert ben[0][0] == 15, "guesses come first"
        assert [distance for _, distance in ben[1:]] == sorted((d for _, d in ben[1:]), reverse=True)


def test_what_pages_ask_again_is_made_once_after_each_change(folder):
    async def test(site):
        asked = 0

        def slow(library):
            nonlocal asked
            asked += 1
            return asked, len(library.names.names())

        lists = site.review.lists
        assert await asyncio.gather(lists.of(slow), lists.of(slow)) == [(1, 0), (1, 0)]
        assert await lists.of(slow) == (1, 0)
        assert (await site.post({"do": "label", "faces": [0], "name": "Ann"})).status_code == 200
        assert await lists.of(slow) == (2, 1)

        def failing(_):
            raise UsageError("once")

        for _ in range(2):
            with pytest.raises(UsageError):
                await lists.of(failing)

    with_site(folder, test)


# The command


def command(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "photocluster", "--library", str(folder), "review", "--no-browser", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_address_is_the_first_line_and_ctrl_c_ends_it_cleanly(folder):
    server = command(folder)
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with httpx.Client(follow_redirects=True) as client:
            assert "photocluster" in client.get(address).text
            base = address.split("/?")[0]
            told: list[str] = []
            there = threading.Event()

            def listen():
                with httpx.Client(cookies=client.cookies) as own, own.stream("GET", f"{base}/api/changes") as stream:
                    for line in stream.iter_lines():
                        told.append(line)
                        there.set()

            window = threading.Thread(target=listen)
            window.start()  # an open window must not keep the server from ending
            assert there.wait(120)
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=120)
            window.join(timeout=120)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode == 0
    assert out == ""
    assert "Traceback" not in err
    assert told[0].startswith("data: ")


@pytest.mark.slow
def test_the_address_as_json_and_a_warning_for_another_host(folder):
    server = command(folder, "--host", "0.0.0.0", "--json")
    try:
        said = json.loads(server.stdout.readline())
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=120)
    finally:
        server.kill()
        server.communicate()
    assert f":{said['port']}/?token=" in said["address"]
    assert "warning" in err


def test_what_cannot_be_served_is_said(folder, tmp_path, run_cli):
    assert run_cli("--library", tmp_path / "none", "review").code == 1
    ran = run_cli("--library", folder, "review", "--host", "203.0.113.1")
    assert ran.code == 2
    assert "203.0.113.1" in ran.err

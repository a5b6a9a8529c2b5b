"""The review page in a real browser: name, merge, undo, reject, search, two windows, a command meanwhile; and axe.

The photos are drawn: a disc of the person's colour on a ground, so that it can be seen what is shown.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from making import face, make_library, scanned, unit_vector
from PIL import Image, ImageDraw

from photocluster.pipeline.naming import label
from photocluster.store import Library

pytestmark = pytest.mark.slow

SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"
ARABIC = "ليلى"
COLOURS = ("crimson", "seagreen", "royalblue", "orange", "purple", "teal", "saddlebrown")
EACH = 6


def photo(path: Path, persons: list[int], shade: int) -> Path:
    image = Image.new("RGB", (640, 480), (200, 200, 180 + shade))
    draw = ImageDraw.Draw(image)
    for place, person in enumerate(persons):
        draw.ellipse((100 + 220 * place, 150, 280 + 220 * place, 330), COLOURS[person])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=80)
    return path


def seen(person: int, place: int, seed: int):
    vector = unit_vector(person) + 0.6 * unit_vector(person, seed)
    unit = (vector / np.linalg.norm(vector)).astype(np.float32)
    return face(unit, left=100 + 220 * place, top=150, side=180)


def fill(folder: Path, photos: Path) -> None:
    """Make a library: people 0 to 6 with six photos each, a cluster each; Ann and Ben together in two more photos."""
    files, clusters = [], []
    for person in range(len(COLOURS)):
        for number in range(EACH):
            name = f"{SCRIPT.replace('/', '')}.jpg" if (person, number) == (6, 0) else f"p{person}-{number}.jpg"
            path = photo(photos / name, [person], 10 * number)
            files.append((path, [seen(person, 0, number)]))
            clusters.append(person)
    for number in range(2):
        path = photo(photos / f"both-{number}.jpg", [0, 1], 20 + 20 * number)
        files.append((path, [seen(0, 0, 50 + number), seen(1, 1, 50 + number)]))
        clusters += [0, 1]
    with make_library(folder) as library:
        library.photos.add(
            [scanned(path, hashlib.sha256(path.read_bytes()).hexdigest(), faces) for path, faces in files]
        )
        ones = np.ones(len(clusters), dtype=np.float32)
        numbers = -2 - np.array(clusters)
        library.clusters.store_run({}, np.arange(len(clusters)), numbers, len(COLOURS), ones, 0 * ones)


class Site:
    """A server of its own process, and the windows that are open on it."""

    def __init__(self, folder: Path, browser) -> None:
        self.folder = folder
        self.browser = browser
        self.trouble: list[str] = []
        self.expected: tuple[str, ...] = ()
        self.asked: list[str] = []
        self.server = subprocess.Popen(
            [sys.executable, "-m", "photocluster", "--library", str(folder), "review", "--no-browser"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self.server.stdout.readline().strip()
        self.base = self.address.split("?")[0]
        self.contexts = []

    def window(self, path: str = "", **options):
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("dialog", lambda dialog: (self.trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.trouble.append(message.text))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(self.address)
        if path:
            self.go(page, path)
        return page

    def go(self, page, path: str) -> None:
        page.goto(f"{self.base}#/{path}")
        until(page, "() => document.querySelector('.page')?.dataset.address === location.hash")

    def command(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "photocluster", "--library", str(self.folder), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        self.server.terminate()
        self.server.communicate(timeout=120)


@pytest.fixture
def site(library_folder, tmp_path, browser):
    fill(library_folder, tmp_path / "photos")
    made = Site(library_folder, browser)
    yield made
    made.close()
    assert [words for words in made.trouble if not any(part in words for part in made.expected)] == []
    assert all(address.startswith(made.base) for address in made.asked)


def named(folder: Path) -> dict[int, str]:
    with Library(folder) as library:
        names = library.names.names()
        return {face: names[a.person] for face, a in library.names.assignments().items()}


def kinds(folder: Path) -> list[str]:
    with Library(folder) as library:
        return [event.kind for event in library.history.events()]


def said(page, words: str) -> None:
    page.wait_for_selector(f"#said:has-text('{words}')")


def question(page) -> str:
    return page.get_attribute(".question", "data-id")


def until(page, holds: str, arg=None) -> None:
    """Wait until a JavaScript function of `arg` returns true; playwright's own wait is refused by the page's policy."""
    end = time.monotonic() + 120
    while not page.evaluate(holds, arg):
        assert time.monotonic() < end, f"in vain: {holds} {arg}"
        page.wait_for_timeout(50)


def next_question(page, before: str) -> None:
    until(page, "before => document.querySelector('.question')?.dataset.id !== before", before)


def counted(page, selector: str, number: int) -> None:
    until(page, "([selector, number]) => document.querySelectorAll(selector).length === number", [selector, number])


def test_questions_are_answered_by_keys_and_taken_back(site):
    page = site.window()
    page.wait_for_selector(".question")
    until(page, "() => document.querySelector('.question img').naturalWidth > 100")
    assert page.locator(".around .frame").count() == 1
    first = question(page)

    # A name, typed ahead; the next question is there before the answer.
    page.keyboard.press("y")
    page.keyboard.type("Ann")
    page.keyboard.press("Enter")
    next_question(page, first)
    said(page, "8 faces named")
    assert set(named(site.folder).values()) == {"Ann"}

    # Undo brings the question back; the name is found by its beginning.
    second = question(page)
    page.keyboard.press("u")
    page.wait_for_selector(f".question[data-id='{first}']")
    assert named(site.folder) == {}
    page.keyboard.press("Enter")
    page.keyboard.type("Ann")
    page.keyboard.press("Enter")
    next_question(page, first)
    assert question(page) == second

    # Later, not a face, leave out.
    page.keyboard.press("s")
    next_question(page, second)
    third = question(page)
    page.keyboard.press("x")
    next_question(page, third)
    said(page, "no faces")
    fourth = question(page)
    page.keyboard.press("i")
    next_question(page, fourth)
    said(page, "nobody to name")
    with Library(site.folder) as library:
        assert sorted(kind.value for kind in set(library.names.ignored().values())) == ["not-a-face", "stranger"]
    page.wait_for_selector("#progress:has-text('% of faces named')")

    # With faces chosen, the keys are about these alone.
    fifth = question(page)
    options = page.locator(".side:first-child [role=option]")
    left = options.count()
    options.nth(0).click()
    options.nth(2).click(modifiers=["Shift"])
    assert page.locator("[aria-selected=true]").count() == 3
    page.keyboard.press("x")
    said(page, "3 faces left out")
    counted(page, ".side:first-child [role=option]", left - 3)
    assert question(page) == fifth
    page.keyboard.press("Enter")
    page.keyboard.type("an")
    page.wait_for_selector("[role=listbox] [role=option]:has-text('Ann')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    next_question(page, fifth)
    said(page, "Ann")


def test_yes_and_no_to_a_person(site):
    with Library(site.folder) as library:
        for person, name in enumerate(("Ann", "Ben", "Carl")):
            label(library, [f"f{EACH * person + i}" for i in range(3)], name)
    page = site.window()
    page.wait_for_selector(".question")
    asked = set()
    for _ in range(20):
        if page.get_attribute(".question", "data-kind") == "person":
            asked.add(page.inner_text("#question"))
            break
        before = question(page)
        page.keyboard.press("s")
        next_question(page, before)
    assert asked
    assert page.locator(".others img").count() >= 3
    before = question(page)
    page.keyboard.press("n")
    next_question(page, before)
    said(page, "not ")
    assert kinds(site.folder)[0] == "answer"
    with Library(site.folder) as library:
        assert library.names.rejections() != []
    page.keyboard.press("u")
    page.wait_for_selector(f".question[data-id='{before}']")
    with Library(site.folder) as library:
        assert library.names.rejections() == []
    page.keyboard.press("y")
    next_question(page, before)
    said(page, "named")


def test_the_sure_faces_are_named_at_once_and_taken_back(site):
    with Library(site.folder) as library:
        for person, name in enumerate(("Ann", "Ben", "Carl")):
            label(library, [f"f{EACH * person + i}" for i in range(3)], name)
    page = site.window()
    page.wait_for_selector("#sure:not([hidden])")
    offered = int(re.search(r"[0-9]+", page.inner_text("#sure"))[0])
    assert offered >= 1
    page.click("#sure")
    said(page, f"{offered} faces named as guesses" if offered > 1 else "1 face named as guess")
    assert len(named(site.folder)) == 9 + offered
    assert kinds(site.folder)[0] == "propagate"
    until(page, "() => document.querySelector('#sure').hidden")
    site.go(page, "person/1")
    page.wait_for_selector(".faces .guess")
    site.go(page, "history")
    page.wait_for_selector(f".events li:has-text('Gave {offered} face')")
    site.go(page, "")
    page.wait_for_selector(".question")
    page.keyboard.press("u")
    said(page, "Taken back: gave")
    assert len(named(site.folder)) == 9
    page.wait_for_selector("#sure:not([hidden])")


def test_what_is_put_off_comes_again_when_everything_was(site):
    page = site.window()
    page.wait_for_selector(".question")
    shown = []
    for _ in range(3 * len(COLOURS)):
        before = question(page)
        shown.append(before)
        page.keyboard.press("s")
        next_question(page, before)
    everything = set(shown)
    assert len(everything) >= len(COLOURS)
    assert set(shown[: len(everything)]) == everything, "none comes again before all were shown"


def test_u_takes_back_what_was_said_of_chosen_faces(site):
    page = site.window()
    page.wait_for_selector(".question")
    first = question(page)
    options = page.locator(".side:first-child [role=option]")
    all_of_them = options.count()
    options.nth(0).click()
    page.keyboard.press("x")
    counted(page, ".side:first-child [role=option]", all_of_them - 1)
    options.nth(0).click()
    page.keyboard.press("n")
    counted(page, ".side:first-child [role=option]", all_of_them - 2)
    page.keyboard.press("u")
    counted(page, ".side:first-child [role=option]", all_of_them - 1)
    page.keyboard.press("u")
    counted(page, ".side:first-child [role=option]", all_of_them)
    assert question(page) == first
    with Library(site.folder) as library:
        assert library.names.ignored() == {}


def test_a_cluster_is_named_and_faces_are_taken_out_with_the_mouse(site):
    page = site.window("cluster/3")
    faces = page.locator(".faces [role=option]")
    assert faces.count() == EACH

    # A frame drawn round the first two.
    first, second = faces.nth(0).bounding_box(), faces.nth(1).bounding_box()
    page.mouse.move(first["x"] + 3, first["y"] + 3)
    page.mouse.down()
    page.mouse.move(second["x"] + 40, second["y"] + 60, steps=6)
    assert page.locator(".band").count() == 1
    page.mouse.up()
    assert page.locator("[aria-selected=true]").count() == 2
    page.fill(".chosen input", "Dora")
    page.keyboard.press("Enter")
    said(page, "Dora")
    assert sorted(named(site.folder).values()) == ["Dora", "Dora"]
    page.fill(".tools input", "Carla")
    page.keyboard.press("Enter")
    said(page, "4 faces named Carla")
    assert sorted(named(site.folder).values()) == ["Carla"] * 4 + ["Dora"] * 2
    page.click("nav >> text=Clusters")
    page.wait_for_selector(".clusters li")
    assert page.locator(".clusters li").count() == len(COLOURS) - 1


def test_people_are_merged_by_dragging_and_by_ticking_renamed_and_split(site):
    with Library(site.folder) as library:
        for number, name in ((3, "Carla"), (4, "Clara"), (5, "Karla")):
            label(library, [str(number)], name)
    page = site.window("people")
    page.drag_and_drop(".people li:has-text('Clara')", ".people li:has-text('Carla')")
    page.click("dialog >> text=No, go back")
    assert kinds(site.folder)[0] == "label"
    page.drag_and_drop(".people li:has-text('Clara')", ".people li:has-text('Carla')")
    page.click("dialog >> text=Yes, one person")
    said(page, "one person now")
    counted(page, ".people li", 2)
    assert sorted(named(site.folder).values()).count("Carla") == 2 * EACH

    # By the keyboard alone.
    page.focus(".people li:has-text('Carla') input")
    page.keyboard.press(" ")
    page.focus(".people li:has-text('Karla') input")
    page.keyboard.press(" ")
    page.focus(".chosen button.main")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    counted(page, ".people li", 1)
    assert set(named(site.folder).values()) == {"Carla"}

    page.click(".people a")
    page.wait_for_selector("h1:has-text('Carla')")
    page.click("text=Rename")
    page.fill(".head input", ARABIC)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"h1:has-text('{ARABIC}')")
    faces = page.locator(".faces [role=option]")
    faces.nth(0).focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    assert page.locator("[aria-selected=true]").count() == 2
    page.click("text=Somebody new")
    counted(page, ".faces [role=option]", 3 * EACH - 2)
    faces.nth(0).click()
    page.click("text=Use as cover")
    said(page, "stands for")
    faces.nth(1).click()
    page.keyboard.press("n")
    said(page, "said not to be")
    assert kinds(site.folder)[:3] == ["reject", "cover", "split"]


def test_people_who_were_seen_together_are_merged_only_when_asked_twice(site):
    with Library(site.folder) as library:
        label(library, ["1"], "Ann")
        label(library, ["2"], "Ben")
    page = site.window("people")
    page.drag_and_drop(".people li:has-text('Ben')", ".people li:has-text('Ann')")
    page.click("dialog >> text=Yes, one person")
    page.wait_for_selector("dialog:has-text('side by side')")
    assert kinds(site.folder) == ["label", "label"]
    page.click("dialog button.main")
    counted(page, ".people li", 1)
    assert set(named(site.folder).values()) == {"Ann"}
    site.trouble = [words for words in site.trouble if "422" not in words]  # the answer to the first try


def test_history_takes_back_and_does_again(site):
    with Library(site.folder) as library:
        label(library, ["3"], "Carla")
        label(library, ["4"], "Clara")
    page = site.window("history")
    page.click(".events li:has-text('Carla') button")
    page.wait_for_selector(".events .void:has-text('Carla')")
    assert set(named(site.folder).values()) == {"Clara"}
    page.click(".events .void:has-text('Carla') button")
    counted(page, ".events .void:has(button)", 0)
    assert set(named(site.folder).values()) == {"Carla", "Clara"}


def test_search_and_the_photo_with_boxes(site):
    with Library(site.folder) as library:
        label(library, ["1"], "Ann")
        label(library, ["2"], "Ben")
    page = site.window("search")
    for text, found in (("Ann", "8 photos"), ("Ann + Ben", "2 photos"), ("Ann - Ben", "6 photos")):
        page.fill("#query", text)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"main p:text-is('{found}')")
    page.fill("#query", "Ann + Bon")
    page.keyboard.press("Enter")
    page.wait_for_selector("main p:has-text('did you mean')")
    page.fill("#query", "Ann + Ben")
    page.keyboard.press("Enter")
    page.click(".photos a")
    page.wait_for_selector(".large .frame")
    until(page, "() => document.querySelector('.large img').naturalWidth > 100")
    boxes = page.eval_on_selector_all(
        ".large .frame", "all => all.map(f => [f.textContent, f.offsetLeft / f.offsetParent.offsetWidth])"
    )
    assert [name for name, _ in boxes] == ["Ann", "Ben"]
    assert [left for _, left in boxes] == pytest.approx([100 / 640, 320 / 640], abs=0.01)
    page.locator(".large .frame").nth(1).click()
    page.fill(".chosen input", "Bernard")
    page.keyboard.press("Enter")
    page.wait_for_selector(".large .frame:has-text('Bernard')")
    assert list(named(site.folder).values()).count("Bernard") == 1
    site.trouble = [words for words in site.trouble if "404" not in words]  # Bon


def test_two_windows_and_a_command_meanwhile(site):
    one, two = site.window("people"), site.window("people")
    queue = site.window()
    queue.wait_for_selector(".question")
    shown = question(queue)
    site.command("label", "1", "Ann")
    for page in (one, two):
        page.wait_for_selector(".people li:has-text('Ann')")
    next_question(queue, shown)  # the command answered it
    said(queue, "in the meantime")

    before = question(queue)
    queue.keyboard.press("Enter")
    queue.keyboard.type("Zoe")
    queue.keyboard.press("Enter")
    next_question(queue, before)
    for page in (one, two):
        page.wait_for_selector(".people li:has-text('Zoe')")

    # Decided on what is shown, while a command decides otherwise: told, and nothing is lost.
    site.go(two, "cluster/5")
    two.locator(".faces [role=option]").nth(0).click()
    two.route("**/api/changes", lambda route: route.abort())
    two.evaluate("window.stop()")
    first = int(two.get_attribute(".faces img", "src").split("/")[2])
    site.command("label", f"f{first}", "Karl")
    two.evaluate(
        """face => {
        const real = window.fetch;
        window.fetch = (path, options) => real(path, options && options.body
            ? { ...options, body: JSON.stringify({ ...JSON.parse(options.body), seen: { [face]: null } }) } : options);
    }""",
        first,
    )
    two.locator(".faces [role=option]").nth(0).focus()
    if two.locator("[aria-selected=true]").count() == 0:
        two.keyboard.press(" ")
    two.keyboard.press("x")
    two.wait_for_selector("#trouble:has-text('Karl')")
    assert named(site.folder)[first] == "Karl"
    with Library(site.folder) as library:
        assert first not in library.names.ignored()
    site.trouble = [words for words in site.trouble if "409" not in words and "ERR_FAILED" not in words]


def test_one_comes_back_to_where_one_was(site):
    page = site.window("cluster/3", viewport={"width": 390, "height": 400})
    page.evaluate("scrollTo(0, 150)")
    until(page, "() => scrollY === 150")
    page.locator(".faces [role=option]").nth(2).focus()
    place = page.evaluate("scrollY")
    page.keyboard.press("Enter")
    page.wait_for_selector(".large .frame")
    until(page, "() => scrollY === 0")
    page.go_back()
    until(page, "place => location.hash === '#/cluster/3' && Math.abs(scrollY - place) < 2", place)


def test_a_photo_that_is_gone_says_so_and_can_still_be_decided_on(site, tmp_path):
    site.expected = ("404",)  # the pictures
    for file in (tmp_path / "photos").glob("p3-*.jpg"):
        file.unlink()
    page = site.window("cluster/4")
    counted(page, ".faces img.broken", EACH)
    page.locator(".faces [role=option]").nth(0).dblclick()
    page.wait_for_selector(".problem:has-text('cannot be read')")
    assert page.locator(".large .frame").count() == 0
    page.locator(".in-photo [role=option]").nth(0).click()
    page.fill(".chosen input", "Dora")
    page.keyboard.press("Enter")
    said(page, "1 face named Dora")


def test_a_server_that_has_ended_is_told_and_nothing_seems_stored(site):
    page = site.window()
    page.wait_for_selector(".question")
    first = question(page)
    site.expected = ("ERR_",)
    site.server.terminate()
    site.server.wait(timeout=120)
    page.wait_for_selector("#trouble:has-text('does not answer')")
    page.click("#trouble button")
    page.keyboard.press("x")
    page.wait_for_selector("#trouble:has-text('was not stored')")
    assert question(page) == first
    with Library(site.folder) as library:
        assert library.names.ignored() == {}


def test_a_library_without_faces_says_what_to_do(library_folder, browser):
    make_library(library_folder).close()
    made = Site(library_folder, browser)
    try:
        page = made.window()
        page.wait_for_selector("h1:has-text('No faces yet')")
        made.go(page, "people")
        page.wait_for_selector(".empty:has-text('Nobody is named yet. Answer some questions.')")
        made.go(page, "clusters")
        page.wait_for_selector("p:has-text('nothing was clustered yet')")
        assert made.trouble == []
    finally:
        made.close()


def test_names_and_files_are_never_html(site):
    with Library(site.folder) as library:
        label(library, ["7"], SCRIPT)
        label(library, ["3"], f"{ARABIC} {SCRIPT}")
    page = site.window("people")
    assert page.locator(".people .who").first.inner_text() == SCRIPT
    page.locator(".people a").first.click()
    page.wait_for_selector("h1:has-text('onerror')")
    page.locator(".faces [role=option]").nth(0).click()
    page.click(".chosen input")
    page.wait_for_selector(".combo [role=option]:has-text('onerror')")
    site.go(page, "history")
    site.go(page, "search?q=" + SCRIPT.replace("<", "%3C").replace(">", "%3E").replace(" ", "%20"))
    page.wait_for_selector(".photos a")
    page.locator(".photos a").first.click()
    page.wait_for_selector(".large .frame:has-text('onerror')")
    site.go(page, "")
    page.wait_for_selector(".question")
    assert page.evaluate("document.querySelectorAll('main script, main [onerror]').length") == 0
    refused = page.evaluate("""() => {
        try { document.body.innerHTML = '<b>x</b>'; return 'done'; } catch (error) { return error.name; }
    }""")
    assert refused == "TypeError"
    site.trouble = [words for words in site.trouble if "TrustedHTML" not in words and "trusted" not in words.lower()]


def test_another_site_can_neither_read_nor_decide(site, tmp_path):
    page = site.window("people")
    (tmp_path / "evil.html").write_text("<h1>evil</h1>")
    evil = page.context.new_page()  # of the same browser, with the cookie in its jar
    evil.route("http://evil.example/*", lambda route: route.fulfill(body="<h1>evil</h1>", content_type="text/html"))
    evil.goto("http://evil.example/")
    tried = evil.evaluate(
        """async (base) => {
            const told = [];
            const attempt = async (path, options) => {
                try { told.push((await fetch(base + path, { credentials: 'include', ...options })).type); }
                catch { told.push('refused'); }
            };
            const body = JSON.stringify({ do: 'label', faces: [0], name: 'Mallory' });
            await attempt('api/people', {});
            await attempt('api/decide', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
            await attempt('api/decide', { method: 'POST', body, mode: 'no-cors' });
            const form = document.createElement('form');
            form.action = base + 'api/decide'; form.method = 'post'; form.enctype = 'text/plain';
            const field = document.createElement('input');
            field.name = body.slice(0, -1) + ', "x": "'; field.value = '"}'; form.append(field);
            const frame = document.createElement('iframe'); frame.name = 'frame'; form.target = 'frame';
            const image = new Image(); image.src = base + 'face/0/224';
            const loaded = new Promise((resolve) => {
                image.onload = () => resolve(true);
                image.onerror = () => resolve(false);
            });
            document.body.append(frame, form); form.submit();
            told.push(await loaded);
            await new Promise((resolve) => setTimeout(resolve, 500));
            return told;
        }""",
        site.base,
    )
    assert tried[:2] == ["refused", "refused"]
    assert tried[-1] is False
    assert kinds(site.folder) == []
    site.asked = [address for address in site.asked if "evil" not in address]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(site, axe, scheme):
    with Library(site.folder) as library:
        label(library, ["1"], "Ann")
        label(library, ["2"], ARABIC)
    wide, narrow = (
        site.window(color_scheme=scheme),
        site.window(
            color_scheme=scheme, viewport={"width": 390, "height": 844}, has_touch=True, reduced_motion="reduce"
        ),
    )
    for page in (wide, narrow):
        page.wait_for_selector(".question")
        pages = ["", "people", "person/1", "clusters", "cluster/3", "search?q=Ann", "history"]
        for path in pages:
            site.go(page, path)
            page.wait_for_selector("main img" if path else ".question img")
            if path in {"cluster/3", "person/1"}:
                page.locator(".faces [role=option]").nth(0).click()
            assert axe(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is too wide"
        page.locator(".events a").first.click()
        page.wait_for_selector(".large .frame")
        assert axe(page) == []
    wide.keyboard.press("?")
    wide.wait_for_selector("dialog[open]")
    assert axe(wide) == []


def test_everything_can_be_reached_by_the_keyboard_and_the_focus_is_seen(site):
    page = site.window()
    page.wait_for_selector(".question")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => {
                    const element = document.activeElement, style = getComputedStyle(element);
                    const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
                    return [element.textContent.trim().slice(0, 12), seen];
                }"""
            )
        )
    words = " ".join(text for text, _ in reached)
    for wanted in ("Skip to", "Questions", "People", "History", "Keys", "Later", "Not a face", "Undo", "Give the nam"):
        assert wanted in words
    assert all(visible for text, visible in reached if text and not re.match(r"Skip", text))
    assert os.environ["PHOTOCLUSTER_LIBRARY"] == str(site.folder)

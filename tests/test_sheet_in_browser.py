"""The contact sheet in a real browser: what the eye, the keyboard and the network see of it."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from test_contact_sheet import EVIL, FACTS, a_face, dated, named, write

from photocluster.records import Source
from photocluster.sheet_plan import SheetQuestion

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    """Return the folder of a sheet whose photos are there, with two people in one of them."""
    folder = tmp_path_factory.mktemp("sheet")
    for number in range(1, 13):
        Image.new("RGB", (FACTS.width, FACTS.height), (20 * number, 120, 90)).save(folder / f"{number}.jpg")
    photo = {number: {"photo": number, "path": str(folder / f"{number}.jpg")} for number in range(1, 13)}
    rows = [
        *(
            named(i, "Ann", facts=dated(f"2011-05-06T07:08:{i:02}"), distance=0.4 + i / 100, **photo[i])
            for i in range(1, 9)
        ),
        named(9, "Ann", distance=1.3, **photo[9]),
        named(20, EVIL, box=(300, 200, 380, 280), **photo[1]),
        named(21, "שרה", Source.PROPAGATED, distance=0.9, **photo[10]),
        named(22, "Zoë", **photo[11]),
        named(23, "Zoë", **photo[12]),
        a_face(30, cluster=5, box=(10, 10, 60, 60), **photo[12]),
        a_face(31, path="/gone.jpg"),
    ]
    ask = SheetQuestion(1, "Is face f30 Zoë?", [rows[-2]], [rows[-3]], "Zoë", needs_name=False, count=1)
    write(folder / "out", rows, questions=[ask], for_print=True)
    return folder / "out"


@pytest.fixture
def page(browser):
    """Return a page that fails the test where it asks for anything but files, breaks its policy, or has an error."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.set_default_timeout(120_000)
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    yield page
    context.close()
    assert [url for url in asked if not url.startswith("file:")] == []
    assert [text for text in wrong if "ERR_FILE_NOT_FOUND" not in text] == []


def url(sheet, name):
    (path,) = sheet.glob(name)
    return path.as_uri()


def test_search_finds_from_any_page_by_keyboard(page, sheet):
    page.goto(url(sheet, "cluster-5.html"))
    page.keyboard.press("/")
    page.keyboard.type("zoe")
    assert page.locator("#results li").all_inner_texts() == ["Zoë 2 faces"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/person-zoe-*.html")
    page.fill("#search", "nobody")
    assert page.inner_text("#said") == "Nobody of that name"
    page.fill("#search", "<script>")
    assert EVIL in page.inner_text("#results")


def test_people_are_sorted_by_a_button(page, sheet):
    page.goto(url(sheet, "index.html"))
    names = page.locator(".people .name")
    assert names.all_inner_texts() == [EVIL, "Ann", "Zoë", "שרה"]
    page.get_by_role("button", name="By number of faces").click()
    assert names.all_inner_texts() == ["Ann", "Zoë", EVIL, "שרה"]
    page.get_by_role("button", name="A to Z").click()
    assert names.all_inner_texts() == [EVIL, "Ann", "Zoë", "שרה"]


def test_the_whole_photo_shows_who_is_in_it(page, sheet):
    page.goto(url(sheet, "person-ann-*.html"))
    page.locator("#face-1 a").click()
    dialog = page.locator("dialog")
    assert dialog.locator(".label").all_inner_texts() == ["Ann", EVIL]
    assert "1.jpg" in dialog.inner_text()
    frame, box = dialog.locator("img").bounding_box(), dialog.locator(".box.current").bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(400 / 300, abs=0.01)
    place = [(box["x"] - frame["x"]) / frame["width"], (box["y"] - frame["y"]) / frame["height"]]
    assert place == pytest.approx([100 / 400, 100 / 300], abs=0.01)
    page.keyboard.press("ArrowRight")
    assert dialog.locator(".place").inner_text() == "2 of 9"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert dialog.locator(".place").inner_text() == "9 of 9"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.dataset.face") == "9"
    page.locator("#face-1 a").click()
    dialog.locator("a.box", has_text="script").click()
    page.wait_for_url("**/person-script-*.html#face-20")


def test_a_photo_that_is_gone_says_so(page, sheet):
    page.goto(url(sheet, "noise-1.html"))
    with page.expect_event("requestfailed"):
        page.locator("#face-31 a").click()
    page.locator("dialog .problem").wait_for(state="visible")
    assert "cannot be shown" in page.inner_text("dialog")


def test_faces_are_filtered_and_outliers_go_with_their_heading(page, sheet):
    page.goto(url(sheet, "person-ann-*.html"))
    assert page.locator("h2", has_text="Far from the others").is_visible()
    page.fill("#filter", "2011 07:08")
    assert page.locator("ul.faces > li:visible").count() == 8
    assert not page.locator("h2", has_text="Far from the others").is_visible()
    assert page.inner_text("#filtered") == "8 of 9 faces on this page"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_nothing_serious(browser, sheet, axe, scheme, width):
    page = browser.new_page(
        color_scheme=scheme, viewport={"width": width, "height": 800}
    )  # axe itself reads style sheets
    for name in ("index.html", "person-ann-*.html", "confirm.html", "noise-1.html", "print.html"):
        page.goto(url(sheet, name))
        assert axe(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.goto(url(sheet, "person-ann-*.html"))
    page.locator("#face-1 a").click()
    assert axe(page) == []
    page.close()


def test_it_can_be_read_without_its_script(browser, sheet):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url(sheet, "index.html"))
    assert not page.locator("#search").is_visible()
    page.get_by_text("Ann", exact=True).click()
    assert page.locator("ul.faces > li").count() == 9
    context.close()


def test_paper_has_a_sheet_for_each_large_group(page, sheet, tmp_path):
    page.goto(url(sheet, "print.html"))
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") in (2, 3)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('.own-page')).breakBefore") == "page"


def test_ten_thousand_faces_open_in_two_seconds(page, tmp_path):
    rows = [named(i, f"Person {i % 700}", photo=i, path="/gone.jpg") for i in range(8000)]
    rows += [a_face(8000 + i, cluster=i % 600, path="/gone.jpg") for i in range(2000)]
    write(tmp_path / "out", rows)
    for name in ("index.html", "person-person-0-*.html"):
        took = []
        while len(took) < 12 and min(took, default=9.0) >= 2:  # other programs may be at work
            page.goto(url(tmp_path / "out", name))
            timing = json.loads(page.evaluate("JSON.stringify(performance.getEntriesByType('navigation')[0])"))
            took.append(timing["loadEventEnd"] / 1000)
        assert min(took) < 2, name

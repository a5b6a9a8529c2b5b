"""The contact sheet: what stands where, what is made again, and that nothing of the user's is touched."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from photocluster.contact_sheet import MANIFEST, write_contact_sheet
from photocluster.errors import UnreadableFile, UsageError
from photocluster.models import Detector
from photocluster.records import Box, DecodedPhoto, Detection, FaceRow, PhotoFacts, Quality, Source
from photocluster.sessions import weights_folder
from photocluster.sheet_plan import OUTLIER_GROUP, NamedPlace, SheetQuestion, plan_pages
from photocluster.thumbnails import long_side_needed, shown_square, thumbnail, thumbnail_key

FACTS = PhotoFacts(400, 300, 1, "JPEG", None, None)
MADE_AT = datetime(2026, 1, 2, 3, 4)  # noqa: DTZ001 - the user's local time
TEST_DATA = Path(os.environ.get("PHOTOCLUSTER_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))


def a_face(face, *, photo=None, path=None, box=(100, 100, 150, 160), facts=FACTS, quality=0.5, **changes):
    photo = f"{face if photo is None else photo:064x}"
    path = f"/photos/{photo[-4:]}.jpg" if path is None else path
    detection = Detection(Box(*map(float, box)), 0.9, np.zeros((5, 2), np.float32))
    row = FaceRow(face, photo, path, False, facts, detection, Quality(50, 0.3, 0, 0, 0, 10, quality), *[None] * 5)
    return replace(row, **changes)


def named(face, person, source=Source.USER, **changes):
    return a_face(face, person=person, source=source, **changes)


def dated(text):
    return replace(FACTS, captured_at=text)


class Loader:
    """Gives grey pictures of the size asked for, and notes what it was asked."""

    def __init__(self, gone=()):
        self.calls, self.gone = [], gone

    def __call__(self, row, long_side):
        path = row.path
        self.calls.append((path, long_side))
        if path in self.gone:
            raise UnreadableFile(f'{path}: no such file. Reconnect the drive "A&B"')
        scale = long_side / 400
        return DecodedPhoto(np.full((round(300 * scale), long_side, 3), 128, np.uint8), scale, FACTS)


def write(out, rows, load=None, **options):
    options = {"library_name": "Family", "made_at": MADE_AT, **options}
    if "page_size" in options:
        options.setdefault("cards", options["page_size"])
    return write_contact_sheet(out, rows, load_photo=load or Loader(), **options)


class Page(HTMLParser):
    """What the tests look at in a page: elements with their attributes, and the text without tags."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, attribute):
        return [attrs[attribute] for name, attrs in self.elements if name == tag and attribute in attrs]


def html_of(out):
    return {path.name: Page(path) for path in out.glob("*.html")}


def person_page(out, slug):
    (path,) = out.glob(f"person-{slug}-??????????.html")
    return Page(path)


EVIL = "<script>alert(\"x\")</script> & 'Sons'"


def a_library():
    """People, one of them with an evil name; clusters with and without named faces; noise; no date, no path."""
    return [
        *(named(i, "Ann", cluster=1, facts=dated(f"20{10 + i}-05-06T07:08:09")) for i in range(4)),
        a_face(4, cluster=1, probability=0.9),
        named(5, EVIL, Source.IMPORTED, path=f"/photos/{EVIL.replace('/', '')}.jpg"),
        named(6, "שרה", Source.PROPAGATED, distance=0.876),
        *(a_face(i, cluster=2, probability=0.5) for i in range(7, 10)),
        a_face(10),
        a_face(11, path="", missing=True),
    ]


# The pages


def test_what_the_summary_counts(tmp_path):
    summary = write(tmp_path / "sheet", a_library())
    counts = (summary.people, summary.clusters, summary.noise, summary.faces, summary.photos)
    assert counts == (3, 2, 2, 12, 12)
    assert summary.pages == summary.pages_written == len(html_of(tmp_path / "sheet")) == 7
    assert (summary.thumbnails_written, summary.photos_decoded, len(summary.unreadable)) == (11, 11, 1)


@pytest.mark.parametrize("page_size", [2, 500])
def test_every_link_leads_somewhere_and_nothing_is_fetched(tmp_path, page_size):
    write(tmp_path, a_library(), page_size=page_size)
    pages = html_of(tmp_path)
    for name, page in pages.items():
        resources = page.all("img", "src") + page.all("link", "href") + page.all("script", "src")
        assert all((tmp_path / resource).is_file() for resource in resources), name
        for target in page.all("a", "href"):
            parts = urlsplit(target)
            assert parts.scheme in ("", "file"), name
            if parts.scheme == "":
                there = pages[parts.path or name]
                assert not parts.fragment or parts.fragment in [a.get("id") for _, a in there.elements], target


def test_pages_are_marked_up_for_all(tmp_path):
    write(tmp_path, a_library(), page_size=2)
    for name, page in html_of(tmp_path).items():
        tags = Counter(tag for tag, _ in page.elements)
        assert tags["main"] == tags["h1"] == 1, name
        scripts = [attrs for tag, attrs in page.elements if tag == "script"]
        assert all(attrs.get("type") == "application/json" or "defer" in attrs for attrs in scripts), name
        assert not tags["style"] + tags["iframe"], name
        assert not any(key.startswith("on") or key == "style" for _, attrs in page.elements for key in attrs)
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
        assert all(after <= before + 1 for before, after in pairwise(levels)), name
        ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
        assert len(ids) == len(set(ids)), name
        for attrs in (attrs for tag, attrs in page.elements if tag == "img"):
            assert attrs.keys() >= {"alt", "width", "height", "loading"}, name
        labels = [attrs["aria-label"] for tag, attrs in page.elements if tag == "nav"]
        assert len(labels) == len(set(labels)), name
        assert page.all("html", "lang") == ["en"]
        policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
        assert policy.startswith("default-src 'none'; img-src 'self' file:; style-src 'self' file:; script-src")
        assert "unsafe" not in policy


def test_every_face_stands_on_one_page(tmp_path):
    write(tmp_path, a_library(), page_size=2)
    ids = [attrs.get("id", "") for page in html_of(tmp_path).values() for _, attrs in page.elements]
    assert sorted(i for i in ids if i.startswith("face-")) == sorted(f"face-{i}" for i in range(12))


def test_names_are_escaped_and_isolated(tmp_path):
    write(tmp_path, a_library(), library_name=EVIL)
    for page in html_of(tmp_path).values():
        assert not [tag for tag, _ in page.elements if tag == "sons'"]
        assert all(attrs.get("src", "sheet").startswith("sheet") for tag, attrs in page.elements if tag == "script")
        assert page.all("script", "src") == ["sheet-data.js", "sheet.js"]
    assert EVIL in Page(tmp_path / "index.html").text
    assert "<bdi>שרה</bdi>" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert EVIL in person_page(tmp_path, "script-alert-x-script-sons").all("img", "alt")[0]


def test_people_are_sorted_without_case_and_accents_and_clusters_by_size(tmp_path):
    rows = [named(i, name) for i, name in enumerate(["Zoë", "bob", "Élodie", "Ann", "ann", "Emma"])]
    rows += [a_face(10 + i, cluster=cluster) for i, cluster in enumerate([3, 5, 5, 4])]
    write(tmp_path, rows)
    text = Page(tmp_path / "index.html").text
    order = [text.index(f" {name} ") for name in ["Ann", "ann", "bob", "Élodie", "Emma", "Zoë"]]
    assert order == sorted(order)
    assert text.index("Cluster 5") < text.index("Cluster 3") < text.index("Cluster 4")


def test_faces_are_sorted_by_time_then_path_and_the_undated_come_last(tmp_path):
    rows = [
        named(1, "Ann", path="/b.jpg"),
        named(2, "Ann", path="/z.jpg", facts=dated("2012-01-01T00:00:00")),
        named(3, "Ann", path="/a.jpg"),
        named(4, "Ann", path="/y.jpg", facts=dated("2011-01-01T00:00:00")),
    ]
    write(tmp_path, rows[::-1])
    ids = [attrs["id"] for tag, attrs in person_page(tmp_path, "ann").elements if tag == "li" and "id" in attrs]
    assert ids == ["face-4", "face-2", "face-3", "face-1"]


def test_full_years_get_headings(tmp_path):
    rows = [named(i, "Ann", facts=dated(f"20{11 + i // 20}-01-01T00:00:{i % 20:02}")) for i in range(40)]
    write(tmp_path, rows)
    text = person_page(tmp_path, "ann").text
    assert re.search(r"2011.2012 .* 2011 .* 2012 ", text)


def test_a_face_says_where_it_is_from(tmp_path):
    write(tmp_path, a_library())
    texts = " ".join(page.text for page in html_of(tmp_path).values())
    assert re.search(r"propagated\s*distance 0\.88", texts)
    assert "named by you" in texts
    assert "4 named by you" in person_page(tmp_path, "ann").text
    assert "2010-05-06 07:08" in person_page(tmp_path, "ann").text
    assert "file not found" in Page(tmp_path / "noise-1.html").text


def test_the_cover_is_the_best_face_that_the_user_named(tmp_path):
    rows = [
        named(1, "Ann", Source.PROPAGATED, quality=0.9),
        named(2, "Ann", Source.USER, quality=0.2),
        named(3, "Ann", Source.USER, quality=0.6),
        named(4, "Ann", Source.IMPORTED, quality=1.0),
    ]
    write(tmp_path, rows)
    assert Page(tmp_path / "index.html").all("img", "src") == [f"faces/000/3-{thumbnail_key(rows[2])}.jpg"]


def test_a_cluster_of_mostly_one_name_says_so(tmp_path):
    write(tmp_path, a_library())
    page = Page(tmp_path / "cluster-1.html")
    assert "Mostly Ann?" in page.text
    assert 'photocluster label 1 "Ann"' in page.text
    assert "tight" in page.text
    assert "Cluster 1 is mostly this person: 1 more face" in person_page(tmp_path, "ann").text
    other = Page(tmp_path / "cluster-2.html")
    assert "Mostly" not in other.text
    assert 'photocluster label 2 "NAME"' in other.text
    assert "loose" in other.text


@pytest.mark.parametrize(("count", "said"), [(1, False), (2, True)])
def test_half_is_mostly(tmp_path, count, said):
    rows = [*(named(i, "Ann", cluster=1) for i in range(count)), *(a_face(10 + i, cluster=1) for i in range(2))]
    write(tmp_path, rows)
    assert ("Mostly" in Page(tmp_path / "cluster-1.html").text) is said


@pytest.mark.parametrize("name", ['a"b', "$(rm)", "`x`", "%PATH%", "a!b", "-x", "back\\slash", "a\nb"])
def test_a_name_that_a_shell_would_change_stands_in_no_command(tmp_path, name):
    write(tmp_path, [named(1, name, cluster=1), a_face(2, cluster=1)])
    assert 'photocluster label 1 "NAME"' in Page(tmp_path / "cluster-1.html").text


def test_the_commands_name_the_library_where_the_caller_says_so(tmp_path):
    write(tmp_path, a_library(), command="photocluster --library /x")
    assert 'photocluster --library /x label 2 "NAME"' in Page(tmp_path / "index.html").text


def test_long_groups_are_paged(tmp_path):
    rows = [a_face(i) for i in range(25)] + [named(100 + i, "Ann") for i in range(11)]
    write(tmp_path, rows, page_size=10)
    assert sorted(path.name for path in tmp_path.glob("noise*")) == ["noise-1.html", "noise-2.html", "noise-3.html"]
    middle = (tmp_path / "noise-2.html").read_text()
    assert '<a href="noise-1.html" rel="prev">' in middle
    assert '<a href="noise-3.html" rel="next">' in middle
    assert "page 2 of 3" in middle
    assert len(list(tmp_path.glob("person-ann-*-2.html"))) == 1


def test_the_index_is_paged_and_its_navigation_finds_the_clusters(tmp_path):
    rows = [named(i, f"P{i}") for i in range(3)] + [a_face(10 + i, cluster=i) for i in range(4)]
    write(tmp_path, rows, page_size=2)
    assert sorted(path.name for path in tmp_path.glob("index*")) == [
        "index-2.html", "index-3.html", "index-4.html", "index.html",
    ]  # fmt: skip
    assert "index-2.html#clusters" in Page(tmp_path / "index.html").all("a", "href")
    assert "clusters" in Page(tmp_path / "index-2.html").all("h2", "id")


def test_a_sheet_of_some_faces_says_nothing_of_the_others(tmp_path):
    write(tmp_path / "cluster", [a_face(i, cluster=2) for i in range(3)], whole=False)
    page = html_of(tmp_path / "cluster")["index.html"]
    assert "3 faces in 3 photos." in page.text
    assert not any(words in page.text for words in ("Nobody has a name", "0 people", "People"))
    write(tmp_path / "person", [named(i, "Ann") for i in range(3)], whole=False)
    page = html_of(tmp_path / "person")["index.html"]
    assert "3 faces in 3 photos." in page.text
    assert "unnamed cluster" not in page.text
    assert "index.html#people" in page.all("a", "href")


def test_an_empty_library_has_a_page(tmp_path):
    summary = write(tmp_path, [])
    assert summary.pages == 1
    assert "photocluster scan FOLDER" in Page(tmp_path / "index.html").text


@pytest.mark.skipif(os.name == "nt", reason="bytes that are not UTF-8 stand only in POSIX paths")
def test_a_path_that_is_not_utf8_is_linked(tmp_path):
    raw = b"/photos/\xe9t\xe9 #1?.jpg"
    write(tmp_path, [a_face(1, path=os.fsdecode(raw))])
    page = Page(tmp_path / "noise-1.html")
    (link,) = [link for link in page.all("a", "href") if link.startswith("file:")]
    assert unquote(urlsplit(link).path, errors="surrogateescape").encode("utf-8", "surrogateescape") == raw
    assert r"\xe9t\xe9 #1?.jpg" in page.text


@pytest.mark.parametrize("extra", [0, 1])
def test_outliers_come_last_and_are_marked_in_groups_that_are_large_enough(tmp_path, extra):
    near = [named(i, "Ann", distance=0.5 + i / 100) for i in range(1, OUTLIER_GROUP - 1 + extra)]
    write(tmp_path, [named(0, "Ann", distance=1.3), *near])
    page = person_page(tmp_path, "ann")
    ids = [attrs["id"] for tag, attrs in page.elements if tag == "li" and "id" in attrs]
    assert ids.index("face-0") == (len(near) if extra else 0)
    assert ("Far from the others" in page.text) == bool(extra)
    assert page.text.count("far from the others") == extra
    cover = Page(tmp_path / "index.html").all("img", "src")[0]
    assert cover.startswith("faces/000/0-") != bool(extra)


def pictures_of(path):
    (data,) = re.findall(r'<script type="application/json" id="pictures">(.*?)</script>', path.read_text("utf-8"))
    return json.loads(data)


def test_a_page_knows_all_faces_of_its_photos(tmp_path):
    rows = [named(1, "Ann", photo=1), named(2, EVIL, photo=1, box=(-20, 200, 80, 320)), a_face(3, photo=1, cluster=4)]
    write(tmp_path, rows)
    (path,) = tmp_path.glob("person-ann-*")
    (picture,) = pictures_of(path).values()
    assert picture["src"] == picture["link"] == "file:///photos/0001.jpg"
    assert picture["size"] == [400, 300]
    faces = {face[0]: face for face in picture["faces"]}
    assert faces[1][1:6] == [0.25, 0.3333, 0.125, 0.2, "Ann"]
    assert faces[2][1:6] == [0, 0.6667, 0.2, 0.3333, EVIL]  # cut off at the photo's edge
    assert faces[3][5:] == ["Cluster 4", "cluster-4.html"]
    assert person_page(tmp_path, "ann").all("a", "data-picture") == [rows[0].photo]


def test_a_page_knows_names_that_wait_for_a_face(tmp_path):
    rows = [named(1, "Ann")]
    places = {rows[0].photo: [NamedPlace("Ann", Box(200, 150, 300, 330)), NamedPlace(EVIL, Box(0, 0, 4, 3))]}
    write(tmp_path, rows, places=places)
    (path,) = tmp_path.glob("person-ann-*")
    (picture,) = pictures_of(path).values()
    assert picture["places"] == [[None, 0.5, 0.5, 0.25, 0.5, "Ann", path.name], [None, 0, 0, 0.01, 0.01, EVIL, None]]


@pytest.mark.parametrize(
    ("changes", "copied"),
    [
        ({}, False),
        ({"format": "HEIF"}, True),
        ({"orientation": 6}, False),
        ({"format": "PNG", "orientation": 6}, True),
    ],
)
def test_photos_that_browsers_do_not_show_upright_are_copied(tmp_path, changes, copied):
    row = a_face(1, facts=replace(PhotoFacts(4000, 3000, 1, "JPEG", None, None), **changes))
    load = Loader()
    write(tmp_path, [row], load)
    (picture,) = pictures_of(tmp_path / "noise-1.html").values()
    name = f"photos/{row.photo}.jpg"
    assert (picture["src"] == name) == copied
    assert (tmp_path / name).exists() == copied
    if copied:
        with Image.open(tmp_path / name) as image:
            assert image.size == (1600, 1200)
    write(tmp_path, [row], load)
    assert len(load.calls) == 1
    write(tmp_path, [])
    assert not (tmp_path / "photos").exists()


def test_a_sheet_to_give_away_holds_the_photos(tmp_path):
    write(tmp_path, [a_face(1), a_face(2, photo=1), a_face(3, path="", missing=True)], with_photos=True)
    assert len(list((tmp_path / "photos").iterdir())) == 1
    sources = [picture["src"] for picture in pictures_of(tmp_path / "noise-1.html").values()]
    assert sorted(sources, key=str) == sorted([None, f"photos/{1:064x}.jpg"], key=str)


def test_faces_of_a_video_say_when_and_show_their_frames(tmp_path):
    facts = replace(FACTS, format="MP4", duration=90.0)
    load = Loader()
    write(tmp_path, [a_face(1, photo=1, facts=facts, time=3.5), a_face(2, photo=1, facts=facts, time=75.0)], load)
    page = Page(tmp_path / "noise-1.html")
    assert " at 0:03 " in page.text
    assert " at 1:15 " in page.text
    assert len(load.calls) == len(pictures_of(tmp_path / "noise-1.html")) == len(list(tmp_path.glob("photos/*"))) == 2


def test_questions_have_a_page_with_their_commands(tmp_path):
    ann, who = named(1, "Ann"), a_face(2, cluster=3)
    questions = [
        SheetQuestion(7, f"Is face f2 {EVIL}?", [who], [ann], "Ann", needs_name=False, count=9),
        SheetQuestion(8, "Who is cluster 3 (1 face)?", [who], [], None, needs_name=True, count=1),
    ]
    summary = write(tmp_path, [ann, who], questions=questions, command="photocluster --library /x")
    page = Page(tmp_path / "confirm.html")
    assert f"7 Is face f2 {EVIL}?" in page.text
    assert "photocluster --library /x accept 7 " in page.text
    assert 'photocluster --library /x accept 8 --name "NAME"' in page.text
    assert "photocluster --library /x reject 8" in page.text
    assert "and 8 more faces" in page.text
    assert "2 questions to confirm" in Page(tmp_path / "index.html").text
    assert summary.pages == 4
    assert write(tmp_path, [ann, who]).removed == 1


def test_the_page_for_paper_shows_every_face_and_is_written_if_asked_for(tmp_path):
    rows = a_library()
    assert write(tmp_path, rows, for_print=True).pages == 8
    page = Page(tmp_path / "print.html")
    assert len(page.all("img", "src")) == len(rows) + 3  # and the people at its head
    assert EVIL in page.text
    assert not page.all("script", "src") + page.all("img", "loading")
    assert write(tmp_path, rows).removed == 1


def test_the_search_knows_everybody(tmp_path):
    write(tmp_path, a_library(), page_size=2)
    text = (tmp_path / "sheet-data.js").read_text("ascii")
    listed = json.loads(text.removeprefix("window.photoclusterSheet = ").removesuffix(";\n"))
    assert [(title, faces) for title, _, _, faces in listed] == [
        (EVIL, 1), ("Ann", 4), ("שרה", 1), ("Cluster 2", 3), ("Cluster 1", 1), ("Faces in no cluster", 2),
    ]  # fmt: skip
    assert all((tmp_path / page).is_file() for _, _, page, _ in listed)


# Names of pages


NAMES = [
    "Ann",
    "ann",
    "ANN",
    "Änn",
    "CON",
    "../../x",
    "a/b",
    "a:b",
    ".",
    "",
    "😀",
    "שרה",
    "שרה כ",
    "x" * 300,
    "a\udcffb",
]


def test_page_names_are_safe_and_of_no_two_persons_the_same():
    plan = plan_pages([named(i, name) for i, name in enumerate(NAMES)], 500)
    names = [group.pages[0] for group in plan.people]
    assert len({name.casefold() for name in names}) == len(NAMES)
    assert all(re.fullmatch(r"person(-[a-z0-9]+)+\.html", name) and len(name) < 80 for name in names)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=10), unique=True, max_size=4))
def test_any_names_give_pages(names):
    plan = plan_pages([named(i, name) for i, name in enumerate(names)], 500)
    assert len(set(plan.page_names)) == len(names) + 1


def test_all_names_can_be_written(tmp_path):
    assert write(tmp_path, [named(i, name) for i, name in enumerate(NAMES)]).pages == len(NAMES) + 1


# Thumbnails


def test_a_photo_is_decoded_once_at_the_size_that_its_smallest_face_needs(tmp_path):
    facts = PhotoFacts(4000, 3000, 6, "JPEG", None, None)
    rows = [a_face(i, photo=1, box=(0, 0, 1000, 1000), facts=facts, cluster=i) for i in range(40)]
    load = Loader()
    write(tmp_path, rows, load, workers=2)
    assert load.calls == [("/photos/0001.jpg", 498)]  # 4000 * 224 / 1800, the box and 40 % on each side
    small = a_face(40, photo=1, box=(0, 0, 50, 50), facts=facts)
    assert long_side_needed([*rows, small]) == 4000


def test_a_second_run_decodes_and_writes_nothing(tmp_path):
    write(tmp_path, a_library())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    load = Loader()
    summary = write(tmp_path, a_library()[::-1], load)
    assert (summary.pages_written, summary.thumbnails_written, summary.removed, load.calls) == (0, 0, 0, [])
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("box", [(99, 100, 150, 160), (100, 99, 150, 160), (100, 100, 151, 160), (100, 100, 150, 161)])
def test_another_box_of_the_same_face_is_another_thumbnail(tmp_path, box):
    write(tmp_path, [a_face(1)])
    load = Loader()
    summary = write(tmp_path, [a_face(1, box=box)], load)
    assert (len(load.calls), summary.removed, len(list(tmp_path.rglob("*.jpg")))) == (1, 1, 1)


def test_thumbnails_lie_in_folders_of_a_thousand(tmp_path):
    write(tmp_path, [a_face(999), a_face(1000), a_face(1234567)])
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == ["000", "001", "1234"]


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3])
def test_the_thumbnail_shows_the_face_at_any_scale(scale):
    full = np.zeros((1500, 2000, 3), np.uint8)
    full[600:900, 1000:1300] = (255, 0, 0)
    shape = (round(2000 * scale), round(1500 * scale))
    photo = DecodedPhoto(np.asarray(Image.fromarray(full).resize(shape, Image.Resampling.BOX)), scale, FACTS)
    row = a_face(1, box=(1000, 600, 1300, 900), facts=PhotoFacts(2000, 1500, 1, "JPEG", None, None))
    image = Image.open(BytesIO(thumbnail(photo, row)))
    assert image.size == ((224, 224) if scale > 0.4 else (162, 162))
    red = np.asarray(image)[:, :, 0] > 128
    ys, xs = np.nonzero(red)
    edges = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / image.width
    np.testing.assert_allclose(edges, [0.4 / 1.8, 0.4 / 1.8, 1.4 / 1.8, 1.4 / 1.8], atol=0.015)


numbers = st.floats(-500, 4500)


@settings(deadline=None)
@given(
    st.tuples(numbers, numbers, st.floats(0.1, 5000), st.floats(0.1, 5000)), st.integers(1, 4000), st.integers(1, 4000)
)
def test_the_square_lies_in_the_photo(box, width, height):
    x, y, w, h = box
    row = a_face(1, box=(x, y, x + w, y + h), facts=PhotoFacts(width, height, 1, "JPEG", None, None))
    left, top, side = shown_square(row)
    assert side > 0
    assert min(left, top) >= 0
    assert left + side <= width + 1e-6
    assert top + side <= height + 1e-6
    assert 1 <= long_side_needed([row]) <= max(width, height)


def test_a_photo_that_changed_its_size_still_gives_a_thumbnail():
    photo = DecodedPhoto(np.zeros((3, 2, 3), np.uint8), 1.0, FACTS)
    assert Image.open(BytesIO(thumbnail(photo, a_face(1)))).size == (2, 2)


def test_a_photo_that_is_gone_has_a_placeholder_with_the_reason(tmp_path):
    rows = [a_face(1, path="/gone.jpg"), a_face(2, path="/here.jpg")]
    summary = write(tmp_path, rows, Loader(gone={"/gone.jpg"}))
    assert summary.unreadable.keys() == {rows[0].photo}
    page = Page(tmp_path / "noise-1.html")
    shown = dict(zip(page.all("img", "alt"), page.all("img", "src"), strict=True))
    assert shown['No picture: /gone.jpg: no such file. Reconnect the drive "A&B"'] == "no-picture.svg"
    assert len(list(tmp_path.rglob("*.jpg"))) == 1
    assert "1 photo could not be read" in Page(tmp_path / "index.html").text

    back = write(tmp_path, rows)
    assert (back.photos_decoded, back.thumbnails_written, dict(back.unreadable)) == (1, 1, {})


def test_progress_counts_photos(tmp_path):
    seen = []
    write(tmp_path, [a_face(i, photo=i // 2) for i in range(4)], progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]


# The folder


def test_what_is_no_longer_there_is_removed(tmp_path):
    write(tmp_path, [named(1, "Ann"), named(2, "Bob"), a_face(5001)])
    summary = write(tmp_path, [named(1, "Ann")])
    assert summary.removed == 4  # Bob's page and picture, the noise's
    assert not list(tmp_path.glob("person-bob*"))
    assert [path.name for path in (tmp_path / "faces").iterdir()] == ["000"]


def test_what_the_user_put_there_stays(tmp_path):
    write(tmp_path, [named(1, "Ann")])
    mine = [tmp_path / "notes.html", tmp_path / "faces" / "000" / "mine.jpg", tmp_path / "cluster-9.html"]
    for path in mine:
        path.write_text("mine")
    write(tmp_path, [])
    assert all(path.read_text() == "mine" for path in mine)
    with pytest.raises(UsageError, match=r"cluster-9\.html was not written by photocluster"):
        write(tmp_path, [a_face(1, cluster=9)])
    assert mine[2].read_text() == "mine"


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("mine")
    load = Loader()
    with pytest.raises(UsageError, match="name an empty folder"):
        write(tmp_path, a_library(), load)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
    assert load.calls == []


def test_a_folder_with_only_a_desktops_clutter_is_empty(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert write(tmp_path, []).pages == 1


def test_a_file_or_a_missing_parent_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        write(tmp_path / "file", [])
    with pytest.raises(UsageError, match="create it first"):
        write(tmp_path / "none" / "sheet", [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": "photocluster contact sheet", "version": 2, "files": []}', "version"),
    ],
)
def test_a_strange_manifest_is_refused(tmp_path, text, says):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UsageError, match=says):
        write(tmp_path, [])


def test_a_manifest_cannot_make_it_delete_other_files(tmp_path):
    out = tmp_path / "sheet"
    write(out, [])
    mine = [tmp_path / "mine.html", out / "mine.txt"]
    for path in mine:
        path.write_text("mine")
    content = json.loads((out / MANIFEST).read_text())
    content["files"] += ["../mine.html", "mine.txt", str(mine[0]), "faces/../../mine.html"]
    (out / MANIFEST).write_text(json.dumps(content))
    write(out, [])
    assert all(path.exists() for path in mine)


def test_an_interrupted_run_is_taken_up(tmp_path):
    rows = [a_face(i) for i in range(4)]
    load = Loader()

    def stop(row, long_side):
        if len(load.calls) == 2:
            raise KeyboardInterrupt
        return load(row, long_side)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, rows, stop)
    assert not (tmp_path / "index.html").exists()
    again = Loader()
    write(tmp_path, rows, again)
    assert len(again.calls) == 2
    assert write(tmp_path, []).removed == 5  # four pictures and the noise's page


# How it looks


def luminance(colour):
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array(colour) / 255]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("theme", [0, 1])
def test_the_colours_meet_wcag_aa(tmp_path, theme):
    write(tmp_path, [])
    root = re.findall(r":root \{([^}]*--ground[^}]*)\}", (tmp_path / "style.css").read_text())[theme]
    colours = {
        name: luminance([int(value[i : i + 2], 16) for i in (0, 2, 4)])
        for name, value in re.findall(r"--(\w+): #([0-9a-f]{6})", root)
    }
    for ground in ("ground", "raised"):
        for text in ("text", "quiet", "accent"):
            light, dark = sorted([colours[ground], colours[text]], reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (theme, ground, text)


@pytest.mark.slow
def test_a_face_is_found_again_in_its_thumbnail():
    photos = sorted((TEST_DATA / "sets" / "celeb5" / "Madonna").glob("*.jpg"))[:5]
    if not photos:
        pytest.skip(f"no photos in {TEST_DATA}; set PHOTOCLUSTER_TEST_DATA")
    if not (weights_folder() / "manifest.json").exists():
        pytest.skip("the package was not built: it has no weights")
    detector = Detector()
    for path in photos:
        rgb = np.asarray(Image.open(path).convert("RGB"))
        height, width = rgb.shape[:2]
        detection = detector.detect(rgb)[0]
        row = replace(a_face(1, facts=PhotoFacts(width, height, 1, "JPEG", None, None)), detection=detection)
        image = np.asarray(Image.open(BytesIO(thumbnail(DecodedPhoto(rgb, 1.0, FACTS), row))))
        left, top, side = shown_square(row)
        zoom = image.shape[0] / side
        box = detection.box
        expected = Box((box.x0 - left) * zoom, (box.y0 - top) * zoom, (box.x1 - left) * zoom, (box.y1 - top) * zoom)
        assert max(found.box.iou(expected) for found in detector.detect(image)) > 0.7

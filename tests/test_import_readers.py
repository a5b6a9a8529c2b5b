"""Readers of Picasa, Takeout, folders and tables: what is said of which photo."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photocluster.errors import UsageError
from photocluster.foreign import NameTag, Problem, Space, TaggedPhoto
from photocluster.foreign.folders import read_folders
from photocluster.foreign.picasa import parse_ini, read_contacts, read_picasa, rect64
from photocluster.foreign.table import read_table
from photocluster.foreign.takeout import json_names, match_json, read_takeout
from photocluster.records import Box

ADA, BOB = "8e62b2035b74b477", "02fa1c"


def said(found):
    """Return file name -> [(name, box)] of the tagged photos, and the problems."""
    found = list(found)
    photos = {
        tagged.path.name: [(t.name, t.box) for t in tagged.tags] for tagged in found if isinstance(tagged, TaggedPhoto)
    }
    return photos, [each for each in found if isinstance(each, Problem)]


# Picasa


def write_ini(folder, text, name=".picasa.ini"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode("utf-8") if isinstance(text, str) else text)


def test_rect64_is_padded_on_the_left():
    assert rect64("3f845bcb59418507") == Box(0x3F84 / 65535, 0x5BCB / 65535, 0x5941 / 65535, 0x8507 / 65535)
    assert rect64("5bcb59418507") == Box(0, 0x5BCB / 65535, 0x5941 / 65535, 0x8507 / 65535)
    assert rect64("1") is None
    assert rect64("0000000000000000") is None


@given(st.lists(st.integers(0, 65535), min_size=4, max_size=4))
def test_rect64_of_any_numbers(values):
    x0, y0, x1, y1 = values
    code = f"{x0:04x}{y0:04x}{x1:04x}{y1:04x}".lstrip("0") or "0"
    box = rect64(code)
    assert (box is None) == (x0 >= x1 or y0 >= y1)
    if box is not None:
        assert [round(v * 65535) for v in (box.x0, box.y0, box.x1, box.y1)] == values


def test_picasa_names_and_boxes(tmp_path):
    write_ini(
        tmp_path,
        f"[Picasa]\nname=Holiday 100%\n[Contacts2]\n{ADA}=Ada Lovelace;;\n{BOB}=Bob;bob@example.com;\n"
        f"[a.jpg]\nstar=yes\nbackuphash=1\nfaces=rect64(3f845bcb59418507),{ADA};rect64(1000100020002000),{BOB[1:]}\n"
        f"rotate=rotate(1)\n[b.jpg]\nfaces=rect64(3f845bcb59418507),ffffffffffffffff\nnonsense\nfaces2\n",
    )
    photos, problems = said(read_picasa([tmp_path], {}))
    assert photos == {"a.jpg": [("Ada Lovelace", rect64("3f845bcb59418507")), ("Bob", rect64("1000100020002000"))]}
    assert problems == []
    (tagged,) = read_picasa([tmp_path], {})
    assert {tag.space for tag in tagged.tags} == {Space.STORED}
    assert tagged.said_in == tmp_path / ".picasa.ini"


def test_picasa_ran_where_case_does_not_count(tmp_path):
    place = tmp_path / "IMG_1.jpg"
    place.touch()
    (tmp_path / ".picasa.ini").write_text(
        "[Contacts2]\n1a=Ann;;\n[img_1.JPG]\nfaces=rect64(3f845bcb59418507),1a\n[gone.jpg]\nfaces=rect64(3f845bcb59418507),1a\n"
    )
    found = sorted(tagged.path.name for tagged in read_picasa([tmp_path], {}))
    assert found in (["IMG_1.jpg", "gone.jpg"], ["gone.jpg", "img_1.JPG"])
    assert (tmp_path / found[0 if found[0] != "gone.jpg" else 1]).exists()


def test_picasa_contacts_come_from_contacts_xml_then_from_the_folders_above(tmp_path):
    write_ini(tmp_path, f"[Contacts2]\n{ADA}=Ada;;\n{BOB}=Bob;;\n")
    write_ini(
        tmp_path / "x" / "y",
        f"[Contacts2]\n{BOB}=Robert;;\n[c.jpg]\nfaces=rect64(1000100020002000),{ADA};"
        f"rect64(3000300040004000),{BOB};rect64(5000500060006000),abc\n",
        "Picasa.ini",
    )
    photos, problems = said(read_picasa([tmp_path], {}))
    assert [name for name, _ in photos["c.jpg"]] == ["Ada", "Robert"]
    assert "contacts abc" in problems[0].reason
    xml = tmp_path / "contacts.xml"
    xml.write_text(
        f'<contacts><contact id="{ADA}" name="Ada L."/><contact id="abc" display="Abe"/></contacts>', encoding="utf-8"
    )
    photos, problems = said(read_picasa([tmp_path], read_contacts(xml)))
    assert [name for name, _ in photos["c.jpg"]] == ["Ada L.", "Robert", "Abe"]
    assert problems == []


def test_picasa_passes_its_originals_over_and_reads_old_code_pages(tmp_path):
    write_ini(
        tmp_path / ".picasaoriginals", f"[Contacts2]\n{ADA}=Ada;;\n[a.jpg]\nfaces=rect64(1000100020002000),{ADA}\n"
    )
    assert list(read_picasa([tmp_path], {})) == []
    assert parse_ini("[Contacts2]\na=Zoë;;".encode("cp1252")) == {"Contacts2": {"a": "Zoë;;"}}
    assert parse_ini("\ufeff[Contacts2]\r\na=Zoë;;\r\n".encode()) == {"Contacts2": {"a": "Zoë;;"}}


@given(st.binary(max_size=200))
def test_any_ini_is_read(content):
    parse_ini(content)


@pytest.mark.parametrize("text", ["", "<a>", "<contacts><contact id='1' name='x'></contacts>"])
def test_a_bad_contacts_file(tmp_path, text):
    (tmp_path / "contacts.xml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"no contacts\.xml"):
        read_contacts(tmp_path / "contacts.xml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_contacts(tmp_path / "none.xml")


# Takeout

WEDDING = "Backyard_ceremony_wedding_photography_xxxxxxx_"

PAIRS = [  # the names that users report; see the module's docstring
    ("IMG_1.jpg", "IMG_1.jpg.json"),
    ("IMG_1.jpg", "IMG_1.jpg.supplemental-metadata.json"),
    ("IMG_20250112_100426_00_HDR.jpg", "IMG_20250112_100426_00_HDR.jpg.supplemental-me.json"),
    ("IMG_1(1).jpg", "IMG_1.jpg(1).json"),
    ("IMG_1(1).jpg", "IMG_1.jpg.supplemental-metadata(1).json"),
    ("IMG_1(1).jpg", "IMG_1(1).jpg.json"),
    ("PXL_20230809_203449253.LONG_EXPOSURE-02.ORIGINA.jpg", "PXL_20230809_203449253.LONG_EXPOSURE-02.ORIGIN.json"),
    ("05yqt21kruxwwlhhgrwrdyb6chhwszi9bqmzu16w0 2.jpg", "05yqt21kruxwwlhhgrwrdyb6chhwszi9bqmzu16w0 2.jp.json"),
    ("Urlaub in Knaufspesch in der Schneifel (38).JPG", "Urlaub in Knaufspesch in der Schneifel (38).JP.json"),
    (WEDDING + "m(494).jpg", WEDDING + "(494).json"),
    ("13039_327707840323_537645323_9470255_27214_n(1).jpg", "13039_327707840323_537645323_9470255_27214_n.j(1).json"),
    ("original_1d4caa6f-16c6-4c3d-901b-9387de10e528_P.jpg", "original_1d4caa6f-16c6-4c3d-901b-9387de10e528_.json"),
    (23 * "\U0001f600" + "\U0001f61b.jpg", 23 * "\U0001f600" + ".json"),
    (22 * "\U0001f600" + "\u263a\ufe0f\U0001f61b.jpg", 22 * "\U0001f600" + "\u263a\ufe0f.json"),
]  # fmt: skip


@pytest.mark.parametrize(("photo", "name"), PAIRS)
def test_the_json_of_a_photo(photo, name):
    assert name in json_names(photo)
    assert match_json([photo], {name: ""}) == {photo: name}


@pytest.mark.parametrize(
    ("photo", "name"),
    [("a(1).jpg", "a.jpg(2).json"), ("a.jpg", "a.jpg(1).json"), ("a(1).jpg", "a.jpg.json"), ("b.jpg", "a.jpg.json")],
)
def test_the_json_of_another_photo(photo, name):
    assert match_json([photo], {name: ""}) == {}


def test_edited_copies_go_by_their_original():
    titles = {"a.jpg.json": "a.jpg", "a.jpg(1).json": "a.jpg", "b.PORTRAIT.jpg.json": ""}
    media = [
        "a.jpg",
        "a-edited.jpg",
        "a(1).jpg",
        "a-bearbeitet(1).jpg",
        "b.PORTRAIT.jpg",
        "b.PORTRAIT-modifié.jpg",
        "a-2.jpg",
    ]
    assert match_json(media, titles) == {
        "a.jpg": "a.jpg.json",
        "a-edited.jpg": "a.jpg.json",
        "a(1).jpg": "a.jpg(1).json",
        "a-bearbeitet(1).jpg": "a.jpg(1).json",
        "b.PORTRAIT.jpg": "b.PORTRAIT.jpg.json",
        "b.PORTRAIT-modifié.jpg": "b.PORTRAIT.jpg.json",
    }


def test_a_title_is_the_last_resort():
    assert match_json(["a_b_.jpg"], {"x.json": "a&b?.jpg"}) == {"a_b_.jpg": "x.json"}


def test_takeout_folder(tmp_path):
    def write(name, content):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")

    write("a.jpg", "")
    write("a.jpg.supplemental-metadata.json", {"title": "a.jpg", "people": [{"name": "Ann"}, {"name": "Zoë"}, {}]})
    write("b.jpg", "")
    write("b.jpg.json", {"title": "b.jpg"})
    write("metadata.json", {"title": "Album"})
    write("gone.jpg.json", {"title": "gone.jpg", "people": [{"name": "Ann"}]})
    write("broken.jpg.json", "{")
    write("odd.json", "[1]")
    write("deep.json", "[" * 100_000)
    write("Records.json", " " * (1 << 20) + "{")
    photos, problems = said(read_takeout([tmp_path]))
    assert photos == {"a.jpg": [("Ann", None), ("Zoë", None)]}
    assert sorted((problem.path.name, problem.reason[:12]) for problem in problems) == [
        ("broken.jpg.json", "is no JSON: "),
        ("deep.json", "is no JSON: "),
        ("gone.jpg.json", "names people"),
    ]


# Folders


def test_folders(tmp_path):
    for path in (
        "Ann/a.jpg",
        "Ben_Affleck/2019/b.jpg",
        "_group/c.jpg",
        ".hidden/d.jpg",
        "e.jpg",
        "Zoë/.x/f.jpg",
        "2019-07/g.jpg",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    photos, problems = said(read_folders(tmp_path))
    assert photos == {"a.jpg": [("Ann", None)], "b.jpg": [("Ben Affleck", None)]}
    assert problems == []
    assert all(tag.centred for tagged in read_folders(tmp_path, centred=True) for tag in tagged.tags)
    assert isinstance(next(read_folders(tmp_path / "none")), Problem)


# Tables


def test_table_of_every_format(tmp_path):
    rows = [
        {
            "path": "a.jpg",
            "photo": "",
            "person": "Ann",
            "x0": 10,
            "y0": 20,
            "x1": 30,
            "y1": 40,
            "width": 100,
            "height": 200,
        },
        {"path": None, "photo": "b" * 64, "person": "Ben", "x0": 1, "y0": 2, "x1": 3, "y1": 4},
        {"path": "c\\xff.jpg", "person": "Zoë"},
        {"path": "d.jpg", "person": "Guess", "source": "propagated"},
        {"path": "e.jpg", "person": None},
        {"path": "f.jpg", "person": "Ann", "x0": 5, "y0": 2, "x1": 3, "y1": 4},
        {"person": "Ann"},
    ]
    columns = [*rows[0], "source"]
    csv_lines = [",".join(columns)] + [
        ",".join(str(row.get(c) if row.get(c) is not None else "") for c in columns) for row in rows
    ]
    (tmp_path / "t.csv").write_text("\ufeff" + "\r\n".join(csv_lines), encoding="utf-8")
    (tmp_path / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(
        pa.Table.from_pylist([{c: row.get(c) for c in columns} for row in rows]), tmp_path / "t.parquet"
    )
    expected = [
        TaggedPhoto(tmp_path / "a.jpg", (NameTag("Ann", Box(0.1, 0.1, 0.3, 0.2)),), tmp_path),
        TaggedPhoto(None, (NameTag("Ben", Box(1, 2, 3, 4), Space.PIXELS),), tmp_path, "b" * 64),
        TaggedPhoto(tmp_path / "c\udcff.jpg", (NameTag("Zoë"),), tmp_path),
    ]
    for suffix in ("csv", "json", "jsonl", "parquet"):
        path = tmp_path / f"t.{suffix}"
        found = list(read_table(path))
        assert [(t.path, t.tags, t.sha256) for t in found[:3]] == [(t.path, t.tags, t.sha256) for t in expected]
        assert [problem.reason for problem in found[3:]] == [
            "row 6: the box 5, 2, 3, 4 has no area",
            "row 7: neither photo nor path is given",
        ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.txt", "", "must end in"),
        ("t.json", "{}", "array"),
        ("t.json", "[1]", "each entry"),
        ("t.jsonl", "{", "damaged"),
        ("t.json", "[" * 100_000, "damaged"),
        ("t.parquet", "x", "damaged"),
        ("t.csv", "a,b\n1,2\n", "no columns"),
    ],
)
def test_what_is_no_table(tmp_path, name, text, says):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        list(read_table(tmp_path / name))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_of_a_spreadsheet(tmp_path, mark):
    (tmp_path / "t.csv").write_text(f'\ufeffPath{mark}Person \r\na.jpg{mark}"Ann, Bea; Cid"\r\n', encoding="utf-8")
    (found,) = read_table(tmp_path / "t.csv")
    assert (found.path, found.tags) == (tmp_path / "a.jpg", (NameTag("Ann, Bea; Cid", space=Space.UPRIGHT),))


def test_a_table_in_another_encoding_says_what_to_do(tmp_path):
    (tmp_path / "t.csv").write_bytes("person,path\nZoë,a.jpg\n".encode("latin-1"))
    with pytest.raises(UsageError, match="save it anew as CSV UTF-8"):
        list(read_table(tmp_path / "t.csv"))


def test_what_is_no_text_names_nobody(tmp_path):
    rows = [{"person": ["Ann"], "path": "a.jpg"}, {"person": "Ann", "path": 3}, {"person": 5, "photo": "b" * 64}]
    (tmp_path / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    assert [problem.reason for problem in read_table(tmp_path / "t.json")] == [
        f"row {number}: person, photo and path must be text" for number in (1, 2, 3)
    ]


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_table(tmp_path / "t.csv"))

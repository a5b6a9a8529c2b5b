"""Names written into packets of other programs: nothing of theirs is lost, and what is ours is known again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photocluster import rdf
from photocluster.records import Box
from photocluster.regions import Frame
from photocluster.xmp_merge import KEYWORDS, Beside, DamagedMetadata, Memory, Merged, merge
from photocluster.xmp_regions import Named

FRAME = Frame(4000, 3000, 1)
ANN = Named("Ann", Box(0.1, 0.1, 0.2, 0.3))
BOB = Named("Bob", Box(0.5, 0.1, 0.6, 0.3))
NOBODY = Memory()

# An independent reading of RDF, made of plain values: text, tuples for arrays, dicts for structures.

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
XML = "{http://www.w3.org/XML/1998/namespace}"
LISTS = {rdf.tag(name) for name in KEYWORDS}


def model(content: bytes | None) -> dict[str, Any]:
    """Return what a packet says, whatever the form in which it says it."""
    if not content:
        return {}
    root = ET.fromstring(content)
    outer = root if root.tag == f"{RDF}RDF" else root.find(f".//{RDF}RDF")
    said: dict[str, Any] = {}
    for node in outer:
        for name, value in _fields(node).items():
            listed = (value,) if name in LISTS and isinstance(value, str) else value
            said[name] = said[name] + listed if name in said and isinstance(listed, tuple) else listed
    return {name: value for name, value in said.items() if value != ()}


def _fields(node: ET.Element) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: " ".join(text.split()) for key, text in node.attrib.items() if not key.startswith((RDF, XML))
    }
    for child in node:
        if child.tag != f"{RDF}Description":
            found[child.tag] = _value(child)
    if found.get(rdf.tag("mwg-rs:Name")) == "":  # a name without a letter is none
        del found[rdf.tag("mwg-rs:Name")]
    return found


def _value(node: ET.Element) -> Any:
    for kind in ("Bag", "Seq", "Alt"):
        array = node.find(f"{RDF}{kind}")
        if array is not None:
            return tuple(_value(item) for item in array)
    inner = node.find(f"{RDF}Description")
    source = node if inner is None else inner
    fields = _fields(source)
    if fields:
        return fields
    text = " ".join((node.text or "").split())
    language = node.get(f"{XML}lang")
    return (language, text) if language else text


def holds(new: Any, old: Any) -> bool:
    """Whether all that the old value says is in the new one, in the same order."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and holds(new[name], value) for name, value in old.items())
    if isinstance(old, tuple) and isinstance(new, tuple):
        rest = iter(new)
        return all(any(holds(item, wanted) for item in rest) for wanted in old)
    return bool(new == old)


def texts(content: bytes | None, name: str) -> list[str]:
    return list(model(content).get(rdf.tag(name), ()))


def faces(content: bytes | None) -> list[tuple[str, ...]]:
    """Return name, x, y, w, h of MWG regions."""
    info = model(content).get(rdf.tag("mwg-rs:Regions"), {})
    found = []
    for region in info.get(rdf.tag("mwg-rs:RegionList"), ()):
        area = region.get(rdf.tag("mwg-rs:Area"), {})
        sides = (area.get(rdf.tag(f"stArea:{key}"), "") for key in ("x", "y", "w", "h"))
        found.append((region.get(rdf.tag("mwg-rs:Name"), ""), *sides))
    return found


def rectangles(content: bytes | None) -> list[tuple[str, str]]:
    """Return name and rectangle of MP regions."""
    info = model(content).get(rdf.tag("MP:RegionInfo"), {})
    return [
        (region.get(rdf.tag("MPReg:PersonDisplayName"), ""), region.get(rdf.tag("MPReg:Rectangle"), ""))
        for region in info.get(rdf.tag("MPRI:Regions"), ())
    ]


def test_a_new_packet_says_what_the_conventions_ask_for():
    merged = merge(b"", [ANN, BOB], NOBODY, Frame(4000, 3000, 6))
    assert faces(merged.content) == [("Ann", "0.2", "0.85", "0.2", "0.1"), ("Bob", "0.2", "0.45", "0.2", "0.1")]
    assert rectangles(merged.content) == [("Ann", "0.1, 0.8, 0.2, 0.1"), ("Bob", "0.1, 0.4, 0.2, 0.1")]
    info = model(merged.content)[rdf.tag("mwg-rs:Regions")]
    size = {rdf.tag("stDim:w"): "4000", rdf.tag("stDim:h"): "3000", rdf.tag("stDim:unit"): "pixel"}
    assert info[rdf.tag("mwg-rs:AppliedToDimensions")] == size
    assert texts(merged.content, "digiKam:TagsList") == ["People/Ann", "People/Bob"]
    assert texts(merged.content, "lr:hierarchicalSubject") == ["People|Ann", "People|Bob"]
    assert texts(merged.content, "dc:subject") == ["Ann", "Bob"]
    assert texts(merged.content, "Iptc4xmpExt:PersonInImage") == ["Ann", "Bob"]
    assert b"Orientation" not in merged.content


def test_again_changes_no_byte():
    first = merge(b"", [ANN, BOB], NOBODY, FRAME)
    assert merge(first.content, [ANN, BOB], first.memory, FRAME).content == first.content
    assert merge(first.content, [BOB, ANN], NOBODY, FRAME).content == first.content  # even where nobody remembers
    assert merge(b"", [], NOBODY, FRAME).content is None


def test_what_is_ours_is_renamed_moved_and_withdrawn():
    first = merge(b"", [ANN, BOB], NOBODY, FRAME)
    anna = Named("Anna", ANN.box)
    renamed = merge(first.content, [anna, BOB], first.memory, FRAME)
    assert [name for name, *_ in faces(renamed.content)] == ["Anna", "Bob"]
    assert texts(renamed.content, "dc:subject") == ["Bob", "Anna"]
    moved = merge(renamed.content, [Named("Anna", BOB.box), Named("Bob", ANN.box)], renamed.memory, FRAME)
    assert sorted(faces(moved.content)) == [("Anna", "0.55", "0.2", "0.1", "0.2"), ("Bob", "0.15", "0.2", "0.1", "0.2")]
    left = merge(moved.content, [Named("Bob", ANN.box)], moved.memory, FRAME)
    assert [name for name, *_ in faces(left.content)] == ["Bob"]
    assert texts(left.content, "digiKam:TagsList") == ["People/Bob"]
    gone = merge(left.content, [], left.memory, FRAME)
    assert gone == Merged(None, Memory())


def test_only_the_case_of_a_name_changes():
    first = merge(b"", [Named("ann", ANN.box)], NOBODY, FRAME)
    again = merge(first.content, [ANN], first.memory, FRAME)
    assert [name for name, *_ in faces(again.content)] == ["Ann"]
    assert texts(again.content, "dc:subject") == ["Ann"]


def test_a_name_that_was_there_is_not_doubled_and_not_withdrawn():
    theirs = merge(b"", [Named("ANN", Box(0.09, 0.08, 0.21, 0.33))], NOBODY, FRAME).content
    ours = merge(theirs, [ANN, BOB], NOBODY, FRAME)
    assert [name for name, *_ in faces(ours.content)] == ["ANN", "Bob"]
    assert texts(ours.content, "dc:subject") == ["ANN", "Bob"]
    assert model(merge(ours.content, [], ours.memory, FRAME).content) == model(theirs)


def test_a_root_in_another_language_is_the_same_tag():
    theirs = b"""<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description
        xmlns:digiKam='http://www.digikam.org/ns/1.0/'><digiKam:TagsList><rdf:Seq><rdf:li>Personen/Ann</rdf:li>
        <rdf:li>Bob</rdf:li></rdf:Seq></digiKam:TagsList></rdf:Description></rdf:RDF>"""
    merged = merge(theirs, [ANN, BOB], NOBODY, FRAME)
    assert texts(merged.content, "digiKam:TagsList") == ["Personen/Ann", "Bob", "People/Bob"]


def test_a_box_without_a_name_gets_it_and_loses_it_again():
    theirs = merge(b"", [Named("X", ANN.box)], NOBODY, FRAME).content.replace(b">X<", b"><")
    named = merge(theirs, [ANN], NOBODY, FRAME)
    assert [name for name, *_ in faces(named.content)] == ["Ann"]
    assert [region.given for region in named.memory.regions] == [True, True]
    renamed = merge(named.content, [Named("Eve", ANN.box)], named.memory, FRAME)
    assert [name for name, *_ in faces(renamed.content)] == ["Eve"]
    without = merge(renamed.content, [], renamed.memory, FRAME)
    assert [name for name, *_ in faces(without.content)] == [""]


def test_another_name_for_the_same_face_is_told():
    theirs = merge(b"", [Named("Eve", ANN.box)], NOBODY, FRAME).content
    merged = merge(theirs, [ANN], NOBODY, FRAME)
    assert merged.conflicts == (("Ann", "Eve"),)
    assert [name for name, *_ in faces(merged.content)] == ["Eve", "Ann"]


def test_a_region_that_another_program_rounded_is_still_ours():
    first = merge(b"", [ANN], NOBODY, FRAME)
    rounded = first.content.replace(b"<stArea:x>0.15</stArea:x>", b"<stArea:x>0.1512</stArea:x>")
    assert rounded != first.content
    assert faces(merge(rounded, [], first.memory, FRAME).content) == []


def test_one_person_twice_in_a_mirror():
    twice = [ANN, Named("Ann", BOB.box)]
    merged = merge(b"", twice, NOBODY, FRAME)
    assert len(faces(merged.content)) == 2
    assert texts(merged.content, "dc:subject") == ["Ann"]
    once = merge(merged.content, [ANN], merged.memory, FRAME)
    assert faces(once.content) == [("Ann", "0.15", "0.2", "0.1", "0.2")]


def test_of_a_video_only_the_names_are_written():
    merged = merge(b"", [Named("Ann", None)], NOBODY, None)
    assert faces(merged.content) == []
    assert texts(merged.content, "Iptc4xmpExt:PersonInImage") == ["Ann"]


def test_a_box_over_the_edge_is_cut():
    merged = merge(b"", [Named("Ann", Box(-0.1, 0.5, 0.1, 1.1))], NOBODY, FRAME)
    assert rectangles(merged.content) == [("Ann", "0, 0.5, 0.1, 0.5")]


def test_regions_of_the_shown_picture_stay_of_one_kind():
    """Where the size that a file gives is that of the picture as shown, ours mean that picture too."""
    turned = Frame(4000, 3000, 6)
    theirs = merge(b"", [BOB], NOBODY, Frame(3000, 4000, 1)).content
    merged = merge(theirs, [ANN], NOBODY, turned)
    assert faces(merged.content)[1] == ("Ann", "0.15", "0.2", "0.1", "0.2")


def test_faces_tell_which_picture_a_file_means_that_contradicts_itself():
    """The size is that of the picture as shown, and the boxes lie in the stored one."""
    turned = Frame(4000, 3000, 6)
    theirs = merge(b"", [BOB], NOBODY, turned).content
    theirs = theirs.replace(b"w>4000<", b"w>x<").replace(b"h>3000<", b"h>4000<").replace(b"w>x<", b"w>3000<")
    merged = merge(theirs, [ANN, BOB], NOBODY, turned)
    assert [name for name, *_ in faces(merged.content)] == ["Bob", "Ann"]
    assert faces(merged.content)[1] == ("Ann", "0.2", "0.85", "0.2", "0.1")


@pytest.mark.parametrize("content", [b"<?xml version='1.0'?><html/>", b"<x:xmpmeta", b"hello"])
def test_what_cannot_be_read_is_not_written_over(content):
    with pytest.raises(DamagedMetadata):
        merge(content, [ANN], NOBODY, FRAME)


def others(inside: str) -> bytes:
    return f"<x:xmpmeta {DECLARED}><rdf:RDF><rdf:Description>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>".encode()


def listed(name: str, *entries: str) -> str:
    return f"<{name}><rdf:Bag>{''.join(f'<rdf:li>{entry}</rdf:li>' for entry in entries)}</rdf:Bag></{name}>"


@pytest.mark.parametrize(
    ("inside", "tags", "hierarchy", "subject"),
    [
        (listed("dc:subject", "Sea", "ANN"), ["Sea", "People/Ann"], ["Sea", "People|Ann"], ["Sea", "ANN"]),
        (
            listed("lr:hierarchicalSubject", "Places|Rome/Lazio", "Sea") + listed("dc:subject", "Sea", "Rome"),
            ["Places/Rome-Lazio", "Sea", "People/Ann"],
            ["Places|Rome/Lazio", "Sea", "People|Ann"],
            ["Sea", "Rome", "Ann"],
        ),
        (
            listed("digiKam:TagsList", "Family/Ann", "Sea"),
            ["Family/Ann", "Sea"],
            ["Family|Ann", "Sea"],
            ["Ann"],
        ),
    ],
)
def test_a_new_list_of_ours_does_not_hide_what_others_wrote_in_another(inside, tags, hierarchy, subject):
    """digiKam and Immich read the first list that they find."""
    before = others(inside)
    merged = merge(before, [ANN], NOBODY, FRAME)
    assert texts(merged.content, "digiKam:TagsList") == tags
    assert texts(merged.content, "lr:hierarchicalSubject") == hierarchy
    assert texts(merged.content, "dc:subject") == subject
    assert merge(merged.content, [ANN], merged.memory, FRAME).content == merged.content
    assert model(merge(merged.content, [], merged.memory, FRAME).content) == model(before)


def test_what_others_take_out_of_their_list_goes_out_of_ours():
    merged = merge(others(listed("dc:subject", "Sea", "Sun")), [ANN], NOBODY, FRAME)
    edited = merged.content.replace(b"<rdf:li>Sun</rdf:li>", b"", 1)
    assert texts(edited, "dc:subject") == ["Sea", "Ann"]
    again = merge(edited, [ANN], merged.memory, FRAME)
    assert texts(again.content, "digiKam:TagsList") == ["Sea", "People/Ann"]


def test_a_sidecar_says_what_the_photo_says_itself():
    own_faces = (Named("Dora", BOB.box), Named("Eve", ANN.box))
    elsewhere = Beside((("Places", "Rome"),), ("Rome", "Sea"), ("Dora",), own_faces)
    merged = merge(b"", [ANN], NOBODY, FRAME, elsewhere)
    assert texts(merged.content, "digiKam:TagsList") == ["Places/Rome", "People/Ann"]
    assert texts(merged.content, "dc:subject") == ["Rome", "Sea", "Ann"]
    assert texts(merged.content, "Iptc4xmpExt:PersonInImage") == ["Dora", "Ann"]
    assert [name for name, *_ in faces(merged.content)] == ["Ann", "Dora"], "of one place our word counts"
    again = merge(merged.content, [ANN], merged.memory, FRAME, elsewhere)
    assert again.content == merged.content
    assert merge(again.content, [], again.memory, FRAME, elsewhere).content is None
    assert merge(b"", [], NOBODY, FRAME, elsewhere).content is None


def test_names_of_every_alphabet_and_markup():
    names = ['"Björn" <b> & Co', "山田 太郎", "علي", "O'Neil", "a/b|c"]
    people = [Named(name, Box(0.1 * i, 0.1, 0.1 * i + 0.08, 0.2)) for i, name in enumerate(names)]
    merged = merge(b"", people, NOBODY, FRAME)
    assert [name for name, *_ in faces(merged.content)] == names
    assert texts(merged.content, "dc:subject") == names
    assert merge(merged.content, people, merged.memory, FRAME).content == merged.content
    assert merge(merged.content, people, NOBODY, FRAME).content == merged.content
    assert merge(merged.content, [], merged.memory, FRAME).content is None
    assert "People/a-b|c" in texts(merged.content, "digiKam:TagsList")
    assert "People|a/b-c" in texts(merged.content, "lr:hierarchicalSubject")


def test_what_xml_cannot_hold_is_left_out_of_a_name():
    merged = merge(b"", [Named("An\uffffn", ANN.box)], NOBODY, FRAME)
    assert texts(merged.content, "dc:subject") == ["Ann"]


# Packets as anybody might have written them.

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Cn")), min_size=1, max_size=8)
WORD = TEXT.map(lambda text: " ".join(text.split())).filter(bool)
NAME = st.sampled_from(["Ann", "Bob", "Cid", "ann", "Eve"])
URIS = {"u": "http://example.org/unknown/", "exif": "http://ns.adobe.com/exif/1.0/", **rdf.NAMESPACES}
DECLARED = " ".join(f"xmlns:{prefix}='{uri}'" for prefix, uri in URIS.items() if prefix != "xml")


@st.composite
def structures(draw, depth: int = 0) -> str:
    """Return the inside of an element: text, an array, or a structure in one of its forms."""
    kind = draw(st.sampled_from(["text", "text", "array", "fields", "description"] if depth < 2 else ["text"]))
    if kind == "text":
        return escape(draw(WORD))
    inner = [draw(structures(depth=depth + 1)) for _ in range(draw(st.integers(1, 2)))]
    if kind == "array":
        array = draw(st.sampled_from(["Bag", "Seq", "Alt"]))
        return f"<rdf:{array}>{''.join(f'<rdf:li>{text}</rdf:li>' for text in inner)}</rdf:{array}>"
    fields = "".join(f"<u:f{i}>{text}</u:f{i}>" for i, text in enumerate(inner))
    attribute = quoteattr(draw(WORD))
    return f"<rdf:Description u:a={attribute}>{fields if kind == 'fields' else ''}</rdf:Description>"


@st.composite
def their_regions(draw) -> str:
    """Return a list of regions: faces with and without names, pets, points of focus, unknown fields."""
    items = []
    for i in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(NAME, st.just(""), WORD))
        kind = draw(st.sampled_from(["Face", "Face", "Pet", "Focus", "BarCode"]))
        size = draw(st.sampled_from(["0.1", "0.12", "0"]))
        x = draw(st.sampled_from(["0.15", "0.35", "0.55"]))
        extra = f" u:id={quoteattr(draw(WORD))}" if draw(st.booleans()) else ""
        area = f"<mwg-rs:Area stArea:x='{x}' stArea:y='0.{i + 1}5' stArea:w='{size}' stArea:h='{size}'/>"
        named = f" mwg-rs:Name={quoteattr(name)}" if name or draw(st.booleans()) else ""
        items.append(
            f"<rdf:li><rdf:Description mwg-rs:Type='{kind}'{named}{extra}>{area}<mwg-rs:Extensions>"
            f"{draw(structures(depth=1))}</mwg-rs:Extensions></rdf:Description></rdf:li>"
        )
    dimensions = "<mwg-rs:AppliedToDimensions stDim:w='2000' stDim:h='1500' stDim:unit='pixel'/>"
    return (
        f"<mwg-rs:Regions rdf:parseType='Resource'>{dimensions if draw(st.booleans()) else ''}"
        f"<mwg-rs:RegionList><rdf:Bag>{''.join(items)}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


@st.composite
def keyword_lists(draw) -> str:
    """Return lists of keywords, some of which are the names of persons that will be written too."""
    lists = []
    for name in draw(st.lists(st.sampled_from(sorted(KEYWORDS)), unique=True)):
        array, separator = KEYWORDS[name]
        people = NAME.map(f"People{separator}".__add__)
        entries = draw(st.lists(st.one_of(WORD, NAME, people), max_size=3))
        kind = draw(st.sampled_from([array, "rdf:Bag", "rdf:Seq"]))
        inside = "".join(f"<rdf:li>{escape(entry)}</rdf:li>" for entry in entries)
        lists.append(f"<{name}><{kind}>{inside}</{kind}></{name}>")
    return "".join(lists)


@st.composite
def packets(draw) -> bytes:
    """Return a packet of another program, or nothing."""
    if draw(st.integers(0, 9)) == 0:
        return b""
    descriptions = []
    for i in range(draw(st.integers(0, 2))):
        attributes = f" exif:a{i}={quoteattr(draw(WORD))}" if draw(st.booleans()) else ""
        inside = "".join(f"<u:p{i}{j}>{draw(structures())}</u:p{i}{j}>\n  " for j in range(draw(st.integers(0, 3))))
        descriptions.append(f"<rdf:Description rdf:about=''{attributes}>\n  {inside}</rdf:Description>")
    if draw(st.booleans()):
        descriptions.append(f"<rdf:Description rdf:about=''>{draw(their_regions())}</rdf:Description>")
    if draw(st.booleans()):
        descriptions.append(f"<rdf:Description rdf:about=''>{draw(keyword_lists())}</rdf:Description>")
    comment = "<!-- mine -->" if draw(st.booleans()) else ""
    body = "\n ".join(draw(st.permutations(descriptions)))
    text = f"<x:xmpmeta {DECLARED}>\n <rdf:RDF>{comment}\n {body}\n </rdf:RDF>\n</x:xmpmeta>"
    begin = "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>\n" if draw(st.booleans()) else ""
    end = "<?xpacket end='w'?>" if begin else ""
    return f"{begin}{text}{end}".encode()


PEOPLE = st.lists(
    st.builds(Named, NAME, st.sampled_from([ANN.box, BOB.box, Box(0.3, 0.2, 0.4, 0.3), Box(0.1, 0.1, 0.2, 0.2), None])),
    max_size=3,
)


def edit(before: bytes, rounds: Sequence[list[Named]], frame: Frame) -> None:
    """Write one list of people after the other; hold what must be true after each, and at the end."""
    original = model(before)
    content, memory = before, NOBODY
    for people in rounds:
        merged = merge(content, people, memory, frame)
        now = model(merged.content)
        assert holds(now, original)
        assert {person.name.casefold() for person in people} <= {
            t.casefold() for t in texts(merged.content, "dc:subject")
        }
        for name in KEYWORDS:
            there = list(original.get(rdf.tag(name), ()))
            added = [text for text in texts(merged.content, name) if text not in there or there.remove(text)]
            assert len({text.casefold() for text in added}) == len(added), "no entry of ours is there twice"
        again = merge(merged.content or b"", people, merged.memory, frame)
        assert again.content == merged.content
        content, memory = merged.content or b"", merged.memory
    assert model(merge(content, [], memory, frame).content) == original


RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
EDITS = {"before": packets(), "rounds": st.lists(PEOPLE, min_size=1, max_size=4), "turn": st.integers(1, 8)}


@given(**EDITS)
@settings(RELAXED, max_examples=30)
def test_nothing_of_others_is_lost(before, rounds, turn):
    edit(before, rounds, Frame(2000, 1500, turn))


@pytest.mark.slow
@given(**EDITS)
@settings(RELAXED, max_examples=500)
def test_nothing_of_others_is_lost_in_500_edits(before, rounds, turn):
    edit(before, rounds, Frame(2000, 1500, turn))

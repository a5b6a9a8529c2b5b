"""The geometry of face regions: eight orientations, two forms, and which picture a file means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from photocluster.records import Box, PhotoFacts
from photocluster.regions import (
    Frame,
    Region,
    alike,
    assign,
    choose_turn,
    frame_of,
    from_mp_rectangle,
    from_mwg_area,
    in_fractions,
    in_pixels,
    match,
    mp_rectangle,
    mwg_area,
    to_stored,
    to_upright,
    turns,
    within,
)

ORIENTATIONS = range(1, 9)

TO_UPRIGHT = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}


def sides(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1


@st.composite
def boxes(draw) -> Box:
    x0, y0 = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    return Box(x0, y0, draw(st.floats(x0 + 0.01, 1)), draw(st.floats(y0 + 0.01, 1)))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_turns_as_pillow_turns_the_pixels(orientation):
    stored = np.zeros((40, 60, 3), dtype=np.uint8)
    stored[4:12, 30:48] = 255
    picture = Image.fromarray(stored)
    picture.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(picture))[:, :, 0]
    rows, columns = np.flatnonzero(upright.any(axis=1)), np.flatnonzero(upright.any(axis=0))
    height, width = upright.shape
    expected = Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    box = to_upright(Box(30 / 60, 4 / 40, 48 / 60, 12 / 40), orientation)
    assert sides(in_pixels(box, width, height)) == pytest.approx(sides(expected))
    frame = Frame(60, 40, orientation)
    assert frame.upright_size == (width, height)
    facts = PhotoFacts(width, height, orientation, "JPEG", None, None)
    assert frame_of(facts) == frame


@given(box=boxes(), orientation=st.sampled_from(ORIENTATIONS))
def test_there_and_back(box, orientation):
    assert sides(to_stored(to_upright(box, orientation), orientation)) == pytest.approx(sides(box))
    centre = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    turned = to_upright(box, orientation)
    expected = TO_UPRIGHT[orientation](*centre)
    assert ((turned.x0 + turned.x1) / 2, (turned.y0 + turned.y1) / 2) == pytest.approx(expected)


@given(box=boxes())
def test_both_forms_are_read_as_they_are_written(box):
    area = mwg_area(box)
    again = from_mwg_area(**area, unit="normalized", applied=None)
    assert again is not None
    assert sides(again) == pytest.approx(sides(box), abs=2e-6)
    again = from_mp_rectangle(mp_rectangle(box))
    assert again is not None
    assert sides(again) == pytest.approx(sides(box), abs=2e-6)


def test_mwg_has_the_centre_and_mp_the_corner():
    box = Box(0.2, 0.1, 0.6, 0.3)
    assert mwg_area(box) == {"x": "0.4", "y": "0.2", "w": "0.4", "h": "0.2"}
    assert mp_rectangle(box) == "0.2, 0.1, 0.4, 0.2"


@pytest.mark.parametrize(
    ("area", "unit", "applied"),
    [
        (("", "0.5", "0.1", "0.1"), "normalized", None),
        (("nan", "0.5", "0.1", "0.1"), "normalized", None),
        (("0.5", "0.5", "0", "0.1"), "normalized", None),  # a point of focus
        (("300", "200", "80", "80"), "normalized", None),  # pixels that pass for fractions
        (("300", "200", "80", "80"), "pixel", None),
    ],
)
def test_what_is_no_area(area, unit, applied):
    assert from_mwg_area(*area, unit=unit, applied=applied) is None


def test_an_area_in_pixels_and_with_decimal_commas():
    assert from_mwg_area("300", "200", "60", "40", unit="pixel", applied=(600, 400)) == Box(0.45, 0.45, 0.55, 0.55)
    assert from_mwg_area("0,5", "0,5", "0,5", "0,5", unit="", applied=None) == Box(0.25, 0.25, 0.75, 0.75)


@pytest.mark.parametrize("text", ["", "0.1, 0.2, 0.3", "a, b, c, d", "0.1, 0.2, 0, 0.3", "10, 20, 30, 40"])
def test_what_is_no_rectangle(text):
    assert from_mp_rectangle(text) is None


@pytest.mark.parametrize(
    ("applied", "frame", "expected"),
    [
        ((4000, 3000), Frame(4000, 3000, 1), (1,)),
        (None, Frame(4000, 3000, 1), (1,)),
        ((4000, 3000), Frame(4000, 3000, 6), (6, 1)),
        (None, Frame(4000, 3000, 6), (6, 1)),
        ((3000, 4000), Frame(4000, 3000, 6), (1, 6)),  # the writer meant the picture as it is shown
        ((1000, 750), Frame(4000, 3000, 8), (8, 1)),  # a reduced copy
        ((4000, 2250), Frame(4000, 3000, 1), ()),  # a crop
        ((3000, 4000), Frame(4000, 3000, 1), ()),  # turned since
        ((12, 9), Frame(14, 10, 1), (1,)),  # as near as whole pixels come
        ((1000, 1000), Frame(800, 800, 5), (5, 1)),
    ],
)
def test_which_picture_the_regions_mean(applied, frame, expected):
    assert turns(applied, frame) == expected


def test_faces_decide_where_the_file_contradicts_itself():
    face = Box(0.3, 0.2, 0.4, 0.4)
    assert choose_turn([to_stored(face, 6)], (1, 6), [face]) == 6
    assert choose_turn([face], (1, 6), [face]) == 1
    assert choose_turn([face], (6, 1), []) == 6
    assert choose_turn([face], (), [face]) is None


def test_alike_allows_whole_pixels():
    assert alike((6000, 4000), (6024, 4024))
    assert not alike((6000, 4000), (4000, 3000))
    assert not alike((0, 0), (4000, 3000))


def test_boxes_meet_once_and_the_best_first():
    first = [Box(0, 0, 10, 10), Box(1, 0, 11, 10), Box(50, 50, 60, 60)]
    second = [Box(1, 0, 11, 10), Box(100, 100, 110, 110)]
    assert match(first, second, least=0.3) == [(1, 0, 1.0)]
    assert assign([(0.5, 0, 0), (0.5, 0, 1), (0.9, 1, 1)]) == [(1, 1, 0.9), (0, 0, 0.5)]


def test_what_reaches_over_the_edge_is_cut():
    assert within(Box(-0.1, 0.2, 0.3, 1.2)) == Box(0.0, 0.2, 0.3, 1.0)
    assert within(Box(1.1, 0.2, 1.3, 0.4)) is None


def test_pixels_and_fractions():
    assert in_fractions(Box(100, 50, 300, 250), 1000, 500) == Box(0.1, 0.1, 0.3, 0.5)


def test_a_region_turns_with_its_picture():
    region = Region("Ann", "Face", Box(0.1, 0.2, 0.2, 0.4), "MWG")
    assert region.turned(1).box == region.box
    assert sides(region.turned(3).box) == pytest.approx((0.8, 0.6, 0.9, 0.8))
    assert Region("Ann", "Face", None, "MP").turned(6).box is None

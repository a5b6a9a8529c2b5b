"""Which questions are asked, what an answer does, and that nothing is asked twice."""

from __future__ import annotations

import time

import click
import numpy as np
import pytest
from making import face, make_library, scanned

from photocluster.calibration import Strangers
from photocluster.cli import pictures
from photocluster.cli.pictures import Protocol
from photocluster.errors import UnknownName, UsageError
from photocluster.pipeline.history import undo
from photocluster.pipeline.naming import label
from photocluster.pipeline.suggesting import Answer, answer, suggestions
from photocluster.store import IgnoredKind
from photocluster.suggestions import MIN_PROBABILITY, Kind, Scene, learned_shift, probability, suggest

SPREAD = 0.75


def people(rng, sizes, spread=SPREAD):
    """Return unit vectors round one random middle for each size, and who each is."""
    middles = rng.normal(size=(len(sizes), 128)) / np.sqrt(128)
    who = np.repeat(np.arange(len(sizes)), sizes)
    vectors = middles[who] + spread * rng.normal(size=(len(who), 128)) / np.sqrt(128)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), who


def scene(embeddings, groups, persons=None, photos=None, **more):
    n = len(embeddings)
    persons = np.full(n, -1) if persons is None else np.asarray(persons)
    return Scene(
        embeddings,
        np.where(persons >= 0, -1, np.asarray(groups)),
        persons,
        np.full(n, -1),
        np.arange(n) if photos is None else np.asarray(photos),
        np.full(n, 0.6, dtype=np.float32),
        **more,
    )


def split(rng):
    """Return a scene of two people: the first is named on 6 faces, and is cluster 0 with 6 more; cluster 1 is new."""
    embeddings, who = people(rng, [12, 9, 9, 9])
    persons = np.full(len(who), -1)
    persons[:6] = 7
    persons[who == 2], persons[who == 3] = 8, 9
    return embeddings, who, persons


def test_a_group_near_a_person_is_asked_about_and_a_new_one_is_to_be_named():
    embeddings, who, persons = split(np.random.default_rng(0))
    first, second = suggest(scene(embeddings, who, persons), limit=9)
    assert (first.kind, first.person, sorted(first.faces)) == (Kind.NAME, -1, list(range(12, 21)))
    assert (second.kind, second.person, sorted(second.faces)) == (Kind.PERSON, 7, list(range(6, 12)))
    assert second.probability > 0.9
    assert second.distance < second.second_distance
    assert set(second.others) <= set(range(6))


@pytest.mark.parametrize("copied", [0, 6])
def test_copies_of_a_photo_speak_once(copied):
    """A photo of a named person, or of the group that may be that person, was copied twenty times: nothing changes."""
    embeddings, who, persons = split(np.random.default_rng(0))
    rows = np.concatenate([np.arange(len(who)), np.full(20, copied)])

    def distance(rows, **more):
        questions = suggest(scene(embeddings[rows], who[rows], persons[rows], **more), limit=9)
        return next(q.distance for q in questions if q.kind is Kind.PERSON)

    alone = distance(np.arange(len(who)))
    assert distance(rows, copies=np.where(rows == copied, 3, -1)) == pytest.approx(alone, abs=1e-5)
    assert abs(distance(rows) - alone) > 0.001


def test_what_was_rejected_or_shares_a_photo_is_not_asked():
    embeddings, who, persons = split(np.random.default_rng(0))

    def asked(**more):
        return {q.person for q in suggest(scene(embeddings, who, persons, **more), limit=9)}

    assert 7 in asked()
    assert 7 not in asked(rejected=[(8, 7)])
    photos = np.arange(len(who))
    photos[8] = photos[0]
    assert 7 not in asked(photos=photos)
    mirrored = photos.copy()
    mirrored[[0, 8]] = -1
    assert 7 in asked(photos=mirrored)


def test_two_halves_of_a_person_are_asked_about_unless_told_apart():
    rng = np.random.default_rng(1)
    embeddings, who = people(rng, [20, 8, 8, 8, 8, 8])
    groups = who.copy()
    groups[14:20] = 99

    def pairs(**more):
        return [q for q in suggest(scene(embeddings, groups, **more), limit=99) if q.kind is Kind.PAIR]

    everything = suggest(scene(embeddings, groups), limit=99)
    assert not pairs()  # naming both is worth more, and each group is asked about once
    assert sum(len(q.faces) for q in everything) == len(who)
    from photocluster.suggestions import _about_pairs, _Groups

    def about(**more):
        view = scene(embeddings, groups, **more)
        found = _Groups(view)
        return {
            tuple(sorted({groups[found.rows(a.group)[0]], groups[found.rows(a.other)[0]]}))
            for a in _about_pairs(view, found, 0.0)
        }

    assert (0, 99) in about()
    assert (0, 99) not in about(different=[(3, 15)])
    photos = np.arange(len(who))
    photos[15] = photos[3]
    assert (0, 99) not in about(photos=photos)


def test_each_group_stands_in_one_question_and_the_worthiest_come_first():
    rng = np.random.default_rng(2)
    embeddings, who = people(rng, rng.integers(1, 12, 60))
    persons = np.where((who < 20) & (rng.random(len(who)) < 0.5), who, -1)
    found = suggest(scene(embeddings, who, persons), limit=1000)
    values = [question.value for question in found]
    assert values == sorted(values, reverse=True)
    faces = [row for question in found for row in question.faces]
    assert len(faces) == len(set(faces))
    assert suggest(scene(embeddings, who, persons), limit=5) == found[:5]


def test_nothing_known_is_nothing_to_ask():
    none = np.empty((0, 128), dtype=np.float32)
    assert suggest(scene(none, np.empty(0, dtype=np.int64)), limit=9) == []
    embeddings, who = people(np.random.default_rng(3), [1, 1, 1])
    assert suggest(scene(embeddings, who), limit=9) == []  # single faces of nobody known


def test_probability_falls_with_the_distance_and_rises_with_the_gap():
    strangers = Strangers(persons=50, mean=1.2, deviation=0.04, limit=1.05)
    near, far = probability(np.array([0.9, 1.1]), np.array([1.25, 1.25]), strangers)
    assert near > 0.99 > far
    wide, tight = probability(np.array([1.1, 1.1]), np.array([1.3, 1.12]), strangers)
    assert wide > tight
    alone = probability(np.array([0.9]), np.array([np.inf]), strangers)
    assert 0.9 < alone[0] < 1
    assert probability(np.array([1.2]), np.array([1.2]), strangers)[0] < MIN_PROBABILITY


def test_answers_move_the_probability_of_a_library():
    assert learned_shift([]) == 0
    few, many = learned_shift([(0.5, False)] * 2), learned_shift([(0.5, False)] * 40)
    assert many < few < 0
    assert learned_shift([(0.5, True)] * 40) == pytest.approx(-many)
    assert learned_shift([(0.5, True), (0.5, False)]) == pytest.approx(0)


def test_100_000_faces_take_seconds():
    rng = np.random.default_rng(4)
    sizes = np.concatenate([rng.integers(2, 40, 3000), np.ones(35_000, dtype=np.int64)])
    embeddings, who = people(rng, sizes)
    persons = np.where((who < 500) & (rng.random(len(who)) < 0.5), who, -1)
    view = scene(embeddings, who, persons, photos=rng.integers(0, 50_000, len(who)))
    start = time.process_time()
    assert len(suggest(view, limit=20)) == 20
    assert time.process_time() - start < 60  # 3 s on a quiet core; all pairs would take many minutes


def library_of(folder, embeddings, who, photos=None):
    """Make a library of these faces, one a photo unless told, clustered by who they are."""
    library = make_library(folder)
    photos = range(len(who)) if photos is None else photos
    by_photo: dict[int, list[int]] = {}
    for row, photo in enumerate(photos):
        by_photo.setdefault(photo, []).append(row)
    library.photos.add(
        [
            scanned(
                f"/p/{photo:03}.jpg",
                f"{photo:064x}",
                [face(embeddings[r], left=10.0 + 60 * i) for i, r in enumerate(rows)],
            )
            for photo, rows in by_photo.items()
        ]
    )
    values, counts = np.unique(who, return_counts=True)
    order = {int(v): i for i, v in enumerate(sorted(values, key=lambda v: -counts[v]))}
    numbers = np.array([-2 - order[int(w)] for w in who])
    ones = np.ones(len(who), dtype=np.float32)
    library.clusters.store_run({}, np.arange(len(who)), numbers, len(values), ones, 0 * ones)
    return library


@pytest.fixture
def library(library_folder):
    embeddings, who = people(np.random.default_rng(5), [12, 9, 8, 7])
    with library_of(library_folder, embeddings, who) as opened:
        yield opened


def state(library):
    return (
        library.names.assignments(),
        library.names.rejections(),
        library.names.ignored(),
        library.questions.pairs(same=True),
        library.questions.pairs(same=False),
    )


def test_naming_by_number_is_one_event_that_can_be_undone(library):
    before = state(library)
    first = suggestions(library)[0]
    assert (first.kind, first.cluster, len(first.faces)) == (Kind.NAME, 1, 12)
    with pytest.raises(UsageError, match="needs a name"):
        answer(library, 1, Answer.YES)
    report = answer(library, 1, Answer.YES, name="Ann")
    assert {a.person for a in library.names.assignments().values()} == {library.names.person_id("Ann")}
    assert len(library.names.assignments()) == 12
    assert [event.id for event in library.history.events()] == [report.event]
    with pytest.raises(UsageError, match="void"):
        answer(library, 1, Answer.YES, name="Ann")
    undo(library)
    assert state(library) == before
    answer(library, 1, Answer.YES, name="Ann")


def test_numbers_mean_what_was_shown(library):
    shown = suggestions(library)
    answer(library, 1, Answer.YES, name="Ann")
    assert answer(library, 2, Answer.YES, name="Ben").faces == shown[1].faces
    with pytest.raises(UnknownName, match="there is no suggestion 77"):
        answer(library, 77, Answer.NO)


def test_no_to_a_person_is_remembered(library):
    label(library, [f"f{face}" for face in range(6)], "Ann")
    for cluster, name in ((2, "Ben"), (3, "Carl"), (4, "Dora")):
        label(library, [str(cluster)], name)
    (question,) = suggestions(library)
    assert (question.kind, question.person, sorted(question.faces)) == (Kind.PERSON, "Ann", list(range(6, 12)))
    assert "Is cluster 1 (6 faces) Ann?" in question.words
    answer(library, 1, Answer.NO)
    assert {face for face, _ in library.names.rejections()} == set(range(6, 12))
    assert all(question.person != "Ann" for question in suggestions(library))
    undo(library)
    (question,) = suggestions(library)
    answer(library, 1, Answer.YES)
    assert library.names.person(library.names.person_id("Ann")).user == 12


def test_an_answer_spares_what_was_said_in_the_meantime(library):
    shown = suggestions(library)[0]
    label(library, [f"f{shown.faces[0]}"], "Zoe")
    answer(library, 1, Answer.YES, name="Ann")
    assert library.names.person(library.names.person_id("Ann")).user == 11
    assert library.names.person(library.names.person_id("Zoe")).user == 1


def test_a_person_who_is_gone_makes_the_question_void(library):
    label(library, [f"f{face}" for face in range(6)], "Ann")
    numbers = [question.number for question in suggestions(library) if question.kind is Kind.PERSON]
    undo(library)
    with pytest.raises(UsageError, match="gone"):
        answer(library, numbers[0], Answer.YES)


def test_strangers_and_what_is_no_face_are_left_out(library):
    shown = suggestions(library)
    answer(library, 1, Answer.NO)
    answer(library, 2, Answer.NOT_A_FACE)
    ignored = library.names.ignored()
    assert {ignored[face] for face in shown[0].faces} == {IgnoredKind.STRANGER}
    assert {ignored[face] for face in shown[1].faces} == {IgnoredKind.NOT_A_FACE}
    left = {face for question in suggestions(library) for face in question.faces}
    assert not left & set(ignored)


def test_two_faces_of_one_photo_are_not_both_named(library_folder):
    embeddings, who = people(np.random.default_rng(5), [8, 6])
    with library_of(library_folder, embeddings, who, photos=[0, 0, *range(1, 13)]) as library:
        suggestions(library)
        answer(library, 1, Answer.YES, name="Ann")
        assert len({0, 1} & library.names.assignments().keys()) == 1
        assert len(library.names.assignments()) == 7


def pair(library):
    """Put the question whether clusters 3 and 4 are one person into the library."""
    library.questions.show(
        [
            {
                "kind": "pair",
                "person": None,
                "faces": [*range(29, 36)],
                "others": [*range(21, 29)],
                "probability": 0.5,
                "words": "?",
            }
        ]
    )


def test_two_clusters_that_are_two_people_stay_apart_in_clustering_and_suggestions(library):
    from photocluster.pipeline.clusters import cluster

    pair(library)
    report = answer(library, 1, Answer.NO)
    apart = library.questions.pairs(same=False)
    assert len(apart) == 9
    with pytest.raises(UsageError, match="void"):
        answer(library, 1, Answer.YES)
    cluster(library)
    numbers = library.clusters.membership()
    assert all(numbers[a] is None or numbers[a] != numbers[b] for a, b in apart)
    undo(library, report.event)
    assert library.questions.pairs(same=False) == []


def test_two_clusters_that_are_one_person_are_one_group_and_one_cluster(library):
    from photocluster.pipeline.clusters import cluster

    pair(library)
    answer(library, 1, Answer.YES)
    first = suggestions(library)[0]
    assert sorted(first.faces) == list(range(21, 36))
    cluster(library)
    numbers = library.clusters.membership()
    assert numbers[21] is not None
    assert numbers[21] == numbers[29]


def test_a_forgotten_face_leaves_no_pair_and_no_undo_that_fails(library):
    pair(library)
    answer(library, 1, Answer.NO)
    library.photos.forget([f"{29:064x}"])
    assert len(library.questions.pairs(same=False)) == 6
    undo(library)
    assert library.questions.pairs(same=False) == []
    assert library.check() == []


def test_commands(library, run_cli):
    shown = run_cli("suggest", "--json").json
    assert [each["number"] for each in shown] == [1, 2, 3, 4]
    assert shown[0]["kind"] == "name"
    assert len(shown[0]["look_at"]) == 4
    assert "Who is cluster 1" in run_cli("suggest").out
    assert run_cli("accept", "1").code == 2
    assert "12 faces named" in run_cli("accept", "1", "--name", "Ann").out
    assert "a stranger" in run_cli("reject", "2").out
    assert run_cli("reject", "f3").code == 2
    assert "not Ann" in run_cli("reject", "f30", "--person", "Ann").out
    assert run_cli("accept", "--clusters", "1").code == 0
    assert run_cli("accept", "3", "f4").code == 2
    assert run_cli("accept", "f4", "--name", "Ann").code == 2


def test_one_key_each(library, run_cli, monkeypatch):
    shown = run_cli("suggest", "--json").json
    keys = iter("ynul?xq")
    monkeypatch.setattr(click, "getchar", lambda: next(keys))
    monkeypatch.setattr(click, "prompt", lambda *_, **__: "Ann")
    done = run_cli("suggest", "--ask")
    assert done.code == 0
    # The second is answered with no, taken back, asked again and left for later; the third is no face.
    assert library.names.person(library.names.person_id("Ann")).user == 12
    assert set(library.names.ignored().values()) == {IgnoredKind.NOT_A_FACE}
    assert len(library.names.ignored()) == 8
    assert f"{shown[0]['look_at'][0]['path']}  at 10,10 to 50,50" in done.out


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM2),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, Protocol.NONE),
        ({"TERM": "dumb"}, Protocol.NONE),
        ({"TERM": "xterm-256color"}, None),
    ],
)
def test_the_environment_tells_the_protocol(environment, protocol):
    assert pictures.by_environment(environment) is protocol


def test_a_reply_tells_the_protocol():
    assert pictures.by_reply(b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c") is Protocol.KITTY
    assert pictures.by_reply(b"\x1b[?62;4;22c") is Protocol.SIXEL
    assert pictures.by_reply(b"\x1b[?4;6c") is Protocol.NONE  # the first number is the terminal's class
    assert pictures.by_reply(b"") is Protocol.NONE
    assert pictures.detect({"TERM": "xterm-kitty"}) is Protocol.NONE  # no terminal here


def decode_sixel(text):
    """Return the picture (h, w, 3) of a sixel sequence."""
    import re

    body = re.fullmatch(r'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\\n', text, re.DOTALL)
    width, height = int(body[1]), int(body[2])
    image, palette, x, y, colour = np.zeros((height, width, 3)), {}, 0, 0, 0
    for token in re.findall(r"#\d+;2;\d+;\d+;\d+|#\d+|!\d+.|.", body[3], re.DOTALL):
        if token[0] == "#":
            numbers = [int(n) for n in token[1:].split(";")]
            colour = numbers[0]
            if len(numbers) > 1:
                palette[colour] = np.array(numbers[2:]) * 2.55
        elif token == "$":
            x = 0
        elif token == "-":
            x, y = 0, y + 6
        else:
            length = int(token[1:-1]) if token[0] == "!" else 1
            for bit in range(6):
                if (ord(token[-1]) - 63) >> bit & 1:
                    image[y + bit, x : x + length] = palette[colour]
            x += length
    return image


def test_pictures_arrive():
    import base64
    import io
    import re

    from PIL import Image

    rng = np.random.default_rng(6)
    pixels = np.repeat(np.repeat(rng.integers(0, 255, (5, 7, 3)), 8, axis=0), 8, axis=1).astype(np.uint8)
    picture = Image.fromarray(pixels)
    seen = decode_sixel(pictures.escape_sequence(picture, Protocol.SIXEL))
    assert np.abs(seen - pixels).max() <= 3
    kitty = pictures.escape_sequence(picture, Protocol.KITTY)
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", kitty)
    assert [head[-3:] for head, _ in parts] == ["m=1"] * (len(parts) - 1) + ["m=0"]
    assert all(len(part) <= pictures.CHUNK for _, part in parts)
    for code in (
        "".join(part for _, part in parts),
        pictures.escape_sequence(picture, Protocol.ITERM2).split(":")[1][:-2],
    ):
        shown = Image.open(io.BytesIO(base64.b64decode(code)))
        np.testing.assert_array_equal(np.asarray(shown), pixels)
    assert pictures.escape_sequence(picture, Protocol.NONE) == ""

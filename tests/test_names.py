"""Persons and decisions about faces: what each command says of it, and what it leaves alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from making import RECIPE, face, picture, scanned, unit_vector

from photocluster.errors import Outdated, UnknownName, UsageError
from photocluster.pipeline import splitting
from photocluster.pipeline.clusters import ClusterParameters, cluster
from photocluster.pipeline.ignoring import ignore, mirror, unignore
from photocluster.pipeline.naming import accept, label, move, reject, unlabel
from photocluster.pipeline.persons import PersonFacts, change_person, cover, merge_persons, rename
from photocluster.pipeline.queries import find_photos_of
from photocluster.pipeline.recognition import propagate
from photocluster.pipeline.scanning import ScanOptions, scan
from photocluster.pipeline.splitting import split
from photocluster.pipeline.targets import resolve_all
from photocluster.records import Source
from photocluster.store import IgnoredKind, Library


def near(person: int, seed: int, spread: float = 0.05) -> np.ndarray:
    vector = unit_vector(person) + spread * unit_vector(person, seed)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def library(library_folder):
    """Photos a: persons 1 and 2; b: 1; c: 1; d: 2; e: 2; f: 3 twice. Faces 0 to 7 in this order."""
    photos = {"a": (1, 2), "b": (1,), "c": (1,), "d": (2,), "e": (2,), "f": (3, 3)}
    with Library(library_folder, recipe=RECIPE, create=True) as library:
        for seed, (name, persons) in enumerate(photos.items()):
            faces = [face(near(p, 10 * seed + i), left=100.0 * i) for i, p in enumerate(persons)]
            library.photos.add([scanned(f"/photos/{name}.jpg", name, faces)])
        yield library


def names(library: Library) -> dict[int, str]:
    return {row.face: row.person for row in library.faces.rows() if row.person}


def words(library: Library) -> dict[int, str]:
    """Return face -> name by the user."""
    return {row.face: row.person for row in library.faces.rows() if row.source is Source.USER}


# Targets ------------------------------------------------------------------------------------------------------------


def test_ranges_stand_for_what_is_in_them(library):
    cluster(library)
    numbers = sorted(info.number for info in library.clusters.infos())
    assert [t.text for t in resolve_all(library, [f"{numbers[0]}-99"])] == [str(n) for n in numbers]
    assert [t.faces[0].face for t in resolve_all(library, ["f2-f4", "F6-7"])] == [2, 3, 4, 6, 7]
    assert [t.faces[0].face for t in resolve_all(library, ["f6-f999"])] == [6, 7]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("f9-f3", UsageError, "ends before it begins"),
        ("f100-f200", UnknownName, "no face in the range"),
        ("70-80", UnknownName, "no cluster in the range"),
        ("Ann", UsageError, "neither a cluster number"),
    ],
)
def test_a_range_of_nothing_is_said_so(library, text, error, says):
    with pytest.raises(error, match=says):
        resolve_all(library, [text])


def test_targets_come_from_stdin_too(library, run_cli, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("f0 f2\nf3-f4\n"))
    assert run_cli("label", "-", "Ann", "--json").json["named"] == [0, 2, 3, 4]
    label(library, ["f5"], "Ann Lee")
    monkeypatch.setattr("sys.stdin", io.StringIO("Ann Lee\n"))
    assert run_cli("unlabel", "-", "--json").json["faces"] == [{"face": 5, "was": "Ann Lee"}]


# Persons ------------------------------------------------------------------------------------------------------------


def test_a_person_goes_by_aliases(library):
    label(library, ["f0"], "Ann")
    change_person(library, "ann", PersonFacts(add_aliases=("Annie",), born="2010-05-01", note="a note"))
    report = label(library, ["f2"], "ANNIE")
    assert (report.person, report.new_person) == ("Ann", False)
    (info,) = library.names.persons()
    assert (info.aliases, info.born, info.note, info.user) == (("Annie",), "2010-05-01", "a note", 2)
    change_person(library, "Annie", PersonFacts(remove_aliases=("annie",), born="", hidden=True))
    (info,) = library.names.persons()
    assert (info.aliases, info.born, info.hidden) == ((), None, True)


def test_no_name_is_two_persons(library):
    label(library, ["f0"], "Ann")
    label(library, ["f1"], "Ben")
    change_person(library, "Ann", PersonFacts(add_aliases=("Annie",)))
    for taken in ("Ann", "annie"):
        with pytest.raises(UsageError, match="somebody else goes by"):
            change_person(library, "Ben", PersonFacts(add_aliases=(taken,)))
        with pytest.raises(UsageError, match="--merge"):
            rename(library, "Ben", taken)
    with pytest.raises(UsageError, match="no date"):
        change_person(library, "Ben", PersonFacts(born="May"))
    with pytest.raises(UsageError, match="no alias of"):
        change_person(library, "Ben", PersonFacts(remove_aliases=("Annie",)))


def test_rename_to_an_own_alias_and_with_merge(library):
    label(library, ["f0"], "Ann")
    label(library, ["f2"], "Anna")
    change_person(library, "Ann", PersonFacts(add_aliases=("Annie",)))
    assert rename(library, "Ann", "Annie").person.aliases == ()
    assert rename(library, "Annie", "Anna", merge=True).person.name == "Anna"
    assert names(library) == {0: "Anna", 2: "Anna"}


def test_hidden_persons_are_not_listed(library, run_cli):
    label(library, ["f0"], "Ann")
    assert run_cli("person", "Ann", "--hide", "--json").json["hidden"] is True
    assert run_cli("people", "--json").json == []
    assert [p["name"] for p in run_cli("people", "--all", "--json").json] == ["Ann"]


def test_cover_confirms_a_guess_and_goes_with_the_name(library):
    label(library, ["f0"], "Ann")
    propagate(library)
    assert names(library)[2] == "Ann"
    assert 2 not in words(library)
    assert cover(library, "f2").person.cover == 2
    assert words(library)[2] == "Ann"
    unlabel(library, ["f2"])
    assert library.names.persons()[0].cover is None
    with pytest.raises(UsageError, match="carries no name"):
        cover(library, "f7")


# Faces --------------------------------------------------------------------------------------------------------------


def test_dry_run_changes_nothing(library):
    label(library, ["f0", "f1"], "Ann")
    before = names(library), library.names.persons(), library.history.events()
    assert label(library, ["f2"], "Ben", dry_run=True).named == (2,)
    assert reject(library, ["f0"], "Ann", dry_run=True).faces == ((0, "Ann"),)
    assert move(library, ["f0"], "Ben", dry_run=True).faces == ((0, "Ann"),)
    assert ignore(library, ["f0"], dry_run=True).faces == ((0, "Ann"),)
    assert split(library, "Ann", ["f0"], dry_run=True).parts[1].person == "Ann (2)"
    assert (names(library), library.names.persons(), library.history.events()) == before


def test_rejected_faces_stay_rejected(library):
    label(library, ["f0"], "Ann")
    propagate(library)
    report = reject(library, ["f2", "f3"], "Ann")
    assert report.faces == ((2, "Ann"), (3, "Ann"))
    assert reject(library, ["f2"], "Ann").event is None
    propagate(library)
    assert names(library) == {0: "Ann"}
    cluster(library)
    membership = library.clusters.membership()
    assert membership[2] is None or membership[2] != membership[0]
    cluster_of_2 = membership[2]
    if cluster_of_2 is not None:
        assert set(label(library, [str(cluster_of_2)], "Ann").rejected) == {2, 3}


def test_accept_makes_guesses_the_users_word(library):
    label(library, ["f0"], "Ann")
    propagate(library)
    assert accept(library, ["Ann"]).faces == ((2, "Ann"), (3, "Ann"))
    assert words(library) == {0: "Ann", 2: "Ann", 3: "Ann"}


def test_the_users_name_takes_a_guess_beside_it_back(library):
    label(library, ["f2"], "Ann")
    propagate(library)
    assert names(library)[0] == "Ann"
    label(library, ["f1"], "Ann")
    assert 0 not in names(library)


def test_move_takes_what_label_leaves(library):
    cluster(library)
    label(library, ["f0"], "Ann")
    number = str(library.clusters.membership()[0])
    assert label(library, [number], "Ben").kept == ((0, "Ann"),)
    assert move(library, [number], "Ben").faces == ((0, "Ann"),)
    assert move(library, ["Ben"], "Carl").person == "Carl"
    assert set(names(library).values()) == {"Carl"}


def test_merge_takes_everything_along(library):
    label(library, ["f0", "f2"], "Ann")
    label(library, ["f4", "f5"], "Ben")
    change_person(library, "Ben", PersonFacts(add_aliases=("Benny",), born="2010-05-01", note="his"))
    cover(library, "f4")
    reject(library, ["f6"], "Ben")
    report = merge_persons(library, ["Ann", "Ben"])
    assert (report.person, report.merged, report.faces, report.rejections) == ("Ann", ("Ben",), 2, 1)
    (info,) = library.names.persons()
    assert (info.aliases, info.born, info.note, info.cover, info.user) == (("Ben", "Benny"), "2010-05-01", "his", 4, 4)
    assert library.names.rejections() == [(6, info.id)]
    assert label(library, ["f7"], "benny").person == "Ann"


def test_people_side_by_side_are_not_merged_by_accident(library):
    label(library, ["f0"], "Ann")
    label(library, ["f1"], "Ben")
    with pytest.raises(UsageError, match=r"side by side in 1 photos.*a\.jpg"):
        merge_persons(library, ["Ann", "Ben"])
    mirror(library, ["f0"])
    assert merge_persons(library, ["Ann", "Ben"]).photos == ()
    with pytest.raises(UsageError, match="two different"):
        merge_persons(library, ["Ann", "Ben"])


def test_split_by_faces(library):
    label(library, ["f0", "f2", "f4"], "Ann")
    report = split(library, "Ann", ["f4"], to="Ann's sister")
    assert [(part.person, part.faces, part.stays) for part in report.parts] == [
        ("Ann", (0, 2), True),
        ("Ann's sister", (4,), False),
    ]
    with pytest.raises(UsageError, match="none of the faces"):
        split(library, "Ann", ["f5"])
    with pytest.raises(UsageError, match="all faces"):
        split(library, "Ann", ["f0", "f2"])


def test_split_of_a_cluster_keeps_the_rest_away(library):
    cluster(library)
    number = library.clusters.membership()[0]
    report = split(library, str(number), ["f2"])
    assert report.parts[1].person == f"Cluster {number} (2)"
    assert sorted(face for face, _ in library.names.rejections()) == [0, 3]
    cluster(library)
    membership = library.clusters.membership()
    assert membership[2] is None or membership[2] not in {membership[0], membership[3]}


def test_split_finds_the_parts(library_folder):
    with Library(library_folder, recipe=RECIPE, create=True) as library:
        for i in range(14):
            person = 1 if i < 9 else 2
            library.photos.add([scanned(f"/{i}", str(i), [face(near(person, i, 0.3))])])
        label(library, ["f0-f13"], "Ann")
        report = split(library, "Ann")
        assert [(part.person, part.faces) for part in report.parts] == [
            ("Ann", tuple(range(9))),
            ("Ann (2)", tuple(range(9, 14))),
        ]
        with pytest.raises(UsageError, match="no separate parts"):
            split(library, "Ann (2)")


def test_split_moves_no_face_that_was_named_otherwise_while_it_looked_for_parts(library, monkeypatch):
    def find_parts(*_):
        label(library, ["f2"], "Ben")
        return [[0, 2], [3, 4]]

    monkeypatch.setattr(splitting, "find_parts", find_parts)
    label(library, ["f0", "f2", "f3", "f4"], "Ann")
    with pytest.raises(Outdated, match="are others by now"):
        split(library, "Ann")
    assert names(library) == {0: "Ann", 2: "Ben", 3: "Ann", 4: "Ann"}


# Ignoring -----------------------------------------------------------------------------------------------------------


def test_ignored_faces_are_nowhere(library):
    label(library, ["f0"], "Ann")
    cluster(library)
    ignore(library, ["f2"], IgnoredKind.STATUE)
    assert 2 not in {row.face for row in library.faces.rows()}
    assert (library.status().faces, library.status().ignored_faces) == (7, 1)
    assert sum(info.faces for info in library.clusters.infos()) == library.status().clustered_faces
    propagate(library)
    cluster(library)
    assert 2 not in names(library)
    assert 2 not in library.clusters.membership()
    assert unignore(library, ["f2"]).faces == ((2, None),)
    assert 2 in {row.face for row in library.faces.rows()}


def test_a_name_ends_ignoring(library):
    ignore(library, ["f2", "f3"], IgnoredKind.NOT_A_FACE)
    label(library, ["f2"], "Ann")
    assert library.names.ignored() == {3: IgnoredKind.NOT_A_FACE}
    assert unignore(library, [], kind=IgnoredKind.NOT_A_FACE).faces == ((3, None),)


def test_small_clusters_without_a_name_go_in_bulk(library):
    cluster(library)
    label(library, [str(library.clusters.membership()[0])], "Ann")
    report = ignore(library, [], IgnoredKind.CROWD, unnamed_below=5)
    assert {face for face, _ in report.faces} == {1, 4, 5}
    assert {info.names for info in library.clusters.infos()} == {(("Ann", 3),)}
    with pytest.raises(UsageError, match="give clusters or faces"):
        ignore(library, [])


def test_a_mirror_shows_a_person_twice(library):
    label(library, ["f6"], "Zoe")
    propagate(library)
    cluster(library)
    assert 7 not in names(library)
    assert library.clusters.membership()[6] is None or (
        library.clusters.membership()[6] != library.clusters.membership()[7]
    )
    assert mirror(library, ["f6"]).photos == ("f",)
    propagate(library)
    cluster(library)
    assert names(library)[7] == "Zoe"
    assert library.clusters.membership()[6] == library.clusters.membership()[7] is not None
    assert mirror(library, ["f"], remove=True).photos == ("f",)
    assert 7 not in names(library)


def test_named_persons_stay_together_whatever_the_parameters(library):
    """Real clusterer: persons 1 and 2 are said to be one, and one face of person 3 another."""
    label(library, ["f0", "f2", "f3", "f4", "f5"], "Ann")
    label(library, ["f6"], "Zoe")
    for parameters in (ClusterParameters(), ClusterParameters(max_distance=0.4), ClusterParameters(min_cluster_size=4)):
        cluster(library, parameters)
        membership = library.clusters.membership()
        assert len({membership[face] for face in (0, 2, 3, 4, 5)}) == 1
        assert membership[0] is not None
        assert words(library) == {**dict.fromkeys((0, 2, 3, 4, 5), "Ann"), 6: "Zoe"}


# Edited photos ------------------------------------------------------------------------------------------------------


def test_all_words_go_over_to_an_edited_photo(tmp_path, library_folder, fake_analyser):
    photo = picture(tmp_path / "p" / "a.png", 1, 2, 3)
    options = ScanOptions(workers=1)
    scan(library_folder, [tmp_path / "p"], options)
    with Library(library_folder) as library:
        label(library, ["f0"], "Ann")
        cover(library, "f0")
        ignore(library, ["f1"], IgnoredKind.DRAWING)
        reject(library, ["f2"], "Ann")
        mirror(library, ["f0"])
    picture(photo, 1, 2, 3, note="edited")
    assert scan(library_folder, [tmp_path / "p"], options).carried == 3
    with Library(library_folder) as library:
        (ann,) = library.names.persons()
        assert (names(library), ann.cover) == ({3: "Ann"}, 3)
        assert library.names.ignored() == {4: IgnoredKind.DRAWING}
        assert library.names.rejections() == [(5, ann.id)]
        assert library.names.mirrors() == {library.faces.rows(face=3)[0].photo}


# Queries ------------------------------------------------------------------------------------------------------------


def test_find(library, run_cli):
    label(library, ["f0", "f2"], "Ann")
    label(library, ["f1", "f4"], "Ben")
    propagate(library)

    def photos(*persons, **options):
        return [found.photo for found in find_photos_of(library, persons, **options)]

    assert photos("Ann", "Ben") == ["a"]
    assert photos("Ann", without=["ben"]) == ["b", "c"]
    assert photos("Ann", without=["Ben"], propagated=False) == ["b"]
    assert photos("Ann", "Ben", any_of=True) == ["a", "b", "c", "d", "e"]
    assert photos("Ann", since="2019", until="2019-07-14") == ["a", "b", "c"]
    assert photos("Ann", since="2019-07-15") == photos("Ann", until="2018") == []
    with pytest.raises(UsageError, match="no date"):
        photos("Ann", since="last year")
    assert run_cli("find", "Ann", "--not", "Ben", "--paths").out == "/photos/b.jpg\n/photos/c.jpg\n"
    assert run_cli("find", "Ann", "Ben", "-0").out == "/photos/a.jpg\0"
    assert run_cli("find", "Ann", "Ben", "--json").json[0]["persons"] == ["Ann", "Ben"]
    assert run_cli("find", "Nobody").code == 2


def test_commands_say_what_they_did(library, run_cli):
    assert "3 faces named" in run_cli("label", "f0", "f2", "f3", "Ann").out
    assert "dry run: 1 face not Ann" in run_cli("reject", "f0", "--person", "Ann", "--dry-run").out
    assert "1 face to Ben (before: Ann): f3" in run_cli("move", "f3", "--to", "Ben").out
    assert "Ben (stays)" not in run_cli("split", "Ann", "f2", "--to", "Cleo").out
    assert "f0 stands for Ann" in run_cli("cover", "f0").out
    assert "Ben -> Ann: 1 face and 0 rejections moved" in run_cli("merge", "Ann", "Ben").out
    assert "1 face ignored (statue)" in run_cli("ignore", "f7", "--kind", "statue").out
    assert run_cli("ignore", "--list", "--json").json == [{"face": 7, "kind": "statue"}]
    assert "1 face marked as not a face" in run_cli("not-a-face", "f6").out
    assert "1 face back in" in run_cli("unignore", "f6").out
    assert run_cli("mirror", "f0", "--json").json["photos"] == ["a"]
    assert "1 photo marked: to show nobody twice" in run_cli("unmirror", "a").out
    assert "Ann is Anna now" in run_cli("rename", "Ann", "Anna").out
    assert "somebody" not in run_cli("history").out
    assert "event 11 undone (rename" in run_cli("undo").out
    assert "event 11 done again" in run_cli("redo").out
    assert run_cli("undo", "99").code == 2

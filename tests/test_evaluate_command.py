"""The commands of `photocluster evaluate`: on drawn faces without a model, and with the real one on real photos."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from making import scan_in_this_process
from PIL import Image
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, roc_auc_score

from photocluster.cli.main import run
from photocluster.errors import UsageError
from photocluster.evaluation import UNLABELLED, Decision, clicks_intervals, count_clicks
from photocluster.pipeline import scanning
from photocluster.pipeline.clusters import ClusterParameters
from photocluster.pipeline.clusters import cluster as cluster_library
from photocluster.pipeline.evaluating import (
    Material,
    clustered,
    evaluate_all_pairs,
    evaluate_clicks,
    evaluate_clusters,
    evaluate_identification,
    read_labels,
    read_tree,
)
from photocluster.pipeline.evaluating.known import subject_of
from photocluster.records import Box, Detection, Face, FaceRow, PhotoFacts, Quality
from photocluster.store import Library

REPOSITORY = Path(__file__).parents[1]
SIDE = 64
CENTRE, CORNER = (20, 20, 44, 44), (0, 0, 31, 31)  # the corner's is the larger, and does not hold the centre


def direction(*seed, near=None, share=0.0):
    """A unit vector of its own for each seed; `near` another by that share."""
    vector = np.random.default_rng([*seed, 7]).normal(size=128)
    vector /= np.linalg.norm(vector)
    if near is not None:
        vector = share * near + np.sqrt(1 - share**2) * vector
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def face_of(person, number, box=CENTRE):
    """Faces of one person are 0.6 to 0.8 apart, of two about 1.4."""
    embedding = direction(person, number + 1, near=direction(person), share=0.88)
    detection = Detection(Box(*map(float, box)), 0.9, np.zeros((5, 2), np.float32))
    return Face(detection, Quality(24, 0.3, 0, 0, 0, 10, 0.8), embedding)


class DrawnFaces:
    """Reads who is in a picture from its colours: rows of (person, number, where) from the top, up to a black one."""

    photos = 0

    def __init__(self, *, mirror=True, device="auto"):
        del mirror, device

    def faces(self, decoded, _watch):
        type(self).photos += 1
        found = []
        for person, number, where in decoded.rgb[::8, 0].tolist():
            if person:
                found.append(face_of(person, number, CENTRE if where == 0 else CORNER))
        return found


def draw(path, *faces):
    """Write a picture with these (person, number, where); each picture has content of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    for row, face in enumerate(faces):
        pixels[8 * row : 8 * row + 8] = face
    pixels[:, SIDE // 2 :] = np.frombuffer(str(path).encode().ljust(SIDE)[-SIDE:], np.uint8)[:, None, None]
    Image.fromarray(pixels).save(path)


@pytest.fixture(autouse=True)
def drawn(monkeypatch, request):
    if "slow" not in request.keywords:
        scan_in_this_process(monkeypatch, DrawnFaces)
    DrawnFaces.photos = 0
    return DrawnFaces


NAMES = ("Ann", "Ben", "Cem", "Dia", "Eva", "Fay")


@pytest.fixture
def tree(tmp_path):
    """Six people with five photos each; in Ann's first one a larger stranger at the edge; a group of three."""
    root = tmp_path / "people"
    for person, name in enumerate(NAMES, 1):
        for number in range(5):
            bystander = [(200, 0, 1)] if (person, number) == (1, 0) else []
            draw(root / name / f"{name}_{number + 1:04}.png", *bystander, (person, number, 0))
    draw(root / "_group" / "all.png", (201, 0, 1), (202, 0, 0))
    return root


def call(capsys, *arguments, code=0):
    """Run a command; return what it printed to stdout and stderr."""
    returned = run(["evaluate", *map(str, arguments)])
    out = capsys.readouterr()
    assert returned == code, out.err
    return out


def answer(capsys, *arguments, code=0):
    return json.loads(call(capsys, *arguments, "--json", "--resamples", 50, code=code).out)


def write_labels(path, rows, header="rel\tidentity\tlabel_scope\tage"):
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


# -- who is who


def test_the_folder_names_the_person_and_the_central_face_is_the_person(tree):
    known = read_tree(tree, Material(workers=1))
    assert known.people == NAMES
    assert (known.census.photos, known.census.named, known.census.labelled) == (31, 30, 30)
    assert (known.census.faces, known.census.people) == (33, 6)
    first = known.faces_of[tree / "Ann/Ann_0001.png"]
    assert [known.identities[face] for face in first] == [UNLABELLED, 0]
    for path, faces in known.faces_of.items():
        person = [known.identities[face] for face in faces if known.identities[face] != UNLABELLED]
        assert person == ([] if path.parent.name == "_group" else [NAMES.index(path.parent.name)])


def test_sets_of_people_keep_their_names_apart_and_labels_bring_them_together(tmp_path):
    draw(tmp_path / "old/Ann/1.png", (1, 0, 0))
    draw(tmp_path / "new/Ann/1.png", (1, 1, 0))
    draw(tmp_path / "new/_other/Ann/1.png", (1, 2, 0))
    draw(tmp_path / "loose.png", (1, 3, 0))
    assert read_tree(tmp_path, Material()).people == ("new/Ann", "old/Ann")
    rows = [("old/Ann/1.png", "Ann", "", "")]
    rows += [("new/Ann/1.png", "Ann", "single", ""), ("loose.png", "Ann", "contains", "")]
    labels = read_labels(write_labels(tmp_path / "labels.tsv", rows))
    known = read_tree(tmp_path, Material(labels=labels))
    assert known.people == ("Ann",)
    assert known.census.labelled == 3


def test_two_copies_under_two_names_are_not_judged_and_copies_of_one_count_once(tree):
    (tree / "Ben/copy.png").write_bytes((tree / "Ben/Ben_0001.png").read_bytes())
    (tree / "Cem/copy.png").write_bytes((tree / "Ann/Ann_0002.png").read_bytes())
    known = read_tree(tree, Material())
    assert known.census.photos == 31
    assert known.census.contradictions == 1
    assert known.census.labelled == 29


def rows_of(*boxes):
    facts = PhotoFacts(SIDE, SIDE, 1, "PNG", None, None)
    quality = Quality(24, 0.3, 0, 0, 0, 10, 0.8)
    landmarks = np.zeros((5, 2), np.float32)
    detections = [Detection(Box(*map(float, box)), 0.9, landmarks) for box in boxes]
    return [FaceRow(i, "p", "p", False, facts, d, quality, *[None] * 5) for i, d in enumerate(detections)]


SMALL_CENTRE = (30, 30, 34, 34)


@pytest.mark.parametrize(
    ("scope", "boxes", "subject"),
    [
        ("", [CORNER, SMALL_CENTRE, CENTRE], 2),
        ("", [SMALL_CENTRE, CORNER], 0),
        ("", [CORNER, (40, 40, 44, 44)], 0),
        ("", [], None),
        ("centre", [CORNER], None),
        ("centre", [CORNER, CENTRE], 1),
        ("single", [CENTRE, CORNER], 1),
        ("contains", [CORNER], 0),
        ("contains", [CORNER, CENTRE], None),
        ("group", [CENTRE], None),
        ("none", [CENTRE], None),
        ("unlabelled", [CENTRE], None),
    ],
)
def test_the_scope_says_which_face_is_the_person(scope, boxes, subject):
    assert subject_of(rows_of(*boxes), scope) == subject


def test_labels_may_be_comma_separated_and_leave_the_names_to_the_folders(tree):
    table = tree.parent / "labels.csv"
    table.write_text('rel,age\n"people/Ann/Ann_0001.png","old, or so"\nBen/Ben_0001.png,young\n', encoding="utf-8")
    known = read_tree(tree, Material(labels=read_labels(table, group_by="age")))
    assert known.census.labelled == 30
    assert {known.groups[i] for i in known.faces_of[tree / "Ann/Ann_0001.png"]} == {"old, or so"}
    assert {known.groups[i] for i in known.faces_of[tree / "Ben/Ben_0001.png"]} == {"young"}
    assert set(known.groups) == {"", "old, or so", "young"}


# -- cluster


def test_cluster_prints_a_table_and_json(tree, capsys):
    found = answer(capsys, "cluster", tree, "--churn", 2)
    assert found["pairwise"] == found["bcubed"] == {"precision": 1.0, "recall": 1.0, "f": 1.0}
    assert (found["clusters"], found["people"], found["noise"], found["same_photo_violations"]) == (6, 6, 3, 0)
    assert found["intervals"]["pairwise.f"] == {"low": 1.0, "high": 1.0}
    assert found["churn"] == {"photos": 2, "mean": 0.0, "largest": 0.0}
    assert found["photos"]["labelled"] == 30
    out = call(capsys, "cluster", tree)
    assert "6 clusters of 33 faces, 3 in none" in out.out
    assert "1.0000 to 1.0000" in out.out
    assert "31 photos, 30 of them of 6 people: 30 faces judged" in out.err


def test_the_clusters_are_those_of_a_scanned_library_and_the_measures_those_of_scikit_learn(tmp_path):
    for person in range(1, 5):  # people alike enough to be confused, and too few photos to tell
        for number in range(4):
            draw(tmp_path / f"tree/{person}/{number}.png", (1 + person // 3, 10 * (person % 3) + number, 0))
    tree = tmp_path / "tree"
    known = read_tree(tree, Material())
    for parameters in (ClusterParameters(), ClusterParameters(min_cluster_size=2, min_samples=1, extras=False)):
        found = evaluate_clusters(known, parameters, resamples=0)
        scanning.scan(tmp_path / "library", [tree])
        with Library(tmp_path / "library") as library:
            cluster_library(library, parameters)
            number_of = {row.path: row.cluster for row in library.faces.rows()}
        mates = [number_of[row.path] for row in known.rows]
        same = [a is not None and a == b for a, b in combinations(mates, 2)]
        assert same == [a >= 0 and a == b for a, b in combinations(found.clusters.tolist(), 2)]
        apart = np.where(found.clusters < 0, 1000 + np.arange(len(known.rows)), found.clusters)
        assert found.measures.nmi == pytest.approx(normalized_mutual_info_score(known.identities, apart))
        assert found.measures.ari == pytest.approx(adjusted_rand_score(known.identities, apart))
        assert found.measures.pairwise.precision < 1


def test_the_options_of_cluster_reach_the_clustering(tree, capsys, monkeypatch):
    found = answer(capsys, "cluster", tree, "--min-cluster-size", 6)
    assert (found["clusters"], found["noise"]) == (0, 33)
    assert found["pairwise"]["recall"] == 0
    seen = []

    def noting(library, parameters, **others):
        seen.append(parameters)
        return cluster_library(library, parameters, **others)

    monkeypatch.setattr(clustered, "cluster", noting)
    answer(capsys, "cluster", tree, "--churn", 1)
    options = ("--min-cluster-size", 3, "--min-samples", 2, "--max-distance", 1.1, "--plain")
    answer(capsys, "clicks", tree, *options)
    given = ClusterParameters(min_cluster_size=3, min_samples=2, max_distance=1.1, extras=False)
    assert seen == [ClusterParameters(), ClusterParameters(), given]


def test_kept_photos_are_not_decoded_again_and_only_the_trees_own_count(tree, tmp_path, capsys, drawn):
    keep = ("--keep", tmp_path / "kept")
    whole = answer(capsys, "cluster", tree, *keep)
    assert drawn.photos == 31
    again = answer(capsys, "cluster", tree, *keep)
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}
    assert drawn.photos == 31
    (tree / "Ann/Ann_0005.png").unlink()
    assert answer(capsys, "cluster", tree, *keep)["photos"]["photos"] == 30
    draw(tmp_path / "others/Gil/1.png", (7, 0, 0))
    assert answer(capsys, "cluster", tmp_path / "others", *keep)["photos"]["faces"] == 1
    assert drawn.photos == 32


def test_without_keep_nothing_stays_and_the_library_is_not_touched(tree, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("PHOTOCLUSTER_LIBRARY", str(tmp_path / "library"))
    answer(capsys, "clicks", tree)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "library").exists()


def test_groups_come_from_a_column_of_the_labels(tree, capsys):
    rows = [(f"Ann/Ann_{n:04}.png", "Ann", "single" if n > 1 else "centre", "old") for n in range(1, 6)]
    rows += [(f"Ben/Ben_{n:04}.png", "Ben", "single", "young") for n in range(1, 6)]
    shared = ("--labels", write_labels(tree / "labels.tsv", rows), "--group-by", "age")
    found = answer(capsys, "cluster", tree, *shared)
    assert {name: (group["people"], group["faces"]) for name, group in found["groups"].items()} == {
        "old": (1, 6),
        "young": (1, 5),
    }
    assert "young" in call(capsys, "cluster", tree, *shared).out
    clicks = answer(capsys, "clicks", tree, *shared)["groups"]["old"]["clusters, largest first"]
    assert (clicks["faces"], clicks["goals"][1]["share"]) == (5, 0.95)
    identified = answer(capsys, "identify", tree, *shared, "--strangers", 0)["groups"]
    assert {name: group["known"] for name, group in identified.items()} == {"old": 2, "young": 2}
    assert answer(capsys, "verify", "--all-pairs", tree, *shared)["groups"] == {}  # one person each: nobody to confuse


# -- verify


def write_pairs(path, folds):
    """Write folds of (pairs of one person, pairs of two) in LFW's format."""
    lines = [f"{len(folds)}\t{len(folds[0][0])}"]
    for same, different in folds:
        lines += ["\t".join(map(str, pair)) for pair in [*same, *different]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def pairs(tree):
    folds = [
        ([(NAMES[i], 1, 2), (NAMES[i + 1], 3, 5)], [(NAMES[i], 4, NAMES[i + 1], 4), (NAMES[i], 2, NAMES[i + 3], 1)])
        for i in range(3)
    ]
    return write_pairs(tree.parent / "pairs.txt", folds)


def test_verify_pairs(tree, pairs, capsys):
    found = answer(capsys, "verify", pairs, "--root", tree)
    assert (found["pairs"], found["folds"], found["accuracy"], found["accuracy_sd"]) == (12, 3, 1.0, 0.0)
    assert found["accuracy_se"] == 0
    assert found["tar_at_far"] == {"1e-2": None, "1e-3": None, "1e-4": None}  # six pairs cannot say
    assert (found["eer"], found["auc"], found["pairs_without_photo"], found["pairs_without_face"]) == (0, 1, 0, 0)
    out = call(capsys, "verify", pairs, "--root", tree)
    assert "6 pairs of one person, 6 of two" in out.out
    assert "accuracy (3 folds, sd 0.0000, se 0.0000)" in out.out


def test_verify_scans_only_the_photos_of_the_pairs(tree, pairs, capsys, drawn):
    answer(capsys, "verify", pairs, "--root", tree)
    wanted = {
        tuple(side)
        for line in pairs.read_text().splitlines()[1:]
        for side in [line.split("\t")[:2], [line.split("\t")[-2], line.split("\t")[-1]]]
        if len(line.split("\t")) == 4
    } | {
        (line.split("\t")[0], number)
        for line in pairs.read_text().splitlines()[1:]
        for number in line.split("\t")[1:]
        if len(line.split("\t")) == 3
    }
    assert drawn.photos == len(wanted)


def test_pairs_without_a_face_count_as_two_people_and_pairs_without_a_photo_do_not_count(tree, pairs, capsys):
    draw(tree / "Ann/Ann_0001.png")
    found = answer(capsys, "verify", pairs, "--root", tree)
    assert found["photos_without_face"] == ["Ann/Ann_0001.png"]
    assert found["pairs_without_face"] == 1
    assert found["accuracy"] == pytest.approx(1 - 1 / 12)
    (tree / "Ann/Ann_0001.png").unlink()
    found = answer(capsys, "verify", pairs, "--root", tree, code=3)
    assert (found["pairs"], found["pairs_without_photo"], found["photos_not_found"]) == (11, 1, ["Ann/Ann_0001"])
    assert found["accuracy"] == 1
    assert "1 pair left out" in call(capsys, "verify", pairs, "--root", tree, code=3).err


def test_all_pairs_agree_with_scikit_learn(tree, capsys):
    draw(tree / "Ann/odd.png", (2, 77, 0))  # somebody else in Ann's folder: a wrong label
    known = read_tree(tree, Material())
    judged = np.flatnonzero(known.identities != UNLABELLED)
    pairs = list(combinations(judged.tolist(), 2))
    same = [known.identities[a] == known.identities[b] for a, b in pairs]
    distances = [np.linalg.norm(known.embeddings[a] - known.embeddings[b]) for a, b in pairs]
    found = answer(capsys, "verify", "--all-pairs", tree)
    assert (found["same_pairs"], found["different_pairs"]) == (sum(same), len(same) - sum(same))
    assert found["auc"] == pytest.approx(roc_auc_score(same, -np.array(distances)), abs=1e-4)
    assert found["auc"] < 1
    assert evaluate_all_pairs(known, resamples=0).measures.as_dict()["tar_at_far"] == found["tar_at_far"]
    assert "TAR at FAR 1e-2" in call(capsys, "verify", "--all-pairs", tree).out


# -- identify


def test_identify_names_the_known_and_no_strangers(tree, capsys):
    found = answer(capsys, "identify", tree, "--strangers", 0.34)
    assert (found["gallery_people"], found["stranger_people"]) == (4, 2)
    assert (found["gallery"], found["known"], found["strangers"]) == (12, 8, 10)
    assert (found["known_right"], found["known_wrong"], found["strangers_named"], found["names_wrong"]) == (1, 0, 0, 0)
    assert found["curve"]["rank1"] == 1
    assert found["intervals"]["known_right"] == {"low": 1.0, "high": 1.0}
    assert "known people: right" in call(capsys, "identify", tree).out
    nobody = answer(capsys, "identify", tree, "--threshold", 0)
    assert (nobody["known_unknown"], nobody["names_given"], nobody["names_wrong"]) == (1, 0, None)
    anybody = answer(capsys, "identify", tree, "--threshold", 2, "--margin", 0)
    assert anybody["strangers_named"] == 1
    assert answer(capsys, "identify", tree, "--strangers", 0)["curve"] is None
    assert answer(capsys, "identify", tree, "--seed", 1) == answer(capsys, "identify", tree, "--seed", 1)


def test_a_face_without_identity_may_take_the_name(tmp_path):
    for number in range(4):
        draw(tmp_path / f"Ann/{number}.png", (1, number, 0))
        draw(tmp_path / f"Ben/{number}.png", (2, number, 0))
    alone = evaluate_identification(read_tree(tmp_path, Material()), strangers=0, resamples=0)
    assert (alone.measures.known_right, alone.measures.known) == (1, 4)
    for number in range(4):  # a mirror: the same face once more in each photo, at the edge
        draw(tmp_path / f"Ann/{number}.png", (1, number, 0), (1, number, 1))
    mirrored = evaluate_identification(read_tree(tmp_path, Material()), strangers=0, resamples=0)
    assert mirrored.measures.known == 4
    assert mirrored.measures.known_right == 1  # of two equally near faces, the first has the name: here the central one
    for number in range(4):
        draw(tmp_path / f"Ann/{number}.png", (1, number, 1), (1, number, 0))
    hidden = evaluate_identification(read_tree(tmp_path, Material()), strangers=0, resamples=0)
    assert (hidden.measures.known_right, hidden.measures.known_unknown) == (0.5, 0.5)


# -- detect


def test_detect_counts_by_size_and_lists_what_was_missed(tree, capsys):
    header = "image\tkind\tx\ty\tw\th\tignore"
    rows = [
        "Ann/Ann_0001.png\tbox\t21\t21\t24\t24\t0",
        "Ann/Ann_0001.png\tnose_point\t15\t15\t\t\t0",
        "Ben/Ben_0001.png\tbox\t48\t2\t10\t10\t0",
        "Ben/Ben_0001.png\tbox\t20\t20\t24\t24\t1",
        "Cem/Cem_0001.png\tnone\t\t\t\t\t0",
    ]
    boxes = tree / "boxes.tsv"
    boxes.write_text("\n".join([header, *rows]), encoding="utf-8")
    found = answer(capsys, "detect", boxes)
    assert (found["photos"], found["faces"], found["found"], found["false_positives"]) == (3, 3, 2, 1)
    assert found["by_size"]["20-40"] == {
        "faces": 2,
        "found": 2,
        "false_positives": 1,
        "recall": 1.0,
        "precision": 2 / 3,
    }
    assert found["misses"] == [{"image": "Ben/Ben_0001.png", "box": [48, 2, 58, 12], "nose": None, "size": 10.0}]
    assert found["false_positives_by_image"] == {"Cem/Cem_0001.png": 1}
    out = call(capsys, "detect", boxes, "--min-iou", 0.95)
    assert "1 of 3 faces in 3 images" in out.out
    assert "missed: Ben/Ben_0001.png at 48 2 58 12" in out.err
    boxes.write_text("\n".join([header, *rows, "Ann/gone.png\tbox\t1\t1\t9\t9\t0"]), encoding="utf-8")
    gone = answer(capsys, "detect", boxes, code=3)
    assert gone["photos"] == 3
    assert gone["skipped"][0][0].endswith("gone.png")


# -- clicks


def test_clicks_counts_the_plain_way(tree, capsys):
    found = answer(capsys, "clicks", tree)
    plain = found["ways"]["clusters, largest first"]
    assert (plain["faces"], plain["people"]) == (30, 6)
    assert [(goal["share"], goal["decisions"], goal["wrong"]) for goal in plain["goals"]] == [(0.8, 5, 0), (0.95, 6, 0)]
    assert plain["intervals"]["decisions.0.95"] == {"low": 6.0, "high": 6.0}
    assert "naming 30 faces of 6 people" in call(capsys, "clicks", tree).out


def test_another_way_stands_beside_the_plain_one(tree):
    known = read_tree(tree, Material())

    def one_by_one(faces, _clusters):
        return [Decision(np.array([i]), person) for i, person in enumerate(faces.identities.tolist())]

    found = evaluate_clicks(known, ways={"one by one": one_by_one}, resamples=0)
    assert [goal.decisions for goal in found.ways["one by one"].goals] == [
        25,
        30,
    ]  # one of nobody comes first


def test_intervals_of_clicks():
    identities = np.repeat(np.arange(10), 3)
    decisions = [Decision(np.arange(3 * i, 3 * i + 3), i) for i in range(10)]
    even = clicks_intervals(decisions, identities, resamples=200)
    assert (even["decisions.0.95"].low, even["decisions.0.95"].high) == (10, 10)  # all ten drawn, whoever they are
    uneven = [*decisions[:8], *(Decision(np.array([face]), int(identities[face])) for face in range(24, 30))]
    measured = count_clicks(uneven, identities)
    spread = clicks_intervals(uneven, identities, resamples=400)["decisions.0.95"]
    assert spread.low < (measured.goals[1].decisions or 0) < spread.high
    undone = [*decisions, Decision(np.arange(15), UNLABELLED)]
    assert clicks_intervals(undone[::-1], identities, resamples=50)["decisions.0.95"].low == 11
    assert clicks_intervals([], identities, resamples=50) == {}


# -- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cluster", "{empty}"], ["no photos in this folder", "a folder for each person"]),
        (["cluster", "{loose}"], ["no photo is in a folder of a person", "TREE/Ann/1.jpg", "--labels"]),
        (["cluster", "{faceless}"], ["1 photos of people, and no face was found"]),
        (["cluster", "{tree}", "--group-by", "age"], ["--group-by age", "give it with --labels"]),
        (["cluster", "{tree}", "--labels", "{labels}", "--group-by", "size"], ['no column "size"', "rel, identity"]),
        (["cluster", "{tree}", "--labels", "{nothing}"], ["no row is about a photo", '"rel"', "Ann/Ann_0001.png"]),
        (["cluster", "{tree}", "--labels", "{scope}"], ["line 2", 'unknown label_scope "middle"', "centre, single"]),
        (["cluster", "{tree}", "--plot", "{tree}/out.pdf"], [".png or .html"]),
        (["cluster", "{tree}", "--plot", "{tree}/gone/out.png"], ["there is no folder", "make it first"]),
        (["verify"], ["either a file of PAIRS", "--all-pairs TREE"]),
        (["verify", "{pairs}"], ["--root TREE"]),
        (["verify", "{pairs}", "--root", "{empty}"], ["for no pair", "Ann_0001.jpg", "--root"]),
        (["verify", "{labels}", "--root", "{tree}"], ["first line must hold one or two numbers"]),
        (["verify", "--all-pairs", "{one}"], ["pairs of different people"]),
        (["identify", "{one}", "--strangers", "0"], ["nobody has a second photo"]),
        (["identify", "{tree}", "--strangers", "0", "--plot", "{tree}/o.png"], ["faces of known people and of strang"]),
        (["detect", "{labels}"], ["the header lacks the columns"]),
        (["detect", "{boxes}", "--root", "{empty}"], ["none of its 1 images is below", "--root"]),
        (["cluster", "{tree}/nowhere"], ["does not exist"]),
    ],
)
def test_errors_say_what_and_where_and_what_to_do(arguments, words, tree, pairs, capsys):
    if "--plot" in arguments:
        pytest.importorskip("matplotlib", reason="plots are an optional extra")
    base = tree.parent
    (base / "empty").mkdir()
    draw(base / "loose/1.png", (1, 0, 0))
    draw(base / "faceless/Ann/1.png")
    draw(base / "one/Ann/1.png", (1, 0, 0))
    ann = ("Ann/Ann_0001.png", "Ann", "", "")
    (base / "boxes.tsv").write_text("image\tkind\tx\ty\tw\th\nAnn/x.png\tbox\t1\t1\t9\t9\n", encoding="utf-8")
    places = {
        **{name: base / name for name in ("empty", "loose", "faceless", "one")},
        "tree": tree,
        "pairs": pairs,
        "labels": write_labels(base / "labels.tsv", [ann]),
        "nothing": write_labels(base / "nothing.tsv", [("nowhere.png", "Ann", "", "")]),
        "scope": write_labels(base / "scope.tsv", [(*ann[:2], "middle", "")]),
        "boxes": base / "boxes.tsv",
    }
    shown = call(capsys, *(argument.format(**places) for argument in arguments), code=2).err
    for word in words:
        assert word in shown


def test_a_plot_that_cannot_be_written_is_refused_before_the_scan(tree, capsys, drawn):
    call(capsys, "cluster", tree, "--plot", tree / "out.gif", code=2)
    assert drawn.photos == 0


def test_a_damaged_photo_is_named_and_the_exit_code_says_so(tree, capsys):
    whole = (tree / "Ann/Ann_0002.png").read_bytes()
    (tree / "Ann/Ann_0002.png").write_bytes(whole[: len(whole) // 2])
    found = answer(capsys, "cluster", tree, code=3)
    assert found["photos"]["labelled"] == 29
    assert found["skipped"][0][0].endswith("Ann_0002.png")
    assert "skipped: " in call(capsys, "clicks", tree, code=3).err


def test_labels_that_are_no_text(tmp_path):
    (tmp_path / "labels.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(tmp_path / "labels.tsv")


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_plots(suffix, tree, pairs, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="plots are an optional extra")
    boxes = tree / "boxes.tsv"
    boxes.write_text("image\tkind\tx\ty\tw\th\nAnn/Ann_0001.png\tbox\t20\t20\t24\t24\n", encoding="utf-8")
    commands = [("cluster", tree), ("clicks", tree), ("identify", tree, "--strangers", 0.5), ("detect", boxes)]
    commands += [("verify", pairs, "--root", tree), ("verify", "--all-pairs", tree)]
    for number, command in enumerate(commands if suffix == ".png" else commands[:1]):
        out = tmp_path / f"{number}{suffix}"
        call(capsys, *command, "--plot", out, "--resamples", 0)
        assert out.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<!doctype html>")


# -- real photos


def part_of(folder, target, people, photos):
    """Link the first photos of some people into a tree of its own."""
    for person in people:
        (target / person).mkdir(parents=True)
        for path in sorted((folder / person).iterdir())[:photos]:
            (target / person / path.name).symlink_to(path)
    return target


@pytest.mark.slow
def test_lfw_by_its_protocol(data, tmp_path, capsys):
    lfw = data / "sets/lfw"
    people = [p.name for p in sorted(lfw.iterdir()) if len(list(p.iterdir())) >= 4][:20]
    tree = part_of(lfw, tmp_path / "lfw", people, 4)
    has = {person: sorted(int(path.stem[-4:]) for path in (tree / person).iterdir()) for person in people}
    folds = [
        (
            [(a, *has[a][:2]), (a, *has[a][2:]), (b, *has[b][:2]), (b, *has[b][2:])],
            [(a, has[a][k], other, has[other][k]) for k in range(4) for other in [people[(2 * i + k + 1) % 20]]],
        )
        for i, (a, b) in enumerate(zip(people[::2], people[1::2], strict=True))
    ]
    found = answer(capsys, "verify", write_pairs(tmp_path / "pairs.txt", folds), "--root", tree)
    assert (found["folds"], found["pairs"], found["pairs_without_face"]) == (10, 80, 0)
    assert found["accuracy"] >= 0.95
    assert found["accuracy_sd"] < 0.1
    clustered = answer(capsys, "cluster", tree)
    assert clustered["pairwise"]["precision"] >= 0.95
    assert clustered["bcubed"]["f"] >= 0.9
    assert answer(capsys, "identify", tree)["names_wrong"] <= 0.05


@pytest.mark.slow
def test_detection_on_real_groups(data, capsys):
    found = answer(capsys, "detect", data / "detection_gt.tsv")
    assert found["recall"] >= 0.9
    assert found["precision"] >= 0.85


@pytest.mark.slow
def test_the_tutorial_prints_its_accuracy(data):
    script = [sys.executable, REPOSITORY / "examples/celebrities.py"]
    done = subprocess.run([*script, data / "sets/celeb5"], check=True, capture_output=True, text=True, timeout=1800)
    lines = {line.split(":")[0].strip(): line.split(":")[1] for line in done.stdout.splitlines() if "right (" in line}
    right = {name: float(line.split("%")[0]) for name, line in lines.items()}
    assert right["SVM on new photos"] >= 90
    assert right["default on new photos"] >= 80
    assert "100.0% wrong" in lines["SVM on a stranger"]
    assert "0.0% wrong" in lines["default on a stranger"]
    refused = subprocess.run([*script, REPOSITORY], check=False, capture_output=True, text=True, timeout=600)
    assert refused.returncode == 2
    assert "train__" in refused.stderr

"""Evaluation: agreement with scikit-learn, with definitions written out naively, and with examples worked by hand."""

from __future__ import annotations

import ast
import importlib
import json
import sys
import tracemalloc
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, auc, normalized_mutual_info_score, roc_auc_score, roc_curve
from sklearn.metrics.cluster import pair_confusion_matrix

from photocluster import evaluation
from photocluster.errors import MissingDependency, UsageError
from photocluster.evaluation import (
    Decision,
    DetectedPhoto,
    LabelledFace,
    Pair,
    all_pairs,
    all_pairs_by_group,
    all_pairs_intervals,
    best_threshold,
    bootstrap_intervals,
    by_group,
    churn,
    clicks_panel,
    clustering_by_group,
    clustering_intervals,
    clustering_measures,
    component_clusterings,
    count_clicks,
    detection_by_group,
    detection_intervals,
    detection_measures,
    far_key,
    histogram_panel,
    identification_by_group,
    identification_intervals,
    identification_measures,
    identity_numbers,
    lfw_verification,
    match_faces,
    name_clusters,
    open_set_curve,
    open_set_split,
    parse_labelled_faces,
    parse_pairs,
    roc,
    roc_panel,
    same_photo_violations,
    threshold_curve,
    threshold_panel,
    verification_by_group,
    verification_intervals,
    write_plot,
)
from photocluster.evaluation.pair_stream import BINS
from photocluster.records import Box

PACKAGE = Path(evaluation.__file__).parent
LAYERS = {
    "labels": 0,
    "bootstrap": 1,
    "rates": 2,
    "verification": 3,
    "pair_stream": 3,
    "identification": 3,
    "clustering": 3,
    "detection": 3,
    "clicks": 3,
    "thresholds": 4,
    "plots": 5,
}


def ints(*values):
    return np.array(values, dtype=np.int64)


def unit_vectors(n, dim=16, people=20, seed=0, spread=0.35):
    rng = np.random.default_rng(seed)
    identities = rng.integers(people, size=n)
    vectors = rng.normal(size=(people, dim))[identities] + spread * rng.normal(size=(n, dim)) * np.sqrt(2)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), identities


# --- structure


def test_imports_go_downwards():
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(LAYERS)
    for name, layer in LAYERS.items():
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("photocluster.evaluation."):
                assert LAYERS[node.module.rsplit(".", 1)[1]] < layer, (name, node.module)


def test_all_is_complete():
    imported = {name for name, value in vars(evaluation).items() if name[0] != "_" and name not in LAYERS}
    assert set(evaluation.__all__) == imported
    assert all(hasattr(evaluation, name) for name in evaluation.__all__)


def test_identity_numbers_and_groups():
    assert identity_numbers(["Bo", "", "Al", "Bo"]).tolist() == [1, -1, 0, 1]
    assert identity_numbers([]).shape == (0,)
    assert by_group(["b", "", "a", "b"], lambda mask: int(mask.sum())) == {"a": 1, "b": 2}


# --- clustering

labelings = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-1, 4), min_size=n, max_size=n), st.lists(st.integers(-1, 4), min_size=n, max_size=n)
    )
)


def noise_apart(clusters):
    return [f"noise {i}" if cluster == -1 else str(cluster) for i, cluster in enumerate(clusters)]


def bcubed_by_definition(identities, clusters):
    """Bagga and Baldwin's definition, face by face."""
    apart = noise_apart(clusters)
    faces = [i for i, identity in enumerate(identities) if identity != -1]
    precision, recall = [], []
    for i in faces:
        cluster = [j for j in faces if apart[j] == apart[i]]
        person = [j for j in faces if identities[j] == identities[i]]
        shared = len(set(cluster) & set(person))
        precision.append(shared / len(cluster))
        recall.append(shared / len(person))
    return np.mean(precision), np.mean(recall)


@settings(max_examples=150, deadline=None)
@given(labelings)
def test_clustering_against_definitions_and_sklearn(labels):
    identities, clusters = (np.array(part, dtype=np.int64) for part in labels)
    if (identities == -1).all():
        with pytest.raises(UsageError, match="no face has an identity"):
            clustering_measures(identities, clusters)
        return
    measured = clustering_measures(identities, clusters)
    precision, recall = bcubed_by_definition(identities, clusters)
    assert measured.bcubed.precision == pytest.approx(precision)
    assert measured.bcubed.recall == pytest.approx(recall)
    assert measured.bcubed.f == pytest.approx(2 * precision * recall / (precision + recall))
    faces = np.flatnonzero(identities != -1)
    apart = noise_apart(clusters)
    numbered = np.array([sorted(set(apart)).index(apart[i]) for i in faces])
    (_, only_cluster), (only_person, both) = pair_confusion_matrix(identities[faces], numbered).tolist()
    assert measured.pairwise.precision == pytest.approx(both / (both + only_cluster) if both + only_cluster else 1.0)
    assert measured.pairwise.recall == pytest.approx(both / (both + only_person) if both + only_person else 1.0)
    assert measured.ari == pytest.approx(adjusted_rand_score(identities[faces], numbered), abs=1e-9)
    assert measured.nmi == pytest.approx(normalized_mutual_info_score(identities[faces], numbered), abs=1e-6)


def test_clustering_worked_example():
    # Ann 0 1 2, Bob 3 4, somebody unlabelled 5; clusters {0 1 3} {4 5}, noise 2.
    identities = ints(0, 0, 0, 1, 1, -1)
    clusters = ints(7, 7, -1, 7, 9, 9)
    photos = ["a", "a", "b", "c", "d", "d"]
    measured = clustering_measures(identities, clusters, photos=photos)
    # Pairs of one cluster (labelled): 01 03 13; of one person: 01 02 12 34; both: 01.
    assert measured.pairwise.as_dict() == {"precision": 1 / 3, "recall": 1 / 4, "f": pytest.approx(2 / 7)}
    # BCubed precision 2/3 2/3 1 1/3 1; recall 2/3 2/3 1/3 1/2 1/2.
    assert measured.bcubed.precision == pytest.approx((2 / 3 + 2 / 3 + 1 + 1 / 3 + 1) / 5)
    assert measured.bcubed.recall == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 / 2 + 1 / 2) / 5)
    assert (measured.faces, measured.labelled, measured.people, measured.clusters) == (6, 5, 2, 2)
    assert measured.noise_share == pytest.approx(1 / 6)
    assert measured.largest_cluster_share == 0.5
    assert same_photo_violations(clusters, photos).tolist() == [7, 9]
    assert measured.same_photo_violations == 2
    assert clustering_measures(identities, clusters).same_photo_violations is None
    assert set(json.loads(json.dumps(measured.as_dict()))["pairwise"]) == {"precision", "recall", "f"}


def test_a_million_faces_in_one_cluster_are_counted_exactly():
    # Two people of half a million in one cluster: precision = (m - 1) / (2 m - 1) with m = 500,000.
    m = 500_000
    measured = clustering_measures(np.repeat(ints(0, 1), m), np.zeros(2 * m, dtype=np.int64))
    assert measured.pairwise.precision == (m * (m - 1)) / (m * (2 * m - 1))
    assert measured.pairwise.recall == 1
    assert measured.ari == pytest.approx(0, abs=1e-12)


def test_churn_by_definition():
    rng = np.random.default_rng(1)
    for _ in range(20):
        before, after = rng.integers(-1, 4, size=(2, 12))
        mates = [
            [frozenset(np.flatnonzero(part == part[i])) if part[i] != -1 else frozenset({i}) for i in range(12)]
            for part in (before, after)
        ]
        changed = [a != b for a, b in zip(*mates, strict=True)]
        assert churn(before, after) == pytest.approx(np.mean(changed))
    assert churn(ints(0, 0, 1, -1), ints(5, 5, -1, 3)) == 0  # renumbered; one-face clusters are like noise
    assert churn(ints(), ints()) == 0


def test_groups_sum_to_the_whole_and_see_each_other():
    # x's two people are glued to one cluster; y's person is whole: only x suffers.
    identities, clusters = ints(0, 0, 1, 1, 2, 2), ints(0, 0, 0, 0, 1, 1)
    groups = ["x", "x", "x", "x", "y", "y"]
    found = clustering_by_group(identities, clusters, groups)
    assert found["x"].pairwise.precision == pytest.approx(2 / 6)
    assert found["y"].pairwise.precision == found["y"].bcubed.f == 1
    assert (found["x"].faces, found["x"].clusters, found["y"].people) == (4, 1, 1)
    # A cluster across groups counts against both: of x's half pairs 1 + 1 in 3 is right.
    across = clustering_by_group(ints(0, 0, 1), ints(0, 0, 0), ["x", "x", "y"])
    assert across["x"].pairwise.precision == pytest.approx(1 / 2)
    assert across["y"].pairwise.precision == 0
    everybody = clustering_by_group(identities, clusters, ["all"] * 6, photos=list("abcdef"))
    assert everybody["all"] == clustering_measures(identities, clusters, photos=list("abcdef"))
    assert set(clustering_by_group(ints(0, -1), ints(0, 0), ["x", "y"])) == {"x"}


def test_clustering_intervals_against_people_written_out():
    """Draw people, write their faces out face by face, and count the pairs that the definition knows."""
    identities, clusters = np.random.default_rng(3).integers(0, 5, size=(2, 30))

    def naive(multiplicity):
        copies = [(i, c) for i, person in enumerate(identities) for c in range(int(multiplicity[person]))]
        both = joined = true = 0
        for (i, c), (j, d) in combinations(copies, 2):
            if identities[i] == identities[j] and c != d:
                continue  # copies of one person never meet
            same = identities[i] == identities[j]
            true += same
            joined += clusters[i] == clusters[j]
            both += same and clusters[i] == clusters[j]
        precision, recall = both / joined if joined else 1.0, both / true
        precisions = []
        for i, c in copies:
            cluster = [
                j for j, d in copies if clusters[j] == clusters[i] and (identities[j] != identities[i] or d == c)
            ]
            precisions.append(np.mean(identities[cluster] == identities[i]))
        return {
            "pairwise.precision": precision,
            "pairwise.f": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
            "bcubed.precision": float(np.mean(precisions)),
        }

    expected = bootstrap_intervals(naive, 5, resamples=25, seed=4)
    found = clustering_intervals(identities, clusters, resamples=25, seed=4)
    for name, interval in expected.items():
        assert found[name].low == pytest.approx(interval.low)
        assert found[name].high == pytest.approx(interval.high)
    assert {"nmi", "ari", "pairwise.recall", "bcubed.recall", "bcubed.f"} < set(found)


def test_bootstrap_covers_a_mean_and_repeats():
    values = np.random.default_rng(0).normal(size=400)

    def mean(multiplicity):
        return {"mean": float(multiplicity @ values / multiplicity.sum()), "never": float("nan")}

    interval = bootstrap_intervals(mean, 400, seed=5)["mean"]
    error = 1.96 * values.std() / np.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - error, abs=0.2 * error)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.2 * error)
    again = bootstrap_intervals(mean, 400, seed=5)
    assert again == {"mean": interval}  # what is never defined is left out
    assert bootstrap_intervals(mean, 400, seed=6)["mean"] != interval
    assert interval.as_dict() == {"low": interval.low, "high": interval.high}
    assert bootstrap_intervals(mean, 1) == {}


# --- ROC


@pytest.fixture
def scored():
    rng = np.random.default_rng(7)
    same = rng.random(4000) < 0.3
    return np.round(rng.normal(1.3 - 0.4 * same, 0.15), 2), same  # rounded: many ties


def test_roc_agrees_with_sklearn(scored):
    distances, same = scored
    curve = roc(distances, same)
    far, tar, _ = roc_curve(same, -distances, drop_intermediate=False)
    np.testing.assert_allclose(curve.far, far)
    np.testing.assert_allclose(curve.tar, tar)
    assert curve.auc() == pytest.approx(auc(far, tar))
    for rate in (1e-1, 1e-2, 1e-3):
        assert curve.tar_at_far(rate) == pytest.approx(tar[far <= rate].max())
        assert np.mean(distances[~same] <= curve.distance_at_far(rate)) <= rate
    grid = np.linspace(0, 1, 200_001)
    by_grid = grid[np.argmin(np.abs(1 - np.interp(grid, far, tar) - grid))]
    assert curve.eer() == pytest.approx(by_grid, abs=1e-5)
    assert curve.rates_at(1.0) == (np.mean(distances[~same] <= 1.0), np.mean(distances[same] <= 1.0))
    plotted = curve.as_dict()
    assert len(plotted["far"]) == len(plotted["tar"]) == len(plotted["distance"]) <= 500
    assert plotted["tar"][-1] == 1
    assert "Infinity" not in json.dumps(plotted)


def test_roc_with_infinite_distances_is_sklearns_with_large_ones(scored):
    distances, same = scored
    lost = np.random.default_rng(0).random(4000) < 0.1
    assert roc(np.where(lost, np.inf, distances), same).auc() == pytest.approx(
        roc_auc_score(same, -np.where(lost, 9, distances))
    )


def test_weights_are_repetitions(scored):
    distances, same = scored
    weights = np.random.default_rng(0).integers(0, 3, size=4000)
    weighted = roc(distances, same, weights=weights.astype(float))
    repeated = roc(np.repeat(distances, weights), np.repeat(same, weights))
    assert weighted.eer() == pytest.approx(repeated.eer())
    assert weighted.auc() == pytest.approx(repeated.auc())
    assert weighted.rates_at(1.1) == pytest.approx(repeated.rates_at(1.1))


def test_roc_by_hand():
    # same .2 .4 .9, different .5 .8 1.0 1.2: EER lies where far = miss = 1/3, at (far 1/4..1/2, tar 2/3).
    curve = roc(np.array([0.2, 0.4, 0.9, 0.5, 0.8, 1.0, 1.2]), np.array([True] * 3 + [False] * 4))
    assert curve.eer() == pytest.approx(1 / 3)
    assert curve.tar_at_far(0.25) == pytest.approx(2 / 3)
    assert curve.distance_at_far(0.25) == 0.5
    assert curve.tar_at_far(0.2) is None  # four impostors cannot speak of one in five
    assert curve.distance_at_far(0.2) is None
    assert (far_key(1e-2), far_key(5e-4), far_key(0.1)) == ("1e-2", "5e-4", "1e-1")


def test_roc_refuses_what_it_cannot_say():
    with pytest.raises(UsageError, match="there are 1 and 0"):
        roc(np.array([0.1]), np.array([True]))
    with pytest.raises(UsageError, match="there are 0 and 0"):
        roc(np.empty(0), np.empty(0, dtype=bool))
    with pytest.raises(ValueError, match="not a number"):
        roc(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="one length"):
        roc(np.array([0.1]), np.array([True, False]))


# --- verification by pairs

PAIRS = "2\t1\nAnn\t1\t4\nAnn\t1\tBob\t2\nBob\t1\t2\nBob\t1\tAnn\t2\n"


def test_pairs_file_forms():
    pairs = parse_pairs(PAIRS)
    assert pairs[0] == Pair("Ann", 1, "Ann", 4, fold=0)
    assert pairs[3] == Pair("Bob", 1, "Ann", 2, fold=1)
    assert [pair.same for pair in pairs] == [True, False, True, False]
    one_fold = parse_pairs("1\nAnn\t1\t4\nAnn\t1\tBob\t2\n\n")
    assert [pair.fold for pair in one_fold] == [0, 0]
    assert parse_pairs(PAIRS.replace("\t", " ").replace("\n", "\r\n")) == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("Ann\t1\t2\n", "first line"),
        ("2\t2\nAnn\t1\t4\n", r"promises 2 x 2 x 2 pairs, and 1 lines follow"),
        (PAIRS.replace("Ann\t1\t4", "Ann\t1\tx"), "line 2: expected 'name number number'"),
        (PAIRS.replace("Ann\t1\t4", "Ann\t1\tBob\t4"), "line 2"),
        (PAIRS.replace("Ann\t1\tBob\t2", "Ann\t1\tAnn\t2"), "line 3: .*of two people"),
    ],
)
def test_pairs_file_errors_say_where(text, message):
    with pytest.raises(UsageError, match=message):
        parse_pairs(text, source="p.txt")


@pytest.fixture
def protocol():
    rng = np.random.default_rng(11)
    folds = np.repeat(np.arange(10), 60)
    same = np.tile(np.repeat([True, False], 30), 10)
    people = np.where(
        same[:, None], rng.integers(40, size=(600, 1)), rng.permuted(np.tile(np.arange(40), (600, 1)), axis=1)[:, :2]
    )
    return rng.normal(1.3 - 0.35 * same, 0.15), same, folds, people


def test_lfw_protocol_against_a_naive_one(protocol):
    distances, same, folds, _ = protocol
    measured = lfw_verification(distances, same, folds)
    accuracies = []
    for fold in range(10):
        train, test = folds != fold, folds == fold
        ordered = np.sort(distances[train])
        cuts = [ordered[0] - 1, *((ordered[1:] + ordered[:-1]) / 2), ordered[-1] + 1]
        scores = [np.mean((distances[train] <= cut) == same[train]) for cut in cuts]
        best = [cut for cut, score in zip(cuts, scores, strict=True) if score == max(scores)]
        assert measured.fold_thresholds[fold] == pytest.approx(best[(len(best) - 1) // 2])
        accuracies.append(np.mean((distances[test] <= best[(len(best) - 1) // 2]) == same[test]))
    assert measured.fold_accuracies == pytest.approx(accuracies)
    assert measured.accuracy == pytest.approx(np.mean(accuracies))
    assert measured.accuracy_sd == pytest.approx(np.std(accuracies, ddof=1))
    assert measured.accuracy_se == pytest.approx(np.std(accuracies, ddof=1) / np.sqrt(10))
    assert measured.tar_at_far["1e-2"] == roc(distances, same).tar_at_far(1e-2)
    assert measured.tar_at_far["1e-3"] is None  # 300 impostors
    assert (measured.pairs, measured.same_pairs, measured.different_pairs, measured.folds) == (600, 300, 300, 10)
    assert {"accuracy", "accuracy_sd", "tar_at_far"} <= set(json.loads(json.dumps(measured.as_dict())))


def test_best_threshold_by_hand():
    # .1+ .2+ | .6- .7+ .9-: accepting two errs once, accepting four errs once, nothing errs less: k = 2 or 4, k = 2.
    distances, same = np.array([0.7, 0.1, 0.9, 0.2, 0.6]), np.array([True, True, False, True, False])
    assert best_threshold(distances, same) == pytest.approx(0.4)
    assert best_threshold(np.array([0.5, 0.6]), np.array([False, False])) < 0.5
    assert best_threshold(np.array([0.5, 0.6]), np.array([True, True])) == 0.6
    assert best_threshold(np.array([0.5, np.inf]), np.array([True, True])) == 0.5
    # Equal distances are never parted, though a cut between them would be best.
    assert best_threshold(np.array([0.5, 0.5, 0.8]), np.array([True, False, False])) in (
        pytest.approx(0.65),
        np.nextafter(0.5, 0),
    )


def test_a_face_not_found_counts_as_two_people(protocol):
    distances, same, folds, _ = protocol
    lost = distances.copy()
    lost[:5] = np.inf  # five pairs of one person
    measured = lfw_verification(lost, same, folds, threshold=1.1)
    assert measured.fold_accuracies[0] == np.mean((lost[:60] <= 1.1) == same[:60])
    assert measured.fold_thresholds == (1.1,) * 10


def test_one_fold_needs_a_threshold():
    distances, same, fold = np.array([0.5, 1.3]), np.array([True, False]), ints(0, 0)
    with pytest.raises(UsageError, match="no other folds"):
        lfw_verification(distances, same, fold)
    measured = lfw_verification(distances, same, fold, threshold=1.0)
    assert (measured.accuracy, measured.accuracy_sd, measured.accuracy_se) == (1.0, None, None)


def test_verification_intervals_hold_the_value(protocol):
    distances, same, folds, people = protocol
    measured = lfw_verification(distances, same, folds)
    intervals = verification_intervals(distances, folds, people, resamples=200)
    assert set(intervals) == {"accuracy", "eer", "tar_at_far.1e-2"}
    assert intervals["accuracy"].low < measured.accuracy < intervals["accuracy"].high
    assert intervals["eer"].low < measured.eer < intervals["eer"].high
    single = verification_intervals(distances, np.zeros_like(folds), people, resamples=50)
    assert single["accuracy"].low < measured.accuracy < single["accuracy"].high


def test_verification_by_group_uses_one_threshold(protocol):
    distances, same, folds, _ = protocol
    groups = np.where(np.arange(600) % 3 == 0, "old", "young")
    shifted = distances + 0.2 * (groups == "old")  # the old lie further apart, of one person too
    found = verification_by_group(shifted, same, folds, [*groups[:-1], "alone"])
    assert set(found) == {"old", "young"}
    assert len({*found["old"].fold_thresholds, *found["young"].fold_thresholds}) == 1
    assert found["old"].accuracy < found["young"].accuracy


# --- all pairs


def test_all_pairs_against_scipy(monkeypatch):
    from scipy.spatial.distance import pdist

    vectors, identities = unit_vectors(300)
    unlabelled = np.arange(300) % 10 == 0
    identities[unlabelled] = -1
    kept, names = vectors[~unlabelled].astype(np.float64), identities[~unlabelled]
    distances = pdist(kept)
    same = pdist(names[:, None].astype(float)) == 0
    for block in (1024, 64):
        monkeypatch.setattr("photocluster.evaluation.pair_stream.BLOCK", block)
        pairs = all_pairs(vectors, identities)
        assert pairs.same.sum() == same.sum()
        assert pairs.different.sum() == (~same).sum()
        for counts, kind in ((pairs.same, same), (pairs.different, ~same)):
            exact = np.bincount((distances[kind] ** 2 / 4 * BINS).astype(int), minlength=BINS)
            # float32 moves a pair over a bin's edge now and then
            assert np.abs(np.cumsum(counts) - np.cumsum(exact)).max() <= 2
        measured, exact = pairs.measures(), roc(distances, same)
        assert measured.eer == pytest.approx(exact.eer(), abs=1e-4)
        assert measured.auc == pytest.approx(exact.auc(), abs=1e-5)
        assert measured.tar_at_far["1e-3"] == pytest.approx(exact.tar_at_far(1e-3), abs=1e-3)
        assert measured.distance_at_far["1e-2"] == pytest.approx(exact.distance_at_far(1e-2), abs=1e-3)
        assert measured.tar_at_far["1e-6"] is None
        assert (measured.faces, measured.people) == (270, 20)
    edges, near, far = pairs.histogram()
    assert near.tolist() == pytest.approx(np.histogram(distances[same], edges)[0], abs=3)
    assert far.sum() == (~same).sum()


def test_all_pairs_intervals_against_weighted_pairs():
    vectors, identities = unit_vectors(120, people=12, spread=0.9)
    cells = np.clip((1 - vectors @ vectors.T) * (BINS / 2), 0, BINS - 1).astype(int)
    i, j = np.triu_indices(120, 1)
    upper = np.sqrt((cells[i, j] + 1) * (4 / BINS))
    same = identities[i] == identities[j]

    def naive(multiplicity):
        weights = np.where(same, 1, multiplicity[identities[j]]) * multiplicity[identities[i]]
        curve = roc(upper, same, weights=weights)
        return {f"tar_at_far.{far_key(far)}": curve.tar[curve.index_at_far(far)] for far in (1e-2, 1e-3)}

    expected = bootstrap_intervals(naive, 12, resamples=60, seed=2)
    found = all_pairs_intervals(vectors, identities, resamples=60, seed=2)
    assert set(found) == set(expected)
    for name, interval in expected.items():
        assert found[name].low == pytest.approx(interval.low, abs=1e-9)
        assert found[name].high == pytest.approx(interval.high, abs=1e-9)
    few = unit_vectors(8, people=3)
    assert all_pairs_intervals(*few) == {}  # fewer than 100 pairs of different people


def test_all_pairs_by_group():
    vectors, identities = unit_vectors(200, people=20, spread=0.8)
    groups = np.where(identities < 10, "a", "b")
    groups[0] = "alone"
    found = all_pairs_by_group(vectors, identities, groups.tolist(), fars=(1e-2,))
    assert set(found) == {"a", "b"}
    common = found["a"].at_common_distance["1e-2"]
    own = groups == "a"
    curve = all_pairs(vectors[own], identities[own]).roc()
    assert (common["far"], common["tar"]) == curve.rates_at(common["distance"])
    assert found["a"].own == all_pairs(vectors[own], identities[own]).measures((1e-2,))
    assert common["distance"] == all_pairs(vectors, identities).measures().distance_at_far["1e-2"]
    json.dumps(found["a"].as_dict())


def test_all_pairs_refuses_what_it_cannot_use():
    vectors, identities = unit_vectors(10)
    with pytest.raises(ValueError, match="unit norm"):
        all_pairs(vectors * 2, identities)
    with pytest.raises(ValueError, match="do not fit"):
        all_pairs(vectors, identities[:5])
    with pytest.raises(UsageError, match="no face has an identity"):
        all_pairs(vectors, np.full(10, -1))


def test_memory_does_not_grow_with_the_pairs():
    vectors, identities = unit_vectors(5000, dim=32, people=800)
    tracemalloc.start()
    all_pairs(vectors, identities)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 45e6  # 12.5 million pairs would take 50 MB as float32 alone


# --- identification


def test_identification_by_hand():
    # Known: 4 right, 1 wrong, 1 unknown of 6. Strangers: 1 of 4 named. Names: 6, of them 2 wrong.
    truth = ints(0, 0, 1, 1, 2, 2, -1, -1, -1, -1)
    predicted = ints(0, 0, 1, 1, 0, -1, 2, -1, -1, -1)
    measured = identification_measures(truth, predicted)
    assert (measured.known_right, measured.known_wrong, measured.known_unknown) == (4 / 6, 1 / 6, 1 / 6)
    assert (measured.strangers_named, measured.names_given, measured.names_wrong) == (1 / 4, 6, 2 / 6)
    assert (measured.known, measured.strangers) == (6, 4)
    nobody = identification_measures(ints(), ints())
    assert nobody.known_right is nobody.strangers_named is nobody.names_wrong is None
    groups = identification_by_group(truth, predicted, ["x"] * 4 + ["y"] * 6)
    assert groups["x"].known_right == 1
    assert groups["x"].strangers_named is None
    people = ints(0, 0, 1, 1, 2, 2, 3, 3, 4, 4)
    intervals = identification_intervals(truth, predicted, people, resamples=300)
    assert intervals["known_right"].low < 4 / 6 < intervals["known_right"].high
    assert set(intervals) == {"known_right", "known_wrong", "known_unknown", "strangers_named", "names_wrong"}
    json.dumps(measured.as_dict())


def test_open_set_curve_by_definition():
    rng = np.random.default_rng(5)
    truth = rng.integers(-1, 5, size=800)
    nearest = np.where(rng.random(800) < 0.9, np.maximum(truth, 0), 4)
    distances = rng.normal(1 + 0.2 * (truth == -1), 0.15)
    found = open_set_curve(truth, nearest, distances)
    known = truth != -1
    assert found.rank1 == np.mean(nearest[known] == truth[known])
    for far in (1e-1, 1e-2):
        rates = [
            np.mean((nearest == truth)[known] & (distances[known] <= threshold))
            for threshold in distances
            if np.mean(distances[~known] <= threshold) <= far
        ]
        assert found.dir_at_far[far_key(far)] == pytest.approx(max(rates))
    assert found.dir_at_far["1e-3"] is None
    assert found.curve.tar[-1] == pytest.approx(found.rank1)
    json.dumps(found.as_dict())


def test_open_set_split():
    identities = np.concatenate([np.repeat(np.arange(10), 5), ints(10, -1, -1)])
    split = open_set_split(identities, stranger_share=0.2, seed=3)
    parts = np.concatenate([split.gallery, split.probes, split.strangers])
    assert sorted(parts.tolist()) == np.flatnonzero(identities != -1).tolist()
    assert len(np.unique(identities[split.strangers])) == 2  # a fifth of eleven
    assert not set(identities[split.strangers]) & set(identities[split.gallery])
    assert set(identities[split.probes]) <= set(identities[split.gallery])
    whole = [person for person in range(10) if person in identities[split.gallery]]
    assert all((identities[split.gallery] == person).sum() == 3 for person in whole)
    again, other = open_set_split(identities, seed=3), open_set_split(identities, seed=4)
    assert again.gallery.tolist() == split.gallery.tolist()
    assert other.gallery.tolist() != split.gallery.tolist()
    assert len(open_set_split(ints(), stranger_share=0.5).gallery) == 0
    with pytest.raises(UsageError, match="between 0 and 1"):
        open_set_split(identities, stranger_share=1.5)


# --- detection


def face(x, y, size, *, ignore=False):
    return LabelledFace(Box(x, y, x + size, y + size), None, ignore=ignore)


def test_detection_by_hand():
    photo = DetectedPhoto(
        faces=(
            face(0, 0, 30),  # found, IoU 25/30
            face(100, 0, 50),  # missed: IoU 1/3
            face(200, 0, 10, ignore=True),  # found, and does not count
            LabelledFace(None, (320.0, 20.0)),  # found, in a box of 100
            LabelledFace(None, (900.0, 20.0)),  # missed
        ),
        detections=(
            Box(0, 0, 30, 25),
            Box(125, 0, 175, 50),  # false, 50 pixels
            Box(200, 0, 210, 10),
            Box(270, -30, 370, 70),
            Box(500, 0, 700, 200),  # false, 200 pixels
        ),
    )
    empty = DetectedPhoto((), (Box(0, 0, 15, 15),))
    measured = detection_measures([photo, empty])
    assert measured.as_dict()["by_size"] == {
        "<20": {"faces": 0, "found": 0, "false_positives": 1, "recall": None, "precision": 0.0},
        "20-40": {"faces": 1, "found": 1, "false_positives": 0, "recall": 1.0, "precision": 1.0},
        "40-80": {"faces": 1, "found": 0, "false_positives": 1, "recall": 0.0, "precision": 0.0},
        "80-160": {"faces": 1, "found": 1, "false_positives": 0, "recall": 1.0, "precision": 1.0},
        ">=160": {"faces": 0, "found": 0, "false_positives": 1, "recall": None, "precision": 0.0},
        "unknown": {"faces": 1, "found": 0, "false_positives": 0, "recall": 0.0, "precision": None},
    }
    assert (measured.total.faces, measured.total.found, measured.total.false_positives) == (4, 2, 3)
    assert list(measured.by_size) == ["<20", "20-40", "40-80", "80-160", ">=160", "unknown"]
    assert detection_by_group([photo, empty], ["a", ""]) == {"a": detection_measures([photo])}
    intervals = detection_intervals([photo, empty, photo], resamples=100)
    assert intervals["recall"].low == intervals["recall"].high == 0.5
    assert intervals["false_positives_per_photo"].low <= 5 / 3 <= intervals["false_positives_per_photo"].high


def test_matching_is_greedy_and_one_to_one():
    faces = [face(0, 0, 10), face(2, 0, 10)]
    # The second detection overlaps both; it fits the second face better, which leaves the first to the first.
    assert match_faces(faces, [Box(-2, 0, 8, 10), Box(1.5, 0, 11.5, 10)]) == {0: 0, 1: 1}
    assert match_faces(faces, [Box(1.5, 0, 11.5, 10)]) == {1: 0}
    noses = [LabelledFace(None, (5.0, 5.0)), LabelledFace(None, (6.0, 5.0))]
    assert match_faces(noses, [Box(0, 0, 10, 10)]) == {0: 0}
    assert match_faces([face(0, 0, 10)], [Box(5, 0, 15, 10)], min_iou=1 / 3) == {0: 0}


def test_labelled_faces_table():
    text = "image\tkind\tx\ty\tw\th\tignore\na\tbox\t1\t2\t3\t4\t1\na\tnose_point\t5\t6\t\t\t0\nb\tnone\t\t\t\t\t0\n\n"
    assert parse_labelled_faces(text) == {
        "a": (LabelledFace(Box(1, 2, 4, 6), None, ignore=True), LabelledFace(None, (5.0, 6.0))),
        "b": (),
    }
    for bad, message in (
        ("image\tkind\n", "lacks the columns h, w, x, y"),
        (text.replace("box", "oval"), "t.tsv, line 2: no face: oval"),
        (text.replace("\t3\t4", "\t0\t4"), "line 2: no face: box of 0 x 4"),
        (text.replace("5\t6", "x\t6"), "line 3: could not convert"),
        (text + "c\n", "line 6: 'kind'"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_labelled_faces(bad, source="t.tsv")


# --- clicks


def test_clicks_by_hand():
    # Cluster 3: Ann Ann Ann Bob; cluster 1: Bob Bob; cluster 2: unlabelled x3; noise: Ann, Cleo.
    identities = ints(0, 0, 0, 1, 1, 1, -1, -1, -1, 0, 2)
    clusters = ints(3, 3, 3, 3, 1, 1, 2, 2, 2, -1, -1)
    steps = [(step.faces.tolist(), step.name) for step in name_clusters(identities, clusters)]
    assert steps == [([0, 1, 2, 3], 0), ([3], 1), ([], -1), ([4, 5], 1), ([9], 0), ([10], 2)]
    measured = count_clicks(name_clusters(identities, clusters), identities)
    # Seven faces count (Ann 4, Bob 3): right after each decision 3 4 4 6 7 7 of 7.
    assert measured.right.tolist() == pytest.approx([0, 3 / 7, 4 / 7, 4 / 7, 6 / 7, 1, 1])
    assert [goal.decisions for goal in measured.goals] == [4, 5]
    assert (measured.faces, measured.people, measured.decisions) == (7, 2, 6)
    careless = count_clicks(name_clusters(identities, clusters, correct=False), identities, goals=(0.7, 0.8, 0.95))
    # Without corrections: 3 3 5 6 6 of 7, Bob's face wrong from the first on.
    assert [goal.as_dict() for goal in careless.goals] == [
        {"share": 0.7, "decisions": 3, "wrong": 1, "wrong_share": 1 / 6},
        {"share": 0.8, "decisions": 4, "wrong": 1, "wrong_share": 1 / 7},
        {"share": 0.95, "decisions": None, "wrong": None, "wrong_share": None},
    ]
    json.dumps(careless.as_dict())


def test_clicks_count_any_decisions():
    identities = ints(0, 0, 0, 1)
    decisions = [
        Decision(ints(), -1),  # a suggestion rejected
        Decision(ints(0, 1, 3), 0),
        Decision(ints(3), -1),  # a name taken away
        Decision(ints(2, 2), 0),
    ]
    measured = count_clicks(iter(decisions), identities, goals=(0.6, 1.0))
    assert [(goal.decisions, goal.wrong) for goal in measured.goals] == [(2, 1), (4, 0)]
    nobody = count_clicks([], ints(0, 1))
    assert (nobody.faces, nobody.goals[0].decisions) == (0, None)


# --- thresholds and plots


def test_components_against_scipy():
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    vectors, identities = unit_vectors(120, people=12)
    tree = linkage(pdist(vectors.astype(np.float64)), "single")
    for distance, labels in component_clusterings(vectors, (0.3, 0.55, 0.7, 2.0)):
        expected = fcluster(tree, distance, "distance")
        alone = np.bincount(expected)[expected] == 1
        assert (labels == -1).tolist() == alone.tolist()
        assert adjusted_rand_score(labels[~alone], expected[~alone]) == 1 or alone.all()
    points = threshold_curve(identities, component_clusterings(vectors))
    assert points[-1].pairwise.recall == 1
    assert points[0].pairwise == clustering_measures(identities, next(component_clusterings(vectors))[1]).pairwise
    json.dumps(points[0].as_dict())
    assert [labels.tolist() for _, labels in component_clusterings(vectors[:1], (1.0,))] == [[-1]]


@pytest.mark.slow
def test_plots_are_written(tmp_path):
    pytest.importorskip("matplotlib", reason="plots are an optional extra")
    from PIL import Image

    vectors, identities = unit_vectors(60, people=6, spread=0.6)
    pairs = all_pairs(vectors, identities)
    clusters = next(component_clusterings(vectors, (0.6,)))[1]
    panels = [
        roc_panel({"all": pairs.roc()}),
        histogram_panel(pairs),
        threshold_panel(threshold_curve(identities, component_clusterings(vectors, (0.4, 0.6, 0.8)))),
        clicks_panel({"plain": count_clicks(name_clusters(identities, clusters), identities)}),
    ]
    write_plot(tmp_path / "a.png", panels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (2640, 540)
        assert len(np.unique(np.asarray(image.convert("L")))) > 50
    write_plot(tmp_path / "a.html", panels[:1], title="a < b")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "a &lt; b" in page
    assert "<svg" in page
    assert "<?xml" not in page
    with pytest.raises(UsageError, match=r"written as \.png or \.html"):
        write_plot(tmp_path / "a.pdf", panels)
    with pytest.raises(UsageError, match="nothing to draw"):
        write_plot(tmp_path / "a.png", [])


def test_plots_without_matplotlib_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependency, match=r"pip install photocluster\[plots\]"):
        write_plot(tmp_path / "a.png", [roc_panel({})])


def test_import_is_light():
    heavy = {"matplotlib", "sklearn", "scipy"}
    for name in LAYERS:
        module = importlib.import_module(f"photocluster.evaluation.{name}")
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {(getattr(node, "module", None) or node.names[0].name).split(".")[0] for node in top}
        assert not names & heavy, name

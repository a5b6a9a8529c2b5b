"""FaceClusterer: parity with hdbscan, constraints, order, small libraries, and quality on real faces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from photocluster import groups, merging
from photocluster.clustering import FaceClusterer
from photocluster.constraints import ContradictionKind, gather
from photocluster.errors import UsageError
from photocluster.graph import neighbour_graph


def unit(x):
    x = np.asarray(x, dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def album(sizes, *, spread=0.8, seed=0):
    """Faces of as many people: similarity about 1 / (1 + spread**2) within a person, 0 between."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), 128))
    return unit(centres[people] + spread * rng.normal(size=(len(people), 128))), people


def together(labels):
    labels = np.asarray(labels)
    return (labels[:, None] == labels[None, :]) & (labels >= 0)


def fit(X, **given):
    return FaceClusterer().fit(X, **given).labels_


# Plain HDBSCAN


@pytest.mark.parametrize("size", [2, 5])
def test_plain_gives_the_labels_of_hdbscan(size):
    import hdbscan

    X, _ = album([40, 30, 20, 10, 5, 3] + [1] * 60)
    expected = hdbscan.HDBSCAN(min_cluster_size=size, min_samples=1).fit(X.astype(np.float64)).labels_
    labels = FaceClusterer.plain(min_cluster_size=size, min_samples=1).fit(X).labels_
    assert np.array_equal(together(labels), together(expected))
    assert np.array_equal(labels < 0, expected < 0)


def test_plain_agrees_with_hdbscan_where_its_labels_are_not_unique():
    import hdbscan

    X, _ = album([80, 60, 40, 40, 30, 20, 10] + [1] * 60, spread=0.6)
    expected = hdbscan.HDBSCAN(min_cluster_size=5, min_samples=5).fit(X.astype(np.float64)).labels_
    assert adjusted_rand_score(expected, FaceClusterer.plain().fit(X).labels_) >= 0.99


def test_plain_knows_no_ceiling():
    X, _ = album([1] * 40)
    assert (FaceClusterer.plain(min_cluster_size=2, min_samples=1).fit(X).labels_ >= 0).any()


def exceptions(estimator):
    known = {"check_estimators_empty_data_messages": "zero faces are an empty result, not an error"}
    if not estimator.extras:
        known["check_clustering"] = "hdbscan too leaves more noise among these 50 points than the check allows"
    return known


@parametrize_with_checks(
    [FaceClusterer(), FaceClusterer.plain(min_cluster_size=2, min_samples=1)], expected_failed_checks=exceptions
)
def test_scikit_learn_takes_it_for_an_estimator(estimator, check):
    check(estimator)


# Small libraries


@pytest.mark.parametrize("n", [0, 1, 2, 3, 20, 100])
def test_strangers_are_noise(n):
    X, _ = album([1] * n) if n else (np.empty((0, 128), np.float32), None)
    clusterer = FaceClusterer().fit(X)
    assert clusterer.labels_.tolist() == [-1] * n
    assert clusterer.labels_.dtype == np.int64
    assert clusterer.probabilities_.tolist() == [0.0] * n
    assert clusterer.outlier_scores_.shape == (n,)


@pytest.mark.parametrize("n", [2, 3, 5, 100, 400])
def test_one_person_is_one_cluster(n):
    clusterer = FaceClusterer().fit(album([n])[0])
    assert clusterer.labels_.tolist() == [0] * n
    assert clusterer.probabilities_.min() > 0.3
    assert clusterer.probabilities_.max() == 1.0


@pytest.mark.parametrize("likeness", [0.0, 0.5])
def test_people_of_many_unlike_photos_are_one_cluster_each(likeness):
    rng = np.random.default_rng(0)
    shared = np.sqrt(likeness) * rng.normal(size=128)
    centres = np.stack([shared + np.sqrt(1 - likeness) * rng.normal(size=128) for _ in range(3)])
    who = np.repeat(np.arange(3), 200)
    faces = centres[who] + 1.1 * rng.normal(size=(600, 128))  # at about 1.04 from each other
    labels = fit(unit(np.concatenate([faces, rng.normal(size=(100, 128))])))
    assert np.array_equal(together(labels[:600]), together(who))
    assert (labels[600:] < 0).all()


def test_people_of_all_sizes_are_found_beside_strangers():
    X, people = album([60, 20, 8, 4, 2, 2] + [1] * 80)
    labels = fit(X)
    assert np.array_equal(together(labels), together(np.where(people < 6, people, -1)))
    assert np.array_equal(labels, np.where(people < 6, people, -1))  # numbered by falling size


def test_smaller_groups_than_asked_for_are_noise():
    X, people = album([6, 3, 2])
    labels = FaceClusterer(min_cluster_size=3).fit(X).labels_
    assert np.array_equal(labels, np.where(people < 2, people, -1))


def test_bursts_are_no_people_of_their_own():
    X, people = album([20, 12])
    rng = np.random.default_rng(1)
    burst = unit(np.repeat(X, 4, axis=0) + 0.01 * rng.normal(size=(4 * len(X), 128)))
    assert np.array_equal(fit(burst), np.repeat(people, 4))


def test_copies_of_one_face_are_one_cluster():
    X, _ = album([1, 1])
    assert fit(np.repeat(X, [40, 3], axis=0)).tolist() == [0] * 40 + [1] * 3


# Order, graph, stability


def test_the_order_of_the_faces_changes_nothing():
    X, _ = album([30, 12, 6, 3, 2] + [1] * 40, spread=1.0)
    photos = np.arange(len(X)) // 2
    labels = fit(X, photos=photos)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(X))
        other = np.empty_like(labels)
        other[order] = fit(X[order], photos=photos[order])
        assert np.array_equal(together(labels), together(other))


def test_a_given_graph_changes_nothing():
    X, _ = album([30, 12, 6, 3, 2] + [1] * 40, spread=1.0)
    assert np.array_equal(fit(X, graph=neighbour_graph(X, 16)), fit(X))
    with pytest.raises(UsageError, match="graph has"):
        fit(X[:-1], graph=neighbour_graph(X, 16))


def test_one_more_face_moves_few_others():
    X, _ = album([30, 12, 6, 3, 2] * 3 + [1] * 60, spread=1.0)
    before = together(fit(X[:-1]))
    after = together(fit(X))[:-1, :-1]
    assert (before != after).any(axis=1).mean() < 0.01


def test_the_input_is_not_changed():
    X, _ = album([10, 5])
    copy = X.copy()
    fit(X)
    assert np.array_equal(X, copy)


# Constraints


def test_two_faces_of_one_photo_are_two_people():
    X, _ = album([12])
    photos = np.repeat(np.arange(6), 2)
    labels = fit(X, photos=photos)
    assert not together(labels)[np.arange(0, 12, 2), np.arange(1, 12, 2)].any()
    assert fit(X, photos=np.full(12, -1)).tolist() == [0] * 12  # lifted


def test_the_user_s_person_is_one_cluster_however_far_apart():
    X, people = album([7, 5])
    persons = np.full(12, -1)
    persons[[0, 7]] = 7
    assert fit(X).tolist() == people.tolist()
    assert fit(X, persons=persons).tolist() == [0] * 12
    X, _ = album([1, 1, 1])
    assert fit(X, persons=[4, -1, 4]).tolist() == [0, -1, 0]


def test_faces_of_two_persons_never_join():
    X, _ = album([12])
    persons = np.full(12, -1)
    persons[0], persons[1] = 3, 5
    labels = fit(X, persons=persons)
    assert labels[0] != labels[1]


def test_not_this_person_and_told_apart_bind():
    X, _ = album([12])
    persons = np.full(12, -1)
    persons[:6] = 3
    labels = fit(X, persons=persons, rejected=[[11, 3]])
    assert labels[11] not in set(labels[:6])
    labels = fit(X, different=[[0, 11]])
    assert labels[0] != labels[11]


def test_the_user_s_word_wins_over_the_photo_and_is_reported():
    X, _ = album([4])
    clusterer = FaceClusterer().fit(X, photos=[0, 0, 1, 2], persons=[9, 9, -1, -1])
    assert clusterer.labels_[0] == clusterer.labels_[1] >= 0
    (found,) = clusterer.contradictions_
    assert (found.kind, found.faces, found.person) == (ContradictionKind.SAME_PERSON_IN_ONE_PHOTO, (0, 1), 9)


def test_the_user_s_own_contradictions_are_reported():
    found = gather(4, persons=[2, 2, 5, -1], rejected=[[0, 2], [3, 2]], different=[[1, 0], [2, 3]]).contradictions
    assert [(c.kind, c.faces, c.person) for c in found] == [
        (ContradictionKind.ASSIGNED_AND_REJECTED, (0,), 2),
        (ContradictionKind.SAME_PERSON_AND_DIFFERENT, (0, 1), 2),
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.5, 0.9, 1.4]))
def test_no_constraint_is_ever_broken(seed, spread):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(2, 40)), int(rng.integers(1, 7))
    X = unit(rng.normal(size=(k, 128))[rng.integers(0, k, n)] + spread * rng.normal(size=(n, 128)))
    photos = rng.integers(-1, n // 2 + 1, n)
    persons = np.where(rng.random(n) < 0.4, rng.integers(0, k + 1, n), -1)
    rejected = np.stack([rng.integers(0, n, 6), rng.integers(0, k + 2, 6)], axis=1)
    different = rng.integers(0, n, (6, 2))
    joined = together(
        fit(
            X,
            photos=photos,
            persons=persons,
            rejected=rejected,
            different=different,
            quality=rng.random(n),
            copies=rng.integers(-1, n // 2 + 1, n),
            anchors=rng.random(n) < 0.7,
        )
    )
    named = persons >= 0
    same = (persons[:, None] == persons) & named & named[:, None]
    free = ~same & ~np.eye(n, dtype=bool)
    assert joined[same & ~np.eye(n, dtype=bool)].all()
    assert not joined[free & named & named[:, None]].any()
    assert not joined[free & (photos[:, None] == photos) & (photos >= 0)].any()
    told_apart = different[different[:, 0] != different[:, 1]]
    assert not (joined & free)[told_apart[:, 0], told_apart[:, 1]].any()
    for face, person in rejected:
        assert persons[face] == person or not (joined[face] & (persons == person)).any()


@pytest.mark.parametrize("seed", range(4))
def test_compiled_joins_give_the_same_clusters(seed, monkeypatch):
    X, people = album([30] * 6 + [8] * 12 + [3] * 20 + [1] * 60, spread=0.9, seed=seed)
    n = len(X)
    rng = np.random.default_rng(seed)
    given = {
        "photos": np.where(rng.random(n) < 0.5, 8 * people + rng.integers(0, 8, n), -1),  # likely ones fall apart
        "persons": np.where(rng.random(n) < 0.1, people // 2, -1),  # pairs of people in one: they take each other along
        "rejected": np.stack([rng.integers(0, n, 20), rng.integers(0, 20, 20)], axis=1),
        "different": rng.integers(0, n, (20, 2)),
        "copies": np.where(rng.random(n) < 0.1, people, -1),
    }
    expected = fit(X, **given)
    monkeypatch.setattr(groups, "SMALL", 0)
    monkeypatch.setattr(merging, "SMALL", 0)
    monkeypatch.setattr(groups, "PART", 50)  # in several threads
    for share in (0, 0.25, 2):  # of the groups, with which they are copied
        monkeypatch.setattr(merging, "PART_OF_GROUPS", share)
        assert fit(X, **given).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "given",
    [
        {"photos": [0, 1]},
        {"photos": np.zeros(3)},
        {"persons": [[1, 2, 3]]},
        {"rejected": [[3, 0]]},
        {"different": [[0, -1]]},
        {"different": [[0.5, 1.0]]},
        {"rejected": [1, 2, 3]},
        {"quality": [0.5]},
        {"times": [1.0, 2.0]},
        {"copies": [0, 0]},
        {"copies": [0.0, 0.0, 1.0]},
        {"anchors": [True]},
        {"anchors": [1, 0, 1]},
    ],
)
def test_statements_of_a_wrong_shape_are_refused(given):
    with pytest.raises(UsageError):
        fit(album([3])[0], **given)


# Evidence


def test_a_face_of_low_quality_joins_others_and_makes_no_cluster():
    X, _ = album([20, 4])
    quality = np.ones(24)
    quality[[0, 20, 21, 22, 23]] = 0.0
    assert fit(X, quality=quality).tolist() == [0] * 20 + [-1] * 4
    assert fit(X).tolist() == [0] * 20 + [1] * 4
    assert fit(X, quality=np.full(24, np.nan)).tolist() == fit(X).tolist()


def test_a_face_of_the_same_day_needs_less_likeness():
    X, _ = album([20])
    centre = unit(X.mean(axis=0, keepdims=True))
    away = unit(album([1], seed=5)[0] - (album([1], seed=5)[0] @ centre.T) * centre)
    days = np.arange(20.0)
    joined = {day: [] for day in ("same", "other", "unknown")}
    for share in np.linspace(0.2, 0.5, 31):
        faces = np.vstack([X, unit(share * centre + np.sqrt(1 - share**2) * away)])
        for day, value in (("same", 3.2), ("other", 90.0), ("unknown", np.nan)):
            joined[day].append(bool(fit(faces, times=[*days, value])[-1] == 0))
    assert sum(joined["same"]) > sum(joined["other"]) == sum(joined["unknown"]) > 0


def test_a_face_joins_whom_it_probably_is_a_little_before_that_is_certain():
    X, _ = album([20])
    centre = unit(X.mean(axis=0, keepdims=True))
    away = unit(album([1], seed=5)[0] - (album([1], seed=5)[0] @ centre.T) * centre)
    least = {0.85: [], 0.9: [], None: []}
    for share in np.linspace(0.3, 0.5, 41):
        faces = np.vstack([X, unit(share * centre + np.sqrt(1 - share**2) * away)])
        for probability, joined in least.items():
            clusterer = FaceClusterer() if probability is None else FaceClusterer(min_probability=probability)
            joined.append(bool(clusterer.fit(faces).labels_[-1] == 0))
    assert sum(least[None]) == sum(least[0.85]) > sum(least[0.9]) > 0


# Copies, and faces that found nobody


def test_copies_are_one_cluster_however_far_apart():
    X, _ = album([1] * 6)
    assert fit(X, copies=[3, -1, 3, 0, 0, 0]).tolist() == [1, -1, 1, 0, 0, 0]


def test_copies_count_as_one_point():
    rng = np.random.default_rng(4)
    base = rng.normal(size=128)
    centres = base + 1.2 * rng.normal(size=(2, 128))
    X = unit(np.repeat(centres, 10, axis=0) + rng.normal(size=(20, 128)))
    track = unit(X[0] + 0.06 * rng.normal(size=(90, 128)))  # 0.6 or so from the face that it follows
    copies = np.concatenate([[0], np.full(19, -1), np.zeros(90, dtype=int)])

    def distance(X, **given):
        return FaceClusterer().fit(X, **given).merge_candidates_[0].distance

    everyone = np.vstack([X, track])
    assert distance(everyone, copies=copies) == pytest.approx(distance(X), abs=0.005)
    assert distance(everyone) != pytest.approx(distance(X), abs=0.02)


def test_copies_give_way_to_the_user_and_to_photos():
    X, _ = album([1] * 4)
    assert together(fit(X, copies=[0] * 4, persons=[5, 6, 6, -1])).sum(axis=1).tolist() == [2, 2, 2, 2]
    assert fit(X, copies=[0, 0, 1, 1], different=[[0, 1]]).tolist() == [-1, -1, 0, 0]
    assert fit(X, copies=[0, 0, 1, 1], photos=[2, 2, 1, 3]).tolist() == [-1, -1, 0, 0]
    assert fit(X, copies=[0, 0, 1, 1], persons=[-1, 9, -1, -1], rejected=[[0, 9]]).tolist() == [-1, -1, 0, 0]


def test_copies_of_one_person_s_faces_join_at_once():
    n = 3000
    X, _ = album([1] * n)
    persons = np.where(np.arange(n) % 2, 1, -1)
    assert (fit(X, copies=np.arange(n) // 2, persons=persons) == 0).all()


def test_faces_that_are_no_anchors_join_people_and_make_none():
    X, people = album([20, 8])
    anchors = people == 0
    anchors[:4] = False
    assert fit(X, anchors=anchors).tolist() == [0] * 20 + [-1] * 8
    assert fit(X, anchors=anchors, copies=np.where(people == 1, 0, -1)).tolist() == [0] * 20 + [-1] * 8
    assert fit(X, anchors=np.ones(28, dtype=bool)).tolist() == fit(X).tolist()
    named = np.where(people == 1, 3, -1)
    assert fit(X, anchors=anchors, persons=named).tolist() == people.tolist()


def test_people_who_are_filmed_for_an_hour_are_found():
    rng = np.random.default_rng(6)
    X, people = album([12, 9, 2] + [1] * 20, spread=0.9)
    film = unit(np.repeat(X[[0, 12, 25]], 60, axis=0) + 0.06 * rng.normal(size=(180, 128)))
    everyone = np.vstack([X, film])
    anchors = np.arange(len(everyone)) < len(X)
    labels = fit(everyone, anchors=anchors, copies=np.repeat([-1, *range(18)], [43, *[10] * 18]))
    assert np.array_equal(labels[:43], np.where(people < 3, people, -1))
    assert np.array_equal(labels[43:], np.repeat([0, 1, -1], 60))


def test_more_copies_than_neighbours_hide_nobody():
    rng = np.random.default_rng(7)
    X, people = album([10, 6, 3], spread=0.9)
    copies = unit(np.repeat(X, 25, axis=0) + 0.005 * rng.normal(size=(25 * len(X), 128)))
    assert np.array_equal(fit(copies), np.repeat(people, 25))


def test_candidates_name_the_clusters_that_are_nearest():
    rng = np.random.default_rng(3)
    base = rng.normal(size=128)
    centres = np.stack([base + 1.0 * rng.normal(size=128), base + 1.0 * rng.normal(size=128), rng.normal(size=128)])
    X = unit(np.repeat(centres, 10, axis=0) + rng.normal(size=(30, 128)))
    clusterer = FaceClusterer().fit(X)
    assert np.array_equal(together(clusterer.labels_), together(np.repeat([0, 1, 2], 10)))
    first, nearest = clusterer.merge_candidates_[0], {clusterer.labels_[0], clusterer.labels_[10]}
    assert {first.cluster, first.other} == nearest
    assert first.ratio == pytest.approx(0.5, abs=0.15)
    apart = X[:10] @ X[10:20].T
    assert first.distance == pytest.approx(np.sqrt(2 - 2 * apart.mean()), abs=1e-3)
    apart_by_photo = FaceClusterer().fit(X, different=[[0, 10]])
    assert all({c.cluster, c.other} != nearest for c in apart_by_photo.merge_candidates_)


def test_progress_rises_to_one():
    told = []
    FaceClusterer().fit(album([10, 5])[0], progress=lambda share, what: told.append((share, what)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len({share for share, what in told if what == "people"}) == 5  # the bar moves while people are put together

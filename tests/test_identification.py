from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photocluster.calibration import LFW_DISTANCE, LFW_FALSE_ACCEPTANCE, LIMIT, calibrate, model_threshold
from photocluster.identification import MARGIN, UNKNOWN, Gallery, Method, People, identify, one_person_per_photo


def unit(*vectors):
    array = np.array(vectors, dtype=np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def at(distance: float) -> list[float]:
    """A unit vector in the plane at that distance from (1, 0, 0)."""
    cos = 1 - distance**2 / 2
    return [cos, float(np.sqrt(1 - cos**2)), 0.0]


ANN, BEN = 7, 3


def test_near_one_person_and_far_from_the_other():
    answers = identify(unit(at(0.3)), unit([1, 0, 0], [0, 0, 1]), np.array([ANN, BEN]))
    assert answers.person.tolist() == [ANN]
    assert answers.distance[0] == pytest.approx(0.3, abs=1e-3)
    assert answers.second.tolist() == [BEN]


@pytest.mark.parametrize(("distance", "person"), [(1.04, ANN), (1.06, UNKNOWN)])
def test_beyond_the_threshold_it_is_unknown(distance, person):
    answers = identify(unit(at(distance)), unit([1, 0, 0]), np.array([ANN]), threshold=1.05)
    assert answers.person.tolist() == [person]
    assert answers.nearest.tolist() == [ANN]


def test_two_people_equally_near_is_unknown():
    probe = unit([1, 0, 0.0])
    gallery = unit([1, 0.3, 0], [1, -0.3, 0])
    assert identify(probe, gallery, np.array([ANN, BEN])).person.tolist() == [UNKNOWN]
    assert identify(probe, gallery, np.array([ANN, ANN])).person.tolist() == [ANN]


def test_three_faces_speak_for_a_person():
    gallery = unit(at(0.0), at(0.2), at(0.4), at(1.4))
    answers = identify(unit([1, 0, 0]), gallery, np.array([ANN] * 4), method=Method.NEIGHBOURS)
    assert answers.distance[0] == pytest.approx(0.2, abs=1e-3)


def test_rejected_person_is_no_candidate():
    gallery = unit([1, 0, 0], at(0.6))
    answers = identify(unit([1, 0, 0]), gallery, np.array([ANN, BEN]), threshold=1.0, rejected=[(0, ANN)])
    assert answers.person.tolist() == [BEN]
    assert ANN not in (answers.nearest[0], answers.second[0])
    assert identify(unit([1, 0, 0]), gallery[:1], np.array([ANN]), rejected=[(0, ANN)]).person.tolist() == [UNKNOWN]


def test_empty_gallery_and_no_probes():
    none = np.empty((0, 3), dtype=np.float32)
    assert identify(unit([1, 0, 0]), none, np.empty(0, dtype=np.int64)).person.tolist() == [UNKNOWN]
    assert identify(none, unit([1, 0, 0]), np.array([ANN])).person.shape == (0,)


def test_no_person_twice_in_a_photo():
    probes = unit(at(0.5), at(0.2), at(0.4))
    answers = identify(probes, unit([1, 0, 0]), np.array([ANN]))
    named = one_person_per_photo(answers, [10, 10, 11], {})
    assert {row: person for row, (person, _) in named.items()} == {1: ANN, 2: ANN}
    assert one_person_per_photo(answers, [10, 10, 11], {10: {ANN}}).keys() == {2}


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 30),
    people=st.integers(1, 6),
    method=st.sampled_from([Method.CENTROID, Method.NEIGHBOURS]),
)
def test_agrees_with_the_definition(seed, count, people, method):
    rng = np.random.default_rng(seed)
    gallery, probes = unit(*rng.normal(size=(count, 4))), unit(*rng.normal(size=(5, 4)))
    persons = rng.integers(0, people, count)
    answers = identify(probes, gallery, persons, threshold=1.0, margin=0.1, method=method)
    for row, probe in enumerate(probes):
        distances = {}
        for person in sorted(set(persons.tolist())):
            own = gallery[persons == person]
            centroid = unit(own.sum(axis=0))[0]
            nearest = np.sort(np.linalg.norm(own - probe, axis=1))[:3].mean()
            distances[person] = float(nearest if method is Method.NEIGHBOURS else np.linalg.norm(centroid - probe))
        ranked = sorted(distances.items(), key=lambda item: item[1])
        best, distance = ranked[0]
        gap = ranked[1][1] - distance if len(ranked) > 1 else np.inf
        assert answers.distance[row] == pytest.approx(distance, abs=1e-3)
        if abs(distance - 1.0) > 1e-3 and abs(gap - 0.1) > 1e-3:
            assert answers.person[row] == (best if distance <= 1.0 and gap >= 0.1 else UNKNOWN)


def crowd(rng, people, faces, *, spread=0.6, centre=None, pull=0.0):
    """Return faces of people round a common centre: the greater the pull, the more alike the people are."""
    middles = rng.normal(size=(people, 128)) / np.sqrt(128)
    middles = middles * (1 - pull) + (0 if centre is None else centre * pull)
    vectors = np.repeat(middles, faces, axis=0) + spread * rng.normal(size=(people * faces, 128)) / np.sqrt(128)
    return unit(*vectors), np.repeat(np.arange(people), faces)


def test_svm_says_who_comes_first_and_the_distance_whether_it_counts():
    rng = np.random.default_rng(0)
    for people in (1, 2, 4):
        gallery, persons = crowd(rng, people, 6)
        stranger = unit(rng.normal(size=128))
        answers = identify(np.concatenate([gallery, stranger]), gallery, persons, method=Method.SVM)
        assert answers.person.tolist() == [*persons.tolist(), UNKNOWN]


def test_order_of_the_gallery_changes_nothing():
    rng = np.random.default_rng(1)
    gallery, persons = crowd(rng, 40, 5)
    probes = crowd(rng, 10, 3)[0]
    order = rng.permutation(len(gallery))
    one, other = identify(probes, gallery, persons), identify(probes, gallery[order], persons[order])
    assert one.threshold == other.threshold
    np.testing.assert_array_equal(one.distance, other.distance)
    np.testing.assert_array_equal(one.person, other.person)


def test_look_alikes_lower_the_threshold():
    rng = np.random.default_rng(2)
    centre = unit(rng.normal(size=128))[0]
    apart = People(Gallery(*crowd(rng, 12, 8)))
    alike = People(Gallery(*crowd(rng, 12, 8, centre=centre, pull=0.6)))
    assert alike.threshold < apart.threshold - 0.05, (alike.strangers, apart.strangers)
    assert apart.threshold == LIMIT


def test_a_person_with_look_alikes_has_a_smaller_radius_than_the_others():
    rng = np.random.default_rng(3)
    centre = unit(rng.normal(size=128))[0]
    pair, pair_ids = crowd(rng, 2, 8, centre=centre, pull=0.75)
    rest, rest_ids = crowd(rng, 10, 8)
    people = People(Gallery(np.concatenate([pair, rest]), np.concatenate([pair_ids, rest_ids + 2])))
    assert people.radii[:2].max() < people.radii[2:].min()


def test_a_rejected_face_draws_the_radius_in_and_stands_in_the_way():
    gallery, persons = unit([1, 0, 0], at(0.2), at(0.3)), np.array([ANN] * 3)
    brother, again = unit(at(0.9)), unit(at(0.8))
    before = People(Gallery(gallery, persons))
    assert before.identify(again).person.tolist() == [ANN]
    after = People(Gallery(gallery, persons), rejected=Gallery(brother, np.array([ANN])))
    answers = after.identify(np.concatenate([again, gallery]))
    assert answers.person.tolist() == [UNKNOWN, ANN, ANN, ANN]
    assert answers.rejected_distance[0] < answers.distance[0]
    assert after.radii[0] < before.radii[0]
    # Whoever is said not to be somebody unknown to the gallery says nothing.
    other = People(Gallery(gallery, persons), rejected=Gallery(brother, np.array([BEN])))
    assert other.identify(again).person.tolist() == [ANN]


def test_one_mistaken_rejection_does_not_end_a_person():
    rng = np.random.default_rng(4)
    gallery, persons = crowd(rng, 1, 20)
    people = People(Gallery(gallery, persons), rejected=Gallery(gallery[:1], persons[:1]))
    own = People(Gallery(gallery[1:], persons[1:])).distances(gallery[1:]).ravel()
    assert people.radii[0] >= np.quantile(own, 0.4)


def test_model_threshold_reads_the_table_backwards():
    for distance, share in zip(LFW_DISTANCE[1:], LFW_FALSE_ACCEPTANCE[1:], strict=True):
        assert model_threshold(round(0.005 / share)) == pytest.approx(distance, abs=0.01)
    assert model_threshold(0) == model_threshold(1) == LFW_DISTANCE[-1]


def test_calibration_follows_the_library_the_more_persons_there_are():
    rng = np.random.default_rng(5)
    who = np.repeat(np.arange(500), 4)
    near = calibrate(500, rng.normal(1.1, 0.05, len(who)), who)
    assert near.threshold == pytest.approx(1.1 - 2.576 * 0.05, abs=0.02)
    few = calibrate(3, rng.normal(0.95, 0.05, 12), who[:12])
    assert few.mean == pytest.approx((3 * 0.95 + 2 * (model_threshold(3) + 0.103)) / 5, abs=0.03)
    none = calibrate(1, np.empty(0), np.empty(0, dtype=np.int64))
    assert none.threshold == LIMIT


def test_persons_count_alike_in_the_calibration():
    distances = np.array([0.9] * 1000 + [1.1] * 3 + [1.2] * 3)
    who = np.array([0] * 1000 + [1] * 3 + [2] * 3)
    many = calibrate(3, distances, who)
    few = calibrate(3, distances[[0, 1000, 1003]], np.array([0, 1, 2]))
    assert (many.mean, many.deviation) == pytest.approx((few.mean, few.deviation))


def test_two_in_reach_of_each_other_within_the_margin_are_told_apart_by_it():
    gallery = unit([1, 0, 0], at(0.5))
    probe = unit(at(0.25 - MARGIN / 4))
    assert identify(probe, gallery, np.array([ANN, BEN])).person.tolist() == [UNKNOWN]
    assert identify(probe, gallery, np.array([ANN, BEN]), margin=0.0).person.tolist() == [ANN]

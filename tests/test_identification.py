from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photocluster.identification import UNKNOWN, identify, one_person_per_photo


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
    answers = identify(unit([1, 0, 0]), gallery, np.array([ANN] * 4))
    assert answers.distance[0] == pytest.approx(0.2, abs=1e-3)


def test_rejected_person_is_no_candidate():
    gallery = unit([1, 0, 0], at(0.6))
    answers = identify(unit([1, 0, 0]), gallery, np.array([ANN, BEN]), rejected=[(0, ANN)])
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


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 30), people=st.integers(1, 6))
def test_agrees_with_the_definition(seed, count, people):
    rng = np.random.default_rng(seed)
    gallery, probes = unit(*rng.normal(size=(count, 4))), unit(*rng.normal(size=(5, 4)))
    persons = rng.integers(0, people, count)
    answers = identify(probes, gallery, persons, threshold=1.0, margin=0.1)
    for row, probe in enumerate(probes):
        distances = {}
        for person in sorted(set(persons.tolist())):
            own = np.sort(np.linalg.norm(gallery[persons == person] - probe, axis=1))[:3]
            distances[person] = float(own.mean())
        ranked = sorted(distances.items(), key=lambda item: item[1])
        best, distance = ranked[0]
        gap = ranked[1][1] - distance if len(ranked) > 1 else np.inf
        assert answers.distance[row] == pytest.approx(distance, abs=1e-3)
        if abs(distance - 1.0) > 1e-3 and abs(gap - 0.1) > 1e-3:
            assert answers.person[row] == (best if distance <= 1.0 and gap >= 0.1 else UNKNOWN)

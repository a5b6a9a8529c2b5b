"""Tracks: one person from frame to frame, and the faces that are kept of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from making import face, unit_vector

from photocluster.records import Face
from photocluster.tracking import APART, MAX_KEPT, NEAR, Tracker, best_faces


def near(vector: np.ndarray, distance: float, seed: int) -> np.ndarray:
    """Return a unit vector at a distance from a unit vector."""
    other = unit_vector(99, seed)
    other = other - (other @ vector) * vector
    other /= np.linalg.norm(other)
    cosine = 1 - distance**2 / 2
    return (cosine * vector + np.sqrt(1 - cosine**2) * other).astype(np.float32)


def seen(person: int, left: float, *, distance: float = 0.5, seed: int = 0, quality: float = 0.5) -> Face:
    found = face(near(unit_vector(person), distance, seed), left=left)
    return replace(found, quality=replace(found.quality, overall=quality))


def follow(*frames: list[Face], step: float = 1.0, cuts: tuple[int, ...] = ()) -> Tracker:
    tracker = Tracker()
    for number, faces in enumerate(frames):
        tracker.add(number * step, faces, new_scene=number == 0 or number in cuts)
    return tracker


def lengths(tracker: Tracker) -> list[int]:
    return [len(track.faces) for track in tracker.tracks]


def test_two_who_cross_keep_their_tracks():
    frames = [[seen(1, 20.0 * i, seed=i), seen(2, 200 - 20.0 * i, seed=i)] for i in range(11)]
    tracker = follow(*frames)
    assert lengths(tracker) == [11, 11]
    for person, track in zip((1, 2), tracker.tracks, strict=True):
        assert all(f.embedding @ unit_vector(person) > 0.5 for _, f in track.faces)


def test_a_face_that_stayed_may_look_quite_different_and_one_that_jumped_may_not():
    turned_away = [seen(1, 10, distance=0.0)], [seen(1, 12, distance=1.15)]
    assert lengths(follow(*turned_away)) == [2]
    assert lengths(follow([seen(1, 10, distance=0.0)], [seen(1, 300, distance=1.15)])) == [1, 1]
    assert lengths(follow([seen(1, 10, distance=0.0)], [seen(1, 300, distance=NEAR - 0.05)])) == [2]


def test_another_person_in_the_same_place_is_another_track():
    for other in range(2, 12):
        assert lengths(follow([seen(1, 10)], [seen(other, 10, seed=other)])) == [1, 1]


def test_a_cut_leaves_the_looks_alone_to_link():
    assert lengths(follow([seen(1, 10, distance=0.0)], [seen(1, 10, distance=1.15)], cuts=(1,))) == [1, 1]
    assert lengths(follow([seen(1, 10, distance=0.0)], [seen(1, 10, distance=0.6)], cuts=(1,))) == [2]


def test_who_turns_round_is_followed_and_who_comes_back_later_is_new():
    gone = [[]] * 4
    assert lengths(follow([seen(1, 10)], *gone, [seen(1, 60)])) == [2]
    assert lengths(follow([seen(1, 10)], *gone, [], [seen(1, 60)])) == [1, 1]


def test_links_are_chosen_together():
    """The first face likes both tracks, the second only the first: greedy choice would leave it alone."""
    a, b = unit_vector(1), near(unit_vector(1), 0.9, 7)
    tracker = Tracker()
    tracker.add(0, [face(a, left=0), face(b, left=200)], new_scene=True)
    between, own = near(a, 0.4, 3), near(a, 0.95, 4)
    tracker.add(1, [face(between, left=400), face(own, left=600)], new_scene=False)
    assert sum(lengths(tracker)) == 4
    assert tracker.tracks[0].faces[-1][1].detection.box.x0 in {400, 600}


def test_the_kept_faces_are_good_ones_at_different_times():
    qualities = [0.3, 0.9, 0.88, 0.2, 0.7, 0.1, 0.6, 0.65]
    tracker = follow(*[[seen(1, 10, seed=i, quality=q)] for i, q in enumerate(qualities)])
    times = [float(i) for i in range(len(qualities))]
    (kept,) = best_faces(tracker.tracks, times)
    assert [frame for frame, _ in kept] == [1, 4, 7]
    assert len(kept) == MAX_KEPT
    assert np.diff([times[frame] for frame, _ in kept]).min() >= APART


def test_poor_faces_are_not_kept_beside_a_good_one():
    tracker = follow(*[[seen(1, 10, seed=i, quality=q)] for i, q in enumerate([0.2, 0.3, 0.9, 0.1, 0.4])])
    (kept,) = best_faces(tracker.tracks, [0, 2, 4, 6, 8])
    assert [frame for frame, _ in kept] == [2]


def test_faces_of_one_frame_are_kept_together_where_they_are_nearly_as_good():
    """So that the two are known to be two people."""
    qualities = {1: [0.5, 0.6, 0.9, 0.5], 2: [0.82, 0.3, 0.8, 0.3]}
    tracker = follow(*[[seen(p, 100.0 * p, seed=i, quality=q[i]) for p, q in qualities.items()] for i in range(4)])
    first, second = best_faces(tracker.tracks, [0.0, 1.0, 2.0, 3.0])
    assert {frame for frame, _ in first} & {frame for frame, _ in second} == {0, 2}


@pytest.mark.parametrize("frames", [(), ([],), ([], [])])
def test_nobody(frames):
    tracker = follow(*frames)
    assert tracker.tracks == []
    assert best_faces(tracker.tracks, [0.0] * len(frames)) == []

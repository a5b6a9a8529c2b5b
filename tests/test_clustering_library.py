"""Clustering a library: what the pipeline tells the estimator of videos and copies."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from making import face, make_library, scanned, unit_vector

from photocluster.cli import clusters as cli_clusters
from photocluster.cli.main import cli
from photocluster.pipeline import clusters as pipeline_clusters
from photocluster.pipeline.clusters import cluster, either


def seen(person, shade, *, time=None, track=None):
    """A face of a person, 0.4 or so from another of the same person."""
    vector = unit_vector(person) + 0.3 * unit_vector(person, shade)
    return replace(face((vector / np.linalg.norm(vector)).astype(np.float32)), time=time, track=track)


@pytest.fixture
def library(library_folder):
    with make_library(library_folder) as opened:
        yield opened


def members(library):
    """The faces of each cluster."""
    found = {}
    for row, number in sorted(library.clusters.membership().items()):
        found.setdefault(number, []).append(row)
    return sorted(found.values())


def test_frames_of_one_video_are_pictures_of_their_own(library):
    library.photos.add(
        [
            scanned("a.jpg", "a", [seen(1, 0), seen(2, 0)]),
            scanned("b.mp4", "b", [seen(1, 1, time=0.0, track=0), seen(2, 1, time=0.0), seen(1, 2, time=0.5, track=0)]),
            scanned("c.mp4", "c", [seen(1, 3, time=0.5, track=0)]),
        ]
    )
    faces, pictures = library.faces.photos()
    assert faces.tolist() == list(range(6))
    assert pictures[0] == pictures[1]
    assert pictures[2] == pictures[3]
    assert len(set(pictures.tolist())) == 4
    of_video, tracks = library.faces.tracks(faces)
    assert of_video.tolist() == [False, False, True, True, True, True]
    assert tracks[2] == tracks[4] >= 0
    assert tracks[[0, 1, 3]].tolist() == [-1, -1, -1]
    assert tracks[5] not in tracks[:5]
    assert library.faces.tracks(faces[3:])[1].tolist() == tracks[3:].tolist()


def test_people_of_videos_join_those_of_photos_and_make_none(library):
    library.photos.add(
        [scanned(f"{shade}.jpg", f"p{shade}", [seen(1, shade), seen(2, shade)]) for shade in range(5)]
        + [scanned("a.mp4", "a", [seen(who, 50 + t, time=t / 2, track=who) for t in range(30) for who in (1, 3)])]
    )
    cluster(library)
    everyone = library.faces.photos()[0]
    film = everyone[10:]
    assert members(library) == sorted(
        [[*range(0, 10, 2), *film[::2].tolist()], list(range(1, 10, 2)), film[1::2].tolist()]
    )
    assert {library.clusters.membership()[row] for row in film[1::2].tolist()} == {None}


def test_what_moments_say_is_one_point(library, monkeypatch):
    library.photos.add([scanned(f"{who}.jpg", f"p{who}", [seen(who, 0)]) for who in range(4)])
    cluster(library)
    assert members(library) == [[0, 1, 2, 3]]
    assert set(library.clusters.membership().values()) == {None}
    monkeypatch.setattr(pipeline_clusters, "copies_of", lambda _library, _faces: np.array([5, -1, 5, -1]))
    cluster(library)
    assert members(library) == [[0, 2], [1, 3]]


def test_either_numbering_puts_together():
    result = either(np.array([0, 0, -1, 4, -1, -1]), np.array([-1, 1, 1, -1, 2, -1]))
    assert result[0] == result[1] == result[2] >= 0
    assert result[5] == -1
    assert len(set(result.tolist())) == 4
    nothing = np.full(3, -1)
    assert either(nothing, nothing).tolist() == [-1, -1, -1]
    assert either(nothing[:0], nothing[:0]).tolist() == []


def matched(labels, before, faces=None):
    faces = np.arange(len(labels)) if faces is None else np.array(faces)
    old = np.array([before.get(face, -1) for face in faces.tolist()], dtype=np.int64)
    numbers, new = pipeline_clusters.match_numbers(np.array(labels, dtype=np.int64), faces, old)
    return numbers.tolist(), new


def test_numbers_go_to_the_clusters_that_overlap_most():
    assert matched([], {}) == ([], 0)
    assert matched([0, 0, -1], {}) == ([-2, -2, -1], 1)
    before = {0: 7, 1: 7, 2: 7, 3: 9, 4: -1}
    assert matched([1, 1, 0, 0, 0, 0], before) == (
        [7, 7, 9, 9, 9, 9],
        0,
    )  # the split-off face goes with its new cluster
    assert matched([0, 0, 0, 0, 0], before) == ([7] * 5, 0)
    assert matched([0, 1, 2, -1, -1], before) == ([7, -2, -3, -1, -1], 2)  # a tie: the lower face keeps the number
    assert matched([5, 5, 2, 2, 2], {}, [30, 31, 32, 33, 34]) == ([-3, -3, -2, -2, -2], 2)  # new ones by falling size


def run_of(members):
    faces = np.array(sorted(members), dtype=np.int64)
    return faces, np.array([members[face] for face in faces.tolist()], dtype=np.int64)


def test_changes_say_what_became_of_each_cluster():
    before = {0: 1, 1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4, 8: 4, 9: 4, 10: 5, 11: 5, 12: -1, 13: 6, 14: 6}
    after = {0: 1, 1: 1, 2: 1, 3: 1, 4: 3, 5: 3, 6: 4, 7: 4, 8: 8, 9: 8, 10: 5, 11: -1, 12: 9, 15: 9, 13: 6, 14: 6}
    found = [
        (change.kind.value, change.number, change.faces, change.before, change.others)
        for change in pipeline_clusters.describe_changes(run_of(before), run_of(after))
    ]
    assert found == [
        ("merged", 1, 4, 2, (2,)),
        ("gone", 2, 0, 2, (1,)),
        ("split", 4, 2, 4, (8,)),
        ("shrunk", 5, 1, 2, ()),
        ("new", 8, 2, 0, (4,)),
        ("new", 9, 2, 0, ()),
    ]
    assert pipeline_clusters.describe_changes(run_of({}), run_of({})) == []


def test_capture_times_are_days_of_the_camera_s_clock():
    days = pipeline_clusters._days(["1970-01-02T12:00:00", None, "1969-12-31T00:00:00+05:00", "1970-01-01"])
    assert days.tolist()[:1] + days.tolist()[2:] == [1.5, -1.0, 0.0]
    assert np.isnan(days[1])
    assert pipeline_clusters._days([]).shape == (0,)


def test_a_run_lists_the_largest_clusters_and_says_how_many_more_there_are(library_folder, monkeypatch):
    with make_library(library_folder) as library:
        library.photos.add(
            [scanned(f"{shade}.jpg", f"p{shade}", [seen(who, shade) for who in range(3)]) for shade in range(4)]
        )
    monkeypatch.setattr(cli_clusters, "MAX_CLUSTERS", 2)
    done = CliRunner().invoke(cli, ["--library", str(library_folder), "cluster"])
    assert done.exit_code == 0
    rows = [line.split()[1:3] for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert rows == [["4", "4"], ["4", "4"]]
    assert "... and 1 smaller cluster: photocluster clusters" in done.stderr


def test_a_run_writes_what_differs_and_nothing_else(library):
    library.photos.add(
        [scanned(f"{shade}.jpg", f"p{shade}", [seen(who, shade) for who in range(3)]) for shade in range(4)]
    )
    numbers, scores = np.repeat([-2, -1], 6), np.linspace(0, 1, 12).astype(np.float32)
    faces = np.arange(12)
    first = library.clusters.store_run({}, faces, numbers, 1, scores, scores).max()
    changed = np.where(numbers == -2, first, -1)
    changed[[0, 11]] = [-1, first]
    scores[5] = 0.25
    library.clusters.store_run({}, faces[1:], changed[1:], 0, scores[1:], scores[1:])
    assert library.clusters.membership() == {
        face: None if number < 0 else number for face, number in zip(range(1, 12), changed[1:].tolist(), strict=True)
    }
    found = library._database.execute("SELECT face, probability, outlier FROM membership ORDER BY face").fetchall()
    assert [row[1:] for row in found] == [(float(score), float(score)) for score in scores[1:]]

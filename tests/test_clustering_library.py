"""Clustering a library: what the pipeline tells the estimator of videos and copies."""

from dataclasses import replace

import numpy as np
import pytest
from making import face, make_library, scanned, unit_vector

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

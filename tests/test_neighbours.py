from __future__ import annotations

import numpy as np
from making import make_library

from photocluster.graph import neighbour_graph
from photocluster.pipeline import neighbours as pipeline_neighbours
from photocluster.pipeline.neighbours import library_graph
from photocluster.store.neighbours import FILE, load_graph, save_graph

rng = np.random.default_rng(11)


def unit(n: int) -> np.ndarray:
    vectors = rng.normal(size=(n, 128)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_what_was_kept_comes_back(tmp_path):
    X = unit(300)
    graph = neighbour_graph(X, 8)
    save_graph(tmp_path, graph, X)
    kept = load_graph(tmp_path, X, 8)
    assert (kept.indices == graph.indices).all()
    assert (kept.distances == graph.distances).all()
    assert (kept.exact, kept.recall, kept.near_recall) == (True, None, None)
    more = np.concatenate([X, unit(10)])
    assert len(load_graph(tmp_path, more, 8).indices) == 300, "a graph of the first rows is of use"


def test_a_graph_that_does_not_fit_is_not_used(tmp_path):
    X = unit(300)
    assert load_graph(tmp_path, X, 8) is None
    save_graph(tmp_path, neighbour_graph(X, 8), X)
    assert load_graph(tmp_path, X, 9) is None
    assert load_graph(tmp_path, X[:299], 8) is None
    assert load_graph(tmp_path, unit(300), 8) is None
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-200])
    assert load_graph(tmp_path, X, 8) is None
    (tmp_path / FILE).write_bytes(b"")
    assert load_graph(tmp_path, X, 8) is None


class Counted:
    """A library with nothing but embeddings."""

    def __init__(self, folder, X):
        self.folder, self.X = folder, X

    def embeddings(self):
        return self.X


def test_a_grown_graph_is_the_whole_one_and_dead_faces_leave_gaps(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline_neighbours, "KEEP_FROM", 10)
    X = unit(400)
    everything = np.arange(400)
    library_graph(Counted(tmp_path, X[:350]), np.arange(350), 8)
    made: list[int] = []
    monkeypatch.setattr(pipeline_neighbours, "neighbour_graph", lambda *_a, **_k: made.append(1))
    grown = library_graph(Counted(tmp_path, X), everything, 8)
    whole = neighbour_graph(X, 8)
    assert not made, "the old part is not made again"
    assert np.allclose(grown.distances, whole.distances, atol=1e-5)
    assert (grown.indices == whole.indices).mean() > 0.999
    alive = np.delete(everything, [3, 200])
    part = library_graph(Counted(tmp_path, X), alive, 8)
    assert part.indices.shape == (398, 8)
    named = np.where(part.indices >= 0, alive[part.indices], -1)
    expected = np.where(np.isin(grown.indices[alive], [3, 200]), -1, grown.indices[alive])
    assert (named == expected).all()


def test_a_small_library_keeps_no_graph(library_folder):
    with make_library(library_folder) as library:
        assert library_graph(library, np.arange(0), 8) is None
    assert not (library_folder / FILE).exists()

"""The neighbour graph and the spanning tree, against brute force and hdbscan's own code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from photocluster import _cells, _search, _tiles, graph, spanning
from photocluster.graph import extend_graph, neighbour_graph
from photocluster.spanning import spanning_tree


def album(n, seed=0, people=20):
    """Unit vectors: blobs, three tenths strangers, and a few exact copies."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, 32))
    X = centres[rng.integers(people, size=n)] + 0.7 * rng.standard_normal((n, 32))
    strangers = rng.random(n) < 0.3
    X[strangers] = rng.standard_normal((strangers.sum(), 32))
    X[: n // 20] = X[n // 20 : n // 20 * 2]
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def brute(X, k):
    distances = cdist(X.astype(np.float64), X.astype(np.float64)).astype(np.float32)
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


def reference_weights(X, min_samples):
    from hdbscan._hdbscan_linkage import mst_linkage_core
    from hdbscan._hdbscan_reachability import mutual_reachability

    points = X.astype(np.float64)
    return np.sort(mst_linkage_core(mutual_reachability(cdist(points, points), min_samples))[:, 2])


def small_people():
    """A thousand people with four faces each, at about 1.0 from each other; strangers are at 1.2 and more."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((1000, 128)), 4, axis=0) + rng.standard_normal((4000, 128))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def tiled(monkeypatch):
    """Small inputs take the way of large ones, in tiles that do not divide the points evenly."""
    monkeypatch.setattr(graph, "SMALL", 0)
    monkeypatch.setattr(spanning, "SMALL", 0)
    for module in (graph, spanning, _search):
        monkeypatch.setattr(module, "ROWS", 64)
        monkeypatch.setattr(module, "COLUMNS", 150)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_tiny(n):
    X = album(40)[:n]
    found = neighbour_graph(X, 5)
    assert found.indices.shape == found.distances.shape == (n, max(0, min(5, n - 1)))
    assert (found.indices.dtype, found.distances.dtype) == (np.int32, np.float32)
    tree = spanning_tree(X, found, min_samples=5)
    assert tree.edges.shape == (max(0, n - 1), 2)
    assert tree.weights.shape == (max(0, n - 1),)


@pytest.mark.parametrize("n", [2, 3, 300])
def test_equal_points(n, tiled):
    X = np.repeat(album(40)[:1], n, axis=0)
    found = neighbour_graph(X, 4)
    assert (found.distances == 0).all()
    assert (found.indices != np.arange(n)[:, None]).all()
    tree = spanning_tree(X, found, min_samples=2)
    assert len(tree.weights) == n - 1
    assert (tree.weights == 0).all()


@pytest.mark.parametrize("way", ["dense", "tiled"])
@pytest.mark.parametrize("n", [65, 700])
def test_exact_graph_is_brute_force(way, n, request):
    if way == "tiled":
        request.getfixturevalue("tiled")
    X = album(n)
    found = neighbour_graph(X, 7)
    order, distances = brute(X, 7)
    assert found.exact
    assert found.recall is None
    np.testing.assert_allclose(found.distances, distances, atol=1e-6)
    clear = np.ones_like(order, dtype=bool)  # neighbours that no other is as near as
    clear[:, 1:] &= np.diff(distances, axis=1) > 1e-6
    clear[:, :-1] &= np.diff(distances, axis=1) > 1e-6
    clear[:, -1] = False
    np.testing.assert_array_equal(found.indices[clear], order[clear])


@pytest.mark.parametrize("way", ["dense", "tiled"])
@pytest.mark.parametrize("min_samples", [1, 2, 5])
def test_tree_has_hdbscans_weights(way, min_samples, request):
    if way == "tiled":
        request.getfixturevalue("tiled")
    X = album(700, min_samples)
    tree = spanning_tree(X, neighbour_graph(X, 6), min_samples=min_samples)
    np.testing.assert_allclose(tree.weights, reference_weights(X, min_samples), atol=1e-6)


@pytest.mark.usefixtures("tiled")
def test_tree_of_points_whose_lists_do_not_leave_their_blob():
    rng = np.random.default_rng(3)
    centres = 10 * rng.standard_normal((8, 5))
    X = (np.repeat(centres, 60, axis=0) + rng.standard_normal((480, 5))).astype(np.float32)
    tree = spanning_tree(X, neighbour_graph(X, 3), min_samples=3)
    np.testing.assert_allclose(tree.weights, reference_weights(X, 3), rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    points=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40),
    min_samples=st.integers(1, 4),
)
def test_tree_of_points_full_of_ties(points, min_samples):
    X = np.array(points, dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "SMALL", 0)
        patch.setattr(spanning, "SMALL", 0)
        tree = spanning_tree(X, neighbour_graph(X, min_samples), min_samples=min_samples)
    nth = min(min_samples, len(X) - 1)
    np.testing.assert_allclose(tree.weights, reference_weights(X, nth), atol=1e-5)


def test_tree_edges_are_the_weights_pairs():
    X = album(300)
    found = neighbour_graph(X, 5)
    tree = spanning_tree(X, found, min_samples=3)
    a, b = tree.edges.T
    core = found.distances[:, 2]
    distances = np.linalg.norm(X[a].astype(np.float64) - X[b], axis=1)
    np.testing.assert_allclose(tree.weights, np.maximum(distances, np.maximum(core[a], core[b])), atol=1e-6)
    assert (np.diff(tree.weights) >= 0).all()
    assert (a < b).all()


@pytest.mark.parametrize("exact_limit", [10, 1000])
@pytest.mark.usefixtures("tiled")
def test_tree_of_some_rows(exact_limit):
    X = album(600)
    rows = np.random.default_rng(0).permutation(600)[:400]
    found = neighbour_graph(X[rows], 2, exact_limit=exact_limit)
    tree, copied = spanning_tree(X, found, min_samples=2, rows=rows), spanning_tree(X[rows], found, min_samples=2)
    np.testing.assert_array_equal(tree.edges, copied.edges)
    np.testing.assert_array_equal(tree.weights, copied.weights)


def test_given_core_distances_are_used():
    X = album(200)
    found = neighbour_graph(X, 5)
    tree = spanning_tree(X, found, min_samples=1, core_distances=np.full(200, 1.9, np.float32))
    assert (tree.weights == np.float32(1.9)).all()


@pytest.mark.usefixtures("tiled")
def test_extending_is_searching_anew():
    X = album(900)
    extended = extend_graph(neighbour_graph(X[:800], 6), X)
    anew = neighbour_graph(X, 6)
    assert extended.exact
    np.testing.assert_array_equal(extended.distances, anew.distances)
    changed = extended.indices != anew.indices
    assert (np.abs(np.diff(anew.distances, axis=1)).min(axis=1)[changed.any(axis=1)] < 1e-6).all()


@pytest.mark.usefixtures("tiled")
def test_an_exact_graph_that_outgrows_the_limit_is_not_made_anew_by_comparing_all(monkeypatch):
    monkeypatch.setattr(graph, "MANY_NEW", 100)
    monkeypatch.setitem(neighbour_graph.__kwdefaults__, "exact_limit", 1000)
    X = album(1500)
    old = neighbour_graph(X[:900], 6)
    assert old.exact
    assert extend_graph(old, X[:1000]).exact
    assert not extend_graph(old, X).exact


def test_extending_by_nothing():
    X = album(100)
    found = neighbour_graph(X, 4)
    assert extend_graph(found, X) is found


@pytest.mark.usefixtures("tiled")
def test_approximate_graph():
    X = album(3000, people=60)
    shares = []
    found = neighbour_graph(X, 6, exact_limit=1000, progress=shares.append)
    assert not found.exact
    assert (found.indices >= 0).all()
    assert (found.indices != np.arange(3000)[:, None]).all()
    assert all(len(set(row)) == 6 for row in found.indices.tolist())
    np.testing.assert_allclose(
        found.distances, np.linalg.norm(X[found.indices].astype(np.float64) - X[:, None], axis=2), atol=1e-6
    )
    order, distances = brute(X, 6)
    hits = (found.indices[:, :, None] == order[:, None, :]).any(axis=1)
    assert hits.mean() == pytest.approx(found.recall, abs=0.03)
    assert hits[distances < _search.NEAR].mean() == pytest.approx(found.near_recall, abs=0.03)
    assert found.near_recall > 0.9
    assert shares == sorted(shares)
    assert shares[-1] <= 1
    tree = spanning_tree(X, found, min_samples=2)
    assert len(tree.weights) == 2999
    assert tree.weights.sum() == pytest.approx(reference_weights(X, 2).sum(), rel=0.01)


@pytest.mark.usefixtures("tiled")
def test_further_rounds_find_more(monkeypatch):
    X = small_people()
    monkeypatch.setattr(_search, "CELL", 100)
    monkeypatch.setattr(_search.Search, "explore", lambda *_: None)
    recalls = []
    for least_gain in (1.0, _search.LEAST_GAIN, 0.0):
        monkeypatch.setattr(_search, "LEAST_GAIN", least_gain)
        recalls.append(neighbour_graph(X, 6, exact_limit=1000).near_recall)
    assert recalls[0] + 0.02 < recalls[1] < recalls[2]


@pytest.mark.usefixtures("tiled")
def test_near_ones_of_near_ones_are_found(monkeypatch):
    X = small_people()
    monkeypatch.setattr(_search, "CELL", 100)
    monkeypatch.setattr(_search, "LEAST_GAIN", 1.0)
    found = neighbour_graph(X, 6, exact_limit=1000)
    monkeypatch.setattr(_search.Search, "explore", lambda *_: None)
    assert found.near_recall > neighbour_graph(X, 6, exact_limit=1000).near_recall + 0.01


@pytest.mark.usefixtures("tiled")
def test_regions_find_nearly_what_all_centres_find(monkeypatch):
    X = album(5000)
    everything = neighbour_graph(X, 6, exact_limit=len(X))
    monkeypatch.setattr(_search, "CELL", 100)
    found = []
    for one_region in (1000, 20):
        monkeypatch.setattr(_cells, "ONE_REGION", one_region)
        graph_of_cells = neighbour_graph(X, 6, exact_limit=1000)
        near = everything.distances < _search.NEAR
        hits = (graph_of_cells.indices[:, None, :] == everything.indices[:, :, None]).any(axis=2)
        found.append(hits[near].mean())
    assert found[0] > 0.8
    assert found[1] > found[0] - 0.05


def test_cells_hold_the_points_nearest_to_their_centres():
    X = album(4000)
    nearest = _cells.nearest_cells(X, np.arange(1000, 4000, dtype=np.int32), 60, 3, 0, None)
    assert nearest.shape == (3000, 3)
    assert nearest.min() >= 0
    assert (np.sort(nearest, axis=1)[:, 1:] != np.sort(nearest, axis=1)[:, :-1]).all()
    members = _cells.members_of_cells(nearest)
    assert sorted(np.concatenate(members).tolist()) == np.repeat(np.arange(3000), 3).tolist()
    assert all((nearest[rows] == cell).any(axis=1).all() for cell, rows in enumerate(members))
    together = [np.linalg.norm(X[1000 + a] - X[1000 + a].mean(axis=0), axis=1).mean() for a in members if len(a) > 1]
    assert np.mean(together) < np.linalg.norm(X - X.mean(axis=0), axis=1).mean() - 0.02


@pytest.mark.usefixtures("tiled")
def test_number_of_threads_changes_nothing(monkeypatch):
    X = album(2500)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(_tiles, "thread_count", lambda threads=threads: threads)
        found = neighbour_graph(X, 6, exact_limit=1000)
        results.append((found.indices, spanning_tree(X, found, min_samples=2).weights))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.usefixtures("tiled")
def test_memory_mapped(tmp_path):
    X = album(400)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = neighbour_graph(mapped, 5)
    np.testing.assert_array_equal(found.indices, neighbour_graph(X, 5).indices)
    tree = spanning_tree(mapped, found, min_samples=2)
    np.testing.assert_allclose(tree.weights, reference_weights(X, 2), atol=1e-6)


@pytest.mark.usefixtures("tiled")
def test_interrupt_comes_through():
    calls = []

    def progress(share):
        calls.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        neighbour_graph(album(2000), 5, progress=progress)
    assert len(calls) == 1


def test_refusals():
    X = album(30)
    found = neighbour_graph(X, 2)
    with pytest.raises(ValueError, match="k must be at least 1"):
        neighbour_graph(X, 0)
    with pytest.raises(ValueError, match="matrix"):
        neighbour_graph(X[0], 1)
    with pytest.raises(ValueError, match="min_samples is 3"):
        spanning_tree(X, found, min_samples=3)
    with pytest.raises(ValueError, match="30 points"):
        spanning_tree(X[:20], found, min_samples=1)
    with pytest.raises(ValueError, match="cannot be taken away"):
        extend_graph(found, X[:20])


@pytest.mark.parametrize("small", [0, graph.SMALL])
def test_nearest_among_some(small, monkeypatch):
    monkeypatch.setattr(graph, "SMALL", small)
    X = album(300)
    rows, among = np.arange(0, 200, 3), np.arange(100, 290, 2)
    found = graph.nearest_among(X, rows, among, 5)
    distances = cdist(X[rows].astype(float), X[among].astype(float))
    distances[rows[:, None] == among] = np.inf
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :5], atol=2e-3)
    own = np.linalg.norm(X[rows][:, None] - X[found.indices], axis=2)
    np.testing.assert_allclose(found.distances, own, atol=2e-3)
    lonely = graph.nearest_among(X, np.array([4]), np.array([4]), 3)
    assert (lonely.indices.tolist(), lonely.distances.tolist()) == ([[-1]], [[np.inf]])
    assert graph.nearest_among(X, rows, among[:0], 3).indices.shape == (len(rows), 0)
    assert graph.nearest_among(X, rows[:0], among, 3).indices.shape == (0, 3)

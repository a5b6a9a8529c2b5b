"""Condensed tree and selection, against hdbscan."""

import numpy as np
import pytest
from hdbscan import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from photocluster.graph import neighbour_graph
from photocluster.hierarchy import condense, select, single_linkage
from photocluster.spanning import SpanningTree, spanning_tree


def album(n=600, seed=0, people=15, copies=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, 64))
    X = centres[rng.integers(people, size=n)] + rng.uniform(0.5, 0.9, n)[:, None] * rng.standard_normal((n, 64))
    X[: n // 4] = rng.standard_normal((n // 4, 64))
    X[:copies] = X[-copies or n :]
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def cluster(X, min_cluster_size, min_samples, **options):
    tree = spanning_tree(X, neighbour_graph(X, max(8, min_samples)), min_samples=min_samples)
    return select(condense(single_linkage(tree), min_cluster_size), **options)


def reference(X, min_cluster_size, min_samples, *, method="eom", epsilon=0.0, allow_single_cluster=False):
    return HDBSCAN(
        min_cluster_size=min_cluster_size,
        min_samples=min_samples,
        cluster_selection_method=method,
        cluster_selection_epsilon=epsilon,
        allow_single_cluster=allow_single_cluster,
        algorithm="prims_kdtree",
    ).fit(X.astype(np.float64))


@pytest.mark.parametrize("copies", [0, 60])
@pytest.mark.parametrize(
    ("min_cluster_size", "options"),
    [
        (2, {}),
        (5, {}),
        (3, {"method": "leaf"}),
        (3, {"epsilon": 0.9}),
        (5, {"allow_single_cluster": True}),
        (4, {"allow_single_cluster": True, "epsilon": 0.8}),
    ],
)
def test_all_of_hdbscan_without_ties(min_cluster_size, options, copies):
    X = album(copies=copies)
    own, theirs = cluster(X, min_cluster_size, 1, **options), reference(X, min_cluster_size, 1, **options)
    np.testing.assert_array_equal(own.labels >= 0, theirs.labels_ >= 0)
    assert adjusted_rand_score(own.labels, theirs.labels_) == 1
    np.testing.assert_allclose(own.probabilities, theirs.probabilities_, atol=1e-5)
    finite = np.isfinite(theirs.outlier_scores_)
    np.testing.assert_allclose(own.outlier_scores[finite], theirs.outlier_scores_[finite], atol=1e-5)
    if not copies:
        np.testing.assert_allclose(np.sort(own.stabilities), np.sort(theirs.cluster_persistence_), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_close_to_hdbscan_with_ties(seed):
    X = album(1000, seed)
    own = cluster(X, 5, 5)
    theirs = reference(X, 5, 5)
    assert adjusted_rand_score(own.labels, theirs.labels_) >= 0.99
    assert np.abs(own.probabilities - theirs.probabilities_).mean() < 0.01


@pytest.mark.parametrize("min_samples", [1, 2, 5])
def test_order_of_points_changes_nothing(min_samples):
    X = album(700, copies=30)
    shuffled = np.random.default_rng(1).permutation(len(X))
    one, other = cluster(X, 3, min_samples), cluster(X[shuffled], 3, min_samples)
    assert adjusted_rand_score(one.labels[shuffled], other.labels) == 1
    np.testing.assert_array_equal(one.labels[shuffled] < 0, other.labels < 0)
    np.testing.assert_array_equal(one.probabilities[shuffled], other.probabilities)
    np.testing.assert_array_equal(one.outlier_scores[shuffled], other.outlier_scores)


def test_compiled_and_plain_code_agree(monkeypatch):
    tree = spanning_tree(X := album(900), neighbour_graph(X, 8), min_samples=3)
    plain = condense(single_linkage(tree), 3)
    monkeypatch.setattr("photocluster.hierarchy.SMALL", 0)
    compiled = condense(single_linkage(tree), 3)
    for name in ("point_cluster", "point_lambda", "parent", "birth", "size"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(compiled, name))


def test_linkage_is_scipys():
    from scipy.cluster.hierarchy import is_valid_linkage, linkage

    X = album(200)
    own = single_linkage(spanning_tree(X, neighbour_graph(X, 3), min_samples=1, core_distances=np.zeros(200)))
    assert is_valid_linkage(own)
    np.testing.assert_allclose(own[:, 2:], linkage(X.astype(np.float64), "single")[:, 2:], atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny(n):
    found = cluster(album()[:n], 2, 1)
    assert found.labels.tolist() == [-1] * n
    assert found.probabilities.tolist() == [0.0] * n
    assert len(found.stabilities) == len(found.clusters) == 0


def test_equal_points_are_one_cluster_below_a_ceiling():
    X = np.repeat(album()[:1], 7, axis=0)
    assert cluster(X, 2, 1).labels.tolist() == [-1] * 7
    found = cluster(X, 2, 1, max_distance=1.0)
    assert found.labels.tolist() == [0] * 7
    assert found.probabilities.tolist() == [1.0] * 7
    assert found.outlier_scores.tolist() == [0.0] * 7


def test_one_person_is_a_cluster_below_a_ceiling():
    rng = np.random.default_rng(0)
    X = rng.standard_normal(64) + 0.6 * rng.standard_normal((100, 64))
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    found = cluster(X, 2, 1, max_distance=1.0)
    assert len(found.clusters) == 1
    assert (found.labels == 0).mean() > 0.95


def test_strangers_are_noise_below_a_ceiling():
    X = np.eye(20, dtype=np.float32)
    assert (cluster(X, 2, 1, max_distance=1.4).labels == -1).all()
    assert (cluster(X, 2, 1, max_distance=1.5).labels == 0).all()


def test_ceiling_cuts_what_is_above_it():
    # Two pairs: 0.5 apart within, 1.0 between.
    tree = SpanningTree(np.array([[0, 1], [2, 3], [1, 2]], np.int32), np.array([0.5, 0.5, 1.0], np.float32))
    condensed = condense(single_linkage(tree), 2)
    assert select(condensed, max_distance=0.4).labels.tolist() == [-1, -1, -1, -1]
    assert select(condensed, max_distance=0.5).labels.tolist() == [0, 0, 1, 1]
    assert select(condensed, max_distance=0.9).labels.tolist() == [0, 0, 1, 1]
    # Above the merge, splitting must pay: each point gains 1/.5 - 1/1 = 1 by it; staying together 1/1 - 1/2 = .5.
    assert select(condensed, max_distance=2.0).labels.tolist() == [0, 0, 1, 1]
    loose = SpanningTree(tree.edges, np.array([0.9, 0.9, 1.0], np.float32))
    assert select(condense(single_linkage(loose), 2), max_distance=2.0).labels.tolist() == [0, 0, 0, 0]


def test_every_point_of_a_component_below_the_ceiling_is_accounted_for():
    X = album(500)
    tree = spanning_tree(X, neighbour_graph(X, 8), min_samples=1)
    linkage = single_linkage(tree)
    from scipy.cluster.hierarchy import fcluster

    components = fcluster(linkage, 0.9, "distance")
    found = select(condense(linkage, 3), max_distance=0.9)
    for component in np.unique(components):
        inside = components == component
        assert (found.labels[inside] >= 0).any() == (inside.sum() >= 3)
    clustered = found.labels >= 0
    pairs = np.unique(np.column_stack([found.labels[clustered], components[clustered]]), axis=0)
    assert len(pairs) == len(found.clusters)


def test_merges_at_one_distance_are_one():
    # Three pairs that all meet at distance 1: three clusters, whichever two an edge order joins first.
    edges = np.array([[0, 1], [2, 3], [4, 5], [0, 2], [2, 4]], np.int32)
    condensed = condense(single_linkage(SpanningTree(edges, np.array([0.5, 0.5, 0.5, 1, 1], np.float32))), 2)
    assert condensed.parent.tolist() == [-1, 0, 0, 0]
    assert condensed.size.tolist() == [6, 2, 2, 2]
    assert condensed.birth.tolist() == [0, 1, 1, 1]


def test_refusals():
    linkage = np.array([[0, 1, 0.5, 2]])
    with pytest.raises(ValueError, match="at least 2"):
        condense(linkage, 1)
    with pytest.raises(ValueError, match="eom"):
        select(condense(linkage, 2), method="best")
    with pytest.raises(ValueError, match="positive"):
        select(condense(linkage, 2), max_distance=0.0)
    with pytest.raises(ValueError, match="circle"):
        single_linkage(SpanningTree(np.array([[0, 1], [1, 0]], np.int32), np.ones(2, np.float32)))

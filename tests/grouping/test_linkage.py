"""Groups from edges, against scipy's hierarchical clustering, brute force and small cases worked out by hand."""

import numpy as np
import pytest
from all_pairs import correlate_all
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from hpc_mlsm.grouping.edges import Edges
from hpc_mlsm.grouping.linkage import complete_linkage, labels_for, leader, single_linkage

METHODS = {"single": single_linkage, "leader": leader, "complete": complete_linkage}


def edges_of(pairs: dict[tuple[int, int], float]) -> Edges:
    i, j = np.array(list(pairs), dtype=np.int32).reshape(-1, 2).T
    return Edges(i, j, np.array(list(pairs.values()), dtype=np.float32))


def noisy(seed: int) -> tuple[NDArray[np.float32], float]:
    """Overlapping clusters of random size and spread, and a threshold somewhere among their correlations."""
    rng = np.random.default_rng(seed)
    n, points, kinds = rng.integers(2, 120), rng.integers(3, 40), rng.integers(1, 15)
    curves = rng.normal(size=(kinds, points))[rng.integers(0, kinds, n)]
    patterns = curves + rng.uniform(0.05, 0.8) * rng.normal(size=(n, points))
    return patterns.astype(np.float32), float(rng.uniform(0.3, 0.97))


def edges_above(patterns: NDArray[np.float32], threshold: float) -> Edges:
    return correlate_all(lambda start, stop: patterns[start:stop], *patterns.shape, threshold)


def partition(labels: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


@pytest.mark.parametrize("method", ["single", "complete"])
@pytest.mark.parametrize("seed", range(60))
def test_groups_are_those_of_scipy(seed: int, method: str):
    patterns, threshold = noisy(seed)
    distance = 1 - np.corrcoef(patterns.astype(np.float64))
    tree = linkage(squareform(distance, checks=False), method)
    expected = partition(fcluster(tree, 1 - threshold, "distance"))
    labels = METHODS[method](len(patterns), edges_above(patterns, threshold))
    assert partition(labels) == expected


@pytest.mark.parametrize("seed", range(60))
def test_leader_gives_what_the_definition_says(seed: int):
    patterns, threshold = noisy(seed)
    correlation = np.corrcoef(patterns.astype(np.float64))
    order = np.random.default_rng(seed).permutation(len(patterns))
    leads: list[int] = []
    expected = np.arange(len(patterns))
    for row in order:
        near = [other for other in leads if correlation[row, other] >= threshold]
        if near:
            expected[row] = max(near, key=lambda other: correlation[row, other])
        else:
            leads.append(row)
    labels = leader(len(patterns), edges_above(patterns, threshold), order)
    assert partition(labels) == partition(expected)


@pytest.mark.parametrize("seed", range(20))
def test_every_pair_of_a_complete_group_reaches_the_threshold(seed: int):
    patterns, threshold = noisy(seed)
    correlation = np.corrcoef(patterns.astype(np.float64))
    for group in partition(complete_linkage(len(patterns), edges_above(patterns, threshold))):
        members = sorted(group)
        assert (correlation[np.ix_(members, members)] >= threshold - 1e-12).all()


def test_single_linkage_chains_and_the_others_do_not():
    # Curves turning slowly from sin to cos: neighbours correlate at cos(10°) = 0.985, the ends not at all.
    x = np.linspace(0, 20 * np.pi, 2000, endpoint=False)
    patterns = np.array([np.sin(x + np.radians(10 * k)) for k in range(10)], dtype=np.float32)
    edges = edges_above(patterns, 0.95)  # cos(18.2°): each is joined to its neighbours only
    assert len(edges) == 9
    assert single_linkage(10, edges).tolist() == [0] * 10
    assert leader(10, edges).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    complete = complete_linkage(10, edges)
    assert np.bincount(complete).max() == 2
    assert len(np.bincount(complete)) >= 5


def test_a_structure_joins_the_leader_it_correlates_with_most():
    edges = edges_of({(0, 2): 0.96, (1, 2): 0.98})
    assert leader(3, edges).tolist() == [0, 1, 1]
    assert leader(3, edges, np.array([2, 0, 1])).tolist() == [0, 0, 0]


def test_equal_correlations_go_to_the_leader_that_came_first():
    edges = edges_of({(0, 2): 0.97, (1, 2): 0.97})
    assert leader(3, edges).tolist() == [0, 1, 0]
    assert leader(3, edges, np.array([1, 0, 2])).tolist() == [0, 1, 1]


def test_complete_linkage_merges_the_most_alike_first():
    # A path of four: joining the middle pair first leaves the ends alone.
    assert complete_linkage(4, edges_of({(0, 1): 0.96, (1, 2): 0.99, (2, 3): 0.96})).tolist() == [0, 1, 1, 2]
    assert complete_linkage(4, edges_of({(0, 1): 0.99, (1, 2): 0.96, (2, 3): 0.99})).tolist() == [0, 0, 1, 1]


def test_complete_linkage_settles_ties_by_the_order_given():
    edges = edges_of({(0, 1): 0.97, (1, 2): 0.97})
    assert complete_linkage(3, edges).tolist() == [0, 0, 1]
    assert complete_linkage(3, edges, np.array([2, 1, 0])).tolist() == [0, 1, 1]


@pytest.mark.parametrize("method", ["single", "leader", "complete"])
@pytest.mark.parametrize("seed", range(15))
def test_the_order_of_the_structures_does_not_matter(seed: int, method: str):
    patterns, threshold = noisy(seed)
    patterns = np.concatenate([patterns, patterns[::2]])  # duplicates, so that there are ties
    n = len(patterns)
    ids = [f"s{k:04d}" for k in np.random.default_rng(seed).permutation(n)]
    shuffled = np.random.default_rng(seed + 1).permutation(n)

    def named(rows: NDArray[np.int64]) -> set[frozenset[str]]:
        names = [ids[row] for row in rows]
        labels = labels_for(names, edges_above(patterns[rows], threshold), method)
        return {frozenset(names[row] for row in group) for group in partition(labels)}

    assert named(np.arange(n)) == named(shuffled)


@pytest.mark.parametrize("method", METHODS.values())
def test_labels_are_numbered_by_the_first_row_of_each_group(method):
    edges = edges_of({(1, 4): 0.99, (0, 3): 0.98})
    assert method(5, edges).tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("method", METHODS.values())
@pytest.mark.parametrize("n", [0, 1, 4])
def test_without_edges_every_structure_is_a_group(method, n: int):
    assert method(n, edges_of({})).tolist() == list(range(n))


@pytest.mark.parametrize("method", METHODS.values())
def test_many_identical_patterns_are_one_group(method):
    i, j = np.triu_indices(600, 1)
    edges = Edges(i.astype(np.int32), j.astype(np.int32), np.ones(len(i), np.float32))
    assert not method(600, edges).any()


def test_two_blocks_of_identical_patterns_with_one_pair_missing_stay_apart_under_complete_linkage():
    i, j = np.triu_indices(200, 1)
    kept = (i != 3) | (j != 150)
    value = np.where((i < 100) == (j < 100), 1.0, 0.96)
    edges = Edges(i[kept].astype(np.int32), j[kept].astype(np.int32), value[kept].astype(np.float32))
    assert complete_linkage(200, edges).tolist() == [0] * 100 + [1] * 100
    assert not single_linkage(200, edges).any()

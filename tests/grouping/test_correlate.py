"""Correlation of two blocks, against numpy and scipy in float64."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import pearsonr

from hpc_mlsm.errors import PatternError, PlanError
from hpc_mlsm.grouping.correlate import edges_between, float32_margin, standardise, standardise_float64
from hpc_mlsm.grouping.edges import Edges, merge_edges


def similar_patterns(seed: int, n: int, points: int, kinds: int = 7) -> NDArray[np.float32]:
    """Noisy copies of a few curves, offset and scaled, so that correlations of all sizes occur."""
    rng = np.random.default_rng(seed)
    curves = rng.normal(size=(kinds, points))[rng.integers(0, kinds, n)]
    noise = rng.uniform(0.05, 1.0, (n, 1)) * rng.normal(size=(n, points))
    return ((curves + noise) * rng.uniform(0.1, 10, (n, 1)) + rng.normal(size=(n, 1))).astype(np.float32)


def brute_force(patterns: NDArray[np.float32], threshold: float) -> dict[tuple[int, int], float]:
    correlation = np.corrcoef(patterns.astype(np.float64))
    i, j = np.nonzero(np.triu(correlation >= threshold, 1))
    return {(a, b): correlation[a, b] for a, b in zip(i.tolist(), j.tolist(), strict=True)}


def as_dict(edges: Edges) -> dict[tuple[int, int], float]:
    pairs = zip(edges.i.tolist(), edges.j.tolist(), edges.correlation.tolist(), strict=True)
    return {(i, j): r for i, j, r in pairs}


def test_standardised_rows_multiply_to_pearson_correlations():
    patterns = similar_patterns(1, 20, 301)
    unit = standardise(patterns)
    assert unit.dtype == np.float32
    expected = [[pearsonr(a, b).statistic for b in patterns.astype(float)] for a in patterns.astype(float)]
    np.testing.assert_allclose(unit @ unit.T, expected, atol=float32_margin(301), rtol=0)
    # float64 sums of 301 terms carry about 301 · 2⁻⁵³ = 3e-14.
    exact = standardise_float64(patterns)
    np.testing.assert_allclose(exact @ exact.T, expected, atol=1e-13, rtol=0)


def test_a_large_offset_does_not_spoil_the_correlation():
    rng = np.random.default_rng(2)
    patterns = (1000.0 + rng.normal(size=(6, 200))).astype(np.float32)
    edges = edges_between(patterns, patterns, 0.0, 0, 0)
    expected = brute_force(patterns, 0.0)
    assert as_dict(edges) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.9, 0.95, 0.999])
def test_edges_of_one_block_are_those_of_float64(seed: int, threshold: float):
    patterns = similar_patterns(seed, 60, 10 + 25 * seed)
    edges = edges_between(patterns, patterns, threshold, 0, 0)
    expected = brute_force(patterns, threshold)
    assert as_dict(edges) == pytest.approx(expected, abs=6e-8)  # one float32 rounding
    assert (edges.i < edges.j).all()
    assert len(as_dict(edges)) == len(edges)


def test_pairs_within_float32_rounding_of_the_threshold_are_decided_in_float64():
    # Pairs whose float64 correlation is just above or just below 0.95, by less than float32 can tell.
    rng = np.random.default_rng(3)
    patterns = similar_patterns(3, 400, 301)
    correlation = np.corrcoef(patterns.astype(np.float64))
    values = np.sort(correlation[np.triu_indices(400, 1)])
    values = values[(values > 0.3) & (values < 0.999)]
    for value in rng.choice(values, 30, replace=False):
        threshold = value + rng.choice([-1, 1]) * 1e-10
        edges = edges_between(patterns, patterns, threshold, 0, 0)
        assert as_dict(edges).keys() == brute_force(patterns, threshold).keys()


def test_float32_products_stay_within_the_margin():
    for points in (10, 301, 4501):
        patterns = similar_patterns(points, 80, points)
        unit = standardise(patterns)
        error = np.abs(unit @ unit.T - np.corrcoef(patterns.astype(np.float64)))
        assert error.max() < float32_margin(points)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((0, 40), (40, 90)),
        ((40, 90), (0, 40)),
        ((0, 60), (30, 90)),
        ((30, 90), (0, 60)),
        ((0, 90), (20, 50)),
        ((20, 50), (0, 90)),
        ((0, 90), (0, 40)),
        ((0, 1), (1, 2)),
        ((5, 6), (5, 6)),
    ],
)
def test_disjoint_and_overlapping_blocks_report_each_pair_once(a: tuple[int, int], b: tuple[int, int]):
    patterns = similar_patterns(4, 90, 30)
    edges = edges_between(patterns[slice(*a)], patterns[slice(*b)], 0.5, a[0], b[0])
    in_a, in_b = range(*a), range(*b)
    expected = {(i, j) for i, j in brute_force(patterns, 0.5) if (i in in_a and j in in_b) or (j in in_a and i in in_b)}
    assert as_dict(edges).keys() == expected
    assert len(edges) == len(expected)


def test_overlapping_blocks_of_many_tiles_report_each_pair_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hpc_mlsm.grouping.products.CpuProducts.tile_rows", 4)
    monkeypatch.setattr("hpc_mlsm.grouping.products.CpuProducts.tile_columns", 7)
    monkeypatch.setattr("hpc_mlsm.grouping.correlate.CHUNK_PAIRS", 5)
    monkeypatch.setattr("hpc_mlsm.grouping.correlate.CHUNK_ELEMENTS", 64)
    patterns = similar_patterns(5, 90, 30)
    for a, b in [((0, 90), (0, 90)), ((10, 70), (30, 90)), ((30, 90), (10, 70)), ((0, 90), (13, 31))]:
        edges = edges_between(patterns[slice(*a)], patterns[slice(*b)], 0.4, a[0], b[0])
        expected = {
            (i, j)
            for i, j in brute_force(patterns, 0.4)
            if (i in range(*a) and j in range(*b)) or (j in range(*a) and i in range(*b))
        }
        assert as_dict(edges).keys() == expected
        assert len(edges) == len(expected)


def test_edges_do_not_depend_on_tiles_or_order_to_the_last_bit(monkeypatch: pytest.MonkeyPatch):
    patterns = similar_patterns(6, 70, 301)
    edges = as_dict(edges_between(patterns, patterns, 0.3, 0, 0))
    monkeypatch.setattr("hpc_mlsm.grouping.products.CpuProducts.tile_rows", 3)
    monkeypatch.setattr("hpc_mlsm.grouping.correlate.CHUNK_ELEMENTS", 1000)
    assert as_dict(edges_between(patterns, patterns, 0.3, 0, 0)) == edges
    shuffled = np.random.default_rng(0).permutation(70)
    again = as_dict(edges_between(patterns[shuffled], patterns[shuffled], 0.3, 0, 0))
    renamed = {tuple(sorted((int(shuffled[i]), int(shuffled[j])))): r for (i, j), r in again.items()}
    assert renamed == edges


@pytest.mark.parametrize("threshold", [0.95, 1.0])
def test_identical_and_scaled_rows_correlate_fully(threshold: float):
    row = similar_patterns(7, 1, 301)[0]
    patterns = np.array([row, row, 4 * row, row, 0.5 * row], dtype=np.float32)  # powers of two scale exactly
    edges = edges_between(patterns, patterns, threshold, 0, 0)
    assert len(edges) == 10
    assert (edges.correlation == 1.0).all()


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e-40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_rows_correlate_with_nothing(value: float, dtype: type):
    patterns = similar_patterns(8, 4, 301).astype(dtype)
    patterns[1] = patterns[3] = value
    assert not standardise(patterns)[[1, 3]].any()
    edges = edges_between(patterns, patterns, 0.0, 0, 0)
    assert not np.isin([1, 3], np.concatenate([edges.i, edges.j])).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused_with_their_number(bad: float):
    patterns = similar_patterns(9, 6, 50)
    patterns[4, 7:9] = bad
    with pytest.raises(PatternError, match="row 104 has 2 of 50 points that are NaN or infinite") as caught:
        edges_between(patterns, patterns, 0.95, 100, 100)
    assert caught.value.reason == "not_finite"
    with pytest.raises(PatternError, match="row 4 "):
        standardise(patterns)


def test_blocks_on_different_grids_are_refused():
    with pytest.raises(PatternError, match="same number of points"):
        edges_between(np.zeros((3, 10), np.float32), np.zeros((3, 11), np.float32), 0.9, 0, 3)
    with pytest.raises(PatternError, match="must be \\(rows, points\\)"):
        edges_between(np.zeros(10, np.float32), np.zeros(10, np.float32), 0.9, 0, 3)


def test_more_edges_than_allowed_are_refused_with_a_remedy():
    patterns = np.tile(similar_patterns(10, 1, 20), (30, 1))
    assert len(edges_between(patterns, patterns, 0.9, 0, 0, max_edges=435)) == 435
    with pytest.raises(PlanError, match=r"more than 434 pairs .* at 0.9 or above.*raise memory_mb"):
        edges_between(patterns, patterns, 0.9, 0, 0, max_edges=434)


def test_empty_blocks_give_no_edges():
    empty = np.empty((0, 12), np.float32)
    assert len(edges_between(empty, empty, 0.9, 0, 0)) == 0
    assert len(edges_between(empty, similar_patterns(1, 3, 12), 0.9, 0, 5)) == 0
    assert standardise(empty).shape == (0, 12)
    assert len(edges_between(np.empty((3, 0), np.float32), np.empty((3, 0), np.float32), 0.0, 0, 0)) == 0


def test_merged_edges_are_sorted_whatever_the_order_of_the_parts():
    patterns = similar_patterns(11, 50, 20)
    first = edges_between(patterns[:20], patterns[:20], 0.2, 0, 0)
    second = edges_between(patterns[:20], patterns[20:], 0.2, 0, 20)
    merged, swapped = merge_edges([first, second]), merge_edges([second, first])
    key = merged.i * 50 + merged.j
    assert (np.diff(key) > 0).all()
    assert as_dict(merged) == as_dict(swapped)
    np.testing.assert_array_equal(merged.i, swapped.i)
    assert (merged.i.dtype, merged.j.dtype, merged.correlation.dtype) == (np.int32, np.int32, np.float32)

"""Tasks of two blocks each, and the streaming driver in bounded memory."""

import pickle
import tracemalloc
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.errors import PatternError, PlanError, StoreError
from hpc_mlsm.grouping.blocks import (
    block_pairs,
    correlate_all,
    correlate_panels,
    max_edges,
    rows_per_block,
)
from hpc_mlsm.grouping.edges import Edges, merge_edges

MIB = 2**20


def reader(patterns: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
    return patterns[start:stop]


def noisy(seed: int, n: int, points: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    curves = rng.normal(size=(9, points))[rng.integers(0, 9, n)]
    return (curves + rng.uniform(0.1, 0.9) * rng.normal(size=(n, points))).astype(np.float32)


def assert_same(a: Edges, b: Edges) -> None:
    for name in ("i", "j", "correlation"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize(("n", "block"), [(0, 5), (1, 5), (7, 7), (7, 100), (23, 5), (20, 5), (9, 1)])
def test_every_pair_of_rows_is_in_exactly_one_task(n: int, block: int):
    counts = np.zeros((n, n), int)
    pairs = block_pairs(n, block)
    for pair in pairs:
        counts[pair.first_a : pair.stop_a, pair.first_b : pair.stop_b] += 1
        assert pair.stop_a - pair.first_a <= block
        assert pair.stop_b - pair.first_b <= block
    upper = np.triu_indices(n, 1)
    assert (counts[upper] == 1).all()
    assert sum(pair.comparisons for pair in pairs) == n * (n - 1) // 2
    costs = [pair.comparisons for pair in pairs]
    assert costs == sorted(costs, reverse=True)


def test_a_block_without_rows_is_refused():
    with pytest.raises(PlanError, match="at least 1 row"):
        block_pairs(10, 0)


@pytest.mark.parametrize("seed", range(8))
def test_edges_are_those_of_float64_for_every_block_size(seed: int):
    n, points, threshold = 97, 12 + 40 * seed, 0.35 + 0.08 * seed
    patterns = noisy(seed, n, points)
    correlation = np.corrcoef(patterns.astype(np.float64))
    i, j = np.nonzero(np.triu(correlation >= threshold, 1))
    whole = correlate_all(partial(reader, patterns), n, points, threshold)
    np.testing.assert_array_equal(whole.i, i)
    np.testing.assert_array_equal(whole.j, j)
    np.testing.assert_allclose(whole.correlation, correlation[i, j], atol=6e-8, rtol=0)
    for block in (1, 10, 33, 97, 500):
        assert_same(correlate_all(partial(reader, patterns), n, points, threshold, block), whole)


def test_tasks_survive_pickling_and_may_run_in_any_order():
    patterns = noisy(1, 80, 40)
    rows = partial(reader, patterns)
    task, pairs = pickle.loads(pickle.dumps((partial(correlate_panels, rows, threshold=0.6), block_pairs(80, 17))))
    parts = pickle.loads(pickle.dumps([task(pair) for pair in reversed(pairs)]))
    assert_same(merge_edges(parts), correlate_all(rows, 80, 40, 0.6))


def test_planted_clusters_are_found_and_nothing_else():
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(40, 301))
    kind = rng.permutation(np.repeat(np.arange(40), 8))
    # Noise of 0.1 leaves r = 1 / 1.01 within a cluster; independent curves of 301 points stay below 0.4.
    patterns = (centres[kind] + 0.1 * rng.normal(size=(320, 301))).astype(np.float32)
    edges = correlate_all(partial(reader, patterns), 320, 301, 0.95, 64)
    same = np.triu(kind[:, None] == kind, 1)
    assert set(zip(edges.i.tolist(), edges.j.tolist(), strict=True)) == set(zip(*np.nonzero(same), strict=True))


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_and_one_pattern_have_no_edges(n: int):
    patterns = noisy(3, n, 20)
    assert len(correlate_all(partial(reader, patterns), n, 20, 0.0)) == 0


def test_a_single_pattern_that_is_not_finite_is_refused():
    patterns = np.full((1, 20), np.nan, np.float32)
    with pytest.raises(PatternError, match="row 0 has 20 of 20 points"):
        correlate_all(partial(reader, patterns), 1, 20, 0.9)


def test_a_store_that_returns_too_few_rows_is_refused():
    patterns = noisy(4, 30, 20)
    with pytest.raises(StoreError, match=r"rows 0 to 40 .* shape \(30, 20\) came back"):
        correlate_all(partial(reader, patterns), 40, 20, 0.9)


def test_the_block_follows_from_the_memory():
    for points in (301, 4501):
        for memory in (128 * MIB, 1024 * MIB):
            rows = rows_per_block(memory, points)
            assert 2 * rows * (8 * points + 16) + 32 * MIB <= memory / 2
            assert 2 * (rows + 1) * (8 * points + 16) + 32 * MIB > memory / 2


def test_memory_for_less_than_a_row_is_refused_with_the_memory_needed():
    with pytest.raises(PlanError, match=r"8 MiB were given.*at least 65 MiB") as caught:
        rows_per_block(8 * MIB, 301)
    assert "raise memory_mb" in str(caught.value)
    assert rows_per_block(65 * MIB, 301) >= 1


def test_more_edges_than_fit_in_memory_are_refused():
    patterns = np.tile(noisy(5, 1, 4), (1500, 1))
    assert max_edges(80 * MIB) < 1500 * 1499 // 2
    for block in (None, 100):
        with pytest.raises(PlanError, match="raise memory_mb, or raise the threshold"):
            correlate_all(partial(reader, patterns), 1500, 4, 0.9, block, memory_bytes=80 * MIB)


def peak_bytes(n: int, points: int, memory_bytes: int, alike: bool) -> int:
    """Peak of what correlating allocates, copies of the patterns as they are read included."""
    stored = np.random.default_rng(0).random((n, points), np.float32)
    if alike:
        stored[:] = stored[0]
    tracemalloc.start()
    try:
        correlate_all(lambda start, stop: stored[start:stop].copy(), n, points, 0.95, memory_bytes=memory_bytes)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_by_the_setting_and_not_by_the_number_of_patterns():
    memory = 96 * MIB
    points = 1500
    assert rows_per_block(memory, points) < 1000
    small, large = (peak_bytes(n, points, memory, alike=False) for n in (1500, 6000))
    assert large < memory
    assert large < 1.1 * small  # four times the patterns, which alone would take 36 MiB


def test_memory_is_bounded_when_nearly_all_pairs_correlate():
    memory = 128 * MIB
    n = 1440
    assert n * (n - 1) // 2 < max_edges(memory)
    assert peak_bytes(n, 200, memory, alike=True) < memory

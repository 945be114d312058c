"""Correlations inside groups, and how the members' patterns are read."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError
from hpc_mlsm.grouping.groups import build_groups
from hpc_mlsm.grouping.within import gather, inner_correlations

MIB = 2**20


def test_means_and_minima_are_those_of_numpy():
    rng = np.random.default_rng(0)
    patterns = (rng.normal(size=40) + rng.normal(size=(50, 40))).astype(np.float32)
    chosen = [np.array([3, 1, 40]), np.arange(10, 30), np.array([49, 0])]
    measured = list(inner_correlations(lambda a, b: patterns[a:b], chosen, 40, 128 * MIB))
    for rows, (mean, lowest) in zip(chosen, measured, strict=True):
        inside = np.corrcoef(patterns[rows].astype(np.float64))
        np.fill_diagonal(inside, np.nan)
        np.testing.assert_allclose(mean, np.nanmean(inside, axis=1), atol=1e-13, rtol=0)
        assert lowest.correlation == pytest.approx(np.nanmin(inside), abs=1e-13)
        assert inside[lowest.first, lowest.second] == pytest.approx(lowest.correlation, abs=1e-13)


def test_members_that_are_equal_up_to_rounding_are_represented_by_the_smallest_id():
    # Every rotation of one curve correlates with the others alike; only the order of the sums differs.
    curve = np.random.default_rng(1).normal(size=151).astype(np.float32)
    patterns = np.array([np.roll(curve, k) for k in range(151)])
    names = [f"s{k:03d}" for k in np.random.default_rng(2).permutation(151)]
    (group,) = build_groups(names, np.zeros(151, int), lambda a, b: patterns[a:b])
    assert group.representative == "s000"


def test_patterns_are_gathered_in_the_order_asked_for_and_neighbours_read_together(
    monkeypatch: pytest.MonkeyPatch,
):
    patterns = np.random.default_rng(3).random((1000, 10), np.float32)
    reads: list[tuple[int, int]] = []

    def rows(start: int, stop: int) -> NDArray[np.float32]:
        reads.append((start, stop))
        return patterns[start:stop]

    index = np.array([900, 5, 7, 6, 990, 500])
    np.testing.assert_array_equal(gather(rows, index, 10), patterns[index])
    assert reads == [(5, 991)]
    reads.clear()
    monkeypatch.setattr("hpc_mlsm.grouping.within.READ_ELEMENTS", 100 * 10)
    np.testing.assert_array_equal(gather(rows, index, 10), patterns[index])
    assert reads == [(5, 8), (500, 501), (900, 991)]


def test_a_store_that_ends_too_early_is_refused():
    patterns = np.random.default_rng(4).random((5, 10), np.float32)
    with pytest.raises(StoreError, match="incomplete"):
        build_groups([f"s{k}" for k in range(8)], np.zeros(8, int), lambda a, b: patterns[a:b])


def test_memory_of_a_large_group_is_bounded_by_the_setting():
    stored = np.random.default_rng(5).random((4500, 1500), np.float32)  # 26 MiB, and 51 MiB in float64
    peaks = []
    for n in (2500, 4500):
        tracemalloc.start()
        try:
            build_groups(
                [str(k) for k in range(n)],
                np.zeros(n, int),
                lambda start, stop: stored[start:stop].copy(),
                memory_bytes=72 * MIB,
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 36 * MIB
    assert peaks[1] < peaks[0] + 2 * MIB  # ids, sums and short vectors grow with the group, patterns do not

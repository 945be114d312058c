"""Pairs of blocks, and what memory holds."""

import numpy as np
import pytest

from hpc_mlsm.errors import PlanError
from hpc_mlsm.grouping.blocks import block_pairs, rows_per_block

MIB = 2**20


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

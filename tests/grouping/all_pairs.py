"""All pairs of patterns that are in memory, block by block: what the tasks must come to."""

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.grouping.blocks import Rows, block_pairs, read_block
from hpc_mlsm.grouping.correlate import edges_between
from hpc_mlsm.grouping.edges import Edges, merge_edges


def correlate_all(rows: Rows, n: int, points: int, threshold: float, block: int = 50) -> Edges:
    """Pairs of n patterns whose Pearson correlation reaches the threshold."""
    parts = []
    for pair in block_pairs(n, block):
        a = read_block(rows, pair.first_a, pair.stop_a)
        b = a if pair.diagonal else read_block(rows, pair.first_b, pair.stop_b)
        parts.append(edges_between(a, b, threshold, pair.first_a, pair.first_b))
    return merge_edges(parts)


def assert_same(a: Edges, b: Edges) -> None:
    """Equal to the last bit."""
    for name in ("i", "j", "correlation"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def noisy(seed: int, n: int, points: int) -> NDArray[np.float32]:
    """Noisy copies of nine curves."""
    rng = np.random.default_rng(seed)
    curves = rng.normal(size=(9, points))[rng.integers(0, 9, n)]
    return (curves + rng.uniform(0.1, 0.9) * rng.normal(size=(n, points))).astype(np.float32)

"""All pairs of n patterns as pairs of row blocks, and how much of them memory holds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PlanError, StoreError
from hpc_mlsm.grouping.edges import BYTES_PER_EDGE

Rows = Callable[[int, int], NDArray[np.float32]]
"""Reads patterns ``start`` to ``stop`` (not included) as an array (stop - start, points)."""

WORKSPACE = 32 * 2**20
"""Bytes that correlating takes beside the two blocks: one tile of products and a few float64 intermediates."""


@dataclass(frozen=True, slots=True)
class BlockPair:
    """Two blocks to compare: rows ``first_a`` to ``stop_a`` against ``first_b`` to ``stop_b`` (stops not included)."""

    first_a: int
    stop_a: int
    first_b: int
    stop_b: int

    @property
    def diagonal(self) -> bool:
        """Whether both blocks are the same rows."""
        return self.first_a == self.first_b

    @property
    def comparisons(self) -> int:
        """Pairs of different rows in it; its cost is proportional to that."""
        a, b = self.stop_a - self.first_a, self.stop_b - self.first_b
        return a * (a - 1) // 2 if self.diagonal else a * b


def block_pairs(n: int, block: int) -> list[BlockPair]:
    """Cut the upper triangle of an n × n matrix into blocks of at most ``block`` rows each way; largest first.

    Every pair of different rows is in exactly one of them.
    """
    if block < 1:
        raise PlanError(f"a block of {block} rows was asked for; a block needs at least 1 row")
    bounds = [(start, min(start + block, n)) for start in range(0, n, block)]
    pairs = [BlockPair(*a, *b) for k, a in enumerate(bounds) for b in bounds[k:]]
    return sorted(pairs, key=lambda pair: (-pair.comparisons, pair.first_a, pair.first_b))


def rows_per_block(memory_bytes: int, points: int) -> int:
    """Rows of a block such that one task fits in half of the memory.

    A task holds two blocks, each as float32 patterns, float32 unit vectors, and a float64 mean and scale a row, and
    a workspace that depends on neither n nor the block::

        rows = (memory_bytes / 2 - WORKSPACE) / (2 · (8 · points + 16))

    The other half of the memory is for the edges.

    Raises
    ------
    PlanError
        If not even one row fits.
    """
    row = 2 * (8 * points + 16)
    rows = (memory_bytes // 2 - WORKSPACE) // row
    if rows < 1:
        needed = -(-2 * (WORKSPACE + row) // 2**20)
        raise PlanError(
            f"{memory_bytes / 2**20:g} MiB were given to grouping, but patterns of {points} points need at least "
            f"{needed} MiB: raise memory_mb"
        )
    return rows


def max_edges(memory_bytes: int) -> int:
    """Edges that fit in the other half of the memory."""
    return memory_bytes // 2 // BYTES_PER_EDGE


def read_block(rows: Rows, start: int, stop: int) -> NDArray[np.float32]:
    """Rows ``start`` to ``stop`` as contiguous float32, checked to be as many as asked for."""
    block = np.ascontiguousarray(rows(start, stop), dtype=np.float32)
    if block.ndim != 2 or len(block) != stop - start:
        raise StoreError(
            f"rows {start} to {stop} of the patterns were asked for, and an array of shape {block.shape} came back "
            f"where ({stop - start}, points) was needed: the store is incomplete; simulate again"
        )
    return block

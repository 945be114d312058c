"""All pairs of n patterns as tasks of two row blocks each, in bounded memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PlanError, StoreError
from hpc_mlsm.grouping.correlate import edges_between
from hpc_mlsm.grouping.edges import BYTES_PER_EDGE, Edges, merge_edges

Rows = Callable[[int, int], NDArray[np.float32]]
"""Reads patterns ``start`` to ``stop`` (not included) as an array (stop - start, points)."""

WORKSPACE = 32 * 2**20
"""Bytes that correlating takes beside the two blocks: one tile of products and a few float64 intermediates."""


@dataclass(frozen=True, slots=True)
class BlockPair:
    """One task: rows ``first_a`` to ``stop_a`` against ``first_b`` to ``stop_b`` (stops not included)."""

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
        """Pairs of different rows that the task compares; its cost is proportional to that."""
        a, b = self.stop_a - self.first_a, self.stop_b - self.first_b
        return a * (a - 1) // 2 if self.diagonal else a * b


def block_pairs(n: int, block: int) -> list[BlockPair]:
    """Cut the upper triangle of an n × n matrix into tasks of at most ``block`` rows each way; largest tasks first.

    Every pair of different rows is in exactly one task.
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


def correlate_panels(rows: Rows, pair: BlockPair, threshold: float, limit: int | None = None) -> Edges:
    """The work of one task: read its two blocks and find the pairs whose correlation reaches the threshold.

    Parameters
    ----------
    rows : callable
        Reads patterns; must be picklable where tasks go to other processes.
    pair : BlockPair
        Which rows to compare.
    threshold : float
        Smallest Pearson correlation to keep.
    limit : int, optional
        Refuse to find more edges than this, see `max_edges`.

    Returns
    -------
    Edges
        Sorted; join those of all tasks with `merge_edges`.

    Raises
    ------
    StoreError
        If ``rows`` returns something other than the rows asked for.
    PatternError
        If a pattern holds NaN or infinity.
    PlanError
        If there are more edges than ``limit``.
    """
    a = read_block(rows, pair.first_a, pair.stop_a)
    b = a if pair.diagonal else read_block(rows, pair.first_b, pair.stop_b)
    return edges_between(a, b, threshold, pair.first_a, pair.first_b, limit)


def correlate_all(
    rows: Rows,
    n: int,
    points: int,
    threshold: float,
    block_rows: int | None = None,
    *,
    memory_bytes: int = 2**30,
) -> Edges:
    """Find all pairs of n patterns whose Pearson correlation reaches the threshold, in this process.

    Reads blocks as it needs them; holds at most ``memory_bytes``, whatever n (see `rows_per_block`). To spread the
    work, map `correlate_panels` over `block_pairs` and join the results with `merge_edges`.

    Parameters
    ----------
    rows : callable
        ``rows(start, stop)`` returns float32 patterns (stop - start, points).
    n, points : int
        Number of patterns and points of each.
    threshold : float
        Smallest Pearson correlation to keep, 0 to 1.
    block_rows : int, optional
        Rows of a block, where something smaller than what memory allows is wanted.
    memory_bytes : int
        Memory to keep to.

    Returns
    -------
    Edges
        Sorted by ``i``, then ``j``; the same to the last bit for every block size.

    Raises
    ------
    StoreError, PatternError
        As `correlate_panels`.
    PlanError
        If the memory is too small for the patterns or for the edges found.
    """
    block = rows_per_block(memory_bytes, points)
    if block_rows is not None:
        block = min(block, block_rows)
    limit = max_edges(memory_bytes)
    parts: list[Edges] = []
    for pair in block_pairs(n, block):
        parts.append(correlate_panels(rows, pair, threshold, limit))
        limit -= len(parts[-1])
    return merge_edges(parts)


def read_block(rows: Rows, start: int, stop: int) -> NDArray[np.float32]:
    """Rows ``start`` to ``stop`` as contiguous float32, checked to be as many as asked for."""
    block = np.ascontiguousarray(rows(start, stop), dtype=np.float32)
    if block.ndim != 2 or len(block) != stop - start:
        raise StoreError(
            f"rows {start} to {stop} of the patterns were asked for, and an array of shape {block.shape} came back "
            f"where ({stop - start}, points) was needed: the store is incomplete; simulate again"
        )
    return block

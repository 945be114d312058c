"""Correlations inside groups, exact and in float64, also of pairs that chains have brought together."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.grouping.blocks import Rows, block_pairs, read_block, rows_per_block
from hpc_mlsm.grouping.correlate import standardise_float64

TILE = 512
"""Rows of one float64 matrix product (2 MiB)."""

READ_ELEMENTS = 2**21
"""Elements of one read: members that lie near each other in the store are read together."""

Load = Callable[[slice], NDArray[np.float64]]


def inner_correlations(
    rows: Rows, groups: Sequence[NDArray[np.int64]], points: int, memory_bytes: int
) -> Iterator[tuple[NDArray[np.float64], float]]:
    """For each group, the mean correlation of each member to the others, and the smallest correlation of any pair.

    Small groups are read many at a time; a group that does not fit in ``memory_bytes`` is read block by block.

    Parameters
    ----------
    rows : callable
        ``rows(start, stop)`` returns float32 patterns (stop - start, points).
    groups : sequence of arrays
        Row numbers of the members of each group; at least two each.
    points : int
        Points of a pattern.
    memory_bytes : int
        Memory to keep to.
    """
    # Two blocks of float64 unit vectors and the patterns of one take 20 bytes a point, where correlating takes 16.
    capacity = max(1, rows_per_block(memory_bytes, points) * 3 // 4)
    for batch in _batches(groups, capacity):
        if len(batch[0]) > capacity:
            yield _of_large_group(rows, batch[0], points, capacity)
            continue
        units = standardise_float64(gather(rows, np.concatenate(batch), points))
        ends = np.cumsum([len(group) for group in batch])
        for unit in np.split(units, ends[:-1]):
            yield _over_blocks(unit.__getitem__, len(unit), capacity)


def gather(rows: Rows, index: NDArray[np.int64], points: int) -> NDArray[np.float32]:
    """The patterns of these rows, in this order; read in ascending order, neighbours together."""
    order = np.argsort(index)
    ascending = index[order]
    gathered = np.empty((len(index), points), np.float32)
    window = max(1, READ_ELEMENTS // max(points, 1))
    done = 0
    while done < len(index):
        first = int(ascending[done])
        end = int(np.searchsorted(ascending, first + window))
        block = read_block(rows, first, int(ascending[end - 1]) + 1)
        gathered[order[done:end]] = block[ascending[done:end] - first]
        done = end
    return gathered


def _batches(groups: Sequence[NDArray[np.int64]], capacity: int) -> Iterator[list[NDArray[np.int64]]]:
    """Runs of groups that together have at most ``capacity`` members; a larger group comes alone."""
    batch: list[NDArray[np.int64]] = []
    members = 0
    for group in groups:
        if batch and members + len(group) > capacity:
            yield batch
            batch, members = [], 0
        batch.append(group)
        members += len(group)
    if batch:
        yield batch


def _of_large_group(
    rows: Rows, group: NDArray[np.int64], points: int, capacity: int
) -> tuple[NDArray[np.float64], float]:
    return _over_blocks(lambda part: standardise_float64(gather(rows, group[part], points)), len(group), capacity)


def _over_blocks(load: Load, n: int, block: int) -> tuple[NDArray[np.float64], float]:
    """Mean correlation of each of n members to the others, and the smallest of any pair."""
    sums = np.zeros(n)
    lowest = 1.0
    for pair in block_pairs(n, block):
        part_a, part_b = slice(pair.first_a, pair.stop_a), slice(pair.first_b, pair.stop_b)
        a = load(part_a)
        b = a if pair.diagonal else load(part_b)
        lowest = min(lowest, _add_tiles(a, b, sums[part_a], sums[part_b], pair.diagonal))
    return sums / (n - 1), max(lowest, -1.0)


def _add_tiles(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    sums_a: NDArray[np.float64],
    sums_b: NDArray[np.float64],
    diagonal: bool,
) -> float:
    """Add each row's and each column's correlations to its sum; returns the smallest. A row is not its own pair."""
    lowest = 1.0
    for top in range(0, len(a), TILE):
        for left in range(top if diagonal else 0, len(b), TILE):
            product = a[top : top + TILE] @ b[left : left + TILE].T
            if diagonal and left == top:
                np.fill_diagonal(product, 0.0)
                sums_a[top : top + TILE] += product.sum(axis=1)
                np.fill_diagonal(product, 1.0)
            else:
                sums_a[top : top + TILE] += product.sum(axis=1)
                sums_b[left : left + TILE] += product.sum(axis=0)
            lowest = min(lowest, float(product.min()))
    return lowest

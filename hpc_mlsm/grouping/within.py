"""Correlations inside groups, exact and in float64, also of pairs that chains have brought together."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.grouping.blocks import Rows, block_pairs, read_block, rows_per_block
from hpc_mlsm.grouping.correlate import standardise_float64
from hpc_mlsm.grouping.lowest import NONE_YET, Lowest, Part, lowest_in, mean_and_lowest

TILE = 512
"""Rows of one float64 matrix product (2 MiB)."""

READ_ELEMENTS = 2**21
"""Elements of one read: members that lie near each other in the store are read together."""

COPIED = 4096
"""Members whose unit vectors are copied at a time where all are at hand."""

LARGE = 2048
"""Members of a group in which short vectors find the lowest correlation sooner than all products of whole patterns."""


def inner_correlations(
    rows: Rows,
    groups: Sequence[NDArray[np.int64]],
    points: int,
    memory_bytes: int,
    parts: Sequence[Sequence[Part]] = (),
) -> Iterator[tuple[NDArray[np.float64], Lowest]]:
    """For each group, the mean correlation of each member to the others, and the lowest correlation of any pair.

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
        Memory to keep to; short vectors of a large group come to it, at most 516 bytes a member.
    parts : sequence of sequences of Part, optional
        For each group, members of it that were measured together before, by their numbers in it. Heeded where that
        saves much.
    """
    # Two blocks of float64 unit vectors and the patterns of one take 20 bytes a point, where correlating takes 16.
    capacity = max(1, rows_per_block(memory_bytes, points) * 3 // 4)
    before = iter(parts or [()] * len(groups))
    for batch in _batches(groups, capacity):
        known = [next(before) for _ in batch]
        if len(batch[0]) > capacity:
            yield _by_blocks(rows, batch[0], points, capacity, known[0])
            continue
        units = standardise_float64(gather(rows, np.concatenate(batch), points))
        ends = np.cumsum([len(group) for group in batch])
        for unit, own in zip(np.split(units, ends[:-1]), known, strict=True):
            yield _of_units(unit, own)


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


def _of_units(units: NDArray[np.float64], parts: Sequence[Part]) -> tuple[NDArray[np.float64], Lowest]:
    """Of members whose unit vectors are at hand."""
    if len(units) > LARGE:
        mean, lowest = mean_and_lowest(units.__getitem__, len(units), COPIED, parts)
    else:
        mean, lowest = (units @ units.sum(axis=0) - np.square(units).sum(axis=1)) / (len(units) - 1), None
    return mean, lowest or _over_blocks(units.__getitem__, len(units), len(units))


def _by_blocks(
    rows: Rows, group: NDArray[np.int64], points: int, capacity: int, parts: Sequence[Part]
) -> tuple[NDArray[np.float64], Lowest]:
    """Of members whose patterns are read a block at a time."""
    # In the order in which they lie in the store, so that a block is read in one piece.
    order = np.argsort(group)
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group))

    def load(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return standardise_float64(gather(rows, group[order[numbers]], points))

    moved = [Part(np.sort(place[part.members]), _with_numbers(part.lowest, place)) for part in parts]
    ordered, lowest = mean_and_lowest(load, len(group), capacity, moved)
    if lowest is None:
        lowest = _over_blocks(lambda part: load(np.arange(part.start, part.stop)), len(group), capacity)
    mean = np.empty(len(group))
    mean[order] = ordered
    return mean, _with_numbers(lowest, order)


def _with_numbers(lowest: Lowest, numbers: NDArray[np.int64]) -> Lowest:
    """The same, of members that are counted in another way."""
    first, second = sorted((int(numbers[lowest.first]), int(numbers[lowest.second])))
    return Lowest(lowest.correlation, first, second)


def _over_blocks(load: Callable[[slice], NDArray[np.float64]], n: int, block: int) -> Lowest:
    """The lowest correlation of any two of n members, by the product of whole patterns."""
    lowest = NONE_YET
    for pair in block_pairs(n, block):
        a = load(slice(pair.first_a, pair.stop_a))
        b = a if pair.diagonal else load(slice(pair.first_b, pair.stop_b))
        for top in range(0, len(a), TILE):
            for left in range(top if pair.diagonal else 0, len(b), TILE):
                product = a[top : top + TILE] @ b[left : left + TILE].T
                if pair.diagonal and left == top:
                    np.fill_diagonal(product, np.inf)
                rows, columns = (np.arange(length) for length in product.shape)
                lowest = min(lowest, lowest_in(product, pair.first_a + top + rows, pair.first_b + left + columns))
    return lowest

"""A series read once, from its first frame to its last: what can be summed up of it in memory that does not grow."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PatternError
from hpc_mlsm.grouping.blocks import Rows, read_block
from hpc_mlsm.grouping.correlate import standardise

BLOCK_BYTES = 2**25
"""Of the float32 patterns that are read at once."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Means of runs of neighbouring frames.

    Attributes
    ----------
    bounds : int64 (m + 1,)
        Run k is of frames ``bounds[k]`` to ``bounds[k + 1]``, the latter not included.
    means : float64 (m, points)
        The mean pattern of each run.
    """

    bounds: NDArray[np.int64]
    means: NDArray[np.float64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middle frame of each run."""
        return np.asarray(0.5 * (self.bounds[:-1] + self.bounds[1:] - 1))


@dataclass(frozen=True, eq=False)
class SeriesSums:
    """What one reading of a series gives.

    Attributes
    ----------
    n : int
        Frames.
    mean : float64 (points,)
        The mean pattern.
    scatter : float64 (points, points)
        Sum over frames of the products of their deviations from the mean.
    neighbours : float32 (n,)
        Pearson correlation of each frame with the one before; 1 of the first.
    runs : Runs
        Means of neighbouring frames.
    """

    n: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]
    neighbours: NDArray[np.float32]
    runs: Runs


def blocks(
    rows: Rows, n: int, points: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The frames of a series in blocks of bounded size: number of the first, and patterns (rows, points)."""
    step = max(1, block_bytes // (4 * points))
    for start in range(0, n, step):
        yield start, read_block(rows, start, min(start + step, n))


def run_bounds(n: int, most: int) -> NDArray[np.int64]:
    """Bounds of at most ``most`` runs of n frames, as equal in length as can be."""
    count = min(n, most)
    return np.arange(count + 1, dtype=np.int64) * n // max(count, 1)


def sum_series(rows: Rows, n: int, points: int, runs: int, block_bytes: int = BLOCK_BYTES) -> SeriesSums:
    """Read a series once.

    Deviations are taken from the first block's mean, so that sums of products do not cancel; blocks are added in their
    order, so the result depends on ``block_bytes`` in the last digits only.

    Parameters
    ----------
    rows : callable
        ``rows(start, stop)`` returns float32 patterns (stop - start, points).
    n, points : int
        Frames, and points of each.
    runs : int
        Most runs of neighbouring frames to average.

    Raises
    ------
    PatternError
        If there is no frame, or a value is NaN or infinite.
    StoreError
        If ``rows`` returns something other than the rows asked for.
    """
    if n < 1:
        raise PatternError("no_frames", "the series has no frame; at least one is needed to take it apart")
    bounds = run_bounds(n, runs)
    means = np.zeros((len(bounds) - 1, points))
    total, scatter = np.zeros(points), np.zeros((points, points))
    neighbours = np.ones(n, dtype=np.float32)
    origin: NDArray[np.float64] | None = None
    last: NDArray[np.float32] | None = None
    for start, block in blocks(rows, n, points, block_bytes):
        unit = standardise(block, start)  # refuses what is not finite
        neighbours[start + 1 : start + len(block)] = np.einsum("ij,ij->i", unit[1:], unit[:-1])
        if last is not None:
            neighbours[start] = last @ unit[0]
        last = unit[-1]
        values = block.astype(np.float64)
        _add_runs(means, bounds, start, values)
        if origin is None:
            origin = values.mean(axis=0)
        values -= origin
        total += values.sum(axis=0)
        scatter += values.T @ values
    assert origin is not None
    shift = total / n
    scatter -= n * np.outer(shift, shift)
    means /= np.diff(bounds)[:, None]
    return SeriesSums(n, origin + shift, scatter, np.clip(neighbours, -1, 1), Runs(bounds, means))


def _add_runs(sums: NDArray[np.float64], bounds: NDArray[np.int64], start: int, values: NDArray[np.float64]) -> None:
    """Add the rows of a block, of which the first is frame ``start``, to the sums of their runs."""
    first = int(np.searchsorted(bounds, start, side="right")) - 1
    last = int(np.searchsorted(bounds, start + len(values), side="left"))
    inner = np.clip(bounds[first:last] - start, 0, None)
    sums[first:last] += np.add.reduceat(values, inner, axis=0)

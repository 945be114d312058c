"""Long series for figures: frames are put together in bins, and what a bin shows is said beside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_BINS = 300


@dataclass(frozen=True, eq=False)
class Bins:
    """Runs of neighbouring frames: bounds (m + 1,), so that bin k is of frames ``bounds[k]`` to ``bounds[k + 1]``."""

    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, n: int, most: int = MOST_BINS) -> "Bins":
        """At most so many bins of n frames, as equal as can be."""
        count = max(1, min(n, most))
        return cls(np.arange(count + 1, dtype=np.int64) * n // count)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def single(self) -> bool:
        """Whether each bin is one frame."""
        return len(self) == self.bounds[-1]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Frames of each bin."""
        return np.diff(self.bounds)

    def mean(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mean over the frames of each bin that have a value; NaN where none has."""
        known = np.isfinite(values)
        sums = np.add.reduceat(np.where(known, values, 0.0).astype(float), self.bounds[:-1], axis=0)
        numbers = np.add.reduceat(known.astype(float), self.bounds[:-1], axis=0)
        return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)

    def quantiles(self, values: NDArray[np.floating], shares: tuple[float, ...]) -> NDArray[np.float64]:
        """Quantiles (shares, bins) over the frames of each bin that have a value; NaN where none has."""
        result = np.full((len(shares), len(self)), np.nan)
        for k in range(len(self)):
            part = values[self.bounds[k] : self.bounds[k + 1]]
            part = part[np.isfinite(part)]
            if len(part):
                result[:, k] = np.quantile(part, shares)
        return result

    def share_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Share of each bin's frames that are chosen."""
        return np.asarray(np.add.reduceat(chosen.astype(float), self.bounds[:-1]) / self.sizes)


def edges_of(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges (m + 1,) of cells about m places that ascend or descend."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def is_monotonic(values: NDArray[np.float64]) -> bool:
    """Whether values ascend or descend throughout, so that a series can be drawn over them."""
    steps = np.diff(values)
    return bool(np.isfinite(values).all() and len(values) > 1 and ((steps > 0).all() or (steps < 0).all()))

"""The pairs of patterns that correlate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES_PER_EDGE = 64
"""Memory that one edge costs at worst, while the edges of many tasks are joined and sorted (12 bytes at rest)."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of patterns that correlate at the threshold or above: ``i < j`` (row numbers) and the correlation.

    Three arrays of one length; int32, int32, float32. The correlation is the float64 value, rounded once.
    """

    i: NDArray[np.int32]
    j: NDArray[np.int32]
    correlation: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.i)

    def renumbered(self, number: NDArray[np.int64]) -> "Edges":
        """The same pairs with other row numbers, sorted; pairs of a row whose number is negative are left out."""
        first, second = number[self.i], number[self.j]
        kept = (first >= 0) & (second >= 0)
        low, high = np.minimum(first, second)[kept], np.maximum(first, second)[kept]
        order = np.argsort(low << 32 | high)
        return Edges(low[order].astype(np.int32), high[order].astype(np.int32), self.correlation[kept][order])


def merge_edges(parts: Sequence[Edges]) -> Edges:
    """Join the edges of several tasks into one, sorted by ``i``, then ``j``; the same for any order of the parts."""
    if not parts:
        return Edges(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
    i = np.concatenate([part.i for part in parts])
    j = np.concatenate([part.j for part in parts])
    correlation = np.concatenate([part.correlation for part in parts])
    order = np.argsort(i.astype(np.int64) << 32 | j)
    return Edges(i[order], j[order], correlation[order])


def join_edges(one: Edges, other: Edges) -> Edges:
    """All edges of two sets, sorted, those of both once."""
    both = merge_edges([one, other])
    first = np.ones(len(both), bool)
    first[1:] = (np.diff(both.i) != 0) | (np.diff(both.j) != 0)
    return Edges(both.i[first], both.j[first], both.correlation[first])

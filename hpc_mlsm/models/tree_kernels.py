"""Decision trees as bit masks, and their sums for many rows at once.

A tree with at most 64 leaves, numbered from left to right, is asked without walking through it. Each row begins with
a bit for every leaf. Every node whose condition (value < threshold: to the left) does not hold takes away the bits of
the leaves on its left; the lowest bit that remains is the row's leaf. This is QuickScorer (Lucchese et al., SIGIR 2015,
doi:10.1145/2766462.2767733), but with many rows side by side: nodes are asked in any order and without branches, which
processors do in vectors.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

ROWS = 64
"""Rows that are asked together. Their values of one point lie side by side."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_trees(
    values: NDArray[np.float32],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    mask: NDArray[Any],
    first_node: NDArray[np.int64],
    leaf: NDArray[np.float32],
    first_leaf: NDArray[np.int64],
    target: NDArray[np.int32],
    signed: NDArray[Any],
    sums: NDArray[np.float32],
) -> None:
    """Add each tree's leaves to the sums (rows, targets) of rows of values (rows, points), tree after tree in float32.

    ``mask`` is uint32 or uint64 and ``signed`` an array of the signed integers of its width.
    """
    points, targets = values.shape[1], sums.shape[1]
    columns = np.zeros((points, ROWS), np.float32)
    totals = np.zeros((targets, ROWS), np.float32)
    bits = np.empty(ROWS, mask.dtype)
    bits_signed = bits.view(signed.dtype)
    lowest = np.empty(ROWS, np.float32)
    exponents = lowest.view(np.int32)
    for start in range(0, len(values), ROWS):
        rows = min(ROWS, len(values) - start)
        for row in range(rows):
            for point in range(points):
                columns[point, row] = values[start + row, point]
            for k in range(targets):
                totals[k, row] = sums[start + row, k]
        for tree in range(len(target)):
            bits_signed[:] = -1
            for node in range(first_node[tree], first_node[tree + 1]):
                column, limit, without_left = columns[feature[node]], threshold[node], mask[node]
                for row in range(ROWS):
                    bits[row] = bits[row] if column[row] < limit else bits[row] & without_left
            # The number of the lowest bit is the exponent of its value as a float.
            for row in range(ROWS):
                lowest[row] = np.float32(bits_signed[row] & -bits_signed[row])
            total, first = totals[target[tree]], first_leaf[tree]
            for row in range(ROWS):
                total[row] += leaf[first + ((exponents[row] >> 23) & 255) - 127]
        for row in range(rows):
            for k in range(targets):
                sums[start + row, k] = totals[k, row]

"""The largest of many scores."""

import numba
import numpy as np
from numpy.typing import NDArray


def largest(values: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Columns of the k largest values of each row (n, m), largest first and of equals the first; all m where k > m."""
    found = np.empty((len(values), min(k, values.shape[1])), np.int64)
    if found.size:
        _largest(values, found)
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _largest(values: NDArray[np.floating], found: NDArray[np.int64]) -> None:
    k = found.shape[1]
    best = np.empty(k, values.dtype)
    for row in range(len(values)):
        for column in range(values.shape[1]):
            value = values[row, column]
            if column >= k and not value > best[k - 1]:
                continue
            place = min(column, k - 1)
            while place and value > best[place - 1]:
                best[place], found[row, place] = best[place - 1], found[row, place - 1]
                place -= 1
            best[place], found[row, place] = value, column

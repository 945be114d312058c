"""What is wrong with single frames that an instrument delivered."""

import numpy as np
from numpy.typing import NDArray

SPIKE = 5.0
"""A point so many times as high above both its neighbours as all others reach is no part of a pattern."""


def spikes(y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where a single point, such as a cosmic ray leaves, is most of a curve: its place in each row, -1 for none.

    Parameters
    ----------
    y : float64 (n, m)
        Finite curves.
    """
    rows = np.arange(len(y))
    level = y.mean(axis=1, keepdims=True)
    height = np.abs(y - level)
    place = height.argmax(axis=1)
    largest = height[rows, place]
    height[rows, place] = 0.0
    beside = np.maximum(height[rows, np.maximum(place - 1, 0)], height[rows, np.minimum(place + 1, y.shape[1] - 1)])
    rest = np.maximum(height.max(axis=1), beside)
    return np.where(largest > SPIKE * np.maximum(rest, 1e-300), place, -1)

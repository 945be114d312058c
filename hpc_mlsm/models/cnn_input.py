"""How patterns enter a network."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def scale_patterns(patterns: NDArray[np.floating], scale: Literal["linear", "sqrt"]) -> NDArray[np.float32]:
    """Patterns (rows, points) with values from 0 to 1: divided by their largest, below zero cut off.

    A pattern without a positive value becomes zeros.
    """
    values = np.maximum(patterns, 0, dtype=np.float32)
    top = values.max(axis=1, keepdims=True, initial=0.0)
    np.divide(values, top, out=values, where=top > 0)
    return np.sqrt(values, out=values) if scale == "sqrt" else values

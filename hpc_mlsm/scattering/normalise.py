"""Scale-free form of patterns, in which a dot product is a Pearson correlation."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROWS = 128
"""So many are done at once: what is in between stays in the cache."""


def standardise(patterns: ArrayLike) -> NDArray[np.float32]:
    """Patterns with zero mean and unit norm along the last axis, so that a dot product is a Pearson correlation.

    Computed in float64. A constant pattern has no correlation with anything and becomes all zeros.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    given = np.asarray(patterns)
    if given.ndim != 2 or len(given) <= ROWS:
        return _standardised(given)
    out = np.empty(given.shape, dtype=np.float32)
    for start in range(0, len(given), ROWS):
        out[start : start + ROWS] = _standardised(given[start : start + ROWS])
    return out


def _standardised(given: NDArray[Any]) -> NDArray[np.float32]:
    values = np.asarray(given, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("patterns must be finite; found NaN or infinity")
    centred = values - values.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(centred, axis=-1, keepdims=True)
    negligible = norm <= 1e-12 * np.abs(values).max(axis=-1, keepdims=True, initial=0.0)
    return np.where(negligible, 0.0, centred / np.where(negligible, 1.0, norm)).astype(np.float32)

"""The Pearson matrix of a series."""

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.grouping.correlate import standardise

TILE = 2048
"""Rows and columns of one matrix product."""


def pearson_matrix(patterns: NDArray[np.floating]) -> NDArray[np.float32]:
    """Correlation of every pattern with every other.

    Parameters
    ----------
    patterns : array (n, points)
        One pattern a row; a constant one correlates with nothing.

    Returns
    -------
    array (n, n) of float32
        Symmetric to the last bit, 1 on the diagonal (0 for a constant pattern), right to about 1e-6.

    Raises
    ------
    PatternError
        If a pattern holds NaN or infinity.
    """
    unit = standardise(patterns)
    matrix = np.empty((len(unit), len(unit)), dtype=np.float32)
    for top in range(0, len(unit), TILE):
        for left in range(top, len(unit), TILE):
            tile = unit[top : top + TILE] @ unit[left : left + TILE].T
            matrix[top : top + TILE, left : left + TILE] = tile
            matrix[left : left + TILE, top : top + TILE] = tile.T
    np.fill_diagonal(matrix, np.where(unit.any(axis=1), 1.0, 0.0))
    return np.clip(matrix, -1, 1, out=matrix)

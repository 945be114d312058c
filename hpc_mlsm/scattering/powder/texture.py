"""Preferred orientation by March's function; W. A. Dollase, J. Appl. Cryst. 19 (1986) 267."""

import numba
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.powder.reflections import inverse_squares


def march_dollase(squared_cosine: NDArray[np.float64], march: float) -> NDArray[np.float64]:
    """(r² cos² α + sin² α / r)^(-3/2), whose mean over all directions is 1 for any r.

    Parameters
    ----------
    squared_cosine : array
        cos² of the angle α between plane normals and the axis of texture.
    march : float
        r: below 1 for plates lying flat, above 1 for needles, 1 without texture.
    """
    base = march**2 * squared_cosine + (1 - squared_cosine) / march
    return np.asarray(base**-1.5)


def squared_cosines(
    hkl: NDArray[np.int64],
    axes: tuple[tuple[int, int, int], ...],
    rotations: NDArray[np.int64],
    reciprocal: NDArray[np.float64],
) -> NDArray[np.float64]:
    """cos² of the angles between the equivalents of reflections and plane normals, shape (axes, R, equivalents).

    Parameters
    ----------
    hkl : array (R, 3)
    axes : tuple of (h, k, l)
    rotations : array (equivalents, 3, 3)
        One of each pair R and -R that makes reflections equivalent.
    reciprocal : array (3, 3)
        Metric tensor of the reciprocal lattice, Å⁻².
    """
    if not axes:
        return np.zeros((0, len(hkl), 1))
    normals = np.asarray(axes, dtype=float)
    squares = inverse_squares(hkl, reciprocal)
    lengths = ((normals @ reciprocal) * normals).sum(axis=1)
    turned = rotations @ reciprocal @ normals.T
    products = np.einsum("ri,nia->arn", hkl, turned)
    return np.asarray(np.minimum(products**2 / (lengths[:, None, None] * squares[:, None]), 1.0))


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def textured_sum(intensities, cosines, march, begin, end):  # type: ignore[no-untyped-def]
    """Sum of the intensities of some reflections, each times the mean of March's function over its equivalents."""
    total = 0.0
    for r in range(begin, end):
        weight = 0.0
        for n in range(cosines.shape[1]):
            base = march * march * cosines[r, n] + (1 - cosines[r, n]) / march
            weight += 1 / (base * np.sqrt(base))
        total += intensities[r] * weight / cosines.shape[1]
    return total

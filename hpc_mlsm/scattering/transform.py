"""The internal r grid, and the sine transforms that limit a PDF to the measured range of momentum transfer."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dst

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid

RIPPLES = 6
"""Termination ripples, of length 2π/q_max, by which the calculation goes beyond r_max."""

ALIAS_LIMIT = 1e-3
"""The internal grid is fine enough for F(Q) folded back from above q_max to be below this share of itself at Q = 0."""

_LARGEST_FILTER = 400_000
_LARGEST_SINES = 2_000_000


@dataclass(frozen=True)
class InternalGrid:
    """Grid r_n = n step, n < size, on which a PDF is computed before it is band-limited; n_pad sets the Q spacing."""

    step: float
    size: int
    n_pad: int

    @classmethod
    def for_range(cls, grid: PdfGrid, q_max: float, variance: float) -> "InternalGrid":
        """The internal grid for an output grid, a band limit and the variance (Å²) of the sharpest peak.

        Its step is that of the output grid, as in diffpy.srreal, halved until sampling does not alias. The sharper
        peaks that correlated motion gives to next neighbours do not count, as they do not there.
        """
        step = grid.r_step
        while np.exp(-0.5 * variance * max(2 * np.pi / step - q_max, 0.0) ** 2) > ALIAS_LIMIT:
            step /= 2
        size = int(_extent(grid, np.array(q_max), step))
        return cls(step=step, size=size, n_pad=1 << int(np.ceil(np.log2(size))))

    @property
    def r(self) -> NDArray[np.float64]:
        """Grid points, Å."""
        return np.asarray(self.step * np.arange(self.size))

    @property
    def q_step(self) -> float:
        """Spacing of the momentum-transfer grid, Å⁻¹."""
        return float(np.pi / (self.n_pad * self.step))


def band_limited(
    unlimited: NDArray[np.float64], conditions: PdfConditions, grid: PdfGrid, internal: InternalGrid
) -> NDArray[np.float64]:
    """G(r) on the output grid, shape (V, len(grid)), from G(r) on the internal grid, shape (V, internal.size).

    F(Q) = ∫ G sin(Qr) dr is set to zero outside [q_min, q_max), and G = (2/π) ∫ F sin(Qr) dQ taken of what is left.
    """
    q_min, q_max = float(conditions.q_min[0]), float(conditions.q_max[0])
    alike = np.all(conditions.q_min == q_min) and np.all(conditions.q_max == q_max)
    if alike and (matrix := band_filter(grid, internal, q_min, q_max)) is not None:
        return np.asarray(unlimited @ matrix)
    padded = np.zeros((len(unlimited), internal.n_pad - 1))
    padded[:, : internal.size - 1] = unlimited[:, 1:]
    # The internal grid is that of the smallest q_max; every variant ends where its own q_max says.
    padded[np.arange(1, internal.n_pad) >= _extent(grid, conditions.q_max, internal.step)[:, None]] = 0.0
    # Rounded up, so that structures whose largest q_max differ a little share the cached sines.
    n_q = min(internal.n_pad - 1, 64 * int(np.ceil(conditions.q_max.max() / internal.q_step / 64)))
    f = 0.5 * internal.step * dst(padded, type=1)[:, :n_q]
    q = internal.q_step * np.arange(1, n_q + 1)
    f *= (q >= conditions.q_min[:, None]) & (q < conditions.q_max[:, None])
    f *= (2 / np.pi) * internal.q_step
    if n_q * len(grid) <= _LARGEST_SINES:
        return np.asarray(f @ _sines(internal.q_step, n_q, grid))
    block = max(1, _LARGEST_SINES // n_q)
    parts = [f @ np.sin(np.outer(q, grid.r[start : start + block])) for start in range(0, len(grid), block)]
    return np.concatenate(parts, axis=1)


def band_filter(grid: PdfGrid, internal: InternalGrid, q_min: float, q_max: float) -> NDArray[np.float64] | None:
    """The matrix (internal.size, len(grid)) that limits a curve to one band; None where it would be too large."""
    small = internal.size * len(grid) <= _LARGEST_FILTER
    return _filter_matrix(grid, internal, q_min, q_max) if small else None


def _extent(grid: PdfGrid, q_max: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """Points of an internal grid that reaches six ripples beyond the output grid."""
    end = grid.r[-1] + grid.r_step / 2 + RIPPLES * 2 * np.pi / q_max
    return np.asarray(np.ceil(end / step - 1e-9).astype(np.int64))


@lru_cache(maxsize=4)
def _sines(q_step: float, n_q: int, grid: PdfGrid) -> NDArray[np.float64]:
    """sin(Qr) for n_q multiples of q_step, shape (n_q, len(grid))."""
    return np.sin(np.outer(q_step * np.arange(1, n_q + 1), grid.r))


@lru_cache(maxsize=8)
def _filter_matrix(grid: PdfGrid, internal: InternalGrid, q_min: float, q_max: float) -> NDArray[np.float64]:
    """Both transforms and the band limit as one matrix, shape (internal.size, len(grid))."""
    q = internal.q_step * np.arange(1, internal.n_pad)
    q = q[(q >= q_min) & (q < q_max)]
    forward = internal.step * np.sin(np.outer(internal.r, q))
    return np.asarray(forward @ ((2 / np.pi) * internal.q_step * np.sin(np.outer(q, grid.r))))

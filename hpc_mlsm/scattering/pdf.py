"""Pair distribution functions G(r) of many variants of one structure.

The sum over pairs goes through a fine histogram of distances, so its cost is about a nanosecond a pair and variant;
peak broadening is a convolution of that histogram, and band-limiting to [q_min, q_max) is one matrix product.
Formula: Farrow & Billinge, Acta Cryst. A65 (2009) 232; peak widths: Jeong et al., Phys. Rev. B 67 (2003) 104301;
conventions (extension by six ripples, zero padding to a power of two, sphere envelope) as in diffpy.srreal.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.histogram import SPREAD, add_peaks, peak_reach
from hpc_mlsm.scattering.pairs import PairList
from hpc_mlsm.scattering.transform import RIPPLES, InternalGrid, band_limited

BINS_PER_WIDTH = 6
"""Histogram bins per standard deviation of the sharpest peak; cubic deposition is then right to 5e-5 of a peak."""

HISTOGRAM_BYTES = 1 << 19
"""Histograms of a block of variants; half of a usual second-level cache."""


def simulate_pdf(
    chunks: Iterable[PairList],
    axis_scales: NDArray[np.float64],
    conditions: PdfConditions,
    grid: PdfGrid,
) -> NDArray[np.float64]:
    """G(r) of V variants of one structure.

    Parameters
    ----------
    chunks : iterable of PairList
        Pairs of the structure, out to at least ``reach(...)`` divided by ``least_stretch(...)``. If they have
        displacement classes of their own, ``conditions.u_iso`` multiplies those as a factor (1 leaves them).
    axis_scales : array (V, 3)
        Factors on a, b and c; they must obey the symmetry.
    conditions : PdfConditions
        For V variants.
    grid : PdfGrid

    Returns
    -------
    array (V, len(grid))
        G in Å⁻².

    Raises
    ------
    ConfigError
        If the factors break the symmetry.
    """
    peaks = None
    for pairs in chunks:
        if peaks is None:
            variance = float(conditions.u_iso.min() * pairs.u_sums.min())
            internal = InternalGrid.for_range(grid, float(conditions.q_max.min()), variance)
            peaks = np.zeros((len(conditions), internal.size))
            density = pairs.n_atoms / np.sqrt(np.linalg.det(pairs.metrics(axis_scales)))
        _add_pairs(pairs, axis_scales, conditions, internal, peaks)
    if peaks is None:
        raise ValueError("no pair list was given")
    peaks -= 4 * np.pi * density[:, None] * internal.r
    g = band_limited(peaks, conditions, grid, internal)
    if conditions.q_damp.any() or conditions.diameter.any():
        g *= envelope(grid.r, conditions)
    return g


def _add_pairs(
    pairs: PairList,
    axis_scales: NDArray[np.float64],
    conditions: PdfConditions,
    internal: InternalGrid,
    peaks: NDArray[np.float64],
) -> None:
    """Add the peaks of one list, class by class, to ``peaks``, shape (V, internal.size)."""
    steps = pairs.steps(axis_scales).astype(np.float32)
    shapes = np.stack([conditions.delta1, conditions.delta2, conditions.q_broad], axis=1)
    # Nearer than this, correlated motion sharpens peaks to less than half their variance.
    half_way = conditions.delta1 + np.sqrt(conditions.delta1**2 + 2 * conditions.delta2)
    least = least_stretch(pairs.metric, axis_scales)
    for c, u_sum in enumerate(pairs.u_sums):
        begin, end = pairs.offsets[c], pairs.offsets[c + 1]
        if begin == end:
            continue
        squares = pairs.squares[begin:end]
        u_sums = conditions.u_iso * u_sum
        sharpest = u_sums
        if half_way.any():
            nearest = np.maximum(half_way, least * np.sqrt(squares.min()))
            sharpest = u_sums * (1 - conditions.delta1 / nearest - conditions.delta2 / nearest**2)
        bins_per_step = np.ceil(BINS_PER_WIDTH * internal.step / np.sqrt(sharpest)).astype(np.int64)
        r_end = internal.step * internal.size
        r_end = r_end + peak_reach(r_end, u_sums, conditions.q_broad)
        n_bins = np.ceil(r_end / internal.step * bins_per_step).astype(np.int64) + 2 + SPREAD
        at_once = int(np.clip(HISTOGRAM_BYTES // (4 * n_bins.max()), 1, len(conditions)))
        add_peaks(
            pairs.squares,
            pairs.invariants,
            pairs.weights,
            begin,
            end,
            begin + np.flatnonzero(squares < (half_way.max() / least) ** 2),
            steps,
            u_sums,
            shapes,
            half_way,
            internal.step,
            bins_per_step,
            n_bins,
            np.empty((at_once, n_bins.max()), dtype=np.float32),
            peaks,
        )


def reach(grid: PdfGrid, conditions: PdfConditions) -> float:
    """Largest pair distance (Å) that matters in the strained cell."""
    end = grid.r[-1] + grid.r_step + RIPPLES * 2 * np.pi / conditions.q_max.min()
    return float(end + peak_reach(end, 2 * conditions.u_iso.max(), conditions.q_broad.max()))


def least_stretch(metric: NDArray[np.float64], axis_scales: NDArray[np.float64]) -> float:
    """Smallest factor by which any distance changes when a, b and c are multiplied by the factors (V, 3).

    In oblique axes this may be less than the smallest factor, because unlike factors shear the cell. ``metric`` is
    that of the cell, shape (3, 3), Å².
    """
    unlike = np.abs(axis_scales[:, :, None] - axis_scales[:, None, :]).max(axis=0) > 0
    if not np.any(unlike & (np.abs(metric) > 1e-9 * np.abs(metric).max())):
        return float(axis_scales.min())
    inverse = np.linalg.inv(np.linalg.cholesky(metric))
    strained = axis_scales[:, :, None] * metric * axis_scales[:, None, :]
    return float(np.sqrt(np.linalg.eigvalsh(inverse @ strained @ inverse.T).min()))


def envelope(r: NDArray[np.float64], conditions: PdfConditions) -> NDArray[np.float64]:
    """Damping by resolution and by the shape of a sphere, shape (V, len(r))."""
    damping = np.exp(-0.5 * (conditions.q_damp[:, None] * r) ** 2)
    limited = conditions.diameter > 0
    tau = np.minimum(r / np.where(limited, conditions.diameter, np.inf)[:, None], 1.0)
    return damping * (1 - 1.5 * tau + 0.5 * tau**3)

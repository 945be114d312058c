"""Pair distribution functions G(r) of many variants of one structure.

The sum over pairs goes through a fine histogram of distances, so its cost is a few nanoseconds a pair and variant;
peak broadening is a convolution of that histogram, and band-limiting to [q_min, q_max) is one matrix product.
Formula: Farrow & Billinge, Acta Cryst. A65 (2009) 232; peak widths: Jeong et al., Phys. Rev. B 67 (2003) 104301;
conventions (extension by six ripples, zero padding to a power of two, sphere envelope) as in diffpy.srreal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.pairs import PairList

RIPPLES = 6
"""Termination ripples, of length 2π/q_max, by which the calculation goes beyond r_max."""

PEAK_REACH = 5.5
"""A peak is computed out to this many standard deviations (where it is 3e-7 of its height)."""

BINS_PER_WIDTH = 6
"""Histogram bins per standard deviation of the sharpest peak; cubic deposition is then right to 5e-5 of a peak."""

ALIAS_LIMIT = 1e-3
"""The internal grid is fine enough for F(Q) folded back from above q_max to be below this share of itself at Q = 0."""


@dataclass(frozen=True)
class InternalGrid:
    """Grid r_n = n step, n < size, on which a PDF is computed before it is band-limited; n_pad sets the Q spacing."""

    step: float
    size: int
    n_pad: int

    @classmethod
    def for_range(cls, grid: PdfGrid, q_max: float, variance: float) -> "InternalGrid":
        """The internal grid for an output grid, a band limit and the variance (Å²) of the sharpest peak.

        Its step is that of the output grid, as in diffpy.srreal, halved until sampling does not alias.
        """
        step = grid.r_step
        while np.exp(-0.5 * variance * max(2 * np.pi / step - q_max, 0.0) ** 2) > ALIAS_LIMIT:
            step /= 2
        size = int(np.ceil((grid.r[-1] + grid.r_step / 2 + RIPPLES * 2 * np.pi / q_max) / step - 1e-9))
        return cls(step=step, size=size, n_pad=1 << int(np.ceil(np.log2(size))))

    @property
    def r(self) -> NDArray[np.float64]:
        """Grid points, Å."""
        return self.step * np.arange(self.size)

    @property
    def q_step(self) -> float:
        """Spacing of the momentum-transfer grid, Å⁻¹."""
        return float(np.pi / (self.n_pad * self.step))


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
        Pairs of the structure, out to at least ``reach(...)`` divided by the smallest scale. If they have displacement
        classes of their own, ``conditions.u_iso`` multiplies those as a factor (1 leaves them).
    axis_scales : array (V, 3)
        Factors on a, b and c; they must obey the symmetry.
    conditions : PdfConditions
        For V variants.
    grid : PdfGrid

    Returns
    -------
    array (V, len(grid))
        G in Å⁻².
    """
    histogram = None
    for pairs in chunks:
        if histogram is None:
            histogram = DistanceHistogram.empty(pairs, axis_scales, conditions, grid)
        histogram.add(pairs, axis_scales)
    if histogram is None:
        raise ValueError("no pair list was given")
    unlimited = histogram.smeared(conditions)
    unlimited -= 4 * np.pi * histogram.number_density[:, None] * histogram.internal.r
    return _band_limited(unlimited, conditions, grid, histogram.internal) * envelope(grid.r, conditions)


@dataclass(frozen=True)
class DistanceHistogram:
    """Weights of pairs by distance, shape (V, C, bins), for V variants and C displacement classes.

    Bins are a whole fraction of the internal grid's step; ``margin`` of them lie below r = 0 and above the end.
    """

    bins: NDArray[np.float64]
    u_sums: NDArray[np.float64]
    number_density: NDArray[np.float64]
    internal: InternalGrid
    bins_per_step: int
    margin: int

    @classmethod
    def empty(
        cls, pairs: PairList, axis_scales: NDArray[np.float64], conditions: PdfConditions, grid: PdfGrid
    ) -> "DistanceHistogram":
        """A histogram fine enough for the sharpest peak and wide enough for the broadest."""
        u_sums = np.outer(conditions.u_iso, pairs.u_sums if pairs.u_sums.any() else [2.0])
        internal = InternalGrid.for_range(grid, float(conditions.q_max.min()), float(u_sums.min()))
        bins_per_step = int(np.ceil(BINS_PER_WIDTH * internal.step / np.sqrt(u_sums.min())))
        widest = np.sqrt(u_sums.max() * (1 + (conditions.q_broad.max() * internal.r[-1]) ** 2))
        margin = int(np.ceil(PEAK_REACH * widest * bins_per_step / internal.step)) + 2
        return cls(
            bins=np.zeros((*u_sums.shape, internal.size * bins_per_step + 2 * margin)),
            u_sums=u_sums,
            number_density=pairs.n_atoms / np.sqrt(np.linalg.det(pairs.metrics(axis_scales))),
            internal=internal,
            bins_per_step=bins_per_step,
            margin=margin,
        )

    def add(self, pairs: PairList, axis_scales: NDArray[np.float64]) -> None:
        """Add the pairs at the distances they have in each variant's cell."""
        _deposit(
            pairs.invariants,
            pairs.weights,
            pairs.classes,
            np.ascontiguousarray(pairs.coefficients(axis_scales), dtype=np.float32),
            np.float32(self.bins_per_step / self.internal.step),
            self.margin,
            self.bins,
        )

    def smeared(self, conditions: PdfConditions) -> NDArray[np.float64]:
        """Sum of the broadened peaks over r, shape (V, internal.size), Å⁻²."""
        bin_r = (np.arange(self.bins.shape[2]) - self.margin) * (self.internal.step / self.bins_per_step)
        over_r = self.bins / np.where(bin_r > 0, bin_r, np.inf)
        out = np.zeros((len(conditions), self.internal.size))
        layout = (self.internal.step, self.bins_per_step, self.margin)
        if conditions.delta1.any() or conditions.delta2.any() or conditions.q_broad.any():
            shape = np.stack([conditions.delta1, conditions.delta2, conditions.q_broad], axis=1)
            _smear_each_bin(over_r, self.u_sums, shape, *layout, out)
        else:
            _smear_evenly(over_r, self.u_sums, *layout, out)
        return out


def reach(grid: PdfGrid, conditions: PdfConditions) -> float:
    """Largest pair distance (Å) that matters in the strained cell."""
    end = grid.r[-1] + grid.r_step + RIPPLES * 2 * np.pi / conditions.q_max.min()
    variance = 2 * conditions.u_iso.max() * (1 + (conditions.q_broad.max() * end) ** 2)
    return float(end + PEAK_REACH * np.sqrt(variance))


def envelope(r: NDArray[np.float64], conditions: PdfConditions) -> NDArray[np.float64]:
    """Damping by resolution and by the shape of a sphere, shape (V, len(r))."""
    damping = np.exp(-0.5 * (conditions.q_damp[:, None] * r) ** 2)
    limited = conditions.diameter > 0
    tau = np.minimum(r / np.where(limited, conditions.diameter, np.inf)[:, None], 1.0)
    return damping * (1 - 1.5 * tau + 0.5 * tau**3)


def _band_limited(
    unlimited: NDArray[np.float64], conditions: PdfConditions, grid: PdfGrid, internal: InternalGrid
) -> NDArray[np.float64]:
    """Keep [q_min, q_max) of the sine transform and evaluate it on the output grid."""
    limits = set(zip(conditions.q_min.tolist(), conditions.q_max.tolist(), strict=True))
    if len(limits) == 1:
        q_min, q_max = limits.pop()
        return unlimited @ _filter_matrix(grid, internal, q_min, q_max)
    q_top = float(conditions.q_max.max())
    q, forward, backward = _sine_matrices(grid, internal, q_top)
    kept = (q >= conditions.q_min[:, None]) & (q < conditions.q_max[:, None])
    return ((unlimited @ forward) * kept) @ backward


@lru_cache(maxsize=8)
def _sine_matrices(
    grid: PdfGrid, internal: InternalGrid, q_top: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Q points below q_top, G to F(Q) = ∫ G sin(Qr) dr, and F to G = (2/π) ∫ F sin(Qr) dQ."""
    q = np.arange(1, internal.n_pad) * internal.q_step
    q = q[q < q_top]
    forward = internal.step * np.sin(np.outer(internal.r, q))
    backward = (2 / np.pi) * internal.q_step * np.sin(np.outer(q, grid.r))
    return q, forward, backward


@lru_cache(maxsize=8)
def _filter_matrix(grid: PdfGrid, internal: InternalGrid, q_min: float, q_max: float) -> NDArray[np.float64]:
    """Both transforms and the band limit as one matrix, shape (internal.size, len(grid))."""
    q, forward, backward = _sine_matrices(grid, internal, q_max)
    kept = q >= q_min
    return forward[:, kept] @ backward[kept]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _deposit(invariants, weights, classes, coefficients, bins_per_angstrom, margin, histogram):  # type: ignore[no-untyped-def]
    """Spread each pair's weight over the four bins around its distance, by cubic Lagrange weights."""
    n_variants, _, n_bins = histogram.shape
    n_free, n_pairs = invariants.shape
    block = 1024
    position = np.empty(block, np.float32)
    for start in range(0, n_pairs, block):
        stop = min(start + block, n_pairs)
        for v in range(n_variants):
            for m in range(stop - start):
                position[m] = coefficients[v, 0] * invariants[0, start + m]
            for k in range(1, n_free):
                p = coefficients[v, k]
                for m in range(stop - start):
                    position[m] += p * invariants[k, start + m]
            for m in range(stop - start):
                position[m] = np.sqrt(position[m]) * bins_per_angstrom
            for m in range(stop - start):
                left = int(position[m])
                if left + margin + 2 >= n_bins:
                    continue
                t = np.float64(position[m]) - left
                w = weights[start + m]
                row = histogram[v, classes[start + m]]
                near = left + margin
                row[near - 1] -= w * t * (t - 1.0) * (t - 2.0) / 6.0
                row[near] += w * (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0
                row[near + 1] -= w * (t + 1.0) * t * (t - 2.0) / 2.0
                row[near + 2] += w * (t + 1.0) * t * (t - 1.0) / 6.0


@numba.njit(cache=True, nogil=True, fastmath=True)
def _smear_evenly(histogram, u_sums, step, bins_per_step, margin, out):  # type: ignore[no-untyped-def]
    """Convolve with one Gaussian a class, evaluated at the points of the internal grid only."""
    n_variants, n_classes, _ = histogram.shape
    bin_width = step / bins_per_step
    for v in range(n_variants):
        for c in range(n_classes):
            sigma = np.sqrt(u_sums[v, c])
            half = int(np.ceil(PEAK_REACH * sigma / bin_width))
            kernel = np.empty(2 * half + 1)
            for m in range(2 * half + 1):
                x = (m - half) * bin_width / sigma
                kernel[m] = np.exp(-0.5 * x * x) / (sigma * np.sqrt(2 * np.pi))
            row = histogram[v, c]
            for n in range(out.shape[1]):
                first = n * bins_per_step + margin - half
                total = 0.0
                for m in range(2 * half + 1):
                    total += row[first + m] * kernel[m]
                out[v, n] += total


@numba.njit(cache=True, nogil=True, fastmath=True)
def _smear_each_bin(histogram, u_sums, shape, step, bins_per_step, margin, out):  # type: ignore[no-untyped-def]
    """Give each bin the Gaussian of its own distance; Gaussians at equidistant points follow by two products each."""
    n_variants, n_classes, n_bins = histogram.shape
    size = out.shape[1]
    bin_width = step / bins_per_step
    for v in range(n_variants):
        delta1, delta2, q_broad = shape[v]
        for c in range(n_classes):
            for m in range(margin + 1, n_bins):
                weight = histogram[v, c, m]
                if weight == 0.0:
                    continue
                r = (m - margin) * bin_width
                variance = u_sums[v, c] * (1.0 - delta1 / r - delta2 / (r * r) + (q_broad * r) ** 2)
                if variance <= 0.0:
                    continue
                sigma = np.sqrt(variance)
                first = max(0, int(np.ceil((r - PEAK_REACH * sigma) / step)))
                last = min(size - 1, int((r + PEAK_REACH * sigma) / step))
                x = first * step - r
                value = weight * np.exp(-0.5 * x * x / variance) / (sigma * np.sqrt(2 * np.pi))
                ratio = np.exp(-step * (x + 0.5 * step) / variance)
                change = np.exp(-step * step / variance)
                for n in range(first, last + 1):
                    out[v, n] += value
                    value *= ratio
                    ratio *= change

"""One PDF and its derivatives by the cell, the displacements and correlated motion, in closed form.

With G(r) = sum_m (w_m / r_m) g(r - r_m; v_m) - 4 pi rho_0 r as in ``pdf``, r_m² = squares_m + sum_k dp_k inv_km and
v_m = u_m (1 - delta / r_m^power + Qbroad² r_m²), where dp are changes of the metric's coefficients:

- dg/dv = g ((r - r_m)²/v² - 1/v) / 2, and dv/du and dv/d(delta) by the formula of v;
- dr_m/dp_k = inv_km / (2 r_m), and d(g/r_m)/dr_m = (g ((r - r_m)/v - 1/r_m) + dg/dv dv/dr_m) / r_m;
- d(rho_0)/dp_k = -rho_0/2 tr(G⁻¹ B_k), for the metric tensor G = sum_k p_k B_k.

Band-limiting is linear and acts on derivatives as on the curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.gradient_kernels import BY_CELL, BY_DELTA, BY_U_SUM, CURVE, add_peaks_and_derivatives
from hpc_mlsm.scattering.histogram import SPREAD, peak_reach
from hpc_mlsm.scattering.pairs import PairList
from hpc_mlsm.scattering.pdf import BINS_PER_WIDTH
from hpc_mlsm.scattering.transform import InternalGrid, band_filter, band_limited


@dataclass(frozen=True)
class Motion:
    """Widths of peaks: U_i + U_j (Å²) of each displacement class, and delta (Å or Å² by ``power``, which is 1 or 2)."""

    u_sums: NDArray[np.float64]
    delta: float = 0.0
    power: int = 2
    q_broad: float = 0.0


@dataclass(frozen=True)
class PdfGradient:
    """G(r), shape (n,), and its derivatives: by the metric's coefficients (K, n), by U_i + U_j (C, n), by delta (n,).

    Those that were not asked for are empty.
    """

    g: NDArray[np.float64]
    by_metric: NDArray[np.float64]
    by_u_sum: NDArray[np.float64]
    by_delta: NDArray[np.float64]


def pdf_with_gradient(
    chunks: Sequence[PairList],
    steps: NDArray[np.float64],
    motion: Motion,
    grid: PdfGrid,
    q_range: tuple[float, float],
    *,
    derivatives: bool = True,
) -> PdfGradient:
    """G(r) without damping, and its derivatives.

    Parameters
    ----------
    chunks : sequence of PairList
        Pairs of the structure, further out than any change of the cell brings them into range.
    steps : array (K,)
        Changes of the metric's coefficients, Å², in the basis of the lists.
    motion : Motion
        With as many classes as the lists have.
    grid : PdfGrid
    q_range : (float, float)
        Band, Å⁻¹.
    derivatives : bool
        Without them a curve costs about half.
    """
    first = chunks[0]
    n_free, n_classes = len(steps), len(motion.u_sums)
    internal = InternalGrid.for_range(grid, q_range[1], float(motion.u_sums.min()))
    curve = np.zeros(internal.size)
    rows = np.zeros((1 if not derivatives else BY_CELL + n_free, internal.size))
    by_u_sum = np.zeros((n_classes if derivatives else 0, internal.size))
    for pairs in chunks:
        for c in range(n_classes):
            _add_class(pairs, c, steps, motion, internal, rows)
            if derivatives:
                by_u_sum[c] += rows[BY_U_SUM]
                rows[BY_U_SUM] = 0.0
    flat = first.basis.reshape(n_free, 9)
    metric = first.metric + (steps @ flat).reshape(3, 3)
    density = first.n_atoms / np.sqrt(np.linalg.det(metric))
    line = -4 * np.pi * density * internal.r
    curve = rows[CURVE] + line
    if not derivatives:
        (g,) = _limited(curve[None], grid, internal, q_range)
        empty = np.zeros((0, len(grid)))
        return PdfGradient(g, empty, empty, empty[:0])
    inverse = np.linalg.inv(metric)
    change = -0.5 * flat @ inverse.reshape(9)  # both are symmetric
    by_cell = rows[BY_CELL:] + change[:, None] * line
    limited = _limited(
        np.vstack([curve[None], rows[BY_DELTA : BY_DELTA + 1], by_cell, by_u_sum]), grid, internal, q_range
    )
    return PdfGradient(limited[0], limited[2 : 2 + n_free], limited[2 + n_free :], limited[1])


def _add_class(
    pairs: PairList,
    c: int,
    steps: NDArray[np.float64],
    motion: Motion,
    internal: InternalGrid,
    rows: NDArray[np.float64],
) -> None:
    begin, end = int(pairs.offsets[c]), int(pairs.offsets[c + 1])
    if begin == end:
        return
    u_sum = float(motion.u_sums[c])
    sharpest = 0.5 * u_sum if motion.delta else u_sum
    # A power of two, so that a small change of U seldom changes the bins, which would be a small jump of the curve.
    wanted = BINS_PER_WIDTH * internal.step / np.sqrt(sharpest)
    bins_per_step = 1 << max(0, int(np.ceil(np.log2(wanted))))
    end_of_range = internal.step * internal.size
    end_of_range += peak_reach(end_of_range, u_sum, motion.q_broad)
    n_bins = int(np.ceil(end_of_range / internal.step * bins_per_step)) + 2 + SPREAD
    histogram = np.empty((n_bins, 1 if len(rows) == 1 else 1 + len(steps)))
    add_peaks_and_derivatives(
        pairs.squares,
        pairs.invariants,
        pairs.weights,
        begin,
        end,
        steps,
        u_sum,
        motion.delta,
        motion.power,
        motion.q_broad,
        internal.step,
        bins_per_step,
        histogram,
        rows,
    )


def _limited(
    curves: NDArray[np.float64], grid: PdfGrid, internal: InternalGrid, q_range: tuple[float, float]
) -> NDArray[np.float64]:
    matrix = band_filter(grid, internal, *q_range)
    if matrix is not None:
        return np.asarray(curves @ matrix)
    band = PdfConditions.uniform(len(curves), q_min=q_range[0], q_max=q_range[1])
    return band_limited(curves, band, grid, internal)

"""Compiled kernels: the peaks of one PDF together with their derivatives by distances, widths and correlated motion.

As in ``histogram``, pairs are spread over a fine histogram of distances by cubic Lagrange weights, and every bin that
is not empty then becomes one Gaussian. Beside the sum of weights, the histogram holds one column for each coefficient
of the metric: the weights times the change of the distance with that coefficient. A Gaussian of a bin is so computed
once for the curve and for all derivatives.
"""

import numba
import numpy as np

from hpc_mlsm.scattering.histogram import PEAK_REACH, SPREAD

CURVE, BY_U_SUM, BY_DELTA, BY_CELL = 0, 1, 2, 3
"""Rows of what ``add_peaks_and_derivatives`` adds to; those from ``BY_CELL`` on are by the metric's coefficients."""


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def add_peaks_and_derivatives(  # type: ignore[no-untyped-def]
    squares, invariants, weights, begin, end, steps, u_sum, delta, power, q_broad, step, bins_per_step, histogram, rows
):
    """Add the broadened peaks of some pairs, and their derivatives.

    Parameters
    ----------
    squares : float32 array (M,), Å²
    invariants : float32 array (K, M)
    weights : float32 array (M,)
    begin, end : int
        Which of the M pairs.
    steps : float64 array (K,), Å²
        The squared distances are ``squares + steps @ invariants``.
    u_sum : float
        U_i + U_j of all these pairs, Å².
    delta, power : float, int
        The variance is U_i + U_j times 1 - delta / r^power + (q_broad r)²; power is 1 or 2.
    q_broad : float, Å⁻¹
    step : float
        Spacing of the points of ``rows``, Å.
    bins_per_step : int
        Histogram bins in that spacing.
    histogram : float64 array (bins, 1 or 1 + K)
        Work space; bin i stands for r = (i - 1) bin widths. With one column, only the curve is computed.
    rows : float64 array (1 or 3 + K, points)
        What is added to: the sum over pairs of weight / r times a unit Gaussian at r = 0, step, 2 step, …, then its
        derivatives by ``u_sum``, ``delta``, and each of ``steps``.
    """
    n_columns = histogram.shape[1]
    # Nearer than this, correlated motion sharpens peaks to less than half their variance: each gets its own Gaussian.
    half_way = 2 * delta if power == 1 else np.sqrt(2 * delta)
    length = rows.shape[1]
    window = np.empty((3, length))
    column = np.empty(n_columns)
    histogram[:] = 0.0
    width = step / bins_per_step
    furthest = len(histogram) - SPREAD
    for m in range(begin, end):
        square = np.float64(squares[m])
        for k in range(len(steps)):
            square += steps[k] * invariants[k, m]
        if square < 1e-6:
            continue
        r = np.sqrt(square)
        position = r / width
        if position >= furthest:
            continue
        column[0] = weights[m] / r
        for k in range(1, n_columns):
            column[k] = 0.5 * column[0] * invariants[k - 1, m] / r
        if r < half_way:
            _add_gaussian(r, column, u_sum, delta, power, q_broad, step, window, rows)
            continue
        left = int(position)
        t = position - left
        outer, inner = t * (t - 1) / 6, (t + 1) * (t - 2) / 2
        for k in range(n_columns):
            histogram[left, k] += outer * (2 - t) * column[k]
            histogram[left + 1, k] += inner * (t - 1) * column[k]
            histogram[left + 2, k] -= inner * t * column[k]
            histogram[left + 3, k] += outer * (t + 1) * column[k]
    for i in range(2, len(histogram)):
        filled = False
        for k in range(n_columns):
            column[k] = histogram[i, k]
            filled |= column[k] != 0.0
        if filled:
            _add_gaussian((i - 1) * width, column, u_sum, delta, power, q_broad, step, window, rows)


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _add_gaussian(r, column, u_sum, delta, power, q_broad, step, window, rows):  # type: ignore[no-untyped-def]
    """Add one Gaussian at r, of the variance of that distance, and its derivatives, if that variance is above 0."""
    sharpening = delta / r if power == 1 else delta / (r * r)
    bracket = 1 - sharpening + (q_broad * r) ** 2
    if bracket <= 0:
        return
    variance = u_sum * bracket
    reach = PEAK_REACH * np.sqrt(variance)
    first = max(0, int(np.ceil((r - reach) / step)))
    n = min(rows.shape[1] - 1, int(np.floor((r + reach) / step))) - first + 1
    if n <= 0:
        return
    inverse = 1 / variance
    height = np.sqrt(inverse / (2 * np.pi))
    start = first * step - r
    if len(rows) == 1:
        for i in range(n):
            x = start + i * step
            rows[0, first + i] += column[0] * height * _exp_of_minus_16(x * x * inverse / 32)
        return
    slope = u_sum * (power * sharpening / r + 2 * q_broad * q_broad * r)
    for i in range(n):
        x = start + i * step
        z = x * x * inverse
        gaussian = height * _exp_of_minus_16(z / 32)
        by_variance = 0.5 * gaussian * (z - 1) * inverse
        window[0, i] = gaussian
        window[1, i] = by_variance
        window[2, i] = gaussian * (x * inverse - 1 / r) + by_variance * slope
    by_u_sum = column[0] * bracket
    by_delta = -column[0] * u_sum / (r if power == 1 else r * r)
    for i in range(n):
        rows[CURVE, first + i] += column[0] * window[0, i]
        rows[BY_U_SUM, first + i] += by_u_sum * window[1, i]
        rows[BY_DELTA, first + i] += by_delta * window[1, i]
    for k in range(1, len(column)):
        for i in range(n):
            rows[BY_CELL + k - 1, first + i] += column[k] * window[2, i]


@numba.njit(cache=True, nogil=True, fastmath=True, inline="always")
def _exp_of_minus_16(y):  # type: ignore[no-untyped-def]
    """exp(-16 y) for y in [0, 1], right to 1e-8 of 1; a series that the compiler can vectorise, unlike exp itself."""
    e = 1 - y * (1 / 8)
    e = 1 - y * (1 / 7) * e
    e = 1 - y * (1 / 6) * e
    e = 1 - y * (1 / 5) * e
    e = 1 - y * (1 / 4) * e
    e = 1 - y * (1 / 3) * e
    e = 1 - y * (1 / 2) * e
    e = 1 - y * e
    e *= e
    e *= e
    e *= e
    return e * e

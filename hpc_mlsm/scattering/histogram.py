"""Compiled kernels: pair distances of many variants into fine histograms, and histograms into broadened peaks.

A list of pairs is read once for a block of variants whose histograms fit the processor's cache. Each pair is spread
over the four bins around its distance by cubic Lagrange weights; four neighbouring bins are one vector addition.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

PEAK_REACH = 5.5
"""A peak is computed out to this many standard deviations (where it is 3e-7 of its height)."""

SPREAD = 4
"""Bins that a pair is spread over."""

_PAIRS_AT_ONCE = 512
_PAIRS_IN_CACHE = 8192


@intrinsic
def _add_four(typing_context, target, start, values, first):  # type: ignore[no-untyped-def]
    """``target[start:start + 4] += values[first:first + 4]`` of contiguous float32 arrays, in one vector addition.

    Written out because the compiler takes four additions one by one, which doubles the time that a pair costs.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        four = ir.VectorType(ir.FloatType(), SPREAD)

        def pointer(array: int, index: int) -> ir.Value:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            return builder.bitcast(builder.gep(data, [arguments[index]]), four.as_pointer())

        to = pointer(0, 1)
        total = builder.fadd(builder.load(to, align=4), builder.load(pointer(2, 3), align=4))
        builder.store(total, to, align=4)
        return context.get_dummy_value()

    return types.void(target, start, values, first), generate


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def add_peaks(  # type: ignore[no-untyped-def]
    squares,
    invariants,
    weights,
    begin,
    end,
    near,
    steps,
    u_sums,
    shapes,
    half_way,
    step,
    bins_per_step,
    n_bins,
    histogram,
    peaks,
):
    """Add the broadened peaks of some pairs to the patterns of V variants.

    Parameters
    ----------
    squares : float32 array (M,), Å²
    invariants : float32 array (K, M)
    weights : float32 array (M,)
    begin, end : int
        Which of the M pairs.
    near : int64 array
        Those of them that may come nearer than ``half_way`` in any variant.
    steps : float32 array (V, K), Å²
        The squared distances of variant v are ``squares + steps[v] @ invariants``.
    u_sums : float64 array (V,), Å²
        U_i + U_j of all these pairs.
    shapes : float64 array (V, 3)
        delta1 (Å), delta2 (Å²) and q_broad (Å⁻¹).
    half_way : float64 array (V,), Å
        Peaks nearer than this do not go through the histogram.
    step : float
        Spacing of the points of ``peaks``, Å.
    bins_per_step : int64 array (V,)
        Histogram bins in that spacing.
    n_bins : int64 array (V,)
        Bins, of which the first is one bin below r = 0, and the last four collect the pairs that are left out.
    histogram : float32 array (B, at least as many as n_bins)
        Work space for B variants at a time.
    peaks : float64 array (V, points), Å⁻²
        What is added to: the sum over pairs of weight / r times a unit Gaussian, at r = 0, step, 2 step, …
    """
    n_variants = len(steps)
    for first in range(0, n_variants, len(histogram)):
        last = min(first + len(histogram), n_variants)
        histogram[: last - first] = np.float32(0)
        for part in range(begin, end, _PAIRS_IN_CACHE):
            for v in range(first, last):
                _deposit(
                    squares,
                    invariants,
                    weights,
                    part,
                    min(part + _PAIRS_IN_CACHE, end),
                    steps[v],
                    np.float32(half_way[v]),
                    np.float32(bins_per_step[v] / step),
                    histogram[v - first, : n_bins[v]],
                )
        for v in range(first, last):
            row = histogram[v - first, : n_bins[v] - SPREAD]
            if shapes[v, 0] == 0.0 and shapes[v, 1] == 0.0 and shapes[v, 2] == 0.0:
                _smear_evenly(row, u_sums[v], step, bins_per_step[v], peaks[v])
            else:
                _smear_unevenly(row, u_sums[v], shapes[v], step, bins_per_step[v], peaks[v])
    for v in range(n_variants):
        for m in near:
            square = squares[m]
            for k in range(len(invariants)):
                square += steps[v, k] * invariants[k, m]
            r = np.sqrt(max(square, np.float32(1e-6)))
            if r < np.float32(half_way[v]):
                _add_peak(r, weights[m], u_sums[v], shapes[v], step, peaks[v])


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _deposit(squares, invariants, weights, begin, end, steps, nearest, bins_per_angstrom, histogram):  # type: ignore[no-untyped-def]
    """Spread weight / r of each pair over four bins; bin i of the histogram stands for r = (i - 1) bin widths."""
    x = np.empty(_PAIRS_AT_ONCE, np.float32)
    start = np.empty(_PAIRS_AT_ONCE, np.int32)
    shares = np.empty(SPREAD * _PAIRS_AT_ONCE, np.float32)
    furthest = np.float32(len(histogram) - SPREAD)
    smallest = np.float32(1e-6)
    one, two = np.float32(1), np.float32(2)
    half, sixth = np.float32(1 / 2), np.float32(1 / 6)
    for first in range(begin, end, _PAIRS_AT_ONCE):
        n = min(_PAIRS_AT_ONCE, end - first)
        square = squares[first : first + n]
        for m in range(n):
            x[m] = square[m]
        for k in range(len(steps)):
            change = steps[k]
            invariant = invariants[k, first : first + n]
            for m in range(n):
                x[m] += change * invariant[m]
        weight = weights[first : first + n]
        for m in range(n):
            r = np.sqrt(max(x[m], smallest))
            position = min(r * bins_per_angstrom, furthest) if r >= nearest else furthest
            left = np.int32(position)
            t = position - np.float32(left)
            w = weight[m] / r
            outer = sixth * w * t * (t - one)
            inner = half * w * (t + one) * (t - two)
            start[m] = left
            shares[SPREAD * m] = outer * (two - t)
            shares[SPREAD * m + 1] = inner * (t - one)
            shares[SPREAD * m + 2] = -inner * t
            shares[SPREAD * m + 3] = outer * (t + one)
        for m in range(n):
            _add_four(histogram, np.int64(start[m]), shares, np.int64(SPREAD * m))


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _smear_evenly(histogram, u_sum, step, bins_per_step, peaks):  # type: ignore[no-untyped-def]
    """Convolve with one Gaussian, evaluated at the points of the pattern only."""
    width = step / bins_per_step
    sigma = np.sqrt(u_sum)
    half = int(np.ceil(PEAK_REACH * sigma / width))
    kernel = np.empty(_whole_vectors(2 * half + 1), np.float32)
    for m in range(len(kernel)):
        x = (m - half) * width / sigma
        kernel[m] = np.exp(-0.5 * x * x) / (sigma * np.sqrt(2 * np.pi))
    for n in range(len(peaks)):
        left = n * bins_per_step + 1 - half
        first = max(0, left)
        bins = histogram[first : min(len(histogram), left + len(kernel))]
        gaussian = kernel[first - left :]
        total = np.float32(0)
        for m in range(len(bins)):
            total += bins[m] * gaussian[m]
        peaks[n] += total


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _smear_unevenly(histogram, u_sum, shape, step, bins_per_step, peaks):  # type: ignore[no-untyped-def]
    """Give each bin the Gaussian of its own distance; where the bracket of its variance is not above 0, none."""
    width = np.float32(step / bins_per_step)
    delta1, delta2, q_broad = np.float32(shape[0]), np.float32(shape[1]), np.float32(shape[2])
    one = np.float32(1)
    height = np.empty(len(histogram), np.float32)
    inverse = np.empty(len(histogram), np.float32)
    for m in range(len(histogram)):
        # Nothing that is counted lies in the lowest two bins; any width is good for them.
        r = width * np.float32(max(m - 1, 1))
        bracket = one - (delta1 + delta2 / r) / r + q_broad * r * q_broad * r
        variance = np.float32(u_sum) * max(bracket, np.float32(1e-6))
        height[m] = histogram[m] / np.sqrt(np.float32(2 * np.pi) * variance) if bracket > 0 else np.float32(0)
        inverse[m] = np.float32(1 / 32) / variance
    halves = np.empty(len(peaks), np.int64)
    for n in range(len(peaks)):
        # No peak that gets here is wider than one that lies as far out as the peak here reaches.
        furthest = n * step + peak_reach(n * step, u_sum, shape[2])
        halves[n] = int(np.ceil(peak_reach(furthest, u_sum, shape[2]) / width))
    for n in range(len(peaks)):
        centre = n * bins_per_step + 1
        first = max(0, centre - halves[n])
        last = min(len(histogram), centre - halves[n] + _whole_vectors(2 * halves[n] + 1))
        heights = height[first:last]
        inverses = inverse[first:last]
        offset = np.float32(first - centre)
        total = np.float32(0)
        for m in range(len(heights)):
            x = (offset + np.float32(m)) * width
            total += heights[m] * _exp_of_16(min(x * x * inverses[m], np.float32(1.5)))
        peaks[n] += total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_peak(r, weight, u_sum, shape, step, peaks):  # type: ignore[no-untyped-def]
    """Add one Gaussian, with the variance of its own distance, if that is above 0."""
    variance = u_sum * (1 - shape[0] / r - shape[1] / r**2 + (shape[2] * r) ** 2)
    if variance <= 0:
        return
    sigma = np.sqrt(variance)
    height = weight / (r * sigma * np.sqrt(2 * np.pi))
    first = max(0, int(np.ceil((r - PEAK_REACH * sigma) / step)))
    last = min(len(peaks) - 1, int(np.floor((r + PEAK_REACH * sigma) / step)))
    for n in range(first, last + 1):
        peaks[n] += height * np.exp(-0.5 * ((n * step - r) / sigma) ** 2)


@numba.njit(cache=True, nogil=True)
def _whole_vectors(n):  # type: ignore[no-untyped-def]
    """The next multiple of the elements that a compiled loop takes at once; what is left over would be slow."""
    return -(-n // 32) * 32


@numba.njit(cache=True, nogil=True)
def peak_reach(r, u_sum, q_broad):  # type: ignore[no-untyped-def]
    """How far (Å) a peak at r counts, without the sharpening by correlated motion; u_sum is its U_i + U_j."""
    return PEAK_REACH * np.sqrt(u_sum * (1 + (q_broad * r) ** 2))


@numba.njit(cache=True, nogil=True, fastmath=True, inline="always")
def _exp_of_16(y):  # type: ignore[no-untyped-def]
    """exp(-16 y) for y in [0, 1.5], right to 4e-6; a series that the compiler can vectorise, unlike exp itself."""
    one = np.float32(1)
    e = one - y * np.float32(1 / 4)
    e = one - y * np.float32(1 / 3) * e
    e = one - y * np.float32(1 / 2) * e
    e = one - y * e
    e *= e
    e *= e
    e *= e
    return e * e

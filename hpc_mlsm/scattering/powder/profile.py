"""Lines as Pearson VII peaks on the 2θ grid, for many variants.

Widths: Caglioti, Paoletti & Ricci, Nucl. Instrum. 3 (1958) 223, Scherrer's and Stokes and Wilson's terms, added in
quadrature; profile: Hall et al., J. Appl. Cryst. 10 (1977) 66.
"""

import math

import numba
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.powder.conditions import PowderConditions, Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.lines import Lines
from hpc_mlsm.scattering.powder.powers import negative_power
from hpc_mlsm.scattering.powder.texture import textured_sum

TAIL = 1e-5
"""A peak is computed out to where it is this share of its height."""

SCHERRER = 0.9
"""Full width at half maximum × size × cos θ / λ."""


def powder_profile(
    lines: Lines,
    axis_scales: NDArray[np.float64],
    conditions: PowderConditions,
    radiation: Radiation,
    grid: TwoThetaGrid,
) -> NDArray[np.float32]:
    """Intensity of V variants of one structure without background and noise, shape (V, len(grid)).

    The area of a line (over 2θ in degrees, both wavelengths together) is multiplicity × |F|² / V² × Lorentz and
    polarisation factors, in electrons² Å⁻⁶: absolute, but for what crystals of any kind have in common. |F|² is that of
    the unstrained cell.

    Parameters
    ----------
    lines : Lines
    axis_scales : array (V, 3)
        Factors on a, b and c; they must obey the symmetry.
    conditions : PowderConditions
        For V variants.
    radiation : Radiation
    grid : TwoThetaGrid
    """
    inverse = 1 / axis_scales
    patterns = np.zeros((len(conditions), len(grid)), dtype=np.float32)
    columns = (
        conditions.caglioti_u,
        conditions.caglioti_v,
        conditions.caglioti_w,
        conditions.size,
        conditions.microstrain,
        conditions.exponent,
        conditions.u_change,
        conditions.march,
        conditions.march_axis,
        conditions.zero_shift,
        conditions.sample_shift,
    )
    _add_variants(
        lines.hkl,
        lines.offsets,
        lines.intensities,
        lines.cosines,
        inverse[:, :, None] * lines.reciprocal * inverse[:, None, :],
        np.stack(columns, axis=1),
        np.asarray(radiation.wavelengths, dtype=float),
        radiation.fractions,
        math.cos(math.radians(radiation.monochromator)) ** 2,
        grid.two_theta_min,
        grid.two_theta_step,
        patterns,
    )
    return patterns


@numba.njit(cache=True, nogil=True, error_model="numpy")
def lorentz_polarisation(theta, monochromator):  # type: ignore[no-untyped-def]
    """(1 + M cos² 2θ) / ((1 + M) sin² θ cos θ), M = cos² of the monochromator's 2θ, θ in radians."""
    polarisation = (1 + monochromator * np.cos(2 * theta) ** 2) / (1 + monochromator)
    return polarisation / (np.sin(theta) ** 2 * np.cos(theta))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def squared_width(theta, wavelength, u, v, w, size, microstrain):  # type: ignore[no-untyped-def]
    """Square of the full width at half maximum, degree², at θ in radians."""
    tangent = np.tan(theta)
    square = (u * tangent + v) * tangent + w
    if size > 0:
        square += np.degrees(SCHERRER * wavelength / (size * np.cos(theta))) ** 2
    return square + np.degrees(4 * microstrain * tangent) ** 2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pearson_height(exponent):  # type: ignore[no-untyped-def]
    """Height of a Pearson VII peak of unit area and unit full width at half maximum."""
    steepness = 2 * np.sqrt(2 ** (1 / exponent) - 1)
    return steepness * np.exp(math.lgamma(exponent) - math.lgamma(exponent - 0.5)) / np.sqrt(np.pi)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_variants(  # type: ignore[no-untyped-def]
    hkl,
    offsets,
    intensities,
    cosines,
    reciprocals,
    columns,
    wavelengths,
    fractions,
    monochromator,
    two_theta_min,
    step,
    patterns,
):
    sums = np.empty(len(hkl))
    for i in range(len(hkl)):
        sums[i] = intensities[offsets[i] : offsets[i + 1]].sum()
    for n in range(len(patterns)):
        u, v, w, size, microstrain, exponent, u_change, march, axis, zero, shift = columns[n]
        g = reciprocals[n]
        steepness = 4 * (2 ** (1 / exponent) - 1)
        reach = np.sqrt((TAIL ** (-1 / exponent) - 1) / steepness)
        height = pearson_height(exponent)
        for i in range(len(hkl)):
            h, k, l = float(hkl[i, 0]), float(hkl[i, 1]), float(hkl[i, 2])  # noqa: E741
            square = h * h * g[0, 0] + k * k * g[1, 1] + l * l * g[2, 2]
            square += 2 * (h * k * g[0, 1] + h * l * g[0, 2] + k * l * g[1, 2])
            intensity = sums[i]
            if march != 1:
                intensity = textured_sum(intensities, cosines[int(axis)], march, offsets[i], offsets[i + 1])
            intensity *= np.exp(-4 * np.pi**2 * u_change * square)
            for j in range(len(wavelengths)):
                sine = 0.5 * wavelengths[j] * np.sqrt(square)
                if sine >= 1:
                    continue
                theta = np.arcsin(sine)
                width = np.sqrt(squared_width(theta, wavelengths[j], u, v, w, size, microstrain))
                area = fractions[j] * intensity * lorentz_polarisation(theta, monochromator)
                centre = (2 * np.degrees(theta) + zero + shift * np.cos(theta) - two_theta_min) / step
                add_peak(patterns[n], centre, width / step, area * height / width, steepness, exponent, reach)


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def add_peak(pattern, centre, width, height, steepness, exponent, reach):  # type: ignore[no-untyped-def]
    """Add height × (1 + steepness (x / width)²)^-exponent around the centre; both are in steps of the grid."""
    first = max(0, int(np.ceil(centre - reach * width)))
    last = min(len(pattern) - 1, int(np.floor(centre + reach * width)))
    if last < first:
        return
    points = pattern[first : last + 1]
    offset = np.float32(first - centre)
    scale = np.float32(steepness / (width * width))
    tall = np.float32(height)
    power = np.float32(exponent)
    for n in range(len(points)):
        x = np.float32(n) + offset
        points[n] += tall * negative_power(np.float32(1) + scale * x * x, power)

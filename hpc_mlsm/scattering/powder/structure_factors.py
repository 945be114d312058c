"""Structure factors by direct summation: one complex product and sum an atom and reflection, without sines or cosines.

exp(2πi h·x) is a product of three factors that depend on h, on k and on l; they are tabulated atom by atom, with the
displacement terms 11, 22 and 33 in them. Reflections come ordered by h, k, l, so the product of the first two
factors serves a whole row of l. The mixed displacement terms change along a row by a constant factor an atom.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.powder.form_factors import FormFactorTable, dispersion, form_factors
from hpc_mlsm.scattering.powder.reflections import Reflections, inverse_squares
from hpc_mlsm.scattering.powder.scatterers import Scatterers

MAX_TERMS = 2e11
"""Atoms times reflections at most: about a minute on one core."""

_ATOMS_AT_ONCE = 256
"""Their tables fit a second-level cache."""


def squared_structure_factors(
    structure_id: str,
    reflections: Reflections,
    atoms: Scatterers,
    reciprocal: NDArray[np.float64],
    wavelength: float | None = None,
    table: FormFactorTable = form_factors,
) -> NDArray[np.float64]:
    """|F|² of each reflection in electrons², shape (R,), the mean of both Friedel mates.

    Parameters
    ----------
    structure_id : str
        For messages.
    reflections, atoms : Reflections, Scatterers
    reciprocal : array (3, 3)
        Metric tensor of the reciprocal lattice, Å⁻².
    wavelength : float, optional
        Å; with it the dispersion terms f′ and f″ are added.
    table : callable
        Gives f0 of elements at (sin θ/λ)².

    Raises
    ------
    StructureError
        ``no_form_factor``, or ``too_many_reflections`` with the figure if the sum would take minutes.
    """
    terms = float(len(reflections)) * len(atoms)
    if terms > MAX_TERMS:
        raise StructureError(
            "too_many_reflections",
            f"{structure_id}: {len(atoms)} atoms times {len(reflections)} reflections are {terms:.2g} terms, at most "
            f"{MAX_TERMS:.0g} are summed; lower two_theta_max, or leave the structure out",
        )
    hkl = reflections.hkl
    s_squared = inverse_squares(hkl, reciprocal) / 4
    real = table(atoms.numbers, s_squared)
    imaginary = np.zeros(len(atoms.numbers))
    if wavelength is not None:
        shifts = np.array([dispersion(int(number), wavelength) for number in atoms.numbers])
        real, imaginary = real + shifts[:, :1], shifts[:, 1]
    crossed = bool(np.abs(atoms.beta[:, 3:]).max() > 1e-12)
    squares = _sum_squares(
        hkl, atoms.positions, atoms.weights, atoms.beta, atoms.offsets, real, imaginary, atoms.centric, crossed
    )
    return np.asarray(squares)


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _sum_squares(hkl, positions, weights, beta, offsets, real, imaginary, centric, crossed):  # type: ignore[no-untyped-def]
    """|F|², with cosines alone where the atoms are centric."""
    in_phase = np.zeros((len(hkl), 2))
    out_of_phase = np.zeros((len(hkl), 2))
    tops = np.array([np.abs(hkl[:, axis]).max() for axis in range(3)])
    for e in range(len(offsets) - 1):
        for begin in range(offsets[e], offsets[e + 1], _ATOMS_AT_ONCE):
            end = min(begin + _ATOMS_AT_ONCE, offsets[e + 1])
            size = end - begin
            c, s = np.empty((3, 2 * tops.max() + 1, size)), np.empty((3, 2 * tops.max() + 1, size))
            for axis in range(3):
                _tables(axis, tops[axis], positions[begin:end], beta[begin:end], c[axis], s[axis])
            c[0] *= weights[begin:end]
            s[0] *= weights[begin:end]
            c_row, s_row, ratio = np.empty(size), np.empty(size), np.empty(size)
            for r in range(len(hkl)):
                h, k, l = hkl[r, 0], hkl[r, 1], hkl[r, 2]  # noqa: E741
                if r == 0 or h != hkl[r - 1, 0] or k != hkl[r - 1, 1]:
                    i, j = tops[0] + h, tops[1] + k
                    _row(c[0, i], s[0, i], c[1, j], s[1, j], c_row, s_row)
                    if crossed:
                        _mixed(h, k, l, beta[begin:end], c_row, s_row, ratio)
                elif crossed:
                    for _ in range(l - hkl[r - 1, 2]):
                        _damp(c_row, s_row, ratio)
                c_l, s_l = c[2, tops[2] + l], s[2, tops[2] + l]
                cosine, sine = 0.0, 0.0
                if centric:
                    for n in range(size):
                        cosine += c_row[n] * c_l[n] - s_row[n] * s_l[n]
                else:
                    for n in range(size):
                        cosine += c_row[n] * c_l[n] - s_row[n] * s_l[n]
                        sine += s_row[n] * c_l[n] + c_row[n] * s_l[n]
                in_phase[r, 0] += real[e, r] * cosine
                in_phase[r, 1] += real[e, r] * sine
                out_of_phase[r, 0] += imaginary[e] * cosine
                out_of_phase[r, 1] += imaginary[e] * sine
    squares = np.empty(len(hkl))
    for r in range(len(hkl)):
        squares[r] = in_phase[r, 0] ** 2 + in_phase[r, 1] ** 2 + out_of_phase[r, 0] ** 2 + out_of_phase[r, 1] ** 2
    return squares


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _tables(axis, top, positions, beta, cosines, sines):  # type: ignore[no-untyped-def]
    """cos and sin of 2π m x times exp(-β m²) for m from -top to top, shape (2 top + 1, atoms), by recurrence in m."""
    for n in range(len(positions)):
        x = 2 * np.pi * positions[n, axis]
        turn_c, turn_s = np.cos(x), np.sin(x)
        fall, falling = np.exp(-beta[n, axis]), np.exp(-2 * beta[n, axis])
        c, s, damping = 1.0, 0.0, 1.0
        for m in range(top + 1):
            cosines[top + m, n] = c * damping
            cosines[top - m, n] = c * damping
            sines[top + m, n] = s * damping
            sines[top - m, n] = -s * damping
            c, s = c * turn_c - s * turn_s, s * turn_c + c * turn_s
            damping *= fall
            fall *= falling


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy", inline="always")
def _row(c_h, s_h, c_k, s_k, c_row, s_row):  # type: ignore[no-untyped-def]
    """The factors of h and k multiplied."""
    for n in range(len(c_row)):
        c_row[n] = c_h[n] * c_k[n] - s_h[n] * s_k[n]
        s_row[n] = s_h[n] * c_k[n] + c_h[n] * s_k[n]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _mixed(h, k, l, beta, c_row, s_row, ratio):  # type: ignore[no-untyped-def]  # noqa: E741
    """Apply the mixed displacement terms at the first l of a row, and say by what factor they change with l."""
    for n in range(len(c_row)):
        slope = 2 * (beta[n, 4] * h + beta[n, 5] * k)
        damping = np.exp(-2 * beta[n, 3] * h * k - slope * l)
        c_row[n] *= damping
        s_row[n] *= damping
        ratio[n] = np.exp(-slope)


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy", inline="always")
def _damp(c_row, s_row, ratio):  # type: ignore[no-untyped-def]
    for n in range(len(c_row)):
        c_row[n] *= ratio[n]
        s_row[n] *= ratio[n]

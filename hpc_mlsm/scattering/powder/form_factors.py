"""X-ray scattering factors: International Tables C, table 6.1.1.4, and dispersion by Cromer and Liberman."""

from collections.abc import Callable
from functools import lru_cache

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError

MAX_S = 2.0
"""Largest sin θ/λ (Å⁻¹) for which the tabulated sums of Gaussians hold."""

FormFactorTable = Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]
"""(atomic numbers (elements,), (sin θ/λ)² (reflections,)) → f0, shape (elements, reflections)."""

_HC = 12398.4198
"""Planck's constant times the speed of light, eV Å."""


def form_factors(numbers: NDArray[np.int64], s_squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """f0 of neutral atoms in electrons, shape (elements, reflections).

    Parameters
    ----------
    numbers : array (elements,)
        Atomic numbers.
    s_squared : array (reflections,)
        (sin θ/λ)², Å⁻².

    Raises
    ------
    StructureError
        With reason ``no_form_factor`` for elements without an entry, which are those beyond californium.
    """
    table = _table(tuple(numbers.tolist()))
    gaussians = np.exp(-table[:, 4:8, None] * s_squared)
    return np.asarray((table[:, :4, None] * gaussians).sum(axis=1) + table[:, 8:])


@lru_cache(maxsize=1024)
def _table(numbers: tuple[int, ...]) -> NDArray[np.float64]:
    return np.array([_coefficients(number) for number in numbers]).reshape(-1, 9)


@lru_cache(maxsize=256)
def _coefficients(number: int) -> tuple[float, ...]:
    """a1…a4, b1…b4 and c of a neutral atom."""
    entry = gemmi.Element(number).it92 if number > 0 else None
    if entry is None:
        name = gemmi.Element(number).name if number > 0 else "an unknown atom"
        raise StructureError(
            "no_form_factor", f"there is no X-ray scattering factor for {name}; the table ends with Cf (Z = 98)"
        )
    return tuple(float(value) for value in (*entry.a, *entry.b, entry.c))


@lru_cache(maxsize=4096)
def dispersion(number: int, wavelength: float) -> tuple[float, float]:
    """f′ and f″ of an element at a wavelength (Å); zero for the lightest and heaviest, which are not tabulated."""
    f_real, f_imaginary = gemmi.cromer_liberman(z=number, energy=_HC / wavelength)
    return float(f_real), float(f_imaginary)

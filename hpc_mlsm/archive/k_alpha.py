"""Kα2 stripping after Rachinger (1948)."""

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.wavelengths import lines_near
from hpc_mlsm.errors import PatternError

_NEGLIGIBLE = 1e-6


def strip_k_alpha2(
    q: NDArray[np.float64], intensity: NDArray[np.float64], wavelength_ratio: float, intensity_ratio: float
) -> NDArray[np.float64]:
    """Intensity of Kα1 alone.

    With I(Q) = I₁(Q) + R·I₁(Q/w), Q computed with Kα1 and w = λ₂/λ₁ > 1, repeated substitution gives
    I₁(Q) = Σₖ (-R)ᵏ I(Q/wᵏ): Rachinger's correction, evaluated from the measurement itself at every order, so that no
    error is carried from point to point. Below the first point the intensity is taken as constant.

    Parameters
    ----------
    q, intensity : float64 (n,)
        Momentum transfer (ascending, any unit) and intensity.
    wavelength_ratio : float
        λ(Kα2)/λ(Kα1).
    intensity_ratio : float
        I(Kα2)/I(Kα1), below 1.
    """
    stripped = np.zeros_like(intensity)
    factor, shrink = 1.0, 1.0
    while abs(factor) > _NEGLIGIBLE:
        stripped += factor * np.interp(q * shrink, q, intensity)
        factor *= -intensity_ratio
        shrink /= wavelength_ratio
    return stripped


def doublet_of(pattern: Pattern, wavelength: float) -> tuple[float, float]:
    """λ(Kα2)/λ(Kα1) and I(Kα2)/I(Kα1): as the file states them, or of the anode whose Kα1 the wavelength is.

    Raises
    ------
    PatternError
        "no_k_alpha2" where neither is known.
    """
    lines = lines_near(wavelength)
    second, ratio = pattern.number("wavelength_2"), pattern.number("wavelength_ratio")
    if second is not None:
        return second / wavelength, ratio or (lines.ratio if lines else 0.5)
    if lines is None:
        raise PatternError(
            "no_k_alpha2",
            f"{pattern.source or pattern.name}: Kα2 cannot be stripped: the file names no second wavelength and "
            f"{wavelength:g} Å is no Kα1 line; set predict.powder.strip_k_alpha2 to false",
        )
    return lines.k_alpha2 / lines.k_alpha1, lines.ratio

"""Emission lines of X-ray tubes, for files and options that name an anode only.

Kα1 and Kα2 in Å, and their intensity ratio: International Tables for Crystallography C (2006), table 4.2.2.4.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lines:
    """Kα1 and Kα2 (Å) and I(Kα2)/I(Kα1)."""

    k_alpha1: float
    k_alpha2: float
    ratio: float = 0.5


ANODES = {
    "Cr": Lines(2.289726, 2.293651),
    "Fe": Lines(1.936041, 1.939973),
    "Co": Lines(1.788996, 1.792835),
    "Cu": Lines(1.540593, 1.544427),
    "Mo": Lines(0.709317, 0.713607),
    "Ag": Lines(0.559422, 0.563813),
}

SAME = 2e-4
"""Relative difference up to which a wavelength is taken for a line of the table: 0.0003 Å for copper."""


def lines_near(wavelength: float) -> Lines | None:
    """Lines of the anode whose Kα1 a wavelength (Å) is, if it is one."""
    return next((lines for lines in ANODES.values() if abs(lines.k_alpha1 / wavelength - 1.0) < SAME), None)


def lines_metadata(alpha1: float, alpha2: float = 0.0, ratio: float = 0.0) -> dict[str, str | float]:
    """Metadata ``wavelength``, ``wavelength_2``, ``wavelength_ratio`` of a file; what it leaves at zero stays out."""
    found: dict[str, str | float] = {}
    if 0.0 < alpha1 < 100.0:
        found["wavelength"] = float(alpha1)
        if alpha1 < alpha2 < 1.05 * alpha1:
            found["wavelength_2"] = float(alpha2)
            if 0.0 < ratio <= 1.0:
                found["wavelength_ratio"] = float(ratio)
    return found

"""What the abscissa of a measured powder pattern is, and its momentum transfer.

Q = 4π sin θ / λ is what a pattern is compared in, whatever it was measured with.
"""

import re

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.errors import PatternError

LEAST_Q = 2.0
"""A 2θ scan that ends at a lower Q (1/Å; d above 3.1 Å) is hardly one: its abscissa is probably something else."""

_OPTIONS = "say what it is: predict.powder.axis = degrees, radians or q, and predict.powder.wavelength"


def momentum_transfer(
    pattern: Pattern, model_wavelength: float, settings: MeasuredPowderSettings
) -> tuple[NDArray[np.float64], float, list[str]]:
    """Q (1/Å) of every point, the wavelength (Å) of the measurement, and notes on what was assumed.

    Raises
    ------
    PatternError
        "wrong_axis"; "looks_like_radians" or "looks_like_q" where the file does not say what its abscissa is and it
        cannot well be 2θ in degrees.
    """
    notes: list[str] = []
    stated = pattern.number("wavelength")
    if stated is not None and not 0.05 < stated < 10.0:
        notes.append(f"the file states a wavelength of {stated:g} Å, which is none; passed over")
        stated = None
    wavelength = stated or settings.wavelength or model_wavelength
    axis = settings.axis if settings.axis != "auto" else _axis(pattern, wavelength, stated or settings.wavelength)
    if axis == "q":
        return _q_in_inverse_angstrom(pattern, settings, notes), wavelength, notes
    if not stated:
        source = "the setting's" if settings.wavelength else "the model's"
        notes.append(f"the file states no wavelength; {source} {wavelength:g} Å taken")
    degrees = np.degrees(pattern.x) if axis == "radians" else pattern.x
    if axis == "radians":
        notes.append("2θ converted from radians")
    if degrees[0] < 0.0 or degrees[-1] > 180.0:
        raise PatternError(
            "wrong_axis",
            f"{_where(pattern)}: 2θ from {degrees[0]:g} to {degrees[-1]:g}° was read, 0 to 180° is possible; "
            f"{_OPTIONS}",
        )
    return 4.0 * np.pi * np.sin(np.radians(degrees) / 2.0) / wavelength, wavelength, notes


def _axis(pattern: Pattern, wavelength: float, known: float | None) -> str:
    """What the abscissa is by the file, refused where that is doubtful."""
    if pattern.axis == "r" or pattern.unit in ("angstrom", "nm"):
        raise PatternError(
            "wrong_axis", f"{_where(pattern)}: the file holds a function of distances, a powder pattern is needed"
        )
    if pattern.axis == "q" or pattern.unit in ("1/angstrom", "1/nm"):
        return "q"
    label = str(pattern.metadata.get("x_label", ""))
    if re.search(r"(?<![a-z])rad", label, re.IGNORECASE):
        return "radians"
    if pattern.unit == "degree":
        return "degrees"
    last, spans = float(pattern.x[-1]), f"{pattern.x[0]:g} to {pattern.x[-1]:g}"
    if pattern.x[0] >= 0.0 and last <= np.pi:
        raise PatternError(
            "looks_like_radians",
            f"{_where(pattern)}: the abscissa runs from {spans}; in degrees that is no powder pattern, it looks like "
            f"2θ in radians (or Q); {_OPTIONS}",
        )
    reached = 4.0 * np.pi * np.sin(np.radians(min(last, 180.0)) / 2.0) / wavelength
    reachable = known is None or last <= 4.0 * np.pi / known
    if pattern.axis is None and reached < LEAST_Q and reachable:
        raise PatternError(
            "looks_like_q",
            f"{_where(pattern)}: the abscissa runs from {spans} and the file does not say what it is; as 2θ in degrees "
            f"at {wavelength:g} Å it would end at Q = {reached:.2g} 1/Å, so it looks like Q in 1/Å (or a shorter "
            f"wavelength); {_OPTIONS}",
        )
    return "degrees"


def _q_in_inverse_angstrom(pattern: Pattern, settings: MeasuredPowderSettings, notes: list[str]) -> NDArray[np.float64]:
    if pattern.x[0] < 0.0:
        raise PatternError("wrong_axis", f"{_where(pattern)}: Q begins at {pattern.x[0]:g}; it cannot be negative")
    if pattern.unit == "1/nm" and settings.axis == "auto":
        notes.append("Q converted from 1/nm to 1/Å")
        return pattern.x / 10.0
    if pattern.unit != "1/angstrom":
        notes.append("Q taken in 1/Å")
    return pattern.x


def _where(pattern: Pattern) -> str:
    return pattern.source or pattern.name

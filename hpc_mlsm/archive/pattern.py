"""The measured pattern as the rest of the package sees it."""

from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PatternError

Axis = Literal["r", "two_theta", "q"]
"""What the abscissa of a pattern is: distance, scattering angle, or momentum transfer."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """One measured curve, as the file gives it.

    Attributes
    ----------
    name : str
        File name without its suffix.
    x, y, uncertainty : float64 (n,)
        Abscissa (strictly ascending), signal, and standard uncertainty of the signal (None where not given).
    axis : {"r", "two_theta", "q"} or None
        None where the file does not say it; nothing is guessed.
    unit : str or None
        Unit of ``x``: "angstrom", "nm", "degree", "1/angstrom", "1/nm"; None where the file does not say it.
    metadata : dict
        What the header says, under these keys where present: q_min, q_max, q_max_inst, q_damp, q_broad (1/Å),
        r_min, r_max, r_step (unit of r), wavelength, wavelength_2 (Å; Kα1 and Kα2 where the file names lines),
        wavelength_ratio (intensity of Kα2 to Kα1), temperature (K), composition, radiation ("xray",
        "neutron"), program, x_label, y_label, y_unit ("1/angstrom^2" or "1/nm^2").
    source : str
        Path that the pattern was read from.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    axis: Axis | None = None
    unit: str | None = None
    uncertainty: NDArray[np.float64] | None = None
    metadata: dict[str, str | float] = field(default_factory=dict)
    source: str = ""

    def __len__(self) -> int:
        return len(self.x)

    def number(self, key: str) -> float | None:
        """The metadata value of ``key`` if it is a number, else None."""
        value = self.metadata.get(key)
        return value if isinstance(value, float) else None


@dataclass(frozen=True, slots=True)
class PatternReject:
    """A pattern that was refused: its name and path, a short stable code, and a sentence for people."""

    name: str
    source: str
    reason: str
    detail: str

    @classmethod
    def from_error(cls, name: str, source: str, error: PatternError) -> Self:
        """The row of a rejects table that an error becomes."""
        return cls(name, source, error.reason, error.detail)

"""What a refinement gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.conditions import PdfGrid

Values = dict[str, float]
"""Values of parameters by their keys, such as ``{"a": 3.524}``, or ``{"a:1": …, "a:2": …}`` with two phases."""


@dataclass(frozen=True, slots=True)
class FittedValue:
    """One parameter of a fit.

    Attributes
    ----------
    name
        scale, a, b, c, alpha, beta, gamma, u_iso or u_iso_Fe, delta1, delta2, diameter, q_damp.
    phase
        Number of the phase, from 1; 0 where there is only one, or the parameter is of the instrument.
    value, uncertainty, unit
        With the standard uncertainty; NaN where it is not defined, 0 for what symmetry fixes. The diameter of
        particles whose size limits nothing is infinite.
    at_bound
        Whether the value stopped at the end of its allowed range, so that it is no result.
    """

    name: str
    phase: int
    value: float
    uncertainty: float
    unit: str
    at_bound: bool = False

    @property
    def key(self) -> str:
        """Name, and phase where there are several."""
        return f"{self.name}:{self.phase}" if self.phase else self.name


@dataclass(frozen=True, eq=False)
class Refinement:
    """A refinement of one or two structures against one PDF.

    Attributes
    ----------
    structure_ids
        One for each phase.
    grid, measured, calculated
        Points of the fit (n,), the measurement and the fitted curve there, Å⁻².
    parameters
        All values, in the order of phases.
    r_w
        The root of the weighted sum of squared differences over that of the squared measurement.
    converged, reason
        Whether, and why, the search for the minimum ended.
    evaluations
        Curves that were computed with their derivatives.
    correlated
        Pairs of parameters, by their keys, with a correlation above 0.9 or below -0.9.
    notes
        What a reader must know: a structure that does not describe the data, values at bounds, undefined uncertainties.
    """

    structure_ids: tuple[str, ...]
    grid: PdfGrid
    measured: NDArray[np.float64]
    calculated: NDArray[np.float64]
    parameters: tuple[FittedValue, ...]
    r_w: float
    converged: bool
    reason: str
    evaluations: int
    correlated: tuple[tuple[str, str, float], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> NDArray[np.float64]:
        """Measured minus calculated, Å⁻²."""
        return np.asarray(self.measured - self.calculated)

    @property
    def values(self) -> Values:
        """Values by key: what another refinement may start from."""
        return {one.key: one.value for one in self.parameters}

    def __getitem__(self, key: str) -> FittedValue:
        """The parameter of that key."""
        return next(one for one in self.parameters if one.key == key)

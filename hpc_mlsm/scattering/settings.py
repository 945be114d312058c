"""What to simulate: ranges from which the variants of every structure are drawn."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

import numpy as np
from annotated_types import Ge, Gt, Interval, Lt
from pydantic import BeforeValidator

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import MAX_Q, MIN_U_ISO, PdfGrid

EngineName = Literal["native", "pdffit2", "diffpy"]


def _as_pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Range = Annotated[tuple[float, float], BeforeValidator(_as_pair)]
"""[lowest, highest] of a sampled parameter; in YAML a single number means that it is not varied."""


@dataclass(frozen=True)
class PdfSettings:
    """Simulation of PDFs.

    Attributes
    ----------
    kind
        Tells these settings from those of other patterns.
    grid
        Output grid, Å.
    variants
        Patterns per structure.
    strain
        Each free cell length is scaled by a factor in [1 - strain, 1 + strain].
    u_iso
        Isotropic displacement parameter of all atoms, Å².
    delta1, delta2
        Correlated-motion terms, Å and Å².
    q_min, q_max, q_damp, q_broad
        Momentum-transfer range and resolution, Å⁻¹.
    diameter
        Diameter of spherical particles, Å; 0 means that size does not limit the pattern. A range is sampled evenly in
        1/diameter, with which the envelope falls at small r; [0, D] is from no limit down to D.
    base_u_iso
        Displacement of the unstrained base pattern, on which structures are grouped; other parameters of the base
        pattern are the middles of their ranges and no size limit.
    seed
        Joined with the structure id to seed each structure's own sampling.
    engine
        Who computes; pdffit2 has no q_min and accepts only 0.
    """

    kind: Literal["pdf"] = "pdf"
    grid: PdfGrid = field(default_factory=PdfGrid)
    variants: Annotated[int, Ge(1), Lt(100_000)] = 100
    strain: Annotated[float, Interval(ge=0, lt=0.5)] = 0.04
    u_iso: Range = (0.005, 0.025)
    delta1: Range = (0.0, 0.0)
    delta2: Range = (0.0, 0.0)
    q_min: Range = (0.5, 0.5)
    q_max: Range = (25.0, 25.0)
    q_damp: Range = (0.0, 0.0)
    q_broad: Range = (0.0, 0.0)
    diameter: Range = (0.0, 0.0)
    base_u_iso: Annotated[float, Gt(0)] = 0.01
    seed: int = 0
    engine: EngineName = "native"

    def __post_init__(self) -> None:
        for name in (*SAMPLED_CONDITIONS, "u_iso"):
            limits = getattr(self, name)
            if not (isinstance(limits, tuple | list) and len(limits) == 2 and 0 <= limits[0] <= limits[1] < np.inf):
                raise ConfigError(f"{name} = {limits} must be two numbers, 0 ≤ lowest ≤ highest")
        if min(self.u_iso[0], self.base_u_iso) < MIN_U_ISO:
            raise ConfigError(
                f"u_iso = {list(self.u_iso)} and base_u_iso = {self.base_u_iso} must be at least {MIN_U_ISO:g} Å²"
            )
        if self.q_max[0] <= self.q_min[1] or self.q_max[1] > MAX_Q:
            raise ConfigError(
                f"q_max = {list(self.q_max)} must lie above q_min = {list(self.q_min)} and not above {MAX_Q:g} Å⁻¹"
            )
        if not (0 <= self.strain < 0.5 and 1 <= self.variants < 100_000):
            raise ConfigError(f"strain = {self.strain} must be in [0, 0.5), variants = {self.variants} in [1, 100000)")
        if self.engine not in get_args(EngineName):
            raise ConfigError(f"engine = {self.engine!r} must be one of {', '.join(get_args(EngineName))}")
        if self.engine == "pdffit2" and self.q_min[1] > 0:
            raise ConfigError(f"the engine pdffit2 has no q_min, found {list(self.q_min)}; set q_min to 0")


SAMPLED_CONDITIONS = ("delta1", "delta2", "q_min", "q_max", "q_damp", "q_broad", "diameter")
"""Parameters, besides strain and u_iso, that vary where their range is not a single value."""

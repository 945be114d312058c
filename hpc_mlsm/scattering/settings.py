"""What to simulate: ranges from which the variants of every structure are drawn."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Lt
from pydantic import BeforeValidator

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import PdfGrid

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
        1/diameter, to which the envelope is proportional at small r.
    base_u_iso
        Displacement of the unstrained base pattern, on which structures are grouped; other parameters of the base
        pattern are the middles of their ranges and no size limit.
    seed
        Joined with the structure id to seed each structure's own sampling.
    """

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
            low, high = getattr(self, name)
            if low < 0 or high < low:
                raise ConfigError(f"{name} = [{low}, {high}] must be two numbers, 0 ≤ lowest ≤ highest")
        if self.u_iso[0] <= 0:
            raise ConfigError(f"u_iso = {list(self.u_iso)} Å² must be above zero")
        if self.q_max[0] <= self.q_min[1]:
            raise ConfigError(f"q_max = {list(self.q_max)} must lie above q_min = {list(self.q_min)}")


SAMPLED_CONDITIONS = ("delta1", "delta2", "q_min", "q_max", "q_damp", "q_broad", "diameter")
"""Parameters, besides strain and u_iso, that vary where their range is not a single value."""

"""What is refined, over which range, and how long."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Le

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.refinement.budget import BudgetSettings
from hpc_mlsm.scattering.conditions import MAX_Q, MAX_R


@dataclass(frozen=True)
class RefineSettings:
    """Real-space refinement of structures against one PDF. Scale and cell are always refined.

    Attributes
    ----------
    r_min, r_max
        Range of the fit, Å; it ends earlier where the data do.
    r_step
        Spacing of the points, Å; None takes π/q_max (Nyquist), finer than which the data hold nothing.
    q_min, q_max
        Range of the measurement, Å⁻¹; None takes what the data's header says, or else 0 and 25.
    q_damp, q_broad
        Resolution of the instrument, Å⁻¹, mostly known from a standard; q_damp is where its refinement starts.
    refine_q_damp
        Whether q_damp is refined; for a standard, not for small particles, from whose size it cannot be told.
    displacement
        One U_iso for all atoms, or one for each element.
    correlated_motion
        Which sharpening of near peaks is refined.
    size
        Whether the diameter of spherical particles is refined.
    max_strain
        How far cell lengths may go from those of the structure.
    search
        Whether other starting values are tried where the structure's own lead to no good fit.
    max_evaluations
        Curves computed at most from one start.
    """

    r_min: Annotated[float, Ge(0), Le(MAX_R)] = 1.5
    r_max: Annotated[float, Gt(0), Le(MAX_R)] = 30.0
    r_step: Annotated[float, Gt(0)] | None = None
    q_min: Annotated[float, Ge(0)] | None = None
    q_max: Annotated[float, Gt(0), Le(MAX_Q)] | None = None
    q_damp: Annotated[float, Interval(ge=0, le=0.2)] = 0.0
    q_broad: Annotated[float, Interval(ge=0, le=0.2)] = 0.0
    refine_q_damp: bool = True
    displacement: Literal["one", "element"] = "one"
    correlated_motion: Literal["none", "delta1", "delta2"] = "delta2"
    size: bool = False
    max_strain: Annotated[float, Interval(gt=0, le=0.2)] = 0.06
    search: bool = True
    max_evaluations: Annotated[int, Ge(1), Le(10_000)] = 60

    def __post_init__(self) -> None:
        if self.r_max <= self.r_min:
            raise ConfigError(f"r_max = {self.r_max} Å must be larger than r_min = {self.r_min} Å")
        if self.q_max is not None and self.q_min is not None and self.q_max <= self.q_min:
            raise ConfigError(f"q_max = {self.q_max} Å⁻¹ must be larger than q_min = {self.q_min} Å⁻¹")


@dataclass(frozen=True)
class SeriesSettings:
    """Refinement of a series of frames: the fits, and how many of them."""

    fit: RefineSettings = field(default_factory=RefineSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)

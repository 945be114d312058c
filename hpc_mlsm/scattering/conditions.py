"""What a pattern is computed for: the grid, and the sample and instrument of each variant."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.structures.structure import Structure

MAX_R = 200.0
"""Largest r_max, Å; neighbours, and with them memory, grow with its cube."""

MAX_Q = 100.0
"""Largest q_max, Å⁻¹; no instrument reaches further."""

MIN_U_ISO = 1e-5
"""Smallest displacement parameter, Å²; zero-point motion alone is a hundred times more."""

MAX_GRID_POINTS = 20_001


@dataclass(frozen=True, slots=True)
class PdfGrid:
    """Equidistant r grid, Å: r_min, r_min + r_step, … up to r_max, both ends included."""

    r_min: Annotated[float, Ge(0)] = 0.0
    r_max: Annotated[float, Gt(0), Le(MAX_R)] = 30.0
    r_step: Annotated[float, Gt(0)] = 0.1

    def __post_init__(self) -> None:
        found = f"r_min = {self.r_min}, r_max = {self.r_max}, r_step = {self.r_step} Å"
        if not np.isfinite([self.r_min, self.r_max, self.r_step]).all() or self.r_min < 0 or self.r_step <= 0:
            raise ConfigError(f"{found}: all must be finite, r_min not negative, r_step above zero")
        if self.r_max <= self.r_min:
            raise ConfigError(f"r_max = {self.r_max} Å must be larger than r_min = {self.r_min} Å")
        if self.r_max > MAX_R:
            raise ConfigError(f"r_max = {self.r_max} Å is more than the {MAX_R:g} Å that can be computed")
        if (self.r_max - self.r_min) / self.r_step > MAX_GRID_POINTS - 1 + 1e-6:
            raise ConfigError(f"{found} gives more than {MAX_GRID_POINTS} points; take a larger step")

    @property
    def r(self) -> NDArray[np.float64]:
        """The grid points, Å."""
        return np.asarray(self.r_min + self.r_step * np.arange(len(self)))

    def __len__(self) -> int:
        return int(np.floor((self.r_max - self.r_min) / self.r_step + 1e-6)) + 1


@dataclass(frozen=True)
class PdfConditions:
    """Displacements, resolution and termination of V variants; each field an array of shape (V,).

    u_iso (Å²), correlated-motion terms delta1 (Å) and delta2 (Å²), resolution broadening q_broad (Å⁻¹) and damping
    q_damp (Å⁻¹), momentum-transfer range q_min to q_max (Å⁻¹), diameter of a spherical particle (Å; 0: no limit).
    """

    u_iso: NDArray[np.float64]
    delta1: NDArray[np.float64]
    delta2: NDArray[np.float64]
    q_broad: NDArray[np.float64]
    q_damp: NDArray[np.float64]
    q_min: NDArray[np.float64]
    q_max: NDArray[np.float64]
    diameter: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {field.name: np.shape(getattr(self, field.name)) for field in fields(self)}
        if len(set(shapes.values())) > 1 or len(shapes["u_iso"]) != 1:
            raise ConfigError(f"conditions must be arrays of one length, found shapes {shapes}")
        if not len(self):
            raise ConfigError("conditions of no variants: at least one is needed")
        values = np.array([getattr(self, name) for name in shapes])
        for name, low, high in zip(shapes, values.min(axis=1), values.max(axis=1), strict=True):
            # A NaN makes both comparisons false.
            if not (low >= 0 and high < np.inf):
                raise ConfigError(f"{name} must be finite and not negative, found {low} to {high}")
        if self.u_iso.min() < MIN_U_ISO:
            raise ConfigError(f"u_iso must be at least {MIN_U_ISO:g} Å², the smallest is {self.u_iso.min()} Å²")
        if np.any(self.q_max <= self.q_min):
            raise ConfigError("q_max must be larger than q_min in every variant")
        if self.q_max.max() > MAX_Q:
            raise ConfigError(f"q_max must be at most {MAX_Q:g} Å⁻¹, found {self.q_max.max()} Å⁻¹")

    @classmethod
    def uniform(
        cls,
        n: int = 1,
        *,
        u_iso: float = 0.005,
        delta1: float = 0.0,
        delta2: float = 0.0,
        q_broad: float = 0.0,
        q_damp: float = 0.0,
        q_min: float = 0.0,
        q_max: float = 25.0,
        diameter: float = 0.0,
    ) -> Self:
        """n variants under the same conditions."""
        values = (u_iso, delta1, delta2, q_broad, q_damp, q_min, q_max, diameter)
        return cls(*(np.full(n, value, dtype=float) for value in values))

    def take(self, rows: NDArray[np.int64] | slice) -> Self:
        """Some of the variants."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def followed_by(self, other: Self) -> Self:
        """These variants and then others."""
        joined = {f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)}
        return replace(self, **joined)

    def __len__(self) -> int:
        return len(self.u_iso)


Engine = Callable[[Structure, NDArray[np.float64], PdfConditions, PdfGrid], NDArray[np.float64]]
"""(structure, factors on a, b, c of shape (V, 3), conditions of V variants, grid) → G of shape (V, len(grid)), Å⁻²."""

"""What a powder pattern is computed for: the 2θ grid, the radiation, and sample and instrument of each variant."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError

MAX_GRID_POINTS = 50_001


@dataclass(frozen=True, slots=True)
class TwoThetaGrid:
    """Equidistant 2θ grid, degree: two_theta_min, … up to two_theta_max, both ends included."""

    two_theta_min: Annotated[float, Ge(0)] = 0.0
    two_theta_max: Annotated[float, Gt(0), Lt(180)] = 90.0
    two_theta_step: Annotated[float, Gt(0)] = 0.02

    def __post_init__(self) -> None:
        low, high, step = self.two_theta_min, self.two_theta_max, self.two_theta_step
        found = f"two_theta_min = {low}, two_theta_max = {high}, two_theta_step = {step} degrees"
        if not np.isfinite([low, high, step]).all() or low < 0 or step <= 0 or high >= 180:
            raise ConfigError(f"{found}: needed are 0 ≤ two_theta_min, two_theta_max < 180 and a step above zero")
        if high <= low:
            raise ConfigError(f"two_theta_max = {high} must be larger than two_theta_min = {low} degrees")
        if (high - low) / step > MAX_GRID_POINTS - 1 + 1e-6:
            raise ConfigError(f"{found} gives more than {MAX_GRID_POINTS} points; take a larger step")

    @property
    def two_theta(self) -> NDArray[np.float64]:
        """The grid points, degree."""
        return np.asarray(self.two_theta_min + self.two_theta_step * np.arange(len(self)))

    def __len__(self) -> int:
        return int(np.floor((self.two_theta_max - self.two_theta_min) / self.two_theta_step + 1e-6)) + 1


@dataclass(frozen=True, slots=True)
class Radiation:
    """Wavelengths (Å), the share of each in the beam, and the 2θ of a monochromator crystal (degree, 0: none).

    Shares are relative to their sum.
    """

    wavelengths: tuple[Annotated[float, Gt(0)], ...] = (1.54056,)
    shares: tuple[Annotated[float, Gt(0)], ...] = (1.0,)
    monochromator: Annotated[float, Ge(0), Lt(180)] = 0.0

    def __post_init__(self) -> None:
        wrong = [value for value in self.wavelengths if not 0.05 <= value <= 10.0]
        if wrong or not self.wavelengths:
            raise ConfigError(
                f"wavelengths = {list(self.wavelengths)} Å: each must be between 0.05 and 10 Å; Cu Kα1 is 1.54056 Å"
            )
        if len(self.shares) != len(self.wavelengths) or not all(0 < share < np.inf for share in self.shares):
            raise ConfigError(
                f"shares = {list(self.shares)} must be one number above zero for each of the "
                f"{len(self.wavelengths)} wavelengths"
            )
        if not 0 <= self.monochromator < 180:
            raise ConfigError(f"monochromator = {self.monochromator} must be a 2θ from 0 to below 180 degrees")

    @property
    def fractions(self) -> NDArray[np.float64]:
        """Shares that add up to 1."""
        return np.asarray(self.shares, dtype=float) / sum(self.shares)


@dataclass(frozen=True)
class PowderConditions:
    """Sample and instrument of V variants; each field an array of shape (V,).

    Widths: Caglioti terms (degree²), crystallite ``size`` (Å; 0: no limit) and ``microstrain``; ``exponent`` of the
    Pearson VII profile. Sample: ``u_change`` (Å²) added to every displacement parameter, March's ``march`` factor (1:
    no texture) about axis number ``march_axis``. Instrument (degree): ``zero_shift``, and ``sample_shift`` of a
    displaced sample at 2θ = 0. Disturbances as shares of the largest peak: mean ``background`` and Chebyshev terms
    ``slope``, ``bend`` and ``twist`` relative to it, an amorphous ``hump`` with centre and full width (degree), the
    strongest of ``impurity_lines`` lines of an ``impurity``; ``counts`` in the highest point (0: no noise).
    """

    caglioti_u: NDArray[np.float64]
    caglioti_v: NDArray[np.float64]
    caglioti_w: NDArray[np.float64]
    size: NDArray[np.float64]
    microstrain: NDArray[np.float64]
    exponent: NDArray[np.float64]
    u_change: NDArray[np.float64]
    march: NDArray[np.float64]
    march_axis: NDArray[np.float64]
    zero_shift: NDArray[np.float64]
    sample_shift: NDArray[np.float64]
    background: NDArray[np.float64]
    slope: NDArray[np.float64]
    bend: NDArray[np.float64]
    twist: NDArray[np.float64]
    hump: NDArray[np.float64]
    hump_centre: NDArray[np.float64]
    hump_width: NDArray[np.float64]
    impurity: NDArray[np.float64]
    impurity_lines: NDArray[np.float64]
    counts: NDArray[np.float64]

    def __post_init__(self) -> None:
        names = [item.name for item in fields(self)]
        shapes = {np.shape(getattr(self, name)) for name in names}
        if len(shapes) > 1 or np.ndim(self.size) != 1 or not len(self):
            raise ConfigError(f"conditions must be arrays of one length, at least 1; found shapes {sorted(shapes)}")
        values = np.array([getattr(self, name) for name in names])
        for name, low, high in zip(names, values.min(axis=1), values.max(axis=1), strict=True):
            # A NaN makes every comparison false.
            if not -np.inf < low <= high < np.inf or (low < 0 and name not in _SIGNED):
                raise ConfigError(f"{name} must be finite, and not negative where that has no sense: {low} to {high}")
        if self.exponent.min() < 1 or self.march.min() <= 0:
            raise ConfigError(
                f"exponent must be at least 1 (found {self.exponent.min()}) and march above 0 ({self.march.min()})"
            )

    @classmethod
    def uniform(cls, n: int = 1, **given: float) -> Self:
        """n variants under the same conditions; what is not given has no effect, save a width of 0.1 degrees."""
        values = dict.fromkeys((item.name for item in fields(cls)), 0.0)
        values |= {"caglioti_w": 0.01, "exponent": 1.5, "march": 1.0, "hump_width": 10.0} | given
        return cls(**{name: np.full(n, value, dtype=float) for name, value in values.items()})

    def followed_by(self, other: Self) -> Self:
        """These variants and then others."""
        joined = {f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)}
        return replace(self, **joined)

    def __len__(self) -> int:
        return len(self.size)


_SIGNED = frozenset({"caglioti_u", "caglioti_v", "u_change", "zero_shift", "sample_shift", "slope", "bend", "twist"})

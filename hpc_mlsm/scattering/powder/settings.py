"""What powder patterns to simulate: radiation and grid, and ranges from which the variants of a structure are drawn."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval, Lt

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.powder.conditions import Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.form_factors import MAX_S
from hpc_mlsm.scattering.settings import Range

SAMPLED = (
    "caglioti_u",
    "caglioti_v",
    "caglioti_w",
    "size",
    "microstrain",
    "exponent",
    "u_change",
    "march",
    "zero_shift",
    "sample_shift",
    "background",
    "slope",
    "bend",
    "twist",
    "hump",
    "hump_centre",
    "hump_width",
    "impurity",
    "impurity_lines",
    "counts",
)
"""Parameters, besides the cell lengths, that vary where their range is not a single value."""

_ANY_SIGN = frozenset({"caglioti_u", "caglioti_v", "u_change", "zero_shift", "sample_shift", "slope", "bend", "twist"})
_NARROWEST = 1.5


@dataclass(frozen=True)
class PowderSettings:
    """Simulation of X-ray powder patterns; without further settings, undisturbed ones as in CrystalMELA.

    Attributes
    ----------
    kind
        Tells these settings from those of other patterns.
    grid
        2θ grid, degree.
    radiation
        Wavelengths (Å), their shares, and the 2θ of a monochromator.
    variants
        Patterns per structure.
    strain
        Each free cell length is scaled by a factor in [1 - strain, 1 + strain].
    u_iso
        Displacement parameter of sites for which the structure gives none, Å².
    u_change
        Added to all displacement parameters, Å².
    dispersion
        Whether to add f′ and f″ at the first wavelength.
    caglioti_u, caglioti_v, caglioti_w
        FWHM² = U tan² θ + V tan θ + W, degree²; W is sampled evenly in its square root, the width.
    size
        Crystallite size, Å; 0 means that size does not broaden. Sampled evenly in 1/size; [0, D] is from no limit down
        to D.
    microstrain
        Adds 4 ε tan θ to the width; a number such as 0.001.
    exponent
        Of the Pearson VII profile: 1 is Lorentzian, beyond 20 Gaussian.
    march, march_axes
        March's factor, sampled evenly in its logarithm, and the plane normals of which each variant draws one.
    zero_shift, sample_shift
        Shift of all lines, and shift by a displaced sample at 2θ = 0, which falls with cos θ; degree.
    background
        Mean of the background as a share of the largest peak.
    slope, bend, twist
        First to third Chebyshev terms of the background, relative to its mean; it is cut off at 0.
    hump, hump_centre, hump_width
        Height of an amorphous hump as a share of the largest peak, its centre and full width at half maximum, degree.
    impurity, impurity_lines
        Lines of an unknown second phase: height of the strongest as a share of the largest peak, and how many there
        are, rounded. They lie at random 2θ and are as wide as the sample's own would be there.
    counts
        Counts in the highest point, sampled evenly in the logarithm; 0 is a pattern without noise.
    largest
        Intensity that the highest point of every pattern is scaled to; 0 leaves patterns absolute, in electrons² Å⁻⁶
        per degree, which excludes background, impurities and noise.
    seed
        Joined with the structure id to seed each structure's own sampling.
    """

    kind: Literal["powder"] = "powder"
    grid: TwoThetaGrid = field(default_factory=TwoThetaGrid)
    radiation: Radiation = field(default_factory=Radiation)
    variants: Annotated[int, Ge(1), Lt(100_000)] = 1
    strain: Annotated[float, Interval(ge=0, lt=0.5)] = 0.0
    u_iso: Annotated[float, Interval(ge=0, lt=1)] = 0.0127
    u_change: Range = (0.0, 0.0)
    dispersion: bool = False
    caglioti_u: Range = (0.0, 0.0)
    caglioti_v: Range = (0.0, 0.0)
    caglioti_w: Range = (0.01, 0.01)
    size: Range = (0.0, 0.0)
    microstrain: Range = (0.0, 0.0)
    exponent: Range = (1.5, 1.5)
    march: Range = (1.0, 1.0)
    march_axes: tuple[tuple[int, int, int], ...] = ((0, 0, 1),)
    zero_shift: Range = (0.0, 0.0)
    sample_shift: Range = (0.0, 0.0)
    background: Range = (0.0, 0.0)
    slope: Range = (0.0, 0.0)
    bend: Range = (0.0, 0.0)
    twist: Range = (0.0, 0.0)
    hump: Range = (0.0, 0.0)
    hump_centre: Range = (20.0, 20.0)
    hump_width: Range = (10.0, 10.0)
    impurity: Range = (0.0, 0.0)
    impurity_lines: Range = (3.0, 3.0)
    counts: Range = (0.0, 0.0)
    largest: Annotated[float, Ge(0)] = 1000.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in SAMPLED:
            _check_range(name, getattr(self, name))
        if not (0 <= self.strain < 0.5 and 1 <= self.variants < 100_000 and 0 <= self.u_iso < 1):
            raise ConfigError(
                f"strain = {self.strain} must be in [0, 0.5), variants = {self.variants} in [1, 100000), "
                f"u_iso = {self.u_iso} Å² in [0, 1)"
            )
        if self.exponent[0] < 1 or self.exponent[1] > 100:
            raise ConfigError(f"exponent = {list(self.exponent)} must lie between 1 (Lorentzian) and 100 (Gaussian)")
        if self.march[0] < 0.1 or self.march[1] > 10:
            raise ConfigError(f"march = {list(self.march)} must lie between 0.1 and 10; 1 is without texture")
        if not self.march_axes or not all(any(axis) for axis in self.march_axes):
            raise ConfigError(f"march_axes = {self.march_axes} needs at least one (h, k, l), none of them 0, 0, 0")
        if self.hump_width[0] <= 0:
            raise ConfigError(f"hump_width = {list(self.hump_width)} must be above 0 degrees")
        if 0 in self.counts and self.counts[1] > 0:
            raise ConfigError(f"counts = {list(self.counts)} must be above 0, or [0, 0] for patterns without noise")
        if not np.isfinite(self.largest) or (self.largest <= 0 and self._disturbed):
            raise ConfigError(f"largest = {self.largest} must be above 0 where there is background, impurity or noise")
        self._check_reach()
        self._check_widths()

    @property
    def d_min(self) -> float:
        """Smallest lattice spacing (Å) with a line on the grid."""
        return float(min(self.radiation.wavelengths) / (2 * np.sin(np.radians(self.grid.two_theta_max / 2))))

    @property
    def _disturbed(self) -> bool:
        return max(self.background[1], self.hump[1], self.impurity[1], self.counts[1]) > 0

    def _check_reach(self) -> None:
        s_max = 1 / (2 * self.d_min)
        if s_max > MAX_S:
            raise ConfigError(
                f"radiation: {min(self.radiation.wavelengths)} Å up to 2θ = {self.grid.two_theta_max} degrees reaches "
                f"sin θ/λ = {s_max:.2f} Å⁻¹; scattering factors are known up to {MAX_S:g} Å⁻¹: lower two_theta_max"
            )

    def _check_widths(self) -> None:
        tangent = np.tan(np.radians(self.grid.two_theta / 2))
        narrowest = (self.caglioti_u[0] * tangent + self.caglioti_v[0]) * tangent + self.caglioti_w[0]
        least = np.sqrt(max(float(narrowest.min()), 0.0))
        if least < _NARROWEST * self.grid.two_theta_step:
            raise ConfigError(
                f"caglioti_w = {list(self.caglioti_w)} with U and V gives peaks {least:.3g} degrees wide, which a step "
                f"of {self.grid.two_theta_step} degrees cannot show; at least {_NARROWEST:g} steps are needed"
            )


def _check_range(name: str, limits: tuple[float, float]) -> None:
    if not (isinstance(limits, tuple | list) and len(limits) == 2 and -np.inf < limits[0] <= limits[1] < np.inf):
        raise ConfigError(f"{name} = {limits} must be two numbers, lowest ≤ highest")
    if limits[0] < 0 and name not in _ANY_SIGN:
        raise ConfigError(f"{name} = {list(limits)} must not be negative")

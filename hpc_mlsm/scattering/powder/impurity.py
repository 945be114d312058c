"""Lines of an unknown second phase, so that models learn that a stray peak does not change the crystal system."""

import math

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.powder.conditions import PowderConditions, Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.profile import TAIL, add_peak, squared_width

WEAKEST = 0.2
"""Lines are between this share of the strongest and the strongest."""


def add_impurity(
    pattern: NDArray[np.float32],
    conditions: PowderConditions,
    v: int,
    radiation: Radiation,
    grid: TwoThetaGrid,
    generator: np.random.Generator,
) -> None:
    """Add the lines of variant v's impurity in place to a pattern (n,) whose largest peak is 1.

    Lines lie at random 2θ and have the profile of the sample's own. Heights are those of all wavelengths together.
    """
    count = round(float(conditions.impurity_lines[v]))
    two_theta = generator.uniform(grid.two_theta_min, grid.two_theta_max, count)
    heights = generator.uniform(WEAKEST, 1.0, count)
    if not count or conditions.impurity[v] <= 0:
        return
    heights *= conditions.impurity[v] / heights.max()
    exponent = float(conditions.exponent[v])
    steepness = 4 * (2 ** (1 / exponent) - 1)
    reach = math.sqrt((TAIL ** (-1 / exponent) - 1) / steepness)
    names = ("caglioti_u", "caglioti_v", "caglioti_w", "size", "microstrain")
    widths = [float(getattr(conditions, name)[v]) for name in names]
    first = radiation.wavelengths[0]
    for centre, height in zip(two_theta, heights, strict=True):
        sine = math.sin(math.radians(centre / 2))
        for wavelength, fraction in zip(radiation.wavelengths, radiation.fractions, strict=True):
            if sine * wavelength / first < 1:
                theta = math.asin(sine * wavelength / first)
                width = math.sqrt(squared_width(theta, wavelength, *widths)) / grid.two_theta_step
                place = (2 * math.degrees(theta) - grid.two_theta_min) / grid.two_theta_step
                add_peak(pattern, place, width, height * fraction, steepness, exponent, reach)

"""What a measurement adds: impurities, background, an amorphous hump, counting noise; and the scale of the whole."""

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.powder.conditions import PowderConditions, Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.impurity import add_impurity

NORMAL_FROM = 10.0
"""From this many counts on, a normal distribution stands for Poisson's, at a quarter of its cost; a quadratic term
gives it the same skewness (Cornish and Fisher)."""


def disturb(
    patterns: NDArray[np.float32],
    conditions: PowderConditions,
    grid: TwoThetaGrid,
    radiation: Radiation,
    *,
    largest: float,
    structure_id: str,
    seed: int,
) -> NDArray[np.float32]:
    """Patterns (V, n) with impurities, background and noise, in place, the highest point of each being ``largest``.

    Variant number v of a structure always gets the same lines of an impurity and the same noise, whatever else is
    simulated before or with it. With ``largest`` 0 the patterns stay as they are.
    """
    if largest == 0:
        return patterns
    noise, impurity = (_words(f"{what}:{seed}:{structure_id}") for what in ("noise", "impurity"))
    plain = (conditions.background == 0) & (conditions.hump == 0)
    for v in range(len(patterns)):
        pattern = patterns[v]
        highest = pattern.max()
        if highest > 0:
            pattern /= highest
        if conditions.impurity[v] > 0:
            add_impurity(pattern, conditions, v, radiation, grid, np.random.default_rng([*impurity, v]))
        if not plain[v]:
            pattern += background(grid, conditions, v)
        if conditions.counts[v] > 0:
            scale = conditions.counts[v] / pattern.max()
            generator = np.random.default_rng([*noise, v])
            pattern[:] = _counted(pattern * np.float32(scale), generator)
        pattern *= np.float32(largest) / pattern.max()
    return patterns


def background(grid: TwoThetaGrid, conditions: PowderConditions, v: int) -> NDArray[np.float32]:
    """Background and hump of variant v on the grid, relative to the largest peak, nowhere negative."""
    two_theta, x = _axes(grid)
    slope, bend, twist = (np.float32(getattr(conditions, name)[v]) for name in ("slope", "bend", "twist"))
    shape = 1 - bend + x * (slope - 3 * twist + x * (2 * bend + x * (4 * twist)))
    total = np.maximum(np.float32(conditions.background[v]) * shape, np.float32(0))
    if conditions.hump[v] > 0:
        distance = (two_theta - np.float32(conditions.hump_centre[v])) / np.float32(conditions.hump_width[v])
        total += np.float32(conditions.hump[v]) * np.exp2(-4 * distance * distance)
    return np.asarray(total, dtype=np.float32)


def _words(text: str) -> list[int]:
    return list(np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype=np.uint32).tolist())


@lru_cache(maxsize=4)
def _axes(grid: TwoThetaGrid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """2θ in degrees, and from -1 to 1."""
    return grid.two_theta.astype(np.float32), np.linspace(-1, 1, len(grid), dtype=np.float32)


def _counted(expected: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Counts with the given expectations."""
    normal = generator.standard_normal(len(expected), dtype=np.float32)
    counts = expected + normal * (np.sqrt(expected) + normal * np.float32(1 / 6)) - np.float32(1 / 6)
    few = np.flatnonzero(expected < NORMAL_FROM)
    if len(few):
        counts[few] = generator.poisson(expected[few])
    return np.asarray(np.maximum(counts, np.float32(0)))

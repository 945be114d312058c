"""Other starting values, for structures whose own cell leads to no good fit."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.refinement.minimum import Minimum, Misfit, find_minimum, inside
from hpc_mlsm.refinement.model import Model
from hpc_mlsm.scattering.latin_hypercube import latin_hypercube

POINTS = 96
TRIES = 4

GROWING = (8.0, 16.0)
"""Å beyond the beginning, to which the first fits from a start go.

A strain moves far peaks more than near ones: near ones overlap with what they are to become already when far ones lie
on the neighbours of theirs.
"""

LEAST_POINTS = 3
"""Points a parameter that such a shorter range must have."""

_LIKELY = 0.3
"""Part of their range in which correlated motion, size and damping start: little of each is the likelier."""

_OBLIQUE = 0.25
"""Part of their range in which angles start: they change less than lengths."""


def searched(model: Model, misfit: Misfit, start: NDArray[np.float64], most: int, enough: float) -> Iterator[Minimum]:
    """Minima found over a growing range, from the given start and then from points of a Latin hypercube.

    Ends with the first r_w below ``enough``. The points are always the same, so that a fit does not depend on when or
    where it is done.
    """
    for begin in _starts(model, misfit, start):
        found = _over_growing_range(model, misfit, begin, most)
        yield found
        if found.r_w < enough:
            return


def _over_growing_range(model: Model, misfit: Misfit, x: NDArray[np.float64], most: int) -> Minimum:
    r = model.phases[0].grid.r
    for length in GROWING:
        near = r < r[0] + length
        if near.all() or near.sum() < LEAST_POINTS * len(x):
            continue
        x = find_minimum(misfit.within(near), inside(model, x), most).x
    return find_minimum(misfit, inside(model, x), most)


def _starts(model: Model, misfit: Misfit, start: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    yield start
    unit = latin_hypercube(np.random.default_rng(0), POINTS, len(model.lowest))
    lowest, highest = _likely_range(model)
    points = lowest + unit * (highest - lowest)
    misfits = np.array([misfit.curve_only(point) for point in points])
    for index in np.argsort(misfits, kind="stable")[: TRIES - 1]:
        yield points[index]


def _likely_range(model: Model) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where parameters are likely, within their bounds."""
    lowest, highest = model.lowest.copy(), model.highest.copy()
    for part, phase in zip(model.parts, model.phases, strict=True):
        for k, one in enumerate(phase.cell.basis):
            if not np.diag(one).any():
                lowest[part.start + k] *= _OBLIQUE
                highest[part.start + k] *= _OBLIQUE
        others = slice(part.start + phase.n_cell + len(phase.elements), part.stop)
        highest[part.start + phase.n_cell : others.start] *= 2 * _LIKELY
        highest[others] *= _LIKELY
    if model.refines_q_damp:
        highest[-1] *= _LIKELY
    return lowest, highest

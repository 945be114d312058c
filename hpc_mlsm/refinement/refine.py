"""Real-space refinement: one or two structures against one PDF."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError, PatternError
from hpc_mlsm.refinement.minimum import Minimum, Misfit, covariance, find_minimum, inside
from hpc_mlsm.refinement.model import Model
from hpc_mlsm.refinement.phase import Phase, Reported
from hpc_mlsm.refinement.result import FittedValue, Refinement, Values
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.refinement.starts import searched
from hpc_mlsm.scattering.conditions import PdfGrid
from hpc_mlsm.structures.structure import Structure

GOOD_ENOUGH = 0.15
"""An r_w below which no other start is tried."""

HARDLY = 0.6
"""An r_w from which on a structure hardly describes the data."""

CORRELATED = 0.9
MOST_PHASES = 4


@dataclass(frozen=True, eq=False)
class FitData:
    """A measured G(r) on the points of a fit.

    Attributes
    ----------
    grid
        Points, Å; see ``fit_grid``.
    values
        G(r), shape (n,), in any scale.
    q_min, q_max
        Range of the measurement, Å⁻¹.
    uncertainty
        Standard uncertainty of each value, which weights it; None weights all alike.
    name
        For messages.
    """

    grid: PdfGrid
    values: NDArray[np.float64]
    q_min: float = 0.0
    q_max: float = 25.0
    uncertainty: NDArray[np.float64] | None = None
    name: str = "the pattern"


def fit_grid(first: float, last: float, q_max: float, settings: RefineSettings) -> PdfGrid:
    """Points of the fit for data from ``first`` to ``last`` (Å).

    Raises
    ------
    PatternError
        "empty_range" where the data have nothing in the range of the fit.
    """
    step = settings.r_step or float(np.pi / q_max)
    low, high = max(settings.r_min, first), min(settings.r_max, last)
    if high - low < step:
        raise PatternError(
            "empty_range",
            f"the data go from {first:g} to {last:g} Å and the fit from {settings.r_min:g} to {settings.r_max:g} Å, "
            "which have no range in common; set refine.fit.r_min and refine.fit.r_max to a range that the data cover",
        )
    return PdfGrid(low, high, step)


def refine(
    structures: Sequence[Structure], data: FitData, settings: RefineSettings, start: Values | None = None
) -> Refinement:
    """Refine structures against a PDF.

    Parameters
    ----------
    structures : sequence of Structure
        The phases that make up the sample together.
    data : FitData
    settings : RefineSettings
    start : dict, optional
        Values to start from, such as ``values`` of the refinement of a neighbouring pattern; then no other start is
        tried.

    Raises
    ------
    PatternError
        If the data are not finite, zero throughout, or fewer than the parameters.
    ConfigError
        If there is no structure, or more than four.
    """
    return Refiner(structures, data.grid, (data.q_min, data.q_max), settings).fit(data, start)


class Refiner:
    """Structures made ready, once, for refinement against many PDFs on one grid."""

    def __init__(
        self,
        structures: Sequence[Structure],
        grid: PdfGrid,
        q_range: tuple[float, float],
        settings: RefineSettings,
    ) -> None:
        if not 1 <= len(structures) <= MOST_PHASES:
            raise ConfigError(f"{len(structures)} phases were given; a refinement takes 1 to {MOST_PHASES}")
        self.settings = settings
        self.model = Model(tuple(Phase.of(structure, grid, q_range, settings) for structure in structures))

    def fit(self, data: FitData, start: Values | None = None) -> Refinement:
        """Refine against one PDF; see ``refine``."""
        model = self.model
        n_parameters = len(model.lowest) + len(model.phases)
        roots = _roots_of_weights(data, n_parameters)
        misfit = Misfit(model, data.values, roots)
        most = self.settings.max_evaluations
        begin = model.start(start)
        best = find_minimum(misfit, inside(model, begin), most)
        if start is None and self.settings.search and best.r_w > GOOD_ENOUGH:
            best = min(best, *searched(model, misfit, begin, most, GOOD_ENOUGH), key=lambda one: one.r_w)
        while (wider := self.model.reaching(best.x)) is not None:
            # The cell shrank so much that pairs which were not listed came into the range.
            model = self.model = wider
            misfit = Misfit(model, data.values, roots, misfit.counter)
            best = find_minimum(misfit, inside(model, best.x), most)
        return _described(model, data, misfit, best)


def _roots_of_weights(data: FitData, n_parameters: int) -> NDArray[np.float64]:
    """Square roots of the weights, shape (n,), of data that can be fitted."""
    values = data.values
    if values.shape != (len(data.grid),):
        raise PatternError("wrong_shape", f"{data.name}: {values.shape} values for a grid of {len(data.grid)} points")
    if not np.isfinite(values).all():
        raise PatternError(
            "not_finite",
            f"{data.name}: {int((~np.isfinite(values)).sum())} of {len(values)} values are not finite; refine a range "
            "without them, or reduce the data again",
        )
    if not values.any():
        raise PatternError("constant", f"{data.name}: G(r) is zero in all of the range; there is nothing to refine")
    if len(values) <= n_parameters:
        raise PatternError(
            "too_few_points",
            f"{data.name}: {len(values)} points from {data.grid.r_min:g} to {data.grid.r_max:g} Å for {n_parameters} "
            "parameters; refine a longer range, or fewer parameters",
        )
    if data.uncertainty is None:
        return np.ones(len(values))
    if data.uncertainty.shape != values.shape or not (np.isfinite(data.uncertainty) & (data.uncertainty > 0)).all():
        raise PatternError(
            "bad_uncertainty",
            f"{data.name}: uncertainties must be numbers above zero, one for each point; leave them out otherwise",
        )
    return np.asarray(data.uncertainty.min() / data.uncertainty)


def _described(model: Model, data: FitData, misfit: Misfit, best: Minimum) -> Refinement:
    """Values with uncertainties, correlations and remarks at the minimum."""
    misfit.residuals(best.x)
    span = model.highest - model.lowest
    stuck = (best.x - model.lowest < 1e-3 * span) | (model.highest - best.x < 1e-3 * span)
    curves, full = misfit.curves, misfit.full
    n_scales = len(model.phases)
    # Points closer than π/q_max are not independent of each other.
    n_independent = min(len(data.values), data.q_max * len(data.values) * data.grid.r_step / np.pi)
    freedom = max(1.0, n_independent - len(best.x) - n_scales)
    variance = (best.r_w * misfit.norm) ** 2 / freedom
    stuck = np.concatenate([np.zeros(n_scales, dtype=bool), stuck])
    free = ~stuck
    free[:n_scales] = best.scales > 0
    matrix, defined = covariance(np.vstack([curves, full]), free, variance)
    found = _Found(best, matrix, defined, stuck)
    reported = list(_reported(model, best))
    values = [found.value(number, one) for number, one in reported]
    own = [
        (value.key, one.row)
        for value, (_, one) in zip(values, reported, strict=True)
        if one.independent and np.isfinite(value.uncertainty)
    ]
    calculated = np.asarray(best.scales @ (curves / misfit.roots))
    return Refinement(
        structure_ids=tuple(phase.structure.id for phase in model.phases),
        grid=data.grid,
        measured=data.values,
        calculated=calculated,
        parameters=tuple(values),
        r_w=best.r_w,
        converged=best.converged,
        reason=best.reason,
        evaluations=misfit.evaluations,
        correlated=_correlated(own, matrix),
        notes=_notes(values, best),
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """A minimum with its covariance, over the scales and then x."""

    best: Minimum
    matrix: NDArray[np.float64]
    defined: NDArray[np.bool_]
    stuck: NDArray[np.bool_]

    def value(self, number: int, one: Reported) -> FittedValue:
        """A value with its uncertainty."""
        known = bool(self.defined[one.used].all()) and bool(np.isfinite(one.value))
        uncertainty = float(np.sqrt(max(float(one.row @ self.matrix @ one.row), 0.0))) if known else np.nan
        bound = bool(self.stuck[one.used].any())
        return FittedValue(one.name, number, one.value, uncertainty, one.unit, bound)


def _reported(model: Model, best: Minimum) -> Iterator[tuple[int, Reported]]:
    """Numbers of phases and all values in their order, with derivatives by the scales and x."""
    n_scales = len(model.phases)
    n = n_scales + len(best.x)
    for index, (phase, part) in enumerate(zip(model.phases, model.parts, strict=True)):
        number = index + 1 if n_scales > 1 else 0
        yield number, Reported("scale", float(best.scales[index]), "", np.eye(n)[index], [index], True)
        for one in phase.reported(best.x[part]):
            yield number, one.placed(n_scales + part.start, n)
    if model.refines_q_damp:
        yield 0, Reported("q_damp", float(best.x[-1]), "Å⁻¹", np.eye(n)[-1], [n - 1], True)


def _correlated(
    own: Sequence[tuple[str, NDArray[np.float64]]], matrix: NDArray[np.float64]
) -> tuple[tuple[str, str, float], ...]:
    """Pairs of independent values, given with their derivatives, that the data can hardly tell apart."""
    if not own:
        return ()
    keys, stacked = [key for key, _ in own], np.array([row for _, row in own])
    joint = stacked @ matrix @ stacked.T
    sizes = np.sqrt(np.maximum(np.diag(joint), 1e-300))
    correlations = joint / np.outer(sizes, sizes)
    return tuple(
        (keys[i], keys[j], float(correlations[i, j]))
        for i in range(len(keys))
        for j in range(i + 1, len(keys))
        if abs(correlations[i, j]) > CORRELATED
    )


def _notes(values: Sequence[FittedValue], best: Minimum) -> tuple[str, ...]:
    notes = []
    if best.r_w > HARDLY:
        notes.append(f"r_w = {best.r_w:.2f}: the structure hardly describes the data")
    absent = [one.key for one in values if one.name == "scale" and one.value == 0]
    if absent:
        notes.append(f"{' and '.join(absent)} came out as 0: that phase was not found, its other values mean nothing")
    if not best.converged:
        notes.append(best.reason)
    stuck = [one.key for one in values if one.at_bound and one.name not in _MAY_VANISH]
    if stuck:
        notes.append(f"stopped at the end of the allowed range: {', '.join(stuck)}")
    undefined = [one.key for one in values if np.isnan(one.uncertainty) and not one.at_bound and one.value != 0]
    if undefined and not absent:
        notes.append(f"not determined by the data, uncertainty undefined: {', '.join(undefined)}")
    return tuple(notes)


_MAY_VANISH = ("delta1", "delta2", "diameter", "q_damp")
"""Values for which the bound 0, or no limit, is an answer."""

"""The search for the minimum, with the scales eliminated (variable projection), and the covariance there.

Residuals are those at the best scales for given other parameters; of the derivatives the part along the curves is
taken out (Golub & Pereyra 1973, in the simplification of Kaufman 1975).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hpc_mlsm.refinement.model import Model, best_scales

TOLERANCE = 1e-6
"""Relative change of the sum of squares, and of the parameters, at which the search ends.

With 200 independent points the values are then within 0.02 standard uncertainties of where they would end.
"""

FIRST_EVALUATIONS = 20
"""After so many curves a search that has not settled is taken to meet a bound."""

REASONS = {
    0: "the number of evaluations was exhausted before the fit settled",
    1: "the gradient vanished",
    2: "the sum of squares no longer changed",
    3: "the parameters no longer changed",
    4: "neither the sum of squares nor the parameters changed any more",
}
"""Why the search ended, by the status that scipy gives."""

SINGULAR = 1e-7
"""Derivatives, each of unit length, with a singular value below this part of the largest leave something undefined."""


@dataclass(frozen=True)
class Minimum:
    """Where the search ended: parameters, scales, weighted differences over the weighted measurement, and why."""

    x: NDArray[np.float64]
    scales: NDArray[np.float64]
    r_w: float
    converged: bool
    reason: str


class Misfit:
    """Residuals and their derivatives for one measurement; both of one x are computed together and kept."""

    def __init__(
        self,
        model: Model,
        measured: NDArray[np.float64],
        roots: NDArray[np.float64],
        counter: list[int] | None = None,
    ) -> None:
        self.model, self.measured, self.roots = model, measured, roots
        self.target = measured * roots
        self.norm = float(np.linalg.norm(self.target)) or 1.0
        self.counter = [0] if counter is None else counter
        self._at: NDArray[np.float64] | None = None

    @property
    def evaluations(self) -> int:
        """Curves that were computed with their derivatives, those of parts of the points too."""
        return self.counter[0]

    def residuals(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weighted differences at the best scales, over the norm of the measurement, shape (n,)."""
        self._compute(x)
        return self._residuals

    def jacobian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Their derivatives by x, shape (n, len(x))."""
        self._compute(x)
        used = self.curves[self.scales > 0]
        full = self.full / self.norm
        if not len(used):
            return np.asarray(full.T)
        q = used.T / np.linalg.norm(used) if len(used) == 1 else np.linalg.qr(used.T)[0]
        return np.asarray((full - (full @ q) @ q.T).T)

    def within(self, points: NDArray[np.bool_]) -> "Misfit":
        """The same with some of the points alone."""
        return Misfit(self.model, self.measured, np.where(points, self.roots, 0.0), self.counter)

    def curve_only(self, x: NDArray[np.float64]) -> float:
        """Norm of the residuals, without derivatives."""
        curves = self.model.curves(x) * self.roots
        scales = best_scales(curves, self.target)
        return float(np.linalg.norm(scales @ curves - self.target)) / self.norm

    def _compute(self, x: NDArray[np.float64]) -> None:
        if self._at is not None and np.array_equal(x, self._at):
            return
        curves, gradients = self.model.curves_and_gradient(x)
        self.curves = curves * self.roots
        self.scales = best_scales(self.curves, self.target)
        self.full = np.tensordot(self.scales, gradients, axes=1) * self.roots
        self._residuals = (self.scales @ self.curves - self.target) / self.norm
        self.counter[0] += 1
        self._at = x.copy()


def find_minimum(misfit: Misfit, start: NDArray[np.float64], max_evaluations: int) -> Minimum:
    """The nearest minimum within the bounds.

    Most fits settle within a few steps of Levenberg and Marquardt's method, in MINPACK, whose steps cost little beside
    the curves. It knows no bounds: its parameters are angles u, of which x = middle + half the range × sin u, and it
    gets slow where a bound is met. What has not settled by then goes on with scipy's reflective trust regions.
    """
    lowest, highest = misfit.model.lowest, misfit.model.highest
    middle, half = 0.5 * (lowest + highest), 0.5 * (highest - lowest)

    def x_of(u: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(middle + half * np.sin(u))

    tolerances = {"xtol": TOLERANCE, "ftol": TOLERANCE, "gtol": TOLERANCE * 1e-3}
    found = least_squares(
        lambda u: misfit.residuals(x_of(u)),
        np.arcsin(np.clip((start - middle) / half, -1.0, 1.0)),
        jac=lambda u: misfit.jacobian(x_of(u)) * (half * np.cos(u)),
        method="lm",
        x_scale="jac",
        max_nfev=min(FIRST_EVALUATIONS, max_evaluations),
        **tolerances,
    )
    x, status = x_of(found.x), int(found.status)
    if status == 0 and max_evaluations > FIRST_EVALUATIONS:
        found = least_squares(
            misfit.residuals,
            inside(misfit.model, x),
            jac=misfit.jacobian,
            bounds=(lowest, highest),
            x_scale=misfit.model.scales,
            max_nfev=max_evaluations - FIRST_EVALUATIONS,
            **tolerances,
        )
        x, status = np.asarray(found.x), int(found.status)
    r_w = float(np.linalg.norm(misfit.residuals(x)))
    return Minimum(x, misfit.scales, r_w, status > 0, REASONS[status])


def inside(model: Model, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A start a little inside the bounds, where the search can go both ways."""
    margin = 1e-4 * (model.highest - model.lowest)
    return np.clip(x, model.lowest + margin, model.highest - margin)


def covariance(
    derivatives: NDArray[np.float64], free: NDArray[np.bool_], variance: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Covariance of parameters at a minimum, and which of them it is defined for.

    Parameters
    ----------
    derivatives : array (p, n)
        Of the weighted curve by the parameters.
    free : bool array (p,)
        False for those at a bound, which are taken as known.
    variance : float
        Of the weighted differences: their sum of squares over the degrees of freedom.

    Returns
    -------
    array (p, p), bool array (p,)
        Zero in rows and columns for which it is not defined.
    """
    lengths = np.linalg.norm(derivatives, axis=1)
    defined = free & (lengths > 0)
    result = np.zeros((len(lengths), len(lengths)))
    rows = np.flatnonzero(defined)
    if not len(rows):
        return result, defined
    scaled = derivatives[rows] / lengths[rows, None]
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    usable = values > (SINGULAR * np.sqrt(values.max())) ** 2 + 1e-13 * values.max()
    inverse = (vectors[:, usable] / values[usable]) @ vectors[:, usable].T
    # A parameter with a part in an undefined direction is itself undefined.
    undefined = (vectors[:, ~usable] ** 2).sum(axis=1) > 1e-4
    result[np.ix_(rows, rows)] = variance * inverse / np.outer(lengths[rows], lengths[rows])
    defined[rows[undefined]] = False
    return result, defined

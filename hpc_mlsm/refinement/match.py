"""How well one structure can describe one PDF: a quick fit of cell lengths, displacement and damping.

Meant for comparing candidates: few parameters, sensible bounds, tens of milliseconds.
"""

from dataclasses import dataclass, fields
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import qmc

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.normalise import standardise
from hpc_mlsm.scattering.pairs import PairList, pair_lists
from hpc_mlsm.scattering.pdf import least_stretch, reach, simulate_pdf
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import axis_classes

MAX_STRAIN = 0.06
STARTS = 96
TRIES = 4
GOOD_ENOUGH = 0.15
"""An r_w below which no other start is tried."""

MAX_EVALUATIONS = 40
SHORTEST_BOND = 1.5
"""Å; shorter distances do not limit delta2, as they may be those of sites that are not occupied together."""

_NAMES = ("u_iso", "q_damp", "delta2", "inverse_diameter")
_LOWEST = np.array([0.0015, 0.0, 0.0, 0.0])
_HIGHEST = np.array([0.06, 0.12, 6.0, 0.06])
_STEPS = np.array([1e-4, 1e-4, 1e-2, 1e-4])


@dataclass(frozen=True)
class Match:
    """A fitted structure: curve on the grid, scale, agreement, and the values that gave it as (value, unit).

    ``r_w`` is the root of the summed squared differences over the summed squared measurement; ``correlation`` the
    Pearson correlation of the two curves.
    """

    curve: NDArray[np.float64]
    scale: float
    r_w: float
    correlation: float
    parameters: dict[str, tuple[float, str]]


def match_structure(
    structure: Structure, measured: NDArray[np.float64], grid: PdfGrid, *, q_min: float = 0.5, q_max: float = 25.0
) -> Match:
    """Fit scale, free cell lengths, U_iso, q_damp, delta2 and a spherical diameter to a measured G(r).

    The start is the best of a Latin hypercube, and the next best ones where that leads nowhere; the scale follows from
    the others by linear least squares. Oblique angles stay as they are.

    Parameters
    ----------
    structure : Structure
    measured : array (len(grid),)
        G(r), in any scale.
    grid : PdfGrid
    q_min, q_max : float
        Range of the measurement, Å⁻¹.
    """
    problem = _Problem.of(structure, grid, q_min, q_max)
    norm = float(np.linalg.norm(measured)) or 1.0
    fits = []
    for start in _starts(problem, measured)[:TRIES]:
        x = _fitted(problem, start, measured, norm)
        curve = problem.curves(x[None])[0]
        scale = _scale(curve, measured)
        fits.append((float(np.linalg.norm(scale * curve - measured)) / norm, x, curve, scale))
        if fits[-1][0] < GOOD_ENOUGH:
            break
    r_w, x, curve, scale = min(fits, key=lambda one: one[0])
    return Match(
        curve=scale * curve,
        scale=scale,
        r_w=r_w,
        correlation=float(standardise(curve) @ standardise(measured)),
        parameters=problem.parameters(x, structure),
    )


def _starts(problem: "_Problem", measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of a Latin hypercube over all parameters, those whose curves correlate best with the measurement first."""
    unit = qmc.LatinHypercube(d=len(problem.lowest), rng=np.random.default_rng(0)).random(STARTS)
    # Little correlated motion and large particles are the likelier start; the fit finds the rest.
    unit[:, problem.n_lengths + 2 :] *= 0.3
    starts = problem.lowest + unit * (problem.highest - problem.lowest)
    correlations = standardise(problem.curves(starts)) @ standardise(measured)
    return starts[np.argsort(-correlations, kind="stable")]


def _fitted(
    problem: "_Problem", start: NDArray[np.float64], measured: NDArray[np.float64], norm: float
) -> NDArray[np.float64]:
    """Parameters of the nearest minimum of the squared differences."""

    def residual(x: NDArray[np.float64]) -> NDArray[np.float64]:
        curve = problem.curves(x[None])[0]
        return (_scale(curve, measured) * curve - measured) / norm

    def jacobian(x: NDArray[np.float64]) -> NDArray[np.float64]:
        # A step away from the nearer bound, so that no curve is asked for outside.
        steps = np.where(x + problem.steps > problem.highest, -problem.steps, problem.steps)
        curves = problem.curves(np.vstack([x, x + np.diag(steps)]))
        scaled = np.array([_scale(curve, measured) * curve for curve in curves]) / norm
        return ((scaled[1:] - scaled[0]) / steps[:, None]).T

    found = least_squares(
        residual,
        start,
        jac=jacobian,
        bounds=(problem.lowest, problem.highest),
        x_scale=problem.highest - problem.lowest,
        max_nfev=MAX_EVALUATIONS,
        xtol=1e-6,
        ftol=1e-7,
    )
    return np.asarray(found.x)


@dataclass(frozen=True)
class _Problem:
    """Fit parameters as one vector: free cell-length factors, then the conditions of ``_NAMES``."""

    pairs: tuple[PairList, ...]
    grid: PdfGrid
    classes: tuple[int, int, int]
    q_min: float
    q_max: float
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    steps: NDArray[np.float64]

    @classmethod
    def of(cls, structure: Structure, grid: PdfGrid, q_min: float, q_max: float) -> "_Problem":
        classes = axis_classes(structure.operations)
        n_lengths = max(classes) + 1
        widest = PdfConditions.uniform(1, u_iso=_HIGHEST[0], q_min=q_min, q_max=q_max)
        corners = np.array(list(product((1 - MAX_STRAIN, 1 + MAX_STRAIN), repeat=n_lengths)))[:, list(classes)]
        pairs = tuple(pair_lists(structure, reach(grid, widest) / least_stretch(structure.cell.metric, corners)))
        nearest = np.sqrt(min(float(one.squares.min()) for one in pairs if len(one)))
        highest = _HIGHEST.copy()
        # Up to here the variance of the first peak stays above a tenth of what it would be without correlated motion.
        highest[_NAMES.index("delta2")] = min(highest[2], 0.9 * (max(nearest, SHORTEST_BOND) * (1 - MAX_STRAIN)) ** 2)
        return cls(
            pairs=pairs,
            grid=grid,
            classes=classes,
            q_min=q_min,
            q_max=q_max,
            lowest=np.concatenate([np.full(n_lengths, 1 - MAX_STRAIN), _LOWEST]),
            highest=np.concatenate([np.full(n_lengths, 1 + MAX_STRAIN), highest]),
            steps=np.concatenate([np.full(n_lengths, 1e-5), _STEPS]),
        )

    @property
    def n_lengths(self) -> int:
        return max(self.classes) + 1

    def curves(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """G(r) at each row of parameters, without scale."""
        values = dict(zip(_NAMES, x[:, self.n_lengths :].T, strict=True))
        inverse = values.pop("inverse_diameter")
        values["diameter"] = np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 1e-6)
        values |= {"q_min": np.full(len(x), self.q_min), "q_max": np.full(len(x), self.q_max)}
        zeros = np.zeros(len(x))
        conditions = PdfConditions(**{f.name: values.get(f.name, zeros) for f in fields(PdfConditions)})
        return simulate_pdf(self.pairs, x[:, list(self.classes)], conditions, self.grid)

    def parameters(self, x: NDArray[np.float64], structure: Structure) -> dict[str, tuple[float, str]]:
        """The fitted values by name, with units."""
        cell = structure.cell
        lengths = {
            name: (float(length * x[k]), "Å")
            for name, length, k in zip("abc", (cell.a, cell.b, cell.c), self.classes, strict=True)
        }
        u_iso, q_damp, delta2, inverse = (float(value) for value in x[self.n_lengths :])
        fitted = {"u_iso": (u_iso, "Å²"), "q_damp": (q_damp, "Å⁻¹"), "delta2": (delta2, "Å²")}
        return lengths | fitted | ({"diameter": (1 / inverse, "Å")} if inverse > 1e-3 else {})


def _scale(curve: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """The factor that brings a curve nearest to the measurement; never negative."""
    return max(0.0, float(curve @ measured) / max(float(curve @ curve), 1e-300))

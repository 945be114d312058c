"""Series mixed of known curves, as a crystallisation gives them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.decomposition.decomposition import Decomposition
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.structures.starter import starter_set

GRID = PdfGrid(1.5, 20.0, 0.1)
PHASES = (("Ni", 9.0), ("C", 0.0), ("Si", 0.0), ("NaCl", 0.0))
"""(formula, diameter in Å, 0 for none): an amorphous one first."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """Patterns (n, points), and the curves (k, points) and weights (n, k) that they were mixed of."""

    patterns: NDArray[np.float32]
    curves: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def rows(self) -> Callable[[int, int], NDArray[np.float32]]:
        """Reads some of the patterns."""
        return lambda start, stop: self.patterns[start:stop]

    @property
    def shape(self) -> tuple[int, int]:
        """Patterns and points."""
        return len(self.patterns), self.patterns.shape[1]


def pdf(formula: str, diameter: float = 0.0) -> NDArray[np.float64]:
    """G(r) of a structure of the starter set."""
    structure = next(one for one in starter_set() if one.formula == formula)
    conditions = PdfConditions.uniform(1, u_iso=0.008, q_damp=0.03, q_min=0.5, q_max=23.0, diameter=diameter)
    return np.asarray(native_engine(structure, np.ones((1, 3)), conditions, GRID)[0])


def mixture(k: int, n: int, noise: float, *, seed: int = 0) -> Mixture:
    """One phase after the other, with noise as a share of the standard deviation of the patterns."""
    curves = np.array([pdf(*phase) for phase in PHASES[:k]])
    places = np.linspace(0, 1, k)
    weights = np.exp(-np.square((np.linspace(0, 1, n)[:, None] - places) / (0.4 / max(k - 1, 1))))
    weights /= weights.sum(axis=1, keepdims=True)
    patterns = weights @ curves
    patterns += noise * patterns.std() * np.random.default_rng(seed).normal(size=patterns.shape)
    return Mixture(patterns.astype(np.float32), curves, weights)


def matched(found: Decomposition, truth: Mixture) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pearson correlation of each true curve with its component, and the errors of the weights; each has its own."""
    k = len(truth.curves)
    likeness = np.corrcoef(np.vstack([truth.curves, found.components.curves]))[:k, k:]
    own = likeness.argmax(axis=1)
    assert sorted(own) == list(range(k)), "two phases are in one component"
    return likeness.max(axis=1), found.weights[:, own] - truth.weights

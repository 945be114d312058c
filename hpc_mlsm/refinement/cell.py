"""The cell as fit parameters: what symmetry leaves free of its metric, and back to lengths and angles."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.structures.structure import Cell, Structure
from hpc_mlsm.structures.symmetry import invariant_metrics, metric_coefficients

NAMES = ("a", "b", "c", "alpha", "beta", "gamma")
UNITS = ("Å", "Å", "Å", "°", "°", "°")

LEAST_STRETCH = 0.3
"""No distance may shrink below this part of itself within the limits."""

NEGLIGIBLE = 1e-6
"""Å, or degrees: what a fixed length or angle changes by rounding, where a free one changes by units."""

_SIDES = ((1, 2), (0, 2), (0, 1))
"""Cell vectors that alpha, beta and gamma are between."""


@dataclass(frozen=True)
class FreeCell:
    """K fit parameters x of a cell, zero for the given one: the metric is ``metric + sum_k spans_k x_k basis_k``.

    With spans of twice the squared lengths, x is about a relative change of length; no x goes beyond ``limits``.
    """

    metric: NDArray[np.float64]
    basis: NDArray[np.float64]
    spans: NDArray[np.float64]
    limits: NDArray[np.float64]

    @classmethod
    def of(cls, structure: Structure, max_strain: float) -> "FreeCell":
        """The free parameters of a structure's cell, lengths of which may change by the factors 1 ± max_strain."""
        basis = invariant_metrics(structure.operations)
        metric = np.tensordot(metric_coefficients(structure.cell.metric, basis), basis, axes=1)
        lengths = np.sqrt(np.diag(metric))
        # What a basis matrix changes most, in parts of the product of the lengths concerned.
        largest = np.abs(basis / np.outer(lengths, lengths)).max(axis=(1, 2))
        spans = 2 / largest
        limits = np.full(len(basis), max_strain)
        cell = cls(metric, basis, spans, limits)
        while cell.least_stretch() < LEAST_STRETCH:
            limits /= 2  # a very oblique cell would go flat
        return cell

    def steps(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Changes of the metric's coefficients, Å²."""
        return np.asarray(self.spans * x)

    def metric_at(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metric tensor, Å²."""
        return np.asarray(self.metric + (self.steps(x) @ self.basis.reshape(len(x), 9)).reshape(3, 3))

    def least_stretch(self) -> float:
        """Smallest factor by which any distance changes within the limits.

        The smallest eigenvalue is a concave function of the metric, so that its least value is at a corner.
        """
        corners = [self.limits * np.array(signs) for signs in product((-1, 1), repeat=len(self.basis))]
        return float(np.sqrt(max(min(self._least_eigenvalue(one) for one in corners), 0.0)))

    def stretch_at(self, x: NDArray[np.float64]) -> float:
        """Smallest factor by which any distance changes from the given cell to that of x."""
        return float(np.sqrt(self._least_eigenvalue(x)))

    def _least_eigenvalue(self, x: NDArray[np.float64]) -> float:
        inverse = np.linalg.inv(np.linalg.cholesky(self.metric))
        return float(np.linalg.eigvalsh(inverse @ self.metric_at(x) @ inverse.T).min())

    def lengths_and_angles(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(a, b, c, α, β, γ), Å and degrees, and their derivatives by x, shape (6, K)."""
        metric = self.metric_at(x)
        change = self.spans[:, None, None] * self.basis
        lengths = np.sqrt(np.diag(metric))
        by_length = np.array([change[:, i, i] / (2 * lengths[i]) for i in range(3)])
        values, rows = list(lengths), list(by_length)
        for i, j in _SIDES:
            cosine = metric[i, j] / (lengths[i] * lengths[j])
            by_cosine = change[:, i, j] / (lengths[i] * lengths[j])
            by_cosine = by_cosine - cosine * (by_length[i] / lengths[i] + by_length[j] / lengths[j])
            values.append(np.degrees(np.arccos(cosine)))
            rows.append(-np.degrees(by_cosine / np.sqrt(1 - cosine**2)))
        by_x = np.array(rows)
        return np.array(values), np.where(np.abs(by_x) < NEGLIGIBLE, 0.0, by_x)

    def at(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """x of a cell given by names, within the limits; what is not named is as in the structure."""
        known = dict(zip(NAMES, self.lengths_and_angles(np.zeros(len(self.spans)))[0], strict=True))
        cell = Cell(**{name: float(values.get(name, known[name])) for name in NAMES})
        x = metric_coefficients(cell.metric - self.metric, self.basis) / self.spans
        return np.asarray(np.clip(x, -self.limits, self.limits))


def independent(by_x: NDArray[np.float64]) -> list[int]:
    """Of cell parameters with derivatives (6, K), those that vary and are not tied to an earlier one."""
    found: list[int] = []
    for row in range(6):
        vector = by_x[row]
        size = np.linalg.norm(vector)
        if size == 0:
            continue
        tied = any(abs(vector @ by_x[k]) > (1 - 1e-9) * size * np.linalg.norm(by_x[k]) for k in found)
        if not tied:
            found.append(row)
    return found

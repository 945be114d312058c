"""Training patterns to compare with: the nearest by Pearson correlation, the baseline every model is measured against.

The patterns of a class also span what its structure can look like, since peaks that move and widen a little are nearly
sums of such peaks. What the span leaves of a pattern,

    e = x - Aᵀ (A Aᵀ + λ)⁻¹ A x,   A the references of the class, λ = RIDGE times the mean square of a reference,

is noise if the structure is that of the class, and more if it is another, however close the nearest pattern comes.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.normalise import standardise

BLOCK_BYTES = 64e6

SPANNING = 128
"""References of a class that make its span, at most; of more, so many that are spread over them."""

RIDGE = 1e-3
"""Keeps sums of references with large coefficients of both signs, which look like anything, out of the span."""


@dataclass(frozen=True)
class Retrieval:
    """Reference patterns (M, points), standardised, with their labels (M,), sorted by label."""

    references: NDArray[np.float32]
    labels: NDArray[np.int64]
    n_classes: int
    _spans: dict[int, "_Span"] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_spans": {}}

    @classmethod
    def of(cls, patterns: NDArray[np.float32], labels: NDArray[np.int64], n_classes: int) -> "Retrieval":
        """References from patterns in any scale and order."""
        order = np.argsort(labels, kind="stable")
        return cls(standardise(patterns[order]), labels[order], n_classes)

    def correlations(self, patterns: NDArray[np.float32]) -> NDArray[np.float32]:
        """Largest Pearson correlation of each pattern with any reference of each class, shape (rows, classes).

        A class without a reference gets -1.
        """
        queries = standardise(patterns)
        present, first = np.unique(self.labels, return_index=True)
        best = np.full((len(queries), self.n_classes), -1.0, dtype=np.float32)
        block = max(1, int(BLOCK_BYTES / (4 * max(1, len(self.references)))))
        for start in range(0, len(queries), block):
            product = queries[start : start + block] @ self.references.T
            best[start : start + block, present] = np.maximum.reduceat(product, first, axis=1)
        return best

    def of_classes(
        self, queries: NDArray[np.float32], classes: NDArray[np.integer]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Comparison with the references of some classes only, which is far cheaper than with all.

        Parameters
        ----------
        queries : float32 (n, points)
            Standardised patterns.
        classes : integer (n, m)
            Which classes to compare each with.

        Returns
        -------
        correlations : float32 (n, m)
            The largest with any reference of the class; -1 for a class without one.
        unexplained : float32 (n, m)
            Share of the pattern's sum of squares that the span of the class leaves; 1 for a class without a reference.
        """
        best = np.full(classes.size, -1.0, dtype=np.float32)
        left = np.ones(classes.size, dtype=np.float32)
        for label, places in _by_label(classes.ravel()):
            start, stop = self._place(label)
            if stop > start:
                product = self.references[start:stop] @ queries[places // classes.shape[1]].T
                best[places] = product.max(axis=0)
                left[places] = self._span(label).unexplained(product)
        return best.reshape(classes.shape), left.reshape(classes.shape)

    def residuals(self, queries: NDArray[np.float32], labels: NDArray[np.integer]) -> NDArray[np.float32]:
        """What the span of one class each leaves of standardised patterns, shape (n, points)."""
        left = queries.copy()
        for label, places in _by_label(labels):
            start, stop = self._place(label)
            if stop > start:
                span = self._span(label)
                spanning = self.references[start:stop][span.chosen]
                left[places] -= ((queries[places] @ spanning.T) @ span.inverse) @ spanning
        return left

    def _place(self, label: int) -> tuple[int, int]:
        start, stop = np.searchsorted(self.labels, [label, label + 1], side="left")
        return int(start), int(stop)

    def _span(self, label: int) -> "_Span":
        if label not in self._spans:
            start, stop = self._place(label)
            self._spans[label] = _Span.of(self.references[start:stop])
        return self._spans[label]


@dataclass(frozen=True, eq=False)
class _Span:
    """Which references of a class span it, and (A Aᵀ + λ)⁻¹ of these."""

    chosen: NDArray[np.int64] | slice
    inverse: NDArray[np.float32]
    ridge: float

    @classmethod
    def of(cls, references: NDArray[np.float32]) -> "_Span":
        chosen: NDArray[np.int64] | slice = slice(None)
        if len(references) > SPANNING:
            chosen = np.linspace(0, len(references) - 1, SPANNING).round().astype(np.int64)
        spanning = references[chosen]
        gram = (spanning @ spanning.T).astype(np.float64)
        ridge = RIDGE * float(np.trace(gram)) / len(gram)
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
        return cls(chosen, inverse.astype(np.float32), ridge)

    def unexplained(self, products: NDArray[np.float32]) -> NDArray[np.float32]:
        """Share that the span leaves of n standardised patterns, from the products (references, n) of all with them."""
        own = products[self.chosen]
        coefficients = self.inverse @ own
        explained = ((own + np.float32(self.ridge) * coefficients) * coefficients).sum(axis=0)
        return np.clip(1.0 - explained, 0.0, 1.0).astype(np.float32)


def _by_label(labels: NDArray[np.integer]) -> list[tuple[int, NDArray[np.int64]]]:
    """Each label that occurs, and where."""
    if not labels.size:
        return []
    order = np.argsort(labels, kind="stable")
    present, first = np.unique(labels[order], return_index=True)
    return list(zip(present.tolist(), np.split(order, first[1:]), strict=True))


def references_per_structure(n_structures: int, n_available: int, n_points: int, memory_mb: int) -> int:
    """How many training patterns of each structure fit as references (float32), at least one."""
    fitting = int(memory_mb * 1e6 / (4 * n_points * max(1, n_structures)))
    return max(1, min(n_available, fitting))

"""The baseline every model is measured against: the nearest training pattern by Pearson correlation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.normalise import standardise

BLOCK_BYTES = 64e6


@dataclass(frozen=True)
class Retrieval:
    """Reference patterns (M, points), standardised, with their labels (M,), sorted by label."""

    references: NDArray[np.float32]
    labels: NDArray[np.int64]
    n_classes: int

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

    def of_classes(self, queries: NDArray[np.float32], classes: NDArray[np.integer]) -> NDArray[np.float32]:
        """Largest correlation with the references of some classes only, which is far cheaper than with all.

        Parameters
        ----------
        queries : float32 (n, points)
            Standardised patterns.
        classes : integer (n, m)
            Which classes to compare each with.

        Returns
        -------
        float32 (n, m)
            -1 for a class without a reference.
        """
        if not classes.size:
            return np.zeros(classes.shape, dtype=np.float32)
        flat = classes.ravel()
        order = np.argsort(flat, kind="stable")
        present, first = np.unique(flat[order], return_index=True)
        starts = np.atleast_1d(np.searchsorted(self.labels, present, side="left"))
        stops = np.atleast_1d(np.searchsorted(self.labels, present, side="right"))
        best = np.full(len(flat), -1.0, dtype=np.float32)
        for places, start, stop in zip(np.split(order, first[1:]), starts, stops, strict=True):
            if stop > start:
                product = queries[places // classes.shape[1]] @ self.references[start:stop].T
                best[places] = product.max(axis=1)
        return best.reshape(classes.shape)


def references_per_structure(n_structures: int, n_available: int, n_points: int, memory_mb: int) -> int:
    """How many training patterns of each structure fit as references (float32), at least one."""
    fitting = int(memory_mb * 1e6 / (4 * n_points * max(1, n_structures)))
    return max(1, min(n_available, fitting))

"""Non-negative least squares of many patterns on few components, all patterns at once.

The active-set method of Lawson and Hanson (1974), in the form of Van Benthem and Keenan, J. Chemom. 18 (2004) 441:
patterns whose positive weights are of the same components are solved together.
"""

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PatternError


def non_negative_weights(patterns: NDArray[np.floating], components: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights w ≥ 0 that minimise ‖pattern − w · components‖ for each pattern.

    Parameters
    ----------
    patterns : array (n, points)
    components : float64 (k, points)
        Linearly independent; few, as sets of them are looked at.

    Returns
    -------
    float64 (n, k)

    Raises
    ------
    PatternError
        If components depend on each other so much that weights mean nothing.
    """
    gram = components @ components.T
    scale = np.sqrt(np.diag(gram))
    if not scale.all() or np.linalg.cond(gram / np.outer(scale, scale)) > 1e12:
        raise PatternError(
            "dependent_components",
            f"{len(components)} components are not independent of each other, so that their weights mean nothing; "
            "ask for fewer components",
        )
    products = np.asarray(patterns, dtype=np.float64) @ components.T / scale
    return _solve(gram / np.outer(scale, scale), products) / scale


def _solve(gram: NDArray[np.float64], products: NDArray[np.float64]) -> NDArray[np.float64]:
    n, k = products.shape
    tolerance = 1e-10 * np.abs(products).max(initial=0.0)
    passive = np.zeros((n, k), dtype=bool)
    weights = np.zeros((n, k))
    open_rows = np.arange(n)
    for _ in range(3 * k + 10):
        slack = products[open_rows] - weights[open_rows] @ gram
        gain = np.where(passive[open_rows], -np.inf, slack)
        best = gain.argmax(axis=1)
        improves = gain[np.arange(len(open_rows)), best] > tolerance
        open_rows, best = open_rows[improves], best[improves]
        if not len(open_rows):
            break
        passive[open_rows, best] = True
        _settle(gram, products, passive, weights, open_rows)
    return weights


def _settle(
    gram: NDArray[np.float64],
    products: NDArray[np.float64],
    passive: NDArray[np.bool_],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> None:
    """Bring the weights of some rows to the least squares of their sets, leaving out what turns negative on the way."""
    while len(rows):
        target = _unconstrained(gram, products[rows], passive[rows])
        negative = passive[rows] & (target <= 0)
        fine = ~negative.any(axis=1)
        weights[rows[fine]] = target[fine]
        rows, target, negative = rows[~fine], target[~fine], negative[~fine]
        current = weights[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(negative, current / (current - target), np.inf)
        step = steps.min(axis=1, initial=np.inf, keepdims=True)
        moved = current + np.where(np.isfinite(step), step, 0.0) * (target - current)
        out = negative & (steps <= step)
        weights[rows] = np.where(out, 0.0, moved)
        passive[rows] &= ~out


def _unconstrained(
    gram: NDArray[np.float64], products: NDArray[np.float64], passive: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Least squares of each row on its own set of components; zero for the others."""
    result = np.zeros_like(products)
    codes = passive @ (1 << np.arange(passive.shape[1]))
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        chosen = np.flatnonzero(passive[rows[0]])
        if len(chosen):
            solved = np.linalg.solve(gram[np.ix_(chosen, chosen)], products[np.ix_(rows, chosen)].T)
            result[np.ix_(rows, chosen)] = solved.T
    return result

"""Short vectors that bound correlations from above: what most pairs are told apart by, at a tenth of the cost.

A unit vector u has coordinates p along k orthonormal directions, and a rest of length q = √(1 − |p|²) beside them. By
the Cauchy–Schwarz inequality u·v ≤ p·p′ + q q′, the product of the vectors (p, q) and (p′, q′), of k + 1 values. A pair
whose bound is below the threshold is no edge, whatever the directions are; with the leading principal components of
the patterns the bounds of most pairs are. Rounding is on the safe side: q is taken too long by more than float64 can be
wrong, and the float32 product of the short vectors gets the margin that the long ones get.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.grouping.correlate import CANDIDATE_SHARE, CHUNK_ELEMENTS, Panel, float32_margin

SLACK = 1e-12
"""Added to q²; what is wrong with it in float64, the directions' deviation from orthonormal included, is some 1e-14."""

NUMBERS = (8, 16, 24, 32, 48, 64, 96)
"""Numbers of directions to choose from."""

WORTH = 0.7
"""Share of the cost of the whole product below which the short vectors are used."""

SEARCH_COST = 25.0
"""Of searching the product of two vectors, in multiples of one multiplication and addition in it."""

PAIR_COST = 25_000.0
"""Of looking at one candidate in float64, in the same unit."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Orthonormal directions (points, k), and the share of pairs of a sample that they leave as candidates."""

    basis: NDArray[np.float64]
    candidates: float


def choose_directions(sample: Panel, threshold: float) -> Directions | None:
    """As many leading principal components of a sample as make correlating cheapest; None where nothing is gained.

    Parameters
    ----------
    sample : Panel
        Patterns like those that are to be correlated; more than some 1000 do not help.
    threshold : float
        Smallest correlation that is looked for.
    """
    points = sample.unit.shape[1]
    # Found in one half and judged by the other: directions fit the patterns that they come from better than all others.
    leading = leading_directions(sample.unit[::2], max(NUMBERS))
    others = Panel(sample.patterns[1::2], sample.unit[1::2], sample.mean[1::2], sample.scale[1::2])
    tried = [
        Directions(basis, _candidates(bounding_vectors(others, basis), threshold))
        for basis in (leading[:, :k] for k in NUMBERS if k <= min(leading.shape[1], points // 2))
    ]
    fitting = [one for one in tried if one.candidates <= CANDIDATE_SHARE]
    best = min(fitting, key=lambda one: _cost(one), default=None)
    return best if best is not None and _cost(best) <= WORTH * (points + SEARCH_COST) else None


def bounding_vectors(panel: Panel, basis: NDArray[np.float64]) -> NDArray[np.float32]:
    """Vectors (n, k + 1) whose products, but for rounding, are nowhere smaller than the patterns' correlations."""
    n, points = panel.unit.shape
    bound = np.empty((n, basis.shape[1] + 1), np.float32)
    step = max(1, CHUNK_ELEMENTS // max(points, 1))
    for start in range(0, n, step):
        bound[start : start + step] = shorten(panel.unit[start : start + step].astype(np.float64), basis)
    return bound


def shorten(units: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float32]:
    """The vectors (p, q), as (n, k + 1), of vectors (n, points) of length 1 or 0."""
    coordinates = units @ basis
    rest = np.square(units).sum(axis=1) - np.square(coordinates).sum(axis=1)
    short: NDArray[np.float32] = np.empty((len(units), basis.shape[1] + 1), np.float32)
    short[:, :-1] = coordinates
    short[:, -1] = np.sqrt(np.maximum(rest, 0.0) + SLACK)
    return short


def leading_directions(unit: NDArray[np.floating], most: int) -> NDArray[np.float64]:
    """At most so many leading principal directions (points, k), orthonormal to float64's precision."""
    rows = unit.astype(np.float64)
    n, points = rows.shape
    if points <= n:
        vectors = np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :most]
    else:
        values, own = np.linalg.eigh(rows @ rows.T)
        kept = np.flatnonzero(values[::-1][:most] > 1e-9 * max(float(values[-1]), 1e-300))
        vectors = rows.T @ own[:, ::-1][:, kept]
    return np.linalg.qr(vectors)[0]


def share_proven(pairs: Sequence[int], proven: Sequence[int]) -> float:
    """Share of the pairs of all tasks that needed no product of whole patterns."""
    return sum(proven) / max(1, sum(pairs))


def _candidates(bound: NDArray[np.float32], threshold: float) -> float:
    """Share of all pairs whose bound reaches the threshold."""
    n = len(bound)
    high = bound @ bound.T >= np.float32(threshold - float32_margin(bound.shape[1]))
    return float((np.count_nonzero(high) - np.count_nonzero(np.diagonal(high))) / max(1, n * (n - 1)))


def _cost(directions: Directions) -> float:
    return directions.basis.shape[1] + 1 + SEARCH_COST + directions.candidates * PAIR_COST

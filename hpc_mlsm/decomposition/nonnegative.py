"""Non-negative components of a series: curves of which every pattern is a sum with weights that are not negative.

The series is first freed of most of its noise: of its singular values as many are kept as there are components. G(r) is
negative in places, and scikit-learn's factorisation takes no negative values. So each point is raised by its
lowest value in the series: X'(r) = X(r) - min X(r), which is zero somewhere at every r and nowhere negative. A raised
series of weights that sum to one is X' = W H' with H'(r) = H(r) - min X(r), so the components are lowered again by the
same curve: H(r) = H'(r) + min X(r). The sum of the weights is brought to one for that as nearly as one factor for each
component can, by least squares. The final weights are those of the lowered components in the patterns as they were.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from hpc_mlsm.decomposition.settings import DecomposeSettings
from hpc_mlsm.decomposition.weights import non_negative_weights
from hpc_mlsm.errors import PatternError

BETTER = 0.99
"""A start replaces the one before if it leaves less than this much of what that left."""

TINY = 1e-9

LEAST_PRODUCT = 0.02
"""Of the largest product of a pattern with the mean; below, a pattern's scale cannot be told from its noise."""


@dataclass(frozen=True, eq=False)
class Components:
    """Non-negative components of a series.

    Attributes
    ----------
    curves : float64 (k, points)
        Lowered again; those held fixed first, as they were given, then by when their weights come.
    shift : float64 (points,)
        What was added to the patterns before they were factorised.
    left : float
        Root of the share of the squares, of the patterns that they were found on, that is not described.
    start : str
        Of which start they are.
    fixed : int
        How many of them were held fixed.
    """

    curves: NDArray[np.float64]
    shift: NDArray[np.float64]
    left: float
    start: str
    fixed: int = 0


def find_components(
    patterns: NDArray[np.float64],
    count: int,
    settings: DecomposeSettings,
    known: NDArray[np.float64] | None = None,
) -> Components:
    """Components of a series, from several starts, of which the one that leaves least is kept.

    Parameters
    ----------
    patterns : float64 (m, points)
        The series, or the means of its runs, in its order.
    count : int
        How many components.
    settings : DecomposeSettings
        Starts, seed and iterations.
    known : float64 (f, points), optional
        Curves of phases that are known to be there, on the scale of the patterns; they are held fixed.

    Raises
    ------
    PatternError
        If there are fewer patterns than components, or more known phases than components.
    """
    fixed = np.empty((0, patterns.shape[1])) if known is None else known
    if count > min(patterns.shape) or len(fixed) > count:
        raise PatternError(
            "too_many_components",
            f"{count} components, {len(fixed)} of them known, were asked for of {len(patterns)} patterns of "
            f"{patterns.shape[1]} points; ask for fewer, and for as many as are known at least",
        )
    if count == 1:
        curve = fixed[0] if len(fixed) else patterns.mean(axis=0)
        return Components(curve[None], np.zeros_like(curve), _left(patterns, curve[None]), "mean", len(fixed))
    quiet = low_rank(patterns, count)
    low = np.minimum(quiet.min(axis=0), fixed.min(axis=0, initial=np.inf))
    raised, held = quiet - low, fixed - low
    best: tuple[float, str, NDArray[np.float64]] | None = None
    for name, first in _starts(raised, count, settings):
        found = _factorise(raised, first, held, settings)
        weights = non_negative_weights(raised, found)
        left = float(np.linalg.norm(raised - weights @ found))
        if best is None or left < BETTER * best[0]:
            best = left, name, _closed(found, weights, len(held))
    assert best is not None
    curves = _in_order(best[2] + low, patterns, len(fixed))
    curves[: len(fixed)] = fixed  # to the last bit
    return Components(curves, -low, _left(patterns, curves), best[1], len(fixed))


def _left(patterns: NDArray[np.float64], curves: NDArray[np.float64]) -> float:
    weights = non_negative_weights(patterns, curves)
    return float(np.linalg.norm(patterns - weights @ curves) / (np.linalg.norm(patterns) or 1.0))


def of_one_scale(patterns: NDArray[np.float64], mean: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Patterns whose weights sum to one, of patterns of any scale: each divided by its product with their mean.

    Or with the ``mean`` of those that they belong to.

    A product with one curve is linear, so it is one for the components as well when they are divided likewise, and then
    the weights sum to one. Patterns of which one has no positive product, or a very small one, come back as they are.
    """
    mean = patterns.mean(axis=0) if mean is None else mean
    products = patterns @ mean / ((mean @ mean) or 1.0)
    return patterns / products[:, None] if products.min() > LEAST_PRODUCT * products.max() else patterns


def low_rank(patterns: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """The nearest matrix of that rank: the series without most of its noise."""
    left, values, right = np.linalg.svd(patterns, full_matrices=False)
    return np.asarray((left[:, :rank] * values[:rank]) @ right[:rank])


def _starts(
    raised: NDArray[np.float64], count: int, settings: DecomposeSettings
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Names and first components of the starts."""
    yield "purest patterns", raised[purest(raised, count)]
    for number in range(1, settings.starts):
        generator = np.random.default_rng([settings.seed, number])
        yield f"random {number}", generator.dirichlet(np.full(len(raised), 20.0 / len(raised)), size=count) @ raised


def _factorise(
    raised: NDArray[np.float64], first: NDArray[np.float64], held: NDArray[np.float64], settings: DecomposeSettings
) -> NDArray[np.float64]:
    """Components of a raised series from one start; the first ones are ``held``."""
    if len(held):
        return _alternate(raised, first, held, settings.iterations)
    from sklearn.decomposition import non_negative_factorization
    from sklearn.exceptions import ConvergenceWarning

    start = np.maximum(first, TINY * raised.max())
    weights = np.maximum(non_negative_weights(raised, start), TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is left says how good it is
        _, found, _ = non_negative_factorization(
            raised, W=weights, H=start, n_components=len(first), init="custom", max_iter=settings.iterations, tol=1e-6
        )
    return np.asarray(found)


def _alternate(
    raised: NDArray[np.float64], first: NDArray[np.float64], held: NDArray[np.float64], iterations: int
) -> NDArray[np.float64]:
    """As scikit-learn's, which can hold none fixed: least squares of the weights and of the free components in turn."""
    free = _furthest_from(first, held)
    before = np.inf
    for _ in range(iterations):
        weights = non_negative_weights(raised, np.vstack([held, free]))
        known, other = weights[:, : len(held)], weights[:, len(held) :]
        if not len(free) or not other.any(axis=0).all():
            break
        free = non_negative_weights((raised - known @ held).T, other.T).T
        left = float(np.linalg.norm(raised - known @ held - other @ free))
        if not free.any(axis=1).all() or before - left < 1e-6 * before:
            break
        before = left
    return np.vstack([held, free])


def _furthest_from(first: NDArray[np.float64], held: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the components of a start, those least like the ones that are held, as many as are free."""
    both = np.asarray(np.corrcoef(np.vstack([held, first])))
    likeness = np.abs(both[: len(held), len(held) :]).max(axis=0)
    return first[np.sort(np.argsort(likeness, kind="stable")[: len(first) - len(held)])]


def _closed(found: NDArray[np.float64], weights: NDArray[np.float64], held: int) -> NDArray[np.float64]:
    """Raised components on the scale on which the weights of each pattern sum to one as nearly as can be."""
    target = 1.0 - weights[:, :held].sum(axis=1)
    factors, _ = nnls(weights[:, held:], target) if weights.shape[1] > held else (np.empty(0), 0.0)
    factors = np.where(factors > TINY, factors, 1.0)
    scaled = found.copy()
    scaled[held:] /= factors[:, None]
    return scaled


def _in_order(curves: NDArray[np.float64], patterns: NDArray[np.float64], held: int) -> NDArray[np.float64]:
    """The free components by the mean place of their weights in the series."""
    weights = non_negative_weights(patterns, curves)[:, held:]
    places = np.arange(len(patterns)) @ weights / np.maximum(weights.sum(axis=0), TINY)
    return np.vstack([curves[:held], curves[held:][np.argsort(places, kind="stable")]])


def purest(patterns: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Numbers of the patterns that lie furthest out: each the furthest from the space of those before.

    Successive projection (Araújo et al., Chemom. Intell. Lab. Syst. 57 (2001) 65): if each component is pure in one
    pattern, these are found.
    """
    left = patterns.copy()
    chosen: list[int] = []
    for _ in range(count):
        norms = np.square(left).sum(axis=1)
        norms[chosen] = -1.0
        chosen.append(int(norms.argmax()))
        axis = left[chosen[-1]] / (np.linalg.norm(left[chosen[-1]]) or 1.0)
        left -= np.outer(left @ axis, axis)
    return np.array(chosen)

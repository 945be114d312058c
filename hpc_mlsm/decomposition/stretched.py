"""Components that stretch along a series, as crystals do that expand: G_n(r) = sum_k w_nk H_k(r / s_nk).

Factorised by diffpy.stretched-nmf (Gu et al., npj Comput. Mater. 10 (2024) 193). It stretches from the first point of
what it is given, interpolates linearly between points, and takes no negative values. So the series is continued to
r = 0, on points half as far apart, and raised by a straight line c r, which stays one however it is stretched: G(r) has
the line -4 pi rho_0 r in it, below which only ripples reach. Curves are lowered again by the same line.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import nnls

from hpc_mlsm.decomposition.nonnegative import TINY, Components
from hpc_mlsm.decomposition.weights import non_negative_weights
from hpc_mlsm.errors import ConfigError

FINER = 2
"""Points of the factorisation for each one of the grid."""

STIFFNESS, SIZE = 100.0, 1000.0
"""Weight of the second differences of stretches, for a series whose values have this norm: a tenth of a power of ten
more or less changes nothing that is seen, and jumps of 1e-3 are still followed."""


@dataclass(frozen=True, eq=False)
class Stretched:
    """Components, and the factors (m, k) by which each is stretched in each pattern; their weighted mean is 1."""

    components: Components
    factors: NDArray[np.float64]


def stretch_components(
    patterns: NDArray[np.float64], r: NDArray[np.float64], first: Components, iterations: int
) -> Stretched:
    """Let components stretch, from where they are without.

    Parameters
    ----------
    patterns : float64 (m, points)
        Some ten to sixty; the time grows with them and with the components.
    r : float64 (points,)
        Å, evenly spaced.
    first : Components
        From ``find_components``.
    iterations : int
        Of curves, weights and stretches in turn.

    Raises
    ------
    ConfigError
        If diffpy.stretched-nmf is not installed.
    """
    optimizer = _optimizer()
    line = max(0.0, -float((patterns / r).min()), -float((first.curves / r).min()))
    fine = np.linspace(0.0, r[-1], FINER * round(r[-1] / (r[1] - r[0])) + 1)
    raised, curves = _raised(patterns, r, fine, line), _raised(first.curves, r, fine, line)
    unit = SIZE / float(np.linalg.norm(raised))
    weights = np.maximum(non_negative_weights(patterns, first.curves), TINY)
    fit = optimizer(n_components=len(curves), max_iter=iterations, min_iter=5, rho=STIFFNESS, eta=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of roots of what is below zero, which it puts right, and of small steps
        fit.fit(
            unit * raised.T,
            init_weights=weights.T,
            init_components=unit * curves.T,
            init_stretch=np.ones(weights.T.shape),
        )
    found, weights, factors = fit.components_.T / unit, fit.weights_.T, fit.stretch_.T
    usual = (weights * factors).sum(axis=0) / np.maximum(weights.sum(axis=0), TINY)
    scales, _ = nnls(weights, np.ones(len(weights)))
    scales = np.where(scales > TINY, scales, 1.0)
    at_usual = stretched_curves(found, fine, usual) / scales[:, None] - line * fine
    final = np.array([CubicSpline(fine, one)(r) for one in at_usual])
    factors = factors / usual
    components = Components(final, line * r, _left(patterns, r, final, factors), f"{first.start}, then stretched")
    return Stretched(components, factors)


def stretched_curves(
    curves: NDArray[np.float64], r: NDArray[np.float64], factors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """H_k(r / s_k), shape (k, points); beyond the end of the grid as at its end."""
    places = np.clip(r / factors[:, None], r[0], r[-1])
    return np.array([CubicSpline(r, curve)(place) for curve, place in zip(curves, places, strict=True)])


def stretched_weights(
    patterns: NDArray[np.floating], r: NDArray[np.float64], curves: NDArray[np.float64], factors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Non-negative weights (n, k) of components stretched in each pattern, and what these leave (n, points)."""
    splines = [CubicSpline(r, curve) for curve in curves]
    weights, left = np.empty((len(patterns), len(curves))), np.empty(patterns.shape)
    for number, (pattern, own) in enumerate(zip(patterns, factors, strict=True)):
        basis = np.stack([one(np.clip(r / s, r[0], r[-1])) for one, s in zip(splines, own, strict=True)], axis=1)
        weights[number] = nnls(basis, pattern)[0]
        left[number] = pattern - basis @ weights[number]
    return weights, left


def _left(
    patterns: NDArray[np.float64], r: NDArray[np.float64], curves: NDArray[np.float64], factors: NDArray[np.float64]
) -> float:
    _, left = stretched_weights(patterns, r, curves, factors)
    return float(np.linalg.norm(left) / (np.linalg.norm(patterns) or 1.0))


def _raised(
    curves: NDArray[np.float64], r: NDArray[np.float64], fine: NDArray[np.float64], line: float
) -> NDArray[np.float64]:
    """Curves on finer points from zero on, raised by a line; below the grid they rise evenly to its first value."""
    values = CubicSpline(r, curves + line * r, axis=1)(np.maximum(fine, r[0]))
    return np.maximum(values * np.minimum(fine / r[0], 1.0) if r[0] > 0 else values, 0.0)


def _optimizer() -> Any:
    try:
        from diffpy.stretched_nmf.snmf_class import SNMFOptimizer
    except ImportError as error:
        raise ConfigError(
            f"decompose.method: stretched-nmf needs the package diffpy.stretched-nmf, which cannot be imported "
            f"({error}); install it with: pip install 'hpc_mlsm[stretched-nmf]', or set decompose.method to nmf"
        ) from error
    return SNMFOptimizer

"""Learning how far a model can be trusted, from validation rows that it has not learned from."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from hpc_mlsm.models.calibration import expected_calibration_error, reliability
from hpc_mlsm.models.retrieval import Retrieval
from hpc_mlsm.models.surrogates import no_patterns, with_noise
from hpc_mlsm.models.trust import (
    SMALLEST,
    VERDICTS,
    Neighbours,
    Odds,
    Trust,
    answer_features,
    curve_features,
    judge,
    lifted,
    likeliest,
    pooled,
)
from hpc_mlsm.scattering.normalise import standardise

Margins = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Scores (n, C) of standardised patterns."""

OUTSIDE_ACCEPTED = 0.05
"""Share of validation rows which, their class taken away, may still be known well enough for a confident answer."""

KNOWN_REFUSED, CORRELATION_REFUSED = 0.05, 0.02
"""Shares of validation rows that may count as outside the catalogue, which they are not, by either criterion."""

LARGEST_WEIGHT = 200.0
PENALTY = 1e-3
QUANTILES = 1000
COVERAGE = 0.95


def fit_trust(
    margins_of: Margins,
    retrieval: Retrieval,
    patterns: NDArray[np.float32],
    labels: NDArray[np.int64],
    axis: tuple[str, NDArray[np.float64]],
    seed: int = 0,
) -> tuple[float, Trust]:
    """Temperature and trust of a model.

    What a frame of a structure outside the catalogue looks like is learned from the rows themselves: each is answered
    a second time as if its own class did not exist. Half of the rows get noise, since measured patterns have it.

    Parameters
    ----------
    margins_of : callable
    retrieval : Retrieval
        Training patterns.
    patterns : float32 (n, points)
        Standardised validation patterns.
    labels : int64 (n,)
    axis : (str, array (points,))
        Name and values of the grid.
    seed : int
        Of noise and surrogates.
    """
    generator = np.random.default_rng(seed)
    noisy = patterns.copy()
    noisy[1::2] = standardise(with_noise(patterns[1::2], generator))
    margins, clean = margins_of(noisy), margins_of(patterns)
    near, clean_near = _near(retrieval, noisy, margins), _near(retrieval, patterns, clean)
    temperature, weight = fit_pool(clean, clean_near, labels)
    probabilities = pooled(margins, near, temperature, weight)
    others, others_near = _without(margins, retrieval, noisy, labels)
    others_probabilities = pooled(others, others_near, temperature, weight)
    inside = answer_features(margins, near, probabilities)
    outside = answer_features(others, others_near, others_probabilities)
    surrogates = standardise(no_patterns(patterns, axis[1], axis[0], generator))
    surrogate_margins = margins_of(surrogates)
    surrogate_near = _near(retrieval, surrogates, surrogate_margins)
    surrogate_probabilities = pooled(surrogate_margins, surrogate_near, temperature, weight)
    # Noise among what is not known keeps the odds low far away from all that was seen.
    far = answer_features(surrogate_margins, surrogate_near, surrogate_probabilities)
    known = fit_odds(inside, np.concatenate([outside, far]))
    sure = float(np.quantile(known(outside), 1.0 - OUTSIDE_ACCEPTED))
    clean_probabilities = pooled(clean, clean_near, temperature, weight)
    right = clean_probabilities[np.arange(len(labels)), labels]
    # An unknown crystal may correlate as little as noise does: then the shape alone has to tell.
    correlations = np.concatenate([_best(near), _best(others_near), _best(surrogate_near)])
    pattern = fit_odds(
        curve_features(np.concatenate([noisy, noisy, noisy]), correlations),
        curve_features(surrogates, _best(surrogate_near)),
    )
    trust = Trust(
        correlation_weight=weight,
        nonconformity=_quantiles(1.0 - right),
        known=known,
        known_least=min(float(np.quantile(known(inside), KNOWN_REFUSED)), sure),
        known_sure=sure,
        correlation_least=float(np.quantile(_best(near), CORRELATION_REFUSED)),
        pattern=pattern,
    )
    answered = {
        "validation": judge(trust, noisy, margins, near, probabilities, 1, COVERAGE),
        "class_taken_away": judge(trust, noisy, others, others_near, others_probabilities, 1, COVERAGE),
        "no_pattern": judge(
            trust,
            surrogates,
            surrogate_margins,
            surrogate_near,
            surrogate_probabilities,
            1,
            COVERAGE,
        ),
    }
    shares = {name: _shares(answers.verdict) for name, answers in answered.items()}
    figures = {"verdicts": shares, **_reliability(clean_probabilities, labels)}
    return temperature, Trust(**{**trust.__dict__, "figures": figures})


def fit_pool(margins: NDArray[np.float32], near: Neighbours, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Temperature, and weight of the correlations, that make the labels likeliest."""
    rows = np.arange(len(labels))

    def of(x: NDArray[np.float64]) -> tuple[float, float]:
        temperature = float(np.exp(np.clip(x[0], np.log(0.05), np.log(20.0))))
        return temperature, max(0.0, float(np.exp(min(x[1], np.log(LARGEST_WEIGHT)))) - 1e-3)

    def loss(x: NDArray[np.float64]) -> float:
        own = pooled(margins, near, *of(x))[rows, labels]
        return -float(np.log(np.maximum(own, SMALLEST)).mean())

    best = min(
        (
            minimize(loss, [0.0, start], method="Nelder-Mead", options={"maxiter": 60, "xatol": 0.01, "fatol": 1e-4})
            for start in (np.log(1e-3), np.log(10.0))
        ),
        key=lambda found: found.fun,
    )
    return of(best.x)


def fit_odds(yes: NDArray[np.float64], no: NDArray[np.float64]) -> Odds:
    """Logistic regression with a small ridge that gives both sides the same weight."""
    features = np.concatenate([yes, no])
    sign = np.concatenate([np.ones(len(yes)), -np.ones(len(no))])
    share = np.concatenate([np.full(len(yes), 0.5 / len(yes)), np.full(len(no), 0.5 / len(no))])
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    x = lifted(features, mean, scale)
    ridge = np.full(x.shape[1], PENALTY)
    ridge[-1] = 0.0

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = sign * (x @ w)
        gradient = -(x.T @ (share * sign * expit(-z))) + 2.0 * ridge * w
        return float((share * np.logaddexp(0.0, -z)).sum() + (ridge * w * w).sum()), gradient

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B")
    return Odds(tuple(mean.tolist()), tuple(scale.tolist()), tuple(found.x.tolist()))


def _near(retrieval: Retrieval, patterns: NDArray[np.float32], margins: NDArray[np.float32]) -> Neighbours:
    classes = likeliest(margins)
    return Neighbours(classes, retrieval.of_classes(patterns, classes))


def _without(
    margins: NDArray[np.float32], retrieval: Retrieval, patterns: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], Neighbours]:
    """Scores and neighbours as if the right class did not exist."""
    others = margins.copy()
    others[np.arange(len(labels)), labels] = margins.min(axis=1) - 1.0
    return others, _near(retrieval, patterns, others)


def _best(near: Neighbours) -> NDArray[np.float32]:
    return np.asarray(near.correlations.max(axis=1))


def _quantiles(scores: NDArray[np.floating]) -> tuple[float, ...]:
    """The scores sorted; of many, so many quantiles that none is too small."""
    ordered = np.sort(scores.astype(np.float64))
    if len(ordered) > QUANTILES:
        ordered = ordered[np.ceil(np.arange(1, QUANTILES + 1) * len(ordered) / QUANTILES).astype(int) - 1]
    return tuple(ordered.tolist())


def _shares(verdict: NDArray[np.int8]) -> dict[str, float]:
    return {name: float((verdict == k).mean()) for k, name in enumerate(VERDICTS)}


def _reliability(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    stated, found, rows = reliability(confidence, correct)
    return {
        "ece": expected_calibration_error(confidence, correct),
        "reliability": {"stated": stated.tolist(), "found": found.tolist(), "rows": rows.tolist()},
    }

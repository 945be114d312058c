"""Learning how far a model can be trusted, from validation rows that it has not learned from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    pooled,
)
from hpc_mlsm.scattering.normalise import standardise

Margins = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Scores (n, C) of standardised patterns."""

OUTSIDE_ACCEPTED = 0.05
"""Share of rows of classes that were taken away which may still be known well enough for a confident answer."""

FOLDS = 4
"""Parts of the classes; what is asked of each is learned from the others."""

KNOWN_REFUSED, CORRELATION_REFUSED = 0.05, 0.02
"""Shares of validation rows that may count as outside the catalogue, which they are not, by either criterion."""

LARGEST_WEIGHT = 200.0
PENALTY = 1e-3
QUANTILES = 1000
COVERAGE = 0.95


@dataclass(frozen=True, eq=False)
class _Seen:
    """Patterns as ``judge`` takes them, and their features."""

    values: NDArray[np.float32]
    near: Neighbours
    probabilities: NDArray[np.float32]
    residuals: NDArray[np.float32]
    features: NDArray[np.float64]

    def judged(self, trust: Trust) -> dict[str, float]:
        """Shares of the verdicts."""
        found = judge(trust, self.values, self.near, self.probabilities, self.residuals, 1, COVERAGE)
        return {name: float((found.verdict == k).mean()) for k, name in enumerate(VERDICTS)}

    @property
    def best(self) -> NDArray[np.float32]:
        """Correlation with the nearest pattern."""
        return np.asarray(self.near.correlations.max(axis=1))


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
    clean = margins_of(patterns)
    clean_near = Neighbours.of(retrieval, patterns, clean)
    temperature, weight = fit_pool(clean, clean_near, labels)

    def seen(values: NDArray[np.float32], margins: NDArray[np.float32], near: Neighbours) -> _Seen:
        probabilities = pooled(margins, near, temperature, weight)
        residuals = retrieval.residuals(values, probabilities.argmax(axis=1))
        return _Seen(values, near, probabilities, residuals, answer_features(residuals, near, probabilities))

    margins = margins_of(noisy)
    inside = seen(noisy, margins, Neighbours.of(retrieval, noisy, margins))
    outside = seen(noisy, *_without(margins, retrieval, noisy, labels))
    made = standardise(no_patterns(patterns, axis[1], axis[0], generator))
    margins = margins_of(made)
    surrogates = seen(made, margins, Neighbours.of(retrieval, made, margins))
    trust = _learned(inside, outside, surrogates, labels, weight)
    probabilities = pooled(clean, clean_near, temperature, weight)
    right = probabilities[np.arange(len(labels)), labels]
    figures = {
        "rows": len(labels),
        "classes": len(np.unique(labels)),
        "verdicts": {
            name: one.judged(trust)
            for name, one in (("validation", inside), ("class_taken_away", outside), ("no_pattern", surrogates))
        },
        **_reliability(probabilities, labels),
    }
    return temperature, replace(trust, nonconformity=_quantiles(1.0 - right), figures=figures)


def _learned(inside: _Seen, outside: _Seen, surrogates: _Seen, labels: NDArray[np.int64], weight: float) -> Trust:
    """All of trust but the sets of candidates and the figures."""
    # Noise among what is not known keeps the odds low far away from all that was seen.
    known = fit_odds(inside.features, np.concatenate([outside.features, surrogates.features]))
    sure = _least_sure(inside, outside, surrogates, labels)
    # An unknown crystal may correlate as little as noise does: then the shape alone has to tell.
    correlations = np.concatenate([inside.best, outside.best, surrogates.best])
    pattern = fit_odds(
        curve_features(np.concatenate([inside.values] * 3), correlations),
        curve_features(surrogates.values, surrogates.best),
    )
    return Trust(
        correlation_weight=weight,
        nonconformity=(0.0,),
        known=known,
        known_least=min(float(np.quantile(known(inside.features), KNOWN_REFUSED)), sure),
        known_sure=sure,
        correlation_least=float(np.quantile(inside.best, CORRELATION_REFUSED)),
        pattern=pattern,
    )


def _least_sure(inside: _Seen, outside: _Seen, surrogates: _Seen, labels: NDArray[np.int64]) -> float:
    """Least probability of being known that a confident answer needs.

    Classes, not rows, are what a catalogue lacks: rows of a class whose twin is in the catalogue (the same structure
    type, a lattice within the strains) pass together. So the odds that are asked of a class are learned from others,
    and the mean over classes of the share that passes, plus its standard error, has to stay below OUTSIDE_ACCEPTED.
    """
    classes, number = np.unique(labels, return_inverse=True)
    scores, folds = np.empty(len(labels)), min(FOLDS, len(classes))
    for fold in range(folds):
        own = number % folds == fold
        others = np.concatenate([outside.features[~own], surrogates.features])
        scores[own] = fit_odds(inside.features[~own], others)(outside.features[own])
    return _passed_by_few(scores, number)


def _passed_by_few(scores: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """The least threshold that few classes pass; see ``_least_sure``."""
    rows = np.bincount(classes)
    for share in np.linspace(0.8, 1.0, 201):
        threshold = float(np.quantile(scores, share))
        passed = np.bincount(classes, scores >= threshold) / rows
        if passed.mean() + passed.std() / np.sqrt(len(passed)) <= OUTSIDE_ACCEPTED:
            return threshold
    return float(scores.max())


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


def _without(
    margins: NDArray[np.float32], retrieval: Retrieval, patterns: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], Neighbours]:
    """Scores and neighbours as if the right class did not exist."""
    others = margins.copy()
    others[np.arange(len(labels)), labels] = margins.min(axis=1) - 1.0
    near = Neighbours.of(retrieval, patterns, others)
    own = near.classes == labels[:, None]  # there are no more than ten classes
    return others, replace(
        near,
        correlations=np.where(own, np.float32(-1.0), near.correlations),
        unexplained=np.where(own, np.float32(1.0), near.unexplained),
    )


def _quantiles(scores: NDArray[np.floating]) -> tuple[float, ...]:
    """The scores sorted; of many, so many quantiles that none is too small."""
    ordered = np.sort(scores.astype(np.float64))
    if len(ordered) > QUANTILES:
        ordered = ordered[np.ceil(np.arange(1, QUANTILES + 1) * len(ordered) / QUANTILES).astype(int) - 1]
    return tuple(ordered.tolist())


def _reliability(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    stated, found, rows = reliability(confidence, correct)
    return {
        "ece": expected_calibration_error(confidence, correct),
        "reliability": {"stated": stated.tolist(), "found": found.tolist(), "rows": rows.tolist()},
    }

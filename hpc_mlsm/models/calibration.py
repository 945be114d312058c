"""Temperature scaling: scores into probabilities that mean what they say (Guo et al., ICML 2017)."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

BLOCK_BYTES = 64e6
"""Margins that are looked at together take at most about this much memory."""


def fit_temperature(margins: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature that minimises the negative log-likelihood of validation labels, between 0.05 and 20.

    Parameters
    ----------
    margins : array (rows, classes)
        Untransformed scores.
    labels : array (rows,)
    """
    from scipy.optimize import minimize_scalar

    block = max(1, int(BLOCK_BYTES / (8 * margins.shape[1])))

    def loss(log_temperature: float) -> float:
        total = 0.0
        for start in range(0, len(labels), block):
            own = labels[start : start + block]
            scaled = margins[start : start + block] / np.exp(log_temperature)
            total -= float(log_softmax(scaled, axis=1)[np.arange(len(own)), own].sum())
        return total / len(labels)

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def probabilities(margins: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Calibrated class probabilities, shape (rows, classes)."""
    return softmax(margins / np.float32(temperature), axis=1)


def reliability(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean confidence, accuracy and rows of each filled bin of confidence: the points of a reliability diagram."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)
    filled = counts > 0
    mean = np.bincount(index, weights=confidence, minlength=bins)[filled] / counts[filled]
    accuracy = np.bincount(index, weights=correct.astype(float), minlength=bins)[filled] / counts[filled]
    return mean, accuracy, counts[filled]


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their rows (Naeini et al., 2015)."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=correct.astype(float) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / max(1, len(confidence)))

"""Temperature scaling: scores into probabilities that mean what they say (Guo et al., ICML 2017)."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax


def fit_temperature(margins: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature that minimises the negative log-likelihood of validation labels.

    Parameters
    ----------
    margins : array (rows, classes)
        Untransformed scores.
    labels : array (rows,)
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(margins / np.exp(log_temperature), axis=1)[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def probabilities(margins: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Calibrated class probabilities, shape (rows, classes)."""
    return softmax(margins / np.float32(temperature), axis=1)


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their rows (Naeini et al., 2015)."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=correct.astype(float) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / max(1, len(confidence)))

"""Scores of a cross-validated classifier, fold by fold, with the dummy beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError

Measure = Literal["accuracy", "top2", "weighted_f1", "balanced_accuracy"]
MEASURES: tuple[Measure, ...] = ("accuracy", "top2", "weighted_f1", "balanced_accuracy")

Each = Literal["precision", "recall", "f1"]
PER_CLASS: tuple[Each, ...] = ("precision", "recall", "f1")


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Scores on one fold.

    Attributes
    ----------
    accuracy, top2
        Share of rows whose class is the first answer, or one of the first two; of equal answers the lower class
        counts first.
    weighted_f1
        Mean of the classes' F1, weighted by their rows.
    balanced_accuracy
        Mean recall of the classes that the fold has.
    precision, recall, f1 : float64 (C,)
        Of each class; NaN where the fold has no row of it (recall, F1) or it was never named (precision).
    confusion : int64 (C, C)
        Rows of class i that were called j.
    """

    accuracy: float
    top2: float
    weighted_f1: float
    balanced_accuracy: float
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    confusion: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What cross-validation says of one model on one data set; ``rows_by_class`` (C,) counts the data set."""

    model: str
    data_set: str
    classes: tuple[str, ...]
    rows_by_class: NDArray[np.int64]
    folds: tuple[FoldScores, ...]

    def mean_std(self, measure: Measure) -> tuple[float, float]:
        """Mean over folds, and the standard deviation of a fold (n - 1)."""
        return _mean_std(np.array([getattr(fold, measure) for fold in self.folds]))

    def class_mean_std(self, each: Each, label: int) -> tuple[float, float]:
        """Mean over the folds in which it is defined, and standard deviation, of one class."""
        return _mean_std(np.array([getattr(fold, each)[label] for fold in self.folds]))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix (C, C) summed over the folds."""
        return np.asarray(np.sum([fold.confusion for fold in self.folds], axis=0), dtype=np.int64)


def cross_validation_scores(
    model: str,
    data_set: str,
    classes: tuple[str, ...],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    fold_of: NDArray[np.integer],
) -> CrossValidation:
    """Scores from the probabilities (n, C) that each row got from a model that had not seen its fold.

    Raises
    ------
    ConfigError
        If shapes do not match, or a row of a fold has no finite probabilities.
    """
    if probabilities.shape != (len(labels), len(classes)) or len(fold_of) != len(labels):
        raise ConfigError(
            f"{model}: probabilities of shape {probabilities.shape} do not fit {len(labels)} rows of {len(classes)} "
            "classes"
        )
    tested = fold_of >= 0
    if not np.isfinite(probabilities[tested]).all():
        raise ConfigError(f"{model}: rows of a fold have no probabilities; run the missing folds")
    folds = tuple(
        score_fold(labels[fold_of == fold], probabilities[fold_of == fold]) for fold in np.unique(fold_of[tested])
    )
    return CrossValidation(model, data_set, classes, np.bincount(labels[tested], minlength=len(classes)), folds)


def dummy_probabilities(labels: NDArray[np.int64], fold_of: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """What the dummy answers: the shares of the classes outside the fold, so always the commonest class first."""
    found = np.full((len(labels), n_classes), np.nan)
    for fold in np.unique(fold_of[fold_of >= 0]):
        outside = labels[fold_of != fold]
        found[fold_of == fold] = np.bincount(outside, minlength=n_classes) / max(1, len(outside))
    return found


def score_fold(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> FoldScores:
    """Scores of the answers (n, C) to the rows of one fold."""
    from sklearn.metrics import confusion_matrix

    n, n_classes = probabilities.shape
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    before = np.arange(n_classes) < labels[:, None]
    rank = (probabilities > own).sum(axis=1) + ((probabilities == own) & before).sum(axis=1)
    confusion = confusion_matrix(labels, probabilities.argmax(axis=1), labels=np.arange(n_classes)).astype(np.int64)
    rows, called, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = right / called, right / rows, 2.0 * right / (rows + called)
    f1 = np.where(rows > 0, f1, np.nan)
    weighted = float(np.nansum(np.where(rows > 0, f1 * rows, 0.0)) / max(1, n))
    return FoldScores(
        float((rank == 0).mean()), float((rank < 2).mean()), weighted, float(np.nanmean(recall)), precision, recall, f1,
        confusion,
    )  # fmt: skip


def _mean_std(values: NDArray[np.float64]) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def best(results: Iterable[CrossValidation], measure: Measure = "accuracy") -> CrossValidation:
    """The model with the highest mean."""
    return max(results, key=lambda result: result.mean_std(measure)[0])

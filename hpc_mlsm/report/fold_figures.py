"""Figures of a cross-validation: models beside each other, confusion of classes, accuracy by number of structures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpc_mlsm.evaluation.fold_files import DUMMY
from hpc_mlsm.evaluation.fold_scores import CrossValidation, Measure
from hpc_mlsm.report.notation import plain_figure
from hpc_mlsm.report.style import BLUE, GRID, INK, SERIES, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPAQUE = 0.55
"""Opacity of 100 % in a confusion figure: numbers stand out from it by 4.5 to 1 or more."""

_SHOWN: dict[Measure, str] = {
    "accuracy": "accuracy",
    "top2": "top-2",
    "weighted_f1": "F1\n(weighted)",
    "balanced_accuracy": "balanced\naccuracy",
}


def models_figure(results: Sequence[CrossValidation]) -> "Figure":
    """Scores of the models of one data set, mean over the folds, with one standard deviation to each side."""
    figure, axes = new_axes(7.2, 3.0)
    width = 0.8 / len(results)
    colours = iter(SERIES * (1 + len(results) // len(SERIES)))
    for place, result in enumerate(results):
        found = np.array([result.mean_std(measure) for measure in _SHOWN])
        x = np.arange(len(_SHOWN)) + (place - (len(results) - 1) / 2) * width
        colour = GRID if result.model == DUMMY else next(colours)
        axes.bar(x, found[:, 0], 0.9 * width, color=colour, label=plain_figure(result.model, 20))
        axes.errorbar(x, found[:, 0], found[:, 1], fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
    axes.set_xticks(range(len(_SHOWN)), list(_SHOWN.values()))
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y")
    axes.set_ylabel("Score (share)")
    figure.legend(loc="outside upper left", ncols=min(5, len(results)), handlelength=1.0)
    return figure


def confusion_figure(result: CrossValidation) -> "Figure":
    """What each class (row) was called (column), as share of the class; summed over the folds.

    Classes without patterns, which are never called either, are left out.
    """
    from matplotlib.patches import Rectangle

    matrix = result.confusion
    kept = np.flatnonzero((matrix.sum(axis=1) + matrix.sum(axis=0)) > 0)
    shares = 100.0 * matrix[np.ix_(kept, kept)] / np.maximum(1, matrix[kept].sum(axis=1))[:, None]
    names = [plain_figure(result.classes[k], 14) for k in kept]
    figure, axes = new_axes(4.6, 4.0)
    for row, col in np.ndindex(shares.shape):
        # One colour, more or less opaque and never so much that the number could not be read, on dark pages neither.
        shade = OPAQUE * shares[row, col] / 100
        axes.add_patch(Rectangle((col, row), 1, 1, facecolor=BLUE, alpha=shade, linewidth=0))
        if shares[row, col] > 0:
            text = f"{shares[row, col]:.0f}" if shares[row, col] >= 0.5 else "<1"
            axes.text(col + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8)
    axes.set_xticks(np.arange(len(kept)) + 0.5, names, rotation=90)
    axes.set_yticks(np.arange(len(kept)) + 0.5, names)
    axes.tick_params(length=0)
    axes.set(xlim=(0, len(kept)), ylim=(len(kept), 0))
    axes.set_xlabel("Called (% of the class)")
    axes.set_ylabel("Is (crystal system)")
    return figure

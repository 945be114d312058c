"""Figures of a measured powder pattern: what the models saw of it, and what each says of it."""

from typing import TYPE_CHECKING

import numpy as np

from hpc_mlsm.archive.powder_answers import PowderAnswer
from hpc_mlsm.models.peak_features import NOISY, find_peak_table
from hpc_mlsm.models.powder_models import LABELS, PowderModel
from hpc_mlsm.report.style import BLUE, GRID, MUTED, SERIES, VERMILION, new_axes, thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def seen_figure(answer: PowderAnswer, model: PowderModel) -> "Figure":
    """The pattern on the models' grid, without its background, with the first ten peaks marked."""
    figure, axes = new_axes(6.0, 2.4)
    grid, values = model.two_theta, answer.prepared.values
    axes.plot(*thinned(grid, values), color=BLUE, linewidth=0.9)
    first = find_peak_table(values[None], grid, NOISY).positions[0]
    first = first[first <= grid[-1]]
    heights = np.interp(first, grid, values)
    axes.plot(first, heights + 0.04, "v", color=VERMILION, markersize=4, label="first ten peaks")
    low, high = answer.prepared.covered
    for start, stop in ((grid[0], low), (high, grid[-1])):
        if stop - start > grid[1] - grid[0]:
            axes.axvspan(start, stop, color=GRID, alpha=0.6, linewidth=0)
    axes.set_xlim(grid[0], grid[-1])
    axes.set_ylim(-0.02, 1.1)
    axes.set_xlabel("2θ (degree) at the models' wavelength")
    axes.set_ylabel("Intensity (largest = 1)")
    axes.legend(loc="upper right")
    return figure


def answers_figure(answer: PowderAnswer, models: tuple[PowderModel, ...]) -> "Figure":
    """Bars of every class for each model, side by side."""
    figure, axes = new_axes(6.0, 2.6)
    classes = models[0].classes
    places, width = np.arange(len(classes)), 0.8 / len(models)
    for number, (model, shares) in enumerate(zip(models, answer.probabilities, strict=True)):
        colour = SERIES[number % len(SERIES)]
        hatch = ("", "///", "...")[number // len(SERIES) % 3]
        offset = (number - (len(models) - 1) / 2) * width
        axes.bar(places + offset, shares, 0.92 * width, color=colour, hatch=hatch, edgecolor=MUTED, linewidth=0.3,
                 label=model_label(model))  # fmt: skip
    axes.set_xticks(places, classes, fontsize=7.5)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1)
    axes.grid(axis="y")
    axes.set_ylabel("Probability or share of votes")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(3, len(models)), borderaxespad=0.2)
    return figure


def model_label(model: PowderModel) -> str:
    """A model's name, and what it is where the name does not say it."""
    kind = LABELS[model.kind]
    return kind if model.name == model.kind else f"{model.name} ({kind})"

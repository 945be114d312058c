"""Figures of a run as a whole: catalogue, groups, accuracy, training, calibration, weak spots.

Each returns a figure without a title; the page says what it shows.
"""

from typing import TYPE_CHECKING

import numpy as np

from hpc_mlsm.report.content import (
    Calibration,
    CatalogueSummary,
    GroupSummary,
    ModelScore,
    TrainingSummary,
    WeakSpot,
)
from hpc_mlsm.report.notation import formula_figure, plain_figure, space_group_figure
from hpc_mlsm.report.quantities import count, percent, rounded
from hpc_mlsm.report.style import BLUE, GRID, MUTED, ORANGE, PAPER, SERIES, VERMILION, new_axes, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW_ROWS = 30
"""A bin of fewer rows is drawn hollow: its accuracy is uncertain by ten per cent and more."""

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")


def crystal_systems_figure(catalogue: CatalogueSummary) -> "Figure":
    """How many structures each crystal system has."""
    figure, axes = new_axes(4.4, 2.7)
    others = sorted(set(catalogue.crystal_systems) - set(CRYSTAL_SYSTEMS))
    names = [*CRYSTAL_SYSTEMS, *others]
    numbers = [catalogue.crystal_systems.get(name, 0) for name in names]
    axes.barh(range(len(names)), numbers, color=BLUE, height=0.66)
    axes.set_yticks(range(len(names)), [plain_figure(name, 16) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    for place, number in enumerate(numbers):
        axes.annotate(count(number), (number, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_xlim(0, 1.14 * max([*numbers, 1]))
    axes.set_xlabel("Structures (number)")
    _whole_ticks(axes, "x")
    return figure


def group_sizes_figure(groups: GroupSummary) -> "Figure":
    """How many groups there are of each size; logarithmic where numbers span more than two decades."""
    figure, axes = new_axes(4.4, 2.7)
    draw_group_sizes(axes, groups)
    return figure


def draw_group_sizes(axes: "Axes", groups: GroupSummary) -> None:
    """Draw the histogram of group sizes into given axes."""
    sizes = np.asarray(groups.sizes)
    if sizes.max() <= 20:
        places = np.arange(1, sizes.max() + 1)
        numbers = np.bincount(sizes, minlength=sizes.max() + 1)[1:]
        axes.bar(places, numbers, width=0.7, color=BLUE)
        axes.set_xlim(0.3, sizes.max() + 0.7)
        _whole_ticks(axes, "x")
    else:
        edges = np.unique(np.round(np.geomspace(1, 1.001 * sizes.max() + 1, 24)))
        numbers = np.histogram(sizes, edges)[0]
        axes.bar(edges[:-1] - 0.5, numbers, width=0.9 * np.diff(edges), align="edge", color=BLUE)
        axes.set_xscale("log")
        _plain_log(axes, "x")
    if numbers.max() > 30:
        axes.set_yscale("log")
        axes.set_ylim(0.7, 2.2 * numbers.max())
        _plain_log(axes, "y")
    else:
        _whole_ticks(axes, "y")
    axes.grid(axis="y")
    axes.set_xlabel("Structures in the class (number)")
    axes.set_ylabel("Classes (number)")


def accuracy_figure(scores: tuple[ModelScore, ...]) -> "Figure":
    """Share of test rows whose class is among the first k, for all models."""
    figure, axes = new_axes(4.4, 3.1)
    draw_accuracy(axes, scores, (265, 175))
    return figure


def draw_accuracy(
    axes: "Axes", scores: tuple[ModelScore, ...], size_pt: tuple[float, float], label_size: float = 7.5
) -> None:
    """Draw accuracy at each k, a bar for each model, into given axes of about that width and height."""
    ks = sorted({k for score in scores for k in score.top_k})
    width = 0.84 / len(scores)
    # Numbers over the bars are turned where bars are narrower than five figures of 0.6 em.
    upright = 5 * 0.6 * label_size < size_pt[0] / len(ks) * width
    colours = iter(SERIES * (1 + len(scores) // len(SERIES)))
    for place, score in enumerate(scores):
        x = np.arange(len(ks)) + (place - (len(scores) - 1) / 2) * width
        y = [100 * score.top_k.get(k, np.nan) for k in ks]
        colour = GRID if score.dummy else next(colours)
        axes.bar(x, y, 0.92 * width, color=colour, label=plain_figure(score.name, 34))
        for at, value in zip(x, y, strict=True):
            if np.isfinite(value):
                text = percent(value / 100).removesuffix("%").strip()
                axes.annotate(
                    text, (at, value), (0, 2), textcoords="offset points", ha="center", va="bottom",
                    fontsize=label_size, rotation=0 if upright else 90,
                )  # fmt: skip
    axes.set_xticks(range(len(ks)), [str(k) for k in ks])
    axes.tick_params(axis="x", length=0)
    axes.set_yticks(range(0, 101, 20))
    axes.spines["left"].set_bounds(0, 100)
    axes.grid(axis="y")
    axes.set_xlabel("$k$ (answers considered)")
    axes.set_ylabel("Accuracy (%)")
    # The legend stands inside, above 100 %, where names of any length have room.
    columns = 1 if len(scores) <= 3 else 2
    rows = -(-len(scores) // columns)
    legend_pt = rows * 1.75 * label_size + (4 if upright else 4 * label_size)
    axes.set_ylim(0, 105 / (1 - legend_pt / size_pt[1]))
    axes.legend(
        loc="upper left", ncols=columns, handlelength=1, handleheight=0.9, columnspacing=1.2, borderaxespad=0,
        labelspacing=0.35, fontsize=label_size + 1,
    )  # fmt: skip


def training_figure(training: TrainingSummary) -> "Figure":
    """Validation loss after each boosting round; the best round is marked."""
    figure, axes = new_axes(4.4, 2.7)
    losses = np.asarray(training.losses, dtype=float)
    axes.plot(*thinned(np.arange(1, len(losses) + 1), losses), color=BLUE)
    if 0 <= training.best_round < len(losses):
        place, best = training.best_round + 1, losses[training.best_round]
        label = f"kept: round {count(place)}, {rounded(best)} nats"
        axes.plot([place], [best], "o", color=VERMILION, markersize=5, label=label)
        axes.legend(loc="upper right", handlelength=0.8)
    positive = losses[np.isfinite(losses) & (losses > 0)]
    if len(positive) and positive.max() > 20 * positive.min():
        axes.set_yscale("log")
        _plain_log(axes, "y")
    elif len(positive):
        axes.set_ylim(0, 1.05 * positive.max())
    axes.margins(x=0.03)
    axes.grid(axis="y")
    _whole_ticks(axes, "x")
    axes.set_xlabel("Boosting round (number)")
    axes.set_ylabel("Validation loss (nats)")
    return figure


def reliability_figure(calibration: Calibration) -> "Figure":
    """Accuracy against stated confidence, with the number of rows that each point rests on."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 3.5))
    axes, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    x, y = 100 * calibration.confidence, 100 * calibration.accuracy
    axes.plot(x, y, color=BLUE, zorder=2)
    for few, fill in ((False, BLUE), (True, PAPER)):
        rows = (calibration.counts < FEW_ROWS) == few
        label = f"fewer than {FEW_ROWS} rows" if few else f"{FEW_ROWS} rows or more"
        axes.plot(x[rows], y[rows], "o", color=BLUE, markerfacecolor=fill, markersize=5, label=label)
    axes.legend(loc="upper left", handlelength=0.8, borderaxespad=0.2)
    axes.set_xlim(-2, 102)
    axes.set_ylim(-4, 104)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(0, 101, 20))
    axes.grid()
    axes.set_ylabel("Accuracy (%)")
    width = min(6.0, 80 / max(1, len(x)))
    lower.bar(x, calibration.counts, width=width, color=BLUE)
    lower.set_yscale("log")
    lower.set_ylim(0.7, 3 * max(1, int(np.max(calibration.counts, initial=1))))
    _plain_log(lower, "y", 3)
    lower.set_ylabel("Rows (number)")
    lower.set_xlabel("Probability of the first answer (%)")
    return figure


def weak_spots_figure(spots: tuple[WeakSpot, ...]) -> "Figure":
    """For each class, the share of its rows that are named right and what the others are taken for."""
    figure, axes = new_axes(6.8, 0.9 + 0.235 * len(spots))
    colours = (VERMILION, ORANGE)
    for place, spot in enumerate(spots):
        left = 100 * spot.top1
        axes.barh(place, left, color=BLUE, height=0.62)
        for colour, (_, share) in zip(colours, spot.mistaken_for, strict=False):
            axes.barh(place, 100 * share, left=left, color=colour, height=0.62)
            left += 100 * share
        axes.barh(place, max(0.0, 100 - left), left=left, color=GRID, height=0.62)
        axes.text(103, place + 0.14, _mistaken(spot), va="baseline", fontsize=8)
    names = [f"{formula_figure(spot.formula, 20)}  {space_group_figure(spot.space_group_symbol)}" for spot in spots]
    axes.set_yticks(np.arange(len(spots)) + 0.16, names, va="baseline")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(spots) - 0.4, -0.6)
    axes.set_xlim(0, 220)
    axes.set_xticks(range(0, 101, 25))
    axes.spines["bottom"].set_bounds(0, 100)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Share of the class's test rows (%)", x=0.227)
    handles = [axes.barh(0, 0, color=colour) for colour in (BLUE, *colours, GRID)]
    axes.legend(
        handles, ["named right", "first mistake", "second mistake", "others"], loc="lower left", ncols=4,
        bbox_to_anchor=(0, 1), handlelength=1, handleheight=0.9, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    return figure


def _mistaken(spot: WeakSpot) -> str:
    """What a class is taken for, as far as a line holds it."""
    parts: list[str] = []
    room = 34
    for formula, share in spot.mistaken_for[:2]:
        room -= len(formula) + 8
        if parts and room < 0:
            break
        parts.append(f"{formula_figure(formula, 26)} {percent(share)}")
    return "→ " + ", ".join(parts) if parts else ""


def _whole_ticks(axes: "Axes", which: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))


def _plain_log(axes: "Axes", which: str, most: int = 6) -> None:
    """Ticks at decades, and at 2 and 5 where there are few of those, written as numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    few = most > 3 and high / low < 1000
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=20 if few else most + 2))
    axis.set_major_formatter(FuncFormatter(lambda value, _: count(value) if value >= 1 else f"{value:g}"))
    axis.set_minor_locator(NullLocator())

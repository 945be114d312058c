"""Figures of an archive as a whole: waterfall, Pearson matrix, phases and verdicts along the series."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.report.archive_answer import VERDICTS, ArchiveAnswer, SeriesAxis
from hpc_mlsm.report.binning import Bins, edges_of, is_monotonic
from hpc_mlsm.report.notation import structure_figure
from hpc_mlsm.report.style import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PURPLE, SKY, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

PHASE_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
VERDICT_COLOURS = (BLUE, SKY, ORANGE, GRID, INK, MUTED)
SHOWN_PHASES = 6
SHOWN_CURVES = 14
LEAST_SHARE = 0.02
"""A phase that is first in fewer of all frames, and in no stretch of them, is counted with the others."""

DIVERGING, SEQUENTIAL = "PuOr_r", "cividis"
"""Colour maps whose steps people with any common colour blindness tell apart."""


FEW_POINTS = 60
"""Up to so many frames each is marked, and uncertainties are bars instead of bands."""


def series_axis(answer: ArchiveAnswer) -> SeriesAxis:
    """What figures are drawn along: the archive's axis, or the number of the frame where that goes up and down."""
    if is_monotonic(answer.axis.values):
        return answer.axis
    return SeriesAxis("frame", "number", np.arange(answer.n, dtype=float))


def name_axis(which: "Axis", axis: SeriesAxis, most: int = 6) -> None:
    """Say what a figure is drawn along; there are no halves of frames among the ticks."""
    from matplotlib.ticker import MaxNLocator

    which.set_label_text(axis.label)
    which.set_major_locator(MaxNLocator(most, integer=axis.name == "frame", min_n_ticks=1))


def waterfall_figure(answer: ArchiveAnswer) -> "Figure":
    """Some patterns one above the other, and all of them (or means of neighbours) as colours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.2))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.25]})
    axis, patterns = series_axis(answer), answer.patterns
    places = _run_places(answer, axis)
    picked = np.unique(np.linspace(0, len(patterns) - 1, min(SHOWN_CURVES, len(patterns))).round().astype(int))
    step = 0.55 * float(np.ptp(patterns[picked], axis=1).max() or 1.0)
    for level, row in enumerate(picked):
        left.plot(answer.grid, patterns[row] + level * step, color=BLUE, linewidth=0.8)
    left.set_yticks(step * np.arange(len(picked)), [f"{places[row]:.4g}" for row in picked])
    left.tick_params(axis="y", length=0, labelsize=7.5)
    left.spines["left"].set_visible(False)
    left.set_xlim(answer.grid[0], answer.grid[-1])
    left.margins(y=0.02)
    left.set_xlabel(answer.plotted.abscissa_label)
    left.set_ylabel(axis.label)
    limit = float(np.quantile(np.abs(patterns), 0.995)) or 1.0
    signed = bool((patterns < 0).any())
    colours, limits = (DIVERGING, (-limit, limit)) if signed else (SEQUENTIAL, (0.0, limit))
    image = _heat(right, answer.grid, places, patterns, colours, limits)
    right.set_xlabel(answer.plotted.abscissa_label)
    name_axis(right.yaxis, axis)
    figure.colorbar(image, ax=right, label=answer.plotted.signal_label, pad=0.02, aspect=30)
    return figure


def correlation_figure(answer: ArchiveAnswer) -> "Figure":
    """The Pearson matrix, and below it the correlation of each frame with the one before."""
    from matplotlib.figure import Figure

    found = answer.decomposition
    assert found is not None
    figure = Figure(figsize=(4.6, 5.0))
    upper, lower = figure.subplots(2, 1, gridspec_kw={"height_ratios": [4, 1]})
    axis = series_axis(answer)
    places = _run_places(answer, axis)
    lowest = float(np.quantile(found.correlation, 0.001))
    low = max(-1.0, np.floor(20 * lowest) / 20)
    image = _heat(upper, places, places, found.correlation, SEQUENTIAL, (min(low, 0.95), 1.0))
    name_axis(upper.xaxis, axis)
    name_axis(upper.yaxis, axis)
    figure.colorbar(image, ax=upper, label="Pearson correlation (1)", pad=0.02, aspect=25)
    bins = Bins.of(len(answer.used))
    at = bins.mean(axis.values[answer.used])
    before = np.where(np.arange(found.n) > 0, found.neighbours, np.nan)  # the first frame has none
    low_line, middle = bins.quantiles(before, (0.0, 0.5))
    style = "o-" if len(at) <= FEW_POINTS else "-"
    lower.plot(at, middle, style, color=BLUE, markersize=2.6, label="" if bins.single else "median of a point's frames")
    if not bins.single:
        lower.plot(at, low_line, color=VERMILION, linewidth=0.8, label="lowest")
        lower.legend(loc="lower right", ncols=2, fontsize=7, bbox_to_anchor=(1, 0.98), borderaxespad=0)
    name_axis(lower.xaxis, axis)
    lower.set_ylabel("With the frame\nbefore (1)", fontsize=8)
    lower.grid(axis="y")
    return figure


def shown_phases(answer: ArchiveAnswer) -> list[int]:
    """Classes that are worth a row: first in some share of all frames, or in a stretch of them; by when they come."""
    first = answer.named
    bins = Bins.of(answer.n, 60)
    shares = {int(k): bins.share_of(first == k) for k in np.unique(first[first >= 0])}
    counting = [k for k, share in shares.items() if (first == k).mean() >= LEAST_SHARE or share.max() >= 0.5]
    counting = sorted(counting, key=lambda k: -float((first == k).mean()))[:SHOWN_PHASES]
    return sorted(counting, key=lambda k: float(np.flatnonzero(first == k).mean()))


def timeline_figure(answer: ArchiveAnswer) -> "Figure":
    """Which class comes first in which share of the frames, with its mean probability, and the verdicts below."""
    from matplotlib.figure import Figure

    phases = shown_phases(answer)
    bins, axis = Bins.of(answer.n), series_axis(answer)
    edges = edges_of(bins.mean(axis.values))
    first, likely = answer.named, answer.probability[:, 0]
    others = np.isin(first, phases, invert=True) & (first >= 0)
    rows = [(structure_figure(answer.label(k)), first == k, PHASE_COLOURS[at]) for at, k in enumerate(phases)]
    rows += [("other classes", others, MUTED)] if others.any() or not rows else []
    figure = Figure(figsize=(7.2, 1.9 + 0.55 * len(rows)))
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [0.55 * len(rows), 1.0]})
    for level, (_, chosen, colour) in enumerate(reversed(rows)):
        share = 0.86 * bins.share_of(chosen)
        sure = 0.86 * np.nan_to_num(bins.mean(np.where(chosen, likely, 0.0)))
        upper.stairs(level + share, edges, baseline=level, color=colour, alpha=0.3, fill=True, linewidth=0)
        upper.stairs(level + sure, edges, baseline=level, color=colour, fill=True, linewidth=0)
    upper.set_yticks([0.4 + k for k in range(len(rows))], [name for name, _, _ in reversed(rows)])
    upper.tick_params(axis="y", length=0)
    upper.tick_params(axis="x", labelbottom=False)
    upper.set_ylim(-0.05, len(rows) + 0.05)
    _draw_verdicts(lower, answer, bins, edges)
    name_axis(lower.xaxis, axis)
    lower.set_xlim(*sorted((edges[0], edges[-1])))
    return figure


def _draw_verdicts(axes: "Axes", answer: ArchiveAnswer, bins: Bins, edges: NDArray[np.float64]) -> None:
    floor = np.zeros(len(bins))
    for place, (word, colour) in enumerate(zip(VERDICTS, VERDICT_COLOURS, strict=True)):
        share = 100 * bins.share_of(answer.verdict == place)
        if share.any():
            axes.stairs(floor + share, edges, baseline=floor, color=colour, fill=True, linewidth=0, label=word)
        floor = floor + share
    axes.set_ylim(0, 100)
    axes.set_ylabel("Frames (%)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, handlelength=1, fontsize=8, borderaxespad=0.1)


def _run_places(answer: ArchiveAnswer, axis: SeriesAxis) -> NDArray[np.float64]:
    """Mean place along the axis of each run that ``patterns`` has a mean of."""
    values = axis.values[answer.used]
    if answer.decomposition is None:
        return values
    return Bins(answer.decomposition.bounds).mean(values)


def _heat(
    axes: "Axes",
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    values: NDArray[np.floating],
    colours: str,
    limits: tuple[float, float],
) -> "QuadMesh":
    """Values over x and y as colours, the first row at the bottom or at the top as y ascends or descends."""
    values = _at_most(values)
    mesh = axes.pcolormesh(
        _thinned_edges(x, values.shape[1]),
        _thinned_edges(y, values.shape[0]),
        values,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        rasterized=True,
    )
    axes.set_facecolor("none")
    return mesh


MOST_CELLS = 500


def _at_most(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means of neighbouring cells where there are more than a figure has pixels for."""
    for along in (0, 1):
        bins = Bins.of(values.shape[along], MOST_CELLS)
        if not bins.single:
            values = np.moveaxis(bins.mean(np.moveaxis(values, along, 0)), 0, along)
    return np.asarray(values, dtype=float)


def _thinned_edges(places: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    return edges_of(Bins.of(len(places), cells).mean(places))

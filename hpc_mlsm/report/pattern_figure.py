"""The figure of one measured pattern: what was measured, what a candidate predicts, and the difference below."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from hpc_mlsm.report.content import PatternResult
from hpc_mlsm.report.style import BLUE, GREEN, MUTED, VERMILION, new_axes, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_MARKERS = 450
"""A pattern of more points is drawn as a line."""

SHOWN = 3
"""Candidates whose curves are drawn."""


def pattern_figure(pattern: PatternResult) -> "Figure":
    """A measured pattern with its first fits, each in a layer of its own ("layer-1" …), of which a page shows one."""
    figure, axes = new_axes(6.0, 3.5)
    draw_pattern(axes, pattern, SHOWN)
    return figure


def draw_pattern(
    axes: "Axes", pattern: PatternResult, layers: int = 1, labels: tuple[str, str] = ("measured", "candidate")
) -> None:
    """Draw a pattern and its first fits into given axes; ``labels`` are what these are called."""
    r = np.asarray(pattern.r, dtype=float)
    measured = np.asarray(pattern.measured, dtype=float)
    fits = [np.asarray(fit.curve, dtype=float) for fit in pattern.fits[:layers]]
    _draw_measured(axes, r, measured, "sample (simulated)" if pattern.simulated else labels[0])
    baseline, lowest = _levels(measured, fits)
    if fits:
        axes.axhline(baseline, color=MUTED, linewidth=0.6)
    for place, curve in enumerate(fits, start=1):
        first = place == 1
        (line,) = axes.plot(*thinned(r, curve), color=VERMILION, label=labels[1] if first else None)
        line.set_gid(f"layer-{place}-curve")
        difference = thinned(r, measured - curve + baseline)
        (line,) = axes.plot(*difference, color=GREEN, linewidth=1.0, label="difference" if first else None)
        line.set_gid(f"layer-{place}-difference")
    axes.set_xlim(r.min(), r.max())
    axes.margins(y=0.04)
    _tick_above(axes, lowest)
    axes.set_xlabel("$r$ (Å)")
    axes.set_ylabel("$G(r)$ (Å$^{-2}$)")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.1, handlelength=1.6)


def _draw_measured(axes: "Axes", r: NDArray[np.float64], measured: NDArray[np.float64], label: str) -> None:
    if len(r) <= MAX_MARKERS:
        axes.plot(r, measured, "o", color=BLUE, markerfacecolor="none", markersize=3, mew=0.7, label=label)
    else:
        axes.plot(*thinned(r, measured), color=BLUE, linewidth=1.6, alpha=0.75, label=label)


def _tick_above(axes: "Axes", lowest: float) -> None:
    """Numbers beside the curves only: the zero of the difference is not that of the axis."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_ylim()
    ticks = MaxNLocator(nbins=8, steps=[1, 2, 5, 10]).tick_values(lowest, high)
    axes.set_yticks([tick for tick in ticks if max(low, lowest) <= tick <= high])
    axes.set_ylim(low, high)


def _levels(measured: NDArray[np.float64], fits: list[NDArray[np.float64]]) -> tuple[float, float]:
    """The zero of the differences, so far down that none comes near a curve, and the lowest value of the curves."""
    curves = np.nan_to_num([measured, *fits], posinf=0.0, neginf=0.0)
    lowest, highest = float(curves.min()), float(curves.max())
    window = max(3, curves.shape[1] // 30)
    floor = minimum_filter1d(curves.min(axis=0), window)
    above = maximum_filter1d((curves[0] - curves).max(axis=0), window)
    return float((floor - above).min()) - 0.04 * (highest - lowest), lowest

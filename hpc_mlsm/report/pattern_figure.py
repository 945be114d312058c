"""The figure of one measured pattern: what was measured, what a candidate predicts, and the difference below."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
    figure, axes = new_axes(6.0, 3.3)
    draw_pattern(axes, pattern, SHOWN)
    return figure


def draw_pattern(axes: "Axes", pattern: PatternResult, layers: int = 1) -> None:
    """Draw a pattern and its first fits into given axes."""
    r = np.asarray(pattern.r, dtype=float)
    measured = np.asarray(pattern.measured, dtype=float)
    fits = [np.asarray(fit.curve, dtype=float) for fit in pattern.fits[:layers]]
    _draw_measured(axes, r, measured)
    baseline = _baseline(measured, fits)
    if fits:
        axes.axhline(baseline, color=MUTED, linewidth=0.6)
    for place, curve in enumerate(fits, start=1):
        (line,) = axes.plot(*thinned(r, curve), color=VERMILION, label="simulated" if place == 1 else None)
        line.set_gid(f"layer-{place}-curve")
        difference = measured - curve + baseline
        (line,) = axes.plot(
            *thinned(r, difference), color=GREEN, linewidth=1.0, label="difference" if place == 1 else None
        )
        line.set_gid(f"layer-{place}-difference")
    axes.set_xlim(r.min(), r.max())
    axes.margins(y=0.04)
    if fits:
        _hide_ticks_below(axes, baseline)
    axes.set_xlabel("$r$ (Å)")
    axes.set_ylabel("$G(r)$ (Å$^{-2}$)")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.1, handlelength=1.6)


def _draw_measured(axes: "Axes", r: NDArray[np.float64], measured: NDArray[np.float64]) -> None:
    if len(r) <= MAX_MARKERS:
        axes.plot(r, measured, "o", color=BLUE, markerfacecolor="none", markersize=3, mew=0.7, label="measured")
    else:
        axes.plot(*thinned(r, measured), color=BLUE, linewidth=1.6, alpha=0.75, label="measured")


def _hide_ticks_below(axes: "Axes", level: float) -> None:
    """No numbers beside the difference, whose zero is not that of the axis."""
    axes.set_yticks([tick for tick in axes.get_yticks() if level <= tick <= axes.get_ylim()[1]])


def _baseline(measured: NDArray[np.float64], fits: list[NDArray[np.float64]]) -> float:
    """Where the zero of the differences lies: so far below that no difference touches a curve."""
    everything = np.concatenate([measured, *fits])
    everything = everything[np.isfinite(everything)]
    differences = [measured - curve for curve in fits]
    above = [float(difference[np.isfinite(difference)].max(initial=0.0)) for difference in differences]
    if not fits or not len(everything):
        return 0.0
    lowest, highest = float(everything.min()), float(everything.max())
    return lowest - 0.06 * (highest - lowest) - max(above)

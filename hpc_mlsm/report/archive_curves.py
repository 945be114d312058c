"""Figures of an archive's components, of refined values, and of single fits."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.candidates import Ranking
from hpc_mlsm.report.archive_answer import VERDICTS, ArchiveAnswer, ShownFit
from hpc_mlsm.report.archive_maps import FEW_POINTS, PHASE_COLOURS, name_axis, series_axis
from hpc_mlsm.report.archive_values import RefinedValues, refined_values
from hpc_mlsm.report.binning import Bins
from hpc_mlsm.report.content import PatternResult
from hpc_mlsm.report.notation import parameter_figure, structure_figure
from hpc_mlsm.report.pattern_figure import draw_pattern
from hpc_mlsm.report.quantities import unit
from hpc_mlsm.report.style import BLUE, GRID, MUTED, new_axes, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SINGLE_POINTS = 400
"""Up to so many values each is drawn with its uncertainty; of more, medians and quantiles of neighbours are."""

KNOWN_STRETCH = 0.05
"""A component of less weight in a frame says nothing of how it is stretched there."""

MOST_PANELS = 12
FIRST_PANELS = ("scale", "a", "b", "c", "alpha", "beta", "gamma")
APART = 8.0
"""Values of two structures that lie so many times their own spread apart get panels of their own."""

OF_NO_CLASS = VERDICTS[2:4]
LEAST_FITTED = 0.02
"""Share of the refined frames that a parameter must have values for to get a panel."""


def components_figure(answer: ArchiveAnswer) -> "Figure":
    """Curves of the components, one above the other, with what they are taken for; their weights beside."""
    from matplotlib.figure import Figure

    found = answer.decomposition
    assert found is not None
    curves = found.components.curves
    k = len(curves)
    figure = Figure(figsize=(7.4, max(2.9, 1.15 * k + 1.0)))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})
    step = 1.1 * float(np.ptp(curves, axis=1).max() or 1.0)
    for number, curve in enumerate(curves):
        colour, level = PHASE_COLOURS[number % len(PHASE_COLOURS)], (k - 1 - number) * step
        left.axhline(level, color=GRID, linewidth=0.6)
        left.plot(*thinned(answer.grid, curve + level), color=colour)
        name = _name(answer, number)
        text = f"{number + 1}: {name}" if name else f"{number + 1}"
        left.annotate(
            text, (0.99, level + float(curve.max())), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            fontsize=8, color=colour,
        )  # fmt: skip
    left.set_yticks([])
    left.spines["left"].set_visible(False)
    left.set_xlim(answer.grid[0], answer.grid[-1])
    left.margins(y=0.08)
    left.set_xlabel(answer.plotted.abscissa_label)
    signal = answer.plotted.signal_label.rpartition(" (")[0]
    left.set_title(f"Component curves, {signal}, each from its own zero", fontsize=8.5)
    axis = series_axis(answer)
    for number in range(k):
        colour = PHASE_COLOURS[number % len(PHASE_COLOURS)]
        draw_series(right, axis.values[answer.used], found.weights[:, number], None, colour, str(number + 1))
    name_axis(right.xaxis, axis)
    right.set_ylabel("Weight (1)")
    right.set_ylim(bottom=min(0.0, right.get_ylim()[0]))
    right.grid(axis="y")
    right.legend(
        title="component", loc="lower left", bbox_to_anchor=(0, 1.0), ncols=8, handlelength=1.2, title_fontsize=8,
        borderaxespad=0.1, alignment="left",
    )  # fmt: skip
    return figure


def _name(answer: ArchiveAnswer, number: int) -> str:
    """What a component is taken for: its first candidate, or that it is no structure of the catalogue."""
    verdict = answer.component_verdicts[number] if answer.component_verdicts else ""
    ranking = answer.component_candidates[number] if answer.component_candidates else None
    if verdict in OF_NO_CLASS or ranking is None or not ranking.candidates:
        return verdict
    best = ranking.candidates[0]
    label = f"{best.formula} ({best.space_group_symbol})" if best.space_group else best.formula
    return f"{structure_figure(label)}, {100 * best.probability:.0f} %"


def stretch_figure(answer: ArchiveAnswer) -> "Figure":
    """By what factor each component is stretched along the series, where its weight lets it be known."""
    found = answer.decomposition
    assert found is not None
    assert found.stretch is not None
    figure, axes = new_axes(4.4, 2.7)
    axis = series_axis(answer)
    for number in range(found.stretch.shape[1]):
        known = found.weights[:, number] > KNOWN_STRETCH
        values = np.where(known, found.stretch[:, number], np.nan)
        colour = PHASE_COLOURS[number % len(PHASE_COLOURS)]
        draw_series(axes, axis.values[answer.used], values, None, colour, str(number + 1))
    name_axis(axes.xaxis, axis)
    axes.set_ylabel("Stretch of $r$ (1)")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(axis="y")
    axes.legend(title="component", loc="lower left", bbox_to_anchor=(0, 1.0), ncols=8, borderaxespad=0.1)
    return figure


def explained_figure(answer: ArchiveAnswer) -> "Figure":
    """Variance that each principal component explains, the ones that count filled."""
    found = answer.decomposition
    assert found is not None
    figure, axes = new_axes(4.4, 2.7)
    share = 100 * found.principal.explained[: max(12, len(found.principal.axes))]
    counting = max(0, found.proposal.components - found.proposal.closed)
    colours = [BLUE if k < counting else GRID for k in range(len(share))]
    axes.bar(np.arange(1, len(share) + 1), np.maximum(share, 1e-4), color=colours, width=0.7)
    axes.set_yscale("log")
    axes.set_ylim(max(1e-4, 0.5 * float(share[share > 0].min(initial=100.0))), 200)
    axes.set_xlabel("Principal component (number)")
    axes.set_ylabel("Variance explained (%)")
    axes.grid(axis="y")
    return figure


def parameters_figure(answer: ArchiveAnswer) -> "Figure":
    """R_w and refined values along the series, the parameters of each structure in its own colour."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = _panels(answer)
    axis = series_axis(answer)
    columns = 3 if len(panels) > 4 else 2
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(7.4, 0.45 + 1.95 * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    structures = list(dict.fromkeys(one.structure for _, series in panels for one in series))
    colours = {name: PHASE_COLOURS[place] for place, name in enumerate(structures)}
    for axes, (label, series) in zip(grid, panels, strict=False):
        if not series:
            assert answer.fits is not None
            draw_series(axes, axis.values, answer.fits.r_w, None, MUTED, "")
        for one in series:
            draw_series(axes, axis.values, one.values, one.errors, colours[one.structure], one.structure)
        name_axis(axes.xaxis, axis, 5)
        axes.set_ylabel(label)
        axes.grid(axis="y")
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    for axes in grid[len(panels) :]:
        axes.remove()
    if structures:
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], color=colours[name], label=structure_figure(name)) for name in structures]
        figure.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=1.2)
    return figure


def _panels(answer: ArchiveAnswer) -> list[tuple[str, list[RefinedValues]]]:
    """Label and series of each panel: R_w, which has none, then what was refined in enough frames."""
    fits = answer.fits
    assert fits is not None
    least = LEAST_FITTED * float(np.isfinite(fits.r_w).sum())
    found = [one for one in refined_values(fits, answer.classes) if one.refined and one.known.sum() >= least]
    frames: dict[str, int] = {}
    for one in found:
        frames[one.structure] = max(frames.get(one.structure, 0), int(one.known.sum()))
    shown = sorted(frames, key=lambda name: -frames[name])[: len(PHASE_COLOURS)]
    panels: list[tuple[str, list[RefinedValues]]] = [("$R_\\mathrm{w}$ (1)", [])]
    kept = [one for one in found if one.structure in shown]
    kept = [one for k, one in enumerate(kept) if not any(_same(one, before) for before in kept[:k])]
    names = dict.fromkeys([*FIRST_PANELS, *(one.name for one in kept)])
    for name in [one for one in names if any(own.name == one for own in kept)]:
        series = [one for one in kept if one.name == name]
        label = f"{parameter_figure(name)} ({unit(series[0].unit) or '1'})"
        panels += [(label, [one]) for one in series] if _far_apart(series) else [(label, series)]
    return panels[:MOST_PANELS]


def _same(one: RefinedValues, other: RefinedValues) -> bool:
    """Whether a value of a structure is another by its symmetry, as b is a of a tetragonal cell."""
    alike = one.structure_id == other.structure_id and one.unit == other.unit
    return alike and np.array_equal(one.values, other.values, equal_nan=True)


def _far_apart(series: list[RefinedValues]) -> bool:
    """Whether what changes in the values of each structure cannot be seen beside the others."""
    middles = [float(np.nanmedian(one.values)) for one in series]
    spreads = [float(np.subtract(*np.nanquantile(one.values, (0.95, 0.05)))) for one in series]
    return len(series) > 1 and max(middles) - min(middles) > APART * max(*spreads, 1e-12)


def draw_series(
    axes: "Axes",
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    errors: NDArray[np.float64] | None,
    colour: str,
    label: str,
) -> None:
    """A value along the series: points with uncertainties, or of many values medians with the middle 90 %."""
    good = np.isfinite(y)
    if good.sum() <= SINGLE_POINTS:
        spread = np.zeros(good.sum()) if errors is None else np.nan_to_num(errors[good], nan=0.0, posinf=0.0)
        few = good.sum() <= FEW_POINTS
        axes.errorbar(
            x[good], y[good], spread if few else None, color=colour, fmt="o-", markersize=2.6 if few else 1.6,
            linewidth=0.8, elinewidth=0.8, label=label,
        )  # fmt: skip
        if not few and spread.any():
            axes.fill_between(x[good], y[good] - spread, y[good] + spread, color=colour, alpha=0.22, linewidth=0)
        return
    bins = Bins.of(len(x))
    at = bins.mean(x)
    low, middle, high = bins.quantiles(y, (0.05, 0.5, 0.95))
    axes.fill_between(at, low, high, color=colour, alpha=0.22, linewidth=0)
    axes.plot(at, middle, color=colour, label=label)


def fit_figure(shown: ShownFit) -> "Figure":
    """One fit: what was measured, what was calculated, and the difference below."""
    figure, axes = new_axes(6.0, 3.0)
    pattern = PatternResult(shown.name, "", shown.r, shown.measured, Ranking(shown.name, ()), (shown.fit,))
    draw_pattern(axes, pattern, labels=(shown.what, "fit"))
    return figure

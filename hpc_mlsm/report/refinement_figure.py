"""Figures of refinement: a fit with its difference, and refined values along a series."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.candidates import Ranking
from hpc_mlsm.durable import write_durably
from hpc_mlsm.refinement.gathered import GatheredFits
from hpc_mlsm.refinement.series import Series
from hpc_mlsm.report.content import CandidateFit, PatternResult
from hpc_mlsm.report.notation import plain_figure
from hpc_mlsm.report.pattern_figure import draw_pattern
from hpc_mlsm.report.quantities import fixed
from hpc_mlsm.report.style import BLUE, GREEN, ORANGE, PURPLE, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160
_LENGTHS = ("a", "b", "c")
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
_MARKERS = ("o", "s", "^", "D")
_LABELS = {"u_iso": "$U_\\mathrm{iso}$", "r_w": "$R_\\mathrm{w}$", "delta1": "$\\delta_1$", "delta2": "$\\delta_2$"}


def save_fit(path: Path, series: Series, found: GatheredFits, frame: int, title: str = "") -> None:
    """Write the fit of one frame, measurement, curve and difference, as PNG and SVG beside each other."""
    measured = series.values[frame].astype(float)
    calculated = found.calculated[frame].astype(float)
    fit = CandidateFit(found.phases[frame], calculated, 1.0, float(found.r_w[frame]), 0.0)
    name = Path(series.names[frame]).stem
    pattern = PatternResult(name, name, series.grid.r, measured, Ranking(name, ()), (fit,))
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.8))
        axes = figure.add_subplot()
        draw_pattern(axes, pattern, labels=("measured", "fit"))
        heading = title or f"{plain_figure(name, 30)}: $R_\\mathrm{{w}}$ = {fixed(float(found.r_w[frame]))}"
        axes.set_title(heading, pad=18)
        _save(figure, path)


def save_parameters(path: Path, series: Series, found: GatheredFits) -> None:
    """Write refined values along the series, one panel a kind of value, as PNG and SVG beside each other.

    Lengths that are nearly equal share a panel, so that their splitting is seen.
    """
    x, label = _along(series)
    panels = _panels(found)
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 1.75 * len(panels) + 0.5))
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, keys in zip(all_axes, panels, strict=True):
            _draw_panel(axes, x, keys, found)
        all_axes[-1].set_xlabel(label)
        _save(figure, path)


def _panels(found: GatheredFits) -> list[tuple[str, ...]]:
    panels: list[tuple[str, ...]] = []
    lengths = [key for key in found.values if key.split(":")[0] in _LENGTHS]
    for key in lengths:
        middle = float(np.nanmedian(found.values[key]))
        for k, panel in enumerate(panels):
            there = float(np.nanmedian(found.values[panel[0]]))
            if abs(there - middle) < 0.03 * middle:
                panels[k] = (*panel, key)
                break
        else:
            panels.append((key,))
    u_iso = tuple(key for key in found.values if key.startswith("u_iso"))
    angles = tuple(key for key in found.values if key.split(":")[0] in ("alpha", "beta", "gamma"))
    sizes = tuple(key for key in found.values if key.startswith("diameter"))
    return [*panels, *[one for one in (angles, u_iso, sizes) if one], ("r_w",)]


def _draw_panel(axes: "Axes", x: NDArray[np.float64], keys: Sequence[str], found: GatheredFits) -> None:
    drawn: list[NDArray[np.float64]] = []
    for key, colour, marker in zip(keys, _COLOURS, _MARKERS, strict=False):
        values = found.r_w if key == "r_w" else found.values[key]
        if any(np.array_equal(values, one, equal_nan=True) for one in drawn):
            continue  # tied by symmetry
        drawn.append(values)
        errors = np.zeros_like(values) if key == "r_w" else np.nan_to_num(found.uncertainties[key])
        axes.errorbar(
            x, values, errors, fmt=f"-{marker}", label=_label(key), ms=3.6, color=colour, elinewidth=0.9, lw=0.8
        )
    unit = "" if keys[0] == "r_w" else found.units[keys[0]]
    names = _label(keys[0]) if len(drawn) == 1 else ", ".join(_label(key) for key in keys[: len(drawn)])
    axes.set_ylabel(f"{names} ({_UNIT_TEXT.get(unit, unit)})" if unit else names)
    if len(drawn) > 1:
        axes.legend(loc="best", ncols=len(drawn))
    axes.ticklabel_format(axis="y", useOffset=False)


_UNIT_TEXT: Mapping[str, str] = {"Å²": "Å$^2$", "Å⁻¹": "Å$^{-1}$"}


def _label(key: str) -> str:
    name, _, phase = key.partition(":")
    base = f"${name}$" if name in _LENGTHS else _LABELS.get(name, name.replace("u_iso_", "U "))
    return f"{base} (phase {phase})" if phase else base


def _along(series: Series) -> tuple[NDArray[np.float64], str]:
    x = series.coordinate
    if x is not None and np.isfinite(x).all():
        unit = f" ({series.coordinate_unit})" if series.coordinate_unit else ""
        return x, f"{series.coordinate_name.capitalize()}{unit}"
    return np.arange(len(series), dtype=float), "Frame"


def _save(figure: "Figure", path: Path) -> None:
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, facecolor="white", dpi=DPI, metadata=metadata)
        write_durably(path.with_name(f"{path.name}.{kind}"), stream.getvalue())

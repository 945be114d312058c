"""Measured PDFs onto the grid of a model.

G(r) is band-limited: a measurement to q_max holds no detail finer than π/q_max (Shannon), 0.13 Å at 25 1/Å.
A measured grid, usually h = 0.01 Å, is far finer: the error of a cubic spline through it is at most
5/384 h⁴ max|d⁴G/dr⁴| (Hall & Meyer 1976), which is 5/384 (q_max h)⁴ = 5e-5 of the amplitude there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.errors import PatternError

LOW_R_ALLOWANCE = 1.0
"""A pattern may begin this much (Å) above the grid: no two atoms are closer, so what is missing is no structure."""

MAX_STEP = 0.5
"""Widest spacing (Å) taken where the header names no q_max: it holds detail up to 6.3 1/Å only."""

MARGIN = 64
"""Points beyond the grid that a spline is drawn through; what lies farther changes it by less than 1e-30."""

ROWS_AT_ONCE = 256
LARGEST = 1e30
"""Patterns are stored in single precision, which ends at 3e38; squares and sums must fit too."""


@dataclass(frozen=True, eq=False)
class Resampled:
    """A pattern on the model's grid: values float64 (m,), and what was done that a reader should know."""

    values: NDArray[np.float64]
    notes: tuple[str, ...] = ()


def to_grid(pattern: Pattern, grid: NDArray[np.float64], *, low_r_allowance: float = LOW_R_ALLOWANCE) -> Resampled:
    """Bring a measured G(r) onto the grid of a model with a cubic spline.

    A pattern need not begin where the grid does: up to ``low_r_allowance`` (Å) is filled with the line from zero
    at r = 0 to the first measured value, which is what G(r) = -4πρ₀r is below the first atom pair (Farrow &
    Billinge 2009). At the upper end one step of the grid may be missing; it repeats the last value. Both are noted,
    as are an unknown abscissa (taken as r) and a spacing that makes the spline inexact.

    Parameters
    ----------
    pattern : Pattern
        With its abscissa in Å, or in nm where its unit says so (G(r) in 1/nm² is then scaled too).
    grid : float64 (m,)
        Distances r (Å), ascending, at least two.
    low_r_allowance : float
        How far (Å) above the grid's beginning the pattern may begin.

    Raises
    ------
    PatternError
        "wrong_axis", "starts_late", "too_short", "too_coarse", "constant" or "not_finite".
    """
    rows, notes, wrong = rows_to_grid(pattern, pattern.y[None], grid, low_r_allowance=low_r_allowance)
    if wrong:
        raise wrong[0]
    return Resampled(rows[0], notes)


def rows_to_grid(
    like: Pattern,
    y: NDArray[np.float64],
    grid: NDArray[np.float64],
    *,
    low_r_allowance: float = LOW_R_ALLOWANCE,
    name: Callable[[int], str] | None = None,
) -> tuple[NDArray[np.float64], tuple[str, ...], dict[int, PatternError]]:
    """Bring curves that share an abscissa onto the grid of a model, as ``to_grid`` does with one.

    Parameters
    ----------
    like : Pattern
        Whose abscissa, units and header are those of all.
    y : float64 (n, m)
        The curves.
    grid, low_r_allowance
        As for ``to_grid``.
    name : callable, optional
        What a row is called in messages; by default as ``like`` is.

    Returns
    -------
    values : float64 (n, len(grid))
        Rows that are at fault hold nothing of use.
    notes : tuple of str
        What was done with all of them.
    wrong : dict
        The error of each row that cannot be used.

    Raises
    ------
    PatternError
        As ``to_grid``, for what all have in common.
    """
    notes: list[str] = []
    wrong: dict[int, PatternError] = {}

    def refuse(rows: NDArray[np.bool_], error: Callable[[Pattern, int], PatternError]) -> None:
        for row in np.flatnonzero(rows).tolist():
            called = like.source or like.name if name is None else name(row)
            wrong.setdefault(row, error(replace(like, y=y[row], source=called), row))

    r, scale = _in_angstrom(like, notes)
    if not np.abs(like.x).max() < LARGEST:
        raise _overflow(like)
    _check_range(like, r, grid, low_r_allowance, notes)
    _check_spacing(like, r, grid, notes)
    refuse(_too_large(y), lambda one, _: _overflow(one))
    within = (r >= grid[0]) & (r <= grid[-1])
    inside = y if within.all() else y[:, within]
    still = inside.max(axis=1) == inside.min(axis=1) if inside.size else np.ones(len(y), dtype=bool)
    refuse(still, lambda one, row: _constant(one, float(inside[row, 0]) if inside.size else 0.0, grid))
    values = _splined(like, r, y if scale == 1.0 else y * scale, grid)
    below = grid < r[0]
    values[:, below] = (y[:, :1] * scale) * (grid[below] / r[0])
    refuse(_too_large(values), lambda one, _: _overflow(one))
    return values, tuple(notes), wrong


def _too_large(y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows are not finite, or reach too far."""
    return ~((y.max(axis=1) < LARGEST) & (y.min(axis=1) > -LARGEST))


def _splined(
    like: Pattern, r: NDArray[np.float64], g: NDArray[np.float64], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cubic splines through all rows, at the points of the grid; only points near the grid are looked at."""
    if len(r) == len(grid) and np.allclose(r, grid, rtol=0.0, atol=1e-9 * (grid[1] - grid[0])):
        return g.copy()
    first = max(0, int(np.searchsorted(r, grid[0])) - MARGIN)
    last = min(len(r), int(np.searchsorted(r, grid[-1])) + MARGIN)
    near, at = r[first:last], np.clip(grid, r[0], r[-1])
    values = np.empty((len(g), len(grid)))
    for start in range(0, len(g), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        try:
            with np.errstate(all="ignore"):
                values[rows] = CubicSpline(near, g[rows, first:last], axis=1)(at)
        except ValueError as error:  # slopes between points that all but coincide
            raise _overflow(like) from error
    return values


def _constant(pattern: Pattern, value: float, grid: NDArray[np.float64]) -> PatternError:
    return PatternError(
        "constant",
        f"{_where(pattern)}: the signal is {value:g} everywhere from {grid[0]:g} to {grid[-1]:g} Å; there "
        "is no pattern in the model's range",
    )


def _overflow(pattern: Pattern) -> PatternError:
    largest = max(np.abs(pattern.x).max(), np.abs(pattern.y).max())
    return PatternError(
        "not_finite",
        f"{_where(pattern)}: the pattern cannot be interpolated in floating point (values up to {largest:g}, at most "
        f"{LARGEST:g} are allowed; points at least {np.diff(pattern.x).min():g} apart); check its numbers",
    )


def _where(pattern: Pattern) -> str:
    return pattern.source or pattern.name


def _in_angstrom(pattern: Pattern, notes: list[str]) -> tuple[NDArray[np.float64], float]:
    """Distance (Å), and what brings G(r) to 1/Å² where the header gave 1/nm²."""
    if pattern.axis not in (None, "r") or pattern.unit in ("degree", "1/angstrom", "1/nm"):
        raise PatternError(
            "wrong_axis",
            f"{_where(pattern)}: the abscissa is {pattern.axis or pattern.unit}, the model needs G(r) against r; "
            "transform the data to a PDF first, or use a model that was trained on such patterns",
        )
    if pattern.axis is None:
        notes.append("the file does not say what its abscissa is; taken as r in Å")
    scale = 10.0 if pattern.unit == "nm" else 1.0
    signal = 0.01 if pattern.metadata.get("y_unit") == "1/nm^2" else 1.0
    if scale != 1.0:
        notes.append("r converted from nm to Å")
    if signal != 1.0:
        notes.append("G(r) converted from 1/nm² to 1/Å²")
    return pattern.x * scale, signal


def _check_range(
    pattern: Pattern,
    r: NDArray[np.float64],
    grid: NDArray[np.float64],
    low_r_allowance: float,
    notes: list[str],
) -> None:
    tolerance = 1e-6 * (grid[1] - grid[0])
    spans = f"the pattern spans {r[0]:g} to {r[-1]:g} Å, the model's grid {grid[0]:g} to {grid[-1]:g} Å"
    missing = grid[-1] - r[-1]
    step = grid[-1] - grid[-2]
    if missing > step + tolerance:
        raise PatternError(
            "too_short",
            f"{_where(pattern)}: {spans}; transform the data to r = {grid[-1]:g} Å or beyond, or train a model "
            f"with r_max at most {r[-1]:g} Å",
        )
    if missing > tolerance:
        notes.append(f"the pattern ends {missing:.3g} Å below the grid; its last value is repeated there")
    late = r[0] - grid[0]
    if late > low_r_allowance + tolerance:
        raise PatternError(
            "starts_late",
            f"{_where(pattern)}: {spans}; a pattern may begin at most {low_r_allowance:g} Å above the grid: "
            "transform the data from a smaller r, or train a model with a larger r_min"
            + (
                ""
                if pattern.axis
                else ". The file does not say that its abscissa is r: if it is an angle, it is no PDF"
            ),
        )
    if late > tolerance:
        notes.append(f"filled from {grid[0]:g} to {r[0]:g} Å with the line from 0 to the first measured value")


def _check_spacing(pattern: Pattern, r: NDArray[np.float64], grid: NDArray[np.float64], notes: list[str]) -> None:
    """Refuse where points lie wider apart than the measurement's detail; note where a spline is no longer exact."""
    gaps = np.diff(r)
    used = (r[1:] > grid[0]) & (r[:-1] < grid[-1])
    widest = int(np.argmax(np.where(used, gaps, 0.0)))
    gap = float(gaps[widest])
    q_max = pattern.number("q_max")
    limit = np.pi / q_max if q_max and q_max > 0 else MAX_STEP
    why = f"π/q_max at its q_max of {q_max:g} 1/Å" if q_max and q_max > 0 else "no q_max is given in the header"
    if gap > limit * (1 + 1e-6):
        raise PatternError(
            "too_coarse",
            f"{_where(pattern)}: points lie {gap:.4g} Å apart at r = {r[widest]:g} Å, at most {limit:.4g} Å are "
            f"allowed ({why}); transform the data again with a finer step and without gaps",
        )
    if gap > 0.5 * limit and not _are_points(grid, r):
        notes.append(
            f"points lie {gap:.4g} Å apart at r = {r[widest]:g} Å ({why}): interpolation may be off by percents"
        )


def _are_points(grid: NDArray[np.float64], r: NDArray[np.float64]) -> bool:
    """Whether all points of the grid are measured ones, so that nothing is interpolated."""
    after = np.clip(np.searchsorted(r, grid), 1, len(r) - 1)
    nearest = np.minimum(np.abs(r[after] - grid), np.abs(r[after - 1] - grid))
    return bool(nearest.max() < 1e-6)

"""Measured powder patterns onto the grid and into the scale of a model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from hpc_mlsm.archive.k_alpha import doublet_of, strip_k_alpha2
from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.powder_axis import momentum_transfer
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.errors import PatternError
from hpc_mlsm.models.peak_features import FIRST, NOISY, PeakSettings, find_peak_table

MAX_STEP = 0.25
"""Widest spacing (degree) taken: peaks of a laboratory instrument are 0.05 to 0.2° wide and would fall between."""

NEGATIVE = 0.05
"""Negative intensities up to this share of the largest come of a subtracted background and are set to zero."""


@dataclass(frozen=True, eq=False)
class PreparedPowder:
    """A measured pattern as a model takes it.

    Attributes
    ----------
    values : float64 (m,)
        Intensity on the model's grid, 0 to 1; 0 outside ``covered``.
    covered : (float, float)
        Part of the grid (2θ in degree, at the model's wavelength) that was measured.
    peaks : int
        How many peaks were found in it.
    notes : tuple of str
        What was assumed or done that a reader should know.
    flags : tuple of str
        ``few_peaks``: fewer than ten, too few for the published features; what a model says of it is doubtful.
        ``partly_covered``: less than nine tenths of the grid was measured.
    """

    values: NDArray[np.float64]
    covered: tuple[float, float]
    peaks: int
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def prepare_powder(
    pattern: Pattern,
    grid: NDArray[np.float64],
    wavelength: float,
    settings: MeasuredPowderSettings | None = None,
    peaks: PeakSettings = NOISY,
) -> PreparedPowder:
    """Bring a measured powder pattern to a model's wavelength, grid and scale.

    In this order: abscissa to Q; Kα2 stripped where asked for; Q to 2θ at the model's wavelength; onto the grid
    (averaged over its steps where the measurement is finer, by a monotone cubic where it is not); background
    subtracted; scaled so that the lowest measured value is 0 and the highest 1. What lies outside the measured range
    is 0, as if nothing scattered there, and noted. Relative intensities keep the Lorentz-polarisation factor of the
    wavelength they were measured with.

    Raises
    ------
    PatternError
        "negative", "empty", "too_coarse", "no_overlap", "no_k_alpha2", or what ``momentum_transfer`` raises.
    """
    settings = settings or MeasuredPowderSettings()
    q, measured_at, notes = momentum_transfer(pattern, wavelength, settings)
    intensity = _not_negative(pattern, notes)
    if settings.strip_k_alpha2:
        intensity = np.maximum(strip_k_alpha2(q, intensity, *doublet_of(pattern, measured_at)), 0.0)
        notes.append("Kα2 stripped")
    sine = q * (wavelength / (4.0 * np.pi))
    inside = sine <= 1.0
    two_theta = 2.0 * np.degrees(np.arcsin(sine[inside]))
    if abs(measured_at / wavelength - 1.0) > 1e-6 and settings.axis != "q" and pattern.axis != "q":
        notes.append(f"2θ converted from {measured_at:g} to {wavelength:g} Å")
    within = _covered(pattern, two_theta, grid, notes)
    values = np.zeros(len(grid))
    values[within] = _onto(two_theta, intensity[inside], grid[within], float(grid[1] - grid[0]))
    values[within] = subtract_and_scale(values[within], float(grid[1] - grid[0]), settings, _where(pattern))
    if settings.background != "none":
        notes.append(f"background subtracted ({settings.background})")
    count = int(find_peak_table(values[None], grid, peaks).count[0])
    covered = (float(grid[within][0]), float(grid[within][-1]))
    share = (covered[1] - covered[0]) / (grid[-1] - grid[0])
    flags = (("few_peaks",) if count < FIRST else ()) + (("partly_covered",) if share < 0.9 else ())
    if count < FIRST:
        notes.append(f"{count} peaks in the model's range, fewer than {FIRST}: the answer is doubtful")
    return PreparedPowder(values, covered, count, tuple(notes), flags)


def subtract_and_scale(
    values: NDArray[np.float64], step: float, settings: MeasuredPowderSettings, name: str = "a pattern"
) -> NDArray[np.float64]:
    """A pattern without its background, between 0 and 1: the last steps of ``prepare_powder``.

    Patterns that were simulated with background need them too before a forest learns from their peaks, so that it
    learns from what it is asked later.

    Parameters
    ----------
    values : float64 (n,)
        Intensities on an even grid.
    step : float
        Of that grid, degree.
    settings : MeasuredPowderSettings
        Background subtraction.
    name : str
        For messages.

    Raises
    ------
    PatternError
        "empty" where nothing is left.
    """
    if settings.background != "none":
        from hpc_mlsm.archive.background import background_of

        values = values - background_of(values, step, settings)
    values = np.maximum(values, 0.0)
    low, high = float(values.min()), float(values.max())
    if not high > low:
        raise PatternError(
            "empty", f"{name}: no signal is left in the model's range; check the range and the background"
        )
    return (values - low) / (high - low)


def _where(pattern: Pattern) -> str:
    return pattern.source or pattern.name


def _not_negative(pattern: Pattern, notes: list[str]) -> NDArray[np.float64]:
    largest, lowest = float(pattern.y.max()), float(pattern.y.min())
    if largest <= 0.0 and lowest == 0.0:
        raise PatternError("empty", f"{_where(pattern)}: all intensities are zero; there is no pattern in it")
    if lowest < -NEGATIVE * largest or largest <= 0.0:
        raise PatternError(
            "negative",
            f"{_where(pattern)}: intensities down to {lowest:g} at a largest of {largest:g}; counts are not "
            "negative: take the pattern before a background or another pattern was subtracted",
        )
    if lowest < 0.0:
        notes.append("slightly negative intensities set to zero")
    return np.maximum(pattern.y, 0.0)


def _covered(
    pattern: Pattern, two_theta: NDArray[np.float64], grid: NDArray[np.float64], notes: list[str]
) -> NDArray[np.intp]:
    """Indices of the grid points that were measured."""
    ends = f"{two_theta[0]:.2f} to {two_theta[-1]:.2f}°" if len(two_theta) else "nothing"
    step = grid[1] - grid[0]
    inside = (
        np.flatnonzero((grid >= two_theta[0] - step / 2) & (grid <= two_theta[-1] + step / 2))
        if len(two_theta) > 1
        else np.zeros(0, dtype=np.intp)
    )
    if len(inside) < 10:
        raise PatternError(
            "no_overlap",
            f"{_where(pattern)}: the measurement covers {ends} at the model's wavelength, the model {grid[0]:g} to "
            f"{grid[-1]:g}°; measure that range, or train a model on the range of the measurement",
        )
    used = (two_theta[1:] > grid[0]) & (two_theta[:-1] < grid[-1])
    gap = float(np.diff(two_theta)[used].max())
    if gap > MAX_STEP:
        raise PatternError(
            "too_coarse",
            f"{_where(pattern)}: points lie up to {gap:.3g}° apart, {MAX_STEP:g}° at most are allowed; measure with "
            "finer steps and without gaps",
        )
    missing = [
        f"{low:g} to {high:g}°"
        for low, high in ((grid[0], grid[inside[0]]), (grid[inside[-1]], grid[-1]))
        if high - low > step
    ]
    if missing:
        notes.append(f"not measured and filled with zero: {', '.join(missing)}")
    return inside


def _onto(
    x: NDArray[np.float64], y: NDArray[np.float64], grid: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Averages over the grid's steps where points lie closer than two thirds of it, else a monotone cubic."""
    clipped = np.clip(grid, x[0], x[-1])
    if float(np.median(np.diff(x))) > step / 1.5:
        with np.errstate(all="ignore"):  # of slopes that underflow, where the result is right all the same
            return np.asarray(PchipInterpolator(x, y)(clipped), dtype=np.float64)
    low, high = np.clip(grid - step / 2, x[0], x[-1]), np.clip(grid + step / 2, x[0], x[-1])
    edges = np.concatenate([low, high])
    points = np.unique(np.concatenate([x, edges]))
    signal = np.interp(points, x, y)
    area = np.concatenate([[0.0], np.cumsum(np.diff(points) * (signal[1:] + signal[:-1]) / 2.0)])
    integral = np.interp(edges, points, area).reshape(2, -1)
    width = high - low
    average = (integral[1] - integral[0]) / np.where(width > 0, width, 1.0)
    return np.where(width > 0, average, np.interp(clipped, x, y))

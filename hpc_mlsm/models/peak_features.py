"""Peaks of powder patterns as features for forests.

The published set (CrystalMELA, J. Appl. Cryst. 2023): the first ten peak positions and the number of peaks for
extremely randomised trees, and the position of the strongest besides for the random forest.

A pattern with fewer than ten peaks has its missing positions filled with one step beyond the grid's end: "not in the
range", which keeps the order of positions that trees split on. Training uses such rows as they are; for measured
patterns ``PeakTable.few`` says which they are, so that a prediction is flagged.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from hpc_mlsm.errors import PatternError

FIRST = 10
"""So many of the first peaks are features."""

FeatureSet = Literal["random_forest", "extra_trees"]

FEATURE_NAMES: dict[FeatureSet, tuple[str, ...]] = {
    "random_forest": (*(f"position_{k + 1}" for k in range(FIRST)), "peaks", "strongest"),
    "extra_trees": (*(f"position_{k + 1}" for k in range(FIRST)), "peaks"),
}


@dataclass(frozen=True)
class PeakSettings:
    """What counts as a peak, in shares of the pattern's largest value.

    Attributes
    ----------
    min_height
        Lowest maximum that counts.
    min_prominence
        Least height above the higher of the two saddles beside it: keeps ripples on a flank out.
    min_distance
        Least distance between peaks in grid steps; of two closer ones the higher counts.
    noise_factor
        Least height above the saddles in standard deviations of the noise around it; 0 for patterns without noise.
        The noise is that of the quieter quarter of second differences in stretches of 4°, so that peaks do not count.
        Maxima of the noise itself stand up to six or seven of its deviations above their saddles.
    smooth_width
        Width (degree) of the Savitzky-Golay filter (second order) before peaks are looked for; 0 for none.
    """

    min_height: Annotated[float, Interval(ge=0, lt=1)] = 0.005
    min_prominence: Annotated[float, Interval(ge=0, lt=1)] = 0.005
    min_distance: Annotated[int, Ge(1)] = 1
    noise_factor: Annotated[float, Ge(0)] = 0.0
    smooth_width: Annotated[float, Interval(ge=0, le=1)] = 0.0


NOISY = PeakSettings(min_height=0.01, min_prominence=0.01, noise_factor=7.0, smooth_width=0.16, min_distance=8)
"""For models that are trained on patterns with noise, or asked about measured ones."""

_STRETCH = 4.0
_CORRELATED = 3.0
_QUARTER = 0.3186
"""Of a normal distribution's absolute values a quarter lie below so many standard deviations."""

_TURNING = 2.0 / 3.0
"""Share of the points of independent noise that are maxima or minima (Bienaymé 1874)."""

_LEAST_TURNING = 0.06
"""A pattern that turns less often shows peaks and no noise: files are a quarter of a degree coarse at most."""

_EVEN = 0.3
"""Noise of the quietest stretches is at least so much of that of middling ones; of counts on a background it is 0.4."""


@dataclass(frozen=True, eq=False)
class PeakTable:
    """Peaks of n patterns.

    Attributes
    ----------
    positions : float32 (n, 10)
        2θ (degree) of the first ten, ascending; one step beyond the grid where there are fewer.
    count : int32 (n,)
        How many there are in all.
    strongest : float32 (n,)
        2θ of the highest; one step beyond the grid where there is none.
    """

    positions: NDArray[np.float32]
    count: NDArray[np.int32]
    strongest: NDArray[np.float32]

    @property
    def few(self) -> NDArray[np.bool_]:
        """Patterns with fewer than ten peaks, shape (n,)."""
        return self.count < FIRST

    def features(self, kind: FeatureSet) -> NDArray[np.float32]:
        """Features of one model in the order of FEATURE_NAMES, shape (n, 12) or (n, 11)."""
        columns = [self.positions, self.count[:, None].astype(np.float32)]
        if kind == "random_forest":
            columns.append(self.strongest[:, None])
        return np.hstack(columns)


def find_peak_table(
    patterns: NDArray[np.floating], grid: NDArray[np.float64], settings: PeakSettings | None = None
) -> PeakTable:
    """Peaks of many patterns, in any scale.

    Parameters
    ----------
    patterns : floating (n, points)
        Intensities.
    grid : float64 (points,)
        2θ (degree), evenly spaced.
    settings : PeakSettings, optional
        What counts as a peak.

    Raises
    ------
    PatternError
        "grid_mismatch" or "not_finite".
    """
    settings = settings or PeakSettings()
    if patterns.ndim != 2 or patterns.shape[1] != len(grid) or len(grid) < 3:
        raise PatternError(
            "grid_mismatch", f"patterns of shape {patterns.shape} do not lie on a grid of {len(grid)} points"
        )
    beyond = np.float32(2 * grid[-1] - grid[-2])
    positions = np.full((len(patterns), FIRST), beyond, dtype=np.float32)
    count = np.zeros(len(patterns), dtype=np.int32)
    strongest = np.full(len(patterns), beyond, dtype=np.float32)
    window = _filter(float(grid[1] - grid[0]), settings, len(grid))
    for row, pattern in enumerate(patterns):
        _check_finite(pattern, row)
        smooth = pattern if window is None else np.correlate(pattern, window, mode="same")
        noise = _noise(pattern, smooth, window, grid) if settings.noise_factor else None
        peaks = _peaks_of(smooth, noise, settings)
        count[row] = len(peaks)
        if len(peaks):
            first = peaks[:FIRST]
            positions[row, : len(first)] = grid[first]
            strongest[row] = grid[peaks[np.argmax(smooth[peaks])]]
    return PeakTable(positions, count, strongest)


def _filter(step: float, settings: PeakSettings, points: int) -> NDArray[np.float64] | None:
    half = round(settings.smooth_width / step / 2)
    if half < 1 or points <= 2 * half + 1:
        return None
    from scipy.signal import savgol_coeffs

    return np.asarray(savgol_coeffs(2 * half + 1, 2), dtype=np.float64)


def _check_finite(pattern: NDArray[np.floating], row: int) -> None:
    if not (np.isfinite(pattern.max()) and np.isfinite(pattern.min())):
        raise PatternError("not_finite", f"pattern row {row} holds NaN or infinity; simulate or reduce it again")


def _peaks_of(
    pattern: NDArray[np.floating], noise: NDArray[np.float64] | None, settings: PeakSettings
) -> NDArray[np.intp]:
    largest = float(pattern.max())
    if largest <= 0.0:
        return np.zeros(0, dtype=np.intp)
    from scipy.signal import find_peaks

    peaks, properties = find_peaks(
        pattern,
        height=max(settings.min_height * largest, float(np.finfo(np.float32).tiny)),
        prominence=settings.min_prominence * largest,
        distance=settings.min_distance if settings.min_distance > 1 else None,
    )
    if noise is not None:
        peaks = peaks[properties["prominences"] >= settings.noise_factor * noise[peaks]]
    return np.asarray(peaks, dtype=np.intp)


def _noise(
    pattern: NDArray[np.floating],
    smooth: NDArray[np.floating],
    window: NDArray[np.float64] | None,
    grid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Standard deviation of the noise that the filter leaves, at every point.

    From neighbours that are independent, and from smoothed points a filter's width apart, which are so even where a
    file was smoothed before; the larger counts. Peaks in crowded stretches raise the second, which therefore counts for
    ``_CORRELATED`` times the first at most.
    """
    stretch = max(3, round(_STRETCH / float(grid[1] - grid[0])))
    steps = _independent_steps(pattern, stretch)
    near = _near(pattern, steps, stretch, window)
    if steps > 1 and not _is_even(near):
        near = _near(pattern, 1, stretch, window)
    if window is None:
        return near
    far = _spread(smooth, len(window), stretch)
    return np.clip(far, near, _CORRELATED * near)


def _is_even(noise: NDArray[np.float64]) -> bool:
    """Whether it is much the same all over, as noise is, and peaks without noise are not."""
    measured = noise[noise > 0.0]
    return bool(len(measured)) and bool(np.quantile(measured, 0.05) >= _EVEN * np.median(measured))


def _near(
    pattern: NDArray[np.floating], steps: int, stretch: int, window: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Noise after the filter, from neighbours so many steps apart: of values between them it averages nothing out."""
    kept = 1.0 if window is None else min(1.0, float(np.sqrt(steps * np.square(window).sum())))
    return kept * _spread(pattern, steps, stretch)


def _independent_steps(pattern: NDArray[np.floating], stretch: int) -> int:
    """How many steps apart values are independent: more than one where a coarser file was interpolated.

    Noise goes up and down at two of three points, interpolated noise less often. The stretches that turn most often
    are those where noise outweighs peaks.
    """
    slope = np.sign(np.diff(pattern))
    turns = slope[1:] * slope[:-1]
    n = len(turns) // stretch
    blocks = turns[: n * stretch].reshape(n, stretch)
    counted = (blocks != 0.0).sum(axis=1)
    enough = counted >= max(30, stretch // 2)
    if enough.sum() < 4:
        return 1
    share = float(np.quantile((blocks < 0.0).sum(axis=1)[enough] / counted[enough], 0.9))
    return 1 if share < _LEAST_TURNING else max(1, int(_TURNING / share + 0.3))


def _spread(values: NDArray[np.floating], lag: int, stretch: int) -> NDArray[np.float64]:
    """Standard deviation of noise in values that are independent so many steps apart.

    Their second differences are √6 times as noisy. Exact zeros among them are no measurement.
    """
    size = np.abs(values[: -2 * lag] - 2.0 * values[lag:-lag] + values[2 * lag :])
    spread = np.zeros(len(values))
    for start in range(0, len(size), stretch):
        part = size[start : start + stretch]
        part = part[part > 0.0]
        last = len(values) if start + stretch >= len(size) else start + stretch + lag
        spread[start + lag if start else 0 : last] = _first_quarter(part) / _QUARTER if len(part) > 2 else 0.0
    return spread / np.sqrt(6.0)


def _first_quarter(values: NDArray[np.float64]) -> float:
    """``np.quantile(values, 0.25)`` at a tenth of its cost, which there is that of few values."""
    place = 0.25 * (len(values) - 1)
    below = int(place)
    low, high = np.partition(values, (below, below + 1))[below : below + 2]
    return float(low + (high - low) * (place - below))

"""Resampling is compared with functions whose value on the new grid is known exactly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.readers import read_pattern
from hpc_mlsm.archive.resample import to_grid
from hpc_mlsm.errors import PatternError

MEASURED = Path(__file__).parents[3] / "shared" / "data" / "experimental"
GRID = np.linspace(0.0, 30.0, 301)
FINE = np.linspace(0.0, 35.0, 3501)
RNG = np.random.default_rng(3)
FREQUENCIES, AMPLITUDES = RNG.uniform(0.5, 25.0, 60), RNG.normal(size=60)


def band_limited(r: np.ndarray) -> np.ndarray:
    """A sine series with no frequency above 25 1/Å: what a G(r) of Qmax 25 is."""
    return np.sin(np.outer(r, FREQUENCIES)) @ AMPLITUDES


BOUND = 5 / 384 * ((FREQUENCIES * 0.01) ** 4 * np.abs(AMPLITUDES)).sum()
"""Error of a cubic spline through points 0.01 Å apart (Hall & Meyer 1976): 5/384 h^4 max|d⁴G/dr⁴|."""


def pattern(x: np.ndarray, y: np.ndarray | None = None, **metadata: float | str) -> Pattern:
    return Pattern("p", x, band_limited(x) if y is None else y, "r", "angstrom", metadata=dict(metadata))


def test_a_band_limited_function_is_met_between_its_points() -> None:
    grid = GRID + 0.0037
    result = to_grid(pattern(FINE, q_max=25.0), grid)
    # The bound, 4e-4 where the signal reaches 17, counts all sines at their crests at once.
    assert np.abs(result.values - band_limited(grid)).max() < BOUND
    assert result.notes == ()
    assert result.values.dtype == np.float64


def test_points_that_the_measurement_has_come_back_exactly() -> None:
    result = to_grid(pattern(FINE), FINE[10:3001:10])
    np.testing.assert_allclose(result.values, band_limited(FINE[10:3001:10]), atol=1e-12)


def test_uneven_points_are_no_obstacle() -> None:
    x = np.sort(np.concatenate([FINE, FINE[:-1] + 0.004]))
    result = to_grid(pattern(x, q_max=25.0), GRID)
    assert np.abs(result.values - band_limited(GRID)).max() < BOUND


@given(scale=st.floats(1e-3, 1e6), shift=st.floats(0.0, 0.05))
def test_a_straight_line_stays_one(scale: float, shift: float) -> None:
    result = to_grid(pattern(FINE + shift, scale * (FINE + shift)), GRID)
    np.testing.assert_allclose(result.values, scale * GRID, rtol=1e-9, atol=1e-9 * scale)


def test_a_pattern_that_begins_later_is_filled_with_the_line_through_the_origin() -> None:
    x = FINE[100:]
    y = -0.5 * x
    result = to_grid(pattern(x, y), GRID)
    np.testing.assert_allclose(result.values, -0.5 * GRID, atol=1e-12)
    assert result.notes == ("filled from 0 to 1 Å with the line from 0 to the first measured value",)


def test_how_late_a_pattern_may_begin_is_for_the_caller_to_say() -> None:
    late = pattern(FINE[150:])
    with pytest.raises(PatternError, match=r"spans 1\.5 to 35 Å, the model's grid 0 to 30 Å.*at most 1 Å") as caught:
        to_grid(late, GRID)
    assert caught.value.reason == "starts_late"
    assert to_grid(late, GRID, low_r_allowance=1.5).values[0] == 0.0


def test_a_pattern_need_not_begin_at_zero_nor_on_the_grid() -> None:
    result = to_grid(pattern(FINE[1:] + 0.003, q_max=25.0), GRID)
    np.testing.assert_allclose(result.values[1:], band_limited(GRID[1:]), atol=BOUND)
    assert len(result.notes) == 1


def test_the_last_step_may_be_missing_and_is_noted() -> None:
    result = to_grid(pattern(FINE[FINE < 29.995]), GRID)
    assert result.values[-1] == pytest.approx(band_limited(np.array([29.99]))[0])
    assert "ends 0.01 Å below the grid" in result.notes[0]
    assert to_grid(pattern(FINE[FINE < 30.005]), GRID).notes == ()


def test_a_pattern_that_ends_too_early_is_refused_with_both_ranges() -> None:
    with pytest.raises(PatternError, match=r"spans 0 to 29\.89 Å.*0 to 30 Å.*r = 30 Å.*r_max at most") as caught:
        to_grid(pattern(FINE[FINE < 29.895]), GRID)
    assert caught.value.reason == "too_short"


def test_nanometres_become_angstrom() -> None:
    measured = replace(pattern(FINE / 10, band_limited(FINE) * 100, y_unit="1/nm^2"), unit="nm")
    result = to_grid(measured, GRID)
    np.testing.assert_allclose(result.values, band_limited(GRID), atol=1e-10)
    assert result.notes == ("r converted from nm to Å", "G(r) converted from 1/nm² to 1/Å²")


def test_an_unknown_abscissa_is_taken_as_r_and_noted() -> None:
    measured = Pattern("p", FINE, band_limited(FINE))
    assert to_grid(measured, GRID).notes == ("the file does not say what its abscissa is; taken as r in Å",)


@pytest.mark.parametrize(
    ("axis", "unit", "found"), [("q", None, "q"), ("two_theta", "degree", "two_theta"), (None, "degree", "degree")]
)
def test_another_abscissa_is_refused(axis: str, unit: str | None, found: str) -> None:
    with pytest.raises(PatternError, match=f"abscissa is {found}, the model needs") as caught:
        to_grid(Pattern("p", FINE, band_limited(FINE), axis, unit), GRID)  # type: ignore[arg-type]
    assert caught.value.reason == "wrong_axis"


def test_points_wider_apart_than_the_detail_are_refused() -> None:
    # pi / 25 is 0.1257 Å.
    with pytest.raises(PatternError, match=r"0\.14 Å apart.*at most 0\.1257 Å.*q_max of 25") as caught:
        to_grid(pattern(np.arange(0, 35, 0.14), q_max=25.0), GRID)
    assert caught.value.reason == "too_coarse"


def test_a_coarse_but_sufficient_spacing_is_noted() -> None:
    result = to_grid(pattern(np.arange(0.03, 35, 0.1), q_max=25.0), GRID[1:])
    assert result.notes == (result.notes[0],)
    assert "off by percents" in result.notes[0]
    # Where the model's points are measured ones nothing is interpolated.
    assert to_grid(pattern(np.arange(0, 35, 0.1), q_max=25.0), GRID).notes == ()


def test_a_hole_in_the_data_is_refused_where_the_grid_needs_it_and_ignored_beyond() -> None:
    hole = (FINE > 10.0) & (FINE < 11.0)
    with pytest.raises(PatternError, match=r"1 Å apart at r = 10 Å.*no q_max is given"):
        to_grid(pattern(FINE[~hole]), GRID)
    beyond = (FINE > 31.0) & (FINE < 32.0)
    assert to_grid(pattern(FINE[~beyond]), GRID).notes == ()


def test_a_constant_signal_in_the_range_of_the_model_is_refused() -> None:
    y = np.where(FINE <= 30.0, 0.3, np.sin(FINE))
    with pytest.raises(PatternError, match=r"signal is 0\.3 everywhere from 0 to 30 Å") as caught:
        to_grid(pattern(FINE, y), GRID)
    assert caught.value.reason == "constant"


def test_points_that_all_but_coincide_are_refused() -> None:
    x = np.concatenate([[0.0, 1e-310], FINE[1:]])
    y = np.concatenate([[0.0, 5.0], FINE[1:]])
    with pytest.raises(PatternError, match="apart"):
        to_grid(pattern(x, y), GRID)


@pytest.mark.parametrize("largest", [1e31, 1.7e308])
def test_signals_that_overflow_are_refused(largest: float) -> None:
    y = np.where(np.arange(len(FINE)) % 2, largest, -largest)
    with pytest.raises(PatternError, match="cannot be interpolated") as caught:
        to_grid(pattern(FINE, y), GRID + 0.005)
    assert caught.value.reason == "not_finite"


@pytest.mark.reference
@pytest.mark.skipif(not MEASURED.is_dir(), reason="measured patterns of ../shared/data are not here")
def test_measured_pdfs_on_a_coarser_grid_are_the_measured_points() -> None:
    for file in sorted(MEASURED.rglob("*.gr")):
        measured = read_pattern(file)
        result = to_grid(measured, GRID)
        assert result.notes == ()
        # Every tenth measured point lies on the grid; files hold six digits.
        np.testing.assert_allclose(result.values, measured.y[:3001:10], atol=1e-9)

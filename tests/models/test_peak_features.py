"""Peaks of patterns are compared with those that were put in."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from hpc_mlsm.errors import PatternError
from hpc_mlsm.models.peak_features import FEATURE_NAMES, NOISY, PeakSettings, find_peak_table

GRID = np.round(0.02 * np.arange(4501), 6)
BEYOND = pytest.approx(90.02, abs=1e-4)


def pattern(centres: list[float], heights: list[float] | None = None, width: float = 0.08) -> np.ndarray:
    tall = np.ones(len(centres)) if heights is None else np.array(heights)
    return (tall * np.exp(-(((GRID[:, None] - np.array(centres)) / width) ** 2))).sum(axis=1)


def test_the_features_are_positions_number_and_strongest() -> None:
    centres = [8.0 + 5 * k for k in range(14)]
    table = find_peak_table(pattern(centres, [1.0] * 6 + [2.0] + [1.0] * 7)[None], GRID)
    np.testing.assert_allclose(table.positions[0], centres[:10], atol=1e-5)
    assert table.count.tolist() == [14]
    assert table.strongest[0] == pytest.approx(38.0)
    assert not table.few.any()
    forest, extra = table.features("random_forest"), table.features("extra_trees")
    assert (forest.shape, extra.shape) == ((1, 12), (1, 11))
    np.testing.assert_array_equal(forest[:, :11], extra)
    assert (len(FEATURE_NAMES["random_forest"]), len(FEATURE_NAMES["extra_trees"])) == (12, 11)


def test_missing_positions_lie_beyond_the_grid_and_are_told() -> None:
    patterns = np.stack([pattern([20.0, 40.0, 60.0]), np.zeros(len(GRID)), pattern([10.0 + 5 * k for k in range(10)])])
    table = find_peak_table(patterns, GRID)
    assert table.count.tolist() == [3, 0, 10]
    assert table.few.tolist() == [True, True, False]
    assert table.positions[0, 3] == BEYOND
    assert table.strongest[1] == BEYOND
    assert (np.diff(table.positions, axis=1) >= 0).all()
    assert np.isfinite(table.features("random_forest")).all()


def test_peaks_do_not_depend_on_the_scale() -> None:
    rng = np.random.default_rng(1)
    patterns = np.stack([pattern(list(rng.uniform(5, 85, 30)), list(rng.uniform(0.01, 1, 30))) for _ in range(5)])
    one, other = find_peak_table(patterns, GRID), find_peak_table((1000 * patterns).astype(np.float32), GRID)
    np.testing.assert_array_equal(one.features("random_forest"), other.features("random_forest"))


def test_without_thresholds_they_are_those_of_scipy() -> None:
    y = pattern([10.0, 30.0, 30.3, 50.0])
    settings = PeakSettings(min_height=0.0, min_prominence=0.0)
    table = find_peak_table(y[None], GRID, settings)
    expected, _ = find_peaks(y, height=float(np.finfo(np.float32).tiny))
    assert table.count[0] == len(expected)
    np.testing.assert_allclose(table.positions[0, : len(expected)], GRID[expected], atol=1e-5)


def test_low_peaks_and_ripples_on_flanks_do_not_count() -> None:
    y = pattern([20.0, 20.4, 50.0], [1.0, 0.02, 0.004])
    assert find_peak_table(y[None], GRID).count[0] == 2
    strict = PeakSettings(min_prominence=0.03)
    assert find_peak_table(y[None], GRID, strict).count[0] == 1
    apart = PeakSettings(min_distance=50)
    assert find_peak_table(y[None], GRID, apart).count[0] == 1


def test_noise_makes_no_peaks_where_the_settings_allow_for_it() -> None:
    rng = np.random.default_rng(2)
    centres = [8.0 + 6 * k for k in range(13)]
    clean = 100 + 2000 * pattern(centres)
    noisy = rng.poisson(clean).astype(float)
    assert find_peak_table(noisy[None], GRID).count[0] > 30
    table = find_peak_table(noisy[None] - 90, GRID, NOISY)
    assert table.count[0] == 13
    np.testing.assert_allclose(table.positions[0], centres[:10], atol=0.05)


def test_allowing_for_noise_costs_few_peaks_of_a_crowded_clean_pattern() -> None:
    rng = np.random.default_rng(3)
    centres = np.sort(rng.uniform(8, 88, 60))
    centres = centres[np.diff(centres, prepend=0.0) > 0.4]
    y = pattern(list(centres), list(10 ** rng.uniform(-1.5, 0, len(centres))))
    clean, careful = find_peak_table(y[None], GRID), find_peak_table(y[None], GRID, NOISY)
    assert clean.count[0] == len(centres)
    assert careful.count[0] >= 0.9 * len(centres)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_its_row(bad: float) -> None:
    patterns = np.ones((3, len(GRID)))
    patterns[1, 7] = bad
    with pytest.raises(PatternError, match="row 1"):
        find_peak_table(patterns, GRID)


def test_another_grid_is_refused() -> None:
    with pytest.raises(PatternError, match="do not lie on a grid of 4501 points"):
        find_peak_table(np.ones((2, 10)), GRID)


@pytest.mark.parametrize("width", [1, 3])
def test_noise_is_no_peak_where_a_file_was_smoothed_before(width: int) -> None:
    rng = np.random.default_rng(0)
    grid = np.arange(0.0, 90.01, 0.02)
    centres = np.linspace(12.0, 84.0, 12)
    clean = np.exp(-(((grid[:, None] - centres) / 0.08) ** 2)).sum(axis=1)
    noise = uniform_filter1d(rng.normal(0.0, 0.02, (10, len(grid))), width, axis=1)
    counts = find_peak_table(clean + 0.2 + noise, grid, NOISY).count
    assert counts.min() >= 12
    assert counts.mean() < 14.5  # by neighbouring points alone the smoothed ones have about 150

"""Single points that an instrument left behind are found, and peaks of patterns are not taken for them."""

import numpy as np
import pytest

from hpc_mlsm.archive.frame_checks import spikes
from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.resample import rows_to_grid, to_grid

X = np.linspace(0, 30, 301)


@pytest.mark.parametrize("height", [50.0, -50.0])
@pytest.mark.parametrize("place", [0, 150, 300])
def test_a_point_far_above_all_others_is_a_spike(height: float, place: int) -> None:
    rows = np.array([np.sin(X), np.sin(2 * X)])
    rows[1, place] += height
    assert spikes(rows).tolist() == [-1, place]


def test_peaks_and_noise_are_no_spikes() -> None:
    sharp = np.exp(-0.5 * ((X - 15) / 0.1) ** 2)
    noise = np.random.default_rng(0).normal(size=(200, 301))
    assert (spikes(np.vstack([sharp, sharp + 3, noise])) == -1).all()


def test_many_curves_are_resampled_as_one_by_one() -> None:
    x = np.arange(0, 20.005, 0.01)
    y = np.array([np.sin(k * x) * np.exp(-0.1 * x) for k in np.linspace(1, 9, 300)])
    like = Pattern("a", x, y[0], "r", "angstrom")
    grid = np.arange(1.0, 15.0, 0.1)
    rows, notes, wrong = rows_to_grid(like, y, grid)
    assert not notes
    assert not wrong
    for k in (0, 255, 256, 299):
        np.testing.assert_allclose(rows[k], to_grid(Pattern("a", x, y[k], "r", "angstrom"), grid).values, atol=1e-13)
    np.testing.assert_allclose(rows[7], np.interp(grid, x, y[7]), atol=2e-3)


def test_rows_at_fault_are_told_and_the_others_kept() -> None:
    x = np.arange(0, 20.05, 0.1)
    y = np.tile(np.sin(x), (3, 1))
    y[0], y[2, 5] = 4.0, 1e35
    values, _, wrong = rows_to_grid(Pattern("a", x, y[1], "r", "angstrom"), y, x[10:100], name="frame {}".format)
    assert {row: error.reason for row, error in wrong.items()} == {0: "constant", 2: "not_finite"}
    assert "frame 2: " in wrong[2].detail
    np.testing.assert_allclose(values[1], y[1, 10:100])

import numpy as np
import pytest

from hpc_mlsm.scattering.histogram import _exp_of_16, add_peaks, peak_reach

STEP = 0.1
POINTS = 200


def _peaks(
    r: np.ndarray, weights: np.ndarray, u_sum: float, shape: tuple[float, float, float], bins_per_step: int
) -> np.ndarray:
    """What ``add_peaks`` makes of pairs at given distances, in one variant without strain."""
    half_way = shape[0] + np.sqrt(shape[0] ** 2 + 2 * shape[1])
    reach = STEP * POINTS + peak_reach(STEP * POINTS, u_sum, shape[2])
    n_bins = int(np.ceil(reach / STEP * bins_per_step)) + 6
    peaks = np.zeros((1, POINTS))
    squares = (r**2).astype(np.float32)
    add_peaks(
        squares,
        np.zeros((1, len(r)), np.float32),
        weights.astype(np.float32),
        0,
        len(r),
        np.flatnonzero(r < half_way),
        np.zeros((1, 1), np.float32),
        np.array([u_sum]),
        np.array([shape]),
        np.array([half_way]),
        STEP,
        np.array([bins_per_step]),
        np.array([n_bins]),
        np.empty((1, n_bins), np.float32),
        peaks,
    )
    return peaks[0]


def _direct(r: np.ndarray, weights: np.ndarray, u_sum: float, shape: tuple[float, float, float]) -> np.ndarray:
    bracket = 1 - shape[0] / r - shape[1] / r**2 + (shape[2] * r) ** 2
    counted = bracket > 0
    r, sigma, weights = r[counted], np.sqrt(u_sum * bracket[counted]), weights[counted]
    x = STEP * np.arange(POINTS)[:, None]
    return np.exp(-0.5 * ((x - r) / sigma) ** 2) @ (weights / (r * sigma * np.sqrt(2 * np.pi)))


@pytest.mark.parametrize(
    "shape", [(0.0, 0.0, 0.0), (0.8, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 0.04), (0.4, 2.0, 0.02)]
)
@pytest.mark.parametrize("n_pairs", [1, 511, 512, 513, 20_000])
def test_peaks_are_sums_of_gaussians_wherever_they_are_and_however_many(
    shape: tuple[float, float, float], n_pairs: int
) -> None:
    generator = np.random.default_rng(n_pairs)
    # From nearly nothing to beyond the last point, so that both edges are crossed.
    r = generator.uniform(0.3, 23.0, n_pairs)
    weights = generator.uniform(0.5, 2.0, n_pairs)
    expected = _direct(r, weights, 0.01, shape)
    found = _peaks(r, weights, 0.01, shape, bins_per_step=9)
    # Cubic interpolation between bins of σ/9, or σ/6.4 where the variance is halved, errs by up to 0.07 (h/σ)⁴.
    np.testing.assert_allclose(found, expected, atol=5e-5 * max(np.abs(expected).max(), 1e-3))


def test_finer_bins_come_nearer_with_their_fourth_power() -> None:
    r = np.linspace(2.0, 2.1, 50)
    expected = _direct(r, np.ones(50), 0.01, (0.0, 0.0, 0.0))
    coarse, fine = (np.abs(_peaks(r, np.ones(50), 0.01, (0.0, 0.0, 0.0), bins) - expected).max() for bins in (2, 4))
    assert 10 < coarse / fine < 25


def test_the_series_is_an_exponential_to_four_millionths() -> None:
    y = np.linspace(0, 1.5, 4001).astype(np.float32)
    found = np.array([_exp_of_16(value) for value in y])
    np.testing.assert_allclose(found, np.exp(-16 * y.astype(float)), atol=4e-6)


def test_a_peak_that_is_cut_off_has_fallen_to_a_millionth() -> None:
    assert peak_reach(0.0, 0.04, 0.0) == pytest.approx(1.1)
    assert np.exp(-0.5 * (peak_reach(20.0, 0.04, 0.05) / np.sqrt(0.04 * 2)) ** 2) < 1e-6

import numpy as np
import pytest
from scipy.integrate import quad

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.transform import InternalGrid, band_limited


def _internal(grid: PdfGrid, q_max: float) -> InternalGrid:
    return InternalGrid.for_range(grid, q_max, variance=1.0)


def test_the_internal_grid_goes_six_ripples_beyond_and_is_padded_to_a_power_of_two() -> None:
    internal = InternalGrid.for_range(PdfGrid(0.0, 30.0, 0.1), 25.0, 0.02)
    assert internal.step == 0.1
    assert internal.r[-1] < 30.05 + 6 * 2 * np.pi / 25.0 <= internal.r[-1] + 0.1
    assert internal.n_pad == 512
    assert internal.q_step == pytest.approx(np.pi / 51.2)


@pytest.mark.parametrize(("u_iso", "q_max"), [(0.01, 25.0), (0.001, 25.0), (1e-5, 25.0), (0.01, 80.0), (0.2, 30.0)])
def test_the_internal_step_is_halved_until_the_sharpest_peak_does_not_alias(u_iso: float, q_max: float) -> None:
    internal = InternalGrid.for_range(PdfGrid(0.0, 10.0, 0.1), q_max, 2 * u_iso)
    halvings = np.log2(0.1 / internal.step)
    assert halvings == round(halvings)
    # F at the highest Q that folds back into the band, as a share of F(0).
    assert np.exp(-u_iso * (2 * np.pi / internal.step - q_max) ** 2) <= 1e-3


@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("grid", [PdfGrid(0.0, 20.0, 0.1), PdfGrid(1.234, 18.0, 0.07)])
def test_a_gaussian_keeps_what_of_its_sine_transform_is_in_the_band(varied: bool, grid: PdfGrid) -> None:
    # F(Q) of a Gaussian at r0, continued oddly, is sin(Q r0) exp(-σ²Q²/2).
    q_min, q_max, r0, sigma = 1.0, 16.0, 6.4, 0.13
    internal = _internal(grid, q_max)
    peak = np.exp(-0.5 * ((internal.r - r0) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    conditions = PdfConditions.uniform(1, q_min=q_min, q_max=q_max)
    rows = peak[None]
    if varied:
        conditions = conditions.followed_by(PdfConditions.uniform(1, q_min=0.0, q_max=17.0))
        rows = np.array([peak, peak])
    found = band_limited(rows, conditions, grid, internal)[0]

    def integrand(q: float, r: float) -> float:
        return float(np.sin(q * r0) * np.exp(-0.5 * (sigma * q) ** 2) * np.sin(q * r))

    for k in range(0, len(grid), 37):
        expected = 2 / np.pi * quad(integrand, q_min, q_max, args=(grid.r[k],), limit=400)[0]
        # The sum over Q differs from the integral by less than a step of Q at either limit.
        assert found[k] == pytest.approx(expected, abs=2 / np.pi * 2 * internal.q_step * np.exp(-0.5 * sigma**2))


@pytest.mark.parametrize("grid", [PdfGrid(0.0, 12.0, 0.1), PdfGrid(2.5, 9.7, 0.013)])
def test_one_matrix_and_the_fast_transform_give_the_same(grid: PdfGrid) -> None:
    internal = _internal(grid, 20.0)
    rows = np.random.default_rng(0).normal(size=(3, internal.size))
    rows[:, 0] = 0.0
    alike = PdfConditions.uniform(3, q_min=0.7, q_max=20.0)
    mixed = alike.followed_by(PdfConditions.uniform(1, q_min=0.7, q_max=24.0))
    found = band_limited(np.vstack([rows, rows[:1]]), mixed, grid, internal)[:3]
    np.testing.assert_allclose(found, band_limited(rows, alike, grid, internal), atol=1e-10)


def test_a_grid_too_large_for_one_matrix_is_done_in_blocks() -> None:
    grid, few = PdfGrid(0.0, 120.0, 0.01), PdfGrid(0.0, 120.0, 4.0)
    internal = _internal(grid, 20.0)
    rows = np.sin(internal.r)[None] * np.exp(-internal.r / 30)
    conditions = PdfConditions.uniform(1, q_max=20.0)
    fine = band_limited(rows, conditions, grid, internal)
    coarse = band_limited(rows, conditions, few, internal)
    assert fine.shape == (1, len(grid))
    np.testing.assert_allclose(fine[:, ::400], coarse, atol=1e-10)

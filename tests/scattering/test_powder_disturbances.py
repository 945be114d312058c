"""Impurity, background, hump and counting noise against their formulae and statistics."""

import numpy as np
import pytest
from scipy.stats import skew

from hpc_mlsm.scattering.powder.conditions import PowderConditions, Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.disturbances import NORMAL_FROM, background, disturb

GRID = TwoThetaGrid(10.0, 90.0, 0.02)
DOUBLET = Radiation((1.540593, 1.544427), (2.0, 1.0))


def peak(height: float = 3.0) -> np.ndarray:
    return (height * np.exp(-(((GRID.two_theta - 40) / 0.1) ** 2)))[None].astype(np.float32)


def disturbed(n: int = 1, patterns: np.ndarray | None = None, largest: float = 1000.0, **given: float) -> np.ndarray:
    rows = np.repeat(peak(), n, axis=0) if patterns is None else patterns
    conditions = PowderConditions.uniform(len(rows), **given)
    return disturb(rows.copy(), conditions, GRID, DOUBLET, largest=largest, structure_id="one", seed=0)


def test_the_highest_point_is_as_asked_and_zero_leaves_the_pattern_alone() -> None:
    assert disturbed().max() == pytest.approx(1000)
    np.testing.assert_allclose(disturbed()[0], 1000 * peak(1.0)[0], rtol=1e-5)
    np.testing.assert_array_equal(disturbed(largest=0.0), peak())


def test_the_background_is_a_chebyshev_series_that_is_nowhere_negative() -> None:
    given = {"background": 0.1, "slope": -0.5, "bend": 0.3, "twist": 0.1}
    found = background(GRID, PowderConditions.uniform(1, **given), 0)
    x = np.linspace(-1, 1, len(GRID))
    expected = 0.1 * np.polynomial.chebyshev.chebval(x, [1, -0.5, 0.3, 0.1])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    steep = background(GRID, PowderConditions.uniform(1, background=0.1, slope=3.0), 0)
    assert steep.min() == 0
    assert steep.max() == pytest.approx(0.4, rel=1e-5)


def test_the_hump_has_its_height_centre_and_width() -> None:
    found = background(GRID, PowderConditions.uniform(1, hump=0.2, hump_centre=30.0, hump_width=8.0), 0)
    assert found.max() == pytest.approx(0.2, rel=1e-5)
    assert GRID.two_theta[np.argmax(found)] == pytest.approx(30.0, abs=0.02)
    above = GRID.two_theta[found > 0.1]
    assert above[-1] - above[0] == pytest.approx(8.0, abs=0.05)


def test_an_impurity_has_lines_of_the_asked_height_and_the_samples_width() -> None:
    many = disturbed(40, impurity=0.1, impurity_lines=1.0, caglioti_w=0.16, exponent=50.0, largest=1.0)
    added = many - peak(1.0)
    centres = GRID.two_theta[added.argmax(axis=1)]
    assert added.max(axis=1)[centres < 30] == pytest.approx(0.1, rel=0.05)
    assert added.max(axis=1).min() > 0.066  # Kα1 alone
    assert len(np.unique(centres)) > 35
    assert centres.min() < 25
    assert centres.max() > 75
    low = added[np.argmin(np.where(centres > 15, centres, 90))]  # where Kα1 and Kα2 are hardly apart
    above = GRID.two_theta[low > low.max() / 2]
    assert above[-1] - above[0] == pytest.approx(0.4, abs=0.05)
    high = added[np.argmax(np.where(centres < 88, centres, 0))]
    doubled = 2 * np.degrees(np.arcsin(np.sin(np.radians(centres.max() / 2)) * 1.544427 / 1.540593)) - centres.max()
    beside = GRID.two_theta[high > high.max() / 4]
    assert beside[-1] - beside[0] > 0.4 + 0.8 * doubled


def test_an_impurity_of_no_lines_or_no_height_adds_nothing() -> None:
    np.testing.assert_array_equal(disturbed(3, impurity=0.1, impurity_lines=0.2), disturbed(3))
    np.testing.assert_array_equal(disturbed(3, impurity=0.0, impurity_lines=4.0), disturbed(3))


def test_an_impurity_does_not_change_the_noise() -> None:
    """So that patterns with and without it can be compared."""
    clean, mixed = disturbed(1, counts=500.0), disturbed(1, counts=500.0, impurity=0.05, impurity_lines=1.0)
    differ = np.abs(mixed - clean)[0] > 1.0
    assert 0 < differ.mean() < 0.2


@pytest.mark.parametrize("counts", [3.0, 0.9 * NORMAL_FROM, 1.1 * NORMAL_FROM, 200.0, 1e4])
def test_noise_has_the_mean_and_variance_of_counts(counts: float) -> None:
    flat = np.ones((200, len(GRID)), dtype=np.float32)
    found = disturbed(patterns=flat, counts=counts, largest=1.0).astype(float)
    # The highest point is scaled to 1, so each pattern is divided by its own highest count.
    found *= counts / found.mean(axis=1, keepdims=True)
    assert found.var() == pytest.approx(counts, rel=0.02)
    assert skew(found.ravel()) == pytest.approx(counts**-0.5, abs=0.02)
    assert (found >= 0).all()


def test_noise_belongs_to_structure_variant_and_seed_alone() -> None:
    many, few = disturbed(5, counts=500.0), disturbed(2, counts=500.0)
    np.testing.assert_array_equal(many[:2], few)
    assert not np.array_equal(many[0], many[1])
    conditions = PowderConditions.uniform(1, counts=500.0)
    for other in ({"structure_id": "two", "seed": 0}, {"structure_id": "one", "seed": 1}):
        changed = disturb(peak().copy(), conditions, GRID, DOUBLET, largest=1000.0, **other)  # type: ignore[arg-type]
        assert not np.array_equal(changed[0], many[0])

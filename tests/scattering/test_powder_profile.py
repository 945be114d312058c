"""Profiles against integrals and formulae that can be written down."""

import math

import numpy as np
import pytest
from scattering_crystals import NICKEL, RUTILE, TRICLINIC
from scipy.integrate import quad

from hpc_mlsm.scattering.powder.conditions import PowderConditions, Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.lines import Lines, list_lines
from hpc_mlsm.scattering.powder.powers import negative_power
from hpc_mlsm.scattering.powder.profile import lorentz_polarisation, pearson_height, powder_profile
from hpc_mlsm.structures.structure import Structure

GRID = TwoThetaGrid(10.0, 120.0, 0.01)
ONE = np.ones((1, 3))
LAMBDA = 1.54056


def one_line(structure: Structure = NICKEL, hkl: tuple[int, int, int] = (1, 1, 1), intensity: float = 7.0) -> Lines:
    return Lines(
        hkl=np.array([hkl]),
        offsets=np.array([0, 1]),
        intensities=np.array([intensity]),
        cosines=np.zeros((0, 1, 1)),
        reciprocal=np.linalg.inv(structure.cell.metric),
    )


def profile(lines: Lines, radiation: Radiation | None = None, scales: np.ndarray = ONE, **given: float) -> np.ndarray:
    conditions = PowderConditions.uniform(len(scales), **given)
    return powder_profile(lines, scales, conditions, radiation or Radiation(), GRID).astype(float)


def theta_of(d: float, wavelength: float = LAMBDA) -> float:
    return math.asin(wavelength / (2 * d))


def lp(theta: float) -> float:
    return (1 + math.cos(2 * theta) ** 2) / (2 * math.sin(theta) ** 2 * math.cos(theta))


@pytest.mark.parametrize("exponent", [1.5, 2.0, 5.0, 50.0])
def test_the_area_of_a_peak_is_its_intensity_times_lorentz_and_polarisation(exponent: float) -> None:
    pattern = profile(one_line(), exponent=exponent)[0]
    expected = 7.0 * lp(theta_of(3.524 / math.sqrt(3)))
    # A tail falls as x^(1 - 2m); with m = 1.5 it leaves 3e-4 of the area beyond where it is cut off.
    assert pattern.sum() * GRID.two_theta_step == pytest.approx(expected, rel=1e-3 if exponent < 2 else 1e-4)


def test_a_lorentzian_is_cut_off_with_little_of_its_area_lost() -> None:
    pattern = profile(one_line(), exponent=1.0)[0]
    assert pattern.sum() * GRID.two_theta_step == pytest.approx(7.0 * lp(theta_of(3.524 / math.sqrt(3))), rel=4e-3)


@pytest.mark.parametrize("exponent", [1.0, 1.5, 3.0, 40.0])
def test_a_peak_has_the_shape_of_a_pearson_vii_and_the_asked_width(exponent: float) -> None:
    width = 0.2
    pattern = profile(one_line(), exponent=exponent, caglioti_w=width**2)[0]
    x = GRID.two_theta - 2 * math.degrees(theta_of(3.524 / math.sqrt(3)))
    shape = (1 + 4 * (2 ** (1 / exponent) - 1) * (x / width) ** 2) ** -exponent
    seen = shape > 1e-4
    np.testing.assert_allclose(pattern[seen] / pattern.max(), shape[seen] / shape[seen].max(), rtol=1e-4)
    above = GRID.two_theta[pattern > pattern.max() / 2]
    assert above[-1] - above[0] == pytest.approx(width, abs=0.02)


@pytest.mark.parametrize("exponent", [1.0, 1.5, 4.0, 100.0])
def test_the_height_makes_the_area_one(exponent: float) -> None:
    steepness = 4 * (2 ** (1 / exponent) - 1)
    area, _ = quad(lambda x: (1 + steepness * x * x) ** -exponent, -np.inf, np.inf)
    assert pearson_height(exponent) * area == pytest.approx(1, rel=1e-6)


def test_the_power_function_is_right_to_single_precision() -> None:
    from numba import njit

    power = njit(lambda base, exponent: negative_power(base, exponent))
    for base in np.float32(np.geomspace(1, 1e6, 200)):
        for exponent in (1.0, 1.5, 7.3):
            expected = float(base) ** -exponent
            if expected > 1e-25:
                assert power(base, np.float32(exponent)) == pytest.approx(expected, rel=1e-5)


def test_a_second_wavelength_has_its_own_position_and_share_of_the_area() -> None:
    doublet = Radiation(wavelengths=(1.54056, 1.54439), shares=(2.0, 1.0))
    pattern = profile(one_line(hkl=(3, 1, 1)), doublet, caglioti_w=0.0025, exponent=10.0)[0]
    centres = [2 * math.degrees(theta_of(3.524 / math.sqrt(11), w)) for w in doublet.wavelengths]
    first = np.abs(GRID.two_theta - centres[0]) < (centres[1] - centres[0]) / 2
    second = np.abs(GRID.two_theta - centres[1]) < (centres[1] - centres[0]) / 2
    for seen, centre in ((first, centres[0]), (second, centres[1])):
        assert GRID.two_theta[seen][np.argmax(pattern[seen])] == pytest.approx(centre, abs=GRID.two_theta_step)
    expected = 2 * lp(theta_of(3.524 / math.sqrt(11), 1.54056)) / lp(theta_of(3.524 / math.sqrt(11), 1.54439))
    assert pattern[first].sum() / pattern[second].sum() == pytest.approx(expected, rel=2e-3)


def test_lorentz_and_polarisation_factors_are_those_of_the_formula() -> None:
    assert lorentz_polarisation(math.radians(20), 1.0) == pytest.approx(lp(math.radians(20)), rel=1e-12)
    graphite = math.cos(math.radians(26.6)) ** 2
    expected = (1 + graphite * math.cos(math.radians(40)) ** 2) / (1 + graphite)
    expected /= math.sin(math.radians(20)) ** 2 * math.cos(math.radians(20))
    assert lorentz_polarisation(math.radians(20), graphite) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("given", "width"),
    [
        ({"caglioti_w": 0.04}, lambda t: 0.2),
        (
            {"caglioti_u": 0.05, "caglioti_v": -0.01, "caglioti_w": 0.02},
            lambda t: math.sqrt(0.05 * math.tan(t) ** 2 - 0.01 * math.tan(t) + 0.02),
        ),
        ({"caglioti_w": 1e-8, "size": 100.0}, lambda t: math.degrees(0.9 * LAMBDA / (100 * math.cos(t)))),
        ({"caglioti_w": 1e-8, "microstrain": 0.002}, lambda t: math.degrees(4 * 0.002 * math.tan(t))),
    ],
    ids=["constant", "caglioti", "size", "microstrain"],
)
def test_widths_follow_caglioti_scherrer_and_microstrain(given: dict[str, float], width) -> None:  # type: ignore[no-untyped-def]
    for hkl in ((1, 1, 1), (3, 1, 1)):
        pattern = profile(one_line(hkl=hkl), exponent=5.0, **given)[0]
        theta = theta_of(3.524 / math.sqrt(sum(n * n for n in hkl)))
        area = pattern.sum() * GRID.two_theta_step
        assert area / pattern.max() == pytest.approx(width(theta) / pearson_height(5.0), rel=5e-3)


def test_shifts_move_lines_as_misalignment_does() -> None:
    two_theta = 2 * math.degrees(theta_of(3.524 / math.sqrt(11)))
    for given, expected in (
        ({"zero_shift": 0.13}, two_theta + 0.13),
        ({"sample_shift": -0.2}, two_theta - 0.2 * math.cos(math.radians(two_theta / 2))),
    ):
        pattern = profile(one_line(hkl=(3, 1, 1)), exponent=10.0, **given)[0]
        mean = (pattern * GRID.two_theta).sum() / pattern.sum()
        assert mean == pytest.approx(expected, abs=1e-3)


def test_a_strained_cell_has_its_lines_where_the_strained_crystal_has_them() -> None:
    scales = np.array([[1.0, 1.0, 1.0], [1.01, 1.01, 0.98]])
    patterns = profile(one_line(RUTILE, (3, 0, 1)), scales=scales, exponent=10.0)
    for (a, _, c), pattern in zip(scales, patterns, strict=True):
        d = 1 / math.sqrt(9 / (4.594 * a) ** 2 + 1 / (2.959 * c) ** 2)
        mean = (pattern * GRID.two_theta).sum() / pattern.sum()
        assert mean == pytest.approx(2 * math.degrees(theta_of(d)), abs=1e-3)


def test_more_displacement_weakens_a_line_as_debye_and_waller_say() -> None:
    still, moving = (profile(one_line(), u_change=u)[0].sum() for u in (0.0, 0.02))
    s = math.sqrt(3) / (2 * 3.524)
    assert moving / still == pytest.approx(math.exp(-16 * math.pi**2 * 0.02 * s * s), rel=1e-5)


def test_variants_of_a_batch_do_not_touch_each_other() -> None:
    lines = list_lines(TRICLINIC, 0.9, u_iso=0.01)
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.99, 1.01, (5, 3))
    together = profile(lines, scales=scales)
    for row in range(5):
        np.testing.assert_array_equal(together[row], profile(lines, scales=scales[row : row + 1])[0])


def test_lines_beyond_the_reach_of_the_wavelength_are_left_out() -> None:
    assert profile(one_line(hkl=(9, 9, 9))).max() == 0

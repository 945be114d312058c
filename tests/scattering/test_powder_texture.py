"""March's function against its normalisation, and textured patterns against the mean over equivalents."""

import math

import numpy as np
import pytest
from scattering_crystals import ALL_SYSTEMS, NICKEL, RUTILE
from scipy.integrate import quad

from hpc_mlsm.scattering.powder.conditions import PowderConditions, Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.lines import Lines, list_lines
from hpc_mlsm.scattering.powder.profile import powder_profile
from hpc_mlsm.scattering.powder.reflections import laue_rotations
from hpc_mlsm.scattering.powder.texture import march_dollase, squared_cosines
from hpc_mlsm.structures.structure import Structure

GRID = TwoThetaGrid(5.0, 90.0, 0.02)


def patterns(lines: Lines, **given: float) -> np.ndarray:
    conditions = PowderConditions.uniform(1, **given)
    return powder_profile(lines, np.ones((1, 3)), conditions, Radiation(), GRID).astype(float)[0]


@pytest.mark.parametrize("march", [0.3, 0.8, 1.0, 1.7, 4.0])
def test_its_mean_over_all_directions_is_one(march: float) -> None:
    mean, _ = quad(lambda cosine: float(march_dollase(np.array(cosine**2), march)), 0, 1)
    assert mean == pytest.approx(1, abs=1e-9)


def test_plates_that_lie_flat_show_the_planes_they_lie_on() -> None:
    along, across = march_dollase(np.array([1.0, 0.0]), 0.5)
    assert along == pytest.approx(0.5**-3)
    assert across == pytest.approx(0.5**1.5)


def test_angles_are_those_between_plane_normals() -> None:
    reciprocal = np.linalg.inv(RUTILE.cell.metric)
    hkl = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 2]])
    found = squared_cosines(hkl, ((0, 0, 1), (1, 1, 0)), laue_rotations(RUTILE), reciprocal)
    assert found.shape == (2, 3, 8)
    along_c = (1 / 2.959) ** 2 / ((1 / 4.594) ** 2 + (1 / 2.959) ** 2)
    np.testing.assert_allclose(found[0], np.array([0.0, along_c, 1.0])[:, None] * np.ones(8), atol=1e-12)
    assert sorted(np.round(found[1, 0], 6)) == [0, 0, 0, 0, 1, 1, 1, 1]  # 110 and its equivalent at right angles


@pytest.mark.parametrize("structure", ALL_SYSTEMS, ids=lambda one: one.id)
def test_lines_are_weighted_with_the_mean_over_their_equivalents(structure: Structure) -> None:
    axis, march = (1, 0, 2), 0.7
    lines = list_lines(structure, 1.2, u_iso=0.01, axes=((0, 1, 0), axis))
    textured = patterns(lines, march=march, march_axis=1.0)
    weighted = Lines(
        hkl=lines.hkl,
        offsets=lines.offsets,
        intensities=lines.intensities * march_dollase(lines.cosines[1], march).mean(axis=1),
        cosines=lines.cosines,
        reciprocal=lines.reciprocal,
    )
    expected = patterns(weighted)
    np.testing.assert_allclose(textured, expected, atol=1e-5 * expected.max())
    assert np.abs(textured - patterns(lines)).max() > 1e-3 * expected.max()


def test_texture_of_a_cubic_crystal_is_the_same_about_equivalent_axes() -> None:
    lines = list_lines(NICKEL, 0.9, u_iso=0.01, axes=((1, 0, 0), (0, 0, 1)))
    first, second = (patterns(lines, march=0.6, march_axis=axis) for axis in (0.0, 1.0))
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6 * first.max())


def test_no_texture_is_a_factor_of_one() -> None:
    lines = list_lines(RUTILE, 1.0, u_iso=0.01, axes=((0, 0, 1),))
    nearly = patterns(lines, march=1 + 1e-12)
    np.testing.assert_allclose(nearly, patterns(lines), rtol=1e-5, atol=1e-6 * nearly.max())
    assert math.isclose(float(march_dollase(np.array(0.3), 1.0)), 1.0)

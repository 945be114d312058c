"""The engine as the simulate stage calls it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from powder_gemmi import squared_by_gemmi
from scattering_crystals import ALL_SYSTEMS, CORUNDUM, NICKEL, RUTILE, TRICLINIC, crystal
from test_powder_variants import VARIED

from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.engines import engine_version, simulate_structure
from hpc_mlsm.scattering.powder.conditions import Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.engine import POWDER_ENGINE_VERSION, lines_of
from hpc_mlsm.scattering.powder.reflections import list_reflections
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.structures.structure import Structure


def test_a_pattern_is_the_sum_over_reflections_that_textbooks_write_down() -> None:
    settings = PowderSettings(u_iso=0.008, largest=0.0)
    found = simulate_structure(RUTILE, settings).base
    grid = settings.grid.two_theta
    reflections = list_reflections(RUTILE, 1.0)
    squares = squared_by_gemmi(RUTILE, reflections.hkl, 0.008)
    expected = np.zeros(len(grid))
    for (h, k, m), multiplicity, square in zip(reflections.hkl, reflections.multiplicity, squares, strict=True):
        d = 1 / np.sqrt((h * h + k * k) / 4.594**2 + m * m / 2.959**2)
        theta = np.arcsin(1.54056 / (2 * d))
        lorentz_polarisation = (1 + np.cos(2 * theta) ** 2) / (2 * np.sin(theta) ** 2 * np.cos(theta))
        u = (grid - 2 * np.degrees(theta)) / 0.1
        shape = (1 + 4 * (2 ** (1 / 1.5) - 1) * u * u) ** -1.5
        shape /= 0.1 * np.trapezoid(
            (1 + 4 * (2 ** (1 / 1.5) - 1) * (t := np.linspace(-500, 500, 2000001)) ** 2) ** -1.5, t
        )
        expected += multiplicity * square / RUTILE.cell.volume**2 * lorentz_polarisation * shape
    near = grid < 85
    np.testing.assert_allclose(found[near], expected[near], atol=2e-4 * expected.max())


def test_a_simulated_structure_is_its_base_and_its_variants_with_their_parameters() -> None:
    simulated = simulate_structure(CORUNDUM, VARIED)
    assert simulated.structure_id == CORUNDUM.id
    assert simulated.content_hash == CORUNDUM.content_hash
    assert simulated.patterns.shape == (60, 4501)
    assert simulated.base.dtype == simulated.patterns.dtype == np.float32
    np.testing.assert_allclose(simulated.patterns.max(axis=1), 1000, rtol=1e-5)
    assert np.isfinite(simulated.patterns).all()
    assert simulated.patterns.min() >= 0
    assert {len(values) for _, values in simulated.parameters.values()} == {60}


def test_simulating_twice_gives_the_same_bits_whatever_is_simulated_between() -> None:
    first = simulate_structure(TRICLINIC, VARIED)
    simulate_structure(NICKEL, VARIED)
    again = pickle.loads(pickle.dumps(simulate_structure(TRICLINIC, VARIED)))
    np.testing.assert_array_equal(first.patterns, again.patterns)
    np.testing.assert_array_equal(first.base, again.base)


def test_a_pattern_without_a_range_is_the_base_pattern() -> None:
    simulated = simulate_structure(RUTILE, PowderSettings(variants=2))
    np.testing.assert_array_equal(simulated.patterns, np.stack([simulated.base] * 2))


@pytest.mark.parametrize("structure", ALL_SYSTEMS, ids=lambda one: one.id)
def test_all_lines_of_strained_cells_are_there(structure: Structure) -> None:
    settings = PowderSettings(variants=20, strain=0.04, largest=0.0)
    simulated = simulate_structure(structure, settings)
    for row in (0, 7, 19):
        scales = [simulated.parameters[f"scale_{axis}"][1][row] for axis in "abc"]
        cell = replace(
            structure.cell, **{axis: getattr(structure.cell, axis) * s for axis, s in zip("abc", scales, strict=True)}
        )
        strained = simulate_structure(replace(structure, cell=cell), replace(settings, strain=0.0, variants=1)).base
        # Form factors are those of the unstrained cell: a twentieth at a strain of 4 % here, in proportion below.
        difference = np.abs(simulated.patterns[row] * np.prod(scales) ** -2 - strained).max()
        assert difference < 0.06 * strained.max()


def test_lines_that_come_into_the_range_by_strain_are_listed() -> None:
    settings = PowderSettings()
    plain = lines_of(TRICLINIC, settings, np.ones((1, 3)))
    strained = lines_of(TRICLINIC, settings, np.array([[1.05, 0.95, 1.05]]))
    assert len(strained) > len(plain)


def test_a_structure_without_a_line_in_the_range_is_refused_with_the_remedy() -> None:
    for settings in (
        PowderSettings(grid=TwoThetaGrid(10.0, 20.0, 0.02)),
        PowderSettings(radiation=Radiation(wavelengths=(9.0,))),
    ):
        with pytest.raises(StructureError) as caught:
            simulate_structure(NICKEL, settings)
        assert caught.value.reason == "no_reflections"
        assert "two_theta_max" in str(caught.value) or "widen the grid" in str(caught.value)


def test_an_enormous_cell_is_refused_before_anything_is_computed() -> None:
    enormous = crystal("enormous", "P 1", (300.0, 300.0, 300.0, 90.0, 90.0, 90.0), ("C", 0, 0, 0))
    with pytest.raises(StructureError, match=r"2\.7e\+07 Å³ has about") as caught:
        simulate_structure(enormous, PowderSettings())
    assert caught.value.reason == "too_many_reflections"


def test_the_engine_has_a_version_of_its_own() -> None:
    assert engine_version(PowderSettings()) == POWDER_ENGINE_VERSION

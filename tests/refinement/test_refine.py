"""A refinement finds the parameters that a pattern was simulated with, and tells right structures from wrong ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.archive.readers import read_pattern
from hpc_mlsm.archive.resample import to_grid
from hpc_mlsm.refinement.refine import FitData, refine
from hpc_mlsm.refinement.result import Refinement
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.structures.cif import read_cif
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Cell, Site, Structure
from hpc_mlsm.structures.symmetry import axis_classes

SIZED = RefineSettings(size=True)
GRID = PdfGrid(0.0, 30.0, 0.1)
STARTER = {one.id.removeprefix("starter/"): one for one in starter_set()}
TRICLINIC = Structure(
    id="triclinic",
    name="made up, with oblique angles",
    cell=Cell(5.1, 6.3, 7.2, 74.0, 68.0, 81.0),
    space_group=2,
    space_group_symbol="P -1",
    operations=("x,y,z", "-x,-y,-z"),
    sites=(
        Site("Cu1", "Cu", 0.0, 0.0, 0.0),
        Site("W1", "W", 0.31, 0.22, 0.41),
        Site("O1", "O", 0.12, 0.38, 0.71),
        Site("O2", "O", 0.63, 0.09, 0.27),
    ),
)
CRYSTALS = {
    name: STARTER[name]
    for name in ("Ni-fcc", "TiO2-rutile", "Al2O3-corundum", "Bi2Fe4O9-mullite", "ZrO2-baddeleyite", "WO3-monoclinic")
} | {"triclinic": TRICLINIC}
TRUE = {"u_iso": 0.008, "q_damp": 0.03, "delta2": 1.2, "diameter": 90.0}


def measurement(structure: Structure, strain: float = 0.03, **conditions: float) -> tuple[np.ndarray, dict[str, float]]:
    """A pattern of a strained crystal in an unknown scale, and its cell lengths."""
    classes = np.array(axis_classes(structure.operations))
    factors = (1 + strain * np.array([1.0, -0.7, 0.4]))[classes]
    asked = PdfConditions.uniform(1, q_min=0.5, q_max=23.0, **conditions)
    cell = structure.cell
    lengths = dict(zip("abc", np.array([cell.a, cell.b, cell.c]) * factors, strict=True))
    return 3.7 * native_engine(structure, factors[None], asked, GRID)[0], lengths


def fit(structure: Structure, measured: np.ndarray) -> Refinement:
    return refine([structure], FitData(GRID, measured, 0.5, 23.0), SIZED)


@pytest.mark.parametrize("name", CRYSTALS)
def test_it_finds_the_parameters_of_a_simulated_pattern(name: str) -> None:
    measured, lengths = measurement(CRYSTALS[name], **TRUE)
    found = fit(CRYSTALS[name], measured)
    for axis, length in lengths.items():
        assert found[axis].value == pytest.approx(length, rel=1e-3)
    assert found["u_iso"].value == pytest.approx(TRUE["u_iso"], rel=0.02)
    assert found["q_damp"].value == pytest.approx(TRUE["q_damp"], rel=0.05)
    assert found["delta2"].value == pytest.approx(TRUE["delta2"], rel=0.05)
    assert found["diameter"].value == pytest.approx(TRUE["diameter"], rel=0.05)
    assert found["scale"].value == pytest.approx(3.7, rel=0.01)
    assert found.r_w < 0.01
    assert np.allclose(found.calculated, measured, atol=0.01 * np.abs(measured).max())


@pytest.mark.parametrize("name", ["Ni-fcc", "TiO2-rutile", "ZrO2-baddeleyite"])
def test_noise_costs_precision_in_proportion(name: str) -> None:
    measured, lengths = measurement(CRYSTALS[name], u_iso=0.01, q_damp=0.04)
    noise = np.random.default_rng(0).normal(size=len(measured))
    found = fit(CRYSTALS[name], measured + 0.1 * measured.std() * noise)
    # 10 % noise on 300 points: r_w is that of the noise, and a peak's place is known to a hundredth of its width.
    assert found.r_w == pytest.approx(0.1, rel=0.15)
    for axis, length in lengths.items():
        assert found[axis].value == pytest.approx(length, rel=1e-3)
    assert found["u_iso"].value == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("wrong", "right"), [("Fe-bcc", "Ni-fcc"), ("TiO2-anatase", "TiO2-rutile")])
def test_a_wrong_structure_fits_badly(wrong: str, right: str) -> None:
    measured, _ = measurement(STARTER[right], **TRUE)
    assert fit(STARTER[wrong], measured).r_w > 0.5 > 10 * fit(STARTER[right], measured).r_w


def test_particles_without_limit_have_no_diameter() -> None:
    measured, _ = measurement(STARTER["Ni-fcc"], u_iso=0.01)
    found = fit(STARTER["Ni-fcc"], measured)
    assert found["diameter"].value > 1e4
    assert found["q_damp"].value < 1e-3


def test_most_crystals_of_the_starter_set_are_found_at_large_strain() -> None:
    generator = np.random.default_rng(1)
    found = []
    for structure in list(STARTER.values())[::8]:
        measured, _ = measurement(structure, strain=0.045, u_iso=generator.uniform(0.004, 0.03), q_damp=0.03)
        noisy = measured + 0.05 * measured.std() * generator.normal(size=len(measured))
        found.append(fit(structure, noisy).r_w < 0.08)
    # A search from a few starts may miss the deepest minimum; one in ten would be too many.
    assert np.mean(found) > 0.9


def test_a_fit_is_the_same_each_time_and_does_not_depend_on_scale() -> None:
    measured, _ = measurement(STARTER["TiO2-rutile"], **TRUE)
    one, two, scaled = (fit(STARTER["TiO2-rutile"], factor * measured) for factor in (1.0, 1.0, 1e-3))
    assert np.array_equal(one.calculated, two.calculated)
    assert scaled["scale"].value == pytest.approx(1e-3 * one["scale"].value, rel=1e-3)
    assert scaled["a"].value == pytest.approx(one["a"].value, rel=1e-6)


def test_a_pattern_upside_down_gets_no_negative_scale() -> None:
    measured, _ = measurement(STARTER["Ni-fcc"], **TRUE)
    found = fit(STARTER["Ni-fcc"], -measured)
    assert found["scale"].value >= 0.0
    assert found.r_w > 0.8


def test_partly_occupied_and_mixed_sites_can_be_fitted() -> None:
    mixed = replace(
        STARTER["Ni-fcc"],
        id="mixed",
        sites=tuple(
            replace(site, label=element, element=element, occupancy=0.4)
            for site in STARTER["Ni-fcc"].sites
            for element in ("Ni", "Pt")
        ),
    )
    measured, lengths = measurement(mixed, **TRUE)
    found = fit(mixed, measured)
    assert found.r_w < 0.01
    assert found["a"].value == pytest.approx(lengths["a"], rel=1e-3)


@pytest.mark.reference
def test_nickel_is_fitted_as_a_refinement_program_fits_it(shared_data: Path) -> None:
    pattern = read_pattern(shared_data / "experimental" / "pdf" / "Ni.gr")
    measured = to_grid(pattern, GRID.r).values
    found = refine([STARTER["Ni-fcc"]], FitData(GRID, measured, 0.5, 25.0), SIZED)
    assert found["a"].value == pytest.approx(3.524, abs=0.002)  # Ni at room temperature: 3.5238 Å
    assert found["u_iso"].value == pytest.approx(0.0055, abs=0.0015)
    assert found.r_w < 0.08
    assert refine([STARTER["Fe-bcc"]], FitData(GRID, measured, 0.5, 25.0), SIZED).r_w > 0.7


@pytest.mark.reference
@pytest.mark.parametrize("temperature", ["150K", "246K"])
def test_a_pnictide_is_fitted_on_both_sides_of_its_transition(shared_data: Path, temperature: str) -> None:
    pattern = read_pattern(shared_data / "experimental" / "pdf" / "SrFe2As2_cooling" / f"SrFe2As2_{temperature}.gr")
    measured = to_grid(pattern, GRID.r).values
    found = {}
    for phase in ("orthorhombic", "tetragonal"):
        structures, _ = read_cif(shared_data / "cod" / "pnictides" / f"SrFe2As2_{phase}.cif")
        found[phase] = refine(structures[:1], FitData(GRID, measured, 0.4, 25.0), SIZED)
        assert found[phase].r_w < 0.15
    lengths = {axis: found["orthorhombic"][axis].value for axis in "abc"}
    splitting = (lengths["a"] - lengths["b"]) / (lengths["a"] + lengths["b"])
    if temperature == "150K":
        # Below 200 K the cell is orthorhombic, a and b 1 % apart (Tegel et al. 2008: 5.578 and 5.518 Å at 90 K).
        assert found["orthorhombic"].r_w < 0.95 * found["tetragonal"].r_w
        assert 0.003 < splitting < 0.007
    else:
        assert abs(splitting) < 0.003
        # With one axis less to fit, the tetragonal cell does as well.
        assert found["tetragonal"].r_w < 1.05 * found["orthorhombic"].r_w
        assert found["tetragonal"]["a"].value == pytest.approx(3.93, abs=0.01)

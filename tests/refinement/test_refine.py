"""A refinement finds the parameters that a pattern was simulated with, and tells right structures from wrong ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.archive.readers import read_pattern
from hpc_mlsm.archive.resample import to_grid
from hpc_mlsm.errors import PatternError
from hpc_mlsm.refinement.refine import FitData, Refiner, fit_grid, refine
from hpc_mlsm.refinement.result import Refinement
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.scattering.pairs import pair_lists
from hpc_mlsm.scattering.pdf import simulate_pdf
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


def test_two_phases_are_told_apart_in_a_known_mixture() -> None:
    nickel, oxide = STARTER["Ni-fcc"], STARTER["NiO-rocksalt"]
    asked = PdfConditions.uniform(1, u_iso=0.007, q_damp=0.03, q_min=0.5, q_max=23.0)
    parts = [native_engine(one, np.full((1, 3), f), asked, GRID)[0] for one, f in ((nickel, 1.004), (oxide, 0.997))]
    measured = 0.7 * parts[0] + 1.9 * parts[1]
    measured += 0.02 * measured.std() * np.random.default_rng(0).normal(size=len(measured))
    found = refine([nickel, oxide], FitData(GRID, measured, 0.5, 23.0), RefineSettings(correlated_motion="none"))
    assert found.r_w == pytest.approx(0.02, rel=0.15)
    assert found["scale:1"].value == pytest.approx(0.7, rel=0.02)
    assert found["scale:2"].value == pytest.approx(1.9, rel=0.02)
    for key, cell, factor in (("a:1", nickel.cell.a, 1.004), ("a:2", oxide.cell.a, 0.997)):
        assert abs(found[key].value - cell * factor) < 4 * found[key].uncertainty < 1e-2
    for key in ("u_iso:1", "u_iso:2"):
        assert found[key].value == pytest.approx(0.007, rel=0.05)
    assert refine([nickel], FitData(GRID, measured, 0.5, 23.0), SIZED).r_w > 5 * found.r_w


def test_a_phase_that_is_not_there_gets_no_scale_and_says_so() -> None:
    measured, _ = measurement(STARTER["Ni-fcc"], strain=0.003, u_iso=0.007)
    settings = RefineSettings(correlated_motion="none", max_strain=0.02)
    found = refine([STARTER["Ni-fcc"], STARTER["Si-diamond"]], FitData(GRID, measured, 0.5, 23.0), settings)
    assert found["scale:1"].value == pytest.approx(3.7, rel=0.01)
    assert found["scale:2"].value < 0.01
    assert np.isfinite(found["a:1"].uncertainty)


@pytest.mark.parametrize("name", ["Ni-fcc", "TiO2-rutile", "ZrO2-baddeleyite", "triclinic"])
def test_uncertainties_are_the_scatter_of_repeated_measurements(name: str) -> None:
    structure = CRYSTALS[name]
    grid = PdfGrid(1.5, 20.0, np.pi / 23)
    asked = PdfConditions.uniform(1, u_iso=0.008, q_damp=0.03, q_min=0.5, q_max=23.0)
    clean = native_engine(structure, np.ones((1, 3)), asked, grid)[0]
    settings = RefineSettings(correlated_motion="none", search=False)
    rng = np.random.default_rng(3)
    refiner = Refiner([structure], grid, (0.5, 23.0), settings)
    start = refiner.fit(FitData(grid, clean, 0.5, 23.0)).values
    fits = [
        refiner.fit(FitData(grid, clean + 0.1 * clean.std() * rng.normal(size=len(clean)), 0.5, 23.0), start)
        for _ in range(60)
    ]
    for one in fits[0].parameters:
        values = np.array([fit[one.key].value for fit in fits])
        stated = np.mean([fit[one.key].uncertainty for fit in fits])
        # The scatter of 60 values is known to 9 %.
        assert values.std() == pytest.approx(stated, rel=0.35), one.key


def test_weights_follow_the_uncertainties_of_the_data() -> None:
    measured, lengths = measurement(STARTER["Ni-fcc"], strain=0.004, u_iso=0.007)
    spoilt, uncertainty = measured.copy(), np.full(len(GRID), 0.01)
    spoilt[200:] += 3 * measured.std() * np.random.default_rng(0).normal(size=len(GRID) - 200)
    uncertainty[200:] = 3 * measured.std()
    weighted = refine([STARTER["Ni-fcc"]], FitData(GRID, spoilt, 0.5, 23.0, uncertainty), SIZED)
    even = refine([STARTER["Ni-fcc"]], FitData(GRID, spoilt, 0.5, 23.0), SIZED)
    assert abs(weighted["a"].value - lengths["a"]) < 1e-4 < 10 * even["a"].uncertainty
    assert weighted.r_w < 0.1 < even.r_w


def test_each_element_has_its_own_displacement() -> None:
    structure = STARTER["TiO2-rutile"]
    numbers = structure.unit_cell.numbers
    true = np.where(numbers == 8, 0.012, 0.005)
    pairs = list(pair_lists(structure, 40.0, u_iso=true))
    asked = PdfConditions.uniform(1, u_iso=1.0, q_min=0.5, q_max=23.0)
    measured = simulate_pdf(pairs, np.ones((1, 3)), asked, GRID)[0]
    settings = RefineSettings(displacement="element", correlated_motion="none")
    found = refine([structure], FitData(GRID, measured, 0.5, 23.0), settings)
    assert found["u_iso_Ti"].value == pytest.approx(0.005, rel=0.01)
    assert found["u_iso_O"].value == pytest.approx(0.012, rel=0.02)


def test_lengths_that_symmetry_ties_stay_tied_and_fixed_angles_are_not_fitted() -> None:
    measured, _ = measurement(STARTER["TiO2-rutile"], **TRUE)
    found = fit(STARTER["TiO2-rutile"], measured)
    assert found["a"].value == found["b"].value != found["c"].value
    assert found["a"].uncertainty == found["b"].uncertainty > 0
    assert not {"alpha", "beta", "gamma"} & found.values.keys()
    monoclinic = fit(STARTER["ZrO2-baddeleyite"], measurement(STARTER["ZrO2-baddeleyite"], 0.004, u_iso=0.008)[0])
    assert "beta" in monoclinic.values
    assert not {"alpha", "gamma"} & monoclinic.values.keys()


def test_pairs_that_a_shrinking_cell_brings_into_the_range_are_there() -> None:
    measured, lengths = measurement(TRICLINIC, strain=-0.05, u_iso=0.008)
    found = fit(TRICLINIC, measured)
    assert found.r_w < 1e-3
    assert found["c"].value == pytest.approx(lengths["c"], abs=1e-4)


def test_parameters_that_cannot_be_told_apart_are_named() -> None:
    measured, _ = measurement(STARTER["Ni-fcc"], u_iso=0.008, q_damp=0.03, diameter=60.0)
    noisy = measured + 0.05 * measured.std() * np.random.default_rng(0).normal(size=len(measured))
    near = PdfGrid(1.5, 15.0, 0.1)
    short = np.interp(near.r, GRID.r, noisy)
    found = refine([STARTER["Ni-fcc"]], FitData(near, short, 0.5, 23.0), SIZED)
    assert {"diameter", "q_damp"} in [{one, other} for one, other, _ in found.correlated]
    assert all(0.9 < abs(value) <= 1 for *_, value in found.correlated)


def test_what_stops_at_a_bound_is_flagged_and_has_no_uncertainty() -> None:
    measured, _ = measurement(STARTER["Ni-fcc"], strain=0.03, u_iso=0.008)
    tight = RefineSettings(max_strain=0.01, correlated_motion="none")
    found = refine([STARTER["Ni-fcc"]], FitData(GRID, measured, 0.5, 23.0), tight)
    assert found["a"].at_bound
    assert np.isnan(found["a"].uncertainty)
    assert any("end of the allowed range: a, b, c" in note for note in found.notes)


def test_a_wrong_structure_says_that_it_hardly_describes_the_data() -> None:
    measured, _ = measurement(STARTER["Ni-fcc"], **TRUE)
    assert "hardly describes" in fit(STARTER["Fe-bcc"], measured).notes[0]


def test_too_few_evaluations_are_said() -> None:
    measured, _ = measurement(STARTER["TiO2-rutile"], **TRUE)
    hasty = RefineSettings(size=True, max_evaluations=2, search=False)
    found = refine([STARTER["TiO2-rutile"]], FitData(GRID, measured, 0.5, 23.0), hasty)
    assert not found.converged
    assert "exhausted" in found.reason
    assert found.reason in found.notes


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("not_finite", {"values": np.where(np.arange(301) == 7, np.nan, 1.0)}),
        ("constant", {"values": np.zeros(301)}),
        ("wrong_shape", {"values": np.ones(300)}),
        ("bad_uncertainty", {"values": np.ones(301), "uncertainty": np.zeros(301)}),
        ("too_few_points", {"values": np.ones(5), "grid": PdfGrid(2.0, 2.4, 0.1)}),
    ],
)
def test_data_that_cannot_be_fitted_are_refused_with_their_reason(reason: str, change: dict[str, object]) -> None:
    data = FitData(**({"grid": GRID} | change))  # type: ignore[arg-type]
    with pytest.raises(PatternError) as caught:
        refine([STARTER["Ni-fcc"]], data, SIZED)
    assert caught.value.reason == reason


def test_a_range_that_the_data_do_not_cover_is_refused() -> None:
    with pytest.raises(PatternError, match=r"from 0 to 10 Å and the fit from 12 to 30 Å"):
        fit_grid(0.0, 10.0, 25.0, RefineSettings(r_min=12.0))
    grid = fit_grid(0.0, 10.0, 25.0, RefineSettings())
    assert (grid.r_min, grid.r_max) == (1.5, 10.0)
    assert grid.r_step == pytest.approx(np.pi / 25)


def test_a_neighbour_starts_from_the_values_of_the_one_before() -> None:
    measured, _ = measurement(STARTER["ZrO2-baddeleyite"], strain=0.03, u_iso=0.008)
    cold = fit(STARTER["ZrO2-baddeleyite"], measured)
    warm = refine([STARTER["ZrO2-baddeleyite"]], FitData(GRID, measured, 0.5, 23.0), SIZED, cold.values)
    assert warm.evaluations < cold.evaluations
    assert warm["a"].value == pytest.approx(cold["a"].value, abs=1e-5)


@pytest.mark.reference
def test_the_size_of_platinum_particles_is_refined(shared_data: Path) -> None:
    pattern = read_pattern(shared_data / "experimental" / "pdf" / "Pt-nanoparticles.gr")
    settings = RefineSettings(size=True, q_damp=0.0484, refine_q_damp=False, r_max=50.0)
    grid = fit_grid(0.0, 60.0, 25.0, settings)
    found = refine([STARTER["Pt-fcc"]], FitData(grid, to_grid(pattern, grid.r).values, 0.1, 25.0), settings)
    assert found["diameter"].value == pytest.approx(37.0, abs=4.0)
    assert found["a"].value == pytest.approx(3.925, abs=0.003)
    assert found.r_w < 0.15

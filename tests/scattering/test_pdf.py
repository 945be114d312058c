"""The native engine against closed forms and against the formula written out directly."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdf_brute_force import brute_force_pdf
from scattering_crystals import (
    ALL_SYSTEMS,
    ALLOY,
    BADDELEYITE,
    CORUNDUM,
    DIAMOND,
    IRON,
    NICKEL,
    RIGHT,
    ROCK_SALT,
    RUTILE,
    SPINEL,
    TRICLINIC,
    crystal,
    in_p1,
    random_triclinic,
    stretched,
)

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.scattering.pairs import pair_list, pair_lists
from hpc_mlsm.scattering.pdf import envelope, least_stretch, reach, simulate_pdf
from hpc_mlsm.structures.structure import Structure

SHORT = PdfGrid(0.0, 12.0, 0.1)
TOLERANCE = 1.5e-4
"""Of the largest |G|. Bins of σ/6 make a peak wrong by 5e-5 of its height; broad peaks overlap, and add up to more than
G, from which the baseline is taken off."""

ROUNDING = 3e-5
"""Of the largest |G|. Single precision moves a distance of 30 Å by 2 µÅ, 2e-5 of a σ of 0.1 Å, and a peak with it."""

PARAMETERS = {
    "plain": {},
    "sharp": {"u_iso": 0.005},
    "broad": {"u_iso": 0.05},
    "q_max": {"q_max": 18.0},
    "q_min": {"q_min": 0.8},
    "q_damp": {"q_damp": 0.06},
    "diameter": {"diameter": 9.0},
    "delta1": {"delta1": 0.7},
    "delta2": {"delta2": 2.5},
    # Next neighbours lose their bracket, or keep little of it: at 2.646 Å it is 0.
    "large delta2": {"delta2": 7.0},
    "large delta1": {"delta1": 2.2},
    "q_broad": {"q_broad": 0.03},
    "large q_broad": {"q_broad": 0.1},
    "all": {
        "u_iso": 0.008,
        "q_max": 22.0,
        "q_min": 0.5,
        "q_damp": 0.04,
        "q_broad": 0.02,
        "delta1": 0.3,
        "delta2": 2.0,
        "diameter": 25.0,
    },
}


def _native(
    structure: Structure, grid: PdfGrid, scales: tuple[float, ...] = (1.0, 1.0, 1.0), **values: float
) -> np.ndarray:
    return native_engine(structure, np.array([scales]), PdfConditions.uniform(1, **values), grid)[0]


def _deviation(found: np.ndarray, expected: np.ndarray) -> float:
    assert np.isfinite(found).all()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("structure", [ROCK_SALT, CORUNDUM, TRICLINIC, ALLOY], ids=lambda s: s.id)
def test_every_parameter_does_what_the_formula_says(structure: Structure, name: str) -> None:
    values = {"u_iso": 0.01, "q_max": 25.0} | PARAMETERS[name]
    expected = brute_force_pdf(structure, SHORT, **values)
    assert _deviation(_native(structure, SHORT, **values), expected) < TOLERANCE


@pytest.mark.parametrize("structure", [*ALL_SYSTEMS, DIAMOND, SPINEL], ids=lambda s: s.id)
def test_every_crystal_system_agrees_with_the_formula(structure: Structure) -> None:
    expected = brute_force_pdf(structure, SHORT, **PARAMETERS["all"])
    assert _deviation(_native(structure, SHORT, **PARAMETERS["all"]), expected) < TOLERANCE


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scales=st.tuples(*[st.floats(0.9, 1.1)] * 3),
    u_iso=st.floats(0.005, 0.04),
    delta2=st.floats(0.0, 6.0),
    q_broad=st.floats(0.0, 0.05),
)
def test_any_strained_triclinic_cell_agrees_with_the_formula(
    seed: int, scales: tuple[float, float, float], u_iso: float, delta2: float, q_broad: float
) -> None:
    structure, grid = random_triclinic(seed), PdfGrid(0.0, 8.0, 0.1)
    values = {"u_iso": u_iso, "delta2": delta2, "q_broad": q_broad, "q_min": 0.5}
    expected = brute_force_pdf(structure, grid, scales=np.array(scales), **values)
    # Peaks overlap at random here, so that the largest |G| is a poorer measure of their heights.
    assert _deviation(_native(structure, grid, scales, **values), expected) < 2 * TOLERANCE


@pytest.mark.parametrize(
    ("cell", "r_max", "scales"),
    [
        ((200.0, 210.0, 220.0, 80.0, 90.0, 100.0), 8.0, (1.0, 1.0, 1.0)),
        ((0.9, 1.1, 1.0, 80.0, 90.0, 100.0), 8.0, (1.0, 1.0, 1.0)),
        ((5.0, 6.0, 7.0, 90.0, 90.0, 150.0), 8.0, (1.04, 0.97, 1.01)),
        ((5.0, 6.0, 7.0, 90.0, 90.0, 176.0), 5.0, (1.04, 0.97, 1.01)),
        ((5.0, 6.0, 7.0, 20.0, 22.0, 25.0), 5.0, (1.03, 0.98, 1.0)),
        ((5.0, 5.0, 5.0, 119.9, 119.9, 119.9), 5.0, (1.0, 1.0, 1.0)),
        ((3.0, 3.0, 300.0, *RIGHT), 8.0, (0.5, 1.7, 1.0)),
    ],
    ids=["huge", "tiny", "oblique", "flat", "acute", "planar", "needle"],
)
def test_cells_of_any_shape_agree_with_the_formula(
    cell: tuple[float, ...], r_max: float, scales: tuple[float, float, float]
) -> None:
    structure = crystal("odd", "P 1", cell, ("Fe", 0.0, 0.0, 0.0), ("O", 0.3, 0.4, 0.01))
    grid = PdfGrid(0.0, r_max, 0.1)
    expected = brute_force_pdf(structure, grid, scales=np.array(scales), u_iso=0.01)
    assert _deviation(_native(structure, grid, scales, u_iso=0.01), expected) < TOLERANCE


@pytest.mark.parametrize(
    ("grid", "step"),
    [
        (PdfGrid(3.33, 9.0, 0.1), 0.1),
        (PdfGrid(3.0, 9.0, 0.03), 0.03),
        (PdfGrid(0.0, 6.0, 0.01), 0.01),
        (PdfGrid(0.0, 8.0, 0.5), 0.0625),
    ],
)
def test_grids_that_begin_late_or_are_fine_or_coarse_agree_with_the_formula(grid: PdfGrid, step: float) -> None:
    expected = brute_force_pdf(RUTILE, grid, step=step, u_iso=0.01, q_min=0.5)
    assert _deviation(_native(RUTILE, grid, u_iso=0.01, q_min=0.5), expected) < TOLERANCE


@pytest.mark.parametrize(("u_iso", "step"), [(1e-5, 0.00625), (1e-4, 0.0125), (0.2, 0.1)])
def test_displacements_from_tiny_to_liquid_agree_with_the_formula(u_iso: float, step: float) -> None:
    grid = PdfGrid(0.0, 6.0, 0.1)
    expected = brute_force_pdf(RUTILE, grid, step=step, u_iso=u_iso)
    assert _deviation(_native(RUTILE, grid, u_iso=u_iso), expected) < TOLERANCE


@pytest.mark.parametrize("structure", [RUTILE, TRICLINIC, SPINEL], ids=lambda s: s.id)
@pytest.mark.parametrize("delta2", [0.0, 2.0])
def test_sites_with_displacements_and_amplitudes_of_their_own_agree_with_the_formula(
    structure: Structure, delta2: float
) -> None:
    atoms = structure.unit_cell
    u = 0.0052 + 0.0037 * atoms.site
    amplitudes = 3.0 + 2.5 * atoms.site
    expected = brute_force_pdf(structure, SHORT, atom_u=u, amplitudes=amplitudes, u_iso=1.2, delta2=delta2)
    conditions = PdfConditions.uniform(1, u_iso=1.2, delta2=delta2)
    far = reach(SHORT, replace(conditions, u_iso=conditions.u_iso * u.max()))
    for max_pairs in (1e6, 800):
        lists = pair_lists(structure, far, amplitudes, u, max_pairs)
        found = simulate_pdf(lists, np.ones((1, 3)), conditions, SHORT)[0]
        assert _deviation(found, expected) < TOLERANCE


@pytest.mark.parametrize(
    ("structure", "number"), [(NICKEL, 12), (IRON, 8 + 6), (DIAMOND, 4)], ids=lambda v: getattr(v, "id", "")
)
def test_the_area_under_the_first_peak_counts_the_neighbours(structure: Structure, number: int) -> None:
    grid = PdfGrid(0.0, 8.0, 0.01)
    g = _native(structure, grid, u_iso=0.0015, q_max=80.0)
    density = len(structure.unit_cell) / structure.cell.volume
    radial = g * grid.r + 4 * np.pi * density * grid.r**2
    shells = np.sort(np.sqrt(pair_list(structure, 6.0).squares))
    following = shells[2] if structure is IRON else shells[1]
    first = (grid.r > 1.0) & (grid.r < (shells[0] + following) / 2)
    # Termination at 80 Å⁻¹ leaves exp(-U Q²) = 7e-5 of a peak, and the edge of the calculation ripples of about 1e-3.
    assert np.trapezoid(radial[first], grid.r[first]) == pytest.approx(number, rel=3e-3)


def test_below_the_first_peak_g_falls_as_the_density_says() -> None:
    grid = PdfGrid(0.0, 10.0, 0.02)
    g = _native(NICKEL, grid, u_iso=0.01, q_max=60.0)
    below = grid.r < 1.6
    expected = -4 * np.pi * 4 / NICKEL.cell.volume * grid.r
    # At 2.49 Å peaks have a σ of 0.14 Å. The calculation ends at 10.6 Å, with a step of |G| < 5, whose ripples reach
    # here as 5 / (π q_max Δr) = 3e-3 Å⁻².
    np.testing.assert_allclose(g[below], expected[below], atol=5e-3)
    assert g[0] == 0.0


@pytest.mark.parametrize("structure", [ROCK_SALT, RUTILE, BADDELEYITE, TRICLINIC], ids=lambda s: s.id)
def test_a_strained_structure_is_the_structure_with_the_strained_cell(structure: Structure) -> None:
    scales = (1.03, 1.03, 1.03)
    strained = _native(structure, PdfGrid(), scales, u_iso=0.01, delta2=1.0)
    assert _deviation(strained, _native(stretched(structure, *scales), PdfGrid(), u_iso=0.01, delta2=1.0)) < ROUNDING


def test_unlike_strain_of_an_oblique_cell_reaches_as_far_as_it_must() -> None:
    oblique = crystal("oblique", "P 1 2/m 1", (5.0, 6.0, 9.0, 90.0, 140.0, 90.0), ("Fe", 0, 0, 0), ("O", 0.3, 0.4, 0.5))
    scales = np.array([[1.04, 1.0, 0.96], [0.96, 1.0, 1.04]])
    least = least_stretch(oblique.cell.metric, scales)
    assert least < 0.96
    generator = np.random.default_rng(0)
    for row in scales:
        strained = stretched(oblique, *row).cell.metric
        d = generator.normal(size=(4000, 3))
        ratios = np.sqrt(np.einsum("ni,ij,nj->n", d, strained, d) / np.einsum("ni,ij,nj->n", d, oblique.cell.metric, d))
        assert least <= ratios.min() < least * 1.1
    for row in scales:
        found = _native(oblique, SHORT, tuple(row), u_iso=0.01)
        assert _deviation(found, brute_force_pdf(oblique, SHORT, scales=row, u_iso=0.01)) < TOLERANCE


@pytest.mark.parametrize("structure", [*ALL_SYSTEMS, SPINEL, ALLOY], ids=lambda s: s.id)
def test_symmetry_changes_the_work_and_not_the_pattern(structure: Structure) -> None:
    values = {"u_iso": 0.008, "q_min": 0.5, "delta2": 2.0, "q_damp": 0.03}
    with_symmetry = _native(structure, PdfGrid(), **values)
    assert _deviation(with_symmetry, _native(in_p1(structure), PdfGrid(), **values)) < ROUNDING


@pytest.mark.parametrize("max_pairs", [300, 20_000])
@pytest.mark.parametrize(("delta2", "tolerance"), [(0.0, 1e-6), (1.5, TOLERANCE)])
def test_many_small_pair_lists_give_what_one_gives(max_pairs: float, delta2: float, tolerance: float) -> None:
    # With correlated motion a list chooses its bins by the nearest of its own pairs.
    conditions = PdfConditions.uniform(3, u_iso=0.01, delta2=delta2)
    scales = np.array([[1.0, 1.0, 1.0], [0.97, 1.0, 1.02], [1.04, 0.98, 1.0]])
    r_cut = reach(SHORT, conditions) / 0.9
    one = simulate_pdf([pair_list(TRICLINIC, r_cut)], scales, conditions, SHORT)
    many = simulate_pdf(pair_lists(TRICLINIC, r_cut, max_pairs=max_pairs), scales, conditions, SHORT)
    assert _deviation(many, one) < tolerance


def test_a_variant_does_not_depend_on_the_others_that_are_computed_with_it() -> None:
    generator = np.random.default_rng(0)
    n = 150
    names = [field.name for field in fields(PdfConditions)]
    limits = dict(
        zip(names, [(0.006, 0.03), (0, 0.5), (0, 3), (0, 0.03), (0, 0.05), (0, 1), (18, 26), (15, 60)], strict=True)
    )
    conditions = PdfConditions(**{name: generator.uniform(*limits[name], n) for name in names})
    scales = generator.uniform(0.96, 1.04, (n, 3))
    together = native_engine(TRICLINIC, scales, conditions, SHORT)
    for v in range(0, n, 29):
        alone = native_engine(TRICLINIC, scales[v : v + 1], conditions.take(slice(v, v + 1)), SHORT)[0]
        assert _deviation(together[v], alone) < 1e-5


def test_a_cell_without_neighbours_shows_its_density_only() -> None:
    lonely = crystal("lonely", "P 1", (60.0, 60.0, 60.0, *RIGHT), ("Fe", 0.1, 0.2, 0.3))
    g = _native(lonely, PdfGrid(), u_iso=0.01, q_max=25.0)
    assert _deviation(g, brute_force_pdf(lonely, PdfGrid(), u_iso=0.01, q_max=25.0)) < 1e-9
    assert np.abs(g).max() < 4 * np.pi * 30.0 / 60.0**3 * 1.2


def test_an_empty_site_changes_nothing() -> None:
    with_empty = replace(
        RUTILE, sites=(*RUTILE.sites, replace(RUTILE.sites[0], label="X", element="Pb", z=0.5, occupancy=0.0))
    )
    assert _deviation(_native(with_empty, SHORT), _native(RUTILE, SHORT)) < 1e-6


def test_the_envelope_is_a_gaussian_times_the_overlap_of_two_spheres() -> None:
    r = np.array([0.0, 5.0, 10.0, 19.9, 20.0, 25.0])
    conditions = PdfConditions.uniform(1, q_damp=0.05, diameter=20.0)
    tau = np.minimum(r / 20.0, 1.0)
    # Share of a sphere's volume that overlaps with itself when moved by r: (1 - τ)² (1 + τ/2).
    expected = np.exp(-((0.05 * r) ** 2) / 2) * (1 - tau) ** 2 * (1 + tau / 2)
    np.testing.assert_allclose(envelope(r, conditions)[0], expected, atol=1e-12)
    assert np.all(envelope(r, PdfConditions.uniform(1))[0] == 1.0)


def test_no_list_and_factors_against_the_symmetry_are_errors() -> None:
    with pytest.raises(ValueError, match="no pair list"):
        simulate_pdf([], np.ones((1, 3)), PdfConditions.uniform(1), SHORT)
    with pytest.raises(ConfigError, match="break the symmetry"):
        native_engine(RUTILE, np.array([[1.0, 1.1, 1.0]]), PdfConditions.uniform(1), SHORT)

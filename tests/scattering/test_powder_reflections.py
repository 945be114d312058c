"""Unique reflections against closed forms, and against the count of all lattice points."""

from dataclasses import replace
from itertools import product

import gemmi
import numpy as np
import pytest
from scattering_crystals import (
    ALL_SYSTEMS,
    BADDELEYITE,
    CORUNDUM,
    DIAMOND,
    IRON,
    NICKEL,
    RUTILE,
    TRICLINIC,
    WURTZITE,
    crystal,
    in_p1,
    random_triclinic,
)

from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.powder.lines import list_lines
from hpc_mlsm.scattering.powder.reflections import MAX_REFLECTIONS, inverse_squares, laue_rotations, list_reflections
from hpc_mlsm.scattering.powder.scatterers import scatterers
from hpc_mlsm.scattering.powder.structure_factors import squared_structure_factors
from hpc_mlsm.structures.structure import Cell, Structure
from hpc_mlsm.structures.symmetry import invariant_metrics, metric_coefficients, operations_of


def sums_of_squares(structure: Structure, d_min: float) -> set[int]:
    hkl = list_reflections(structure, d_min).hkl
    return {int(n) for n in (hkl**2).sum(axis=1)}


def test_lines_of_a_cubic_crystal_obey_braggs_law() -> None:
    lines = list_lines(NICKEL, 0.8, u_iso=0.005)
    found = np.sort(2 * np.degrees(np.arcsin(0.5 * 1.54056 * np.sqrt(_q(lines.hkl, NICKEL)))))
    expected = [2 * np.degrees(np.arcsin(1.54056 * np.sqrt(n) / (2 * 3.524))) for n in (3, 4, 8, 11, 12, 16, 19)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def _q(hkl: np.ndarray, structure: Structure) -> np.ndarray:
    return inverse_squares(hkl, np.linalg.inv(structure.cell.metric))


def test_centring_and_the_diamond_glide_leave_the_lines_that_textbooks_give() -> None:
    assert sums_of_squares(NICKEL, 0.8) == {3, 4, 8, 11, 12, 16, 19}  # all odd or all even
    assert sums_of_squares(IRON, 0.9) == {2, 4, 6, 8, 10}  # an even sum
    assert sums_of_squares(DIAMOND, 0.7) == {3, 8, 11, 12, 16, 19, 24}  # no 200 and 420
    lines = list_lines(DIAMOND, 0.7, u_iso=0.005)
    assert 12 not in (lines.hkl**2).sum(axis=1)  # 222 is extinct because of where the atoms are
    primitive = crystal("polonium", "P m -3 m", (3.36,) * 3 + (90.0,) * 3, ("Po", 0, 0, 0))
    assert sums_of_squares(primitive, 1.2) == {1, 2, 3, 4, 5, 6}  # 7 is no sum of three squares


def test_screw_axes_and_glide_planes_extinguish_their_reflections() -> None:
    h, k, m = list_reflections(BADDELEYITE, 0.8).hkl.T  # P 21/c
    assert not (m[k == 0] % 2).any()
    assert not (k[(h == 0) & (m == 0)] % 2).any()
    h, k, m = list_reflections(CORUNDUM, 0.8).hkl.T  # R -3 c on hexagonal axes
    assert not ((-h + k + m) % 3).any()
    assert not (m[h == -k] % 2).any()
    h, k, m = list_reflections(RUTILE, 0.8).hkl.T  # P 42/m n m
    assert not ((k + m)[h == 0] % 2).any()


@pytest.mark.parametrize(
    ("structure", "hkl", "multiplicity"),
    [
        (NICKEL, (1, 1, 1), 8),
        (NICKEL, (2, 0, 0), 6),
        (NICKEL, (2, 2, 0), 12),
        (NICKEL, (3, 1, 1), 24),
        (NICKEL, (5, 3, 1), 48),
        (RUTILE, (1, 1, 0), 4),
        (RUTILE, (2, 1, 0), 8),
        (RUTILE, (3, 2, 1), 16),
        (WURTZITE, (1, 0, 0), 6),
        (WURTZITE, (0, 0, 2), 2),
        (WURTZITE, (2, 1, 3), 24),
        (BADDELEYITE, (1, 1, 1), 4),
        (BADDELEYITE, (0, 2, 0), 2),
        (TRICLINIC, (1, 2, 1), 2),
    ],
)
def test_multiplicities_are_those_of_the_laue_class(
    structure: Structure, hkl: tuple[int, int, int], multiplicity: int
) -> None:
    found = list_reflections(structure, 0.4)
    equivalents = {tuple(sign * (np.array(hkl) @ r)) for r in laue_rotations(structure) for sign in (1, -1)}
    rows = [row for row in range(len(found)) if tuple(found.hkl[row]) in equivalents]
    assert len(rows) == 1
    assert found.multiplicity[rows[0]] == multiplicity == len(equivalents)


@pytest.mark.parametrize("structure", [*ALL_SYSTEMS, random_triclinic(3)], ids=lambda one: one.id)
def test_with_absent_ones_all_lattice_points_of_the_sphere_are_counted_once(structure: Structure) -> None:
    d_min = 0.7
    found = list_reflections(structure, d_min)
    tops = [int(length / d_min) + 1 for length in structure.cell.parameters[:3]]
    every = np.array(list(product(*(range(-top, top + 1) for top in tops))))
    every = every[every.any(axis=1) & (_q(every, structure) <= 1 / d_min**2)]
    seen = {tuple(sign * (hkl @ r)) for hkl in found.hkl for r in laue_rotations(structure) for sign in (1, -1)}
    assert found.multiplicity.sum() == len(seen)
    missing = [tuple(hkl) for hkl in every if tuple(hkl) not in seen]
    assert len(missing) + len(seen) == len(every)
    # What is not listed is absent: without symmetry its intensity is zero.
    alone = in_p1(structure)
    all_of_them = list_reflections(alone, d_min)
    reciprocal = np.linalg.inv(structure.cell.metric)
    squares = squared_structure_factors("", all_of_them, scatterers(alone, 0.01), reciprocal)
    assert not {tuple(hkl) for hkl in all_of_them.hkl[squares > 1e-9 * squares.max()]} & set(missing)


@pytest.mark.parametrize("structure", ALL_SYSTEMS, ids=lambda one: one.id)
def test_symmetry_changes_nothing_of_the_pattern(structure: Structure) -> None:
    with_it, without = (_by_spacing(one) for one in (structure, in_p1(structure)))
    np.testing.assert_allclose(with_it[0], without[0], rtol=1e-6)
    np.testing.assert_allclose(with_it[1], without[1], rtol=1e-6, atol=1e-9 * with_it[1].max())


def _by_spacing(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """1/d² and summed intensity of every distinct spacing."""
    lines = list_lines(structure, 0.8, u_iso=0.01)
    sums = np.add.reduceat(lines.intensities, lines.offsets[:-1])
    values, inverse = np.unique(np.round(_q(lines.hkl, structure), 7), return_inverse=True)
    totals = np.bincount(inverse, weights=sums)
    kept = totals > 1e-8 * totals.max()
    return values[kept], totals[kept]


@pytest.mark.parametrize("group", list(gemmi.spacegroup_table())[::4], ids=lambda group: group.xhm())
def test_in_every_setting_symmetry_changes_nothing(group: gemmi.SpaceGroup) -> None:
    structure = crystal(group.xhm(), group.xhm(), _fitting_cell(group), ("Fe", 0, 0, 0), ("O", 0.17, 0.29, 0.41))
    edges = np.linspace(0, 1 / 1.6**2, 2000)
    sums = []
    for one in (structure, in_p1(structure)):
        lines = list_lines(one, 1.6, u_iso=0.02)
        totals = np.add.reduceat(lines.intensities, lines.offsets[:-1])
        sums.append(np.histogram(_q(lines.hkl, one), bins=edges, weights=totals)[0].cumsum())
    np.testing.assert_allclose(sums[0], sums[1], atol=1e-6 * sums[1][-1])


def _fitting_cell(group: gemmi.SpaceGroup) -> tuple[float, ...]:
    """A cell with no more symmetry than the group demands."""
    if group.ext == "R":
        return (6.0, 6.0, 6.0, 75.0, 75.0, 75.0)
    basis = invariant_metrics(operations_of(group))
    general = Cell(5.1, 6.3, 7.2, 83.0, 97.0, 108.0).metric
    metric = np.tensordot(metric_coefficients(general, basis), basis, axes=1)
    a, b, c = np.sqrt(np.diag(metric))
    cosines = metric[1, 2] / (b * c), metric[0, 2] / (a * c), metric[0, 1] / (a * b)
    return (float(a), float(b), float(c), *(float(np.degrees(np.arccos(x))) for x in cosines))


def test_hexagonal_and_rhombohedral_axes_give_the_same_lines() -> None:
    a, c = 4.7589, 12.991
    edge = np.sqrt(a * a / 3 + c * c / 9)
    angle = float(np.degrees(2 * np.arcsin(a / (2 * edge))))
    z, x = 0.3522, 0.3064
    rhombohedral = crystal(
        "corundum-r", "R -3 c:R", (edge,) * 3 + (angle,) * 3, ("Al", z, z, z), ("O", 0.25 + x, 0.25 - x, 0.25)
    )
    for found, expected in zip(_by_spacing(rhombohedral), _by_spacing(CORUNDUM), strict=True):
        # |F|²/V² is the same in both cells, one of which holds three times the other.
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_cell_that_is_too_large_is_refused_with_the_figure() -> None:
    huge = replace(NICKEL, cell=Cell(500.0, 500.0, 500.0, 90.0, 90.0, 90.0))
    with pytest.raises(StructureError, match=r"1\.25e\+08 Å³ has about .* at most 4e\+06") as caught:
        list_reflections(huge, 1.09)
    assert caught.value.reason == "too_many_reflections"
    assert MAX_REFLECTIONS == 4e6


def test_a_range_without_reflections_and_a_flat_cell_are_refused() -> None:
    with pytest.raises(StructureError, match="no reflection has a lattice spacing") as caught:
        list_reflections(NICKEL, 3.0)
    assert caught.value.reason == "no_reflections"
    flat = replace(TRICLINIC, cell=Cell(4.0, 5.0, 6.0, 60.0, 60.0, 120.0))
    with pytest.raises(StructureError, match="has no volume") as caught:
        list_reflections(flat, 1.0)
    assert caught.value.reason == "bad_cell"

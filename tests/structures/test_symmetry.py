"""Expansion and metric constraints against the space-group tables and spglib."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
import spglib

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.structure import Cell, Site, Structure
from hpc_mlsm.structures.symmetry import (
    axis_classes,
    cell_misfit,
    expand,
    invariant_metrics,
    metric_coefficients,
    operations_of,
)

SETTINGS = list(gemmi.spacegroup_table())
FREE_PARAMETERS = {
    "triclinic": 6,
    "monoclinic": 4,
    "orthorhombic": 3,
    "tetragonal": 2,
    "trigonal": 2,
    "hexagonal": 2,
    "cubic": 1,
}


def cell_for(group: gemmi.SpaceGroup) -> Cell:
    """A cell that has the symmetry of a setting and no more."""
    system = group.crystal_system_str()
    unique = group.monoclinic_unique_axis()
    angles = {"a": (97.0, 90.0, 90.0), "b": (90.0, 97.0, 90.0), "c": (90.0, 90.0, 97.0)}
    if system == "trigonal" and group.ext == "R":
        return Cell(7.1, 7.1, 7.1, 83.0, 83.0, 83.0)
    return {
        "triclinic": Cell(7.1, 8.3, 9.7, 82.0, 95.0, 101.0),
        "monoclinic": Cell(7.1, 8.3, 9.7, *angles.get(unique, angles["b"])),
        "orthorhombic": Cell(7.1, 8.3, 9.7, 90.0, 90.0, 90.0),
        "tetragonal": Cell(7.1, 7.1, 9.7, 90.0, 90.0, 90.0),
        "trigonal": Cell(7.1, 7.1, 9.7, 90.0, 90.0, 120.0),
        "hexagonal": Cell(7.1, 7.1, 9.7, 90.0, 90.0, 120.0),
        "cubic": Cell(9.7, 9.7, 9.7, 90.0, 90.0, 90.0),
    }[system]


def structure_in(group: gemmi.SpaceGroup, *sites: Site) -> Structure:
    return Structure("test", "", cell_for(group), group.number, group.xhm(), operations_of(group), sites)


def group_named(symbol: str) -> gemmi.SpaceGroup:
    return gemmi.find_spacegroup_by_name(symbol)


def test_every_setting_leaves_the_metric_as_free_as_its_crystal_system_says() -> None:
    for group in SETTINGS:
        basis = invariant_metrics(operations_of(group))
        assert len(basis) == FREE_PARAMETERS[group.crystal_system_str()], group.xhm()


def test_the_cell_of_every_setting_lies_in_its_invariant_basis_and_a_strained_one_does_not() -> None:
    for group in SETTINGS:
        operations = operations_of(group)
        cell = cell_for(group)
        assert cell_misfit(cell, operations) < 1e-12, group.xhm()
        if group.crystal_system_str() != "triclinic":
            assert cell_misfit(replace(cell, alpha=cell.alpha + 3, beta=cell.beta + 2, gamma=88.0), operations) > 0.01


def test_metric_coefficients_rebuild_the_metric() -> None:
    group = group_named("P 63/m m c")
    basis = invariant_metrics(operations_of(group))
    metrics = np.array([cell_for(group).metric, 1.02 * cell_for(group).metric])
    rebuilt = np.tensordot(metric_coefficients(metrics, basis), basis, axes=1)
    np.testing.assert_allclose(rebuilt, metrics, atol=1e-12)


def test_axes_are_tied_as_the_crystal_system_says() -> None:
    for group in SETTINGS:
        system = group.crystal_system_str()
        expected = (0, 1, 2)
        if system == "cubic" or (system == "trigonal" and group.ext == "R"):
            expected = (0, 0, 0)
        elif system in ("tetragonal", "trigonal", "hexagonal"):
            expected = (0, 0, 1)
        assert axis_classes(operations_of(group)) == expected, group.xhm()


def test_expansion_has_the_orbits_that_spglib_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two general sites of different kinds leave no more symmetry than the group has."""
    # Otherwise spglib 2.8 warns at every call that it will raise where it now returns None.
    monkeypatch.setattr("spglib.error.OLD_ERROR_HANDLING", False)
    sites = (
        Site("A", "Fe", 0.137, 0.213, 0.071),
        Site("B", "O", 0.391, 0.057, 0.333),
    )
    small = [g for g in SETTINGS if g.is_reference_setting() and len(g.operations()) <= 16]
    assert len(small) > 130
    for group in small:
        structure = structure_in(group, *sites)
        atoms = expand(structure)
        lattice = np.linalg.cholesky(structure.cell.metric)
        found = spglib.get_symmetry_dataset((lattice, atoms.fractional, atoms.site), symprec=1e-4)
        assert found is not None
        assert found.number == group.number
        assert len(atoms) == 2 * len(group.operations())
        assert sorted(np.unique(found.equivalent_atoms, return_counts=True)[1]) == [len(atoms) // 2] * 2


@pytest.mark.parametrize(
    ("symbol", "position", "multiplicity"),
    [
        # International Tables A: Wyckoff positions of the group.
        ("F d -3 m:2", (1 / 8, 1 / 8, 1 / 8), 8),
        ("F d -3 m:2", (1 / 2, 1 / 2, 1 / 2), 16),
        ("F d -3 m:2", (0.2625, 0.2625, 0.2625), 32),
        ("F d -3 m:2", (0.06, 0.06, 0.31), 96),
        ("F d -3 m:2", (0.05, 0.13, 0.22), 192),
        ("I a -3 d", (0.0, 0.0, 0.0), 16),
        ("I a -3 d", (0.125, 0.0, 0.25), 24),
        ("I a -3 d", (0.03, 0.05, 0.65), 96),
        ("R -3 c:H", (0.0, 0.0, 0.355), 12),
        ("R -3 c:H", (0.306, 0.0, 0.25), 18),
        ("R -3 c:R", (0.355, 0.355, 0.355), 4),
        ("P 63/m m c", (1 / 3, 2 / 3, 0.25), 2),
        ("P 42/m n m", (0.305, 0.305, 0.0), 4),
        ("P 1 21/c 1", (0.0, 0.0, 0.5), 2),
        ("P n m a", (0.12, 0.25, 0.4), 4),
    ],
)
def test_special_positions_have_the_tabulated_multiplicity(
    symbol: str, position: tuple[float, float, float], multiplicity: int
) -> None:
    structure = structure_in(group_named(symbol), Site("A", "Fe", *position))
    atoms = expand(structure)
    assert len(atoms) == multiplicity
    delta = atoms.fractional[:, None] - atoms.fractional[None]
    delta -= np.round(delta)
    apart = np.sqrt(np.einsum("abi,ij,abj->ab", delta, structure.cell.metric, delta))
    assert apart[~np.eye(multiplicity, dtype=bool)].min() > 0.25


def test_rounded_coordinates_are_moved_onto_the_special_position() -> None:
    structure = structure_in(group_named("P 63/m m c"), Site("A", "Mg", 0.333, 0.667, 0.25))
    atoms = expand(structure)
    assert len(atoms) == 2
    np.testing.assert_allclose(np.sort(atoms.fractional[:, 0]), [1 / 3, 2 / 3], atol=1e-12)


def test_atoms_lie_in_the_cell_in_the_order_of_the_sites() -> None:
    group = group_named("P -3 m 1")
    sites = (Site("A", "Cd", 0, 0, 0, u_iso=0.01), Site("B", "I", 1 / 3, 2 / 3, -0.25, occupancy=0.9))
    atoms = expand(structure_in(group, *sites))
    assert atoms.site.tolist() == [0, 1, 1]
    assert atoms.numbers.tolist() == [48, 53, 53]
    assert atoms.occupancy.tolist() == [1.0, 0.9, 0.9]
    assert atoms.u_iso[0] == 0.01
    assert np.isnan(atoms.u_iso[1:]).all()
    assert ((atoms.fractional >= 0) & (atoms.fractional < 1)).all()


def test_a_full_atom_near_a_mirror_is_one_atom_and_half_an_atom_stays_two() -> None:
    """As in La2O3 of Müller-Buschbaum (1965): La with occupancy ½ on both sides of a mirror, 0.2 Å apart."""
    group = group_named("P 63/m m c")
    assert len(expand(structure_in(group, Site("La", "La", 0.3333, 0.6667, 0.24)))) == 2
    assert len(expand(structure_in(group, Site("La", "La", 0.3333, 0.6667, 0.24, occupancy=0.5)))) == 4
    # On the position itself, half an atom is half an atom.
    assert len(expand(structure_in(group, Site("La", "La", 0.3333, 0.6667, 0.25, occupancy=0.5)))) == 2


def test_a_structure_without_sites_is_refused() -> None:
    with pytest.raises(StructureError) as caught:
        expand(structure_in(group_named("P 1")))
    assert caught.value.reason == "no_atoms"


def test_operations_that_form_no_group_are_noticed_on_special_positions() -> None:
    structure = replace(
        structure_in(group_named("P m -3 m"), Site("A", "Fe", 0.0, 0.0, 0.0)),
        operations=("x,y,z", "-x,y,z+1/2", "x+1/2,y,z"),
        sites=(Site("A", "Fe", 0.001, 0.0, 0.0),),
    )
    expand(structure)
    with pytest.raises(StructureError) as caught:
        expand(replace(structure, operations=("x,y,z", "-x,y,z", "x+1/2,y,z")))
    assert caught.value.reason == "site_symmetry"


@pytest.mark.parametrize("group", SETTINGS[::7], ids=lambda group: group.xhm())
def test_the_named_operation_makes_each_atom_of_the_first_of_its_site(group: gemmi.SpaceGroup) -> None:
    sites = (Site("Fe1", "Fe", 0.0, 0.0, 0.0), Site("O1", "O", 0.17, 0.29, 0.41))
    structure = Structure("s", "s", cell_for(group), group.number, group.xhm(), operations_of(group), sites)
    atoms = expand(structure)
    first = np.searchsorted(atoms.site, atoms.site)
    for n in range(len(atoms)):
        op = gemmi.Op(structure.operations[atoms.operation[n]])
        difference = np.array(op.apply_to_xyz(atoms.fractional[first[n]].tolist())) - atoms.fractional[n]
        np.testing.assert_allclose(difference - np.round(difference), 0, atol=1e-9)

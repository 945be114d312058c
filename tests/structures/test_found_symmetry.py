"""Structures written out as P1 get back the symmetry that they were built with, and no other one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.structures.cif import read_cif
from hpc_mlsm.structures.found_symmetry import found_space_group, kinds_of
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, system_index
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Cell, Site, Structure

COD = Path(__file__).parents[3] / "shared" / "data" / "cod"
SYMPREC = 0.01


def as_p1(structure: Structure, digits: int = 5) -> Structure:
    """All atoms of the cell as sites of their own, with coordinates rounded as files have them."""
    atoms = structure.unit_cell
    sites = tuple(
        Site(f"{k}", structure.sites[own].element, *map(float, np.round(place, digits)), float(occupancy))
        for k, (own, place, occupancy) in enumerate(
            zip(atoms.site, atoms.fractional, atoms.occupancy, strict=True)
        )
    )  # fmt: skip
    return replace(structure, space_group=1, space_group_symbol="P 1", operations=("x,y,z",), sites=sites)


def rutile(x: float = 0.305, a: float = 4.594, b: float = 4.594, metal: float = 1.0) -> Structure:
    """TiO2 in P1: the oxygen at x, and one of two metal sites occupied as ``metal`` says."""
    oxygen = ((x, 0.305), (-0.305, -0.305), (0.805, 0.195), (0.195, 0.805))
    sites = (
        Site("Ti1", "Ti", 0.0, 0.0, 0.0), Site("Ti2", "Ti", 0.5, 0.5, 0.5, metal),
        *(Site(f"O{k}", "O", u, v, 0.5 * (k > 1)) for k, (u, v) in enumerate(oxygen)),
    )  # fmt: skip
    return Structure("TiO2", "", Cell(a, b, 2.959, 90.0, 90.0, 90.0), 1, "P 1", ("x,y,z",), sites)


def test_p1_expansions_of_all_systems_have_their_own_group_again() -> None:
    known = starter_set()
    assert {one.crystal_system for one in known} == {*CRYSTAL_SYSTEMS} - {"triclinic"}
    found = {one.id: found_space_group(as_p1(one), SYMPREC) for one in known}
    assert found == {one.id: one.space_group for one in known}


def test_a_crystal_without_symmetry_has_none() -> None:
    rng = np.random.default_rng(0)
    sites = tuple(Site(f"O{k}", "O", *map(float, rng.random(3))) for k in range(6))
    skew = Structure("skew", "", Cell(5.1, 6.3, 7.2, 82.0, 77.0, 95.0), 1, "P 1", ("x,y,z",), sites)
    assert found_space_group(skew, SYMPREC) == 1
    square = replace(skew, cell=Cell(5.0, 5.0, 5.0, 90.0, 90.0, 90.0))
    assert found_space_group(square, SYMPREC) == 1  # the cell alone makes no cubic crystal


def test_distortions_beyond_the_tolerance_lower_the_symmetry() -> None:
    assert found_space_group(rutile(), SYMPREC) == 136
    assert found_space_group(rutile(x=0.3055), SYMPREC) == 136  # 0.002 Å
    assert found_space_group(rutile(b=4.597), SYMPREC) == 136  # 0.003 Å
    assert found_space_group(rutile(b=4.694), SYMPREC) == 58  # the orthorhombic subgroup
    assert system_index(found_space_group(rutile(x=0.315), SYMPREC)) < CRYSTAL_SYSTEMS.index("orthorhombic")  # 0.05 Å


def test_sites_of_other_occupancy_or_element_are_of_other_kinds() -> None:
    assert found_space_group(rutile(metal=0.995), SYMPREC) == 136
    # The centre and the corners differ: no screw axis, no n glide; Cmmm along the diagonals is left.
    assert found_space_group(rutile(metal=0.8), SYMPREC) == 65
    other = rutile()
    vanadium = replace(other, sites=(other.sites[0], replace(other.sites[1], element="V"), *other.sites[2:]))
    assert found_space_group(vanadium, SYMPREC) == 65
    assert kinds_of(rutile(metal=0.8).unit_cell).tolist() == [2, 1, 0, 0, 0, 0]


def test_a_place_that_two_elements_share_keeps_its_symmetry_and_an_atom_listed_twice_has_none() -> None:
    sites = (
        Site("Na", "Na", 0.0, 0.0, 0.0, 0.5), Site("K", "K", 0.0, 0.0, 0.0, 0.5), Site("Cl", "Cl", 0.5, 0.5, 0.5),
    )  # fmt: skip
    mixed = Structure("mixed", "", Cell(4.0, 4.0, 4.0, 90.0, 90.0, 90.0), 1, "P 1", ("x,y,z",), sites)
    assert found_space_group(mixed, SYMPREC) == 221
    assert found_space_group(replace(mixed, sites=(*sites, sites[2])), SYMPREC) == 0


@pytest.mark.skipif(not COD.is_dir(), reason="the CIFs of ../shared/data/cod are not here")
@pytest.mark.parametrize(
    ("file", "group"),
    [
        ("xrd_autoanalyzer/Mn2O3_206.cif", 206),
        ("xrd_autoanalyzer/MnO_225.cif", 225),
        ("xrd_autoanalyzer/TiO2_136.cif", 136),
        ("xrd_autoanalyzer/TiO2_141.cif", 141),
        ("clays/Al2Si2O9H4-Kaolinite.cif", 1),
    ],
)
def test_files_that_state_p1_have_the_group_of_their_name(file: str, group: int) -> None:
    (structure,), _ = read_cif(COD / file)
    assert structure.space_group == 1
    assert found_space_group(structure, SYMPREC) == group

"""Made-up crystals have the space group asked for, sensible distances, and are the same every time."""

from collections import Counter
from dataclasses import replace
from itertools import product

import gemmi
import numpy as np
import pytest

from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.structures.found_symmetry import found_space_group
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.synthetic import SyntheticSettings, synthetic_structure, synthetic_structures
from hpc_mlsm.structures.synthetic_cell import CLOSEST, SYMPREC

SETTINGS = SyntheticSettings(count=42, seed=1, max_atoms=64)


@pytest.fixture(scope="module")
def crystals() -> list[Structure]:
    return list(synthetic_structures(SETTINGS))


def brute_force_closest(structure: Structure) -> float:
    """Shortest distance in sums of covalent radii, over all atoms and the 124 cells around."""
    atoms = structure.unit_cell
    unit = gemmi.UnitCell(*structure.cell.parameters)
    lattice = np.array(unit.orth.mat.tolist()).T
    places = atoms.fractional @ lattice
    radii = np.array([gemmi.Element(int(number)).covalent_r for number in atoms.numbers])
    best = np.inf
    for shift in product(range(-2, 3), repeat=3):
        distances = np.linalg.norm(places[:, None] - places[None] + np.array(shift) @ lattice, axis=2)
        distances[distances < 1e-3] = np.inf
        best = min(best, float((distances / (radii[:, None] + radii[None])).min()))
    return best


def test_spglib_finds_the_space_group_asked_for_with_other_tolerances_too(crystals: list[Structure]) -> None:
    for structure in crystals:
        assert found_space_group(structure, SYMPREC) == structure.space_group
        assert found_space_group(structure, 1e-4) == structure.space_group
    assert len({structure.space_group for structure in crystals}) > 20
    assert len({structure.content_hash for structure in crystals}) == len(crystals)


def test_atoms_keep_their_distance_and_cells_their_limits(crystals: list[Structure]) -> None:
    for structure in crystals:
        # Axes are rounded to 0.0001 Å after the cell was stretched.
        assert brute_force_closest(structure) > CLOSEST * 0.9999
        assert 0.5 <= structure.density <= 22.0
        assert min(structure.cell.parameters[:3]) >= 2.5
        assert max(structure.cell.parameters[:3]) <= 40.0
        assert len(structure.unit_cell) <= 64
        assert all(site.u_iso is not None and 0 < site.u_iso < 0.03 for site in structure.sites)
        assert Structure.from_json(structure.to_json()) == structure


def test_a_structure_depends_on_seed_and_number_only(crystals: list[Structure]) -> None:
    assert synthetic_structure(replace(SETTINGS, count=9), 5) == crystals[5]
    assert list(synthetic_structures(SETTINGS, 10, 3)) == crystals[10:13]
    assert synthetic_structure(replace(SETTINGS, seed=2), 5).content_hash != crystals[5].content_hash


def test_crystal_systems_come_in_the_shares_asked_for() -> None:
    shares = (0.0, 3.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    found = Counter(s.crystal_system for s in synthetic_structures(SyntheticSettings(60, shares, max_atoms=16)))
    assert set(found) == {"monoclinic", "orthorhombic"}
    # Binomial: 45 of 60 expected, standard deviation 3.4.
    assert 33 <= found["monoclinic"] <= 57


def test_all_systems_are_made_by_default(crystals: list[Structure]) -> None:
    assert {structure.crystal_system for structure in crystals} == set(CRYSTAL_SYSTEMS)


def test_space_groups_can_be_chosen() -> None:
    chosen = SyntheticSettings(count=6, space_groups=frozenset({62, 225}))
    assert {structure.space_group for structure in synthetic_structures(chosen)} == {62, 225}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": (0.0,) * 7}, "leave no crystal system; give seven"),
        ({"shares": (1.0, -1.0, 0, 0, 0, 0, 0)}, "give seven numbers of 0 or more"),
        ({"space_groups": frozenset({0})}, "0 is no space group"),
        ({"shares": (1.0, 0, 0, 0, 0, 0, 0), "space_groups": frozenset({225})}, "that the chosen space groups have"),
    ],
)
def test_settings_that_give_nothing_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SyntheticSettings(**change)  # type: ignore[arg-type]


def test_limits_that_no_crystal_fits_end_in_a_reason() -> None:
    tight = SyntheticSettings(count=1, space_groups=frozenset({230}), max_atoms=8)
    with pytest.raises(StructureError, match=r"cubic.*at most 8 atoms.*raise max_atoms") as caught:
        synthetic_structure(tight, 0)
    assert caught.value.reason == "not_made"


def test_an_atom_too_close_to_a_special_place_is_drawn_again() -> None:
    # Number 1266 of seed 0 was one whose stretched cell parted such images unequally.
    made = synthetic_structure(SyntheticSettings(count=1267), 1266)
    assert found_space_group(made, SYMPREC) == made.space_group


def test_a_higher_symmetry_than_the_label_is_recognised() -> None:
    made = synthetic_structure(SyntheticSettings(count=1, space_groups=frozenset({225})), 0)
    lowered = replace(made, space_group=196)
    assert found_space_group(lowered, SYMPREC) == 225

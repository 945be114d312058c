"""What is too close, too dense, or not what the file says it is."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif_checks import (
    composition_notes,
    contact_notes,
    contacts,
    density_notes,
    formula_deviations,
    without_repeats,
)
from hpc_mlsm.structures.cif_text import CifBlock, read_blocks
from hpc_mlsm.structures.structure import Cell, Site, Structure
from hpc_mlsm.structures.symmetry import operations_of


def crystal(symbol: str, cell: Cell, *sites: Site) -> Structure:
    group = gemmi.find_spacegroup_by_name(symbol)
    return Structure("test", "", cell, group.number, group.xhm(), operations_of(group), sites)


def block(*lines: str) -> CifBlock:
    return read_blocks("\n".join(["data_x", *lines, ""]))[0]


CUBE = Cell(4.0, 4.0, 4.0, 90.0, 90.0, 90.0)
SKEW = Cell(5.0, 6.0, 7.0, 70.0, 110.0, 60.0)


def test_contacts_are_those_of_a_search_over_all_images() -> None:
    """Against brute force over 27 cells, in a skew cell full of atoms, far more than real ones."""
    generator = np.random.default_rng(5)
    sites = tuple(Site(f"O{i}", "O", *generator.random(3)) for i in range(60))
    structure = crystal("P 1", SKEW, *sites)
    positions = np.array([[s.x, s.y, s.z] for s in sites])
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    expected = {}
    for i in range(60):
        for j in range(60):
            delta = positions[j] + shifts - positions[i]
            distance = np.sqrt(np.einsum("ni,ij,nj->n", delta, SKEW.metric, delta)).min()
            if i != j and distance < 0.6 * 2 * gemmi.Element("O").covalent_r:
                expected[i, j] = distance
    found = {(c.first, c.second): c.distance for c in contacts(structure)}
    assert len(expected) > 20
    assert found == pytest.approx(expected)


def test_a_site_listed_twice_is_dropped_and_mixed_sites_stay() -> None:
    twice = crystal("P m -3 m", CUBE, Site("Fe1", "Fe", 0, 0, 0), Site("O", "O", 0.5, 0, 0), Site("O2", "O", 0, 0.5, 0))
    kept, notes = without_repeats(twice, contacts(twice))
    assert [s.label for s in kept.sites] == ["Fe1", "O"]
    assert notes == ["O2: listed again under symmetry, dropped"]
    mixed = crystal(
        "P m -3 m", CUBE, Site("Fe", "Fe", 0, 0, 0, occupancy=0.6), Site("Co", "Co", 0, 0, 0, occupancy=0.4)
    )
    assert without_repeats(mixed, contacts(mixed)) == (mixed, [])
    valences = replace(mixed, sites=(mixed.sites[0], replace(mixed.sites[1], element="Fe")))
    assert without_repeats(valences, contacts(valences)) == (valences, [])


def test_a_place_that_is_overfull_is_noted() -> None:
    sites = [Site(e, e, 0, 0, 0, occupancy=o) for e, o in (("Co", 0.87), ("Fe", 0.11), ("Ni", 0.13))]
    structure = crystal("P m -3 m", CUBE, *sites)
    assert contact_notes(structure, contacts(structure)) == ["Co, Fe, Ni share a place with occupancies adding to 1.11"]
    full = crystal("P m -3 m", CUBE, Site("Co", "Co", 0, 0, 0), Site("Fe", "Fe", 0, 0, 0))
    assert "2.00" in contact_notes(full, contacts(full))[0]


def test_atoms_on_top_of_each_other_are_refused_unless_they_take_turns() -> None:
    def pair(occupancy: float) -> Structure:
        return crystal(
            "P 1", CUBE, Site("O1", "O", 0, 0, 0, occupancy=occupancy), Site("O2", "O", 0.1, 0, 0, occupancy=0.5)
        )

    with pytest.raises(StructureError) as caught:
        contact_notes(pair(0.9), contacts(pair(0.9)))
    assert caught.value.reason == "overlapping_atoms"
    assert "O1 and O2 are 0.40 Å apart" in caught.value.detail
    assert contact_notes(pair(0.5), contacts(pair(0.5))) == []


def test_images_of_one_site_may_not_overlap_either() -> None:
    structure = crystal("P m -3 m", CUBE, Site("O1", "O", 0.05, 0.2, 0.4))
    with pytest.raises(StructureError):
        contact_notes(structure, contacts(structure))


def test_neighbours_closer_than_any_bond_are_noted() -> None:
    structure = crystal("P 1", CUBE, Site("Nb1", "Nb", 0, 0, 0), Site("O1", "O", 0.3, 0, 0))
    assert contact_notes(structure, contacts(structure)) == ["Nb1 and O1 are 1.20 Å apart, closer than any bond"]
    real = crystal("P 1", CUBE, Site("N1", "N", 0, 0, 0), Site("N2", "N", 1.098 / 4, 0, 0))
    assert contacts(real) == []


def test_density_and_volume_are_compared_with_the_stated_ones() -> None:
    iron = crystal("I m -3 m", replace(CUBE, a=2.866, b=2.866, c=2.866), Site("Fe", "Fe", 0, 0, 0))
    assert density_notes(iron, block("_exptl_crystal_density_diffrn 7.87", "_cell_volume 23.54")) == []
    assert density_notes(iron, block()) == []
    notes = density_notes(iron, block("_exptl_crystal_density_diffrn 5.0", "_cell_volume 24.5"))
    assert notes == ["density 7.878 g/cm³, the file states 5.000", "cell volume 23.54 Å³, the file states 24.50"]


@pytest.mark.parametrize("edge", [1.7, 60.0])
def test_an_absurd_density_is_refused(edge: float) -> None:
    wrong = crystal("I m -3 m", replace(CUBE, a=edge, b=edge, c=edge), Site("Fe", "Fe", 0, 0, 0))
    with pytest.raises(StructureError) as caught:
        density_notes(wrong, block())
    assert caught.value.reason == "absurd_density"


@pytest.mark.parametrize(
    ("composition", "formula", "wrong"),
    [
        ({"Ti": 2, "O": 4}, {"Ti": 1, "O": 2}, []),
        ({"Al": 7.98, "O": 12.0}, {"Al": 2, "O": 3}, []),
        ({"Mg": 2, "C": 2, "O": 12}, {"Mg": 1, "C": 1, "O": 3}, [("O", 6.0, 3)]),
        ({"Ca": 1, "O": 2}, {"Ca": 1, "O": 2, "H": 2}, [("H", 0.0, 2)]),
        ({"Ca": 1, "O": 2, "K": 1}, {"Ca": 1, "O": 2}, [("K", 1.0, 0.0)]),
        ({"Ar": 4}, {"Kr": 1}, [("Kr", 0.0, 1)]),
        ({"Ar": 4}, {}, []),
    ],
)
def test_formulae_are_compared_whatever_the_number_of_units(
    composition: dict[str, float], formula: dict[str, float], wrong: list[tuple[str, float, float]]
) -> None:
    assert formula_deviations(composition, formula) == wrong


def test_a_wrong_composition_is_noted_with_its_figures() -> None:
    oxide = crystal(
        "F m -3 m", replace(CUBE, a=4.2, b=4.2, c=4.2), Site("Mg", "Mg", 0, 0, 0), Site("O", "O", 0.5, 0.5, 0.5)
    )
    assert composition_notes(oxide, block("_chemical_formula_sum 'Mg O'")) == []
    assert composition_notes(oxide, block("_chemical_formula_sum 'Mg O2'")) == [
        "composition is not the stated Mg O2: O 1 instead of 2"
    ]

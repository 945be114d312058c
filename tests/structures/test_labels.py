"""The crystal system of a space group follows the ranges of its number in the International Tables."""

import numpy as np

from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, labels_of, system_index, system_labels
from hpc_mlsm.structures.structure import Cell, Site, Structure

FIRST = {
    "triclinic": 1, "monoclinic": 3, "orthorhombic": 16, "tetragonal": 75, "trigonal": 143, "hexagonal": 168,
    "cubic": 195,
}  # fmt: skip


def test_every_space_group_belongs_to_the_system_of_its_range() -> None:
    starts = list(FIRST.values())
    expected = [int(np.searchsorted(starts, number, side="right")) - 1 for number in range(1, 231)]
    assert system_labels(range(1, 231)).tolist() == expected
    assert tuple(FIRST) == CRYSTAL_SYSTEMS


def test_the_labels_of_a_structure_are_its_own() -> None:
    cell = Cell(5.4, 5.4, 5.4, 90.0, 90.0, 90.0)
    structure = Structure("Si", "", cell, 227, "F d -3 m :1", ("x,y,z",), (Site("Si", "Si", 0.0, 0.0, 0.0),))
    labels = labels_of(structure)
    assert (labels.id, labels.space_group, labels.cell) == ("Si", 227, cell.parameters)
    assert CRYSTAL_SYSTEMS[labels.system] == structure.crystal_system == "cubic"
    assert system_index(166) == CRYSTAL_SYSTEMS.index("trigonal")

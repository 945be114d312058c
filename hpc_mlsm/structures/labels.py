"""What classifiers of symmetry are taught: crystal system, space group and cell of a structure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.structures.structure import Structure

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
"""The seven systems, in the order of the space-group numbers; a label is an index into this."""


@dataclass(frozen=True, slots=True)
class SymmetryLabels:
    """Labels of one structure.

    ``system`` indexes CRYSTAL_SYSTEMS; ``space_group`` is the number, 1 to 230; ``cell`` is (a, b, c, α, β, γ) in Å and
    degrees, of the setting that the structure is given in.
    """

    id: str
    system: int
    space_group: int
    cell: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Relabelled:
    """A structure that is taught with the space group that was found (number), not with the stated one."""

    id: str
    formula: str
    stated: int
    found: int

    @property
    def stated_system(self) -> str:
        """Crystal system of the stated group."""
        return CRYSTAL_SYSTEMS[system_index(self.stated)]

    @property
    def found_system(self) -> str:
        """Crystal system of the group that was found."""
        return CRYSTAL_SYSTEMS[system_index(self.found)]

    @property
    def found_symbol(self) -> str:
        """Hermann-Mauguin symbol of the group that was found."""
        return str(gemmi.find_spacegroup_by_number(self.found).hm)


@lru_cache(maxsize=230)
def system_index(space_group: int) -> int:
    """Index into CRYSTAL_SYSTEMS of the system that a space-group number belongs to.

    Rhombohedral groups are trigonal, whatever the axes.
    """
    return CRYSTAL_SYSTEMS.index(gemmi.find_spacegroup_by_number(space_group).crystal_system_str())


def labels_of(structure: Structure) -> SymmetryLabels:
    """The labels of a structure."""
    cell = structure.cell.parameters
    return SymmetryLabels(structure.id, system_index(structure.space_group), structure.space_group, cell)


def system_labels(space_groups: Sequence[int]) -> NDArray[np.int64]:
    """Index of the crystal system of each space-group number, shape (n,)."""
    return np.array([system_index(int(number)) for number in space_groups], dtype=np.int64)

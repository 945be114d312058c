"""The symmetry that atoms and cell have, whatever the source says of it."""

import warnings

import gemmi
import numpy as np
import spglib
from numpy.typing import NDArray

from hpc_mlsm.structures.structure import Structure, UnitCell

SAME_OCCUPANCY = 0.01
"""Occupancies that differ by no more than this are equal: sources round them."""


def found_space_group(structure: Structure, symprec: float) -> int:
    """Number of the space group that spglib finds for the atoms and cell; 0 where it finds none.

    Atoms of other elements or occupancies are of other kinds; a place that several share is taken as it is.

    Parameters
    ----------
    structure : Structure
        Its operations only expand the cell.
    symprec : float
        By how much atoms (and edges of the cell) may miss their places, Å. The tolerance of angles follows from it, as
        spglib has it by default.
    """
    atoms = structure.unit_cell
    unit = gemmi.UnitCell(*structure.cell.parameters)
    lattice = np.array(unit.orth.mat.tolist()).T
    cell = (lattice.tolist(), atoms.fractional.tolist(), kinds_of(atoms).tolist())
    with warnings.catch_warnings():
        # spglib announces that what is None today will be an exception.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_spacegroup(cell, symprec=symprec)
        except spglib.SpglibError:
            return 0
    return int(str(found).rpartition("(")[2].rstrip(")")) if found else 0


def kinds_of(atoms: UnitCell) -> NDArray[np.int64]:
    """Kind of each atom, counted from 0: atoms are of one kind where element and occupancy are the same, shape (N,)."""
    order = np.lexsort((atoms.occupancy, atoms.numbers))
    numbers, occupancy = atoms.numbers[order], atoms.occupancy[order]
    new = (np.diff(numbers) != 0) | (np.diff(occupancy) > SAME_OCCUPANCY)
    kinds = np.zeros(len(order), dtype=np.int64)
    kinds[order[1:]] = np.cumsum(new)
    return kinds

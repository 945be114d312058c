"""Organic, inorganic or metal–organic: told from composition and bonds, by one written rule.

A carbon atom is organic if it is bonded to

- hydrogen (within 1.25 Å), or
- nitrogen by a single or aromatic bond (1.25 to 1.55 Å), so urea counts, and ions of cyanide, thiocyanate and cyanamide
  do not, or
- carbon (1.15 to 1.70 Å), where the compound has another non-metal besides, so an oxalate counts, and graphite,
  diamond, fullerenes, carbides and intercalated graphite do not.

A structure with an organic carbon is metal–organic if it holds a metal and organic if not; every other one is
inorganic, carbonates, carbonyls without C–H, carbides, cyanides and carbon dioxide among them. Hydrogen that was not
located matters little: C–C and C–N bonds decide. Semimetals (B, Si, Ge, As, Sb, Te, At) count as non-metals.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.structures.cif_displacement import reciprocal_lengths
from hpc_mlsm.structures.structure import Structure

Chemistry = Literal["organic", "inorganic", "metal_organic"]

_NON_METALS = "H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Sb Te I Xe At Rn"
NON_METALS = frozenset(_NON_METALS.split())
"""All other elements are metals."""

_H, _C, _N = 1, 6, 7
_REACH = 1.70
_BONDS = {_H: (0.0, 1.25), _N: (1.25, 1.55), _C: (1.15, _REACH)}
"""Shortest and longest bond (Å) of carbon with each element that makes it organic."""


def chemistry_of(structure: Structure) -> Chemistry:
    """Which of the three a structure is; see the rule in the module's text."""
    if "C" not in structure.elements or not _has_organic_carbon(structure):
        return "inorganic"
    return "organic" if structure.elements <= NON_METALS else "metal_organic"


def _has_organic_carbon(structure: Structure) -> bool:
    other_non_metal = bool((structure.elements & NON_METALS) - {"C"})
    partners = [number for number in _BONDS if number != _C or other_non_metal]
    atoms = structure.unit_cell
    wanted = np.isin(atoms.numbers, partners)
    if not wanted.any():
        return False
    first = np.flatnonzero((np.diff(atoms.site, prepend=-1) != 0) & (atoms.numbers == _C))
    neighbours, distances = _within_reach(structure, first, np.flatnonzero(wanted))
    numbers = atoms.numbers[neighbours]
    return any(
        bool(((numbers == number) & (distances > _BONDS[number][0]) & (distances <= _BONDS[number][1])).any())
        for number in partners
    )


def _within_reach(
    structure: Structure, carbons: NDArray[np.intp], others: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Atoms among ``others`` that may be bonded to one of ``carbons``, and the distances (Å)."""
    from scipy.spatial import cKDTree

    spacing = 1.0 / reciprocal_lengths(structure.cell)
    wrapped = structure.unit_cell.fractional % 1.0
    wrapped[wrapped >= 1.0] = 0.0
    tree = cKDTree(wrapped[others] * spacing, boxsize=spacing)
    near = tree.query_ball_point(wrapped[carbons] * spacing, _REACH, p=np.inf)
    one = np.repeat(carbons, [len(found) for found in near])
    other = others[np.concatenate([np.asarray(found, dtype=np.intp) for found in near])] if len(one) else one
    delta = wrapped[other] - wrapped[one]
    delta -= np.round(delta)
    return other, np.sqrt(np.maximum(np.sum((delta @ structure.cell.metric) * delta, axis=1), 0.0))

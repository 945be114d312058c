"""Whether a structure can be true: atoms on top of each other, density, and what the CIF says of composition."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif_displacement import reciprocal_lengths
from hpc_mlsm.structures.cif_sites import named_sites
from hpc_mlsm.structures.cif_text import CifBlock
from hpc_mlsm.structures.elements import HEAVIEST, formula_amounts
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import MERGE_DISTANCE

CONTACT = 0.5
"""Atoms closer than this (Å) cannot both be there: the shortest bond, H-H, is 0.74 Å."""

SQUEEZED = 0.6
"""Nor can atoms closer than this times the sum of their covalent radii; triple bonds reach 0.7."""

SHARED = 1.05
"""Summed occupancy up to which atoms may share a place, rounding included."""

OVERLAP = 1.2
"""Summed occupancy above which two atoms in contact are an error rather than a rounded disorder model."""

DENSITY = (0.05, 35.0)
"""Lowest and highest believable density, g/cm³: below the lightest frameworks, above osmium under pressure."""

VOLUME_TOLERANCE = 0.01
"""Relative deviation of the cell volume from the stated one that is worth a note."""

COMPOSITION_TOLERANCE = 0.05
"""Relative deviation from the stated formula or density that is worth a note."""


@dataclass(frozen=True)
class Contact:
    """Two atoms closer than any bond: their sites, distance (Å) and summed occupancy."""

    first: int
    second: int
    distance: float
    occupancy: float

    @property
    def in_one_place(self) -> bool:
        """Whether the atoms are two occupants of one place, not neighbours."""
        return self.first != self.second and self.distance < MERGE_DISTANCE

    @property
    def impossible(self) -> bool:
        """Whether they are neighbours that cannot both be there."""
        return self.occupancy > OVERLAP and not self.in_one_place


def contacts(structure: Structure) -> list[Contact]:
    """Contacts between the first atom of each site and all atoms of the cell and its images.

    In contact are atoms closer than ``CONTACT`` or than ``SQUEEZED`` times the sum of their covalent radii.
    """
    from scipy.spatial import cKDTree

    atoms = structure.unit_cell
    radii = _covalent_radii()[atoms.numbers]
    # Along each axis, scaled to the spacing of its lattice planes, atoms in contact are no further apart than this.
    reach = max(CONTACT, 2.0 * SQUEEZED * float(radii.max()))
    spacing = 1.0 / reciprocal_lengths(structure.cell)
    wrapped = atoms.fractional % 1.0
    wrapped[wrapped >= 1.0] = 0.0
    tree = cKDTree(wrapped * spacing, boxsize=spacing)
    first = np.flatnonzero(np.diff(atoms.site, prepend=-1))
    neighbours = tree.query_ball_point(wrapped[first] * spacing, reach, p=np.inf)
    counts = np.array([len(near) for near in neighbours])
    one = np.repeat(first, counts)
    other = np.concatenate([np.asarray(near, dtype=np.int64) for near in neighbours])
    delta = wrapped[other] - wrapped[one]
    delta -= np.round(delta)
    distances = np.sqrt(np.sum((delta @ structure.cell.metric) * delta, axis=1))
    limit = np.maximum(CONTACT, SQUEEZED * (radii[one] + radii[other]))
    close = np.flatnonzero((distances < limit) & (one != other))
    occupancy = atoms.occupancy[one] + atoms.occupancy[other]
    return [
        Contact(int(atoms.site[one[k]]), int(atoms.site[other[k]]), float(distances[k]), float(occupancy[k]))
        for k in close
    ]


@lru_cache(maxsize=1)
def _covalent_radii() -> NDArray[np.float64]:
    return np.array([gemmi.Element(number).covalent_r for number in range(HEAVIEST + 1)])


def without_repeats(structure: Structure, close: Sequence[Contact]) -> tuple[Structure, list[str]]:
    """The structure without sites that repeat an earlier one, and a note on them.

    A site repeats another if it puts the same element within 0.25 Å of it and both cannot be there together.
    Files that list whole cells beside all operations do that.
    """
    repeats = set[int]()
    for contact in sorted(close, key=lambda c: (c.second, c.first)):
        if contact.first > contact.second or contact.first in repeats:
            continue
        same = structure.sites[contact.first].element == structure.sites[contact.second].element
        if same and contact.in_one_place and contact.occupancy > SHARED:
            repeats.add(contact.second)
    if not repeats:
        return structure, []
    kept = tuple(site for index, site in enumerate(structure.sites) if index not in repeats)
    labels = named_sites([structure.sites[index].label for index in sorted(repeats)])
    return replace(structure, sites=kept), [f"{labels}: listed again under symmetry, dropped"]


def contact_notes(structure: Structure, close: Sequence[Contact]) -> list[str]:
    """Notes on places that are occupied more than once, and on the closest of impossible neighbours.

    Raises
    ------
    StructureError
        With reason ``overlapping_atoms``, where two atoms of high occupancy lie within ``CONTACT``.
    """
    notes = []
    closest = min((c for c in close if c.impossible), key=lambda c: c.distance, default=None)
    if closest:
        names = f"{structure.sites[closest.first].label} and {structure.sites[closest.second].label}"
        apart = f"{names} are {closest.distance:.2f} Å apart"
        if closest.distance < CONTACT:
            wrong = "symmetry, origin or coordinates are wrong"
            raise StructureError("overlapping_atoms", f"{apart}, and both there: {wrong}")
        notes.append(f"{apart}, closer than any bond")
    for place, total in _places(structure, close).items():
        if total > SHARED:
            names = named_sites([structure.sites[index].label for index in sorted(place)])
            notes.append(f"{names} share a place with occupancies adding to {total:.2f}")
    return notes


def _places(structure: Structure, close: Sequence[Contact]) -> dict[frozenset[int], float]:
    """Sites that share a place, and the sum of their occupancies."""
    places: dict[frozenset[int], float] = {}
    for site, near in groupby(close, key=lambda contact: contact.first):
        sharing = {site, *(contact.second for contact in near if contact.in_one_place)}
        places[frozenset(sharing)] = sum(structure.sites[index].occupancy for index in sharing)
    return places


def density_notes(structure: Structure, block: CifBlock) -> list[str]:
    """Notes where the density or the volume is not the stated one.

    Raises
    ------
    StructureError
        With reason ``absurd_density``.
    """
    density = structure.density
    if not DENSITY[0] <= density <= DENSITY[1]:
        raise StructureError("absurd_density", f"the atoms make {density:.3g} g/cm³; check cell and occupancies")
    notes = []
    stated = block.number("_exptl_crystal_density_diffrn")
    if stated and abs(density / stated - 1.0) > COMPOSITION_TOLERANCE:
        notes.append(f"density {density:.3f} g/cm³, the file states {stated:.3f}")
    volume = block.number("_cell_volume")
    if volume and abs(structure.cell.volume / volume - 1.0) > VOLUME_TOLERANCE:
        notes.append(f"cell volume {structure.cell.volume:.2f} Å³, the file states {volume:.2f}")
    return notes


def composition_notes(structure: Structure, block: CifBlock) -> list[str]:
    """A note where the atoms do not make up the stated formula."""
    formula = block.text("_chemical_formula_sum")
    deviations = formula_deviations(structure.composition, dict(formula_amounts(formula or "")))
    if not deviations:
        return []
    found = ", ".join(f"{symbol} {found:.4g} instead of {due:.4g}" for symbol, found, due in deviations)
    return [f"composition is not the stated {formula}: {found}"]


def formula_deviations(composition: dict[str, float], formula: dict[str, float]) -> list[tuple[str, float, float]]:
    """Elements whose amounts deviate from the formula's: symbol, amount found, amount due, in formula units.

    The number of formula units is the one that fits most elements (the median); empty where nothing deviates or
    no formula is given.
    """
    ratios = sorted(composition[symbol] / n for symbol, n in formula.items() if n and symbol in composition)
    if not ratios:
        return [(symbol, 0.0, n) for symbol, n in formula.items()] if composition and formula else []
    units = ratios[len(ratios) // 2]
    scale = sum(formula.values())
    found = []
    for symbol in sorted({*composition, *formula}):
        amount, due = composition.get(symbol, 0.0) / units, formula.get(symbol, 0.0)
        if abs(amount - due) > COMPOSITION_TOLERANCE * due and abs(amount - due) > 0.005 * scale:
            found.append((symbol, amount, due))
    return found

"""Cell and asymmetric unit of a CIF block: labels to elements, coordinates, occupancies, displacement."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif_displacement import read_displacements, reciprocal_lengths
from hpc_mlsm.structures.cif_text import CifBlock, number, numbers
from hpc_mlsm.structures.elements import element_symbol, formula_elements, is_vacancy, is_water
from hpc_mlsm.structures.structure import Cell, Site

MAX_SITES = 20_000
"""Listed sites beyond this are refused: proteins and glasses are not what patterns are simulated of."""

MAX_COORDINATE = 100.0
"""Fractional coordinates beyond this are something else, such as lengths in pm."""

LENGTHS = (1.5, 300.0)
"""Shortest and longest cell edge (Å) that is believed."""

OCCUPANCY_EXCESS = 1.05
"""Occupancies up to this are refinement noise, and taken as 1; larger ones are refused."""


def read_cell(block: CifBlock) -> tuple[Cell, list[str]]:
    """Unit cell of a block, and notes; a missing angle is 90° as the CIF dictionary says.

    Raises
    ------
    StructureError
        With reason ``bad_cell``.
    """
    lengths = [block.number(f"_cell_length_{edge}") for edge in "abc"]
    angles = [block.number(f"_cell_angle_{angle}") for angle in ("alpha", "beta", "gamma")]
    notes = ["cell angles are missing, 90° assumed"] if None in angles else []
    values = [math.nan if v is None else v for v in lengths] + [90.0 if v is None else v for v in angles]
    cell = Cell(*values)
    found = ", ".join(f"{v:g}" for v in values)
    if not all(LENGTHS[0] <= length <= LENGTHS[1] for length in values[:3]):
        raise StructureError(
            "bad_cell", f"cell ({found}): edges must be given and lie between {LENGTHS[0]} and {LENGTHS[1]} Å"
        )
    if not all(10.0 <= angle <= 170.0 for angle in values[3:]) or np.linalg.det(cell.metric) <= 0:
        raise StructureError("bad_cell", f"cell ({found}): these angles enclose no volume")
    if 1.0 / reciprocal_lengths(cell).max() < 1.0:
        raise StructureError("bad_cell", f"cell ({found}): lattice planes less than 1 Å apart")
    return cell, notes


def read_sites(block: CifBlock, cell: Cell) -> tuple[list[Site], list[str]]:
    """Sites of a block as listed, and notes on everything that was dropped, assumed or converted.

    Raises
    ------
    StructureError
        With reason ``no_atoms``, ``too_many_atoms``, ``unknown_element`` or ``bad_occupancy``.
    """
    xyz = [numbers(block.column(f"_atom_site_fract_{axis}")) for axis in "xyz"]
    count = max((len(column) for column in xyz), default=0)
    if count == 0 or any(len(column) != count for column in xyz):
        cartesian = block.column("_atom_site_Cartn_x") and "; Cartesian ones are not read"
        raise StructureError("no_atoms", f"no complete fractional coordinates are listed{cartesian or ''}")
    if count > MAX_SITES:
        raise StructureError("too_many_atoms", f"{count} sites are listed, at most {MAX_SITES} are treated")
    notes = _Notes()
    types = _column(block, count, "_atom_site_type_symbol")
    labels = _column(block, count, "_atom_site_label") or types
    if not labels:
        raise StructureError("no_atoms", "the atoms have neither labels nor type symbols")
    known = _formula_elements(block)
    dummies = _column(block, count, "_atom_site_calc_flag") or [""] * count
    occupancies = _column(block, count, "_atom_site_occupancy") or ["1"] * count
    u_iso, u_aniso = read_displacements(block, cell, labels, notes.add)
    sites = []
    for row, label in enumerate(labels):
        if dummies[row].lower() == "dum" or is_vacancy(label, known):
            notes.add("no atoms but dummies or empty sites, dropped", label)
            continue
        x, y, z = (column[row] for column in xyz)
        if x is None or y is None or z is None or max(abs(x), abs(y), abs(z)) > MAX_COORDINATE:
            notes.add("without usable coordinates, dropped", label)
            continue
        occupancy = _occupancy(label, occupancies[row], notes)
        if occupancy == 0.0:
            notes.add("occupancy 0, dropped", label)
            continue
        element = _element(label, types[row] if types else "", known, notes)
        sites.append(Site(label, element, x, y, z, occupancy, u_iso[row], u_aniso[row]))
    if not sites:
        raise StructureError("no_atoms", f"none of the {count} listed atoms has coordinates and an occupancy")
    return sites, notes.sentences()


class _Notes:
    """Notes on sites, one for each kind, naming the sites."""

    def __init__(self) -> None:
        self._labels: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, what: str, label: str) -> None:
        self._labels[what].append(label)

    def sentences(self) -> list[str]:
        return [f"{named_sites(labels)}: {what}" for what, labels in self._labels.items()]


def named_sites(labels: Sequence[str]) -> str:
    """The labels for a note: all of them, or the first six and how many there are."""
    shown = ", ".join(dict.fromkeys(labels[:6]))
    return shown if len(labels) <= 6 else f"{shown}, … ({len(labels)} sites)"


def _column(block: CifBlock, count: int, tag: str) -> list[str]:
    """A column of the atom loop; empty where it is absent or belongs to a loop of another length."""
    values = block.column(tag)
    return values if len(values) == count else []


def _formula_elements(block: CifBlock) -> frozenset[str] | None:
    """Elements of the compound by the first item that tells; None where none does."""
    for tag in ("sum", "moiety", "structural", "analytical"):
        found = formula_elements(block.text(f"_chemical_formula_{tag}") or "?")
        if found:
            return found
    return None


def _element(label: str, type_symbol: str, known: frozenset[str] | None, notes: _Notes) -> str:
    """The type symbol says the element; where it says none, the label does."""
    element = None
    if type_symbol not in ("", "?", "."):
        try:
            element = element_symbol(type_symbol, known)
        except StructureError:
            notes.add(f"type symbol {type_symbol!r} is no element, label used", label)
    element = element or element_symbol(label, known)
    if is_water(label, element):
        notes.add("water, treated as its oxygen", label)
    return element


def _occupancy(label: str, text: str, notes: _Notes) -> float:
    value = number(text)
    if value is None:
        notes.add(f"occupancy given as {text!r}, taken as 1", label)
        return 1.0
    if not 0.0 <= value <= OCCUPANCY_EXCESS:
        found = f"site {label} has occupancy {value:g}"
        raise StructureError("bad_occupancy", f"{found}; it must lie between 0 and 1")
    if value > 1.0:
        notes.add(f"occupancy {value:g}, taken as 1", label)
    return min(value, 1.0)

"""Structures that are there more than once: same composition, same space group, and the same cell within tolerance.

Cells are compared after reduction to the primitive cell of Niggli, so that settings and choices of axes do not matter;
densities are compared too, since a formula does not say how many units are in the cell. Atoms are not: whether two
entries with the same cell differ in them is for the patterns to show.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.catalog.database import Catalogue

LENGTHS = 0.01
"""Relative tolerance of the axes of reduced cells."""

ANGLES = 1.0
"""Tolerance of their angles, degree."""

DENSITIES = 0.03
"""Relative tolerance of densities."""

_COLUMNS = (
    "formula, space_group, id, space_group_symbol, a, b, c, alpha, beta, gamma, density, "
    "coalesce(r_factor, 1.0), instr(flags, 'retracted') > 0 OR instr(flags, 'disordered') > 0"
)


@dataclass(frozen=True)
class DuplicateGroup:
    """Entries of one structure: the one to keep, and the others, ordered by id.

    Kept is one that is neither retracted nor disordered, with the smallest R factor, or else the first by id.
    """

    formula: str
    space_group: int
    kept: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    id: str
    cell: NDArray[np.float64]
    volume: float
    density: float
    rank: tuple[bool, float, str]


def find_duplicates(catalogue: Catalogue, ids: Iterable[str] | None = None) -> list[DuplicateGroup]:
    """Groups of two or more entries of the same structure, ordered by formula, of all structures or of those given.

    Only entries of the same formula and space group are compared, sorted by volume, and each only with the first of
    every group that is close in volume; so that time grows with the number of structures, not with its square.
    """
    wanted = None if ids is None else set(ids)
    rows = catalogue.rows(f"SELECT {_COLUMNS} FROM structures ORDER BY formula, space_group")
    found = []
    for (formula, space_group), together in groupby(rows, key=lambda row: (row[0], row[1])):
        entries = [row[2:] for row in together if wanted is None or row[2] in wanted]
        if len(entries) > 1:
            for group in _groups([_entry(*row) for row in entries]):
                best = min(group, key=lambda entry: entry.rank)
                others = tuple(sorted(entry.id for entry in group if entry is not best))
                found.append(DuplicateGroup(formula, space_group, best.id, others))
    return found


def _entry(
    identity: str,
    symbol: str,
    *values: float,
) -> _Entry:
    *cell, density, r_factor, doubtful = values
    reduced = reduced_cell(cell, symbol)
    volume = float(gemmi.UnitCell(*reduced).volume)
    return _Entry(identity, reduced, volume, density, (bool(doubtful), r_factor, identity))


def reduced_cell(cell: Sequence[float], symbol: str) -> NDArray[np.float64]:
    """Lengths (Å) and angles (degree) of the primitive Niggli cell of a cell whose symbol begins with its centring."""
    centring = symbol[0] if symbol[:1] in "PABCIFR" else "P"
    if centring == "R" and symbol.endswith(":R"):
        centring = "P"
    vector = gemmi.GruberVector(gemmi.UnitCell(*cell), centring)
    vector.niggli_reduce(iteration_limit=200)
    return np.array(vector.cell_parameters())


def _groups(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    """Groups of at least two; an entry joins the first group whose first member it resembles."""
    open_groups: list[list[_Entry]] = []
    reach = (1.0 + LENGTHS) ** 3
    for entry in sorted(entries, key=lambda one: (one.volume, one.id)):
        while open_groups and open_groups[0][0].volume * reach < entry.volume:
            closed = open_groups.pop(0)
            if len(closed) > 1:
                yield closed
        joined = next((group for group in open_groups if _alike(group[0], entry)), None)
        if joined is None:
            open_groups.append([entry])
        else:
            joined.append(entry)
    yield from (group for group in open_groups if len(group) > 1)


def _alike(first: _Entry, second: _Entry) -> bool:
    if abs(first.density / second.density - 1.0) > DENSITIES:
        return False
    lengths = np.abs(first.cell[:3] / second.cell[:3] - 1.0).max()
    return bool(lengths <= LENGTHS and _angles_apart(first.cell[3:], second.cell[3:]) <= ANGLES)


def _angles_apart(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Largest difference of angles; cells near 90° may come out of the reduction with all angles acute or obtuse."""
    return float(min(np.abs(first - second).max(), np.abs(180.0 - first - second).max()))

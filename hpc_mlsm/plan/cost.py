"""What simulating one structure costs, projected from its cell alone."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpc_mlsm.catalog.rows import CellContent
from hpc_mlsm.scattering.kinds import PatternSettings
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import invariant_metrics, rotations_and_translations

SECONDS_PER_PATTERN = 3.5e-5
"""Smearing, band limit and writing of one pattern of 301 points, on one core of 2023."""

SECONDS_PER_PAIR = 2.7e-9
"""Depositing one pair of one variant."""

SECONDS_PER_NEIGHBOUR = 2.6e-8
"""Finding one neighbour and merging it into the list. All three were fitted to 199 structures of COD."""

PDFFIT2_SECONDS_PER_PATTERN = 3.2e-4
"""Of the engine pdffit2, for any structure."""

PDFFIT2_SECONDS_PER_PAIR = 6.9e-8
"""And for each atom of the cell and each of its neighbours. Both were fitted to 29 structures of the starter set."""

BYTES_PER_VALUE = 3.4
"""Of a compressed float32 value in a shard."""


SECONDS_PER_STRUCTURE = 4e-4
"""Before the first line of a powder pattern: sampling, symmetry, tables."""

SECONDS_PER_REFLECTION = 2e-8
"""Deciding whether a reflection, equivalent ones counted, is a unique and present one."""

SECONDS_PER_TERM = 1e-9
"""One atom's share of one structure factor."""

SECONDS_PER_LINE = 4e-7
"""One line of one wavelength in one pattern, at 4501 points and exponents of 1.5."""

SECONDS_PER_POINT = 6e-9
"""One point of a powder pattern, its share of writing included."""

SECONDS_PER_NOISY_POINT = 2e-8
"""Counting noise in one point."""


BYTES_PER_CLEAN_VALUE = 2.2
"""Of a powder pattern without noise, which compresses better."""


@dataclass(frozen=True)
class StructureCost:
    """Projection for one structure: seconds on one core, patterns (base included), and bytes in the store."""

    structure_id: str
    seconds: float
    patterns: int
    bytes: float


def structure_cost(structure: Structure, settings: PatternSettings) -> StructureCost:
    """Projected cost of simulating a structure."""
    cell = CellContent(
        structure.id, structure.cell.volume, len(structure.sites), len(structure.unit_cell), structure.operations
    )
    return cell_cost(cell, settings)


def cell_cost(cell: CellContent, settings: PatternSettings) -> StructureCost:
    """The same from what the catalogue says of a cell, so that no structure needs to be built."""
    if isinstance(settings, PowderSettings):
        return _powder_cost(cell, settings)
    return _pdf_cost(cell, settings)


def _pdf_cost(cell: CellContent, settings: PdfSettings) -> StructureCost:
    """Cost of PDFs.

    The neighbours of the atoms of the asymmetric unit are counted from the number density; how many of their
    distances stay distinct under strain is bounded by how many squared lengths the symmetry tells apart. The engine
    pdffit2 sums over all atoms of the cell instead, for each pattern again.
    """
    grid = settings.grid
    reach = (grid.r_max + 6 * 2 * np.pi / settings.q_max[0]) / (1 - settings.strain)
    atoms = cell.n_atoms
    sphere = 4.19 * reach**3 / cell.volume
    rows = settings.variants + 1
    if settings.engine == "pdffit2":
        each = PDFFIT2_SECONDS_PER_PATTERN + atoms**2 * sphere * PDFFIT2_SECONDS_PER_PAIR
        return StructureCost(cell.id, float(rows * each), rows, rows * len(grid) * BYTES_PER_VALUE)
    neighbours = 0.6 * cell.n_sites * atoms * sphere
    free = _free_lengths(cell.operations)
    distinct = neighbours / {1: 12.0, 2: 6.0, 3: 4.0, 4: 2.5}.get(free, 2.0)
    seconds = (
        neighbours * SECONDS_PER_NEIGHBOUR
        + rows * distinct * SECONDS_PER_PAIR
        + rows * SECONDS_PER_PATTERN * max(1.0, len(grid) / 301)
    )
    return StructureCost(cell.id, float(seconds), rows, rows * len(grid) * BYTES_PER_VALUE)


def _powder_cost(cell: CellContent, settings: PowderSettings) -> StructureCost:
    """Cost of powder patterns.

    The reflections of the sphere are counted from the cell's volume, and those that symmetry leaves; atoms are those
    that centring and a centre of inversion do not give.
    """
    distinct, centring, centric = _symmetry(cell.operations)
    sphere = 4.19 * cell.volume / settings.d_min**3
    unique = 1 + sphere / (centring * distinct * (1 if centric else 2))
    atoms = cell.n_atoms / (centring * (2 if centric else 1))
    rows, points = settings.variants + 1, len(settings.grid)
    each = unique * len(settings.radiation.wavelengths) * SECONDS_PER_LINE + points * SECONDS_PER_POINT
    noisy = settings.counts[1] > 0
    if noisy:
        each += points * SECONDS_PER_NOISY_POINT
    seconds = SECONDS_PER_STRUCTURE + sphere * SECONDS_PER_REFLECTION + unique * atoms * SECONDS_PER_TERM + rows * each
    size = rows * points * (BYTES_PER_VALUE if noisy else BYTES_PER_CLEAN_VALUE)
    return StructureCost(cell.id, float(seconds), rows, size)


@lru_cache(maxsize=4096)
def _free_lengths(operations: tuple[str, ...]) -> int:
    """How many numbers the symmetry leaves free in the cell's metric."""
    return len(invariant_metrics(operations))


@lru_cache(maxsize=4096)
def _symmetry(operations: tuple[str, ...]) -> tuple[int, int, bool]:
    """Distinct rotations, lattice points of a cell, and whether there is a centre of inversion."""
    rotations, _ = rotations_and_translations(operations)
    distinct = len(np.unique(rotations, axis=0))
    centric = bool((np.abs(rotations + np.eye(3)).max(axis=(1, 2)) < 1e-6).any())
    return distinct, len(rotations) // distinct, centric

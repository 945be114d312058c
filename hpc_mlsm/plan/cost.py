"""What simulating one structure costs, projected from its cell alone."""

from dataclasses import dataclass

import numpy as np

from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import invariant_metrics

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


@dataclass(frozen=True)
class StructureCost:
    """Projection for one structure: seconds on one core, patterns (base included), and bytes in the store."""

    structure_id: str
    seconds: float
    patterns: int
    bytes: float


def structure_cost(structure: Structure, settings: PdfSettings) -> StructureCost:
    """Projected cost of simulating a structure.

    The neighbours of the atoms of the asymmetric unit are counted from the number density; how many of their
    distances stay distinct under strain is bounded by how many squared lengths the symmetry tells apart. The engine
    pdffit2 sums over all atoms of the cell instead, for each pattern again.
    """
    grid = settings.grid
    reach = (grid.r_max + 6 * 2 * np.pi / settings.q_max[0]) / (1 - settings.strain)
    atoms = len(structure.unit_cell)
    sphere = 4.19 * reach**3 / structure.cell.volume
    rows = settings.variants + 1
    if settings.engine == "pdffit2":
        each = PDFFIT2_SECONDS_PER_PATTERN + atoms**2 * sphere * PDFFIT2_SECONDS_PER_PAIR
        return StructureCost(structure.id, float(rows * each), rows, rows * len(grid) * BYTES_PER_VALUE)
    neighbours = 0.6 * len(structure.sites) * atoms * sphere
    free = len(invariant_metrics(structure.operations))
    distinct = neighbours / {1: 12.0, 2: 6.0, 3: 4.0, 4: 2.5}.get(free, 2.0)
    seconds = (
        neighbours * SECONDS_PER_NEIGHBOUR
        + rows * distinct * SECONDS_PER_PAIR
        + rows * SECONDS_PER_PATTERN * max(1.0, len(grid) / 301)
    )
    return StructureCost(structure.id, float(seconds), rows, rows * len(grid) * BYTES_PER_VALUE)

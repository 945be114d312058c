"""The lattice of a structure: metric tensors and volume."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.structure import Cell, Structure

_FLAT = 1e-9
"""Share of a², b² and c² multiplied below which the squared volume is a rounding error of zero."""


@dataclass(frozen=True)
class Lattice:
    """Metric tensors of the lattice (Å²) and of the reciprocal lattice (Å⁻²), and the volume of the cell (Å³).

    Instances are shared; the arrays are not to be written to.
    """

    metric: NDArray[np.float64]
    reciprocal: NDArray[np.float64]
    volume: float


def lattice_of(structure: Structure) -> Lattice:
    """The lattice of a structure.

    Raises
    ------
    StructureError
        With reason ``bad_cell`` if the cell is flat.
    """
    found = _lattice(structure.cell)
    if found is None:
        raise StructureError("bad_cell", f"{structure.id}: the cell {structure.cell.parameters} has no volume")
    return found


@lru_cache(maxsize=64)
def _lattice(cell: Cell) -> Lattice | None:
    metric = cell.metric
    (aa, ab, ac), (_, bb, bc), (_, _, cc) = metric.tolist()
    cofactors = (bb * cc - bc * bc, ac * bc - ab * cc, ab * bc - ac * bb)
    determinant = aa * cofactors[0] + ab * cofactors[1] + ac * cofactors[2]
    if not determinant > _FLAT * aa * bb * cc:
        return None
    mixed = ab * ac - aa * bc
    inverse = np.array(
        [
            cofactors,
            (cofactors[1], aa * cc - ac * ac, mixed),
            (cofactors[2], mixed, aa * bb - ab * ab),
        ]
    )
    return Lattice(metric, inverse / determinant, math.sqrt(determinant))

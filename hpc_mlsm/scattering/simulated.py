"""What the simulation of one structure gives, whatever the kind of pattern."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SimulatedStructure:
    """Base pattern (n,), variant patterns (V, n), and the parameters of each variant as (unit, array (V,))."""

    structure_id: str
    content_hash: str
    base: NDArray[np.float32]
    patterns: NDArray[np.float32]
    parameters: dict[str, tuple[str, NDArray[np.float64]]]

"""Which classes of a model a filter admits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.structures.element_filter import ElementFilter


def filter_mask(classes: Sequence[ClassEntry], chosen: ElementFilter) -> NDArray[np.bool_]:
    """Which classes a filter admits, shape (C,): those with at least one member that passes.

    Raises
    ------
    ConfigError
        If none does.
    """
    if chosen == ElementFilter():
        return np.ones(len(classes), dtype=bool)
    mask = np.array(
        [any(chosen.admits(m.elements, m.space_group) for m in entry.members) for entry in classes], dtype=bool
    )
    if not mask.any():
        raise ConfigError(
            f"the filter ({chosen.describe()}) leaves none of the model's {len(classes)} classes; loosen it"
        )
    return mask

"""Refined values along a series, by structure: frames may be of different ones, and of two at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.refinement.gathered import GatheredFits

BETWEEN = " + "
"""Between the ids of phases that were refined together."""


@dataclass(frozen=True, eq=False)
class RefinedValues:
    """One parameter of one structure along the series: values and standard uncertainties (n,), NaN elsewhere."""

    structure_id: str
    structure: str
    name: str
    unit: str
    values: NDArray[np.float64]
    errors: NDArray[np.float64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Frames that have a value."""
        return np.isfinite(self.values)

    @property
    def refined(self) -> bool:
        """Whether it is a result, which what symmetry fixes is not."""
        return bool((np.nan_to_num(self.errors[self.known], nan=1.0) > 0).any())


def refined_values(fits: GatheredFits, classes: tuple[ClassEntry, ...]) -> list[RefinedValues]:
    """All parameters of all structures: those of the structure that comes first in the series first."""
    labels = {
        member.id: f"{member.formula} ({member.space_group_symbol})" for entry in classes for member in entry.members
    }
    texts, place = np.unique(fits.phases.astype(str), return_inverse=True)
    phases = [text.split(BETWEEN) if text else [] for text in texts]
    ids = list(dict.fromkeys(key for own in phases for key in own))
    first = {key: int(np.flatnonzero(np.array([key in own for own in phases])[place])[0]) for key in ids}
    found = []
    for structure_id in sorted(ids, key=lambda key: first[key]):
        # A parameter of the only phase has no number, one of two has that of its phase.
        number = np.array([own.index(structure_id) + 1 if structure_id in own else 0 for own in phases])[place]
        several = np.array([len(own) > 1 for own in phases])[place]
        for name in dict.fromkeys(key.partition(":")[0] for key in fits.values):
            values, errors = np.full(len(fits), np.nan), np.full(len(fits), np.nan)
            unit = ""
            for key in fits.values:
                if key.partition(":")[0] != name:
                    continue
                phase = int(key.partition(":")[2] or 0)
                own = (number == phase) & several if phase else (number > 0) & (~several | (number == 1))
                own &= np.isfinite(fits.values[key])
                values[own], errors[own], unit = fits.values[key][own], fits.uncertainties[key][own], fits.units[key]
            if np.isfinite(values).any():
                label = labels.get(structure_id, structure_id)
                found.append(RefinedValues(structure_id, label, name, unit, values, errors))
    return found

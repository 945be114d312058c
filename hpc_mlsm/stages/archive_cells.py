"""How far refined cells are from those of the structures that were refined: a sign of a structure of the same type."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.refinement.cell import NAMES
from hpc_mlsm.refinement.gathered import GatheredFits
from hpc_mlsm.refinement.rows import SEPARATOR
from hpc_mlsm.structures.structure import Cell, Structure

NOTABLE = 0.01
"""Of a length; heating by some hundred degrees, or a few percent of another element, change it by less."""


def cell_changes(structures: Mapping[str, Structure], fits: GatheredFits) -> NDArray[np.float64]:
    """Relative change of length, the cube root of that of volume, of each frame's first phase (n,); NaN without one."""
    found = np.full(len(fits), np.nan)
    for phases in np.unique(fits.phases.astype(str)):
        own = fits.phases.astype(str) == phases
        ids = [key for key in phases.split(SEPARATOR) if key]
        if not ids:
            continue
        end = ":1" if len(ids) > 1 else ""
        cell = structures[ids[0]].cell
        known = dict(zip(NAMES, cell.parameters, strict=True))
        columns = {name: fits.values.get(f"{name}{end}", np.full(len(fits), np.nan)) for name in NAMES}
        for row in np.flatnonzero(own & np.isfinite(columns["a"])).tolist():
            refined = {name: float(columns[name][row]) for name in NAMES if np.isfinite(columns[name][row])}
            found[row] = (Cell(**{**known, **refined}).volume / cell.volume) ** (1 / 3) - 1
    return found


def cells_note(changes: NDArray[np.float64], fits: GatheredFits, classes: tuple[ClassEntry, ...]) -> str:
    """A sentence on cells that changed notably, or ""."""
    far = np.flatnonzero(np.abs(changes) > NOTABLE)
    if not len(far):
        return ""
    labels = {one.id: f"{one.formula} ({one.space_group_symbol})" for entry in classes for one in entry.members}
    phases, numbers = np.unique(fits.phases[far].astype(str), return_counts=True)
    usual = str(phases[numbers.argmax()])
    middle = float(np.median(changes[far][fits.phases[far].astype(str) == usual]))
    name = labels.get(usual.split(SEPARATOR)[0], usual)
    return (
        f"{len(far)} refined cells are more than {NOTABLE:.0%} in length away from those of their structures, most of "
        f"them {name}, by {middle:+.1%}: a structure of the same type that is not in the catalogue may be the right one"
    )

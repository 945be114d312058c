"""How long a fit takes, so that a budget in core-hours can be spent the same way on every machine."""

import numpy as np

from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.transform import RIPPLES
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import invariant_metrics

EVALUATIONS = 8.0
"""Curves with derivatives of a fit that starts near its minimum."""

SECONDS_PER_EVALUATION = 6e-4
"""Of a structure with few pairs."""

SECONDS_PER_PAIR = (4e-9, 5e-9)
"""Of each pair of the list, and of each pair and free coefficient of the metric."""

Q_MAX = 25.0
"""Å⁻¹, for the range beyond the fit in which pairs count."""


def seconds_per_fit(structure: Structure, settings: RefineSettings) -> float:
    """Projected time of one fit on one core of 2020 or so, from a start near the minimum."""
    reach = settings.r_max + RIPPLES * 2 * np.pi / (settings.q_max or Q_MAX) + 1.0
    density = len(structure.unit_cell) / structure.cell.volume
    pairs = len(structure.sites) * density * 4.19 * (reach / (1 - settings.max_strain)) ** 3 / 2
    n_free = len(invariant_metrics(structure.operations))
    # Pairs that symmetry keeps equally long are one entry of the list.
    merged = pairs * {1: 0.01, 2: 0.1, 3: 0.3}.get(n_free, 0.6)
    fixed, each = SECONDS_PER_PAIR
    return float(EVALUATIONS * (SECONDS_PER_EVALUATION + merged * (fixed + each * n_free)))

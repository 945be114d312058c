"""Series of simulated frames for tests of refinement."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.refinement.series import NO_CANDIDATE, Series
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure

STARTER = {one.id.removeprefix("starter/"): one for one in starter_set()}
GRID = PdfGrid(1.5, 15.0, np.pi / 20)
Q_RANGE = (0.5, 20.0)
FIT = RefineSettings(r_max=15.0, correlated_motion="none", refine_q_damp=False)


def curve(structure: Structure, scale: float = 1.0, u_iso: float = 0.008, grid: PdfGrid = GRID) -> NDArray[np.float64]:
    """G(r) of a structure with all its cell lengths multiplied by a factor."""
    conditions = PdfConditions.uniform(1, u_iso=u_iso, q_min=Q_RANGE[0], q_max=Q_RANGE[1])
    return native_engine(structure, np.full((1, 3), scale), conditions, grid)[0]


def series_of(
    curves: Sequence[NDArray[np.float64]], candidates: Sequence[Sequence[str]], noise: float = 0.02
) -> Series:
    """Frames with noise, and their candidates by name; "Ni-fcc + Cu-fcc" is one of two phases."""
    rng = np.random.default_rng(0)
    values = np.array(curves)
    values = values + noise * values.std() * rng.normal(size=values.shape)
    names = sorted({one for row in candidates for one in row})
    phases = tuple(tuple(f"starter/{key}" for key in one.split(" + ")) for one in names)
    width = max(len(row) for row in candidates)
    indices = np.full((len(curves), width), NO_CANDIDATE)
    for k, row in enumerate(candidates):
        indices[k, : len(row)] = [names.index(one) for one in row]
    return Series(
        grid=GRID,
        q_range=Q_RANGE,
        values=values.astype(np.float32),
        names=tuple(f"frame-{k}" for k in range(len(curves))),
        structures={key: STARTER[key.removeprefix("starter/")] for one in phases for key in one},
        phases=phases,
        candidates=indices,
    )

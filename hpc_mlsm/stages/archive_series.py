"""The series that is refined: an archive's frames and components, each with the candidates that were predicted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.candidates import Ranking
from hpc_mlsm.archive.frame_shards import FrameSeries
from hpc_mlsm.archive.frames import ArchiveIndex
from hpc_mlsm.archive.predictions import Predictions
from hpc_mlsm.decomposition.decomposition import Decomposition
from hpc_mlsm.errors import PatternError
from hpc_mlsm.models.bundle import Bundle
from hpc_mlsm.models.trust import VERDICTS
from hpc_mlsm.refinement.chain import Phases
from hpc_mlsm.refinement.series import NO_CANDIDATE, Series
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfGrid

WITH_CANDIDATES = (VERDICTS.index("confident"), VERDICTS.index("several"))
"""Verdicts of frames that are worth a fit."""

USUAL_Q = (0.0, 25.0)
"""Å⁻¹, where neither the settings nor the archive say what was measured."""


def archive_series(
    index: ArchiveIndex,
    frames: FrameSeries,
    predictions: Predictions,
    found: Decomposition,
    rankings: Sequence[Ranking],
    bundle: Bundle,
    settings: RefineSettings,
    q_range: tuple[float, float],
) -> Series:
    """Usable frames on the model's grid, as far as it lies in the range of the fit.

    The model's grid is kept, as its points are as close as the data hold detail, or nearly so; finer ones would be
    interpolated. Frames that are noise, amorphous, or like nothing in the catalogue have no candidates.

    Raises
    ------
    PatternError
        If the model's grid has nothing in the range of the fit.
    """
    r = bundle.info.grid
    inside = (r >= settings.r_min - 1e-9) & (r <= settings.r_max + 1e-9)
    if inside.sum() < 2:
        raise PatternError(
            "empty_range",
            f"the model's grid goes from {r[0]:g} to {r[-1]:g} Å and the fit from {settings.r_min:g} to "
            f"{settings.r_max:g} Å; set refine.fit.r_min and refine.fit.r_max to a range within the grid",
        )
    grid = PdfGrid(float(r[inside][0]), float(r[inside][-1]), float((r[-1] - r[0]) / (len(r) - 1)))
    rows = np.searchsorted(predictions.frames, frames.frames)
    labels = np.where(np.isin(predictions.verdict[rows], WITH_CANDIDATES)[:, None], predictions.classes[rows], -1)
    phases, places = _phases(labels, rankings, bundle)
    width = max((len(one.candidates) for one in rankings), default=0)
    of_components = np.full((len(rankings), width), NO_CANDIDATE)
    for number, ranking in enumerate(rankings):
        for rank, candidate in enumerate(ranking.candidates):
            of_components[number, rank] = phases[(candidate.structure_ids[0],)]
    name, unit, values = along(index)
    return Series(
        grid=grid,
        q_range=q_range,
        values=np.ascontiguousarray(frames.rows(0, len(frames))[:, inside]),
        names=tuple(index.name(int(frame)) for frame in frames.frames),
        structures={key: bundle.structure(key) for one in phases for key in one},
        phases=tuple(phases),
        candidates=places[labels],
        components=found.components.curves[:, inside].astype(np.float32),
        component_candidates=of_components,
        coordinate=values[frames.frames],
        coordinate_name=name,
        coordinate_unit=unit,
    )


def _phases(
    labels: NDArray[np.int32], rankings: Sequence[Ranking], bundle: Bundle
) -> tuple[dict[Phases, int], NDArray[np.int64]]:
    """All candidates with their numbers, and the number of each class (the last entry serves "no candidate")."""
    phases: dict[Phases, int] = {}
    places = np.full(len(bundle.classes) + 1, NO_CANDIDATE)
    for label in np.unique(labels[labels >= 0]).tolist():
        places[label] = phases.setdefault((bundle.classes[label].representative,), len(phases))
    for ranking in rankings:
        for candidate in ranking.candidates:
            phases.setdefault((candidate.structure_ids[0],), len(phases))
    return phases, places


def along(index: ArchiveIndex) -> tuple[str, str, NDArray[np.float64]]:
    """Name, unit and values of what the frames go along: the first variable that is known throughout and changes."""
    for one in index.variables:
        if np.isfinite(one.values).all() and len(one.values) > 1 and np.ptp(one.values) > 0:
            return one.name, one.unit, one.values
    return "frame", "", np.arange(index.n_frames, dtype=float)

"""The refinements of an archive: of usable frames onto all frames, and some of them for figures."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.frame_shards import FrameSeries
from hpc_mlsm.archive.frames import ArchiveIndex, called
from hpc_mlsm.decomposition.decomposition import Decomposition
from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.refinement.gathered import GatheredFits, gather
from hpc_mlsm.refinement.rows import SEPARATOR
from hpc_mlsm.refinement.series import Series, read_series
from hpc_mlsm.report.archive_answer import ShownFit
from hpc_mlsm.report.content import CandidateFit
from hpc_mlsm.stages.archive_cells import cell_changes, cells_note
from hpc_mlsm.stages.archive_series import along
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.refine import SERIES

SHOWN = 3
"""Best fits that are drawn, and worst ones."""


@dataclass(frozen=True, eq=False)
class ArchiveFits:
    """Refinements of all frames, and those that are drawn; ``gathered`` is None where nothing was refined.

    ``notes`` is what deserves a look.
    """

    gathered: GatheredFits | None = None
    components: tuple[ShownFit, ...] = ()
    best: tuple[ShownFit, ...] = ()
    worst: tuple[ShownFit, ...] = ()
    notes: tuple[str, ...] = ()


def archive_fits(
    context: RunContext,
    index: ArchiveIndex,
    frames: FrameSeries,
    classes: tuple[ClassEntry, ...],
    found: Decomposition | None,
) -> ArchiveFits:
    """What the refine stage left in the run, as far as it is of these frames."""
    folder = context.run.refinement
    shards = sorted(folder.glob("shards-*/chain-*.parquet"))
    if not shards or not (folder / SERIES).is_file():
        return ArchiveFits()
    series = read_series(folder / SERIES)
    if len(series) != len(frames):
        context.note("report", "the refinement is of other frames and is left out; run refine again")
        return ArchiveFits()
    fits = gather(shards, len(series), len(series.grid))
    labels = {one.id: f"{one.formula} ({one.space_group_symbol})" for entry in classes for one in entry.members}
    where = _places(index, frames)
    order = np.argsort(np.where(np.isfinite(fits.r_w), fits.r_w, np.inf), kind="stable")
    fitted = order[: int(np.isfinite(fits.r_w).sum())]
    shown = [_shown(series, fits, int(row), where[row], labels) for row in (*fitted[:SHOWN], *fitted[::-1][:SHOWN])]
    parts = sorted(folder.glob("shards-*/component-*.parquet"))
    components: tuple[ShownFit, ...] = ()
    if parts and len(series.components) and found is not None:
        own = gather(parts, len(series.components), len(series.grid))
        of_components = replace(series, values=series.components, names=_numbered(len(series.components)))
        components = tuple(
            replace(_shown(of_components, own, row, "", labels), what="component")
            for row in range(len(own))
            if np.isfinite(own.r_w[row])
        )
    best, worst = shown[: len(shown) // 2], shown[len(shown) // 2 :]
    note = cells_note(cell_changes(series.structures, fits), fits, classes)
    on_all = _on_all_frames(fits, frames.frames, index.n_frames)
    return ArchiveFits(on_all, components, tuple(best), tuple(worst), (note,) if note else ())


def _numbered(k: int) -> tuple[str, ...]:
    return tuple(f"component {number}" for number in range(1, k + 1))


def _places(index: ArchiveIndex, frames: FrameSeries) -> list[str]:
    name, unit, values = along(index)
    return [f"{name} {values[frame]:.5g} {unit}".strip() for frame in frames.frames.tolist()]


def _shown(series: Series, fits: GatheredFits, row: int, where: str, labels: dict[str, str]) -> ShownFit:
    measured = series.values[row].astype(float)
    curve = fits.calculated[row].astype(float)
    label = SEPARATOR.join(labels.get(key, key) for key in str(fits.phases[row]).split(SEPARATOR))
    values = {key: (float(fits.values[key][row]), fits.units[key]) for key in fits.values}
    known = {key: one for key, one in values.items() if np.isfinite(one[0])}
    correlation = float(np.corrcoef(measured, curve)[0, 1])
    errors = {key: float(fits.uncertainties[key][row]) for key in known}
    fit = CandidateFit(label, curve, 1.0, float(fits.r_w[row]), correlation, known, uncertainties=errors)
    return ShownFit(called(series.names[row]), where, series.grid.r, measured, fit)


def _on_all_frames(fits: GatheredFits, used: NDArray[np.int64], n: int) -> GatheredFits:
    """Fits of the usable frames as fits of all n frames, without their curves."""

    def spread(values: NDArray[Any], empty: Any) -> NDArray[Any]:
        result = np.full(n, empty, dtype=values.dtype)
        result[used] = values
        return result

    return GatheredFits(
        kind=spread(fits.kind, ""),
        phases=spread(fits.phases, ""),
        reason=spread(fits.reason, ""),
        notes=spread(fits.notes, ""),
        r_w=spread(fits.r_w, np.nan),
        converged=spread(fits.converged, False),
        fits=spread(fits.fits, 0),
        doubtful=spread(fits.doubtful, False),
        values={key: spread(one, np.nan) for key, one in fits.values.items()},
        uncertainties={key: spread(one, np.nan) for key, one in fits.uncertainties.items()},
        at_bound={key: spread(one, False) for key, one in fits.at_bound.items()},
        units=fits.units,
        calculated=np.empty((n, 0), dtype=np.float32),
    )

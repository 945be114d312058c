"""What is to be refined: a series made of measured patterns, and of the candidates that a run predicted for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.archive_settings import ArchiveSettings
from hpc_mlsm.archive.frames import ArchiveIndex, FrameReject, Variable
from hpc_mlsm.archive.opening import open_archive, read_frames
from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.resample import to_grid
from hpc_mlsm.errors import PatternError, RunError
from hpc_mlsm.models.bundle import load_bundle
from hpc_mlsm.refinement.chain import Phases
from hpc_mlsm.refinement.refine import fit_grid
from hpc_mlsm.refinement.series import NO_CANDIDATE, Series
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfGrid
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.structure import Structure

FRAMES_AT_ONCE = 1024

USUAL_Q = (0.0, 25.0)
"""Å⁻¹, where neither the settings nor the header say what was measured."""


@dataclass(frozen=True, eq=False)
class SeriesInput:
    """A series, and the frames of it that cannot be used, whose curves are NaN."""

    series: Series
    rejects: tuple[FrameReject, ...]


def series_of_files(
    paths: Sequence[str | Path],
    candidates: Sequence[Phases],
    structures: Mapping[str, Structure],
    settings: RefineSettings,
    archive: ArchiveSettings | None = None,
) -> SeriesInput:
    """All frames of an archive (files, folders, a zip or tar file, a stack), with the same candidates.

    Raises
    ------
    PatternError
        If it cannot be read, is not of PDFs, or no frame can be used.
    """
    index = open_archive(paths, archive, assumed="pdf", one_by_one=True)
    return series_of_archive(index, [candidates] * index.n_frames, structures, settings)


def series_of_run(run: RunDirectory, settings: RefineSettings) -> SeriesInput:
    """The patterns that a run classified, with the candidates that it predicted.

    Raises
    ------
    RunError
        If it has not predicted anything.
    """
    import pyarrow.parquet as pq

    table = run.predictions / "predictions.parquet"
    if not table.is_file():
        raise RunError(f"{table} is missing: there are no candidates to refine; predict measured patterns first")
    rows = pq.read_table(table, columns=["pattern", "rank", "structure_ids"]).to_pylist()
    ranked: dict[str, list[Phases]] = {}
    for row in sorted(rows, key=lambda one: int(one["rank"])):
        ranked.setdefault(row["pattern"], []).append((row["structure_ids"][0],))
    index = open_archive(list(dict.fromkeys(row["pattern"] for row in rows)), assumed="pdf", one_by_one=True)
    bundle = load_bundle(run.model)
    structures = {key: bundle.structure(key) for phases in ranked.values() for one in phases for key in one}
    return series_of_archive(index, [ranked[name] for name in index.members], structures, settings)


def series_of_archive(
    index: ArchiveIndex,
    candidates: Sequence[Sequence[Phases]],
    structures: Mapping[str, Structure],
    settings: RefineSettings,
    components: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    component_candidates: Sequence[Sequence[Phases]] = (),
) -> SeriesInput:
    """All frames of an archive on the grid of the fit.

    The grid covers what the first frame that can be read does of the range of the fit.

    Parameters
    ----------
    index : ArchiveIndex
        Of PDFs.
    candidates : sequence (frames,) of sequences of Phases
        The likeliest first; frames without any are not fitted.
    structures : mapping
        All that candidates name, by id.
    settings : RefineSettings
    components : (array (m,), array (c, m)), optional
        Curves of a decomposition, and the r (Å) that they are on.
    component_candidates : sequence (c,) of sequences of Phases

    Raises
    ------
    PatternError
        If no frame can be used, or the archive is not of PDFs.
    """
    if index.kind != "pdf":
        raise PatternError("wrong_axis", f"{index.source}: an archive of {index.kind} patterns; refinement is of PDFs")
    values: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
    rejects: list[FrameReject] = []
    grid, q_range = None, USUAL_Q
    for start in range(0, index.n_frames, FRAMES_AT_ONCE):
        block = read_frames(index, start, start + FRAMES_AT_ONCE)
        rejects += block.rejects
        for curves in block.curves:
            if grid is None:
                q_range = q_range_of(curves.like, settings)
                scale = 10.0 if curves.like.unit == "nm" else 1.0
                grid = fit_grid(scale * float(curves.x[0]), scale * float(curves.x[-1]), q_range[1], settings)
                values = np.full((index.n_frames, len(grid)), np.nan, dtype=np.float32)
            for row, frame in enumerate(curves.frames):
                try:
                    values[frame] = to_grid(curves.pattern(row, index.name(int(frame))), grid.r).values
                except PatternError as error:
                    rejects.append(FrameReject.of(int(frame), error))
    if grid is None or not np.isfinite(values).any():
        first = f"; the first: {rejects[0].detail}" if rejects else ""
        raise PatternError("none_usable", f"{index.source}: none of {index.n_frames} frames can be refined{first}")
    phases, indices = numbered([*candidates, *component_candidates])
    variable = _along(index)
    series = Series(
        grid=grid,
        q_range=q_range,
        values=values,
        names=tuple(index.name(frame) for frame in range(index.n_frames)),
        structures={key: structures[key] for key in sorted({key for one in phases for key in one})},
        phases=phases,
        candidates=indices[: index.n_frames],
        components=_components(components, grid),
        component_candidates=indices[index.n_frames :],
        coordinate=None if variable is None else variable.values,
        coordinate_name="frame" if variable is None else variable.name,
        coordinate_unit="" if variable is None else variable.unit,
    )
    return SeriesInput(series, tuple(sorted(rejects, key=lambda one: one.frame)))


def _components(
    components: tuple[NDArray[np.float64], NDArray[np.float64]] | None, grid: PdfGrid
) -> NDArray[np.float32]:
    """Curves of a decomposition on the grid of the fit."""
    if components is None:
        return np.zeros((0, len(grid)), dtype=np.float32)
    r, curves = components
    patterns = [Pattern(f"component {k}", r, curve, "r", "angstrom") for k, curve in enumerate(curves)]
    return np.array([to_grid(one, grid.r).values for one in patterns], dtype=np.float32).reshape(-1, len(grid))


def _along(index: ArchiveIndex) -> Variable | None:
    """The variable that the series goes along: the first that is known of every frame."""
    return next((one for one in index.variables if np.isfinite(one.values).all()), None)


def q_range_of(pattern: Pattern, settings: RefineSettings) -> tuple[float, float]:
    """Range of momentum transfer, Å⁻¹: as set, or else as the header says, or else the usual one."""
    low = settings.q_min if settings.q_min is not None else pattern.number("q_min")
    high = settings.q_max if settings.q_max is not None else pattern.number("q_max")
    return USUAL_Q[0] if low is None else low, high or USUAL_Q[1]


def numbered(candidates: Sequence[Sequence[Phases]]) -> tuple[tuple[Phases, ...], NDArray[np.int64]]:
    """All candidates once, and those of each frame as indices (n, k), -1 where there are fewer."""
    number: dict[Phases, int] = {}
    for row in candidates:
        for one in row:
            number.setdefault(one, len(number))
    indices = np.full((len(candidates), max(map(len, candidates), default=0)), NO_CANDIDATE)
    for k, row in enumerate(candidates):
        indices[k, : len(row)] = [number[one] for one in row]
    return tuple(number), indices

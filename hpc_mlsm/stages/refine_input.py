"""What is to be refined: a series made of measured patterns, and of the candidates that a run predicted for them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.folders import find_patterns
from hpc_mlsm.archive.pattern import Pattern, PatternReject
from hpc_mlsm.archive.readers import read_patterns
from hpc_mlsm.archive.resample import to_grid
from hpc_mlsm.errors import PatternError, RunError
from hpc_mlsm.models.bundle import load_bundle
from hpc_mlsm.refinement.chain import Phases
from hpc_mlsm.refinement.refine import fit_grid
from hpc_mlsm.refinement.series import NO_CANDIDATE, Series
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.structure import Structure

USUAL_Q = (0.0, 25.0)
"""Å⁻¹, where neither the settings nor the header say what was measured."""

_KELVIN = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)K(?![A-Za-z0-9])")


@dataclass(frozen=True)
class SeriesInput:
    """A series, and the patterns that could not be part of it."""

    series: Series
    rejects: tuple[PatternReject, ...]


def series_of_files(
    paths: Sequence[Path], candidates: Sequence[Phases], structures: Mapping[str, Structure], settings: RefineSettings
) -> SeriesInput:
    """Pattern files, all with the same candidates.

    Raises
    ------
    PatternError
        If no file is found, or none can be used.
    """
    patterns, rejects = read_patterns(find_patterns(paths))
    made = series_of_patterns(patterns, [list(candidates)] * len(patterns), structures, settings)
    return SeriesInput(made.series, (*rejects, *made.rejects))


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
    bundle = load_bundle(run.model)
    structures = {key: bundle.structure(key) for phases in ranked.values() for one in phases for key in one}
    files = find_patterns([Path(name) for name in dict.fromkeys(row["pattern"] for row in rows)])
    patterns, rejects = read_patterns(files)
    made = series_of_patterns(patterns, [ranked[one.source] for one in patterns], structures, settings)
    return SeriesInput(made.series, (*rejects, *made.rejects))


def series_of_patterns(
    patterns: Sequence[Pattern],
    candidates: Sequence[Sequence[Phases]],
    structures: Mapping[str, Structure],
    settings: RefineSettings,
) -> SeriesInput:
    """Patterns on one grid, each with its candidates.

    The grid covers what the first pattern does of the range of the fit; patterns that do not cover it are rejected.

    Raises
    ------
    PatternError
        If none can be used.
    """
    if not patterns:
        raise PatternError("empty_folder", "no measured pattern could be read; see the rejects")
    q_range = q_range_of(patterns[0], settings)
    scale = 10.0 if patterns[0].unit == "nm" else 1.0
    grid = fit_grid(scale * float(patterns[0].x[0]), scale * float(patterns[0].x[-1]), q_range[1], settings)
    values, kept, rejects = [], [], []
    for k, pattern in enumerate(patterns):
        try:
            values.append(to_grid(pattern, grid.r).values)
            kept.append(k)
        except PatternError as error:
            rejects.append(PatternReject.from_error(pattern.name, pattern.source, error))
    if not kept:
        raise PatternError(
            "none_usable", f"none of {len(patterns)} patterns can be refined; the first: {rejects[0].detail}"
        )
    phases, indices = numbered([candidates[k] for k in kept])
    used = {key for one in phases for key in one}
    temperatures = np.array([_temperature(patterns[k]) for k in kept])
    series = Series(
        grid=grid,
        q_range=q_range,
        values=np.array(values, dtype=np.float32),
        names=tuple(patterns[k].name for k in kept),
        structures={key: structures[key] for key in sorted(used)},
        phases=phases,
        candidates=indices,
        coordinate=temperatures,
        coordinate_name="temperature",
        coordinate_unit="K",
    )
    return SeriesInput(series, tuple(rejects))


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


def _temperature(pattern: Pattern) -> float:
    """K, from the header or the name (``…_150K``); NaN where neither says it."""
    given = pattern.number("temperature")
    named = _KELVIN.search(pattern.name.replace("_", " "))
    return given if given is not None else float(named[1]) if named else float("nan")

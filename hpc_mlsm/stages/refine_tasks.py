"""Tasks of the refine stage, and what a worker does with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.refinement.chain import Chain, FrameFit, Phases, refine_chain
from hpc_mlsm.refinement.refine import FitData, Refiner
from hpc_mlsm.refinement.result import Values
from hpc_mlsm.refinement.rows import SEPARATOR, read_table, row_of, write_rows
from hpc_mlsm.refinement.series import Series, read_series
from hpc_mlsm.refinement.settings import RefineSettings

REFINERS_KEPT = 64
"""Structures that a worker keeps ready; their lists of pairs are a few MB each."""


@dataclass(frozen=True)
class RefineTask:
    """Components, or chains of frames, from number ``first`` up to ``last``; paths travel, not arrays."""

    what: Literal["component", "chain"]
    first: int
    last: int
    series: Path
    folder: Path
    length: int
    units: int
    cost: float
    rules: Chain
    fit: RefineSettings

    @property
    def id(self) -> str:
        """Name of the task, and of its shard."""
        return f"{self.what}-{self.first:06d}-{self.last:06d}"

    @property
    def shard(self) -> Path:
        """What it writes."""
        return self.folder / f"{self.id}.parquet"

    def split(self) -> tuple["RefineTask", ...]:
        """Two halves, to find a frame that kills its worker."""
        if self.last - self.first < 2:
            return ()
        middle = (self.first + self.last) // 2
        half = replace(self, units=max(1, self.units // 2), cost=self.cost / 2)
        return replace(half, last=middle), replace(half, first=middle)


def numbers_of(shard: Path) -> tuple[str, int, int]:
    """What a shard holds, by its name: kind, first, and one beyond the last."""
    what, first, last = shard.stem.split("-")
    return what, int(first), int(last)


def refine_task(task: RefineTask) -> int:
    """Refine the frames of a task and write their shard; runs on a worker. Returns the number of fits."""
    rows: list[dict[str, Any]] = []
    if task.what == "component":
        series = read_series(task.series, 0, 0)
        for k in range(task.first, task.last):
            candidates = [series.candidates_of(series.component_candidates[k])]
            (done,) = _refined(series, series.components[k : k + 1], candidates, [f"component {k}"], task, {})
            kind = "component" if done.kind == "representative" else done.kind
            rows.append(row_of(replace(done, kind=kind), k))
    else:
        starts = component_values(task.folder)
        for k in range(task.first, task.last):
            series = read_series(task.series, k * task.length, (k + 1) * task.length)
            candidates = [series.candidates_of(one) for one in series.candidates]
            found = _refined(series, series.values, candidates, series.names, task, starts)
            rows += [row_of(one, k * task.length) for one in found]
    write_rows(task.shard, rows)
    return sum(int(row["fits"]) for row in rows)


def component_values(folder: Path) -> dict[Phases, Values]:
    """Values of the best fit of each candidate to a component."""
    found: dict[Phases, tuple[float, Values]] = {}
    for path in sorted(folder.glob("component-*.parquet")):
        for row in read_table(path).to_pylist():
            phases = tuple(row["phases"].split(SEPARATOR))
            if row["keys"] and row["r_w"] < found.get(phases, (np.inf, {}))[0]:
                found[phases] = row["r_w"], dict(zip(row["keys"], row["values"], strict=True))
    return {phases: values for phases, (_, values) in found.items()}


def _refined(
    series: Series,
    curves: NDArray[np.float32],
    candidates: Sequence[Sequence[Phases]],
    names: Sequence[str],
    task: RefineTask,
    starts: dict[Phases, Values],
) -> list[FrameFit]:
    def refiner(phases: Phases) -> Refiner:
        return _ready(task.series, series.fingerprint_of(phases), phases, task.fit)

    data = [
        FitData(series.grid, curve.astype(np.float64), *series.q_range, name=name)
        for curve, name in zip(curves, names, strict=True)
    ]
    return refine_chain(data, candidates, refiner, task.rules, starts)


@lru_cache(maxsize=REFINERS_KEPT)
def _ready(path: Path, contents: str, phases: Phases, settings: RefineSettings) -> Refiner:
    """Structures of a candidate with their pairs; ``contents`` tells structures of one id from others."""
    series = read_series(path, 0, 0)
    return Refiner([series.structures[key] for key in phases], series.grid, series.q_range, settings)


def tasks_of(
    what: Literal["component", "chain"], missing: Sequence[int], per_task: int, like: RefineTask, n_frames: int
) -> Iterator[RefineTask]:
    """Tasks over the missing numbers, each of neighbouring ones; ``n_frames`` are in all chains together."""
    start = 0
    while start < len(missing):
        end = start + 1
        while end < len(missing) and missing[end] == missing[end - 1] + 1 and end - start < per_task:
            end += 1
        share, first, last = (end - start) / per_task, missing[start], missing[end - 1] + 1
        units = last - first if what == "component" else min(last * like.length, n_frames) - first * like.length
        yield replace(like, what=what, first=first, last=last, units=units, cost=like.cost * share)
        start = end

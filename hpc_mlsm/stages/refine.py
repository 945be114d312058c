"""Refine: structures against a series of measured frames, within a budget, into shards of results."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hpc_mlsm import __version__
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.durable import is_stale_part, write_durably
from hpc_mlsm.errors import ExecutorError, HpcMlsmError, RunError, StoreError
from hpc_mlsm.refinement.budget import BudgetPlan, plan_budget
from hpc_mlsm.refinement.chain import Chain
from hpc_mlsm.refinement.cost import seconds_per_fit
from hpc_mlsm.refinement.gathered import NOT_DONE, gather
from hpc_mlsm.refinement.result_files import write_results
from hpc_mlsm.refinement.rows import read_table
from hpc_mlsm.refinement.series import Series, read_series
from hpc_mlsm.refinement.settings import SeriesSettings
from hpc_mlsm.runtime.events import SetAside, stage_events
from hpc_mlsm.runtime.task_run import TaskError
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.refine_tasks import RefineTask, numbers_of, refine_task, tasks_of

STAGE = "refine"
SERIES = "series.h5"
QUARANTINE = "quarantine.json"

REFINEMENT_VERSION = 1
"""Raised when fits come out differently, so that stored ones are made anew."""

MANY_TASKS = 64
"""A short series is divided into as many tasks, where its chains allow it."""

FRAMES_PER_TASK = 400

MAX_WRITE_FAILURES = 3
"""After so many shards that could not be written the stage stops."""


@dataclass(frozen=True)
class RefineSummary:
    """What the stage did."""

    frames: int
    components: int
    already_there: int
    fits: int
    fitted: int
    refitted: int
    refused: int
    set_aside: int
    median_r_w: float
    plan: BudgetPlan


def run(context: RunContext) -> RefineSummary:
    """Refine the series of a run; see ``refine_series``.

    Raises
    ------
    RunError
        If the run has no series.
    """
    folder = context.run.refinement
    if not (folder / SERIES).is_file():
        raise RunError(
            f"{folder / SERIES} is missing: nothing was made ready for refinement; predict measured patterns first"
        )
    return refine_series(folder, context.config.refine, context)


def budget_of(series: Series, settings: SeriesSettings) -> BudgetPlan:
    """What the budget buys for a series.

    Raises
    ------
    PlanError
        If it is too small for anything.
    """
    each = {key: seconds_per_fit(one, settings.fit) for key, one in series.structures.items()}
    of_phases = [sum(each[key] for key in phases) for phases in series.phases]
    used = series.candidates[series.candidates >= 0]
    seconds = float(np.mean([of_phases[int(k)] for k in used])) if used.size else 0.01
    return plan_budget(len(series), len(series.components), settings.budget, seconds)


def refine_series(folder: Path, settings: SeriesSettings, context: RunContext) -> RefineSummary:
    """Refine what is missing of the series in a folder, and write its tables.

    Components come first, as chains of frames start from their values. Finished shards of a run that was killed are
    kept, damaged ones are done again; frames that kill their worker are set aside.

    Raises
    ------
    RunError
        If tasks failed.
    PlanError
        If the budget is too small.
    """
    series = read_series(folder / SERIES)
    plan = budget_of(series, settings)
    work = _Work(folder, fingerprint(series.fingerprint, settings, asdict(plan), REFINEMENT_VERSION), context)
    like = _like(folder, work.shards, settings, plan, len(series))
    fits = work.run("component", len(series.components), 1, like, len(series))
    already = len(work.done("chain"))
    fits += work.run("chain", plan.n_chains, max(1, like.units // plan.chain), like, len(series))
    found = gather(work.paths("chain"), len(series), len(series.grid))
    write_results(folder, series, found, {"config_hash": work.shards.name, "hpc_mlsm": __version__})
    work.drop_others()
    return RefineSummary(
        frames=len(series),
        components=len(series.components),
        already_there=min(len(series), already * plan.chain),
        fits=fits,
        fitted=int(np.isfinite(found.r_w).sum()),
        refitted=int((found.kind == "refitted").sum()),
        refused=int((found.kind == "refused").sum()),
        set_aside=int((found.kind == NOT_DONE).sum()),
        median_r_w=float(np.nanmedian(found.r_w)) if np.isfinite(found.r_w).any() else float("nan"),
        plan=plan,
    )


def _like(folder: Path, shards: Path, settings: SeriesSettings, plan: BudgetPlan, n_frames: int) -> RefineTask:
    """A task of the usual number of frames, the same whatever the number of workers."""
    frames = max(plan.chain, min(FRAMES_PER_TASK, -(-n_frames // MANY_TASKS)))
    budget = settings.budget
    return RefineTask(
        what="chain",
        first=0,
        last=0,
        series=(folder / SERIES).resolve(),
        folder=shards.resolve(),
        length=plan.chain,
        units=frames,
        cost=frames * plan.least / max(n_frames, 1) * plan.seconds_per_fit,
        rules=Chain(budget.candidates, budget.worsen, budget.mixtures, plan.stride, plan.refits),
        fit=settings.fit,
    )


class _Work:
    """Shards of one series under one set of settings: which are there, which are not, and making those."""

    def __init__(self, folder: Path, wanted_hash: str, context: RunContext) -> None:
        self.folder, self.context = folder, context
        self.shards = folder / f"shards-{wanted_hash}"
        self.shards.mkdir(parents=True, exist_ok=True)
        self._quarantine = self.shards / QUARANTINE
        try:
            self.aside: list[dict[str, str]] = json.loads(self._quarantine.read_text())
        except (FileNotFoundError, ValueError):
            self.aside = []
        self._sweep()

    def paths(self, what: str) -> list[Path]:
        """Shards of components or of chains."""
        return sorted(self.shards.glob(f"{what}-*.parquet"))

    def done(self, what: str) -> set[int]:
        """Numbers of the components or chains that have results."""
        found: set[int] = set()
        for path in self.paths(what):
            _, first, last = numbers_of(path)
            found |= set(range(first, last))
        return found

    def run(self, what: Literal["component", "chain"], n: int, per_task: int, like: RefineTask, n_frames: int) -> int:
        """Do what is missing of n components, or of n chains of all frames; returns the number of fits."""
        closed = self.done(what) | {int(row["number"]) for row in self.aside if row["what"] == what}
        tasks = list(tasks_of(what, [k for k in range(n) if k not in closed], per_task, like, n_frames))
        if not tasks:
            return 0
        fits, failures = 0, list[HpcMlsmError]()
        with stage_events(
            self.context.on_event,
            STAGE,
            n_tasks=len(tasks),
            units="components" if what == "component" else "frames",
            n_units=sum(task.units for task in tasks),
            **self.context.size,
        ) as listener:
            for outcome in self.context.executor.map_tasks(refine_task, tasks, stage=STAGE, on_event=listener):
                if outcome.error is None and outcome.value is not None:
                    fits += outcome.value
                    continue
                error = outcome.error or RunError("the task ended without a result")
                if isinstance(error, ExecutorError) and not isinstance(error, TaskError) and _single(outcome.task):
                    self._set_aside(outcome.task, error)
                else:
                    failures.append(error)
                if sum(isinstance(failure, StoreError) for failure in failures) >= MAX_WRITE_FAILURES:
                    break  # a disk that takes no more shards will take none of the rest
        if failures:
            raise RunError(
                f"{len(failures)} of {len(tasks)} refinement tasks failed; the first failure: {failures[0]}"
            ) from failures[0]
        return fits

    def drop_others(self) -> None:
        """Remove shards of other settings and of other series."""
        for other in self.folder.glob("shards-*"):
            if other != self.shards:
                shutil.rmtree(other, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a killed worker left half written, and shards that were cut short or altered."""
        for path in self.shards.iterdir():
            if is_stale_part(path):
                path.unlink(missing_ok=True)
        for path in [*self.paths("component"), *self.paths("chain")]:
            try:
                read_table(path)
            except StoreError as error:
                self.context.note(STAGE, f"{error}; it is done again")
                path.unlink(missing_ok=True)

    def _set_aside(self, task: RefineTask, error: HpcMlsmError) -> None:
        where = f"{task.what} {task.first}"
        if task.what == "chain":
            where += f" (frames {task.first * task.length} to {(task.first + 1) * task.length - 1})"
        self.context.on_event(SetAside(stage=STAGE, id=where, reason="killed_worker", detail=str(error)))
        row = {"what": task.what, "number": str(task.first), "reason": "killed_worker", "detail": str(error)}
        self.aside.append(row)
        write_durably(self._quarantine, json.dumps(self.aside, indent=1).encode())


def _single(task: RefineTask) -> bool:
    return task.last - task.first == 1

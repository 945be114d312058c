"""What an executor adds to the simulate stage: its real tasks, in this process and on workers, by turns."""

import statistics
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from executors_pool import Load

from hpc_mlsm.config.load import parse_config
from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.plan.tasks import SimulateTask, plan_simulation
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.stages import ingest
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.simulate import config_hash, project_costs, selected_keys, simulate_task


def starter_tasks(folder: Path, variants: int) -> list[SimulateTask]:
    """Tasks of the simulate stage for the starter set."""
    config = parse_config(
        {
            "name": "starter",
            "source": {"starter": True},
            "simulate": {"variants": variants},
            "executor": {"kind": "inline"},
        },
        (),
    )
    run = RunDirectory(folder)
    with open_run(run, config, lambda _: None) as context:
        ingest.run(context)
    ids = [key for key, _ in selected_keys(run, config.select)]
    store = folder / "benchmark-store"
    store.mkdir(exist_ok=True)
    return plan_simulation(
        project_costs(run, ids, config.simulate),
        config.simulate,
        config_hash(config.simulate),
        catalogue=run.catalogue.resolve(),
        store=store.resolve(),
    )


def by_turns(executors: dict[str, Executor], tasks: list[SimulateTask], repeats: int) -> list[dict[str, Any]]:
    """Run the tasks under each executor by turns, so that what else the machine does hits all alike; medians.

    ``overhead`` is the wall time over that of inline, shared among the workers, less one; ``cpu_overhead`` the same
    of the processor seconds of all processes; ``between`` the share of the workers' time outside tasks, in which
    inline and workers do not have to be compared.
    """
    figures: dict[str, list[dict[str, float]]] = defaultdict(list)
    for executor in executors.values():
        # Starts, imports and compilation are left out.
        warm = [replace(task, id=f"warm-{n}") for n, task in enumerate(tasks[-1:] * 2 * executor.capacity)]
        list(executor.map_tasks(simulate_task, warm, stage="warm"))
    for _ in range(repeats):
        for name, executor in executors.items():
            figures[name].append(_measure(executor, tasks))
    medians = {
        name: {key: statistics.median(one[key] for one in turns) for key in turns[0]} for name, turns in figures.items()
    }
    inline = medians["inline"]
    rows = []
    for name, executor in executors.items():
        found, workers = medians[name], executor.capacity
        rows.append(
            {
                "executor": name,
                "workers": workers,
                "tasks": len(tasks),
                "patterns": sum(task.units for task in tasks),
                **found,
                "between": 1 - found["in_tasks_s"] / workers / found["wall_s"],
                "overhead": found["wall_s"] * workers / inline["wall_s"] - 1,
                "cpu_overhead": found["cpu_s"] / inline["cpu_s"] - 1,
                "efficiency": inline["wall_s"] / workers / found["wall_s"],
            }
        )
    return rows


def inline_and(name: str, executor: Executor) -> dict[str, Executor]:
    """An executor, and the one to compare it with."""
    return {"inline": InlineExecutor(), name: executor}


def _measure(executor: Executor, tasks: list[SimulateTask]) -> dict[str, float]:
    before, start = Load.of(executor), time.perf_counter()
    outcomes = list(executor.map_tasks(simulate_task, tasks, stage="simulate"))
    wall, after = time.perf_counter() - start, Load.of(executor)
    for outcome in outcomes:
        if outcome.error is not None:
            raise ExecutorError(f"task {outcome.task.id} failed: {outcome.error}")
    in_tasks = sum(outcome.seconds for outcome in outcomes)
    return {"wall_s": wall, "in_tasks_s": in_tasks, "cpu_s": after.all_s - before.all_s}

"""How many tasks a second pass through driver and scheduler, what each costs them, and what they remember of it."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from executors_pool import Load, SimulatedPool

from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.plan.tasks import SimulateTask
from hpc_mlsm.runtime.dask_executor import DaskExecutor
from hpc_mlsm.stages.simulate import TaskResult
from hpc_mlsm.store.schema import ShardRecord, StructureRows


@dataclass(frozen=True)
class EmptyTask:
    """A task that does nothing."""

    id: str
    cost: float = 0.0
    units: int = 1


def sleep(seconds: float, task: EmptyTask) -> None:
    """Do nothing for a while."""
    time.sleep(seconds)


def result_only(seconds_of_work: float, task: SimulateTask) -> TaskResult:
    """Sleep a share of what simulating would take, and return what the stage returns: one row a structure."""
    time.sleep(task.cost * seconds_of_work)
    rows = tuple(
        StructureRows(key, f"{n:064x}", n * task.rows_each, task.rows_each - 1, n, f"{n:032x}")
        for n, key in enumerate(task.structure_ids)
    )
    record = ShardRecord(task.id, task.config_hash, task.units, len(rows), 10**6, "0" * 32, rows)
    return TaskResult(record, ())


def empty_tasks(n: int) -> Iterator[EmptyTask]:
    """Tasks made as they are asked for."""
    return (EmptyTask(f"task-{number}") for number in range(n))


def rate(executor: DaskExecutor, fn: Any, tasks: Iterable[Any], name: str) -> dict[str, Any]:
    """Map tasks; figures by task."""
    return _figures(executor, name, lambda: _length(executor.map_tasks(fn, tasks, stage=name)))


def peer_rate(executor: DaskExecutor, n: int) -> dict[str, Any]:
    """The same number of empty tasks by Dask alone: all handed over at once, without packing, events or deaths."""
    from dask.distributed import as_completed

    def work() -> int:
        futures = executor.client.map(partial(sleep, 0.0), list(empty_tasks(n)), pure=False)
        with executor.client.as_current():
            return _length(as_completed(futures, with_results=True))

    return _figures(executor, "dask's map and as_completed", work)


def knee(workers: int, seconds: Iterable[float], *, tls: bool = True) -> list[dict[str, Any]]:
    """Tasks that sleep, over simulated workers: how busy these are by the length of a task."""
    rows = []
    with SimulatedPool(workers, tls=tls) as pool:
        rate(pool, partial(sleep, 0.0), empty_tasks(2 * workers), "warm")
        for each in seconds:
            n = max(4 * workers, min(20 * workers, 3000))
            found = rate(pool, partial(sleep, each), empty_tasks(n), f"sleep {each:g} s")
            rows.append(found | {"busy": each * n / workers / found["wall_s"]})
    return rows


def paper_costs(measured: list[StructureCost], n: int) -> list[StructureCost]:
    """Costs of as many structures as asked for: the measured ones over and over, under names of their own."""
    return [
        StructureCost(f"{number:07d}", one.seconds, one.patterns, one.bytes)
        for number, one in ((number, measured[number % len(measured)]) for number in range(n))
    ]


def _figures(executor: DaskExecutor, name: str, work: Any) -> dict[str, Any]:
    before, start = Load.of(executor), time.perf_counter()
    n = work()
    wall, after = time.perf_counter() - start, Load.of(executor)
    return {
        "what": name,
        "workers": executor.capacity,
        "tasks": n,
        "wall_s": wall,
        "tasks_per_s": n / wall,
        "driver_ms": 1e3 * (after.driver_s - before.driver_s) / n,
        "scheduler_ms": 1e3 * (after.scheduler_s - before.scheduler_s) / n,
        "workers_ms": 1e3 * (after.workers_s - before.workers_s) / n,
        "driver_mib": after.driver_rss / 2**20,
        "driver_grew_mib": (after.driver_rss - before.driver_rss) / 2**20,
        "scheduler_mib": after.scheduler_rss / 2**20,
        "scheduler_grew_mib": (after.scheduler_rss - before.scheduler_rss) / 2**20,
    }


def _length(items: Iterable[Any]) -> int:
    counted = enumerate(items, start=1)
    last = deque(counted, maxlen=1)
    return last[0][0] if last else 0

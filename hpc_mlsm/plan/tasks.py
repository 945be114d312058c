"""Tasks of the simulate stage: many structures each, equal in projected cost, largest first."""

import hashlib
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.scattering.kinds import PatternSettings

TASK_SECONDS = 10.0
"""Aim for the length of a task: long beside what handing it out costs, short beside a walltime."""

MAX_ROWS = 50_000
"""Patterns in one shard at most."""

MAX_VALUES = 15_050_000
"""Values in one shard at most, 50 000 patterns of 301 points; what a worker holds in memory follows from it."""

TASKS_PER_WORKER = 4
"""At least this many tasks for each worker, so that the last ones to finish do not keep the others waiting."""


@dataclass(frozen=True)
class SimulateTask:
    """Structures to simulate into one shard. Paths and ids travel, not arrays."""

    id: str
    structure_ids: tuple[str, ...]
    costs: tuple[float, ...]
    rows_each: int
    catalogue: Path
    store: Path
    settings: PatternSettings
    config_hash: str

    @property
    def cost(self) -> float:
        """Projected seconds on one core."""
        return sum(self.costs)

    @property
    def units(self) -> int:
        """Patterns, base patterns included."""
        return self.rows_each * len(self.structure_ids)

    def split(self) -> tuple["SimulateTask", ...]:
        """Two halves, to find a structure that kills its worker."""
        if len(self.structure_ids) < 2:
            return ()
        middle = len(self.structure_ids) // 2
        return tuple(
            replace(self, id=_task_id(ids, self.config_hash), structure_ids=ids, costs=costs)
            for ids, costs in (
                (self.structure_ids[:middle], self.costs[:middle]),
                (self.structure_ids[middle:], self.costs[middle:]),
            )
        )


def plan_simulation(
    costs: Sequence[StructureCost],
    settings: PatternSettings,
    config_hash: str,
    *,
    catalogue: Path,
    store: Path,
    workers: int,
) -> list[SimulateTask]:
    """Divide structures among tasks of about equal projected cost.

    Structures are dealt out largest first, each to the task that has least so far, so that no task is much longer
    than the mean unless one structure alone is.
    """
    if not costs:
        return []
    rows = settings.variants + 1
    total = sum(cost.seconds for cost in costs)
    at_most = rows_at_most(len(settings.grid))
    wanted = max(total / TASK_SECONDS, len(costs) * rows / at_most, TASKS_PER_WORKER * workers)
    n_tasks = max(1, min(len(costs), math.ceil(wanted)))
    most = max(1, at_most // rows)
    ordered = sorted(costs, key=lambda cost: (-cost.seconds, cost.structure_id))
    shares = _deal(ordered, n_tasks, most)
    tasks = [
        SimulateTask(
            id=_task_id(tuple(cost.structure_id for cost in share), config_hash),
            structure_ids=tuple(cost.structure_id for cost in share),
            costs=tuple(cost.seconds for cost in share),
            rows_each=rows,
            catalogue=catalogue,
            store=store,
            settings=settings,
            config_hash=config_hash,
        )
        for share in shares
        if share
    ]
    return sorted(tasks, key=lambda task: (-task.cost, task.id))


def rows_at_most(points: int) -> int:
    """Patterns of so many points that one shard may hold."""
    return max(1, min(MAX_ROWS, MAX_VALUES // points))


def _deal(ordered: Sequence[StructureCost], n_tasks: int, most: int) -> list[list[StructureCost]]:
    """Give each structure to the share with the smallest sum that still has room."""
    shares: list[list[StructureCost]] = [[] for _ in range(n_tasks)]
    heap = [(0.0, index) for index in range(n_tasks)]
    for cost in ordered:
        filled, index = heapq.heappop(heap)
        shares[index].append(cost)
        if len(shares[index]) < most:
            heapq.heappush(heap, (filled + cost.seconds, index))
        if not heap:
            shares.append([])
            heap.append((0.0, len(shares) - 1))
    return shares


def _task_id(structure_ids: tuple[str, ...], config_hash: str) -> str:
    return "simulate-" + hashlib.sha256("\n".join((config_hash, *structure_ids)).encode()).hexdigest()[:12]

"""Tasks of the simulate stage: many structures each, equal in projected cost, largest first."""

import hashlib
import heapq
import math
from collections.abc import Collection, Sequence
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

MANY_TASKS = 256
"""Little work is divided into as many tasks, so that many workers have something to do and end together."""

SHORTEST_S = 0.2
"""But not into shorter ones: writing a shard takes a fiftieth of a second, whatever is in it."""


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
    missing: Collection[str] | None = None,
    aside: Collection[str] = (),
) -> list[SimulateTask]:
    """Divide structures among tasks of about equal projected cost, whatever the number of workers.

    Structures are dealt out largest first, each to the task that has least so far, so that no task is much longer
    than the mean unless one structure alone is. A run that was interrupted gets the tasks again that it did not
    finish, and so makes the shards that it would have made.

    Parameters
    ----------
    costs
        Of all structures of the run.
    missing
        Those of them that are to be simulated; None takes all.
    aside
        Those that are never simulated, having been set aside before.

    Returns
    -------
    list of SimulateTask
        Largest first.
    """
    at_most = rows_at_most(len(settings.grid))
    tasks = _divide(costs, settings.variants + 1, at_most)
    if missing is not None:
        wanted, closed = set(missing), set(aside)
        whole: list[list[StructureCost]] = []
        rest: list[StructureCost] = []
        for share in tasks:
            open_share = [cost for cost in share if cost.structure_id in wanted]
            if all(cost.structure_id in wanted or cost.structure_id in closed for cost in share):
                whole.append(open_share)
            else:
                rest += open_share
        tasks = [share for share in (*whole, *_divide(rest, settings.variants + 1, at_most)) if share]
    planned = [
        SimulateTask(
            id=_task_id(tuple(cost.structure_id for cost in share), config_hash),
            structure_ids=tuple(cost.structure_id for cost in share),
            costs=tuple(cost.seconds for cost in share),
            rows_each=settings.variants + 1,
            catalogue=catalogue,
            store=store,
            settings=settings,
            config_hash=config_hash,
        )
        for share in tasks
    ]
    return sorted(planned, key=lambda task: (-task.cost, task.id))


def number_of_tasks(seconds: float, patterns: int, structures: int, at_most: int = MAX_ROWS) -> int:
    """Into how many tasks so much work is divided, of which none is to have more than ``at_most`` patterns."""
    wanted = max(seconds / TASK_SECONDS, min(MANY_TASKS, seconds / SHORTEST_S), patterns / at_most)
    return max(1, min(structures, math.ceil(wanted)))


def _divide(costs: Sequence[StructureCost], rows: int, at_most: int) -> list[list[StructureCost]]:
    """Shares of about equal cost, none of them empty, for structures of so many patterns each."""
    if not costs:
        return []
    n_tasks = number_of_tasks(sum(cost.seconds for cost in costs), len(costs) * rows, len(costs), at_most)
    ordered = sorted(costs, key=lambda cost: (-cost.seconds, cost.structure_id))
    return [share for share in _deal(ordered, n_tasks, max(1, at_most // rows)) if share]


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

"""The jobs of the Slurm executor while it works: those that end are replaced, and their number follows the work."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dask.distributed import SchedulerPlugin, Status

from hpc_mlsm.runtime.settings import SlurmSettings
from hpc_mlsm.runtime.slurm_jobs import queued_jobs

KEEP_S = 10.0
"""How often it is asked whether all jobs are still there; a busy controller does not like to be asked more often."""

ADAPT_S = 1.0
"""How often the number of jobs is compared with the work; that asks no one."""

FRUITLESS_ROUNDS = 3
"""How often every job may end without having brought a worker before no more are submitted."""


@dataclass(frozen=True)
class JobCount:
    """How many jobs there are at least and at most, of how many workers each, and how long idle ones are kept."""

    least: int
    most: int
    per_job: int
    idle_s: float = math.inf

    @classmethod
    def asked(cls, workers: int, settings: SlurmSettings) -> "JobCount":
        """As the settings ask: the same number all the time, or following the work."""
        per_job, adaptive = settings.workers_per_job, settings.adaptive
        if adaptive is None:
            return cls(-(-workers // per_job), -(-workers // per_job), per_job)
        most = -(-(adaptive.maximum or workers) // per_job)
        return cls(min(-(-adaptive.minimum // per_job), most), most, per_job, adaptive.idle_s)

    @property
    def fixed(self) -> bool:
        """Whether the number does not change."""
        return self.least == self.most

    @property
    def at_first(self) -> int:
        """Jobs to begin with."""
        return max(self.least, 1)


class Arrivals(SchedulerPlugin):
    """Notes which jobs have brought a worker."""

    name = "hpc-mlsm-arrivals"

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """Called by Dask for every worker that comes."""
        self.names.add(str(scheduler.workers[worker].name))

    def take(self, job: str, refused: set[str]) -> bool:
        """Whether a job has brought a worker that was not refused, and forget it: its successor has the same name."""
        found = {name for name in self.names if _job_of(name) == job or name == job}
        self.names -= found
        return bool(found - refused)


class JobKeeper:
    """Submits jobs and cancels them, as long as replacements bring workers.

    Parameters
    ----------
    cluster : SLURMCluster
        What submits the jobs.
    count : JobCount
        How many there shall be.
    arrivals : Arrivals
        Added to the cluster's scheduler.
    demand : callable
        How many tasks run or wait.
    take_refused : callable
        Names of the workers that were refused since it was last asked.
    """

    def __init__(
        self,
        cluster: Any,
        count: JobCount,
        arrivals: Arrivals,
        demand: Callable[[], int],
        take_refused: Callable[[], set[str]],
    ) -> None:
        self._cluster, self._count, self._arrivals = cluster, count, arrivals
        self._demand, self._take_refused = demand, take_refused
        self._fruitless = 0
        self._idle_since: dict[str, float] = {}

    async def submit(self) -> None:
        """Submit one job to learn whether it is accepted, then the others."""
        for wanted in sorted({1, self._count.at_first}):
            await self._have(wanted)

    async def keep(self) -> None:
        """Keep the jobs going; returns when that has become hopeless."""
        looked = time.monotonic()
        while self._fruitless < FRUITLESS_ROUNDS * max(len(self._cluster.worker_spec), 1):
            await asyncio.sleep(KEEP_S if self._count.fixed else min(KEEP_S, ADAPT_S))
            if time.monotonic() - looked >= KEEP_S or self._count.fixed:
                looked = time.monotonic()
                await self._replace()
            if not self._count.fixed:
                await self._adapt()

    async def _have(self, wanted: int) -> None:
        while len(self._cluster.worker_spec) < wanted:
            self._cluster.worker_spec.update(self._cluster.new_worker_spec())
        await self._cluster._correct_state()

    async def _replace(self) -> None:
        jobs = dict(self._cluster.workers)
        queued = await asyncio.get_running_loop().run_in_executor(None, queued_jobs)
        if queued is None:
            return
        refused = self._take_refused()
        for name in [name for name, job in jobs.items() if job.job_id not in queued]:
            self._fruitless = 0 if self._arrivals.take(name, refused) else self._fruitless + 1
            job = self._cluster.workers.pop(name)
            job.status = Status.closed
            if len(self._cluster.worker_spec) > self._wanted():
                del self._cluster.worker_spec[name]
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            # A refusal may be passing, and is counted as a job without a worker.
            await self._cluster._correct_state()

    def _wanted(self) -> int:
        return min(max(-(-self._demand() // self._count.per_job), self._count.least), self._count.most)

    async def _adapt(self) -> None:
        there, wanted = len(self._cluster.worker_spec), self._wanted()
        if wanted > there:
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                await self._have(wanted)
        now = time.monotonic()
        idle = set(self._idle_jobs())
        self._idle_since = {name: self._idle_since.get(name, now) for name in self._cluster.worker_spec if name in idle}
        spare = [name for name, since in self._idle_since.items() if now - since >= self._count.idle_s]
        for name in spare[: max(there - wanted, 0)]:
            await self._give_back(name)

    def _idle_jobs(self) -> list[str]:
        """Jobs without work: none of their workers has a task, or they bring workers that nobody waits for."""
        workers = list(self._cluster.scheduler.workers.values())
        busy = {_job_of(str(worker.name)) for worker in workers if worker.processing}
        busy |= {str(worker.name) for worker in workers if worker.processing}
        present = {_job_of(str(worker.name)) for worker in workers} | {str(worker.name) for worker in workers}
        enough = self._demand() <= len(workers)
        return [name for name in self._cluster.worker_spec if name not in busy and (name in present or enough)]

    async def _give_back(self, name: str) -> None:
        scheduler = self._cluster.scheduler
        workers = [w.address for w in scheduler.workers.values() if name in (str(w.name), _job_of(str(w.name)))]
        if workers:
            # In good order, should a task have come to it just now.
            await scheduler.retire_workers(workers=workers, close_workers=True, remove=True)
        self._cluster.worker_spec.pop(name, None)
        self._idle_since.pop(name, None)
        self._arrivals.take(str(name), set())
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            await self._cluster._correct_state()


def _job_of(worker: str) -> str:
    """The name of a worker's job: workers that share a job have its name with a number."""
    return worker.rpartition("-")[0]

"""A scheduler and many simulated workers, in processes of their own, so that each one's processor time can be told.

A simulated worker is a whole Dask worker, with a thread and connections of its own, but shares its process with many
others. It can wait, not compute: tasks for it sleep.
"""

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
from dask.distributed import Client, Scheduler, Security, Worker

from hpc_mlsm.runtime.dask_executor import DaskExecutor, claim_dask
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.security import load_security, make_security

PER_PROCESS = 512
"""Simulated workers of one process."""


@dataclass(frozen=True)
class Load:
    """Processor seconds (user and system) that driver, scheduler and workers have used; their memory (bytes) now.

    Where the driver's process is the scheduler's too, the scheduler has no figures of its own.
    """

    driver_s: float
    scheduler_s: float
    workers_s: float
    driver_rss: int
    scheduler_rss: int

    @classmethod
    def of(cls, executor: Executor) -> Self:
        """Of all processes of an executor on this machine."""
        me = os.getpid()
        client: Client | None = getattr(executor, "client", None)
        scheduler = client.run_on_scheduler(os.getpid) if client else me
        workers = set(client.run(os.getpid).values()) if client else set()
        elsewhere = [scheduler] if scheduler != me else []
        return cls(_cpu([me]), _cpu(elsewhere), _cpu(workers), _rss([me]), _rss(elsewhere))

    @property
    def all_s(self) -> float:
        """Processor seconds of all together."""
        return self.driver_s + self.scheduler_s + self.workers_s


def _cpu(pids: Iterable[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


def _rss(pids: Iterable[int]) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


class SimulatedPool(DaskExecutor):
    """An executor on simulated workers.

    Parameters
    ----------
    workers : int
        How many.
    tls : bool
        Whether all talk over TLS, as they do where several nodes take part, or over plain TCP as on one.
    """

    def __init__(self, workers: int, *, tls: bool = True) -> None:
        super().__init__(grace_s=1.0, revive_s=600.0)
        claim_dask()
        self._n_workers = workers
        self._folder = tempfile.TemporaryDirectory(prefix="executors-")
        folder = Path(self._folder.name) if tls else None
        security = make_security(folder) if folder else None
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self._processes = [context.Process(target=_schedule, args=(there, folder), daemon=True)]
        self._processes[0].start()
        address = here.recv()
        counts = [min(PER_PROCESS, workers - start) for start in range(0, workers, PER_PROCESS)]
        self._processes += [context.Process(target=_work, args=(address, n, folder), daemon=True) for n in counts]
        for process in self._processes[1:]:
            process.start()
        self.client = Client(address, security=security, set_as_default=False, timeout=300)
        self.client.wait_for_workers(workers, timeout=600)
        self._prepare(self.client)

    @property
    def capacity(self) -> int:
        """The number of simulated workers."""
        return self._n_workers

    def shutdown(self) -> None:
        """End all."""
        if self._closed:
            return
        self._closed = True
        self._abandon_maps()
        self.client.close(timeout=3)
        for process in self._processes:
            process.kill()
            process.join()
        self._folder.cleanup()


def _schedule(pipe: Any, folder: Path | None) -> None:
    asyncio.run(_scheduler(pipe, folder))


async def _scheduler(pipe: Any, folder: Path | None) -> None:
    claim_dask()
    protocol, security = _means(folder)
    async with Scheduler(host="127.0.0.1", port=0, protocol=protocol, security=security, dashboard=False) as scheduler:
        pipe.send(scheduler.address)
        await scheduler.finished()


def _work(address: str, workers: int, folder: Path | None) -> None:
    asyncio.run(_workers(address, workers, folder))


async def _workers(address: str, workers: int, folder: Path | None) -> None:
    claim_dask()
    _, security = _means(folder)
    scratch = tempfile.mkdtemp(dir=folder)
    made = [
        Worker(address, nthreads=1, security=security, local_directory=scratch, dashboard=False, memory_limit=0)
        for _ in range(workers)
    ]
    for start in range(0, workers, 32):
        await asyncio.gather(*made[start : start + 32])
    await asyncio.gather(*(worker.finished() for worker in made))


def _means(folder: Path | None) -> tuple[str, Security | None]:
    return ("tls://", load_security(folder)) if folder else ("tcp://", None)

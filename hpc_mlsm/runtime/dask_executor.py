"""What all executors on Dask workers have in common, wherever these workers come from."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import dask
from dask.distributed import Client

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dashboard import how_to_reach
from hpc_mlsm.runtime.dask_deaths import Loss
from hpc_mlsm.runtime.dask_guard import SAME_ENVIRONMENT, Guard
from hpc_mlsm.runtime.dask_logs import DeathReports, quieten
from hpc_mlsm.runtime.dask_map import TaskMap
from hpc_mlsm.runtime.dask_reports import MovedTasks, Reports
from hpc_mlsm.runtime.dask_unpin import Unpin
from hpc_mlsm.runtime.dask_worker import WorkerSetup
from hpc_mlsm.runtime.events import Listener, Note, ignore
from hpc_mlsm.runtime.executor import AS_USUAL, Executor, Outcome, R, T, Together
from hpc_mlsm.runtime.member import Member
from hpc_mlsm.runtime.signals import draining
from hpc_mlsm.runtime.together import Group

DASK_SETTINGS = {
    # The map itself deals with tasks whose workers died.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.use-file-locking": False,
    "distributed.worker.profile.enabled": False,
    # Workers hold nothing worth spilling, and a paused worker may stay paused for ever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # It would leak into the driver, and take the threads of whatever trains there later.
    "distributed.nanny.pre-spawn-environ": {},
    # Nannies restart their workers themselves. After this time a cluster would look whether a lost worker is back, and
    # where it just died again, give up the nanny for good.
    "distributed.deploy.lost-worker-timeout": "1000 days",
}
"""Settings of Dask that schedulers and workers must be started under, and that clusters go on reading."""


def claim_dask() -> None:
    """Make Dask in this process quiet, and set it as maps of tasks need it; for good, since only executors use it."""
    quieten()
    dask.config.set(DASK_SETTINGS)


class DaskExecutor(Executor):
    """Maps tasks over the workers of a Dask client; subclasses start and end them.

    Parameters
    ----------
    retries : int
        How often a task is given another worker after its worker died.
    grace_s : float
        How long running tasks may take to finish when the work is told to stop.
    revive_s : float
        How long to wait without any worker before giving up.
    """

    client: Client

    def __init__(self, *, retries: int = 2, grace_s: float = 30.0, revive_s: float = 60.0) -> None:
        self.retries, self.grace_s, self.revive_s = retries, grace_s, revive_s
        self._closed = False
        self._maps: list[TaskMap[Any, Any]] = []
        self._left_running = False
        self._members = 0
        self.reports = Reports(self._moved)
        self._shunned: set[str] = set()

    def workers(self) -> list[str]:
        """Addresses of the workers that are there."""
        try:
            return list(self.client.nthreads())
        except (OSError, RuntimeError, TimeoutError, asyncio.CancelledError) as error:
            raise ExecutorError(
                f"the scheduler of the workers was lost ({type(error).__name__}). Run the same command again to resume"
            ) from error

    def why_lost(self, worker: Any) -> Loss:
        """How a worker, given as Dask's ``WorkerState``, was lost."""
        address, pid = str(worker.address), int(worker.pid)
        words = self.reports.last_words(pid)
        # Dask gives the tasks of one that leaves to others, and takes it for dead where it finds no other.
        blameless = not words and self.reports.left(address)
        words = "left before its task was done" if blameless else words or Loss.reason
        node = self.reports.place(address, pid)[1]
        return Loss(f"{words} on {node}" if node else words, blameless)

    def why_deserted(self) -> str:
        """What is known of why no worker is there; empty or sentences."""
        return ". ".join(self.reports.refused[-3:])

    def demand(self) -> int:
        """Tasks that run or wait for a worker."""
        return self._members + sum(task_map.demand for task_map in list(self._maps))

    def _prepare(self, client: Client, dashboard_host: str = "") -> None:
        """Make the client's cluster ready for tasks: those workers that are there, and all that come later.

        Raises
        ------
        ExecutorError
            If workers that are there have other versions.
        """
        self.client = client
        self.reports.listen(client)
        try:
            for plugin in (WorkerSetup(), Guard(), DeathReports(), Unpin(), MovedTasks()):
                client.register_plugin(plugin)
        except ImportError as error:
            raise ExecutorError(f"a worker cannot load the package: {error}. {SAME_ENVIRONMENT}") from error
        if dashboard_host:
            port = int(client.scheduler_info(n_workers=0)["services"]["dashboard"])
            self.reports.untold.append(how_to_reach(port, dashboard_host))

    def map_tasks(
        self, fn: Callable[[T], R], tasks: Iterable[T], *, stage: str, on_event: Listener = ignore
    ) -> Iterator[Outcome[T, R]]:
        """See ``Executor.map_tasks``."""
        if self._closed:
            raise ExecutorError(f"stage {stage}: the executor was shut down; make a new one")
        return self._outcomes(fn, tasks, stage, on_event)

    def run_together(
        self,
        fn: Callable[[T, Member], R],
        tasks: Sequence[T],
        *,
        stage: str,
        on_event: Listener = ignore,
        how: Together = AS_USUAL,
    ) -> list[R]:
        """See ``Executor.run_together``."""
        if self._closed:
            raise ExecutorError(f"stage {stage}: the executor was shut down; make a new one")
        with draining() as drain:
            self._members += len(tasks)
            try:
                return Group(self, fn, tasks, stage, on_event, how, drain=drain, shunned=self._shunned).results()
            finally:
                self._members -= len(tasks)

    def _outcomes(
        self, fn: Callable[[T], R], tasks: Iterable[T], stage: str, on_event: Listener
    ) -> Iterator[Outcome[T, R]]:
        with draining() as drain:
            task_map = TaskMap(self, fn, iter(tasks), stage=stage, on_event=on_event, drain=drain)
            self._maps.append(task_map)
            self._tell_notes(stage, on_event)
            try:
                for outcome in task_map.outcomes():
                    self._tell_notes(stage, on_event)
                    yield outcome
            finally:
                self._left_running |= bool(task_map.flying)
                self._maps.remove(task_map)

    def _tell_notes(self, stage: str, on_event: Listener) -> None:
        """Tell what a user should know of the workers and was not told yet."""
        while self.reports.untold:
            on_event(Note(stage=stage, text=self.reports.untold.pop(0)))

    def _moved(self, keys: list[str]) -> None:
        for task_map in list(self._maps):
            for key in keys:
                task_map.moved.put(key)

    def _abandon_maps(self) -> bool:
        """End all maps; True when workers are still busy with work that nobody waits for any more."""
        maps = list(self._maps)
        for task_map in maps:
            task_map.abandon()
        return self._left_running or any(task_map.flying for task_map in maps)

"""What all executors on Dask workers have in common, wherever these workers come from."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dask
from dask.distributed import Client

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_logs import quieten
from hpc_mlsm.runtime.dask_map import TaskMap
from hpc_mlsm.runtime.events import Listener, ignore
from hpc_mlsm.runtime.executor import Executor, Outcome, R, T
from hpc_mlsm.runtime.signals import draining

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

    def workers(self) -> list[str]:
        """Addresses of the workers that are there."""
        return list(self.client.nthreads())

    def why_lost(self, pid: int) -> str:
        """How a worker process died, or nothing where that is not known."""
        return ""

    def map_tasks(
        self, fn: Callable[[T], R], tasks: Iterable[T], *, stage: str, on_event: Listener = ignore
    ) -> Iterator[Outcome[T, R]]:
        """See ``Executor.map_tasks``."""
        if self._closed:
            raise ExecutorError(f"stage {stage}: the executor was shut down; make a new one")
        return self._outcomes(fn, tasks, stage, on_event)

    def _outcomes(
        self, fn: Callable[[T], R], tasks: Iterable[T], stage: str, on_event: Listener
    ) -> Iterator[Outcome[T, R]]:
        with draining() as drain:
            task_map = TaskMap(self, fn, iter(tasks), stage=stage, on_event=on_event, drain=drain)
            self._maps.append(task_map)
            try:
                yield from task_map.outcomes()
            finally:
                self._left_running |= bool(task_map.flying)
                self._maps.remove(task_map)

    def _abandon_maps(self) -> bool:
        """End all maps; True when workers are still busy with work that nobody waits for any more."""
        for task_map in self._maps:
            task_map.abandon()
        return self._left_running or any(task_map.flying for task_map in self._maps)

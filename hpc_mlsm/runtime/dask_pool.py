"""What maps of tasks need of the executor whose workers they run on, and the watch over whether there are any."""

import time
from typing import Any, Protocol

from dask.distributed import Client

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_deaths import Loss

LOOK_S = 2.0
"""How often it is asked whether there are workers at all, while nothing is heard of them."""


class Pool(Protocol):
    """The workers that a map runs on."""

    client: Client
    retries: int
    grace_s: float
    revive_s: float

    @property
    def capacity(self) -> int:
        """How many tasks run at once."""

    def workers(self) -> list[str]:
        """Addresses of the workers that are there."""

    def why_lost(self, worker: Any) -> Loss:
        """How a worker, given as Dask's ``WorkerState``, was lost."""

    def why_deserted(self) -> str:
        """What is known of why no worker is there; empty or sentences."""


class Attendance:
    """Whether workers are there, or at least not gone for long."""

    def __init__(self, pool: Pool, stage: str) -> None:
        self._pool, self._stage = pool, stage
        self._looked = time.monotonic()
        self._deserted: float | None = None

    def heard(self) -> None:
        """A worker has answered."""
        self._deserted = None

    def look(self, waiting: int) -> None:
        """Raise ExecutorError when no worker has been there for long: nothing will ever come of what is waiting."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        if self._pool.workers():
            self._deserted = None
        elif self._deserted is None:
            self._deserted = now
        elif now - self._deserted > self._pool.revive_s:
            why = self._pool.why_deserted() or "Look for a full disk or exhausted memory on the node"
            raise ExecutorError(
                f"stage {self._stage}: no worker has been there for {self._pool.revive_s:g} s and none came back; "
                f"{waiting} tasks wait for one. {why}, and run the same command again to resume"
            )

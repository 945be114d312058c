"""What maps of tasks need of the executor whose workers they run on."""

from typing import Any, Protocol

from dask.distributed import Client

from hpc_mlsm.runtime.dask_deaths import Loss


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

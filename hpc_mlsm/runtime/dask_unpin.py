"""A cure for tasks that Dask would keep waiting for ever for a worker that is gone."""

from typing import Any

from dask.distributed import SchedulerPlugin


class Unpin(SchedulerPlugin):
    """Lets tasks that prefer a worker run on any, once that worker is gone.

    Dask itself does so while other workers are there. A task that comes when none is, as after all have died at once,
    goes on waiting for the one it named (seen in distributed 2026.8).
    """

    name = "hpc-mlsm-unpin"

    def add_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """Called by Dask for every worker that comes."""
        stranded = [task for task in scheduler.unrunnable if task.loose_restrictions]
        for task in stranded:
            task.worker_restrictions = None
        if stranded:
            scheduler.transitions({task.key: "processing" for task in stranded}, f"unpin-{worker}")

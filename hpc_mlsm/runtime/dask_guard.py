"""What a worker process checks by itself: that it has the program's versions, and that a task ends before its life."""

import sys
from typing import Any

from dask.distributed import WorkerPlugin

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime import task_run
from hpc_mlsm.runtime.dask_logs import REPORTS, place_here
from hpc_mlsm.runtime.versions import differences, own_versions

LEAVE_S = 0.2
"""What a worker that is refused takes to say so before it leaves."""

SAME_ENVIRONMENT = (
    "Give all nodes the same environment as this program has: look at modules, at the environment that the site "
    "profile and executor.slurm.prologue activate, and at PYTHONPATH"
)


class Guard(WorkerPlugin):
    """Lets no worker run a task that has other versions than this process, nor one that would outlive it.

    A refused worker reports how it differs, gives all tasks back and leaves.
    """

    name = "hpc-mlsm-guard"

    def __init__(self) -> None:
        self.wanted = own_versions()

    def setup(self, worker: Any) -> None:
        """Called by Dask in every worker before its first task."""
        if found := differences(self.wanted, own_versions()):
            task_run.refuse_tasks()
            text = (
                f"the worker {worker.name} on {place_here()['node']} ({sys.executable}) was refused, since it differs "
                f"from the program: {', '.join(found)}. {SAME_ENVIRONMENT}"
            )
            worker.log_event(REPORTS, {"kind": "refused", "worker": str(worker.name), "text": text})
            worker.loop.call_later(LEAVE_S, worker.close, reason="hpc-mlsm-refused")
            raise ExecutorError(text)
        worker.log_event(REPORTS, {"kind": "arrived", "worker": worker.address, **place_here()})
        if worker.lifetime:
            task_run.set_life(worker.lifetime, lambda: _retire(worker))

    def teardown(self, worker: Any) -> None:
        """Called by Dask when the worker ends in good order; not when it dies."""
        worker.log_event(REPORTS, {"kind": "left", "worker": worker.address})


def _retire(worker: Any) -> None:
    """Called in a task's thread: leave once its answer is on its way."""
    worker.loop.add_callback(worker.loop.call_later, LEAVE_S, worker.close_gracefully, reason="hpc-mlsm-end-of-life")

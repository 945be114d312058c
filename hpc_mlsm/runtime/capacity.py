"""How many workers an executor would have, before it is made; for plans."""

import os

from hpc_mlsm.runtime.factory import LAUNCHED
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.runtime.settings import ExecutorSettings

OTHER_RANKS = 2
_SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS")
_SIZES_HERE = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE")


def planned_workers(settings: ExecutorSettings) -> int:
    """Workers that these settings give where this process runs.

    Under ``runner`` and ``mpi`` ranks less two; outside such a launch as if there were a rank for every core.
    """
    if settings.kind == "inline":
        return 1
    if settings.kind in LAUNCHED:
        return max(1, (_count(_SIZES) or usable_cores()) - OTHER_RANKS)
    if settings.kind == "slurm":
        per_job = settings.slurm.workers_per_job
        return -(-(settings.workers or 1) // per_job) * per_job
    return settings.workers or usable_cores()


def sharing(settings: ExecutorSettings) -> int:
    """How many processes of the executor share this node's memory; none of them where workers are jobs of their own."""
    if settings.kind == "slurm":
        return 0
    if settings.kind in LAUNCHED:
        return min(_count(_SIZES_HERE) or planned_workers(settings), planned_workers(settings))
    return planned_workers(settings)


def _count(names: tuple[str, ...]) -> int | None:
    texts = [os.environ.get(name, "") for name in names]
    return next((int(text) for text in texts if text.isdigit() and int(text) > 0), None)

"""Which executor, and how large: the part of a configuration that does not change any result."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le


@dataclass(frozen=True)
class SlurmSettings:
    """What the jobs of executor ``slurm`` ask for; what is None is left to Dask's ``jobqueue.yaml``, and to Slurm.

    Parameters
    ----------
    partition, account : str or None
        Where jobs run, and who pays.
    walltime : str or None
        Of each job, as Slurm writes it: ``02:30:00``, ``1-12:00:00``. Workers end by themselves before it.
    workers_per_job, cores_per_worker : int
        Worker processes of one job, and cores that each of them is given.
    sbatch : tuple of str
        More options of sbatch, such as ``--constraint=avx2``.
    prologue : tuple of str
        Lines of shell before the workers start, such as ``module load python``.
    folder : Path
        Folder that all nodes share, for the jobs' logs and the certificate of the scheduler.
    queue_s : float
        How long jobs may wait in the queue while there is no worker at all.
    """

    partition: str | None = None
    account: str | None = None
    walltime: str | None = None
    workers_per_job: Annotated[int, Ge(1), Le(1024)] = 1
    cores_per_worker: Annotated[int, Ge(1), Le(1024)] = 1
    sbatch: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    folder: Path = Path("slurm-jobs")
    queue_s: Annotated[float, Ge(1)] = 86_400.0


@dataclass(frozen=True)
class ExecutorSettings:
    """How tasks are run.

    Parameters
    ----------
    kind : str
        ``inline`` runs tasks in this process, ``local`` on worker processes of this machine, ``slurm`` in jobs that
        this process submits. Under ``runner`` and ``mpi`` the command itself is started on at least three ranks, by
        ``srun`` in one allocation or by ``mpirun``: one is the scheduler, one the driver, all others are workers.
    workers : int or None
        Worker processes; None takes every core that this process may use. Not for ``runner`` and ``mpi``, where it is
        the number of ranks without two.
    memory_per_worker_mb : int or None
        A worker that grows beyond this (MB, 10⁶ bytes) is ended and its task retried; None shares out what there is.
    retries : int
        How often a task is given another worker after its worker died.
    grace_s : float
        How long running tasks may take to finish when the run is told to stop; below the batch system's notice.
    scratch : Path or None
        Folder on a disk of this node for the workers' temporary files; None takes the system's (``TMPDIR``).
    slurm : SlurmSettings
        What ``slurm`` asks for.
    interface : str or None
        Network interface, such as ``ib0``, by which scheduler and workers on several nodes reach each other; None
        takes the one of the default route.
    """

    kind: Literal["inline", "local", "runner", "mpi", "slurm"] = "local"
    workers: Annotated[int, Ge(1), Le(100_000)] | None = None
    memory_per_worker_mb: Annotated[int, Ge(256)] | None = None
    retries: Annotated[int, Ge(0), Le(100)] = 2
    grace_s: Annotated[float, Ge(0)] = 30.0
    scratch: Path | None = None
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    interface: str | None = None

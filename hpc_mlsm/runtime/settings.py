"""Which executor, and how large: the part of a configuration that does not change any result."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le


@dataclass(frozen=True)
class AdaptiveSettings:
    """How many workers executor ``slurm`` has as the work grows and shrinks, in whole jobs.

    Parameters
    ----------
    minimum : int
        Workers that are kept also while there is nothing to do.
    maximum : int or None
        The most workers that are asked for while tasks wait; None takes ``executor.workers``.
    idle_s : float
        How long all workers of a job must have been idle before it is given back.
    """

    minimum: Annotated[int, Ge(0), Le(100_000)] = 0
    maximum: Annotated[int, Ge(1), Le(100_000)] | None = None
    idle_s: Annotated[float, Ge(0)] = 300.0


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
    folder : Path or None
        Folder that all nodes share, for the jobs' logs and the certificate of the scheduler; None takes a folder among
        the logs of the run directory.
    queue_s : float
        How long jobs may wait in the queue while there is no worker at all.
    adaptive : AdaptiveSettings or None
        Ask for jobs as tasks wait for them, and give them back; None keeps the number of workers fixed.
    """

    partition: str | None = None
    account: str | None = None
    walltime: str | None = None
    workers_per_job: Annotated[int, Ge(1), Le(1024)] = 1
    cores_per_worker: Annotated[int, Ge(1), Le(1024)] = 1
    sbatch: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    folder: Path | None = None
    queue_s: Annotated[float, Ge(1)] = 86_400.0
    adaptive: AdaptiveSettings | None = None


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
    dashboard : bool
        Show Dask's web page of the scheduler, on loopback of its node only; how to reach it is told as a note.
    """

    kind: Literal["inline", "local", "runner", "mpi", "slurm"] = "local"
    workers: Annotated[int, Ge(1), Le(100_000)] | None = None
    memory_per_worker_mb: Annotated[int, Ge(256)] | None = None
    retries: Annotated[int, Ge(0), Le(100)] = 2
    grace_s: Annotated[float, Ge(0)] = 30.0
    scratch: Path | None = None
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    interface: str | None = None
    dashboard: bool = False

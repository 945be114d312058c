"""The one place where an executor is chosen; its libraries are loaded only then."""

from dataclasses import replace
from pathlib import Path

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.settings import ExecutorSettings

LAUNCHED = ("runner", "mpi")
"""Executors whose workers are other ranks of the same launch."""


def make_executor(settings: ExecutorSettings, logs: Path | None = None) -> Executor:
    """Start the executor that the settings ask for; the caller shuts it down, best by ``with``.

    Under ``runner`` and ``mpi`` this returns on the driver only: see ``take_place``.

    Parameters
    ----------
    settings : ExecutorSettings
        What is asked for.
    logs : Path or None
        Folder for the logs of workers that run elsewhere, where the settings name none.

    Raises
    ------
    ExecutorError
        If the workers cannot be started.
    """
    if settings.kind == "inline":
        from hpc_mlsm.runtime.inline import InlineExecutor

        return InlineExecutor()
    if settings.kind == "slurm":
        return _slurm_executor(settings, logs)
    if settings.kind in LAUNCHED:
        from hpc_mlsm.runtime.launched import LaunchedExecutor, joined

        take_place(settings)
        launch = joined()
        assert launch is not None
        return LaunchedExecutor(
            launch, retries=settings.retries, grace_s=settings.grace_s, dashboard=settings.dashboard
        )
    from hpc_mlsm.runtime.local import LocalExecutor

    return LocalExecutor(
        settings.workers,
        memory_per_worker_mb=settings.memory_per_worker_mb,
        retries=settings.retries,
        grace_s=settings.grace_s,
        scratch=settings.scratch,
        dashboard=settings.dashboard,
    )


def _slurm_executor(settings: ExecutorSettings, logs: Path | None) -> Executor:
    if settings.workers is None:
        raise ExecutorError("say how many workers Slurm shall give: executor.workers")
    from hpc_mlsm.runtime.slurm import SlurmExecutor

    return SlurmExecutor(
        settings.workers,
        replace(settings.slurm, folder=settings.slurm.folder or logs),
        memory_per_worker_mb=settings.memory_per_worker_mb,
        retries=settings.retries,
        grace_s=settings.grace_s,
        scratch=settings.scratch,
        interface=settings.interface,
        dashboard=settings.dashboard,
    )


def take_place(settings: ExecutorSettings, folder: Path | None = None) -> None:
    """Under ``runner`` and ``mpi``, turn all ranks but the driver's into scheduler and workers, which never return.

    A program calls this before it touches anything that only one process may touch, such as its run directory. The
    other ranks end with the executor, or with the program where it never makes one. With other executors, and when
    called again, this does nothing.

    Parameters
    ----------
    settings : ExecutorSettings
        The same on all ranks.
    folder : Path or None
        Shared folder in which the ranks of ``runner`` find each other; None takes the working directory.

    Raises
    ------
    ExecutorError
        If this is no such launch, there are too few ranks, or they do not find each other.
    """
    if settings.kind not in LAUNCHED:
        return
    from hpc_mlsm.runtime.launched import joined

    if joined() is not None:
        return
    if settings.kind == "mpi":
        from hpc_mlsm.runtime.mpi import join_mpi

        join_mpi(settings)
    else:
        from hpc_mlsm.runtime.runner import join_runner

        join_runner(settings, folder or Path.cwd())

"""The executor on this machine's cores: Dask worker processes that listen on loopback only."""

import asyncio
import contextlib
import logging
import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import psutil
from dask.distributed import Client, LocalCluster, Security

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dashboard import scheduler_options
from hpc_mlsm.runtime.dask_executor import DaskExecutor, claim_dask
from hpc_mlsm.runtime.dask_worker import ONE_THREAD, numba_cache
from hpc_mlsm.runtime.resources import usable_cores, usable_memory_mb
from hpc_mlsm.runtime.security import temporary_security

START_TIMEOUT_S = 300.0
"""How long worker processes may take to load their libraries, from a slow file system at worst."""

POLITE_S = 3.0
"""How long idle workers may take to end by themselves; busy ones get a tenth of it."""

SCRATCH_PREFIX = f"hpc_mlsm-workers-{platform.node()}-"
"""Scratch folders are named after the host and the process that made them."""

LEAKED = ("PYTHONHASHSEED", "__DASK_PARENT_PID")
"""What starting workers leaves in the environment of this process, and of all that it starts later."""


class LocalExecutor(DaskExecutor):
    """Worker processes on this machine, one thread each, that are reached by TLS and on loopback only.

    Parameters
    ----------
    workers : int or None
        How many; None takes every core that this process may use.
    memory_per_worker_mb : int or None
        A worker that grows beyond this (MB, 10⁶ bytes) is ended and its task retried; None shares out 90 % of what
        this process may use.
    retries, grace_s, revive_s
        See ``DaskExecutor``.
    scratch : Path or None
        Folder on a disk of this node; the workers' files are in a temporary folder in it, removed at shutdown.
    dashboard : bool
        Show Dask's web page of the scheduler, on loopback.

    Raises
    ------
    ExecutorError
        If the memory is not there or the workers cannot be started.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        memory_per_worker_mb: int | None = None,
        retries: int = 2,
        grace_s: float = 30.0,
        revive_s: float = 60.0,
        scratch: Path | None = None,
        dashboard: bool = False,
    ) -> None:
        super().__init__(retries=retries, grace_s=grace_s, revive_s=revive_s)
        self._n_workers = workers or usable_cores()
        self._memory_mb = _memory_share(self._n_workers, memory_per_worker_mb)
        self._foreign = [name for name in LEAKED if name not in os.environ]
        claim_dask()
        pages, security = scheduler_options(dashboard), temporary_security()
        try:
            _sweep(Path(scratch or tempfile.gettempdir()))
            self._scratch = tempfile.TemporaryDirectory(
                prefix=f"{SCRATCH_PREFIX}{os.getpid()}-", dir=scratch, ignore_cleanup_errors=True
            )
        except OSError as error:
            raise ExecutorError(
                f"cannot make a scratch folder for the workers in {scratch or tempfile.gettempdir()}: "
                f"{error.strerror}. Give one on a disk of this node that is writable and has space"
            ) from error
        self._start(pages, security)

    @property
    def capacity(self) -> int:
        """The number of worker processes."""
        return self._n_workers

    def shutdown(self) -> None:
        """End the workers, whatever they do, within a few seconds; remove their scratch folder."""
        if self._closed:
            return
        self._closed = True
        processes = self._processes()
        polite_s = POLITE_S / 10 if self._abandon_maps() else POLITE_S
        with contextlib.suppress(OSError, RuntimeError, TimeoutError, asyncio.CancelledError):
            self._cluster.sync(self._end_workers, polite_s, callback_timeout=2 * polite_s + 2)
        with contextlib.suppress(OSError, RuntimeError, TimeoutError, asyncio.CancelledError):
            self.client.close(timeout=POLITE_S)
        with contextlib.suppress(OSError, RuntimeError, TimeoutError, asyncio.CancelledError):
            self._cluster.close(timeout=POLITE_S)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._scratch.cleanup()
        self._clean_environment()

    def _start(self, pages: dict[str, Any], security: Security) -> None:
        scratch = Path(self._scratch.name)
        environment = {**ONE_THREAD, "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR") or str(numba_cache(scratch))}
        try:
            self._cluster = LocalCluster(
                n_workers=self._n_workers,
                threads_per_worker=1,
                processes=True,
                host="tls://127.0.0.1",
                security=security,
                dashboard_address=pages["dashboard_address"],
                scheduler_kwargs={"dashboard": pages["dashboard"]},
                silence_logs=logging.CRITICAL,
                local_directory=str(scratch),
                memory_limit=self._memory_mb * 10**6,
                env=environment,
                death_timeout=START_TIMEOUT_S,
            )
            client = Client(self._cluster, set_as_default=False, timeout=START_TIMEOUT_S)
            self._prepare(client, platform.node() if pages["dashboard"] else "")
            self._clean_environment()
        except (OSError, RuntimeError, TimeoutError) as error:
            self._scratch.cleanup()
            raise ExecutorError(
                f"cannot start {self._n_workers} worker processes: {error}. A script that starts workers needs "
                "its code under `if __name__ == '__main__':`, and the node needs free memory, processes and disk space"
            ) from error

    def _clean_environment(self) -> None:
        for name in self._foreign:
            os.environ.pop(name, None)

    async def _end_workers(self, polite_s: float) -> None:
        await asyncio.gather(*(nanny.close(timeout=polite_s) for nanny in self._cluster.workers.values()))

    def _processes(self) -> list[psutil.Process]:
        found = []
        for nanny in self._cluster.workers.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                if nanny.pid:
                    found.append(psutil.Process(nanny.pid))
        return found


def _sweep(parent: Path) -> None:
    """Remove the scratch folders of processes that were killed before they could."""
    for folder in parent.glob(f"{SCRATCH_PREFIX}*-*"):
        pid = folder.name.removeprefix(SCRATCH_PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)) and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def _memory_share(workers: int, asked_mb: int | None) -> int:
    usable = usable_memory_mb()
    if asked_mb is None:
        return int(0.9 * usable / workers)
    if asked_mb * workers > usable:
        raise ExecutorError(
            f"{workers} workers of {asked_mb} MB need {workers * asked_mb} MB, and {usable} MB are there: use at most "
            f"{usable // asked_mb} workers, or at most {usable // workers} MB each"
        )
    return asked_mb

"""The executor on jobs of a Slurm cluster: a scheduler in this process, workers in jobs that it submits."""

import asyncio
import contextlib
import logging
import shutil
import time
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from typing import Any

from dask.distributed import Client, SchedulerPlugin, Status
from distributed.utils import get_ip, get_ip_interface

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_executor import DaskExecutor, claim_dask
from hpc_mlsm.runtime.dask_unpin import Unpin
from hpc_mlsm.runtime.dask_worker import WorkerSetup
from hpc_mlsm.runtime.security import make_security, remove_security
from hpc_mlsm.runtime.settings import SlurmSettings
from hpc_mlsm.runtime.signals import draining
from hpc_mlsm.runtime.slurm_jobs import HOPELESS, cancel_jobs, last_lines, queued_jobs, refusal
from hpc_mlsm.runtime.slurm_script import job_options, load_jobqueue

KEEP_S = 10.0
"""How often it is asked whether all jobs are still there; a busy controller does not like to be asked more often."""

FRUITLESS_ROUNDS = 3
"""How often every job may end without having brought a worker before no more are submitted."""

CANCEL_S = 20.0
"""How long cancelled jobs may take to leave the queue."""

CLOSE_S = 5.0
"""How long the client and the scheduler may take to close."""


class SlurmExecutor(DaskExecutor):
    """Workers in Slurm jobs, one thread each, reached by TLS.

    The number of jobs is fixed: one that ends, by its walltime or otherwise, is replaced. Workers end by themselves
    before the walltime, at different times, and their tasks go to others.

    Parameters
    ----------
    workers : int
        How many; rounded up to whole jobs.
    settings : SlurmSettings
        What to ask of Slurm.
    memory_per_worker_mb : int or None
        A worker that grows beyond this (MB, 10⁶ bytes) is ended and its task retried; jobs ask for a little more.
        None takes what Dask's ``jobqueue.yaml`` says.
    retries, grace_s
        See ``DaskExecutor``.
    scratch : Path or None
        Folder on a disk of the nodes for the workers' files; None takes the nodes' ``TMPDIR``.
    interface : str or None
        The network interface, and the only one, on which scheduler and workers listen; None takes what Dask's
        ``jobqueue.yaml`` says, or the one of the default route.

    Raises
    ------
    ExecutorError
        If there is no Slurm, it refuses the job, or jobs end before they bring a worker.
    Interrupted
        When told to stop while waiting for the first worker.
    """

    def __init__(
        self,
        workers: int,
        settings: SlurmSettings,
        *,
        memory_per_worker_mb: int | None = None,
        retries: int = 2,
        grace_s: float = 30.0,
        scratch: Path | None = None,
        interface: str | None = None,
    ) -> None:
        super().__init__(retries=retries, grace_s=grace_s, revive_s=settings.queue_s)
        if shutil.which("sbatch") is None:
            raise ExecutorError("there is no sbatch here: run this where Slurm's commands are, or use executor local")
        self._n_jobs = -(-workers // settings.workers_per_job)
        self._per_job = settings.workers_per_job
        self._folder = settings.folder.absolute()
        claim_dask()
        options = job_options(settings, memory_per_worker_mb, grace_s, scratch, interface)
        self._security_folder = self._folder / f"scheduler-{time.time_ns():x}"
        self._arrivals = _Arrivals()
        self._fruitless = 0
        self._keeper: ThreadFuture[None] | None = None
        self._cluster: Any = None
        try:
            self._start(options)
            self._wait_for_first_worker()
        except BaseException:
            self.shutdown()
            raise

    @property
    def capacity(self) -> int:
        """The number of worker processes, also while some of their jobs still wait in the queue."""
        return self._n_jobs * self._per_job

    def job_ids(self) -> list[str]:
        """Ids of the jobs that the workers are in."""
        workers = self._cluster.workers.values() if self._cluster else []
        return [str(job.job_id) for job in list(workers) if job.job_id]

    def shutdown(self) -> None:
        """Cancel the jobs, whatever they do, and wait in bounded time until they have left the queue."""
        if self._closed:
            return
        self._closed = True
        self._abandon_maps()
        if self._keeper:
            self._keeper.cancel()
        job_ids = self.job_ids()
        with contextlib.suppress(AttributeError, OSError, RuntimeError, TimeoutError, asyncio.CancelledError):
            self.client.close(timeout=CLOSE_S)
        cancel_jobs(job_ids, patience_s=CANCEL_S)
        if self._cluster:
            for job in self._cluster.workers.values():
                # It would cancel each of them once more, one command after the other.
                job.job_id, job.status = None, Status.closed
            with contextlib.suppress(OSError, RuntimeError, TimeoutError, asyncio.CancelledError):
                self._cluster.close(timeout=CLOSE_S)
        with contextlib.suppress(OSError):
            remove_security(self._security_folder)
            self._security_folder.rmdir()

    def _start(self, options: dict[str, Any]) -> None:
        interface = options["interface"]
        try:
            host = get_ip_interface(interface) if interface else get_ip()
        except ValueError as error:
            raise ExecutorError(f"no network interface {interface} here: {error}") from error
        security = make_security(self._security_folder)
        try:
            self._cluster = load_jobqueue().SLURMCluster(
                security=security,
                protocol="tls://",
                # The one address, any free port, and no pages behind it.
                scheduler_options={"host": host, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.CRITICAL,
                **options,
            )
            self.client = Client(self._cluster, set_as_default=False, timeout=60, security=security)
            self.client.register_plugin(WorkerSetup())
            self._cluster.scheduler.add_plugin(self._arrivals)
            self.client.register_plugin(Unpin())
        except (OSError, RuntimeError, TimeoutError, ValueError) as error:
            raise ExecutorError(f"cannot start a scheduler for Slurm jobs: {error}") from error
        try:
            self._cluster.sync(self._submit)
        except (OSError, RuntimeError, ValueError) as error:
            raise ExecutorError(f"sbatch refused: {refusal(error, self._cluster.job_script())}") from error
        self._keeper = asyncio.run_coroutine_threadsafe(self._keep(), self._cluster.loop.asyncio_loop)

    async def _submit(self) -> None:
        """Submit one job to learn whether it is accepted, then the others."""
        for wanted in sorted({1, self._n_jobs}):
            while len(self._cluster.worker_spec) < wanted:
                self._cluster.worker_spec.update(self._cluster.new_worker_spec())
            await self._cluster._correct_state()

    def _wait_for_first_worker(self) -> None:
        deadline, look = time.monotonic() + self.revive_s, time.monotonic()
        with draining() as drain:
            while not self.workers():
                drain.check("no worker had started yet")
                now = time.monotonic()
                if now > deadline:
                    raise ExecutorError(
                        f"jobs {', '.join(self.job_ids())} have brought no worker within {self.revive_s:g} s: see "
                        "`squeue --me` for the reason, ask for less, or set executor.slurm.queue_s to wait longer"
                    )
                if now - look > 2:
                    look = now
                    self._check_that_jobs_may_start()
                time.sleep(0.2)

    def _check_that_jobs_may_start(self) -> None:
        """Raise when no job can bring a worker: all have ended already, or wait for what will never be."""
        ids, queued = self.job_ids(), queued_jobs()
        if queued is None or self._arrivals.names:
            return
        reasons = {queued[job] for job in ids if job in queued}
        if reasons and reasons <= HOPELESS:
            asked = [line for line in self._cluster.job_script().splitlines() if line.startswith("#SBATCH")]
            raise ExecutorError(
                f"Slurm will never start jobs {', '.join(ids)} as they are ({', '.join(sorted(reasons))}). They ask "
                f"for: {', '.join(asked)}"
            )
        if reasons:
            return
        raise ExecutorError(
            f"every job ended before its worker reached the scheduler at {self._cluster.scheduler_address}. Check that "
            "nodes reach this address (executor.interface) and that Python and the package are the same there. "
            + (last_lines(self._folder, ids) or f"Logs are expected in {self._folder}, which nodes must share")
        )

    async def _keep(self) -> None:
        """Replace jobs that have ended, for as long as replacements bring workers."""
        loop = asyncio.get_running_loop()
        while self._fruitless < FRUITLESS_ROUNDS * self._n_jobs:
            await asyncio.sleep(KEEP_S)
            jobs = dict(self._cluster.workers)
            queued = await loop.run_in_executor(None, queued_jobs)
            if queued is None:
                continue
            for name in [name for name, job in jobs.items() if job.job_id not in queued]:
                self._fruitless = 0 if self._arrivals.take(name) else self._fruitless + 1
                job = self._cluster.workers.pop(name)
                job.status = Status.closed
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                # A refusal may be passing, and is counted as a job without a worker.
                await self._cluster._correct_state()
        # Lets maps give up as soon as the last worker is gone.
        self.revive_s = 0.0


class _Arrivals(SchedulerPlugin):
    """Notes which jobs have brought a worker."""

    name = "hpc-mlsm-arrivals"

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """Called by Dask for every worker that comes."""
        self.names.add(str(scheduler.workers[worker].name))

    def take(self, job: str) -> bool:
        """Whether a job has brought a worker, and forget it: its successor has the same name."""
        # Workers that share a job have its name with a number.
        found = {name for name in self.names if name == job or name.rpartition("-")[0] == job}
        self.names -= found
        return bool(found)

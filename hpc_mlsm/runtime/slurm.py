"""The executor on jobs of a Slurm cluster: a scheduler in this process, workers in jobs that it submits."""

import asyncio
import contextlib
import logging
import platform
import shutil
import time
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from typing import Any

from dask.distributed import Client, Status
from distributed.utils import get_ip, get_ip_interface

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dashboard import scheduler_options
from hpc_mlsm.runtime.dask_deaths import Loss
from hpc_mlsm.runtime.dask_executor import DaskExecutor, claim_dask
from hpc_mlsm.runtime.security import make_security, remove_security
from hpc_mlsm.runtime.settings import SlurmSettings
from hpc_mlsm.runtime.signals import draining
from hpc_mlsm.runtime.slurm_jobs import HOPELESS, JobState, cancel_jobs, job_state, last_lines, queued_jobs, refusal
from hpc_mlsm.runtime.slurm_keeper import Arrivals, JobCount, JobKeeper
from hpc_mlsm.runtime.slurm_script import job_options, load_jobqueue

CANCEL_S = 20.0
"""How long cancelled jobs may take to leave the queue."""

ENDING_S = 3.0
"""How long to wait for a job that is just ending to say how it ended."""

CLOSE_S = 5.0
"""How long the client and the scheduler may take to close."""


class SlurmExecutor(DaskExecutor):
    """Workers in Slurm jobs, one thread each, reached by TLS.

    A job that ends, by its walltime or otherwise, is replaced; their number is fixed, or follows the work where the
    settings say so. Workers end by themselves before the walltime, at different times: they start no task that would
    not finish before, as far as can be told, and what still runs then goes to others.

    Parameters
    ----------
    workers : int
        How many; rounded up to whole jobs.
    settings : SlurmSettings
        What to ask of Slurm; its folder must be set.
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
    dashboard : bool
        Show Dask's web page of the scheduler, on loopback.

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
        dashboard: bool = False,
    ) -> None:
        super().__init__(retries=retries, grace_s=grace_s, revive_s=settings.queue_s)
        if shutil.which("sbatch") is None:
            raise ExecutorError("there is no sbatch here: run this where Slurm's commands are, or use executor local")
        claim_dask()
        self._count = JobCount.asked(workers, settings)
        self._pages = scheduler_options(dashboard)
        options = job_options(settings, memory_per_worker_mb, grace_s, scratch, interface)
        self._folder = Path(options["log_directory"])
        self._security_folder = self._folder / f"scheduler-{time.time_ns():x}"
        self._arrivals = Arrivals()
        self._keeping: ThreadFuture[None] | None = None
        self._cluster: Any = None
        try:
            self._start(options)
            self._wait_for_first_worker()
        except BaseException:
            self.shutdown()
            raise

    @property
    def capacity(self) -> int:
        """The number of worker processes, the most there may be, also while some of their jobs wait in the queue."""
        return self._count.most * self._count.per_job

    def why_lost(self, worker: Any) -> Loss:
        """See ``DaskExecutor``; a worker whose job was ended by others, or by time, was lost without blame."""
        loss, job = super().why_lost(worker), self.reports.place(str(worker.address), int(worker.pid))[0]
        state = _settled_state(job) if job else None
        if state is None:
            return loss
        if state.taken_away:
            return Loss(f"was lost with its job {job} ({state})", blameless=True)
        return Loss(f"{loss.reason} in job {job} ({state})", loss.blameless)

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
        if self._keeping:
            self._keeping.cancel()
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
                # The one address, and any free port.
                scheduler_options={"host": host, **self._pages},
                silence_logs=logging.CRITICAL,
                **options,
            )
            client = Client(self._cluster, set_as_default=False, timeout=60, security=security)
            self._cluster.scheduler.add_plugin(self._arrivals)
            self._prepare(client, platform.node() if self._pages["dashboard"] else "")
        except (OSError, RuntimeError, TimeoutError, ValueError) as error:
            raise ExecutorError(f"cannot start a scheduler for Slurm jobs: {error}") from error
        keeper = JobKeeper(self._cluster, self._count, self._arrivals, self.demand, self.reports.take_refused)
        try:
            self._cluster.sync(keeper.submit)
        except (OSError, RuntimeError, ValueError) as error:
            raise ExecutorError(f"sbatch refused: {refusal(error, self._cluster.job_script())}") from error
        self._keeping = asyncio.run_coroutine_threadsafe(keeper.keep(), self._cluster.loop.asyncio_loop)
        self._keeping.add_done_callback(self._no_more_jobs)

    def _wait_for_first_worker(self) -> None:
        deadline, look = time.monotonic() + self.revive_s, time.monotonic()
        with draining() as drain:
            while not self._welcome():
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

    def _welcome(self) -> bool:
        """Whether a worker is there that is not refused.

        Raises
        ------
        ExecutorError
            If one was refused.
        """
        if self.reports.refused:
            raise ExecutorError(self.why_deserted())
        # One that only the scheduler knows of may still be looking at its versions.
        return any(self.reports.has_arrived(worker) for worker in self.workers())

    def _no_more_jobs(self, kept: "ThreadFuture[None]") -> None:
        """Let maps give up as soon as the last worker is gone."""
        if not kept.cancelled():
            self.revive_s = 0.0


def _settled_state(job_id: str) -> JobState | None:
    """State of a job, where possible after its end."""
    deadline = time.monotonic() + ENDING_S
    while (state := job_state(job_id)) and state.state == "COMPLETING" and time.monotonic() < deadline:
        time.sleep(0.2)
    return state

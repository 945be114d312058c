"""The ranks of a launch that do not go on with the program: the scheduler, and the workers.

All ranks of a launch run the same command. Rank 0 becomes the scheduler and rank 1 the driver, which goes on with the
program; all others keep one worker process each, and start another when it dies. They end when the driver dismisses
them (status 0), and by themselves when the driver or the scheduler is lost (``LOST_STATUS``).
"""

import asyncio
import logging
import multiprocessing
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from dask.distributed import Nanny, Scheduler
from distributed.core import Status, rpc

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dashboard import scheduler_options
from hpc_mlsm.runtime.dask_executor import claim_dask
from hpc_mlsm.runtime.dask_worker import ONE_THREAD, numba_cache
from hpc_mlsm.runtime.local import POLITE_S, SCRATCH_PREFIX, START_TIMEOUT_S
from hpc_mlsm.runtime.meeting import SCHEDULER_RANK, Contact, Meeting, Place
from hpc_mlsm.runtime.resources import usable_memory_mb
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.runtime.signals import STOP_SIGNALS

LOST_STATUS = 1
"""Exit status of a rank whose driver or scheduler was lost."""

DRIVER_BACK_S = 10.0
"""How long a driver that lost its connection may take to come back."""

ARRIVE_S = 60.0
"""How long the scheduler of a launch that is over waits for ranks that have not started yet."""

LEAVE_S = 10.0
"""How long the interpreter of a rank may take to end."""

EMPTY_S = 10.0
"""How long the scheduler waits for the last worker to be gone."""


def serve(meeting: Meeting, settings: ExecutorSettings) -> NoReturn:
    """Be the scheduler or a worker until the launch ends; then end the process, by ``SystemExit``."""
    # A batch system sends its signals to all ranks. It is the driver that drains the work and dismisses the others.
    for kind in STOP_SIGNALS:
        signal.signal(kind, signal.SIG_IGN)
    claim_dask()
    place = meeting.place
    role = _schedule if place.rank == SCHEDULER_RANK else _work
    status = LOST_STATUS
    try:
        status = asyncio.run(role(meeting, settings))
    except (OSError, RuntimeError, ValueError, TimeoutError, ImportError, ExecutorError) as error:
        where = f"rank {place.rank} of {place.ranks} on {platform.node()}"
        print(f"hpc-mlsm: {where} could not go on: {error}", file=sys.stderr)
    # The interpreter would wait for a worker that came up just now, and that is deaf to SIGTERM like this process.
    _kill_children()
    # Should something that the program left behind hold up the end of this process.
    watchdog = threading.Timer(LEAVE_S, os._exit, [status])
    watchdog.daemon = True
    watchdog.start()
    sys.exit(status)


class _Charge:
    """The scheduler's side of the end of a launch: who is the driver, is it there, did it dismiss everybody."""

    def __init__(self, scheduler: Scheduler, n_workers: int) -> None:
        self.scheduler = scheduler
        self.awaited = n_workers
        self.driver = ""
        self.orderly = False
        self.over = asyncio.Event()
        scheduler.handlers.update(
            take_charge=self.take_charge, await_dismissal=self.await_dismissal, dismiss=self.dismiss
        )

    async def take_charge(self, client: str) -> None:
        """Called by the driver: the launch lasts as long as this client."""
        self.driver = client

    async def await_dismissal(self) -> bool:
        """Called by every worker rank; the answer, whether the end is an orderly one, comes at the end."""
        self.awaited -= 1
        await self.over.wait()
        return self.orderly

    async def dismiss(self) -> None:
        """Called by the driver; returns when the workers are gone."""
        self.orderly = True
        self.over.set()
        await self.emptied()

    async def emptied(self) -> None:
        """Wait for the last worker to be gone, within bounds."""
        await _until(lambda: not self.scheduler.workers, EMPTY_S)

    async def end(self) -> bool:
        """Wait for the end of the launch; False when the driver was lost."""
        last_seen = time.monotonic()
        while not self.over.is_set():
            patience = DRIVER_BACK_S if self.driver else START_TIMEOUT_S
            if self.driver in self.scheduler.clients:
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > patience:
                self.over.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 1.0)
        # A driver with nothing to do may be done before the other ranks have started.
        await _until(lambda: self.awaited <= 0, ARRIVE_S)
        await self.emptied()
        # The driver is still to be told that all are gone.
        await asyncio.sleep(0.5)
        return self.orderly


async def _until(condition: Callable[[], bool], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


async def _schedule(meeting: Meeting, settings: ExecutorSettings) -> int:
    security = meeting.security()
    try:
        async with Scheduler(
            protocol="tls://",
            interface=settings.interface,
            port=0,
            security=security,
            **scheduler_options(settings.dashboard),
        ) as scheduler:
            charge = _Charge(scheduler, meeting.place.workers)
            meeting.announce(Contact(scheduler.address, security))
            return 0 if await charge.end() else LOST_STATUS
    finally:
        meeting.forget()


async def _work(meeting: Meeting, settings: ExecutorSettings) -> int:
    place, contact = meeting.place, meeting.learn()
    prefix = f"{SCRATCH_PREFIX}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=settings.scratch, ignore_cleanup_errors=True) as scratch:
        scheduler = rpc(contact.address, connection_args=contact.security.get_connection_args("worker"))
        dismissal = asyncio.ensure_future(scheduler.await_dismissal())
        try:
            while not dismissal.done():
                await _keep_worker(place, contact, settings, Path(scratch), dismissal)
        finally:
            dismissal.cancel()
            await scheduler.close_rpc()
    orderly = dismissal.exception() is None and dismissal.result()
    return 0 if orderly else LOST_STATUS


async def _keep_worker(
    place: Place, contact: Contact, settings: ExecutorSettings, scratch: Path, dismissal: "asyncio.Future[Any]"
) -> None:
    """Keep a worker process running until the dismissal, or until it gives up by itself."""
    cache = os.environ.get("NUMBA_CACHE_DIR") or str(numba_cache(scratch))
    nanny = Nanny(
        contact.address,
        nthreads=1,
        name=f"rank-{place.rank}",
        memory_limit=_memory_mb(place, settings) * 10**6,
        security=contact.security,
        interface=settings.interface,
        local_directory=str(scratch),
        env={**ONE_THREAD, "NUMBA_CACHE_DIR": cache},
        silence_logs=logging.CRITICAL,
        death_timeout=START_TIMEOUT_S,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )
    running = asyncio.ensure_future(_until_it_gives_up(nanny))
    await asyncio.wait({dismissal, running}, return_when=asyncio.FIRST_COMPLETED)
    if not dismissal.done():
        # Where the scheduler is lost, its worker may know a moment before this process does.
        await asyncio.wait({dismissal}, timeout=1.0)
    if nanny.status == Status.running:
        await _closed(nanny)
    # A nanny waits for a worker that is still starting, which may wait for a scheduler that has gone.
    _kill_children()
    await _closed(nanny)
    running.cancel()
    (outcome,) = await asyncio.gather(running, return_exceptions=True)
    if isinstance(outcome, Exception) and not dismissal.done():
        raise ExecutorError(f"its worker does not start: {outcome}") from outcome


def _kill_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()


async def _until_it_gives_up(nanny: Nanny) -> None:
    await nanny
    await nanny.finished()


async def _closed(nanny: Nanny) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(nanny.close(timeout=POLITE_S / 2), POLITE_S)


def _memory_mb(place: Place, settings: ExecutorSettings) -> int:
    """Memory of one worker: what was asked for, or 90 % of this rank's share of its node."""
    if settings.memory_per_worker_mb:
        return settings.memory_per_worker_mb
    allotted = "SLURM_MEM_PER_CPU" in os.environ and "SLURM_CPUS_PER_TASK" in os.environ
    return int(0.9 * usable_memory_mb() / (1 if allotted else place.ranks_here))

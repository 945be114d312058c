"""The driver of a launch, in which all ranks run the same command: its connection, and the executor on its workers."""

import asyncio
import atexit
import contextlib
import platform

from dask.distributed import Client

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_executor import DaskExecutor, claim_dask
from hpc_mlsm.runtime.local import POLITE_S, START_TIMEOUT_S
from hpc_mlsm.runtime.meeting import DRIVER_RANK, OTHER_RANKS, Contact, Meeting
from hpc_mlsm.runtime.ranks import EMPTY_S, serve
from hpc_mlsm.runtime.settings import ExecutorSettings

_UNANSWERED = (OSError, RuntimeError, TimeoutError, asyncio.CancelledError)


class Launch:
    """The driver's connection to the other ranks; they end when it is closed, at the latest with the program."""

    def __init__(self, contact: Contact, n_workers: int) -> None:
        self.n_workers = n_workers
        self.closed = False
        claim_dask()
        try:
            self.client = Client(
                contact.address, security=contact.security, set_as_default=False, timeout=START_TIMEOUT_S
            )
            self.client.sync(self.client.scheduler.take_charge, client=self.client.id)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ExecutorError(
                f"the driver cannot reach the scheduler of this launch at {contact.address}: {error}. Name a network "
                "interface that all nodes share as executor.interface"
            ) from error
        atexit.register(self.close)

    def wait_for_workers(self) -> None:
        """Wait until every worker rank has its worker.

        Raises
        ------
        ExecutorError
            If some do not come.
        """
        try:
            self.client.wait_for_workers(self.n_workers, timeout=START_TIMEOUT_S)
        except _UNANSWERED as error:
            found = len(self.client.nthreads()) if self.client.status == "running" else 0
            raise ExecutorError(
                f"{found} of {self.n_workers} workers came within {START_TIMEOUT_S:g} s: {error}. Look at what the "
                "other ranks wrote; nodes need the same environment, free memory and an interface that all share"
            ) from error

    def scheduler_node(self) -> str:
        """Name of the node that the scheduler's rank is on."""
        return str(self.client.run_on_scheduler(platform.node))

    def close(self) -> None:
        """Dismiss all other ranks and wait, within bounds, for the workers to be gone. May be called twice."""
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(*_UNANSWERED):
            self.client.sync(self.client.scheduler.dismiss, callback_timeout=EMPTY_S + POLITE_S)
        with contextlib.suppress(*_UNANSWERED):
            self.client.close(timeout=POLITE_S)


class LaunchedExecutor(DaskExecutor):
    """The workers of a launch, one on each rank but the scheduler's and the driver's.

    Parameters
    ----------
    launch : Launch
        The driver's connection. A launch has one executor: with it, the workers end for good.
    retries, grace_s, revive_s
        See ``DaskExecutor``.
    dashboard : bool
        Tell where the page of the scheduler is, which its rank shows where the settings say so.

    Raises
    ------
    ExecutorError
        If the workers do not come, have other versions, or were ended before.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        retries: int = 2,
        grace_s: float = 30.0,
        revive_s: float = 60.0,
        dashboard: bool = False,
    ) -> None:
        super().__init__(retries=retries, grace_s=grace_s, revive_s=revive_s)
        if launch.closed:
            raise ExecutorError(
                "the workers of this launch were ended, and other ranks cannot be started: use one executor until the "
                "program ends, or start the program again"
            )
        self._launch, self.client = launch, launch.client
        try:
            launch.wait_for_workers()
            self._prepare(launch.client, launch.scheduler_node() if dashboard else "")
        except ExecutorError:
            launch.close()
            raise

    @property
    def capacity(self) -> int:
        """The number of worker ranks."""
        return self._launch.n_workers

    def shutdown(self) -> None:
        """End all other ranks, whatever they do, within some seconds."""
        self._closed = True
        self._abandon_maps()
        self._launch.close()


_joined: Launch | None = None


def join(meeting: Meeting, settings: ExecutorSettings, how: str) -> None:
    """Take this rank's place in its launch: only the driver returns, all others serve it and end.

    Parameters
    ----------
    meeting : Meeting
        How the ranks find each other.
    settings : ExecutorSettings
        The same on all ranks.
    how : str
        A command that starts enough ranks, for messages.

    Raises
    ------
    ExecutorError
        If there are too few ranks, or the driver does not reach the scheduler.
    """
    global _joined
    place = meeting.place
    if place.workers < 1:
        raise ExecutorError(
            f"this launch has {place.ranks} rank{'s' * (place.ranks != 1)}, and at least {OTHER_RANKS + 1} are needed: "
            f"one each for the scheduler, the driver and a worker. Start it by {how}"
        )
    if place.rank != DRIVER_RANK:
        serve(meeting, settings)
    _joined = Launch(meeting.learn(), place.workers)


def joined() -> Launch | None:
    """The launch that this process drives, once it has joined it."""
    return _joined

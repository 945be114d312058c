"""The processes that train one model together, over XGBoost's own collective operations."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpc_mlsm.errors import PeerError
from hpc_mlsm.models.checkpoints import Checkpoint

if TYPE_CHECKING:
    from xgboost.tracker import RabitTracker

JOIN_S = 300
"""How long all peers may take to find each other, and to part."""

RETRIES = 3
"""How often a peer tries to reach another."""


class Group(Protocol):
    """What is needed of the group that starts the processes."""

    @property
    def rank(self) -> int:
        """Which member this is."""

    @property
    def size(self) -> int:
        """How many members there are."""

    @property
    def host(self) -> str:
        """Address by which the others reach this member."""

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, by rank."""

    def stop_requested(self) -> bool:
        """True once the work should come to an end."""


class Peers:
    """A process that trains alone."""

    alone = True
    first = True

    def share(self, own: Callable[[], Checkpoint]) -> Checkpoint:
        """The same checkpoint on all peers: the first one's."""
        return own()

    def told_to_stop(self) -> bool:
        """Whether to stop now; the same answer on all peers, which all must ask."""
        return False


ALONE = Peers()


class _Together(Peers):
    alone = False

    def __init__(self, group: Group) -> None:
        self._group = group
        self.first = group.rank == 0

    def share(self, own: Callable[[], Checkpoint]) -> Checkpoint:
        from xgboost import collective

        shared = collective.broadcast(own() if self.first else None, 0)
        assert shared is not None
        return shared

    def told_to_stop(self) -> bool:
        from xgboost import collective

        mine = np.array([self._group.stop_requested()], dtype=np.int8)
        return bool(collective.allreduce(mine, collective.Op.MAX)[0])


@contextmanager
def joined(group: Group, stall_s: float) -> Iterator[Peers]:
    """Join the processes of a group while the block runs: what XGBoost does in it, it does on the rows of all.

    The first process coordinates, on the address by which the others reach it, and on any free port. What passes
    between the processes is neither encrypted nor authenticated.

    Raises
    ------
    PeerError
        If another process is lost, or keeps this one waiting for more than ``stall_s`` seconds.
    """
    if group.size == 1:
        yield ALONE
        return
    from xgboost import collective
    from xgboost.core import XGBoostError

    tracker = _tracker(group) if group.rank == 0 else None
    address = group.gather(tracker.worker_args() if tracker else None)[0]
    try:
        collective.init(
            **address,
            dmlc_task_id=f"member-{group.rank:06d}",
            dmlc_timeout=int(stall_s),
            dmlc_retry=RETRIES,
        )
        yield _Together(group)
        collective.finalize()
        if tracker:
            tracker.wait_for(JOIN_S)
    except XGBoostError as error:
        # No finalize: it would wait for those that are gone.
        if (reason := _of_the_collective(str(error))) is None:
            raise
        raise PeerError(
            f"member {group.rank} of {group.size} on {socket.gethostname()} could not go on with the others: {reason}"
        ) from error


def _tracker(group: Group) -> "RabitTracker":
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(n_workers=group.size, host_ip=group.host, sortby="task", timeout=JOIN_S)
    tracker.start()
    return tracker


def _of_the_collective(text: str) -> str | None:
    """The last cause that XGBoost names, where it is about communication; None for its other errors."""
    message = text.partition("Stack trace")[0]
    if "src/collective/" not in message:
        return None
    lines = [line.strip("- ") for line in message.splitlines() if line.strip("- ")]
    return lines[-1].partition("]: ")[2] or lines[-1]

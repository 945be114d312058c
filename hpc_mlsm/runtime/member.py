"""One member of a group that works together: a fresh process on its worker, and what the work sees of the group.

The process is its own so that it may use all of its worker's cores, hold native state that can be set up only once, and
be ended at any moment without harm to the worker. This module is all that it loads besides the work itself.
"""

import ctypes
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.signals import STOP_SIGNALS
from hpc_mlsm.runtime.task_run import run_packed

BEAT_S = 1.0
"""How often a member shows that it is alive."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Member:
    """What a function that runs together with others knows of its place, and how it speaks to the others.

    Attributes
    ----------
    rank, size
        Which member this is, from 0, and how many there are.
    hosts
        Address of each member's worker, by rank: the interface that the executor uses.
    threads
        Cores that this member may use.
    memory
        Bytes that it may use; None where nothing limits it.
    """

    rank: int
    size: int
    hosts: tuple[str, ...]
    threads: int
    memory: int | None
    _tell: Callable[[Any], None]
    _gather: Callable[[Any], list[Any]]
    _stop: Callable[[], bool]

    @property
    def host(self) -> str:
        """Address of this member's worker."""
        return self.hosts[self.rank]

    def tell(self, message: Any) -> None:
        """Send the driver something small and picklable; does not wait."""
        self._tell(message)

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, by rank; returns once all members have called it, so it is a barrier too.

        It passes through the driver: for addresses and the like, not for arrays.
        """
        return self._gather(value)

    def stop_requested(self) -> bool:
        """True once the driver was told to stop. Members may see it at different moments, and must agree on when."""
        return self._stop()


def alone(tell: Callable[[Any], None], stop: Callable[[], bool], threads: int) -> Member:
    """The only member, in the driver's own process."""
    return Member(0, 1, ("127.0.0.1",), threads, None, tell, lambda value: [value], stop)


@dataclass(frozen=True)
class Start:
    """What a member's process is started with."""

    payload: bytes
    rank: int
    hosts: tuple[str, ...]
    threads: int
    memory: int | None


class _Link:
    """The connection to the worker: beats go out, and what comes in is heeded, while the work runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._gathered: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self.stopped = threading.Event()
        for loop in (self._listen, self._beat):
            threading.Thread(target=loop, daemon=True).start()

    def send(self, kind: str, content: Any = None) -> None:
        with self._sending:
            self._connection.send((kind, content))

    def gather(self, value: Any) -> list[Any]:
        self.send("gather", value)
        return self._gathered.get()

    def _listen(self) -> None:
        while True:
            try:
                kind, content = self._connection.recv()
            except (EOFError, OSError):
                # The worker has died, and nobody waits for this work any more.
                os._exit(1)
            if kind == "stop":
                self.stopped.set()
            elif kind == "gathered":
                self._gathered.put(content)

    def _beat(self) -> None:
        while True:
            try:
                self.send("beat")
            except OSError:
                os._exit(1)
            time.sleep(BEAT_S)


def main(handle: int) -> None:
    """Be a member, over the connection with this file handle; ends the process."""
    # It is the driver that is told to stop; a member ends when its worker says so, and with its worker.
    for kind in STOP_SIGNALS:
        signal.signal(kind, signal.SIG_IGN)
    _die_with_parent()
    connection = Connection(handle)
    start: Start = connection.recv()
    link = _Link(connection)
    member = Member(
        rank=start.rank,
        size=len(start.hosts),
        hosts=start.hosts,
        threads=start.threads,
        memory=start.memory,
        _tell=lambda message: link.send("tell", message),
        _gather=link.gather,
        _stop=link.stopped.is_set,
    )
    answer = run_packed(start.payload, "", member)
    sys.stdout.flush()
    sys.stderr.flush()
    link.send("done", answer)
    # Native threads of a group that has fallen apart may never end.
    os._exit(0)


def _die_with_parent() -> None:
    """Have the kernel end this process with its worker, also while it is stopped and cannot see that itself."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or parent == 1:
        raise ExecutorError("the worker of this member has died")

"""What the driver hears of its workers: how they died, which were refused, and which tasks had to move."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from dask.distributed import Client, SchedulerPlugin

from hpc_mlsm.runtime.dask_logs import REPORTS

WORD_S = 1.0
"""How long to wait for a nanny to say how its worker died."""

_KEPT = 100_000
"""How many workers are remembered."""


class Reports:
    """Listens to a cluster, from the thread of its client.

    Parameters
    ----------
    moved : callable
        Called with the keys of tasks whose worker left in good order before they were done.
    """

    def __init__(self, moved: Callable[[list[str]], None]) -> None:
        self._moved = moved
        self._words: OrderedDict[int, str] = OrderedDict()
        self._arrived = threading.Condition()
        self._refused_names: set[str] = set()
        self.refused: list[str] = []
        self.untold: list[str] = []
        self._places: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._places_by_pid: OrderedDict[int, tuple[str, str]] = OrderedDict()
        self._left: OrderedDict[str, bool] = OrderedDict()

    def listen(self, client: Client) -> None:
        """Begin."""
        client.subscribe_topic(REPORTS, self._hear)

    def last_words(self, pid: int) -> str:
        """What the nanny of a worker that just died says of it; empty where it died as well, or has nothing to say."""
        deadline = time.monotonic() + WORD_S
        with self._arrived:
            while pid not in self._words and (left := deadline - time.monotonic()) > 0:
                self._arrived.wait(left)
            return self._words.pop(pid, "")

    def place(self, worker: str, pid: int) -> tuple[str, str]:
        """The Slurm job that a worker is or was in, and its node; empty where not known."""
        # One that dies as soon as it has come may not have told, but its nanny has.
        return self._places.get(worker) or self._places_by_pid.get(pid, ("", ""))

    def has_arrived(self, worker: str) -> bool:
        """Whether a worker, given by its address, has found itself fit for tasks."""
        return worker in self._places

    def left(self, worker: str) -> bool:
        """Whether a worker, given by its address, ended in good order."""
        return worker in self._left

    def take_refused(self) -> set[str]:
        """Names of the workers that were refused since this was last asked."""
        names, self._refused_names = self._refused_names, set()
        return names

    def _hear(self, event: tuple[float, Any]) -> None:
        message = event[1]
        kind = message.get("kind")
        if kind == "arrived":
            self._places[str(message["worker"])] = str(message["job"]), str(message["node"])
            _shorten(self._places)
        elif kind == "left":
            self._left[str(message["worker"])] = True
            _shorten(self._left)
        elif kind == "death":
            with self._arrived:
                # The memory limit comes first, then the signal that it was ended by.
                self._words.setdefault(int(message["pid"]), str(message["text"]))
                self._places_by_pid[int(message["pid"])] = str(message["job"]), str(message["node"])
                _shorten(self._places_by_pid)
                _shorten(self._words)
                self._arrived.notify_all()
        elif kind == "refused":
            text = str(message["text"])
            self._refused_names.add(str(message["worker"]))
            if text not in self.refused:
                self.refused.append(text)
                self.untold.append(text)
        elif kind == "moved":
            self._moved(list(message["keys"]))


class MovedTasks(SchedulerPlugin):
    """Reports tasks whose worker left in good order before they were done: Dask moves them without a word."""

    name = "hpc-mlsm-moved-tasks"

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """Called by Dask for every worker that goes."""
        for _time, message in reversed(scheduler.get_events(worker)):
            if isinstance(message, dict) and message.get("action") == "remove-worker":
                if message.get("expected") and message.get("processing-tasks"):
                    keys = [str(key) for key in message["processing-tasks"]]
                    scheduler.log_event(REPORTS, {"kind": "moved", "keys": keys})
                return


def _shorten(memory: "OrderedDict[Any, Any]") -> None:
    while len(memory) > _KEPT:
        memory.popitem(last=False)

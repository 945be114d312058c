"""An end within a bounded time for a process that waits for others which are lost without a trace."""

import os
import sys
import threading
import time
from types import TracebackType
from typing import Self

from hpc_mlsm.runtime.signals import RESUME_STATUS


class StallWatch:
    """Ends this process when ``beat`` is not called for too long.

    A library that waits for another machine may do so for ever, in compiled code that no exception reaches. Nothing is
    saved then: what is worth it must be on the disk already. The exit status says that running again goes on from it.

    Parameters
    ----------
    limit_s : float
        Longest time between two beats.
    message : str
        What to write on standard error then, with ``{waited:.0f}`` for the seconds.
    start_s : float
        The longest time before the first beat.
    """

    def __init__(self, limit_s: float, message: str, *, start_s: float) -> None:
        self._limit_s, self._message = limit_s, message
        self._start_s = max(start_s, limit_s)
        self._waited_s, self._allowed_s = 0.0, self._start_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)

    def beat(self, *, starting: bool = False) -> None:
        """Say that all is well; cheap enough for every step. While ``starting``, the next beat may take ``start_s``."""
        self._waited_s, self._allowed_s = 0.0, self._start_s if starting else self._limit_s

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        tick, before = min(1.0, self._limit_s / 5), time.monotonic()
        while not self._over.wait(tick):
            now = time.monotonic()
            # Time for which this process was suspended is no time for which it waited.
            self._waited_s += min(now - before, 2 * tick)
            before = now
            if self._waited_s > self._allowed_s:
                print(f"hpc-mlsm: {self._message.format(waited=self._waited_s)}", file=sys.stderr, flush=True)
                os._exit(RESUME_STATUS)

"""Being told to stop: Ctrl-C, SIGTERM and the batch system's warning before the walltime are one path.

The first signal asks for a drain: no further task is handed out, running ones finish within a grace, and then
``Interrupted`` is raised, upon which the program ends with ``RESUME_STATUS``. A second Ctrl-C aborts at once.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from hpc_mlsm.errors import ExecutorError

RESUME_STATUS = 75
"""Exit status that says "run me again, I will resume" (EX_TEMPFAIL of sysexits.h)."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""What asks for a drain; batch systems send SIGUSR1 or SIGTERM before the walltime ends, a closing terminal SIGHUP."""


class Interrupted(ExecutorError):  # noqa: N818  (it is no mistake, but a reason to stop)
    """The work was stopped from outside before it was complete; running the same command again resumes it."""


@dataclass
class Drain:
    """Whether, why and since when (``time.monotonic``) the work should come to an end."""

    reason: str = ""
    since: float = 0.0

    @property
    def requested(self) -> bool:
        """True once somebody asked for the drain."""
        return bool(self.reason)

    def request(self, reason: str) -> None:
        """Ask for the drain; only the first request counts. Safe from any thread and from signal handlers."""
        if not self.reason:
            self.since = time.monotonic()
            self.reason = reason

    def overdue(self, grace_s: float) -> bool:
        """True when the drain was requested more than ``grace_s`` seconds ago."""
        return self.requested and time.monotonic() - self.since > grace_s

    def check(self, detail: str = "") -> None:
        """Raise ``Interrupted`` when the drain was requested; ``detail`` says what is done and what is not."""
        if self.requested:
            middle = f"; {detail}" if detail else ""
            raise Interrupted(f"stopped by {self.reason}{middle}. Run the same command again to resume")


@dataclass
class _Active:
    """The drain shared by all users of ``draining`` at the moment, and the handlers to put back after the last."""

    drain: Drain
    users: int
    previous: dict[signal.Signals, Any]


_active: _Active | None = None
_guard = threading.RLock()


@contextmanager
def draining() -> Iterator[Drain]:
    """Turn the stop signals into a request for a drain while the block runs.

    Nested and overlapping uses share one drain. Outside the main thread signals cannot be caught; then only
    ``request_drain`` asks for a drain.
    """
    drain = _enter()
    try:
        yield drain
    finally:
        _leave()


def request_drain(reason: str) -> bool:
    """Ask the work that is going on to come to an end; False when nothing is listening."""
    active = _active
    if active is None:
        return False
    active.drain.request(reason)
    return True


@contextmanager
def stoppable() -> Iterator[None]:
    """Make Ctrl-C, SIGTERM and SIGUSR1 raise ``Interrupted`` in the main thread while the block runs.

    For the work between task maps: by default these signals end a process without any cleaning up, or as an error.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        raise Interrupted(f"stopped by {name}. Run the same command again to resume")

    heeded = [
        kind for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) if signal.getsignal(kind) is not signal.SIG_IGN
    ]
    previous = {kind: signal.signal(kind, interrupt) for kind in heeded}
    try:
        yield
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)


def _enter() -> Drain:
    global _active
    with _guard:
        if _active is None:
            _active = _Active(Drain(), 0, {})
        _active.users += 1
        if not _active.previous and threading.current_thread() is threading.main_thread():
            # What is ignored stays so: nohup ignores SIGHUP, and a shell SIGINT for what it runs in the background.
            heeded = [kind for kind in STOP_SIGNALS if signal.getsignal(kind) is not signal.SIG_IGN]
            _active.previous = {kind: signal.signal(kind, _on_signal) for kind in heeded}
        return _active.drain


def _leave() -> None:
    global _active
    with _guard:
        if _active is None:
            return
        _active.users -= 1
        if _active.users:
            return
        previous, _active = _active.previous, None
    if threading.current_thread() is threading.main_thread():
        for kind, handler in previous.items():
            # None is a handler that was not set from Python and cannot be put back.
            signal.signal(kind, signal.SIG_DFL if handler is None else handler)


def _on_signal(number: int, frame: FrameType | None) -> None:
    active = _active
    name = signal.Signals(number).name
    if active is None or (number == signal.SIGINT and active.drain.requested):
        raise KeyboardInterrupt(name)
    active.drain.request("Ctrl-C" if number == signal.SIGINT else name)

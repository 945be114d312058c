"""What one worker process of a node does for all of them, such as compiling, while the others wait for it."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60.0
"""How long a process waits for another one to be done; then it goes on, and does for itself what it needs."""

POLL_S = 0.05

_seen: set[str] = set()


def once_a_node(name: str, work: Callable[[], object]) -> None:
    """Do ``work`` in the first process of this node that comes here; all others that come meanwhile wait for its end.

    A node's processes are those that share numba's cache folder (``NUMBA_CACHE_DIR``), in which an empty file tells
    that it was done, for runs to come too. Without such a folder, or on a file system without locks, nothing is done:
    this only saves work, and every process must manage without. A process that dies in it is followed by another.

    Parameters
    ----------
    name : str
        Of the work: a file name, another one for work with another result.
    work : callable
        What it raises is raised; the next process then tries.
    """
    folder = os.environ.get("NUMBA_CACHE_DIR")
    if name in _seen or not folder:
        return
    done = Path(folder) / f"{name}.done"
    if not done.exists():
        lock = _locked(Path(folder) / f"{name}.lock", done)
        try:
            if lock is not None and not done.exists():
                work()
                _mark(done)
        finally:
            if lock is not None:
                os.close(lock)
    _seen.add(name)


def _locked(path: Path, done: Path) -> int | None:
    """A handle that holds the lock, or None when it was done meanwhile, took too long, or cannot be locked here."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if not done.exists() and time.monotonic() < deadline:
                time.sleep(POLL_S)
                continue
        except OSError:
            pass
        os.close(handle)
        return None


def _mark(done: Path) -> None:
    try:
        done.touch(mode=0o600)
    except OSError:
        return

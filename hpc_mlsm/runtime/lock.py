"""A run directory is used by one live process at a time.

The lock is a file that names its holder and is touched as long as the holder lives. On the holder's own host the
process table says whether it is alive; from other hosts, which share the file system, the time of the last touch does.
All comparisons of times are within the file system's clock, so hosts whose clocks differ do no harm. Of a holder in a
Slurm job more is known: a later start of the same job succeeds it, and it is dead once its job has left the queue.
"""

import contextlib
import errno
import json
import os
import platform
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from hpc_mlsm.errors import RunError
from hpc_mlsm.runtime.events import Listener, Note, ignore
from hpc_mlsm.runtime.lock_holder import Holder, process_start, read_holder
from hpc_mlsm.runtime.signals import request_drain
from hpc_mlsm.runtime.slurm_jobs import surely_ended

LOCK_NAME = "run.lock"
HEARTBEAT_S = 30.0
DEAD_AFTER_S = 600.0
"""A lock of another host that was not touched for so long belongs to a dead process."""

TAKEOVER_S = 60.0
"""Taking over a dead lock takes milliseconds; a takeover that is older than this was itself cut short."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


class RunLock:
    """Keeps other processes out of a run directory for as long as the block runs.

    Parameters
    ----------
    folder : Path
        The run directory; must exist.
    name : str
        Of the lock file; locks of other names are independent of this one.
    on_event : Listener
        Told, by a ``Note``, when a dead process's lock was taken over.
    heartbeat_s, dead_after_s : float
        How often the lock is touched, and after how long without a touch it counts as dead on other hosts.

    Raises
    ------
    RunError
        On entering, when a live process holds the lock (it is named), or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = LOCK_NAME,
        on_event: Listener = ignore,
        heartbeat_s: float = HEARTBEAT_S,
        dead_after_s: float = DEAD_AFTER_S,
    ) -> None:
        self.folder, self.path = folder, folder / name
        self._on_event = on_event
        self._heartbeat_s, self._dead_after_s = heartbeat_s, dead_after_s
        self._me = Holder.this_process()
        self._released = threading.Event()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, or say who has it."""
        try:
            if not self._create(self.path):
                self._take_over()
        except OSError as error:
            raise RunError(
                f"cannot lock the run directory {self.folder}: {error.strerror or error}. It must exist, be writable "
                "and have free space"
            ) from error
        self._released.clear()
        threading.Thread(target=self._beat, name="run-lock-heartbeat", daemon=True).start()

    def release(self) -> None:
        """Give the lock back, if it is still this process's. May be called twice."""
        self._released.set()
        if self.held():
            self.path.unlink(missing_ok=True)

    def held(self) -> bool:
        """Whether the lock on disk is still this process's."""
        holder = read_holder(self.path)
        return holder is not None and holder.token == self._me.token

    def _create(self, path: Path) -> bool:
        """Create a lock file with its full content in one step; False when there is one already."""
        own = self.folder / f".{self.path.name}-{self._me.token}"
        content = json.dumps(asdict(self._me))
        try:
            own.write_text(content)
            # Linking fails where the name exists, also on NFS, and never shows a half-written file.
            os.link(own, path)
        except FileExistsError:
            # On NFS the link may be made and the answer lost; a repeated request then finds it there.
            return own.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_exclusively(path, content)
        finally:
            own.unlink(missing_ok=True)
        return True

    def _take_over(self) -> None:
        """Replace a dead lock; a second lock makes sure that only one process at a time judges and replaces."""
        mutex = self.path.with_suffix(".takeover")
        if not self._create(mutex):
            with contextlib.suppress(FileNotFoundError):
                if self._age(mutex) > TAKEOVER_S:
                    mutex.unlink()
            raise RunError(f"another process is just taking over {self.folder}: try again in a minute")
        try:
            holder = read_holder(self.path)
            alive = self._why_alive(holder)
            if alive:
                raise RunError(
                    f"the run directory {self.folder} is in use by {holder or 'an unknown process'}: {alive}. Wait "
                    f"for it, stop it, or use another directory; delete {self.path.name} only if it is surely dead"
                )
            was_locked = self.path.exists()
            self.path.unlink(missing_ok=True)
            if not self._create(self.path):
                raise RunError(f"the run directory {self.folder} was taken by another process just now")
        finally:
            mutex.unlink(missing_ok=True)
        if was_locked:
            text = f"took over the run directory from {holder or 'an unknown process'}, which is dead"
            self._on_event(Note(stage="lock", text=text))

    def _why_alive(self, holder: Holder | None) -> str:
        """Why the holder must be taken for alive; empty when it is dead or gone."""
        if holder is not None and holder.host == platform.node():
            return "it is running" if process_start(holder.pid) == holder.started else ""
        if (
            holder is not None
            and holder.job
            and (holder.precedes(self._me) or surely_ended(holder.job, holder.cluster))
        ):
            return ""
        try:
            age = self._age(self.path)
        except FileNotFoundError:
            return ""
        return "" if age > self._dead_after_s else f"its last sign of life is {max(age, 0):.0f} s old"

    def _age(self, path: Path) -> float:
        """Seconds since the file was touched, by the clock of its file system."""
        probe = self.folder / f".{self.path.name}-{self._me.token}"
        try:
            probe.touch()
            return probe.stat().st_mtime - path.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._released.wait(self._heartbeat_s):
            # A file system that does not answer for a while is no reason to stop.
            with contextlib.suppress(OSError):
                if read_holder(self.path) is not None and not self.held():
                    request_drain(f"another process taking over the run directory {self.folder}")
                    return
                os.utime(self.path)


def _create_exclusively(path: Path, content: str) -> bool:
    """Create a file on a file system without hard links; for an instant it is there without its content."""
    try:
        with path.open("x") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True

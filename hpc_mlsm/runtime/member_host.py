"""The worker's side of work that is done together: it starts the member's process, watches it, and can end it."""

import os
import pickle
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any
from urllib.parse import urlsplit

import psutil
from dask.distributed import get_worker

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_worker import ONE_THREAD
from hpc_mlsm.runtime.executor import MemberLost
from hpc_mlsm.runtime.member import Start
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.runtime.task_run import Answer

WATCH_S = 0.2
"""How often a member is looked at."""

PROGRAM = "import sys; from hpc_mlsm.runtime.member import main; main(int(sys.argv[1]))"

_inboxes: dict[str, "queue.SimpleQueue[tuple[str, Any]]"] = {}
_ended: set[str] = set()


@dataclass(frozen=True)
class Call:
    """One member's place in a group. ``token`` names the group, and is the topic under which its driver listens."""

    token: str
    rank: int
    start_s: float
    silence_s: float


@dataclass(frozen=True)
class Here:
    """What a worker says when its place is taken: where it is, and the cores that it shares with namesakes."""

    host: str
    share: tuple[Any, ...]
    cores: int


def deliver(token: str, kind: str, content: Any = None) -> None:
    """Hand what the driver says to the group's member on this worker, if it has one. Runs in the worker's loop."""
    if kind == "end":
        _ended.add(token)
    if inbox := _inboxes.get(token):
        inbox.put((kind, content))


def host_member(payload: bytes, call: Call) -> bytes:
    """Run a member in a process of its own, once all others are ready; gives its packed answer."""
    inbox = _inboxes[call.token] = queue.SimpleQueue()
    try:
        return _Hosting(payload, call, inbox).run()
    except ExecutorError as error:
        return pickle.dumps(Answer(error=error, worker=f"{platform.node()}:{os.getpid()}"))
    finally:
        del _inboxes[call.token]


class _Hosting:
    def __init__(self, payload: bytes, call: Call, inbox: "queue.SimpleQueue[tuple[str, Any]]") -> None:
        self.payload, self.call, self.inbox = payload, call, inbox
        self.worker = get_worker()
        self.where = f"member {call.rank} on {self.worker.address}"

    def run(self) -> bytes:
        self.say("here", Here(urlsplit(self.worker.address).hostname or "", _share(), usable_cores()))
        hosts, threads = self.await_start()
        mine, its = Pipe()
        environment = os.environ | {name: str(threads) for name in ONE_THREAD}
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        with tempfile.TemporaryFile() as output, its:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(its.fileno())],
                pass_fds=[its.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            its.close()
            try:
                mine.send(Start(self.payload, self.call.rank, hosts, threads, self.memory_limit()))
                return self.watch(process, mine, output)
            except (EOFError, OSError):
                raise self.died(process, output) from None
            finally:
                # Also where it is stopped, or waits for others in native code.
                process.kill()
                process.wait()
                mine.close()

    def memory_limit(self) -> int | None:
        manager = self.worker.memory_manager
        return int(manager.memory_limit) if manager and manager.memory_limit else None

    def await_start(self) -> tuple[tuple[str, ...], int]:
        deadline = time.monotonic() + self.call.start_s
        while self.call.token not in _ended and time.monotonic() < deadline:
            try:
                kind, content = self.inbox.get(timeout=WATCH_S)
            except queue.Empty:
                continue
            if kind == "start":
                hosts, threads = content
                return hosts, threads[self.call.rank]
        raise MemberLost(f"{self.where} was not started: the others did not come", sure=False)

    def watch(self, process: "subprocess.Popen[bytes]", link: Connection, output: IO[bytes]) -> bytes:
        heard = time.monotonic()
        limit = self.memory_limit()
        while True:
            if link.poll(WATCH_S):
                kind, content = link.recv()
                heard = time.monotonic()
                if kind == "done":
                    answer: bytes = content
                    return answer
                if kind != "beat":
                    self.say(kind, content)
            elif process.poll() is not None:
                raise self.died(process, output)
            self.heed(link)
            if time.monotonic() - heard > self.call.silence_s:
                raise MemberLost(f"{self.where} gave no sign of life for {self.call.silence_s:g} s and was ended")
            if limit and (used := _memory(process.pid)) > limit:
                raise ExecutorError(
                    f"{self.where} grew to {used / 1e6:.0f} MB and was ended: a worker may use {limit / 1e6:.0f} MB. "
                    "Use more workers, or raise executor.memory_per_worker_mb"
                )

    def heed(self, link: Connection) -> None:
        """Pass on what the driver said."""
        if self.call.token in _ended:
            raise MemberLost(f"{self.where} was ended with the others", sure=False)
        while not self.inbox.empty():
            kind, content = self.inbox.get()
            if kind in ("stop", "gathered"):
                link.send((kind, content))

    def died(self, process: "subprocess.Popen[bytes]", output: IO[bytes]) -> MemberLost:
        status = process.wait()
        output.seek(max(0, output.seek(0, os.SEEK_END) - 2000))
        said = output.read().decode(errors="replace").strip().splitlines()[-3:]
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        # XGBoost ends a process by a status of its own when another one tells it of an error.
        return MemberLost(f"{self.where} {how}" + (f"; it said: {' | '.join(said)}" if said else ""), sure=status < 0)

    def say(self, kind: str, content: Any) -> None:
        self.worker.log_event(self.call.token, (self.call.rank, kind, pickle.dumps(content)))


def _share() -> tuple[Any, ...]:
    """Names the cores that this worker may use, so that workers which share them can be counted."""
    place = (platform.node(), *sorted(os.sched_getaffinity(0)))
    if os.environ.get("SLURM_CPUS_PER_TASK"):
        # Without binding all tasks of a node have the same affinity, and each its own share.
        return (*place, *(os.environ.get(f"SLURM_{name}") for name in ("JOB_ID", "STEP_ID", "PROCID")))
    return place


def _memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0

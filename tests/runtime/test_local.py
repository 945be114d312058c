"""What only executors with worker processes can get wrong: dying workers, signals, and what is left behind."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_map import TaskMap
from hpc_mlsm.runtime.dask_worker import ONE_THREAD, numba_cache
from hpc_mlsm.runtime.events import Event, TaskFailed, TaskRetried, TaskSplit, WorkerLost, ignore
from hpc_mlsm.runtime.local import LocalExecutor
from hpc_mlsm.runtime.resources import usable_memory_mb
from hpc_mlsm.runtime.signals import RESUME_STATUS, Drain

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Batch:
    """Some numbers; ``poison`` are those that end the worker."""

    id: str
    numbers: tuple[int, ...]
    poison: tuple[int, ...] = ()
    how: str = "kill"
    folder: str = ""
    cost: float = 1.0

    @property
    def units(self) -> int:
        return len(self.numbers)

    def split(self) -> list["Batch"]:
        half = len(self.numbers) // 2
        halves = (self.numbers[:half], self.numbers[half:])
        return [replace(self, id=f"{self.id}.{i}", numbers=numbers) for i, numbers in enumerate(halves) if numbers]


def batches(n: int, poison: tuple[int, ...] = (), how: str = "kill", folder: str = "") -> list[Batch]:
    return [Batch(f"batch-{i}", (i,), poison, how, folder) for i in range(n)]


def total(task: Batch) -> int:
    for number in task.numbers:
        if number in task.poison:
            DEATHS[task.how]()
        time.sleep(0.01)
    return sum(task.numbers)


def die_once(task: Batch) -> int:
    marker = Path(task.folder) / task.id
    if set(task.numbers) & set(task.poison) and not marker.exists():
        marker.touch()
        DEATHS[task.how]()
    return sum(task.numbers)


def count_runs(task: Batch) -> int:
    with (Path(task.folder) / f"runs-of-{task.id}").open("a") as file:
        file.write("run\n")
    return total(task)


def environment(task: Batch) -> dict[str, str]:
    return dict(os.environ)


def blas_threads(task: Batch) -> int:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return max(library["num_threads"] for library in threadpool_info())


def interrupt_own_process(task: Batch) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return os.getpid()


def eat_memory(task: Batch) -> int:
    hoard = []
    while True:
        hoard.append(bytearray(20 * 10**6))
        hoard[-1][::4096] = b"x" * len(hoard[-1][::4096])
        time.sleep(0.02)


def sleep_long(task: Batch) -> int:
    if task.id != "batch-0":
        time.sleep(1000)
    return 0


def stop_own_process(task: Batch) -> int:
    if task.id != "batch-0":
        os.kill(os.getpid(), signal.SIGSTOP)
    return 0


def own_pid(task: Batch) -> int:
    return os.getpid()


def say(*words: str) -> None:
    """Write a line in one go: several processes write to the same pipe."""
    os.write(1, f"{' '.join(words)}\n".encode())


def nap(task: Batch) -> int:
    say("running", task.id)
    time.sleep(float(task.folder))
    return 0


DEATHS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(0),
}


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(2) as made:
        yield made


@pytest.mark.parametrize(("how", "reason"), [("kill", "signal 9"), ("segfault", "signal 11"), ("exit", "")])
def test_a_task_that_ends_its_worker_is_blamed_and_no_other(
    executor: LocalExecutor, tmp_path: Path, how: str, reason: str
) -> None:
    events: list[Event] = []
    tasks = batches(12, poison=(5,), how=how, folder=str(tmp_path))
    outcomes = {o.task.id: o for o in executor.map_tasks(count_runs, tasks, stage="deadly", on_event=events.append)}
    assert {id_ for id_, outcome in outcomes.items() if outcome.error} == {"batch-5"}
    assert {o.value for o in outcomes.values() if not o.error} == set(range(12)) - {5}
    error = outcomes["batch-5"].error
    assert isinstance(error, ExecutorError)
    assert "died 3 times in this task" in str(error)
    assert reason in str(error)
    # It ran thrice; of the others, only those that were on its worker when it first died may have run twice.
    runs = {task.id: len((tmp_path / f"runs-of-{task.id}").read_text().split()) for task in tasks}
    assert runs["batch-5"] == 3
    assert sum(runs.values()) <= 3 + 11 + 2
    assert sum(isinstance(event, WorkerLost) for event in events) == 3
    assert [e.attempt for e in events if isinstance(e, TaskRetried) and e.task_id == "batch-5"] == [2, 3]
    assert [e.attempt for e in events if isinstance(e, TaskFailed)] == [3]


def test_a_task_whose_worker_died_by_accident_succeeds_on_another(executor: LocalExecutor, tmp_path: Path) -> None:
    events: list[Event] = []
    tasks = batches(6, poison=(1, 4), folder=str(tmp_path))
    outcomes = list(executor.map_tasks(die_once, tasks, stage="accident", on_event=events.append))
    assert {outcome.value for outcome in outcomes} == set(range(6))
    assert not any(outcome.error for outcome in outcomes)
    assert sum(isinstance(event, WorkerLost) for event in events) == 2


def test_a_deadly_batch_is_split_until_the_one_to_blame_is_found(executor: LocalExecutor) -> None:
    events: list[Event] = []
    tasks = [Batch("a", tuple(range(4)), poison=(2,)), Batch("b", (100, 101))]
    outcomes = list(executor.map_tasks(total, tasks, stage="split", on_event=events.append))
    assert [o.task.numbers for o in outcomes if o.error] == [(2,)]
    done = {number for o in outcomes if not o.error for number in o.task.numbers}
    assert done == {0, 1, 3, 100, 101}
    # On a busy machine an innocent half may be on a worker that goes down with another, and is split as well.
    split = [e.task_id for e in events if isinstance(e, TaskSplit)]
    assert split[0] == "a"
    assert "a.1" in split


def test_workers_have_one_thread_a_library_and_a_private_numba_cache(executor: LocalExecutor) -> None:
    (outcome,) = executor.map_tasks(environment, batches(1), stage="environment")
    seen = outcome.value or {}
    assert {name: seen.get(name) for name in ONE_THREAD} == ONE_THREAD
    cache = Path(seen["NUMBA_CACHE_DIR"])
    assert "NUMBA_CACHE_DIR" in os.environ or cache.stat().st_mode & 0o077 == 0
    (threads,) = executor.map_tasks(blas_threads, batches(1), stage="threads")
    assert threads.value == 1


def test_this_process_keeps_its_environment() -> None:
    # Training that follows in this process must not inherit the workers' single thread.
    before = dict(os.environ)
    with LocalExecutor(1):
        assert dict(os.environ) == before
    assert dict(os.environ) == before


def test_everything_listens_on_loopback_only(executor: LocalExecutor) -> None:
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    connections = [c for process in processes for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    # A scheduler, and for each worker itself and its nanny, at least.
    assert len(connections) >= 5
    assert {connection.laddr.ip for connection in connections} == {"127.0.0.1"}


def test_workers_are_deaf_to_ctrl_c(executor: LocalExecutor) -> None:
    outcomes = list(executor.map_tasks(interrupt_own_process, batches(2), stage="deaf"))
    assert all(outcome.error is None for outcome in outcomes)


def test_a_task_beyond_the_memory_of_a_worker_is_an_error_that_says_so() -> None:
    with LocalExecutor(1, memory_per_worker_mb=400, retries=0) as executor:
        (outcome,) = executor.map_tasks(eat_memory, batches(1), stage="memory")
    assert "memory limit" in str(outcome.error)


def test_more_memory_than_there_is_is_refused_with_the_figures() -> None:
    usable = usable_memory_mb()
    with pytest.raises(ExecutorError, match=f"and {usable} MB are there: use at most 1 workers"):
        LocalExecutor(2, memory_per_worker_mb=usable - 1)


class Desert:
    """A pool whose workers come and go as the test says."""

    client: Any = None
    capacity = 1
    retries = 0
    grace_s = 0.0
    revive_s = 60.0

    def __init__(self) -> None:
        self.there: list[str] = []

    def workers(self) -> list[str]:
        return self.there

    def why_lost(self, pid: int) -> str:
        return ""


def test_patience_with_missing_workers_counts_from_when_they_were_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("hpc_mlsm.runtime.dask_map.time.monotonic", lambda: clock[0])
    pool = Desert()
    task_map = TaskMap(pool, total, iter([]), stage="long", on_event=ignore, drain=Drain())

    def look(at: float, there: list[str]) -> None:
        clock[0], pool.there = at, there
        task_map._look_after_workers()

    look(1000.0, [])
    look(1059.0, [])
    look(1070.0, ["tcp://1"])
    look(1090.0, [])
    look(1149.0, [])
    with pytest.raises(ExecutorError, match="no worker has been there for 60 s"):
        look(1151.0, [])


def test_a_scratch_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="cannot make a scratch folder"):
        LocalExecutor(1, scratch=tmp_path / "missing")


@pytest.mark.parametrize("busy", [sleep_long, stop_own_process])
def test_shutdown_ends_busy_workers_soon_and_leaves_nothing(tmp_path: Path, busy: Callable[[Batch], int]) -> None:
    executor = LocalExecutor(1, scratch=tmp_path)
    (worker,) = {outcome.value for outcome in executor.map_tasks(own_pid, batches(1), stage="pid")}
    outcomes = executor.map_tasks(busy, batches(3), stage="busy")
    assert next(outcomes).task.id == "batch-0"
    start = time.monotonic()
    executor.shutdown()
    assert time.monotonic() - start < 5
    assert worker is not None
    assert not psutil.pid_exists(worker)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ExecutorError):
        next(outcomes)


def test_workers_that_never_come_back_end_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpc_mlsm.runtime.dask_map.LOOK_S", 0.2)
    with LocalExecutor(1, revive_s=1) as executor:

        def supply() -> Iterator[Batch]:
            executor._cluster.scale(0)
            while executor.workers():
                time.sleep(0.02)
            yield from batches(3)

        with pytest.raises(ExecutorError, match=r"no worker has been there for 1 s .* 2 tasks wait"):
            next(executor.map_tasks(total, supply(), stage="gone"))


PROGRAM = """
import signal, sys
from hpc_mlsm.runtime.events import TaskSubmitted
from hpc_mlsm.runtime.executor import Outcome
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.runtime.signals import RESUME_STATUS, Interrupted
from test_local import batches, nap, say

def main():
    # A shell that runs the tests in the background would have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kind, scratch, grace, nap_s = sys.argv[1:]
    settings = ExecutorSettings(kind=kind, workers=2, scratch=scratch, grace_s=float(grace))
    try:
        with make_executor(settings) as executor:
            for outcome in executor.map_tasks(nap, batches(50, folder=nap_s), stage="naps", on_event=show):
                say("finished", outcome.task.id)
    except Interrupted as stop:
        say("interrupted:", str(stop))
        sys.exit(RESUME_STATUS)

def show(event):
    if isinstance(event, TaskSubmitted):
        say("submitted", event.task_id)

if __name__ == "__main__":
    main()
"""


class Program:
    """A run of the program above in a process group of its own, as a shell would start it."""

    def __init__(self, folder: Path, kind: str, *, grace_s: float, nap_s: float) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        script = folder / "program.py"
        script.write_text(PROGRAM)
        path = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(script), kind, str(self.scratch), str(grace_s), str(nap_s)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def wait_for(self, word: str, count: int = 1) -> None:
        assert self.process.stdout is not None
        while sum(line.startswith(word) for line in self.lines) < count:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.lines.append(line)

    def survivors(self) -> list[psutil.Process]:
        """What still runs of it; not what has ended and only waits for init to notice."""
        session = [p for p in psutil.process_iter(["status"]) if _in_session(p.pid, self.process.pid)]
        return [process for process in session if process.info["status"] != psutil.STATUS_ZOMBIE]

    def finish(self) -> tuple[int, str, str]:
        """Exit status, all output, and errors; nothing of the program may be left."""
        out, errors = self.process.communicate(timeout=30)
        time.sleep(0.1)
        assert self.survivors() == []
        assert list(self.scratch.iterdir()) == []
        return self.process.returncode, "".join(self.lines) + out, errors


def _in_session(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False


@pytest.mark.parametrize(("kind", "number"), [("inline", signal.SIGUSR1), ("local", signal.SIGTERM)])
def test_a_stop_signal_lets_running_tasks_finish_and_says_resume_me(
    tmp_path: Path, kind: str, number: signal.Signals
) -> None:
    program = Program(tmp_path, kind, grace_s=20, nap_s=0.2)
    program.wait_for("finished", 2)
    program.process.send_signal(number)
    status, out, errors = program.finish()
    assert (status, errors) == (RESUME_STATUS, "")
    assert f"interrupted: stopped by {number.name}" in out
    finished, submitted = out.count("finished batch"), out.count("submitted")
    assert 2 <= finished < 10
    # All that was submitted is either done, or was still queued and not started.
    assert submitted - finished <= (2 if kind == "local" else 0)
    assert f"{finished} tasks of stage naps were finished" in out


def test_ctrl_c_reaches_workers_as_well_but_their_tasks_finish(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=20, nap_s=0.5)
    program.wait_for("finished", 2)
    os.killpg(program.process.pid, signal.SIGINT)
    status, out, errors = program.finish()
    assert (status, errors) == (RESUME_STATUS, "")
    assert "interrupted: stopped by Ctrl-C; 4 tasks of stage naps were finished" in out


def test_a_second_ctrl_c_aborts_at_once(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=100, nap_s=60)
    program.wait_for("running", 2)
    start = time.monotonic()
    os.killpg(program.process.pid, signal.SIGINT)
    time.sleep(0.5)
    os.killpg(program.process.pid, signal.SIGINT)
    status, _, errors = program.finish()
    assert time.monotonic() - start < 8
    assert status == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt: SIGINT")


def test_tasks_that_outlast_the_grace_are_left_undone(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=0.5, nap_s=60)
    program.wait_for("running", 2)
    start = time.monotonic()
    program.process.send_signal(signal.SIGTERM)
    status, out, errors = program.finish()
    assert time.monotonic() - start < 8
    assert (status, errors) == (RESUME_STATUS, "")
    assert "0 tasks of stage naps were finished, 4 more were with the workers and did not finish within 0.5 s" in out


def test_a_killed_driver_takes_its_workers_along_and_the_next_sweeps_up(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=20, nap_s=60)
    program.wait_for("running", 2)
    (left,) = program.scratch.iterdir()
    program.process.kill()
    program.process.wait()
    deadline = time.monotonic() + 5
    while program.survivors() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert program.survivors() == []
    program.process.communicate()
    others = program.scratch / left.name.replace(str(program.process.pid), "1")
    others.mkdir()
    with LocalExecutor(1, scratch=program.scratch):
        assert not left.exists()
    assert list(program.scratch.iterdir()) == [others]


def test_a_complete_map_is_silent_and_leaves_nothing(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=5, nap_s=0)
    status, out, errors = program.finish()
    assert (status, errors) == (0, "")
    assert out.count("finished") == 50


def test_the_numba_cache_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = numba_cache(tmp_path / "scratch")
    assert own.parent == tmp_path
    own.chmod(0o777)
    assert numba_cache(tmp_path / "scratch") == tmp_path / "scratch" / "numba"
    own.rmdir()
    own.symlink_to(tmp_path)
    assert numba_cache(tmp_path / "scratch") == tmp_path / "scratch" / "numba"
    own.unlink()
    own.write_text("a file")
    assert numba_cache(tmp_path / "scratch") == tmp_path / "scratch" / "numba"

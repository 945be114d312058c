"""What only executors with worker processes can get wrong: dying workers, their surroundings, shutdown."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from batches import (
    Batch,
    batches,
    blas_threads,
    count_runs,
    die_once,
    eat_memory,
    environment,
    interrupt_own_process,
    own_pid,
    sleep_long,
    stop_own_process,
    total,
)

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_deaths import Loss
from hpc_mlsm.runtime.dask_pool import Attendance
from hpc_mlsm.runtime.dask_worker import ONE_THREAD, numba_cache
from hpc_mlsm.runtime.events import Event, TaskFailed, TaskRetried, TaskSplit, WorkerLost
from hpc_mlsm.runtime.local import LocalExecutor
from hpc_mlsm.runtime.resources import usable_memory_mb


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

    def why_lost(self, worker: object) -> Loss:
        return Loss()

    def why_deserted(self) -> str:
        return ""


def test_patience_with_missing_workers_counts_from_when_they_were_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("hpc_mlsm.runtime.dask_pool.time.monotonic", lambda: clock[0])
    pool = Desert()
    attendance = Attendance(pool, "long")

    def look(at: float, there: list[str]) -> None:
        clock[0], pool.there = at, there
        attendance.look(3)

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
    monkeypatch.setattr("hpc_mlsm.runtime.dask_pool.LOOK_S", 0.2)
    with LocalExecutor(1, revive_s=1) as executor:

        def supply() -> Iterator[Batch]:
            executor._cluster.scale(0)
            while executor.workers():
                time.sleep(0.02)
            yield from batches(3)

        with pytest.raises(ExecutorError, match=r"no worker has been there for 1 s .* 2 tasks wait"):
            next(executor.map_tasks(total, supply(), stage="gone"))


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

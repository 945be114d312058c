"""One behaviour of all executors."""

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from hpc_mlsm.errors import ExecutorError, StructureError
from hpc_mlsm.runtime.dask_map import QUEUED_PER_WORKER
from hpc_mlsm.runtime.events import Event, TaskFailed, TaskFinished, TaskSubmitted
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.runtime.task_run import MAX_RESULT_BYTES, MAX_TASK_BYTES, TaskError

KINDS = {"inline": ExecutorSettings(kind="inline"), "local": ExecutorSettings(kind="local", workers=2)}


@dataclass(frozen=True)
class Number:
    id: str
    n: int
    cost: float = 1.0
    units: int = 1


class StubbornError(StructureError):
    """An error of the family that cannot be pickled, as happens."""

    def __init__(self, n: int) -> None:
        super().__init__("stubborn", f"number {n} is stubborn")
        self.lock = threading.Lock()


def numbers(n: int) -> list[Number]:
    return [Number(f"task-{i}", i) for i in range(n)]


def square(task: Number) -> int:
    return task.n**2


def power(exponent: int, task: Number) -> int:
    return task.n**exponent


def picky(task: Number) -> int:
    if task.n == 3:
        raise StructureError("no_atoms", "number 3 has no atoms")
    if task.n == 4:
        raise ZeroDivisionError("number 4 is a mistake")
    if task.n == 5:
        sys.exit("number 5 leaves")
    if task.n == 6:
        raise StubbornError(task.n)
    return task.n


def unpicklable(task: Number) -> Callable[[], int]:
    return lambda: task.n


class OneWay:
    """A value that can be sent and not be read."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return (int, ("not a number",))


def one_way(task: Number) -> OneWay:
    return OneWay()


def big(task: Number) -> bytes:
    return bytes(task.n)


def nap(task: Number) -> int:
    time.sleep(0.02)
    return task.n


def whoami(task: Number) -> int:
    return os.getpid()


@pytest.fixture(scope="module", params=KINDS)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with make_executor(KINDS[request.param]) as made:
        yield made


def test_every_task_gives_its_value_once(executor: Executor) -> None:
    outcomes = list(executor.map_tasks(square, numbers(20), stage="squares"))
    assert sorted(outcome.task.n for outcome in outcomes) == list(range(20))
    assert all(outcome.value == outcome.task.n**2 and outcome.error is None for outcome in outcomes)
    assert all(0 <= outcome.seconds < 5 and outcome.worker for outcome in outcomes)


def test_no_tasks_give_no_outcomes(executor: Executor) -> None:
    assert list(executor.map_tasks(square, [], stage="nothing")) == []


def test_a_partial_of_a_function_is_a_function(executor: Executor) -> None:
    outcomes = executor.map_tasks(functools.partial(power, 3), numbers(3), stage="cubes")
    assert {outcome.task.n: outcome.value for outcome in outcomes} == {0: 0, 1: 1, 2: 8}


def test_a_thousand_tiny_tasks_all_come_back(executor: Executor) -> None:
    outcomes = executor.map_tasks(square, numbers(1000), stage="many")
    assert sum(outcome.value or 0 for outcome in outcomes) == 999 * 1000 * 1999 // 6


def test_tasks_run_on_as_many_processes_as_the_capacity_says(executor: Executor) -> None:
    pids = {outcome.value for outcome in executor.map_tasks(whoami, numbers(100), stage="pids")}
    assert len(pids) == executor.capacity


def test_errors_stay_with_their_task_and_the_others_go_on(executor: Executor) -> None:
    outcomes = {o.task.n: o for o in executor.map_tasks(picky, numbers(8), stage="picky")}
    assert {n: o.value for n, o in outcomes.items() if o.error is None} == {0: 0, 1: 1, 2: 2, 7: 7}
    assert isinstance(outcomes[3].error, StructureError)
    assert outcomes[3].error.reason == "no_atoms"
    mistake = outcomes[4].error
    assert isinstance(mistake, TaskError)
    assert str(mistake) == "ZeroDivisionError: number 4 is a mistake"
    assert "in picky" in mistake.trace
    assert str(outcomes[5].error) == "SystemExit: number 5 leaves"
    assert str(outcomes[6].error) == "StubbornError: number 6 is stubborn"


def test_a_result_that_cannot_be_sent_is_an_error_of_its_task(executor: Executor) -> None:
    (outcome,) = executor.map_tasks(unpicklable, numbers(1), stage="results")
    assert isinstance(outcome.error, ExecutorError)
    assert "of type function" in str(outcome.error)


def test_a_result_that_cannot_be_read_back_is_an_error_of_its_task(executor: Executor) -> None:
    (outcome,) = executor.map_tasks(one_way, numbers(1), stage="results")
    assert "cannot be read back" in str(outcome.error)


def test_a_big_result_is_refused_with_the_remedy(executor: Executor) -> None:
    tasks = [Number("fits", MAX_RESULT_BYTES - 10_000), Number("big", MAX_RESULT_BYTES + 1)]
    outcomes = {o.task.id: o for o in executor.map_tasks(big, tasks, stage="results")}
    assert outcomes["fits"].error is None
    assert "write it to a file" in str(outcomes["big"].error)


def test_a_function_that_cannot_be_sent_is_refused(executor: Executor) -> None:
    with pytest.raises(ExecutorError, match="task task-0 cannot be sent to a worker"):
        list(executor.map_tasks(lambda task: task.n, numbers(2), stage="lambda"))


def test_a_big_task_is_refused_with_the_remedy(executor: Executor) -> None:
    with pytest.raises(ExecutorError, match="give paths to files"):
        list(executor.map_tasks(square, [Number("x" * MAX_TASK_BYTES, 1)], stage="big"))


def test_nothing_runs_before_the_first_outcome_is_asked_for(executor: Executor) -> None:
    events: list[Event] = []
    outcomes = executor.map_tasks(square, numbers(3), stage="lazy", on_event=events.append)
    assert events == []
    assert len(list(outcomes)) == 3


def test_a_slow_consumer_holds_back_the_supply(executor: Executor) -> None:
    taken = yielded = most = 0

    def supply() -> Iterator[Number]:
        nonlocal taken
        for task in numbers(40):
            taken += 1
            yield task

    for _ in executor.map_tasks(nap, supply(), stage="pressure"):
        most = max(most, taken - yielded)
        yielded += 1
        time.sleep(0.005)
    assert yielded == taken == 40
    assert most <= (1 + QUEUED_PER_WORKER) * executor.capacity


def test_a_map_that_is_left_early_does_not_disturb_the_next(executor: Executor) -> None:
    outcomes = executor.map_tasks(nap, numbers(30), stage="left")
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert len(list(executor.map_tasks(square, numbers(5), stage="next"))) == 5


def test_an_error_in_the_supply_reaches_the_caller(executor: Executor) -> None:
    def supply() -> Iterator[Number]:
        yield Number("only", 1)
        raise RuntimeError("the plan is broken")

    with pytest.raises(RuntimeError, match="the plan is broken"):
        list(executor.map_tasks(square, supply(), stage="broken"))
    assert len(list(executor.map_tasks(square, numbers(2), stage="next"))) == 2


def test_tasks_are_handed_out_in_their_order(executor: Executor) -> None:
    events: list[Event] = []
    list(executor.map_tasks(nap, numbers(30), stage="order", on_event=events.append))
    handed_out = [event.task_id for event in events if isinstance(event, TaskSubmitted)]
    assert handed_out == [task.id for task in numbers(30)]


def test_two_maps_may_overlap(executor: Executor) -> None:
    first = executor.map_tasks(square, numbers(10), stage="first")
    second = executor.map_tasks(nap, numbers(10), stage="second")
    pairs = list(zip(first, second, strict=True))
    assert {a.value for a, _ in pairs} == {n**2 for n in range(10)}
    assert {b.value for _, b in pairs} == set(range(10))


def test_events_tell_of_every_task(executor: Executor) -> None:
    events: list[Event] = []
    list(executor.map_tasks(picky, numbers(8), stage="told", on_event=events.append))
    assert {event.stage for event in events} == {"told"}
    assert {e.task_id for e in events if isinstance(e, TaskSubmitted)} == {f"task-{n}" for n in range(8)}
    assert sum(e.n_units for e in events if isinstance(e, TaskFinished)) == 4
    failures = {e.task_id: e for e in events if isinstance(e, TaskFailed)}
    assert set(failures) == {"task-3", "task-4", "task-5", "task-6"}
    assert failures["task-4"].attempt == 1
    assert "in picky" in failures["task-4"].trace


@pytest.mark.parametrize("kind", KINDS)
def test_an_executor_that_was_shut_down_says_so(kind: str) -> None:
    executor = make_executor(KINDS[kind])
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(ExecutorError, match="was shut down"):
        executor.map_tasks(square, numbers(1), stage="late")


def test_inline_keeps_the_order_of_the_tasks() -> None:
    with make_executor(KINDS["inline"]) as executor:
        assert [o.task.n for o in executor.map_tasks(square, numbers(9), stage="order")] == list(range(9))

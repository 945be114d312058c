"""What a map says whose executor another thread shuts down."""

import threading
from collections.abc import ValuesView
from typing import Any

import pytest
from batches import batches, sleep_long

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.local import LocalExecutor

SHUT_DOWN = "stage busy: the executor was shut down while its tasks were running"


class OfOneThread(dict[str, Any]):
    """Tasks that only the thread may go through that made this."""

    def __init__(self, tasks: dict[str, Any]) -> None:
        super().__init__(tasks)
        self.thread = threading.get_ident()

    def values(self) -> ValuesView[Any]:
        assert threading.get_ident() == self.thread, "the tasks of a map were gone through by another thread"
        return super().values()


def test_a_map_whose_executor_another_thread_shuts_down_says_so() -> None:
    executor = LocalExecutor(1)
    outcomes = executor.map_tasks(sleep_long, batches(3), stage="busy")
    next(outcomes)
    thread = threading.Timer(0.3, executor.shutdown)
    thread.start()
    with pytest.raises(ExecutorError, match=SHUT_DOWN):
        list(outcomes)
    thread.join()


def test_the_tasks_of_a_map_are_left_to_its_own_thread() -> None:
    executor = LocalExecutor(1)
    outcomes = executor.map_tasks(sleep_long, batches(3), stage="busy")
    next(outcomes)
    running = executor._maps[0]
    running.flying = OfOneThread(running.flying)
    # What goes wrong in the thread fails the test: pytest makes a warning of it, and warnings are errors.
    thread = threading.Thread(target=executor.shutdown)
    thread.start()
    with pytest.raises(ExecutorError, match=SHUT_DOWN):
        list(outcomes)
    thread.join()

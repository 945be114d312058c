"""What a map says whose executor another thread shuts down."""

import threading

import pytest
from batches import batches, sleep_long

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.local import LocalExecutor


def test_a_map_whose_executor_another_thread_shuts_down_says_so() -> None:
    executor = LocalExecutor(1)
    outcomes = executor.map_tasks(sleep_long, batches(3), stage="busy")
    next(outcomes)
    thread = threading.Timer(0.3, executor.shutdown)
    thread.start()
    with pytest.raises(ExecutorError, match="stage busy: the executor was shut down while its tasks were running"):
        list(outcomes)
    thread.join()

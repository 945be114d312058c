"""The executor without workers: tasks run in this process, one after the other, in their order."""

from collections.abc import Callable, Iterable, Iterator

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.events import Listener, TaskSubmitted, ignore
from hpc_mlsm.runtime.executor import Executor, Outcome, R, T
from hpc_mlsm.runtime.signals import draining
from hpc_mlsm.runtime.task_run import event_of, outcome_of, pack, run_packed, unpack


class InlineExecutor(Executor):
    """Runs each task when its outcome is asked for: deterministic, easy to debug, no start-up cost.

    Tasks are pickled to and fro as with every executor, so what works here works on workers. A task that kills its
    process kills the run, and a running task is not cut short by the grace.
    """

    def __init__(self) -> None:
        self._closed = False

    @property
    def capacity(self) -> int:
        """One."""
        return 1

    def map_tasks(
        self, fn: Callable[[T], R], tasks: Iterable[T], *, stage: str, on_event: Listener = ignore
    ) -> Iterator[Outcome[T, R]]:
        """See ``Executor.map_tasks``."""
        if self._closed:
            raise ExecutorError(f"stage {stage}: the executor was shut down; make a new one")
        return self._outcomes(fn, tasks, stage, on_event)

    def shutdown(self) -> None:
        """Refuse further maps."""
        self._closed = True

    def _outcomes(
        self, fn: Callable[[T], R], tasks: Iterable[T], stage: str, on_event: Listener
    ) -> Iterator[Outcome[T, R]]:
        finished = 0
        source = iter(tasks)
        with draining() as drain:
            while not drain.requested and (task := next(source, None)) is not None:
                payload = pack(fn, task)
                on_event(TaskSubmitted(stage=stage, task_id=task.id))
                outcome = outcome_of(task, unpack(run_packed(payload)))
                on_event(event_of(outcome, stage))
                finished += 1
                yield outcome
            drain.check(f"{finished} tasks of stage {stage} were finished")

"""The executor without workers: tasks run in this process, one after the other, in their order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.events import Listener, TaskSubmitted, ignore
from hpc_mlsm.runtime.executor import AS_USUAL, Executor, Outcome, R, T, Together, TooFewWorkers
from hpc_mlsm.runtime.member import Member, alone
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.runtime.signals import draining
from hpc_mlsm.runtime.task_run import event_of, outcome_of, pack, run_packed, unpack
from hpc_mlsm.runtime.time_left import FittingTasks


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

    def run_together(
        self,
        fn: Callable[[T, Member], R],
        tasks: Sequence[T],
        *,
        stage: str,
        on_event: Listener = ignore,
        how: Together = AS_USUAL,
    ) -> list[R]:
        """See ``Executor.run_together``; one task at most."""
        if self._closed:
            raise ExecutorError(f"stage {stage}: the executor was shut down; make a new one")
        if len(tasks) > 1:
            raise TooFewWorkers(stage, len(tasks), 1)
        with draining() as drain:
            me = alone(partial(how.on_message, 0), lambda: drain.requested, how.threads or usable_cores())
            answers = [unpack(run_packed(pack(fn, task), "", me)) for task in tasks]
            for answer in answers:
                if answer.error is not None:
                    raise answer.error
            drain.check(f"stage {stage} came to an end")
            return [answer.value for answer in answers]

    def shutdown(self) -> None:
        """Refuse further maps."""
        self._closed = True

    def _outcomes(
        self, fn: Callable[[T], R], tasks: Iterable[T], stage: str, on_event: Listener
    ) -> Iterator[Outcome[T, R]]:
        finished = 0
        supply = FittingTasks(iter(tasks))
        with draining() as drain:
            while (task := supply.next(stopped=lambda: drain.requested)[0]) is not None:
                payload = pack(fn, task)
                on_event(TaskSubmitted(stage=stage, task_id=task.id))
                outcome = outcome_of(task, unpack(run_packed(payload)))
                if outcome.error is None:
                    supply.forecast.learn(task.cost, outcome.seconds)
                on_event(event_of(outcome, stage))
                finished += 1
                yield outcome
            if supply.short_of_time:
                drain.request(supply.short_of_time)
            drain.check(f"{finished} tasks of stage {stage} were finished")

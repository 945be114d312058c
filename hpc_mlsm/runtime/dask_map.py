"""One map of tasks over Dask workers: supply, answers, draining. What becomes of deaths is in ``dask_deaths``."""

import asyncio
import itertools
import queue
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future as ThreadFuture
from dataclasses import replace
from functools import partial
from typing import Any, Generic

from dask.distributed import Future, KilledWorker
from distributed.client import ClosedClientError

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_deaths import Attempt, Suspects
from hpc_mlsm.runtime.dask_loop import answer_of, in_loop
from hpc_mlsm.runtime.dask_pool import Attendance, Pool
from hpc_mlsm.runtime.events import Event, Listener, TaskSubmitted
from hpc_mlsm.runtime.executor import Outcome, R, T
from hpc_mlsm.runtime.signals import Drain
from hpc_mlsm.runtime.task_run import event_of, halt, outcome_of, pack, run_forecast, unpack
from hpc_mlsm.runtime.time_left import FittingTasks

QUEUED_PER_WORKER = 1
"""Tasks waiting at a worker behind the running one, so that it need not wait for the driver."""

AT_ONCE = 32
"""Answers that are dealt with before tasks are handed out again: one message for many tasks costs half for each."""

BYTES_AT_ONCE = 4 * 2**20
"""Size of a message beyond which no further task is put in it."""

POLL_S = 0.2
"""How often signals and deadlines are looked at while no outcome arrives."""


class TaskMap(Generic[T, R]):
    """The state of one ``map_tasks``."""

    def __init__(
        self, pool: Pool, fn: Callable[[T], R], source: Iterator[T], *, stage: str, on_event: Listener, drain: Drain
    ) -> None:
        self.pool, self.fn, self.stage, self.drain = pool, fn, stage, drain
        self.tell: Callable[[Event], None] = on_event
        self.supply = FittingTasks(source)
        self.suspects: Suspects[T] = Suspects(pool.why_lost, pool.retries, stage, on_event)
        self.token = uuid.uuid4().hex
        self.numbers = itertools.count()
        self.flying: dict[str, tuple[Attempt[T], Future]] = {}
        self.leaving: list[tuple[Attempt[T], bytes]] = []
        self.answers: queue.SimpleQueue[tuple[str, ThreadFuture[bytes]]] = queue.SimpleQueue()
        self.moved: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.failures: deque[Outcome[T, R]] = deque()
        self.exhausted = self.halted = self.abandoned = False
        self.finished = 0
        self.attendance = Attendance(pool, stage)

    def outcomes(self) -> Iterator[Outcome[T, R]]:
        """All outcomes, as they complete."""
        try:
            while self._supply():
                for answer in self._next_answers():
                    outcome = self._settle(*answer)
                    if outcome is not None:
                        self.finished += 1
                        yield outcome
                self._count_moves()
                while self.failures:
                    self.finished += 1
                    yield self.failures.popleft()
            detail = f"{self.finished} tasks of stage {self.stage} were finished"
            if self.flying:
                left = f"{len(self.flying)} more were with the workers"
                detail += f", {left} and did not finish within {self.pool.grace_s:g} s"
            if self.supply.short_of_time:
                self.drain.request(self.supply.short_of_time)
            self.drain.check(detail)
        except (OSError, RuntimeError, ClosedClientError) as error:
            if not self.abandoned:
                raise
            # The executor was shut down while tasks were being handed out.
            raise self._shut_down() from error
        finally:
            self.abandon()
            for _, future in self.flying.values():
                future.release()

    def abandon(self) -> None:
        """Go on no more, and have workers start none of the tasks queued on them.

        May be called twice, and by another thread than the one that goes through the outcomes, which alone touches
        the tasks.
        """
        if self.abandoned:
            return
        self.abandoned = True
        if self.flying and not self.halted:
            self._tell_halt()

    @property
    def demand(self) -> int:
        """Tasks that run or wait for a worker."""
        return self._handed_out + len(self.suspects.waiting) + len(self.suspects.innocent)

    @property
    def _handed_out(self) -> int:
        return len(self.flying) + len(self.leaving)

    def _supply(self) -> bool:
        """Hand out what the workers can take now; False when nothing is left to wait for."""
        if self.abandoned:
            raise self._shut_down()
        if self.drain.requested:
            self._halt()
            return bool(self.flying) and not self.drain.overdue(self.pool.grace_s)
        capacity = max(self.pool.capacity, 1)
        limit = (1 + QUEUED_PER_WORKER) * capacity
        while self._handed_out < limit and self.suspects.innocent:
            self._submit_if_it_fits(self.suspects.innocent.popleft())
        while not self.exhausted and self._handed_out < limit and not self.drain.requested:
            behind = self._handed_out >= capacity
            task, more = self.supply.next(behind_another=behind, stopped=lambda: self.drain.requested)
            self.exhausted = not more
            if task is None:
                break
            self._submit(Attempt(task, patience=self.pool.retries))
        if self.suspects.waiting and self.exhausted and not self.leaving:
            self._supply_suspects()
        self._send()
        return bool(self.demand)

    def _supply_suspects(self) -> None:
        """Give each idle worker one suspect, once no other task is about that could share a worker with it."""
        if any(attempt.worker is None for attempt, _ in self.flying.values()):
            return
        busy = {attempt.worker for attempt, _ in self.flying.values()}
        for attempt in self.suspects.take(worker for worker in self.pool.workers() if worker not in busy):
            self._submit_if_it_fits(attempt)

    def _submit_if_it_fits(self, attempt: Attempt[T]) -> None:
        if self.supply.fits(attempt.task):
            self._submit(attempt)
        else:
            self.supply.passed_over += 1

    def _submit(self, attempt: Attempt[T]) -> None:
        """Have a task handed out with the next message."""
        self.leaving.append((attempt, pack(self.fn, attempt.task)))
        alone = attempt.worker is not None
        if alone or len(self.leaving) >= AT_ONCE or sum(len(load) for _, load in self.leaving) >= BYTES_AT_ONCE:
            self._send()

    def _send(self) -> None:
        """Hand out the tasks that are to leave, in one message."""
        if not self.leaving:
            return
        leaving, self.leaving = self.leaving, []
        worker = leaving[0][0].worker
        # Should the one allowed worker vanish before it gets the task, any other may take it.
        place: dict[str, Any] = {"workers": [worker], "allow_other_workers": True} if worker else {}
        keys = [f"{self.stage}-{self.token}-{next(self.numbers)}" for _ in leaving]
        loads = [(load, self.supply.forecast.seconds(attempt.task.cost)) for attempt, load in leaving]
        futures = self.pool.client.map(run_forecast, loads, mapping=self.token, key=keys, **place)
        for key, (attempt, _), future in zip(keys, leaving, futures, strict=True):
            self.flying[key] = (attempt, future)
            answer_of(self.pool.client, future).add_done_callback(partial(self._answered, key))
            if attempt.number == 1:
                self.tell(TaskSubmitted(stage=self.stage, task_id=attempt.task.id))

    def _answered(self, key: str, answer: ThreadFuture[bytes]) -> None:
        self.answers.put((key, answer))

    def _next_answers(self) -> Iterator[tuple[str, ThreadFuture[bytes]]]:
        """The answers that are there, but not so many that workers wait meanwhile; none after some time."""
        try:
            yield self.answers.get(timeout=POLL_S)
        except queue.Empty:
            self.attendance.look(self.demand)
            return
        self.attendance.heard()
        for _ in range(AT_ONCE - 1):
            if self.answers.empty():
                return
            yield self.answers.get()

    def _settle(self, key: str, answer: ThreadFuture[bytes]) -> Outcome[T, R] | None:
        """The outcome that an answer stands for, or None when the task goes on or was not started."""
        if key not in self.flying:
            return None
        attempt, future = self.flying.pop(key)
        future.release()
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if isinstance(error, KilledWorker):
            return self._worker_died(attempt, error)
        if error is not None and self.abandoned:
            # Told as such by the next look for tasks to hand out.
            return None
        if isinstance(error, ImportError):
            raise ExecutorError(
                f"stage {self.stage}: a worker cannot load what task {attempt.task.id} needs: {error}. Give all nodes "
                "the same environment as this program's"
            ) from error
        if error is not None:
            raise ExecutorError(
                f"stage {self.stage}: the scheduler of the workers was lost while task {attempt.task.id} was running "
                f"({type(error).__name__}). Run the same command again to resume"
            ) from error
        content = unpack(answer.result())
        if content.skipped:
            if not self.halted:
                # The worker had not enough of its life left, and leaves.
                again = self.suspects.waiting if attempt.worker else self.suspects.innocent
                again.append(replace(attempt, moves=max(attempt.moves, 1), worker=None))
            return None
        outcome = outcome_of(attempt.task, content)
        if outcome.error is None:
            self.supply.forecast.learn(attempt.task.cost, outcome.seconds)
        return self._conclude(outcome, attempt.number)

    def _worker_died(self, attempt: Attempt[T], error: KilledWorker) -> Outcome[T, R] | None:
        loss = self.suspects.mourn(error)
        if self.drain.requested:
            return None
        failure = self.suspects.after_death(attempt, loss)
        if failure is None:
            return None
        return self._conclude(Outcome(attempt.task, None, failure, 0.0, str(error.last_worker.address)), attempt.number)

    def _count_moves(self) -> None:
        """Heed that tasks were moved by Dask; one that outlives every worker would be moved for ever."""
        while not self.moved.empty():
            key = self.moved.get()
            if key not in self.flying:
                continue
            attempt, future = self.flying[key]
            attempt = replace(attempt, moves=attempt.moves + 1)
            self.flying[key] = (attempt, future)
            if failure := self.suspects.move(attempt):
                del self.flying[key]
                future.release()
                self.failures.append(self._conclude(Outcome(attempt.task, None, failure, 0.0, ""), attempt.number))

    def _conclude(self, outcome: Outcome[T, R], attempts: int) -> Outcome[T, R]:
        self.tell(event_of(outcome, self.stage, attempts))
        return outcome

    def _halt(self) -> None:
        """Have no further task started, neither those that are still here nor, once told, those queued on workers."""
        if not self.halted:
            self.halted = True
            self.suspects.waiting.clear()
            self.suspects.innocent.clear()
            self.leaving.clear()
            self._tell_halt()

    def _tell_halt(self) -> None:
        """Tell workers, without waiting for them, to start none of the tasks queued on them."""
        in_loop(self.pool.client, self.pool.client._run(partial(halt, self.token), on_error="ignore"))

    def _shut_down(self) -> ExecutorError:
        return ExecutorError(f"stage {self.stage}: the executor was shut down while its tasks were running")

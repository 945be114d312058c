"""One map of tasks over Dask workers: supply, answers, draining. What becomes of deaths is in ``dask_deaths``."""

import asyncio
import itertools
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future as ThreadFuture
from dataclasses import replace
from functools import partial
from typing import Any, Generic

from dask.distributed import Client, Future, KilledWorker

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_deaths import Attempt, Suspects
from hpc_mlsm.runtime.dask_pool import Pool
from hpc_mlsm.runtime.events import Event, Listener, TaskSubmitted
from hpc_mlsm.runtime.executor import Outcome, R, T
from hpc_mlsm.runtime.signals import Drain
from hpc_mlsm.runtime.task_run import event_of, halt, outcome_of, pack, run_packed, unpack
from hpc_mlsm.runtime.time_left import FittingTasks

QUEUED_PER_WORKER = 1
"""Tasks waiting at a worker behind the running one, so that it need not wait for the driver."""

POLL_S = 0.2
"""How often signals and deadlines are looked at while no outcome arrives."""

LOOK_S = 2.0
"""How often it is asked whether there are workers at all, while no outcome arrives."""


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
        self.answers: queue.SimpleQueue[tuple[str, ThreadFuture[bytes]]] = queue.SimpleQueue()
        self.moved: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.failures: deque[Outcome[T, R]] = deque()
        self.exhausted = self.halted = self.abandoned = False
        self.finished = 0
        self.last_look = time.monotonic()
        self.deserted_since: float | None = None

    def outcomes(self) -> Iterator[Outcome[T, R]]:
        """All outcomes, as they complete."""
        try:
            while self._supply():
                answer = self._next_answer()
                outcome = self._settle(*answer) if answer else None
                self._count_moves()
                if outcome is None and self.failures:
                    outcome = self.failures.popleft()
                if outcome is not None:
                    self.finished += 1
                    yield outcome
            detail = f"{self.finished} tasks of stage {self.stage} were finished"
            if self.flying:
                left = f"{len(self.flying)} more were with the workers"
                detail += f", {left} and did not finish within {self.pool.grace_s:g} s"
            if self.supply.short_of_time:
                self.drain.request(self.supply.short_of_time)
            self.drain.check(detail)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of what is still running or queued, and go on no more. May be called twice."""
        if self.abandoned:
            return
        self.abandoned = True
        if self.flying:
            self._halt()
        for _, future in self.flying.values():
            future.release()

    @property
    def demand(self) -> int:
        """Tasks that run or wait for a worker."""
        return len(self.flying) + len(self.suspects.waiting) + len(self.suspects.innocent)

    def _supply(self) -> bool:
        """Hand out what the workers can take now; False when nothing is left to wait for."""
        if self.abandoned:
            raise ExecutorError(f"stage {self.stage}: the executor was shut down while its tasks were running")
        if self.drain.requested:
            self._halt()
            return bool(self.flying or self.failures) and not self.drain.overdue(self.pool.grace_s)
        capacity = max(self.pool.capacity, 1)
        limit = (1 + QUEUED_PER_WORKER) * capacity
        while len(self.flying) < limit and self.suspects.innocent:
            self._submit_if_it_fits(self.suspects.innocent.popleft())
        while not self.exhausted and len(self.flying) < limit and not self.drain.requested:
            behind = len(self.flying) >= capacity
            task, more = self.supply.next(behind_another=behind, stopped=lambda: self.drain.requested)
            self.exhausted = not more
            if task is None:
                break
            self._submit(Attempt(task, patience=self.pool.retries))
        if self.suspects.waiting and self.exhausted:
            self._supply_suspects()
        return bool(self.demand or self.failures)

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
        payload = pack(self.fn, attempt.task)
        key = f"{self.stage}-{self.token}-{next(self.numbers)}"
        # Should the one allowed worker vanish before it gets the task, any other may take it.
        place = {"workers": [attempt.worker], "allow_other_workers": True} if attempt.worker else {}
        needed_s = self.supply.forecast.seconds(attempt.task.cost)
        future = self.pool.client.submit(run_packed, payload, self.token, needed_s=needed_s, key=key, **place)
        self.flying[key] = (attempt, future)
        waiting = self._in_loop(_result(future))
        waiting.add_done_callback(lambda done: self.answers.put((key, done)))
        if attempt.number == 1:
            self.tell(TaskSubmitted(stage=self.stage, task_id=attempt.task.id))

    def _next_answer(self) -> tuple[str, ThreadFuture[bytes]] | None:
        if self.failures:
            return None
        try:
            answer = self.answers.get(timeout=POLL_S)
        except queue.Empty:
            self._look_after_workers()
            return None
        self.deserted_since = None
        return answer

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

    def _look_after_workers(self) -> None:
        """Raise when no worker has been there for long: nothing will ever come."""
        now = time.monotonic()
        if now - self.last_look < LOOK_S:
            return
        self.last_look = now
        if self.pool.workers():
            self.deserted_since = None
        elif self.deserted_since is None:
            self.deserted_since = now
        elif now - self.deserted_since > self.pool.revive_s:
            why = self.pool.why_deserted() or "Look for a full disk or exhausted memory on the node"
            why = self.pool.why_deserted() or "Look for a full disk or exhausted memory on the node"
            raise ExecutorError(
                f"stage {self.stage}: no worker has been there for {self.pool.revive_s:g} s and none came back; "
                f"{self.demand} tasks wait for one. {why}, and run the same command again to resume"
            )

    def _halt(self) -> None:
        """Tell workers, once and without waiting for them, to start none of the tasks queued on them."""
        if not self.halted:
            self.halted = True
            self.suspects.waiting.clear()
            self.suspects.innocent.clear()
            self._in_loop(_halt_workers(self.pool.client, self.token))

    def _in_loop(self, work: Coroutine[Any, Any, Any]) -> "ThreadFuture[Any]":
        loop: Any = self.pool.client.loop
        return asyncio.run_coroutine_threadsafe(work, loop.asyncio_loop)


async def _result(future: Future) -> Any:
    return await future


async def _halt_workers(client: Client, token: str) -> None:
    await client.run(partial(halt, token), on_error="ignore")

"""One map of tasks over Dask workers: supply, deaths of workers, splitting, draining.

Dask itself does not retry here (allowed failures are 0): when a worker dies, all tasks on it come back, the one to
blame and the innocent one that was queued behind it. These suspects are run again at the end of the map, each alone
on a worker, where a death has one cause.
"""

import asyncio
import itertools
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol

from dask.distributed import Client, Future, KilledWorker

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.events import Event, Listener, TaskRetried, TaskSplit, TaskSubmitted, WorkerLost
from hpc_mlsm.runtime.executor import Outcome, R, Splittable, T
from hpc_mlsm.runtime.signals import Drain
from hpc_mlsm.runtime.task_run import event_of, halt, outcome_of, pack, run_packed, unpack

QUEUED_PER_WORKER = 1
"""Tasks waiting at a worker behind the running one, so that it need not wait for the driver."""

POLL_S = 0.2
"""How often signals and deadlines are looked at while no outcome arrives."""

LOOK_S = 2.0
"""How often it is asked whether there are workers at all, while no outcome arrives."""


class Pool(Protocol):
    """The workers that a map runs on."""

    client: Client
    retries: int
    grace_s: float
    revive_s: float

    @property
    def capacity(self) -> int:
        """How many tasks run at once."""

    def workers(self) -> list[str]:
        """Addresses of the workers that are there."""

    def why_lost(self, pid: int) -> str:
        """How a worker process died, or nothing where that is not known."""


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """A task on its way: how many workers died under it, and whether it has a worker for itself."""

    task: T
    deaths: int = 0
    patience: int = 0
    worker: str | None = None


class TaskMap(Generic[T, R]):
    """The state of one ``map_tasks``."""

    def __init__(
        self, pool: Pool, fn: Callable[[T], R], source: Iterator[T], *, stage: str, on_event: Listener, drain: Drain
    ) -> None:
        self.pool, self.fn, self.source, self.stage, self.drain = pool, fn, source, stage, drain
        self.tell: Callable[[Event], None] = on_event
        self.token = uuid.uuid4().hex
        self.numbers = itertools.count()
        self.flying: dict[str, tuple[Attempt[T], Future]] = {}
        self.suspects: deque[Attempt[T]] = deque()
        self.answers: queue.SimpleQueue[tuple[str, ThreadFuture[bytes]]] = queue.SimpleQueue()
        self.lost: set[str] = set()
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
                if outcome is not None:
                    self.finished += 1
                    yield outcome
            detail = f"{self.finished} tasks of stage {self.stage} were finished"
            if self.flying:
                left = f"{len(self.flying)} more were with the workers"
                detail += f", {left} and did not finish within {self.pool.grace_s:g} s"
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

    def _supply(self) -> bool:
        """Hand out what the workers can take now; False when nothing is left to wait for."""
        if self.abandoned:
            raise ExecutorError(f"stage {self.stage}: the executor was shut down while its tasks were running")
        if self.drain.requested:
            self._halt()
            return bool(self.flying) and not self.drain.overdue(self.pool.grace_s)
        limit = (1 + QUEUED_PER_WORKER) * max(self.pool.capacity, 1)
        while not self.exhausted and len(self.flying) < limit and not self.drain.requested:
            task = next(self.source, None)
            if task is None:
                self.exhausted = True
            else:
                self._submit(Attempt(task, patience=self.pool.retries))
        if self.suspects and self.exhausted:
            self._supply_suspects()
        return bool(self.flying or self.suspects)

    def _supply_suspects(self) -> None:
        """Give each idle worker one suspect, once no other task is about that could share a worker with it."""
        if any(attempt.worker is None for attempt, _ in self.flying.values()):
            return
        busy = {attempt.worker for attempt, _ in self.flying.values()}
        for worker in self.pool.workers():
            if worker not in busy and worker not in self.lost and self.suspects:
                self._submit(replace(self.suspects.popleft(), worker=worker))

    def _submit(self, attempt: Attempt[T]) -> None:
        payload = pack(self.fn, attempt.task)
        key = f"{self.stage}-{self.token}-{next(self.numbers)}"
        # Should the one allowed worker vanish before it gets the task, any other may take it.
        place = {"workers": [attempt.worker], "allow_other_workers": True} if attempt.worker else {}
        future = self.pool.client.submit(run_packed, payload, self.token, key=key, **place)
        self.flying[key] = (attempt, future)
        waiting = self._in_loop(_result(future))
        waiting.add_done_callback(lambda done: self.answers.put((key, done)))
        if attempt.deaths == 0:
            self.tell(TaskSubmitted(stage=self.stage, task_id=attempt.task.id))

    def _next_answer(self) -> tuple[str, ThreadFuture[bytes]] | None:
        try:
            answer = self.answers.get(timeout=POLL_S)
        except queue.Empty:
            self._look_after_workers()
            return None
        self.deserted_since = None
        return answer

    def _settle(self, key: str, answer: ThreadFuture[bytes]) -> Outcome[T, R] | None:
        """The outcome that an answer stands for, or None when the task goes on or was not started."""
        attempt, future = self.flying.pop(key)
        future.release()
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if isinstance(error, KilledWorker):
            return self._worker_died(attempt, error)
        if error is not None:
            raise ExecutorError(
                f"stage {self.stage}: the scheduler of the workers was lost while task {attempt.task.id} was running "
                f"({type(error).__name__}). Run the same command again to resume"
            ) from error
        content = unpack(answer.result())
        if content.skipped:
            return None
        return self._conclude(outcome_of(attempt.task, content), attempt.deaths + 1)

    def _worker_died(self, attempt: Attempt[T], error: KilledWorker) -> Outcome[T, R] | None:
        address, reason = str(error.last_worker.address), self._mourn(error)
        attempt = replace(attempt, deaths=attempt.deaths + 1)
        alone = attempt.worker is not None
        if self.drain.requested:
            return None
        if not alone or attempt.deaths <= attempt.patience:
            self._retry(attempt, reason)
            return None
        if self._split(attempt):
            return None
        failure = ExecutorError(
            f"task {attempt.task.id}: its worker died {attempt.deaths} times in this task; the last one {reason}. It "
            "crashes the process or needs more memory than a worker has; the rest of the stage is not affected"
        )
        return self._conclude(Outcome(attempt.task, None, failure, 0.0, address), attempt.deaths)

    def _retry(self, attempt: Attempt[T], reason: str) -> None:
        self.suspects.append(replace(attempt, worker=None))
        self.tell(
            TaskRetried(
                stage=self.stage, task_id=attempt.task.id, attempt=attempt.deaths + 1, reason=f"its worker {reason}"
            )
        )

    def _split(self, attempt: Attempt[T]) -> bool:
        """Put the parts of a task among the suspects; False when it has none."""
        parts = _parts(attempt.task)
        if len(parts) < 2:
            return False
        self.tell(TaskSplit(stage=self.stage, task_id=attempt.task.id, parts=tuple(part.id for part in parts)))
        for part in parts:
            # The whole has proved to kill: only what cannot be split further is tried more than once.
            patience = 0 if len(_parts(part)) > 1 else self.pool.retries
            self.suspects.append(Attempt(part, patience=patience))
        return True

    def _mourn(self, error: KilledWorker) -> str:
        address = str(error.last_worker.address)
        reason = self.pool.why_lost(int(error.last_worker.pid)) or "was killed or crashed"
        if address not in self.lost:
            self.lost.add(address)
            self.tell(WorkerLost(stage=self.stage, worker=address, reason=reason))
        return reason

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
            raise ExecutorError(
                f"stage {self.stage}: no worker has been there for {self.pool.revive_s:g} s and none came back; "
                f"{len(self.flying) + len(self.suspects)} tasks wait for one. Look for a full disk or exhausted memory "
                "on the node, and run the same command again to resume"
            )

    def _halt(self) -> None:
        """Tell workers, once and without waiting for them, to start none of the tasks queued on them."""
        if not self.halted:
            self.halted = True
            self.suspects.clear()
            self._in_loop(_halt_workers(self.pool.client, self.token))

    def _in_loop(self, work: Coroutine[Any, Any, Any]) -> "ThreadFuture[Any]":
        loop: Any = self.pool.client.loop
        return asyncio.run_coroutine_threadsafe(work, loop.asyncio_loop)


async def _result(future: Future) -> Any:
    return await future


async def _halt_workers(client: Client, token: str) -> None:
    await client.run(partial(halt, token), on_error="ignore")


def _parts(task: Any) -> list[Any]:
    return list(task.split()) if isinstance(task, Splittable) else []

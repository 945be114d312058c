"""Work that several workers do together: one task on each of them, all at the same time, or none.

Each task runs in a process of its own beside its worker (``member``), so that one that hangs in native code, or is
left behind by another's death, can be ended without the worker, and nothing of a failed attempt is left for the next.
"""

import asyncio
import pickle
import queue
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from functools import partial
from itertools import zip_longest
from typing import Any, Generic

from dask.distributed import KilledWorker

from hpc_mlsm.errors import ExecutorError, HpcMlsmError, PeerError
from hpc_mlsm.runtime.dask_loop import answer_of, call_each, restart_workers, silences
from hpc_mlsm.runtime.dask_map import POLL_S
from hpc_mlsm.runtime.dask_pool import LOOK_S, Pool
from hpc_mlsm.runtime.events import Listener, WorkerLost
from hpc_mlsm.runtime.executor import MemberLost, R, T, Together, TooFewWorkers
from hpc_mlsm.runtime.member import Member
from hpc_mlsm.runtime.member_host import Call, Here, deliver, host_member
from hpc_mlsm.runtime.signals import Drain
from hpc_mlsm.runtime.task_run import pack, unpack

START_S = 300.0
"""How long all workers may take to begin, where they still run something else."""

SETTLE_S = 1.0
"""How long to wait, after the first failure, for the one that caused it."""

END_S = 10.0
"""How long members may take to end when told to, and workers that do not answer to be started again."""


class Group(Generic[T, R]):
    """The state of one ``run_together`` on Dask workers."""

    def __init__(
        self,
        pool: Pool,
        fn: Callable[[T, Member], R],
        tasks: Sequence[T],
        stage: str,
        on_event: Listener,
        how: Together,
        *,
        drain: Drain,
        shunned: set[str],
    ) -> None:
        self.pool, self.fn, self.tasks, self.how, self.drain, self.shunned = pool, fn, tasks, how, drain, shunned
        self.stage = stage
        self.tell: Listener = on_event
        self.token = f"together-{uuid.uuid4().hex}"
        self.heard: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.workers: list[str] = []
        self.here: dict[int, Here] = {}
        self.gathered: dict[int, Any] = {}
        self.values: dict[int, R] = {}
        self.errors: dict[int, HpcMlsmError] = {}
        self.ages: ThreadFuture[dict[str, float]] | None = None
        self.started = self.stopped = False

    def results(self) -> list[R]:
        """What the members returned, by rank."""
        payloads = [pack(self.fn, task) for task in self.tasks]
        self.workers = self._choose(len(self.tasks))
        client = self.pool.client
        client.subscribe_topic(self.token, lambda event: self.heard.put(("said", event[1])))
        futures = [
            client.submit(
                host_member,
                payload,
                Call(self.token, rank, START_S, self.how.silence_s),
                key=f"{self.token}-{rank}",
                workers=[worker],
                allow_other_workers=False,
            )
            for rank, (payload, worker) in enumerate(zip(payloads, self.workers, strict=True))
        ]
        try:
            for rank, future in enumerate(futures):
                answer_of(client, future).add_done_callback(partial(self._hear_answer, rank))
            self._follow()
        finally:
            if len(self.values) < len(self.tasks):
                self._end()
            for future in futures:
                future.release()
            client.unsubscribe_topic(self.token)
        return [self.values[rank] for rank in range(len(self.tasks))]

    def _choose(self, n: int) -> list[str]:
        """Distinct workers, spread over the nodes; waits a while for missing ones."""
        deadline = time.monotonic() + self.how.wait_s
        while len(found := [worker for worker in self.pool.workers() if worker not in self.shunned]) < n:
            self.drain.check(f"stage {self.stage} was waiting for workers")
            if time.monotonic() > deadline:
                raise TooFewWorkers(self.stage, n, len(found))
            time.sleep(POLL_S)
        nodes: dict[str, list[str]] = {}
        for worker in sorted(found):
            nodes.setdefault(worker.rpartition(":")[0], []).append(worker)
        turns = zip_longest(*nodes.values())
        return sorted([worker for turn in turns for worker in turn if worker][:n])

    def _follow(self) -> None:
        deadline, look = time.monotonic() + START_S, time.monotonic()
        settled: float | None = None
        while len(self.values) < len(self.tasks):
            self._take()
            now = time.monotonic()
            if self.errors:
                settled = settled or now + SETTLE_S
                if now > settled or len(self.values) + len(self.errors) == len(self.tasks):
                    raise self._cause()
            if not self.started and now > deadline:
                missing = [self.workers[rank] for rank in range(len(self.tasks)) if rank not in self.here]
                raise MemberLost(f"workers {', '.join(missing)} did not begin within {START_S:g} s")
            if now - look > LOOK_S:
                look = now
                self._look_after_workers()
            self._drain()
        while not self.heard.empty():
            self._take()
        self.drain.check(f"stage {self.stage} came to a common end")

    def _drain(self) -> None:
        if not self.drain.requested:
            return
        if not self.stopped:
            self.stopped = True
            self._send("stop")
        if self.drain.overdue(self.pool.grace_s) or not self.started:
            self.drain.check(f"stage {self.stage} did not come to a common end within {self.pool.grace_s:g} s")

    def _take(self) -> None:
        try:
            kind, content = self.heard.get(timeout=POLL_S)
        except queue.Empty:
            return
        if kind == "answered":
            self._answered(*content)
            return
        rank, kind, packed = content
        value = pickle.loads(packed)
        if kind == "tell":
            self.how.on_message(rank, value)
        elif kind == "here":
            self.here[rank] = value
            if len(self.here) == len(self.tasks):
                self._start()
        elif kind == "gather":
            self.gathered[rank] = value
            if len(self.gathered) == len(self.tasks):
                self._send("gathered", [self.gathered[k] for k in range(len(self.tasks))])
                self.gathered = {}

    def _start(self) -> None:
        self.started = True
        order = [self.here[rank] for rank in range(len(self.tasks))]
        sharers = Counter(one.share for one in order)
        threads = [self.how.threads or max(1, one.cores // sharers[one.share]) for one in order]
        self._send("start", (tuple(one.host for one in order), threads))

    def _hear_answer(self, rank: int, answer: "ThreadFuture[bytes]") -> None:
        self.heard.put(("answered", (rank, answer)))

    def _answered(self, rank: int, answer: "ThreadFuture[bytes]") -> None:
        if rank in self.errors:
            return
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if isinstance(error, KilledWorker):
            reason = self.pool.why_lost(error.last_worker).reason
            self._lost(rank, reason)
        elif error is not None:
            raise ExecutorError(
                f"stage {self.stage}: the scheduler of the workers was lost ({type(error).__name__}). Run the same "
                "command again to resume"
            ) from error
        else:
            content = unpack(answer.result())
            if content.error is None:
                self.values[rank] = content.value
            else:
                self.errors[rank] = content.error

    def _lost(self, rank: int, reason: str) -> None:
        worker = self.workers[rank]
        self.errors[rank] = MemberLost(f"worker {worker} {reason}")
        self.tell(WorkerLost(stage=self.stage, worker=worker, reason=reason))

    def _cause(self) -> HpcMlsmError:
        """The failure that the others follow from, as far as that can be known."""

        def certainty(error: HpcMlsmError) -> int:
            return 0 if isinstance(error, PeerError) else int(not isinstance(error, MemberLost) or error.sure) + 1

        return max(self.errors.values(), key=certainty)

    def _look_after_workers(self) -> None:
        """Find workers that have gone, or that the scheduler does not hear any more, as those of a frozen node."""
        if self.ages is not None and self.ages.done():
            ages = {} if self.ages.cancelled() or self.ages.exception() else self.ages.result()
            for rank, worker in enumerate(self.workers if ages else ()):
                if rank in self.values or rank in self.errors:
                    continue
                if worker not in ages:
                    self._lost(rank, "is gone")
                elif ages[worker] > self.how.silence_s:
                    self._lost(rank, f"gave no sign of life for {ages[worker]:.0f} s")
                    self.shunned.add(worker)
            self.ages = None
        if self.ages is None:
            self.ages = silences(self.pool.client)

    def _end(self) -> None:
        """End all members, within bounds: those of workers that do not answer by starting these again."""
        self._send("end")
        deadline = time.monotonic() + END_S
        left = set(range(len(self.tasks))) - set(self.values) - set(self.errors)
        while left and time.monotonic() < deadline:
            try:
                kind, content = self.heard.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if kind == "answered":
                left.discard(content[0])
        deaf = {self.workers[rank] for rank in left} | (self.shunned & set(self.workers))
        if deaf:
            restart_workers(self.pool.client, sorted(deaf), END_S)
            self.shunned |= deaf

    def _send(self, kind: str, content: Any = None) -> None:
        """Say something to all members, without waiting; workers that are gone do not hear it."""
        call_each(self.pool.client, self.workers, deliver, self.token, kind, content)

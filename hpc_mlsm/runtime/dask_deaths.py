"""Tasks whose workers died: which worker, of what, and what becomes of the task.

Dask itself does not retry here (allowed failures are 0): when a worker dies, all tasks on it come back, the one to
blame and the innocent one that was queued behind it. These suspects are run again at the end of the map, each alone
on a worker, where a death has one cause. Where it is known that the worker was taken away, by a walltime or with its
node, nobody is to blame.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic

from dask.distributed import KilledWorker

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.events import Event, TaskRetried, TaskSplit, WorkerLost
from hpc_mlsm.runtime.executor import Splittable, T

MAX_MOVES = 10
"""How often a task may lose a worker that was taken away before it is no accident any more."""


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """A task on its way: workers that died under it or were taken from it, and the one it has for itself, if any.

    ``patience`` is how many may die when it is alone with them.
    """

    task: T
    deaths: int = 0
    moves: int = 0
    patience: int = 0
    worker: str | None = None

    @property
    def number(self) -> int:
        """Counts how often the task was handed out."""
        return self.deaths + self.moves + 1


@dataclass(frozen=True)
class Loss:
    """How a worker was lost (a predicate), and whether that had nothing to do with its tasks."""

    reason: str = "was killed or crashed"
    blameless: bool = False


class Suspects(Generic[T]):
    """The tasks of one map that lost their workers: those that wait for one of their own, and the innocent.

    Parameters
    ----------
    why_lost : callable
        Tells of a lost worker, given as Dask's ``WorkerState``, how that came.
    retries : int
        How often a task is given another worker after its worker died.
    stage : str
        Name of the stage.
    tell : callable
        Told of workers lost, and tasks retried and split.
    """

    def __init__(
        self, why_lost: Callable[[Any], Loss], retries: int, stage: str, tell: Callable[[Event], None]
    ) -> None:
        self._why_lost, self._retries, self._stage, self._tell = why_lost, retries, stage, tell
        self._losses: dict[str, Loss] = {}
        self.waiting: deque[Attempt[T]] = deque()
        self.innocent: deque[Attempt[T]] = deque()

    def take(self, idle: Iterable[str]) -> Iterator[Attempt[T]]:
        """Suspects, each with one of these workers for itself."""
        for worker in idle:
            if worker not in self._losses and self.waiting:
                yield replace(self.waiting.popleft(), worker=worker)

    def mourn(self, error: KilledWorker) -> Loss:
        """How the worker was lost; told once for all tasks that were on it."""
        worker = error.last_worker
        address = str(worker.address)
        if address not in self._losses:
            self._losses[address] = self._why_lost(worker)
            self._tell(WorkerLost(stage=self._stage, worker=address, reason=self._losses[address].reason))
        return self._losses[address]

    def move(self, attempt: Attempt[T]) -> ExecutorError | None:
        """Count that a worker left in good order in the middle of a task; the error that it ends with if too often.

        Dask hands the task to another worker by itself.
        """
        if attempt.moves <= MAX_MOVES:
            self._tell_retry(attempt, "its worker left at the end of its life")
            return None
        return ExecutorError(
            f"task {attempt.task.id}: {attempt.moves} workers reached the end of their life before it was done. Give "
            "workers a longer life (executor.slurm.walltime), or make tasks smaller"
        )

    def after_death(self, attempt: Attempt[T], loss: Loss) -> ExecutorError | None:
        """Put a task, or its parts, among the suspects; the error that it ends with where that is over."""
        moved = loss.blameless and attempt.moves < MAX_MOVES
        alone = attempt.worker is not None
        attempt = replace(attempt, moves=attempt.moves + moved, deaths=attempt.deaths + (not moved))
        if moved or not alone or attempt.deaths <= attempt.patience:
            (self.innocent if moved and not alone else self.waiting).append(replace(attempt, worker=None))
            self._tell_retry(attempt, f"its worker {loss.reason}")
            return None
        if self._split(attempt):
            return None
        return ExecutorError(
            f"task {attempt.task.id}: its worker died {attempt.deaths} times in this task; the last one {loss.reason}. "
            "It crashes the process or needs more memory than a worker has; the rest of the stage is not affected"
        )

    def _tell_retry(self, attempt: Attempt[T], reason: str) -> None:
        self._tell(TaskRetried(stage=self._stage, task_id=attempt.task.id, attempt=attempt.number, reason=reason))

    def _split(self, attempt: Attempt[T]) -> bool:
        """Put the parts of a task among the suspects; False when it has none."""
        parts = _parts(attempt.task)
        if len(parts) < 2:
            return False
        self._tell(TaskSplit(stage=self._stage, task_id=attempt.task.id, parts=tuple(part.id for part in parts)))
        for part in parts:
            # The whole has proved to kill: only what cannot be split further is tried more than once.
            patience = 0 if len(_parts(part)) > 1 else self._retries
            self.waiting.append(Attempt(part, patience=patience))
        return True


def _parts(task: Any) -> list[Any]:
    return list(task.split()) if isinstance(task, Splittable) else []

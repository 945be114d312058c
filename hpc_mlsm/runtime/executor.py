"""The one interface of all executors: picklable tasks in, outcomes out as they complete."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, runtime_checkable

from hpc_mlsm.errors import HpcMlsmError
from hpc_mlsm.runtime.events import Listener, ignore


class Task(Protocol):
    """What an executor needs to know of a task; everything else in it is the function's business."""

    @property
    def id(self) -> str:
        """Name of the task, unique in its stage."""

    @property
    def cost(self) -> float:
        """Projected cost, in any unit; the caller hands out the largest first."""

    @property
    def units(self) -> int:
        """How many units (patterns) the task makes."""


@runtime_checkable
class Splittable(Protocol):
    """A task of several parts, which can be taken apart when it keeps killing its workers."""

    def split(self) -> Sequence[Any]:
        """The task as smaller tasks with ids of their own; fewer than two when it cannot be split further."""


T = TypeVar("T", bound=Task)
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """What became of a task: a value, or an error. ``seconds`` is the time in the worker."""

    task: T
    value: R | None
    error: HpcMlsmError | None
    seconds: float
    worker: str


class Executor(ABC):
    """Runs one function over many tasks. Use it as a context manager, or call ``shutdown``."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many tasks run at once."""

    @abstractmethod
    def map_tasks(
        self, fn: Callable[[T], R], tasks: Iterable[T], *, stage: str, on_event: Listener = ignore
    ) -> Iterator[Outcome[T, R]]:
        """Run ``fn`` on every task and give the outcomes as they complete.

        Tasks are taken from ``tasks`` in its order and only as far as workers can use them: a consumer that does not
        iterate stops the supply. Nothing runs before the first outcome is asked for.

        Parameters
        ----------
        fn : callable
            A module-level function (or ``functools.partial`` of one) of one task. What it returns must be picklable
            and small: workers write big results to disk and return where.
        tasks : iterable
            Picklable tasks that carry paths and ids, not arrays.
        stage : str
            Name of the stage, for events and messages.
        on_event : Listener
            Told of every task submitted, finished, failed, retried and split, and of every worker lost. Not of the
            stage's start and end: see ``stage_events``.

        Yields
        ------
        Outcome
            One for each task. A task that raises gives an outcome with its error: an ``HpcMlsmError`` as it is, any
            other exception as a ``TaskError``. A task that kills its worker is retried, then split where it can be
            (its parts then have outcomes in its place), and then has an ``ExecutorError``.

        Raises
        ------
        Interrupted
            When the work was told to stop; outcomes of tasks that finish within the grace are yielded before.
        ExecutorError
            When the executor was shut down, a task cannot be sent, or no worker is left and none comes back.
        """

    @abstractmethod
    def shutdown(self) -> None:
        """End the workers, whatever they do, in bounded time. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

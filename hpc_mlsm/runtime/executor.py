"""The one interface of all executors: picklable tasks in, outcomes out as they complete."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, runtime_checkable

from hpc_mlsm.errors import ExecutorError, HpcMlsmError
from hpc_mlsm.runtime.events import Listener, ignore

if TYPE_CHECKING:
    from hpc_mlsm.runtime.member import Member


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


class TooFewWorkers(ExecutorError):  # noqa: N818  (named after what was found)
    """Work that is done together needs more workers than are there; ``found`` says how many are."""

    def __init__(self, stage: str, needed: int, found: int) -> None:
        super().__init__(stage, needed, found)
        self.stage, self.needed, self.found = stage, needed, found

    def __str__(self) -> str:
        return f"stage {self.stage}: {self.needed} workers are needed at the same time, and {self.found} are there"


class MemberLost(ExecutorError):  # noqa: N818  (named after what happened)
    """A member's process, or its worker, died or went silent; starting all of them again may help.

    Parameters
    ----------
    message : str
        What happened, for the user.
    sure : bool
        False where the member may well have died of the loss of another.
    """

    def __init__(self, message: str, sure: bool = True) -> None:
        super().__init__(message, sure)
        self.message = message
        self.sure = sure

    def __str__(self) -> str:
        return self.message


def hear_nothing(rank: int, message: Any) -> None:
    """The ear for messages of members that does nothing."""


@dataclass(frozen=True)
class Together:
    """How work is done together: see ``Executor.run_together``.

    Attributes
    ----------
    on_message
        Given the rank and what a member told; what it raises ends the work.
    threads
        How many each member may use; None gives each its share of its worker's cores.
    wait_s
        How long to wait for workers that are missing.
    silence_s
        How long a member or its worker may give no sign of life before it counts as lost.
    """

    on_message: Callable[[int, Any], None] = hear_nothing
    threads: int | None = None
    wait_s: float = 60.0
    silence_s: float = 60.0


AS_USUAL = Together()


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
    def run_together(
        self,
        fn: "Callable[[T, Member], R]",
        tasks: Sequence[T],
        *,
        stage: str,
        on_event: Listener = ignore,
        how: Together = AS_USUAL,
    ) -> list[R]:
        """Run one task on each of as many distinct workers at the same time, for work in which they need each other.

        Each runs in a fresh process beside its worker, which is ended with the attempt, whatever it does; where there
        are no workers, the only task runs in this process.

        Parameters
        ----------
        fn : callable
            A function of an importable module, of one task and its ``Member``. What it returns must be picklable and
            small.
        tasks : sequence
            One for each member, by rank.
        stage, on_event
            As for ``map_tasks``; told of workers that are lost, and of nothing else.
        how : Together
            Messages, threads and patience.

        Returns
        -------
        list
            What each task returned, by rank.

        Raises
        ------
        TooFewWorkers
            When there are fewer workers than tasks; nothing was started.
        MemberLost
            When a member or its worker died or went silent. The others have been ended; workers that did not answer
            were started again and are not used for work together any more.
        HpcMlsmError
            What a member raised; the others have been ended.
        Interrupted
            When the work was told to stop: once all members have come to an end, or at the end of the grace.
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

"""What happens while a stage runs, as typed events; ``event_log`` keeps them in a file.

Progress displays, histories and logs listen to these; the numerical code prints nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events; ``time`` is in seconds since 1970."""

    stage: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A stage begins: how many tasks, and how many units ("patterns") they hold together.

    ``workers`` is the number of task slots, 0 where the stage's own process does the work; ``cores`` is all it has.
    """

    n_tasks: int
    units: str
    n_units: int
    workers: int = 0
    cores: int = 1


@dataclass(frozen=True, kw_only=True)
class TaskSubmitted(Event):
    """A task was handed to the workers; it may still wait for one."""

    task_id: str


@dataclass(frozen=True, kw_only=True)
class TaskFinished(Event):
    """A task gave its value; ``seconds`` is the time in the worker."""

    task_id: str
    n_units: int
    seconds: float
    worker: str


@dataclass(frozen=True, kw_only=True)
class TaskFailed(Event):
    """A task gave up for good on its ``attempt``-th attempt; ``trace`` is the worker's traceback where there is one."""

    task_id: str
    error: str
    attempt: int = 1
    trace: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskRetried(Event):
    """A task goes to another worker, for the ``attempt``-th time."""

    task_id: str
    attempt: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class TaskSplit(Event):
    """A task that kills its workers was cut into ``parts`` to find what in it is to blame."""

    task_id: str
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WorkerLost(Event):
    """A worker process died while tasks were on it."""

    worker: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SetAside(Event):
    """Something that cannot be used (a file, a structure) was set aside, and the stage goes on without it."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class StageFinished(Event):
    """A stage ended, or was left by an error: tasks done and failed, and its wall time."""

    done: int
    failed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """Anything else that a user should read."""

    text: str


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that does nothing."""


class EventBus:
    """A listener that passes every event on to its listeners, in the order they were added."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = list(listeners)

    def add(self, listener: Listener) -> None:
        """Pass events on to this listener as well."""
        self.listeners.append(listener)

    def __call__(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


@contextmanager
def stage_events(
    on_event: Listener, stage: str, *, n_tasks: int, units: str, n_units: int, workers: int = 0, cores: int = 1
) -> Iterator[Listener]:
    """Tell of a stage's start, and at its end of the tasks done and failed in between.

    ``workers`` and ``cores`` are as in ``StageStarted``.

    Yields the listener to give to ``map_tasks``; it counts and passes on. The end is told also when the stage is left
    by an error.
    """
    done = failed = 0

    def counting(event: Event) -> None:
        nonlocal done, failed
        done += isinstance(event, TaskFinished)
        failed += isinstance(event, TaskFailed)
        on_event(event)

    start = time.monotonic()
    on_event(StageStarted(stage=stage, n_tasks=n_tasks, units=units, n_units=n_units, workers=workers, cores=cores))
    try:
        yield counting
    finally:
        seconds = time.monotonic() - start
        on_event(StageFinished(stage=stage, done=done, failed=failed, seconds=seconds))

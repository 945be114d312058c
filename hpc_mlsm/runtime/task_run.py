"""One task's way to a worker and back, the same for every executor: packed, run, answered, unpacked."""

import math
import os
import pickle
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpc_mlsm.errors import ExecutorError, HpcMlsmError
from hpc_mlsm.runtime.events import Event, TaskFailed, TaskFinished
from hpc_mlsm.runtime.executor import Outcome, T

MAX_TASK_BYTES = 4 * 2**20
"""Largest pickled task; all of them pass through the scheduler, so tasks carry paths, not arrays."""

MAX_RESULT_BYTES = 16 * 2**20
"""Largest pickled result; only small rows come back from workers."""

_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError, ImportError)
_halted: set[str] = set()


class TaskError(ExecutorError):
    """An exception in a task that nobody foresaw.

    Parameters
    ----------
    kind : str
        Name of the exception's type.
    message : str
        Its message.
    trace : str
        The traceback as the worker saw it.
    """

    def __init__(self, kind: str, message: str, trace: str = "") -> None:
        super().__init__(kind, message, trace)
        self.kind = kind
        self.message = message
        self.trace = trace

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind


@dataclass(frozen=True)
class Answer:
    """What a worker says of a task: a value or an error; or that it did not start it, because it was told to stop."""

    value: Any = None
    error: HpcMlsmError | None = None
    seconds: float = 0.0
    worker: str = ""
    skipped: bool = False


def pack(fn: Callable[..., Any], task: T) -> bytes:
    """The function and the task as bytes to send to a worker.

    Raises
    ------
    ExecutorError
        If they cannot be pickled, or are too big.
    """
    try:
        payload = pickle.dumps((fn, task), protocol=pickle.HIGHEST_PROTOCOL)
    except _UNPICKLABLE as error:
        raise ExecutorError(
            f"task {task.id} cannot be sent to a worker: {error}. It needs a module-level function and a task of plain "
            "values and paths"
        ) from error
    if len(payload) > MAX_TASK_BYTES:
        raise ExecutorError(
            f"task {task.id} is {len(payload) / 2**20:.1f} MiB; at most {MAX_TASK_BYTES / 2**20:.0f} MiB can be "
            "sent to a worker: give paths to files instead of their content"
        )
    return payload


def run_packed(payload: bytes, mapping: str = "", *more: Any, needed_s: float = 0.0) -> bytes:
    """Run a packed task and give the packed answer; never raises.

    ``mapping`` names the map it belongs to; ``more`` is given to the function after the task; ``needed_s`` is how long
    it is expected to take, 0 where that is not known.
    """
    worker = f"{platform.node()}:{os.getpid()}"
    if mapping in _halted or _life.refuses(needed_s):
        return pickle.dumps(Answer(skipped=True, worker=worker))
    start = time.perf_counter()
    try:
        fn, task = pickle.loads(payload)
        value = fn(task, *more)
        answer = _packed_value(value, time.perf_counter() - start, worker)
    except HpcMlsmError as error:
        answer = pickle.dumps(Answer(error=_portable(error), seconds=time.perf_counter() - start, worker=worker))
    except (Exception, SystemExit) as error:  # noqa: BLE001  (the one place that quarantines a task)
        answer = pickle.dumps(Answer(error=_task_error(error), seconds=time.perf_counter() - start, worker=worker))
    return answer


def run_forecast(load: tuple[bytes, float], mapping: str) -> bytes:
    """Run a packed task that is given with how long it is expected to take; see ``run_packed``."""
    return run_packed(load[0], mapping, needed_s=load[1])


class _Life:
    """How long this process will be there for tasks; without an end unless it is told of one."""

    def __init__(self) -> None:
        self.whole_s = self.end = math.inf
        self.leave: Callable[[], None] = lambda: None

    def refuses(self, needed_s: float) -> bool:
        """Whether a task of this duration is not to be started; if so, this process leaves, for others to come."""
        # What takes longer than a whole life is to be tried by a worker whose life has just begun.
        short = min(needed_s, 0.9 * self.whole_s) > self.end - time.monotonic()
        if short:
            self.leave()
        return short


_life = _Life()


def set_life(left_s: float, leave: Callable[[], None]) -> None:
    """Say how long this worker lives from now on, and how it ends itself sooner, when too little is left for a task."""
    _life.whole_s, _life.end, _life.leave = left_s, time.monotonic() + left_s, leave


def refuse_tasks() -> None:
    """Have this worker start no task at all: it gives all of them back."""
    _life.end = -math.inf


def halt(mapping: str) -> None:
    """Have this worker start no further task of a map: those already queued on it come back as skipped."""
    _halted.add(mapping)


def unpack(answer: bytes) -> Answer:
    """The answer that ``run_packed`` packed; one with an error where its value cannot be read back."""
    try:
        unpacked: Answer = pickle.loads(answer)
    except _UNPICKLABLE as error:
        return Answer(error=ExecutorError(f"the task's result cannot be read back: {error}. Return plain values"))
    return unpacked


def outcome_of(task: T, answer: Answer) -> Outcome[T, Any]:
    """The outcome that a worker's answer stands for."""
    return Outcome(task, answer.value, answer.error, answer.seconds, answer.worker)


def event_of(outcome: Outcome[T, Any], stage: str, attempt: int = 1) -> Event:
    """The event that tells of an outcome."""
    task, error = outcome.task, outcome.error
    if error is None:
        return TaskFinished(
            stage=stage, task_id=task.id, n_units=task.units, seconds=outcome.seconds, worker=outcome.worker
        )
    trace = error.trace if isinstance(error, TaskError) else ""
    return TaskFailed(stage=stage, task_id=task.id, error=str(error), attempt=attempt, trace=trace)


def _packed_value(value: Any, seconds: float, worker: str) -> bytes:
    try:
        answer = pickle.dumps(Answer(value=value, seconds=seconds, worker=worker), pickle.HIGHEST_PROTOCOL)
    except _UNPICKLABLE as error:
        raise ExecutorError(
            f"the task's result, of type {type(value).__name__}, cannot be sent back: {error}. Return plain values"
        ) from error
    if len(answer) > MAX_RESULT_BYTES:
        raise ExecutorError(
            f"the task's result is {len(answer) / 2**20:.1f} MiB; at most {MAX_RESULT_BYTES / 2**20:.0f} MiB can be "
            "sent back: write it to a file and return the path"
        )
    return answer


def _task_error(error: BaseException) -> TaskError:
    return TaskError(type(error).__name__, str(error), "".join(traceback.format_exception(error)))


def _portable(error: HpcMlsmError) -> HpcMlsmError:
    """The error itself where it survives pickling, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except _UNPICKLABLE:
        return _task_error(error)
    return error

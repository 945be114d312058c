"""What a stage is given: the run, its configuration, workers, and who listens."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import psutil

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.durable import remove_stale_parts
from hpc_mlsm.runtime.event_log import EventLog
from hpc_mlsm.runtime.events import EventBus, Listener, Note, SetAside, TaskFinished
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.factory import LAUNCHED, make_executor
from hpc_mlsm.runtime.lock import RunLock
from hpc_mlsm.runtime.resources import usable_memory_mb
from hpc_mlsm.runtime.signals import stoppable
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.structure import Reject


@dataclass
class RunContext:
    """One run in use by this process; workers start when a stage first asks for them."""

    run: RunDirectory
    config: RunConfig
    on_event: Listener
    _started: list[Executor] = field(default_factory=list)

    @cached_property
    def executor(self) -> Executor:
        """The workers."""
        executor = make_executor(self.config.executor, self.run.path / "logs" / "workers")
        self._started.append(executor)
        return executor

    @property
    def size(self) -> dict[str, int]:
        """Workers, and cores that they and their scheduler and driver have, as ``stage_events`` takes them."""
        workers = self.executor.capacity
        return {"workers": workers, "cores": workers + 2 * (self.config.executor.kind in LAUNCHED)}

    def note(self, stage: str, text: str) -> None:
        """Tell the listeners something that a user should read."""
        self.on_event(Note(stage=stage, text=text))

    def set_aside(self, stage: str, reject: Reject) -> None:
        """Tell the listeners what cannot be used, and why."""
        self.on_event(SetAside(stage=stage, id=reject.id, reason=reject.reason, detail=reject.detail))

    def close(self) -> None:
        """End the workers, if any were started."""
        while self._started:
            self._started.pop().shutdown()


@contextmanager
def open_run(run: RunDirectory, config: RunConfig, listener: Listener) -> Iterator[RunContext]:
    """Take a run directory into use: locked, its configuration written, events logged; released at the end."""
    run.path.mkdir(parents=True, exist_ok=True)
    with stoppable(), EventLog(run.events) as log, RunLock(run.path, on_event=listener):
        run.save(config)
        for folder in run.path.iterdir():
            if folder.is_dir() and folder != run.patterns.parent:  # the store, with its many files, sees to its own
                remove_stale_parts(folder)
        context = RunContext(replace(run, kind=config.simulate.kind), config, EventBus(log, listener))
        try:
            yield context
        finally:
            context.close()


def finished(stage: str, task_id: str, n_units: int, seconds: float) -> TaskFinished:
    """The event of a piece of work that this process did itself."""
    return TaskFinished(stage=stage, task_id=task_id, n_units=n_units, seconds=seconds, worker="this process")


def available_memory() -> float:
    """Bytes that this process may still use."""
    return min(usable_memory_mb() * 1e6, float(psutil.virtual_memory().available))

"""What stages made and what it cost, counted from their events: for the summary at the end of a command."""

from collections.abc import Iterable
from dataclasses import dataclass

from hpc_mlsm.runtime.events import (
    Event,
    SetAside,
    StageFinished,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskRetried,
    WorkerLost,
)


@dataclass
class StageAccount:
    """What a stage made of one kind, over all its sittings; it has several where it was stopped and went on.

    Attributes
    ----------
    units
        What it makes: "patterns".
    sittings, tasks, failed, retried, set_aside, workers_lost, n_units
        Counts.
    seconds
        Wall time.
    busy_s
        Time that workers spent in tasks, summed over them.
    worker_s, core_s
        Wall time times workers (0 where the stage's own process does the work), and times cores.
    """

    stage: str
    units: str
    sittings: int = 0
    tasks: int = 0
    failed: int = 0
    retried: int = 0
    set_aside: int = 0
    workers_lost: int = 0
    n_units: int = 0
    seconds: float = 0.0
    busy_s: float = 0.0
    worker_s: float = 0.0
    core_s: float = 0.0

    @property
    def core_hours(self) -> float:
        """Hours of all cores that the stage had."""
        return self.core_s / 3600

    @property
    def rate(self) -> float:
        """Units a second of wall time."""
        return self.n_units / self.seconds if self.seconds > 0 else 0.0

    @property
    def efficiency(self) -> float | None:
        """Share of the workers' time that was spent in tasks; None where there were no workers."""
        return min(self.busy_s / self.worker_s, 1.0) if self.worker_s > 0 else None


class Accounts:
    """A listener that keeps an account of every stage. A sitting that was killed lasts until its last event.

    A stage that makes different things one after the other (trees, then patterns looked at) has an account for each.
    """

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], StageAccount] = {}  # by stage and units, in the order they began
        self._latest: dict[str, StageAccount] = {}  # by stage
        self._sitting: StageStarted | None = None
        self._last = 0.0

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Accounts":
        """The accounts of events in the order they happened, as ``read_events`` gives them."""
        accounts = cls()
        for event in events:
            accounts(event)
        return accounts

    def __call__(self, event: Event) -> None:
        """Take an event into account."""
        if isinstance(event, StageStarted):
            self._end()
            self._sitting = event
            opened = StageAccount(event.stage, event.units)
            self._latest[event.stage] = self._accounts.setdefault((event.stage, event.units), opened)
            self._latest[event.stage].sittings += 1
        if self._sitting is not None and event.stage == self._sitting.stage:
            self._last = event.time
        account = self._latest.get(event.stage)
        if account is None:
            return
        if isinstance(event, TaskFinished):
            account.tasks += 1
            account.n_units += event.n_units
            account.busy_s += event.seconds
        account.failed += isinstance(event, TaskFailed)
        account.retried += isinstance(event, TaskRetried)
        account.set_aside += isinstance(event, SetAside)
        account.workers_lost += isinstance(event, WorkerLost)
        if isinstance(event, StageFinished):
            self._end()

    def stages(self) -> list[StageAccount]:
        """The accounts in the order in which the stages began first; of a stage that is going on, until now."""
        self._end(going_on=True)
        return list(self._accounts.values())

    def _end(self, *, going_on: bool = False) -> None:
        """Put the time of the present sitting on its account."""
        began = self._sitting
        if began is None:
            return
        account, seconds = self._latest[began.stage], max(self._last - began.time, 0.0)
        account.seconds += seconds
        account.worker_s += began.workers * seconds
        account.core_s += began.cores * seconds
        # What comes after this is counted from here on.
        self._sitting = _later(began, self._last) if going_on else None


def _later(began: StageStarted, time: float) -> StageStarted:
    return StageStarted(
        stage=began.stage,
        n_tasks=began.n_tasks,
        units=began.units,
        n_units=began.n_units,
        workers=began.workers,
        cores=began.cores,
        time=time,
    )

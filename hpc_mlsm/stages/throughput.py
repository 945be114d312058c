"""How fast a run is and what went wrong in it, from its event log alone, which is only read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hpc_mlsm.runtime.event_log import read_events
from hpc_mlsm.runtime.events import (
    Event,
    SetAside,
    StageFinished,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskSplit,
    WorkerLost,
)
from hpc_mlsm.stages.run_directory import RunDirectory

RECENT_S = 300.0
"""Throughput is of this long before the last task that finished."""

SHOWN = 5


@dataclass(frozen=True)
class StageProgress:
    """One stage that was begun and has not ended, since it was last begun.

    Attributes
    ----------
    started, last
        When it was begun, and when the log was last written to for it (s since 1970).
    rate
        Units a second of late; 0 before the first task has finished.
    """

    stage: str
    units: str
    tasks_done: int
    tasks_failed: int
    n_tasks: int
    units_done: int
    n_units: int
    started: float
    last: float
    rate: float

    @property
    def ends(self) -> float | None:
        """When all tasks will be done if it goes on like this (s since 1970); None where that is not known."""
        return self.last + (self.n_units - self.units_done) / self.rate if self.rate > 0 else None


def under_way(run: RunDirectory) -> list[StageProgress]:
    """Stages whose beginning is in the log, and whose end is not; of a run that was killed too."""
    by_stage: dict[str, list[Event]] = {}
    for event in read_events(run.events):
        if isinstance(event, StageStarted):
            by_stage[event.stage] = [event]
        elif isinstance(event, StageFinished):
            by_stage.pop(event.stage, None)
        elif event.stage in by_stage:
            by_stage[event.stage].append(event)
    return [_progress(events) for events in by_stage.values()]


def troubles(run: RunDirectory) -> list[str]:
    """Failures of each stage since it was last begun, in words: tasks that failed, workers lost, things set aside."""
    by_stage: dict[str, list[Event]] = {}
    for event in read_events(run.events):
        if isinstance(event, StageStarted):
            by_stage[event.stage] = []
        elif isinstance(event, TaskFailed | WorkerLost | SetAside):
            by_stage.setdefault(event.stage, []).append(event)
    return [words for stage, events in by_stage.items() for words in _troubles(stage, events)]


def _progress(events: Sequence[Event]) -> StageProgress:
    started = events[0]
    assert isinstance(started, StageStarted)
    finished = [event for event in events if isinstance(event, TaskFinished)]
    failed = sum(isinstance(event, TaskFailed) for event in events)
    parts = sum(len(event.parts) - 1 for event in events if isinstance(event, TaskSplit))
    return StageProgress(
        stage=started.stage,
        units=started.units,
        tasks_done=len(finished),
        tasks_failed=failed,
        n_tasks=started.n_tasks + parts,
        units_done=sum(event.n_units for event in finished),
        n_units=started.n_units,
        started=started.time,
        last=events[-1].time,
        rate=_recent_rate(started.time, finished),
    )


def _recent_rate(started: float, finished: Sequence[TaskFinished]) -> float:
    if not finished:
        return 0.0
    last = finished[-1].time
    start = max(started, last - RECENT_S)
    units = sum(event.n_units for event in finished if event.time > start)
    return units / (last - start) if last > start else 0.0


def _troubles(stage: str, events: Sequence[Event]) -> list[str]:
    found = []
    failed = [event for event in events if isinstance(event, TaskFailed)]
    if failed:
        found.append(f"{stage}: {len(failed)} tasks failed; the last: {failed[-1].error}")
    lost = [event for event in events if isinstance(event, WorkerLost)]
    if lost:
        found.append(f"{stage}: {len(lost)} workers lost; the last {lost[-1].reason}")
    aside = [event for event in events if isinstance(event, SetAside)]
    if aside:
        counts = Counter(event.reason for event in aside).most_common(SHOWN)
        kinds = ", ".join(f"{count} {reason}" for reason, count in counts)
        found.append(f"{stage}: {len(aside)} set aside ({kinds}); the last: {aside[-1].detail}")
    return found

"""What the event log says of a stage under way: how far, how fast of late, when it ends, and what went wrong."""

from pathlib import Path

import pytest

from hpc_mlsm.runtime.event_log import EventLog
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
from hpc_mlsm.stages.throughput import RECENT_S, troubles, under_way


def logged(folder: Path, *events: Event) -> RunDirectory:
    run = RunDirectory(folder)
    with EventLog(run.events) as log:
        for event in events:
            log(event)
    return run


def started(time: float, n_tasks: int = 100, n_units: int = 1000, stage: str = "simulate") -> StageStarted:
    return StageStarted(stage=stage, time=time, n_tasks=n_tasks, units="patterns", n_units=n_units)


def finished(time: float, n_units: int = 10) -> TaskFinished:
    return TaskFinished(stage="simulate", time=time, task_id="t", n_units=n_units, seconds=1.0, worker="w")


def test_nothing_is_under_way_in_a_new_or_finished_run(tmp_path: Path) -> None:
    assert under_way(RunDirectory(tmp_path)) == []
    end = StageFinished(stage="simulate", time=9.0, done=1, failed=0, seconds=9.0)
    run = logged(tmp_path, started(0.0), finished(5.0), end)
    assert under_way(run) == []
    assert troubles(run) == []


def test_throughput_is_that_of_the_last_minutes_and_gives_the_end(tmp_path: Path) -> None:
    # A slow beginning, then a task every 10 s.
    late = [finished(10_000.0 + 10 * k) for k in range(61)]
    (found,) = under_way(logged(tmp_path, started(0.0), *late))
    assert (found.tasks_done, found.units_done) == (61, 610)
    assert found.rate == pytest.approx(1.0)
    assert found.last == 10_600.0
    assert found.ends == pytest.approx(10_600 + 390)
    assert RECENT_S < 600


def test_before_the_first_task_has_finished_no_end_is_known(tmp_path: Path) -> None:
    (found,) = under_way(logged(tmp_path, started(5.0)))
    assert (found.rate, found.ends) == (0.0, None)


def test_a_stage_that_was_begun_again_is_counted_from_then(tmp_path: Path) -> None:
    run = logged(tmp_path, started(0.0), finished(1.0), finished(2.0), started(50.0, n_tasks=98), finished(60.0))
    (found,) = under_way(run)
    assert (found.tasks_done, found.n_tasks, found.rate) == (1, 98, pytest.approx(1.0))


def test_failures_lost_workers_and_split_tasks_are_counted(tmp_path: Path) -> None:
    run = logged(
        tmp_path,
        started(0.0),
        TaskFailed(stage="simulate", task_id="a", error="disk full"),
        WorkerLost(stage="simulate", worker="w", reason="was killed by signal 9"),
        TaskSplit(stage="simulate", task_id="b", parts=("b1", "b2")),
        SetAside(stage="simulate", id="x", reason="killed_worker", detail="x kills its worker"),
        SetAside(stage="simulate", id="y", reason="no_atoms", detail="y has no atoms"),
    )
    (found,) = under_way(run)
    assert (found.n_tasks, found.tasks_failed) == (101, 1)
    said = troubles(run)
    assert said[0] == "simulate: 1 tasks failed; the last: disk full"
    assert said[1] == "simulate: 1 workers lost; the last was killed by signal 9"
    assert said[2].startswith("simulate: 2 set aside (1 killed_worker, 1 no_atoms); the last: y has no atoms")

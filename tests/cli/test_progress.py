import io
import re
import time

import pytest
from rich.console import Console

from hpc_mlsm.cli import progress
from hpc_mlsm.cli.progress import MAX_FAILURES_SHOWN, LogLines, ProgressDisplay, make_listener
from hpc_mlsm.runtime.events import (
    Event,
    Note,
    StageFinished,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskSplit,
    WorkerLost,
)


def started(n_tasks: int = 4, n_units: int = 400) -> StageStarted:
    return StageStarted(stage="simulate", n_tasks=n_tasks, units="patterns", n_units=n_units)


def finished(task_id: str) -> TaskFinished:
    return TaskFinished(stage="simulate", task_id=task_id, n_units=100, seconds=1.0, worker="node:1")


def failed(task_id: str) -> TaskFailed:
    return TaskFailed(stage="simulate", task_id=task_id, error="[bold]no atoms[/bold]")


ENDED = StageFinished(stage="simulate", done=2, failed=1, seconds=3.0)


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=160)


def output(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_display_fits_where_the_output_goes() -> None:
    assert isinstance(make_listener(console(terminal=True)), ProgressDisplay)
    assert isinstance(make_listener(console(terminal=False)), LogLines)


def test_a_batch_log_has_lines_at_the_start_and_the_end_of_a_stage(clock: list[float]) -> None:
    log = console(terminal=False)
    with make_listener(log) as listener:
        listener(started())
        clock[0] += 10
        for event in (finished("a"), finished("b"), failed("c"), ENDED):
            listener(event)
    first, failure, last = output(log).splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d simulate: started, 4 tasks, 400 patterns$", first)
    assert failure.endswith("simulate: task c failed: [bold]no atoms[/bold]")
    # 200 patterns in 10 s are 20 a second, and the other 200 take another 10 s.
    assert last.endswith(
        "simulate: 3/4 tasks, 200/400 patterns, 20 patterns/s, 1 failed, 0:00:10 elapsed, about 0:00:10 to go, ended"
    )


def test_a_batch_log_has_a_line_every_so_often_also_while_nothing_finishes() -> None:
    log = console(terminal=False)
    with LogLines(log, every_s=0.02) as listener:
        listener(started())
        deadline = time.monotonic() + 5
        while output(log).count("0/4 tasks, 0/400 patterns") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        listener(ENDED)
        quiet = output(log)
        time.sleep(0.06)
        assert output(log) == quiet
    assert quiet.count("0/4 tasks, 0/400 patterns, 0 patterns/s, 0 failed, 0:00:00 elapsed") >= 3
    assert "to go" not in quiet


def test_a_split_task_adds_its_parts_to_what_is_to_be_done(clock: list[float]) -> None:
    log = console(terminal=False)
    with make_listener(log) as listener:
        for event in (started(), TaskSplit(stage="simulate", task_id="a", parts=("a.0", "a.1", "a.2")), ENDED):
            listener(event)
    assert "0/6 tasks" in output(log)


@pytest.mark.parametrize("terminal", [False, True])
def test_notes_and_losses_are_told_and_failures_up_to_a_number(terminal: bool) -> None:
    where = console(terminal)
    with make_listener(where) as listener:
        listener(Note(stage="lock", text="took over from a [dead] process"))
        listener(started(n_tasks=50))
        listener(WorkerLost(stage="simulate", worker="tcp://1", reason="was killed by signal 9"))
        for n in range(MAX_FAILURES_SHOWN + 5):
            listener(failed(f"number-{n}"))
        listener(ENDED)
    told = output(where)
    assert "took over from a [dead] process" in told
    assert "simulate: a worker was killed by signal 9; its tasks are given to others" in told
    assert told.count("failed: [bold]no atoms[/bold]") == MAX_FAILURES_SHOWN
    assert told.count("further failures are written to the event log only") == 1


def test_a_terminal_shows_the_bar_with_all_that_counts() -> None:
    terminal = console(terminal=True)
    with make_listener(terminal) as listener:
        for event in (started(), finished("a"), finished("b"), finished("d"), failed("c"), ENDED):
            listener(event)
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output(terminal)).splitlines()[-1]
    assert "simulate" in last
    assert "4/4 tasks" in last
    assert "patterns/s" in last
    assert "1 failed" in last


@pytest.mark.parametrize("terminal", [False, True])
def test_a_stage_with_nothing_to_do_and_events_outside_a_stage_do_no_harm(terminal: bool) -> None:
    where = console(terminal)
    events: list[Event] = [finished("early"), started(0, 0), ENDED, finished("late"), started(1, 100), finished("a")]
    with make_listener(where) as listener:
        for event in events:
            listener(event)
    assert "0/0 tasks" in output(where)

import json
from pathlib import Path

import pytest

from hpc_mlsm.errors import RunError
from hpc_mlsm.runtime.event_log import EventLog, read_events
from hpc_mlsm.runtime.events import (
    Event,
    EventBus,
    Note,
    StageFinished,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskRetried,
    TaskSplit,
    TaskSubmitted,
    WorkerLost,
    stage_events,
)

ONE_OF_EACH: list[Event] = [
    StageStarted(stage="simulate", n_tasks=2, units="patterns", n_units=200),
    TaskSubmitted(stage="simulate", task_id="a"),
    TaskFinished(stage="simulate", task_id="a", n_units=100, seconds=1.5, worker="node:17"),
    TaskRetried(stage="simulate", task_id="b", attempt=2, reason="its worker died"),
    TaskSplit(stage="simulate", task_id="b", parts=("b.0", "b.1")),
    TaskFailed(stage="simulate", task_id="b.1", error="σ is not a number\nat all", attempt=3, trace="…"),
    WorkerLost(stage="simulate", worker="tcp://127.0.0.1:1", reason="was killed"),
    StageFinished(stage="simulate", done=1, failed=1, seconds=2.5),
    Note(stage="lock", text="Å"),
]


def write(path: Path, events: list[Event]) -> None:
    with EventLog(path) as log:
        for event in events:
            log(event)


def test_a_log_gives_back_the_events_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"
    write(path, ONE_OF_EACH[:4])
    write(path, ONE_OF_EACH[4:])
    assert read_events(path) == ONE_OF_EACH
    lines = path.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == [type(event).__name__ for event in ONE_OF_EACH]


def test_every_event_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        for n, event in enumerate(ONE_OF_EACH, start=1):
            log(event)
            assert read_events(path) == ONE_OF_EACH[:n]


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_line_that_a_crash_cut_is_left_out_and_the_next_run_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "events.jsonl"
    write(path, ONE_OF_EACH[:3])
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_events(path) == ONE_OF_EACH[: 2 + (cut == 1)]
    write(path, ONE_OF_EACH[3:])
    assert read_events(path) == ONE_OF_EACH[: 2 + (cut == 1)] + ONE_OF_EACH[3:]


@pytest.mark.parametrize(
    "line",
    ["", "[1, 2]", '"Note"', "{}", '{"event": "Unheard"}', '{"event": "Note"}', '{"event": ["Note"]}', "\x00\xff{"],
)
def test_lines_of_nonsense_are_left_out(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    write(path, ONE_OF_EACH[:1])
    with path.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    write(path, ONE_OF_EACH[1:])
    assert read_events(path) == ONE_OF_EACH


def test_fields_of_a_later_version_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "Note", "stage": "x", "time": 1.0, "text": "hello", "colour": "red"}\n')
    assert read_events(path) == [Note(stage="x", time=1.0, text="hello")]


def test_a_missing_log_is_empty_and_an_unreadable_one_an_error(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none.jsonl") == []
    with pytest.raises(RunError, match="cannot read the event log"):
        read_events(tmp_path)


def test_a_log_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write the event log .*events\.jsonl"):
        EventLog(tmp_path / "logs" / "events.jsonl")


def test_a_full_disk_is_an_error_that_says_so() -> None:
    # /dev/full takes any open and refuses any write, as a full disk does.
    log = EventLog(Path("/dev/full"))
    with pytest.raises(RunError, match="No space left on device"):
        log(ONE_OF_EACH[0])
    log.close()


def test_a_bus_tells_all_listeners_in_order() -> None:
    heard: list[tuple[str, Event]] = []
    bus = EventBus(lambda event: heard.append(("first", event)))
    bus.add(lambda event: heard.append(("second", event)))
    bus(ONE_OF_EACH[0])
    assert heard == [("first", ONE_OF_EACH[0]), ("second", ONE_OF_EACH[0])]


def test_a_stage_tells_of_its_start_and_of_what_it_did_also_when_left_by_an_error() -> None:
    heard: list[Event] = []

    def stage() -> None:
        with stage_events(heard.append, "simulate", n_tasks=2, units="patterns", n_units=200) as on_event:
            for event in ONE_OF_EACH[1:7]:
                on_event(event)
            raise ValueError("left")

    with pytest.raises(ValueError, match="left"):
        stage()
    first, last = heard[0], heard[-1]
    assert isinstance(first, StageStarted)
    assert (first.n_tasks, first.units, first.n_units) == (2, "patterns", 200)
    assert isinstance(last, StageFinished)
    assert (last.done, last.failed) == (1, 1)
    assert heard[1:-1] == ONE_OF_EACH[1:7]

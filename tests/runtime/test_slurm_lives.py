"""Workers in Slurm jobs that come and go: by their walltime, taken away, refused, or as the work grows and shrinks."""

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from batches import Batch, batches, eat_memory, total
from slurm_lab import queued
from slurm_started import lab, settings, started, wait_for_workers  # noqa: F401  (lab is a fixture)

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.events import Event, Note, TaskRetried, TaskSplit, WorkerLost
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.settings import AdaptiveSettings
from hpc_mlsm.runtime.signals import RESUME_STATUS
from hpc_mlsm.runtime.slurm import SlurmExecutor

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.usefixtures("lab")]


@pytest.fixture(autouse=True)
def soon_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that end are missed soon."""
    monkeypatch.setattr("hpc_mlsm.runtime.slurm_keeper.KEEP_S", 0.5)
    monkeypatch.setattr("hpc_mlsm.runtime.slurm_keeper.ADAPT_S", 0.2)


def short_lives(patch: pytest.MonkeyPatch, lives_s: int) -> None:
    patch.setattr("hpc_mlsm.runtime.slurm_script.lifetime", lambda walltime, grace_s: (lives_s, 0))


def nap_and_count(task: Batch) -> int:
    """Sleep a number of seconds, and leave a line for every start and end."""
    record(task, "start")
    time.sleep(task.cost)
    record(task, "end")
    return sum(task.numbers)


def record(task: Batch, word: str) -> None:
    with (Path(task.folder) / f"runs-of-{task.id}").open("a") as file:
        file.write(f"{word}\n")


def naps(folder: Path, n: int, seconds: float) -> list[Batch]:
    return [replace(batch, cost=seconds) for batch in batches(n, folder=str(folder))]


def runs(folder: Path, word: str = "start") -> list[int]:
    return [path.read_text().split().count(word) for path in sorted(folder.glob("runs-of-*"))]


def test_no_task_is_started_that_its_worker_would_not_live_to_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_lives(monkeypatch, 8)
    events: list[Event] = []
    with started(tmp_path, workers=2) as executor:
        outcomes = list(
            executor.map_tasks(nap_and_count, naps(tmp_path, 16, 1.5), stage="lives", on_event=events.append)
        )
    assert {outcome.value for outcome in outcomes} == set(range(16))
    assert all("left before" in event.reason for event in events if isinstance(event, WorkerLost))
    assert not [event for event in events if isinstance(event, TaskSplit)]
    # Only those that began before anything was known of their duration may have been cut.
    assert sum(runs(tmp_path)) <= 16 + 2


def test_a_task_that_outlives_every_worker_is_an_error_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpc_mlsm.runtime.dask_deaths.MAX_MOVES", 1)
    short_lives(monkeypatch, 4)
    events: list[Event] = []
    with started(tmp_path, workers=1) as executor:
        tasks = naps(tmp_path, 1, 60)
        (outcome,) = executor.map_tasks(nap_and_count, tasks, stage="too long", on_event=events.append)
    assert "2 workers reached the end of their life before it was done" in str(outcome.error)
    assert runs(tmp_path, "end") == [0]
    assert any("end of its life" in event.reason for event in events if isinstance(event, TaskRetried))


def take_away(how: str, job: str) -> Iterator[None]:
    node = subprocess.run(["squeue", "-h", f"-j{job}", "-o%N"], capture_output=True, text=True, check=True).stdout
    if how == "cancelled":
        subprocess.run(["scancel", job], check=True)
        yield
    else:
        subprocess.run(["scontrol", "update", f"nodename={node.strip()}", "state=down", "reason=test"], check=True)
        yield
        # It may have come back by itself.
        subprocess.run(["scontrol", "update", f"nodename={node.strip()}", "state=resume"], check=False)


@pytest.mark.parametrize("how", ["cancelled", "node down"])
def test_tasks_of_a_worker_that_was_taken_away_are_not_blamed(tmp_path: Path, how: str) -> None:
    events: list[Event] = []
    tasks = [Batch(f"pair-{i}", (2 * i, 2 * i + 1), folder=str(tmp_path), cost=0.5) for i in range(20)]
    with started(tmp_path, workers=2) as executor:
        outcomes = executor.map_tasks(nap_and_count, tasks, stage="taken", on_event=events.append)
        values = [next(outcomes).value]
        job = executor.job_ids()[0]
        for _ in take_away(how, job):
            values += [outcome.value for outcome in outcomes]
    assert sorted(value or 0 for value in values) == [4 * i + 1 for i in range(20)]
    # Slurm may have put both jobs on the same node.
    lost = [event.reason for event in events if isinstance(event, WorkerLost)]
    assert any(f"was lost with its job {job} (" in reason for reason in lost), lost
    assert all("was lost with its job" in reason for reason in lost), lost
    assert not [event for event in events if isinstance(event, TaskSplit)]


def test_a_death_is_told_with_its_signal_its_job_and_its_node(tmp_path: Path) -> None:
    events: list[Event] = []
    with started(tmp_path, workers=1) as executor:
        (job,) = executor.job_ids()
        (outcome,) = executor.map_tasks(total, batches(1, poison=(0,)), stage="deadly", on_event=events.append)
    assert re.search(rf"was killed by signal 9 on n\d in job {job} \(RUNNING, on n\d\)", str(outcome.error))
    assert all("signal 9" in event.reason for event in events if isinstance(event, WorkerLost))


def test_a_worker_beyond_its_memory_is_told_as_such(tmp_path: Path) -> None:
    events: list[Event] = []
    with make_executor(replace(settings(tmp_path, 1), retries=0)) as executor:
        (outcome,) = executor.map_tasks(eat_memory, batches(1), stage="greedy", on_event=events.append)
    assert re.search(r"ended for growing beyond its memory limit on n\d in job \d+", str(outcome.error))


def other_h5py(folder: Path, condition: str = "true") -> tuple[str, ...]:
    """Lines of a job script by which its workers find another h5py, as in another environment."""
    found = folder / "elsewhere" / "h5py-0.0.1.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: h5py\nVersion: 0.0.1\n")
    return (f"if {condition}; then export PYTHONPATH={found.parent}:$PYTHONPATH; fi",)


def test_workers_of_another_environment_are_refused_with_the_difference(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"was refused.*h5py 0\.0\.1 instead of .*executor.slurm.prologue"):
        make_executor(settings(tmp_path, 1, prologue=other_h5py(tmp_path)))
    assert not queued(str(tmp_path))


def test_a_replacement_of_another_environment_is_refused_and_told_of(tmp_path: Path) -> None:
    events: list[Event] = []
    spoilt = tmp_path / "spoilt"
    with started(tmp_path, workers=2, prologue=other_h5py(tmp_path, f"[ -e {spoilt} ]")) as executor:
        tasks = naps(tmp_path, 40, 0.5)
        outcomes = executor.map_tasks(nap_and_count, tasks, stage="spoilt", on_event=events.append)
        values = [next(outcomes).value]
        spoilt.touch()
        subprocess.run(["scancel", executor.job_ids()[0]], check=True)
        values += [outcome.value for outcome in outcomes]
    assert sorted(value or 0 for value in values) == list(range(40))
    assert any("h5py 0.0.1 instead of" in event.text for event in events if isinstance(event, Note))


def test_jobs_come_as_tasks_wait_and_go_when_they_are_idle(tmp_path: Path) -> None:
    adaptive = AdaptiveSettings(minimum=1, maximum=3, idle_s=2)
    with make_executor(settings(tmp_path, 3, adaptive=adaptive)) as executor:
        assert isinstance(executor, SlurmExecutor)
        assert len(queued(str(tmp_path))) == 1
        most = 0
        for _ in executor.map_tasks(nap_and_count, naps(tmp_path, 60, 0.3), stage="tide"):
            most = max(most, len(executor.workers()))
        assert most == 3
        deadline = time.monotonic() + 60
        while len(queued(str(tmp_path))) > 1:
            assert time.monotonic() < deadline, queued(str(tmp_path))
            time.sleep(0.2)
        events: list[Event] = []
        outcomes = executor.map_tasks(nap_and_count, naps(tmp_path, 60, 0.3), stage="again", on_event=events.append)
        assert {outcome.value for outcome in outcomes} == set(range(60))
        assert len(executor.workers()) > 1
    assert not [event for event in events if isinstance(event, WorkerLost)]
    assert not queued(str(tmp_path))
    assert runs(tmp_path) == [2] * 60


def test_jobs_are_kept_while_gaps_are_shorter_than_the_hold(tmp_path: Path) -> None:
    adaptive = AdaptiveSettings(minimum=0, maximum=2, idle_s=60)
    with make_executor(settings(tmp_path, 2, adaptive=adaptive)) as executor:
        assert isinstance(executor, SlurmExecutor)
        list(executor.map_tasks(nap_and_count, naps(tmp_path, 20, 0.3), stage="first"))
        wait_for_workers(executor, 2)
        before = executor.job_ids()
        time.sleep(3)
        list(executor.map_tasks(nap_and_count, naps(tmp_path, 4, 0.1), stage="second"))
        assert executor.job_ids() == before


PROGRAM = """
import sys
from pathlib import Path
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.runtime.signals import RESUME_STATUS, Interrupted
from test_slurm_lives import nap_and_count, naps

try:
    list(InlineExecutor().map_tasks(nap_and_count, naps(Path(sys.argv[1]), 100, 4), stage="naps"))
except Interrupted as stop:
    print(stop)
    sys.exit(RESUME_STATUS)
"""


def test_a_job_stops_by_itself_before_slurm_would_stop_it(tmp_path: Path) -> None:
    # A minute: one task of 4 s, then those that are done 30 s before the end if they take 6 s each.
    command = ["srun", "--quiet", "--time=1", "--mem-per-cpu=1000", sys.executable, "-c", PROGRAM, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == RESUME_STATUS, ended.stderr
    assert "stopped by the end of its Slurm job in" in ended.stdout
    done = sum(runs(tmp_path, "end"))
    assert 1 <= done == sum(runs(tmp_path)) < 10
    assert f"{done} tasks of stage naps were finished" in ended.stdout


def test_the_way_to_the_dashboard_is_told(tmp_path: Path) -> None:
    pytest.importorskip("bokeh")
    events: list[Event] = []
    with make_executor(replace(settings(tmp_path, 1), dashboard=True)) as executor:
        list(executor.map_tasks(nap_and_count, naps(tmp_path, 2, 0), stage="first", on_event=events.append))
        (told,) = [event.text for event in events if isinstance(event, Note)]
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/status on", told)
        with urllib.request.urlopen(address.removesuffix(" on"), timeout=20) as page:
            assert b"Dask" in page.read()

"""The executor on Slurm jobs: what all executors do, and what only workers in jobs can get wrong."""

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from batches import Batch, batches, count_runs, environment, own_pid, say, sleep_long, total
from dask.distributed import Client
from slurm_lab import queued, wait_until_empty
from slurm_started import lab, settings, started, wait_for_workers  # noqa: F401  (lab is a fixture)
from test_executors import (  # noqa: F401  (the behaviour of all executors, here with this module's executor)
    Number,
    numbers,
    square,
    test_a_big_result_is_refused_with_the_remedy,
    test_a_big_task_is_refused_with_the_remedy,
    test_a_function_that_cannot_be_sent_is_refused,
    test_a_map_that_is_left_early_does_not_disturb_the_next,
    test_a_partial_of_a_function_is_a_function,
    test_a_result_that_cannot_be_read_back_is_an_error_of_its_task,
    test_a_result_that_cannot_be_sent_is_an_error_of_its_task,
    test_a_slow_consumer_holds_back_the_supply,
    test_a_thousand_tiny_tasks_all_come_back,
    test_an_error_in_the_supply_reaches_the_caller,
    test_errors_stay_with_their_task_and_the_others_go_on,
    test_events_tell_of_every_task,
    test_every_task_gives_its_value_once,
    test_no_tasks_give_no_outcomes,
    test_nothing_runs_before_the_first_outcome_is_asked_for,
    test_tasks_are_handed_out_in_their_order,
    test_tasks_run_on_as_many_processes_as_the_capacity_says,
    test_two_maps_may_overlap,
)

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.events import Event, TaskSplit, WorkerLost
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.security import CERTIFICATE, KEY, load_security, make_security
from hpc_mlsm.runtime.signals import RESUME_STATUS
from hpc_mlsm.runtime.slurm import SlurmExecutor

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def executor(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmExecutor]:  # noqa: F811
    with started(tmp_path_factory.mktemp("jobs")) as made:
        yield made


def test_a_task_that_ends_its_worker_is_blamed_and_no_other(executor: SlurmExecutor, tmp_path: Path) -> None:
    events: list[Event] = []
    tasks = batches(8, poison=(5,), folder=str(tmp_path))
    outcomes = {o.task.id: o for o in executor.map_tasks(count_runs, tasks, stage="deadly", on_event=events.append)}
    assert {id_ for id_, outcome in outcomes.items() if outcome.error} == {"batch-5"}
    assert {o.value for o in outcomes.values() if not o.error} == set(range(8)) - {5}
    assert "died 3 times in this task" in str(outcomes["batch-5"].error)
    assert len((tmp_path / "runs-of-batch-5").read_text().split()) == 3
    assert sum(isinstance(event, WorkerLost) for event in events) == 3


def test_a_deadly_batch_is_split_until_the_one_to_blame_is_found(executor: SlurmExecutor) -> None:
    events: list[Event] = []
    tasks = [Batch("a", tuple(range(4)), poison=(2,)), Batch("b", (100, 101))]
    outcomes = list(executor.map_tasks(total, tasks, stage="split", on_event=events.append))
    assert [o.task.numbers for o in outcomes if o.error] == [(2,)]
    assert {n for o in outcomes if not o.error for n in o.task.numbers} == {0, 1, 3, 100, 101}
    # On a busy machine an innocent half may be on a worker that goes down with another, and is split as well.
    split = [e.task_id for e in events if isinstance(e, TaskSplit)]
    assert split[0] == "a"
    assert "a.1" in split


def test_workers_run_in_their_jobs_with_one_thread_a_library(executor: SlurmExecutor) -> None:
    wait_for_workers(executor, 2)
    seen = [o.value or {} for o in executor.map_tasks(environment, batches(20), stage="environment")]
    assert {values["SLURM_JOB_ID"] for values in seen} == set(executor.job_ids())
    assert {values["OMP_NUM_THREADS"] for values in seen} == {"1"}
    assert all(Path(values["NUMBA_CACHE_DIR"]).stat().st_mode & 0o077 == 0 for values in seen)


def test_logs_are_named_by_job_id_and_keep_what_tasks_print(executor: SlurmExecutor) -> None:
    list(executor.map_tasks(speak, numbers(20), stage="speech"))
    written = {job: (executor._folder / f"hpc-mlsm-{job}.log").read_text() for job in executor.job_ids()}
    assert sum(text.count("a word from task") for text in written.values()) == 20


def speak(task: Number) -> None:
    say("a word from", task.id)


def test_everything_listens_on_the_chosen_interface_only(executor: SlurmExecutor) -> None:
    workers = [o.value for o in executor.map_tasks(own_pid, batches(20), stage="pids")]
    processes = [psutil.Process(), *(psutil.Process(pid) for pid in set(workers))]
    processes += [process.parent() for process in processes[1:]]
    connections = [c for process in processes for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert len(connections) >= 5
    assert {connection.laddr.ip for connection in connections} == {"127.0.0.1"}
    assert all(address.startswith("tls://127.0.0.1:") for address in executor.workers())


def test_a_client_without_the_certificate_is_refused(executor: SlurmExecutor, tmp_path: Path) -> None:
    address = executor._cluster.scheduler_address
    port = address.rpartition(":")[2]
    stranger = make_security(tmp_path)
    for attempt in (f"Client('tcp://127.0.0.1:{port}', timeout=3)", f"Client('{address}', timeout=3, security=s)"):
        program = (
            f"from dask.distributed import Client; from pathlib import Path\n"
            f"from hpc_mlsm.runtime.security import load_security\n"
            f"s = load_security(Path({str(tmp_path)!r}))\n"
            f"print('workers:', len({attempt}.nthreads()))\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert "workers:" not in done.stdout
    assert stranger.require_encryption
    # With the certificate, the same is welcome, and it is for its owner only.
    folder = executor._security_folder
    with Client(address, security=load_security(folder), set_as_default=False, timeout=20) as client:
        assert len(client.nthreads()) == 2
    modes = {stat.S_IMODE((folder / name).stat().st_mode) for name in (CERTIFICATE, KEY)}
    assert modes == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_shutdown_with_busy_workers_leaves_no_job_no_process_and_no_key(tmp_path: Path) -> None:
    executor = started(tmp_path, workers=1)
    (worker,) = {outcome.value for outcome in executor.map_tasks(own_pid, batches(1), stage="pid")}
    outcomes = executor.map_tasks(sleep_long, batches(3), stage="busy")
    assert next(outcomes).task.id == "batch-0"
    start = time.monotonic()
    executor.shutdown()
    executor.shutdown()
    assert time.monotonic() - start < 20
    assert not queued(str(tmp_path))
    assert worker is not None
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
    assert [path for path in tmp_path.iterdir() if path.suffix != ".log"] == []
    with pytest.raises(ExecutorError):
        next(outcomes)
    with pytest.raises(ExecutorError, match="was shut down"):
        executor.map_tasks(square, numbers(1), stage="late")


def test_several_workers_share_a_job(tmp_path: Path) -> None:
    with started(tmp_path, workers=3, workers_per_job=2) as executor:
        assert executor.capacity == 4
        assert len(executor.job_ids()) == 2
        outcomes = list(executor.map_tasks(square, numbers(30), stage="shared"))
    assert sorted(outcome.task.n for outcome in outcomes) == list(range(30))


def test_a_job_that_ends_is_replaced_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpc_mlsm.runtime.slurm_keeper.KEEP_S", 0.5)
    with started(tmp_path, workers=2) as executor:
        before = executor.job_ids()
        outcomes = executor.map_tasks(total, batches(600), stage="long")
        values = [next(outcomes).value for _ in range(20)]
        subprocess.run(["scancel", before[0]], check=True)
        values += [outcome.value for outcome in outcomes]
        assert sorted(value or 0 for value in values) == list(range(600))
        wait_for_workers(executor, 2)
        after = executor.job_ids()
    assert before[0] not in after
    assert before[1] in after
    assert not queued(str(tmp_path))


def test_workers_end_before_the_walltime_and_their_tasks_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpc_mlsm.runtime.slurm_keeper.KEEP_S", 0.5)
    monkeypatch.setattr("hpc_mlsm.runtime.slurm_script.lifetime", lambda walltime, grace_s: (4, 1))
    with started(tmp_path, workers=2) as executor:
        before = executor.job_ids()
        outcomes = list(executor.map_tasks(total, batches(800), stage="short lives"))
        after = executor.job_ids()
    assert sorted(outcome.value or 0 for outcome in outcomes) == list(range(800))
    assert not set(before) & set(after)


def test_a_map_ends_when_jobs_bring_no_worker_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpc_mlsm.runtime.slurm_keeper.KEEP_S", 0.3)
    monkeypatch.setattr("hpc_mlsm.runtime.dask_pool.LOOK_S", 0.3)
    broken = tmp_path / "broken"
    with started(tmp_path, workers=1, prologue=(f"if [ -e {broken} ]; then exit 1; fi",)) as executor:
        outcomes = executor.map_tasks(total, batches(3000), stage="hopeless")
        next(outcomes)
        broken.touch()
        subprocess.run(["scancel", *executor.job_ids()], check=True)
        with pytest.raises(ExecutorError, match="no worker has been there"):
            list(outcomes)
    assert not queued(str(tmp_path))


def test_a_job_that_slurm_refuses_is_shown_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"invalid partition.*#SBATCH -p nowhere"):
        make_executor(settings(tmp_path, partition="nowhere"))
    with pytest.raises(ExecutorError, match=r"unrecognized option.*#SBATCH --no-such-option"):
        make_executor(settings(tmp_path, sbatch=("--no-such-option=1",)))
    too_much = replace(settings(tmp_path), memory_per_worker_mb=90_000)
    with pytest.raises(ExecutorError, match=r"Memory specification .* #SBATCH --mem=86070M"):
        make_executor(too_much)
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_slurm_takes_and_can_never_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"will never start .*\(PartitionConfig\).* #SBATCH --cpus-per-task=1000"):
        make_executor(settings(tmp_path, cores_per_worker=1000))
    assert not queued(str(tmp_path))


def test_jobs_that_end_before_their_workers_come_are_an_error_with_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"(?s)every job ended.*hpc-mlsm-\d+.log ends with:.*no such program"):
        make_executor(settings(tmp_path, prologue=("echo no such program >&2", "exit 3")))


def test_a_queue_that_takes_too_long_is_an_error_and_leaves_no_job(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="have brought no worker within 1 s"):
        make_executor(settings(tmp_path, queue_s=1, sbatch=("--begin=now+1hour",)))
    assert not queued(str(tmp_path))


PROGRAM = """
import sys
from pathlib import Path
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.signals import RESUME_STATUS, Interrupted
from batches import batches, nap, say
from slurm_started import settings

if __name__ == "__main__":
    try:
        with make_executor(settings(Path(sys.argv[1]), sbatch=tuple(sys.argv[2:]))) as executor:
            for outcome in executor.map_tasks(nap, batches(500, folder="0.05"), stage="naps"):
                say("finished", outcome.task.id)
    except Interrupted as stop:
        say("interrupted:", str(stop))
        sys.exit(RESUME_STATUS)
"""


def program(folder: Path, *sbatch: str) -> "subprocess.Popen[str]":
    script = folder / "program.py"
    script.write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script), str(folder), *sbatch],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_stop_signal_drains_cancels_the_jobs_and_says_resume_me(tmp_path: Path) -> None:
    with program(tmp_path) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
        out, errors = process.communicate(timeout=60)
    assert first.startswith("finished")
    assert (process.returncode, errors) == (RESUME_STATUS, "")
    assert "interrupted: stopped by SIGUSR1" in out
    assert not queued(str(tmp_path))


def test_a_stop_signal_while_the_jobs_wait_is_heeded(tmp_path: Path) -> None:
    with program(tmp_path, "--begin=now+1hour") as process:
        while not queued(str(tmp_path)):
            time.sleep(0.1)
        time.sleep(1)
        process.terminate()
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (RESUME_STATUS, "")
    assert "no worker had started yet" in out
    assert not queued(str(tmp_path))


def test_a_killed_driver_takes_its_jobs_along(tmp_path: Path) -> None:
    with program(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("finished")
        jobs = queued(str(tmp_path))
        process.kill()
        process.communicate()
    assert len(jobs) == 2
    wait_until_empty(str(tmp_path), patience_s=60)

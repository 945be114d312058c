"""Job scripts as bash runs them, with a stand-in for Slurm's commands."""

import os
import shlex
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpc_mlsm.runtime.sbatch import JobScript, render_script

PLAIN = JobScript("train", "pdf.train", ("hpc-mlsm", "train", "/runs/pdf"), Path("/runs/pdf"), Path("/work"))


class Job:
    """A rendered script as Slurm would run it, with a program of one's own and a stand-in for scontrol."""

    def __init__(
        self, folder: Path, program: str, *, state: str = "RUNNING", idle: int = 2, when_killed: bool = False
    ) -> None:
        self.folder, self.run = folder, folder / "the run's"
        self.logs, programs = self.run / "logs", folder / "bin"
        for place in (self.logs, programs, self.run / "patterns"):
            place.mkdir(parents=True)
        job = replace(PLAIN, run=self.run, command=("bash", "-c", program, "program"), max_idle_restarts=idle)
        job = replace(job, resumes_when_killed=when_killed)
        (folder / "job.sh").write_text(render_script(job))
        scontrol = f'#!/bin/bash\necho "$*" >>{shlex.quote(str(folder / "asked"))}\n'
        (programs / "scontrol").write_text(
            scontrol + f'[ "$1" = requeue ] || echo "JobId=7 JobState={state} Reason=None"'
        )
        (programs / "scontrol").chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NAME": "pdf.train",
        }

    def start(self, restarts: int = 0) -> "subprocess.Popen[str]":
        """Start the script for the first time, or as restarted."""
        environment = self.environment | ({"SLURM_RESTART_COUNT": str(restarts)} if restarts else {})
        command = ["bash", str(self.folder / "job.sh")]
        return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE, cwd=self.folder)

    def outcome(self, restarts: int = 0) -> tuple[int, str]:
        """Exit status and messages of a script that runs to its end."""
        process = self.start(restarts)
        _, said = process.communicate(timeout=30)
        return process.returncode, said

    @property
    def requeued(self) -> int:
        """How often the job was put back into the queue."""
        asked = self.folder / "asked"
        return asked.read_text().splitlines().count("requeue 7") if asked.exists() else 0


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


@pytest.mark.parametrize("status", [0, 1, 3, 139])
def test_the_job_ends_with_the_status_of_its_program(tmp_path: Path, status: int) -> None:
    job = Job(tmp_path, f"exit {status}")
    assert job.outcome() == (status, "")
    assert not job.requeued
    assert not list(job.logs.iterdir())


@pytest.mark.parametrize("kind", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_reaches_the_program_whose_drain_puts_the_job_back(tmp_path: Path, kind: signal.Signals) -> None:
    program = "trap 'touch drained; exit 75' USR1; touch ready; for i in {1..200}; do sleep 0.05; done"
    job = Job(tmp_path, program)
    process = job.start()
    wait_for(tmp_path / "ready")
    process.send_signal(kind)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 75
    assert (tmp_path / "drained").exists()
    assert job.requeued == 1
    assert f"SIG{kind.name[3:]}: the program is asked to come to an end" in said
    assert "is back in the queue" in said


def test_a_program_that_drains_slowly_is_waited_for_and_its_own_status_counts(tmp_path: Path) -> None:
    program = "trap 'touch got; sleep 0.5; exit 4' USR1; touch ready; for i in {1..200}; do sleep 0.05; done"
    job = Job(tmp_path, program)
    process = job.start()
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGUSR1)
    wait_for(tmp_path / "got")
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=30)
    assert process.returncode == 4
    assert not job.requeued


def test_a_program_that_cannot_catch_the_signal_yet_is_as_good_as_drained(tmp_path: Path) -> None:
    job = Job(tmp_path, "touch ready; exec sleep 20")
    process = job.start()
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=30)
    assert (process.returncode, job.requeued) == (75, 1)


def test_a_cancelled_job_is_not_put_back(tmp_path: Path) -> None:
    job = Job(tmp_path, "exit 75", state="CANCELLED")
    status, said = job.outcome()
    assert (status, job.requeued) == (75, 0)
    assert "was cancelled" in said


def test_a_job_gives_up_after_so_many_restarts_without_progress(tmp_path: Path) -> None:
    job = Job(tmp_path, "exit 75", idle=2)
    statuses = [job.outcome(restarts)[0] for restarts in range(2)]
    assert (statuses, job.requeued) == ([75, 75], 2)
    status, said = job.outcome(2)
    assert (status, job.requeued) == (75, 2)
    assert "gives up: nothing was finished in 3 runs one after the other" in said


def test_restarts_by_slurm_after_lost_nodes_count_as_well(tmp_path: Path) -> None:
    job = Job(tmp_path, "touch ran; kill -KILL $PPID", idle=1)
    assert job.outcome(0)[0] == -signal.SIGKILL
    assert job.outcome(1)[0] == -signal.SIGKILL
    (tmp_path / "ran").unlink()
    status, said = job.outcome(2)
    assert status == 75
    assert "gives up" in said
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "work", ["patterns/shard-$now.h5", "models/boosted-checkpoints/round-$now.ubj", "groups/edges-$now.h5"]
)
def test_a_job_that_finishes_something_each_time_goes_on_for_ever(tmp_path: Path, work: str) -> None:
    program = f'cd "the run\'s"; mkdir -p {os.path.dirname(work)}; now=$(date +%s%N); touch {work}; exit 75'
    job = Job(tmp_path, program, idle=0)
    for restarts in range(5):
        assert job.outcome(restarts)[0] == 75
    assert job.requeued == 5


def test_a_checkpoint_of_the_same_size_is_progress(tmp_path: Path) -> None:
    program = (
        'cd "the run\'s"; mkdir -p models/boosted-checkpoints; n=$SLURM_RESTART_COUNT; '
        'echo "{\\"round\\": ${n:-0}}" >models/boosted-checkpoints/state.json; exit 75'
    )
    job = Job(tmp_path, program, idle=0)
    for restarts in range(4):
        assert job.outcome(restarts)[0] == 75
    assert job.requeued == 4


@pytest.mark.parametrize("rubbish", ["patterns/.shard-1.part", "logs/events.jsonl", "run.lock", "jobs.json"])
def test_logs_locks_and_partial_files_are_no_progress(tmp_path: Path, rubbish: str) -> None:
    job = Job(tmp_path, f'cd "the run\'s"; echo more >>{rubbish}; exit 75', idle=0)
    status, said = job.outcome()
    assert (status, job.requeued) == (75, 0)
    assert "gives up" in said


@pytest.mark.parametrize("when_killed", [False, True])
def test_a_job_of_ranks_comes_back_where_one_was_killed(tmp_path: Path, when_killed: bool) -> None:
    job = Job(tmp_path, "kill -9 $$", when_killed=when_killed)
    status, said = job.outcome()
    assert (status, job.requeued) == ((75, 1) if when_killed else (137, 0))
    assert ("one of the tasks was ended by signal 9" in said) == when_killed


def test_a_line_of_the_profile_that_fails_stops_the_job_with_its_text(tmp_path: Path) -> None:
    job = Job(tmp_path, "touch ran")
    script = render_script(
        replace(PLAIN, run=job.run, activate=("source /no/such/activate",), command=("touch", "ran"))
    )
    (tmp_path / "job.sh").write_text(script)
    status, said = job.outcome()
    assert status == 1
    assert "pdf.train: this line of the site profile failed: source /no/such/activate" in said
    assert not (tmp_path / "ran").exists()


def test_a_signal_while_the_environment_is_being_activated_is_not_lost(tmp_path: Path) -> None:
    job = Job(tmp_path, "exit 9")
    lines = ("touch ready", "for i in {1..10}; do sleep 0.05; done")
    command = ("touch", "ran")
    (tmp_path / "job.sh").write_text(render_script(replace(PLAIN, run=job.run, activate=lines, command=command)))
    process = job.start()
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=30)
    assert (process.returncode, job.requeued) == (75, 1)
    assert not (tmp_path / "ran").exists()

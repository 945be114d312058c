"""Job scripts, as text, and as bash runs them with a stand-in for Slurm's commands."""

import os
import re
import shlex
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.sbatch import JobScript, expandable, render_script, resumable_part

ROOT = Path(__file__).resolve().parents[2]
PLAIN = JobScript("train", "pdf.train", ("hpc-mlsm", "train", "/runs/pdf"), Path("/runs/pdf"), Path("/work"))
ODD = 'it\'s a "run" with $HOME, `ls`, a \\ and ; & | * é'


def options(job: JobScript) -> list[str]:
    """The #SBATCH lines, without that word."""
    return [line[8:] for line in render_script(job).splitlines() if line.startswith("#SBATCH ")]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "--job-name=pdf.train"),
        ({}, "--chdir=/work"),
        ({}, "--output=/runs/pdf/logs/train-%j.log"),
        ({}, "--open-mode=append"),
        ({}, "--requeue"),
        ({}, "--signal=B:USR1@300"),
        ({"signal_before_s": 90}, "--signal=B:USR1@90"),
        ({"walltime": "2-00:00:00"}, "--time=2-00:00:00"),
        ({"nodes": 4}, "--nodes=4"),
        ({"tasks_per_node": 64}, "--ntasks-per-node=64"),
        ({"cpus_per_task": 16}, "--cpus-per-task=16"),
        ({"memory": "240G"}, "--mem=240G"),
        ({"gpus": 2}, "--gres=gpu:2"),
        ({"gpus": 2, "gpu_type": "a100"}, "--gres=gpu:a100:2"),
        ({"partition": "long"}, "--partition=long"),
        ({"account": "crystals"}, "--account=crystals"),
        ({"qos": "high"}, "--qos=high"),
        ({"constraint": "a100|h100"}, "--constraint='a100|h100'"),
        ({"options": ("--exclusive", "--reservation=beam time")}, "--reservation='beam time'"),
        ({"options": ("--exclusive",)}, "--exclusive"),
        ({"name": "my run"}, "--job-name='my run'"),
        ({"run": Path("/runs/100%")}, "--output=/runs/100%%/logs/train-%j.log"),
    ],
)
def test_a_parameter_becomes_an_option_of_sbatch(change: dict[str, Any], line: str) -> None:
    assert line in options(replace(PLAIN, **change))


@pytest.mark.parametrize("option", ["mem", "gres", "partition", "account", "qos", "constraint"])
def test_what_is_not_asked_for_is_left_to_the_cluster(option: str) -> None:
    assert not [line for line in options(PLAIN) if line.startswith(f"--{option}")]


def test_options_come_before_the_first_command_or_sbatch_would_not_see_them() -> None:
    lines = render_script(replace(PLAIN, memory="1G", options=("--exclusive",))).splitlines()
    assert lines[0] == "#!/bin/bash"
    number = sum(line.startswith("#SBATCH") for line in lines)
    assert all(line.startswith("#SBATCH") for line in lines[1 : number + 1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modules": ("gcc/12", "my module")}, "module load gcc/12 'my module' ||"),
        ({"activate": ("source ~/x/activate  # mine",)}, "    source ~/x/activate  # mine\n}"),
        ({"threads": 1}, "export OMP_NUM_THREADS=1\n"),
        ({}, "export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}\n"),
        ({"scratch": "/scratch/$USER/x y"}, "export TMPDIR=/scratch/\"${USER}\"'/x y'\n"),
        ({"scratch": "/s", "nodes": 3}, 'srun --nodes=3 --ntasks=3 mkdir -p "$TMPDIR"'),
        ({"command": ("srun", "hpc-mlsm", "a b")}, "\nrun_resumable srun hpc-mlsm 'a b'\n"),
        ({"max_idle_restarts": 7}, '[ "$idle" -gt 7 ]'),
    ],
)
def test_a_parameter_becomes_a_line_of_the_script(change: dict[str, Any], words: str) -> None:
    assert words in render_script(replace(PLAIN, **change))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"run": Path("/") / ODD, "workdir": Path("/") / ODD, "name": ODD, "command": (ODD, ODD)},
        {"modules": ("a", ODD), "activate": ("source x # comment", "if true; then echo; fi"), "scratch": f"/{ODD}"},
        {"nodes": 3, "tasks_per_node": 5, "scratch": "$TMPDIR", "threads": 1, "gpus": 1, "qos": ODD},
    ],
)
def test_every_script_is_valid_shell(change: dict[str, Any]) -> None:
    text = render_script(replace(PLAIN, **change))
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_value_is_taken_for_a_command() -> None:
    text = render_script(replace(PLAIN, run=Path("/") / ODD, command=("program", ODD)))
    line = next(line for line in text.splitlines() if line.startswith("run_resumable "))
    assert shlex.split(line) == ["run_resumable", "program", ODD]
    assert shlex.split(next(line for line in text.splitlines() if line.startswith("run="))) == [f"run=/{ODD}"]


def test_a_line_break_in_a_value_is_refused() -> None:
    with pytest.raises(ExecutorError, match=r"cannot be written into a job script.*rename"):
        render_script(replace(PLAIN, run=Path("/runs/a\n#SBATCH --nodes=9")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/scratch", "/scratch"),
        ("$TMPDIR", "/tmp/job"),
        ("/s/${WHO}/$WHO-x", "/s/me/me-x"),
        ("/s/$(id)`id`$5 'x", "/s/$(id)`id`$5 'x"),
    ],
)
def test_of_a_scratch_folder_only_variables_are_filled_in(text: str, expected: str) -> None:
    command = ["bash", "-c", f"printf %s {expandable(text)}"]
    environment = {"TMPDIR": "/tmp/job", "WHO": "me"}
    assert subprocess.run(command, env=environment, text=True, capture_output=True, check=True).stdout == expected


def test_the_script_for_a_whole_run_has_the_same_common_part() -> None:
    script = (ROOT / "slurm" / "run.sbatch").read_text()
    limit = re.search(r'\[ "\$idle" -gt (\d+) \]', script)
    assert limit
    assert resumable_part(int(limit[1])) in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


class Job:
    """A rendered script as Slurm would run it, with a program of one's own and a stand-in for scontrol."""

    def __init__(self, folder: Path, program: str, *, state: str = "RUNNING", idle: int = 2) -> None:
        self.folder, self.run = folder, folder / "the run's"
        self.logs, programs = self.run / "logs", folder / "bin"
        for place in (self.logs, programs, self.run / "patterns"):
            place.mkdir(parents=True)
        job = replace(PLAIN, run=self.run, command=("bash", "-c", program, "program"), max_idle_restarts=idle)
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

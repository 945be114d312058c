"""What jobs of the Slurm executor ask for, and what is made of Slurm's refusals; all of it without Slurm."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import pytest

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime import slurm_jobs
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.settings import ExecutorSettings, SlurmSettings
from hpc_mlsm.runtime.slurm_jobs import cancel_jobs, last_lines, queued_jobs, refusal
from hpc_mlsm.runtime.slurm_script import job_options, lifetime, load_jobqueue, seconds

pytest.importorskip("dask_jobqueue")

SCRIPT = "#SBATCH -p fast\n#SBATCH -A physics\n#SBATCH --mem=86070M\n#SBATCH -t 99:00:00\n#SBATCH --constraint=avx9\n"


def job_script(settings: SlurmSettings, memory_mb: int | None = 1000, **options: Any) -> str:
    asked = job_options(settings, memory_mb, 30.0, **options)
    return str(load_jobqueue().slurm.SLURMJob("tls://1.2.3.4:5", name="w", **asked).job_script())


def test_the_script_asks_for_what_the_settings_say(tmp_path: Path) -> None:
    settings = SlurmSettings(
        partition="fast",
        account="physics",
        walltime="02:00:00",
        workers_per_job=4,
        cores_per_worker=2,
        sbatch=("--constraint=avx2", "--qos=high"),
        prologue=("module load python",),
        folder=tmp_path / "jobs",
    )
    script = job_script(settings, scratch=Path("/scratch"), interface="ib0")
    header = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]
    # 4 workers of 1000 MB and 250 MB for the process beside each, in MiB.
    assert header == [
        "-J hpc-mlsm",
        "-p fast",
        "-A physics",
        "-n 1",
        "--cpus-per-task=8",
        "--mem=4769M",
        "-t 02:00:00",
        "--no-requeue",
        f"--output={tmp_path}/jobs/hpc-mlsm-%j.log",
        "--constraint=avx2",
        "--qos=high",
    ]
    command = script.splitlines()[-1] or script.splitlines()[-2]
    assert "distributed.cli.dask_worker tls://1.2.3.4:5 --name w --nthreads 1 --memory-limit 0.93GiB" in command
    assert "--nworkers 4 --nanny --death-timeout 120 --local-directory /scratch --no-dashboard" in command
    assert "--lifetime 6840s --lifetime-stagger 300s --interface ib0" in command
    lines = script.splitlines()
    assert lines.index("module load python") < lines.index("export OMP_NUM_THREADS=1")


def test_the_script_is_shell_that_sets_up_workers(tmp_path: Path) -> None:
    script = job_script(SlurmSettings(folder=tmp_path))
    setup = script.rpartition(f"{sys.executable} -m")[0] + "env"
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    env.pop("NUMBA_CACHE_DIR", None)
    said = subprocess.run(["bash", "-eu", "-c", setup], env=env, capture_output=True, text=True, check=True).stdout
    seen = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    assert seen["OPENBLAS_NUM_THREADS"] == "1"
    assert seen["DASK_DISTRIBUTED__WORKER__MEMORY__SPILL"] == "False"
    cache = Path(seen["NUMBA_CACHE_DIR"])
    assert cache.parent == tmp_path
    # Code of others is not run: a cache that they may write is not used.
    cache.chmod(0o777)
    said = subprocess.run(["bash", "-eu", "-c", setup], env=env, capture_output=True, text=True, check=True).stdout
    assert f"NUMBA_CACHE_DIR={cache}" not in said.splitlines()


def test_what_is_not_set_comes_from_jobqueue_yaml(tmp_path: Path) -> None:
    load_jobqueue()
    site = {
        "jobqueue.slurm.walltime": "10:00:00",
        "jobqueue.slurm.queue": "long",
        "jobqueue.slurm.memory": "3 GB",
        "jobqueue.slurm.interface": "eth9",
        "jobqueue.slurm.job-extra-directives": ["--exclusive"],
        "jobqueue.slurm.job-script-prologue": ["module load site"],
    }
    with dask.config.set(site):
        script = job_script(
            SlurmSettings(folder=tmp_path, sbatch=("--qos=high",), prologue=("module load mine",)), None
        )
    for line in ("-t 10:00:00", "-p long", "--mem=3G", "--exclusive", "--qos=high"):
        assert f"#SBATCH {line}\n" in script
    assert "module load site\nmodule load mine\n" in script
    assert "--interface eth9" in script


@pytest.mark.parametrize(
    ("walltime", "expected"),
    [("90", 5400), ("90:30", 5430), ("1:30:30", 5430), ("2-0", 172_800), ("1-2:03", 93_780), ("1-00:00:10", 86_410)],
)
def test_walltimes_are_read_as_slurm_reads_them(walltime: str, expected: int) -> None:
    assert seconds(walltime) == expected


@pytest.mark.parametrize("wrong", ["", "soon", "1:2:3:4", "x-1", "-5"])
def test_a_walltime_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ExecutorError, match="is no time of Slurm's"):
        seconds(wrong)


def test_no_worker_lives_until_the_walltime() -> None:
    for walltime in ("00:03:00", "01:00:00", "2-00:00:00"):
        lives, stagger = lifetime(walltime, 30)
        assert 0 < stagger < lives
        assert lives + stagger + 30 + 30 <= seconds(walltime)
    with pytest.raises(ExecutorError, match="a walltime of 00:01:00 leaves workers 0 s"):
        lifetime("00:01:00", 30)


def test_a_folder_that_job_scripts_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="without blanks"):
        job_options(SlurmSettings(folder=tmp_path / "my jobs"), 1000, 30)


def test_memory_and_workers_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"executor\.memory_per_worker_mb"):
        job_options(SlurmSettings(folder=tmp_path), None, 30)
    with pytest.raises(ExecutorError, match=r"executor\.workers"):
        make_executor(ExecutorSettings(kind="slurm"))


def test_without_sbatch_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorError, match="there is no sbatch here"):
        make_executor(ExecutorSettings(kind="slurm", workers=1))
    assert queued_jobs() is None
    assert not cancel_jobs(["1"], patience_s=1)
    assert cancel_jobs([], patience_s=1)


def test_loading_leaves_ctrl_c_as_it_was() -> None:
    program = (
        "import signal\n"
        "from hpc_mlsm.runtime.slurm_script import load_jobqueue\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "load_jobqueue()\n"
        "assert signal.getsignal(signal.SIGINT) is before\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("sbatch: error: invalid partition specified: fast\n", "#SBATCH -p fast"),
        ("sbatch: error: Batch job submission failed: Invalid account\n", "#SBATCH -A physics"),
        ("sbatch: error: Memory specification can not be satisfied\n", "#SBATCH --mem=86070M"),
        ("sbatch: error: Requested time limit is invalid (missing or exceeds some limit)\n", "#SBATCH -t 99:00:00"),
        ("sbatch: error: Batch job submission failed: Invalid feature specification\n", "#SBATCH --constraint=avx9"),
    ],
)
def test_a_refusal_is_shown_with_the_line_that_it_is_about(said: str, line: str) -> None:
    text = refusal(RuntimeError(f"Command exited with non-zero exit code.\nstdout:\n\nstderr:\n{said}\n"), SCRIPT)
    assert text == said.removeprefix("sbatch: error: ").strip() + f". In the job script: {line}"


def test_a_refusal_that_is_not_understood_is_shown_as_it_is() -> None:
    assert refusal(RuntimeError("the moon is full"), SCRIPT) == "the moon is full"


def test_the_end_of_the_newest_log_of_these_jobs_is_shown(tmp_path: Path) -> None:
    assert last_lines(tmp_path, ["7"]) == ""
    (tmp_path / "hpc-mlsm-7.err").write_text("one\ntwo\nthree\n")
    (tmp_path / "hpc-mlsm-7.out").touch()
    (tmp_path / "hpc-mlsm-77.err").write_text("another job\n")
    assert last_lines(tmp_path, ["7"], count=2) == f"{tmp_path}/hpc-mlsm-7.err ends with:\ntwo\nthree"


def test_jobs_are_read_with_the_reason_why_they_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho '7 None'\necho '8 PartitionTimeLimit'\n")
    squeue.chmod(0o755)
    monkeypatch.setattr(slurm_jobs, "QUEUE", (str(squeue),))
    assert queued_jobs() == {"7": "None", "8": "PartitionTimeLimit"}

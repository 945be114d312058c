"""``hpc-mlsm submit`` and the scripts for sbatch, on a real cluster."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from site_program import ROOT, STAGES, real

pytestmark = pytest.mark.slurm


def submitted(folder: Path, site: str, conf: Path, *overrides: str) -> dict[str, str]:
    """Submit to the real cluster; the numbers of the jobs by stage."""
    words = [word for override in overrides for word in ("--set", override)]
    result = real(folder, conf, "submit", "metals.yaml", "--site", site, *words)
    assert result.returncode == 0, result.stderr
    jobs = json.loads((folder / "runs" / "metals" / "jobs.json").read_text())
    return {job["stage"]: job["job_id"] for job in jobs}


def field(job: str, name: str) -> str:
    """What the cluster says of a job."""
    shown = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True, check=False).stdout
    return next((word.partition("=")[2] for word in shown.split() if word.startswith(f"{name}=")), "")


def wait_for(job: str, states: set[str], patience_s: float) -> str:
    """Wait until a job is in one of the states."""
    deadline = time.monotonic() + patience_s
    while (state := field(job, "JobState")) not in states:
        assert time.monotonic() < deadline, f"job {job} is {state}, not {states}"
        time.sleep(0.5)
    return state


def shorten(job: str, left_s: int = 30) -> None:
    """Lower a running job's limit to the first whole minute that leaves it so much time."""
    hours, minutes, seconds = map(int, field(job, "RunTime").split(":"))
    limit = (3600 * hours + 60 * minutes + seconds + left_s) // 60 + 1
    subprocess.run(["scontrol", "update", f"jobid={job}", f"timelimit={limit}"], check=True, capture_output=True)


ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


@pytest.mark.slow
def test_a_chain_runs_to_its_report_on_a_real_cluster(folder: Path, slurm_lab: Path) -> None:
    odd = folder / "it's a run"
    odd.mkdir()
    (odd / "metals.yaml").write_text((folder / "metals.yaml").read_text())
    jobs = submitted(odd, "lab", slurm_lab)
    assert list(jobs) == STAGES
    assert wait_for(jobs["report"], ENDED, 300) == "COMPLETED"
    run = odd / "runs" / "metals"
    assert (run / "reports" / "report.html").is_file()
    assert (run / "predictions" / "predictions.csv").is_file()
    assert {path.stem for path in (run / "logs").glob("*.log")} == {f"{stage}-{jobs[stage]}" for stage in STAGES}
    assert real(odd, slurm_lab, "status", "runs/metals").stdout.count("completed") == 7


def test_a_refusal_of_a_real_cluster_is_shown_with_its_line(folder: Path, slurm_lab: Path) -> None:
    result = real(folder, slurm_lab, "submit", "metals.yaml", "--site", "site.yaml")
    assert result.returncode == 1
    assert "nvalid partition" in result.stderr
    assert "#SBATCH --partition=nowhere" in result.stderr
    (folder / "large.yaml").write_text("partition: batch\nstages: {train: {memory: 9000G}}\n")
    result = real(folder, slurm_lab, "submit", "metals.yaml", "--site", "large.yaml")
    assert result.returncode == 1
    assert "#SBATCH --mem=9000G" in result.stderr
    assert "were cancelled" in result.stderr


@pytest.mark.slow
def test_a_job_told_to_stop_before_its_walltime_drains_is_requeued_and_goes_on(
    folder: Path,
    slurm_lab: Path,
) -> None:
    pytest.importorskip("diffpy.pdffit2")
    small: dict[str, dict[str, object]] = {stage: {"memory": "2G"} for stage in STAGES}
    small["simulate"] |= {"cpus_per_task": 2, "walltime": "00:02:00"}
    (folder / "short.yaml").write_text(yaml.safe_dump({"signal_before_s": 20, "stages": small}))
    # The slowest engine, so that simulating takes longer than Slurm needs to look at its jobs' limits.
    slow = ("simulate.engine=pdffit2", "simulate.q_min=0", "train.boosted.rounds=2", "simulate.variants=500")
    jobs = submitted(folder, "short.yaml", slurm_lab, *slow)
    job = jobs["simulate"]
    shards = folder / "runs" / "metals" / "patterns" / "pdf"
    deadline = time.monotonic() + 500
    while not list(shards.glob("shard-*.h5")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    shorten(job)
    while field(job, "Restarts") in ("", "0"):
        assert time.monotonic() < deadline
        assert wait_for(job, {"PENDING", "RUNNING", "COMPLETING"}, 5)
        time.sleep(0.5)
    first = {path.name: path.stat().st_mtime_ns for path in shards.glob("shard-*.h5")}
    log = (folder / "runs" / "metals" / "logs" / f"simulate-{job}.log").read_text()
    assert "SIGUSR1: the program is asked to come to an end" in log
    assert "Run the same command again to resume" in log
    assert "is back in the queue" in log
    assert first
    subprocess.run(["scontrol", "update", f"jobid={job}", "timelimit=20"], check=True, capture_output=True)
    while field(job, "JobState") not in ENDED:
        assert time.monotonic() < deadline
        time.sleep(5)  # a node refuses a job that it has requeued only just now
        subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now"], capture_output=True, check=False)
    assert field(job, "JobState") == "COMPLETED"
    assert wait_for(jobs["group"], ENDED, 100) == "COMPLETED"
    subprocess.run(["scancel", *(jobs[stage] for stage in STAGES[3:])], check=True)
    assert {name: (shards / name).stat().st_mtime_ns for name in first} == first
    assert len(list(shards.glob("shard-*.h5"))) > len(first)


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [1, 3])
def test_one_job_runs_everything_on_the_cores_or_the_tasks_that_it_has(
    folder: Path,
    slurm_lab: Path,
    tasks: int,
) -> None:
    (folder / "bin" / "hpc-mlsm").write_text(f'#!/bin/bash\nexec {sys.executable} -m hpc_mlsm.cli.main "$@"\n')
    (folder / "bin" / "hpc-mlsm").chmod(0o755)
    (folder / "bin" / "sbatch").unlink()
    allocation = [f"--ntasks={tasks}", "--cpus-per-task=1", "--mem=3G"]
    arguments = ["metals.yaml", "--run", "my run", "--set", "executor.interface=lo"]
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = ["sbatch", "--wait", *allocation, str(ROOT / "slurm" / "run.sbatch"), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    log = "".join(path.read_text() for path in folder.glob("hpc-mlsm-*.log"))
    assert done.returncode == 0, log
    assert "report:" in log
    assert "Traceback" not in log
    assert (folder / "my run" / "reports" / "report.html").is_file()

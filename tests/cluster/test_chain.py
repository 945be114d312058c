"""Chains of jobs on a real cluster: while they run, when a stage fails, and when two ask for the same run."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from _disturbed import Reference
from _lab_run import PROGRAM, LabRun, environment, hpc_mlsm, site
from _slurm import ENDED, field, outcome, slurm, wait_for_end, wait_until

from hpc_mlsm.runtime.lock import LOCK_NAME
from hpc_mlsm.runtime.lock_holder import read_holder

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


def begun(made: Reference, folder: Path) -> LabRun:
    """A run whose catalogue is there."""
    shutil.copytree(made.begun, folder / "run")
    return LabRun(folder, site("local"))


def is_simulating(run: LabRun) -> bool:
    return len(run.finished("simulate")) >= 1


def test_a_chain_is_followed_while_it_runs_and_a_live_run_is_not_disturbed(made: Reference, folder: Path) -> None:
    run = begun(made, folder)
    run.poison = f"gate:{made.ids[0]}"
    jobs = run.submit(until="group")
    wait_until(lambda: is_simulating(run), "the first tasks")
    status = hpc_mlsm("status", run.run.path, cwd=folder)
    assert status.returncode == 0, status.stderr
    assert "running" in status.stdout
    assert "partly" in status.stdout
    second = hpc_mlsm("simulate", run.run.path, cwd=folder)
    holder = read_holder(run.run.path / LOCK_NAME)
    assert second.returncode == 1
    assert holder is not None
    assert f"in use by process {holder.pid}" in second.stderr
    assert jobs["simulate"] in second.stderr
    (run.record / "open").touch()
    wait_for_end(jobs["group"])
    assert [outcome(jobs[stage]) for stage in ("ingest", "simulate", "group")] == ["COMPLETED 0"] * 3
    assert "Traceback" not in run.log("simulate", jobs["simulate"])


def test_a_stage_that_fails_takes_its_successors_out_of_the_queue(made: Reference, folder: Path) -> None:
    run = begun(made, folder)
    run.site["scratch"] = "/proc/no/such/disk"
    jobs = run.submit()
    wait_until(lambda: all(field(job, "JobState") in ENDED for job in jobs.values()), "the end of all jobs")
    assert outcome(jobs["ingest"]) == "FAILED 1"
    assert {field(job, "JobState") for stage, job in jobs.items() if stage != "ingest"} == {"CANCELLED"}
    assert "the scratch folder /proc/no/such/disk cannot be made" in run.log("ingest", jobs["ingest"])


def test_of_two_submissions_at_once_one_is_refused(made: Reference, folder: Path) -> None:
    run = begun(made, folder)
    (folder / "site.yaml").write_text(yaml.safe_dump(run.site))
    command = [*PROGRAM, "submit", str(run.run.path), "--site", str(folder / "site.yaml")]
    both = [
        subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1].decode() for process in both]
    names = slurm("squeue", "--noheader", "--format=%A %o").splitlines()
    queued = [line for line in names if str(run.run.path) in line]
    remembered = {job["job_id"] for job in json.loads((run.run.path / "jobs.json").read_text())}
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert {line.split()[0] for line in queued} <= remembered


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_a_lock_whose_driver_was_killed_on_another_node_is_taken_over(made: Reference, folder: Path) -> None:
    run = begun(made, folder)
    program = f"hostname another-node; exec {' '.join(PROGRAM)} simulate {run.run.path}"
    script = f"#!/bin/bash\nunshare --uts bash -c '{program}'\n"
    number = subprocess.run(
        ["sbatch", "--parsable", "--cpus-per-task=2", "--mem=2G", f"--output={folder}/log", f"--chdir={folder}"],
        input=script,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    wait_until(lambda: is_simulating(run), "the first tasks")
    holder = read_holder(run.run.path / LOCK_NAME)
    assert holder is not None
    assert holder.host == "another-node"
    refused = hpc_mlsm("simulate", run.run.path, cwd=folder)
    assert refused.returncode == 1
    assert "another-node" in refused.stderr
    os.kill(holder.pid, signal.SIGKILL)
    wait_for_end(number)
    taken = hpc_mlsm("simulate", run.run.path, cwd=folder)
    assert taken.returncode == 0, taken.stderr
    assert "took over the run directory" in taken.stdout + taken.stderr

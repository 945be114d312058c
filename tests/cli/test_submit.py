"""``hpc-mlsm submit`` as a user meets it, with a stand-in for Slurm's commands."""

import itertools
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from site_program import STAGES, commands, hpc_mlsm

SITES = ("lab", "cpu-cluster", "gpu-cluster", "isolated-nodes")


@pytest.mark.parametrize("site", SITES)
def test_a_dry_run_prints_valid_scripts_for_every_site_and_does_nothing_else(folder: Path, site: str) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", site, "--dry-run", slurm=False)
    assert result.returncode == 0, result.stderr
    scripts = result.stdout.split("# ----- ")[1:]
    assert [Path(script.splitlines()[0]).name for script in scripts] == [f"{stage}.sh" for stage in STAGES]
    for script in scripts:
        text = script.partition("\n")[2]
        assert text.startswith("#!/bin/bash\n#SBATCH --job-name=metals.")
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert not (folder / "runs").exists()


def test_a_stage_is_started_as_its_executor_needs_it(folder: Path) -> None:
    lab, cpu, mpi = (commands(folder, site) for site in ("lab", "cpu-cluster", "isolated-nodes"))
    run = str(folder / "my run")
    assert lab["simulate"][:5] == [sys.executable, "-m", "hpc_mlsm.cli.main", "simulate", run]
    assert cpu["simulate"][:5] == ["srun", "--kill-on-bad-exit=1", "hpc-mlsm", "simulate", run]
    assert mpi["simulate"][:7] == ["mpirun", "-n", "384", "--map-by", "core", "hpc-mlsm", "simulate"]
    assert cpu["train"][:3] == ["hpc-mlsm", "train", run]
    assert 'executor.kind="runner"' in cpu["simulate"]
    assert 'executor.interface="ib0"' in cpu["simulate"]
    assert "executor.grace_s=480.0" in cpu["simulate"]


def test_workers_in_jobs_of_their_own_are_asked_for_as_the_stage_is(folder: Path) -> None:
    (folder / "jobs.yaml").write_text(
        "partition: long\nqos: high\nmodules: [gcc]\nactivate: [source x]\n"
        "stages: {simulate: {executor: slurm, workers: 8, account: them}}\n"
    )
    words = commands(folder, "jobs.yaml")["simulate"]
    asked = json.loads(next(word for word in words if word.startswith("executor.slurm=")).partition("=")[2])
    assert (asked["partition"], asked["account"], asked["sbatch"]) == ("long", "them", ["--qos=high"])
    assert asked["prologue"] == ["module load gcc", "source x"]
    assert (asked["walltime"], asked["queue_s"], asked["workers_per_job"]) == ("01:00:00", 86_400, 1)
    assert "executor.workers=8" in words


@pytest.mark.parametrize("site", SITES)
def test_the_options_that_a_script_passes_are_settings_that_there_are(folder: Path, site: str) -> None:
    for words in commands(folder, site).values():
        overrides = [word for pair in itertools.pairwise(words) if pair[0] == "--set" for word in ("--set", pair[1])]
        result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "lab", "--dry-run", *overrides)
        assert result.returncode == 0, result.stderr


def test_a_run_without_patterns_has_no_job_for_predict(folder: Path) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "lab", "--dry-run", "--set", "predict.samples=0")
    assert "predict.sh" not in result.stdout
    assert "report.sh" in result.stdout


def test_each_job_waits_for_the_one_before_and_is_remembered(folder: Path) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml")
    assert result.returncode == 0, result.stderr
    asked = (folder / "asked").read_text().splitlines()
    run = folder / "runs" / "metals"
    first = f"sbatch --parsable {run}/jobs/ingest.sh"
    later = [
        f"sbatch --parsable --dependency=afterok:{101 + k} --kill-on-invalid-dep=yes {run}/jobs/{stage}.sh"
        for k, stage in enumerate(STAGES[1:])
    ]
    assert asked == [first, *later]
    jobs = json.loads((run / "jobs.json").read_text())
    assert [(job["stage"], job["job_id"]) for job in jobs] == list(zip(STAGES, map(str, range(101, 108)), strict=True))
    assert jobs[3]["log"] == str(run / "logs" / "train-104.log")
    assert (run / "run.yaml").is_file()
    assert (run / "logs").is_dir()


def test_status_shows_the_jobs_and_what_the_queue_says_of_them(folder: Path) -> None:
    hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml")
    jobs = folder / "runs" / "metals" / "jobs"
    (folder / "queue").write_text(f"102|RUNNING|n1|{jobs}/simulate.sh\n103|PENDING|(Dependency)|{jobs}/group.sh\n")
    shown = [line.split() for line in hpc_mlsm(folder, "status", "runs/metals").stdout.splitlines()]
    rows = {words[1]: words for words in shown if len(words) > 7 and words[3].isdigit()}
    assert rows["ingest"][3:6:2] == ["101", "ended"]
    assert rows["simulate"][3:9:2] == ["102", "running", "n1"]
    assert rows["group"][3:9:2] == ["103", "pending", "(Dependency)"]
    without = hpc_mlsm(folder, "status", "runs/metals", slurm=False)
    assert without.returncode == 0
    assert "unknown" in without.stdout


def test_a_run_with_jobs_in_the_queue_is_not_submitted_again(folder: Path) -> None:
    hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml")
    jobs = folder / "runs" / "metals" / "jobs"
    (folder / "queue").write_text(f"104|PENDING|(Priority)|{jobs}/train.sh\n105|RUNNING|n1|/another/evaluate.sh\n")
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml")
    assert result.returncode == 1
    assert "104 (train, pending)" in result.stderr
    assert "scancel 104" in result.stderr
    assert len((folder / "asked").read_text().splitlines()) == 7
    (folder / "queue").write_text(f"104|COMPLETED|n1|{jobs}/train.sh\n")
    assert hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml").returncode == 0


def test_two_submissions_of_one_run_at_the_same_time_give_one_chain(folder: Path) -> None:
    words = ["submit", "metals.yaml", "--site", "site.yaml", "--no-plan"]
    second = shlex.join([sys.executable, "-m", "hpc_mlsm.cli.main", *words])
    result = hpc_mlsm(folder, *words, MEANWHILE=f"{second}; echo status $?")
    assert result.returncode == 0, result.stderr
    said = " ".join((folder / "asked.meanwhile").read_text().split())
    assert "in use by process" in said
    assert "status 1" in said
    assert len((folder / "asked").read_text().splitlines()) == 7
    assert not (folder / "runs" / "metals" / "submit.lock").exists()


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("Invalid partition name specified", "#SBATCH --partition=nowhere"),
        ("Invalid account or account/partition combination specified", "#SBATCH --account=crystals"),
        ("Memory specification can not be satisfied", "#SBATCH --mem=9000G"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "#SBATCH --time=01:00:00"),
    ],
)
def test_a_refusal_is_shown_with_its_line_and_takes_back_the_jobs_before(folder: Path, reason: str, line: str) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "site.yaml", REFUSED="train", REASON=reason)
    assert result.returncode == 1
    assert reason in result.stderr
    assert line in result.stderr
    assert "jobs/train.sh" in result.stderr
    assert "submitted before it (101, 102, 103) were cancelled" in result.stderr
    assert (folder / "asked").read_text().splitlines()[-1] == "scancel 101 102 103"
    assert "Traceback" not in result.stderr


def test_where_slurm_is_not_installed_the_message_says_what_to_do(folder: Path) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "lab", slurm=False)
    assert result.returncode == 1
    assert "sbatch is not on this machine; submit from a login node" in result.stderr


def test_an_unknown_site_is_refused_with_those_that_there_are(folder: Path) -> None:
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "mysite")
    assert result.returncode == 1
    assert "no site 'mysite'; known are cpu-cluster, gpu-cluster, isolated-nodes, lab" in result.stderr

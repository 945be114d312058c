"""``hpc-mlsm plan --site`` and the refusal of ``submit`` as a user meets them, and ``status`` that writes nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from site_program import CONFIG, ROOT, hpc_mlsm

SMALL = "partition: batch\nsignal_before_s: 60\nstages:\n  group: {memory: 900M}\n  train: {memory: 200M}\n"


@pytest.mark.parametrize("site", ["lab", "cpu-cluster", "gpu-cluster", "isolated-nodes"])
def test_every_site_is_planned_stage_by_stage(folder: Path, site: str) -> None:
    result = hpc_mlsm(folder, "plan", "metals.yaml", "--site", site, slurm=False)
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert {"ingest", "simulate", "group", "train", "evaluate", "predict", "report"} <= rows.keys()
    assert "structures timed here; compute nodes may differ" in result.stdout
    if site == "isolated-nodes":
        first = next(line for line in result.stdout.splitlines() if line.strip().startswith("simulate"))
        assert "mpi 8×48×1" in first
        assert " 382 " in first  # 384 ranks, of which two are no workers


@pytest.mark.parametrize("width", ["80", "140"])
def test_the_plan_is_as_wide_as_the_terminal_at_most(folder: Path, width: str) -> None:
    result = hpc_mlsm(folder, "plan", "metals.yaml", "--site", "cpu-cluster", COLUMNS=width)
    assert max(map(len, result.stdout.splitlines())) <= int(width)
    assert "…" not in result.stdout


def test_numbers_of_nodes_are_those_asked_for(folder: Path) -> None:
    result = hpc_mlsm(folder, "plan", "metals.yaml", "--site", "cpu-cluster", "--nodes", "3,12")
    table = result.stdout.partition("On other numbers of nodes")[2].splitlines()
    found = [line.split()[:3] for line in table if line.split()[:1] in (["simulate"], ["train"]) and "B" in line]
    assert found[:2] == [["simulate", "3", "190"], ["simulate", "12", "766"]]
    # There are not enough training rows for so many workers.
    assert [row[:2] for row in found[2:]] == [["train", "3"], ["train", "12"]]
    assert found[2][2] == found[3][2]
    wrong = hpc_mlsm(folder, "plan", "metals.yaml", "--site", "lab", "--nodes", "many")
    assert "--nodes: 'many' is no number of nodes" in wrong.stderr
    assert "name it with --site" in hpc_mlsm(folder, "plan", "metals.yaml", "--nodes", "3").stderr


def test_what_does_not_fit_is_refused_by_plan_and_submit_with_figure_and_remedy(folder: Path) -> None:
    (folder / "small.yaml").write_text(SMALL)
    planned = hpc_mlsm(folder, "plan", "metals.yaml", "--site", "small.yaml")
    assert planned.returncode == 1
    assert "- group: needs about 1 GB, its node gives 944 MB; set stages.group.memory to 1G" in planned.stderr
    assert "- train: needs about" in planned.stderr
    submitted = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "small.yaml")
    assert submitted.returncode == 1
    assert "- group: needs about 1 GB" in submitted.stderr
    assert "Nothing was submitted" in submitted.stderr
    assert not (folder / "asked").exists()
    assert hpc_mlsm(folder, "submit", "metals.yaml", "--site", "small.yaml", "--no-plan").returncode == 0
    assert len((folder / "asked").read_text().splitlines()) == 7


def test_a_dry_run_prints_the_refusal_as_comments_before_the_scripts_and_makes_no_run(folder: Path) -> None:
    (folder / "small.yaml").write_text(SMALL)
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "small.yaml", "--dry-run")
    assert result.returncode == 1
    assert result.stdout.startswith("# refused: group: needs about 1 GB")
    assert result.stdout.count("#!/bin/bash") == 7
    assert not (folder / "runs").exists()
    without = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "small.yaml", "--dry-run", "--no-plan")
    assert (without.returncode, "refused" in without.stdout) == (0, False)


def test_a_configuration_for_ranks_is_planned_without_them(folder: Path) -> None:
    result = hpc_mlsm(folder, "plan", "metals.yaml", "--set", "executor.kind=runner")
    assert result.returncode == 0, result.stderr


def contents(run: Path) -> dict[str, tuple[int, int]]:
    """Time of change and size of everything in a run, folders too; not of SQLite's shared memory, which readers map."""
    found = [path for path in [run, *run.rglob("*")] if not path.name.endswith("-shm")]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def test_status_changes_nothing_in_a_live_run(folder: Path) -> None:
    slow = CONFIG | {"simulate": {"variants": 30_000, "grid": {"r_max": 30.0}}, "executor": {"workers": 1}}
    (folder / "slow.yaml").write_text(yaml.safe_dump(slow))
    command = [sys.executable, "-m", "hpc_mlsm.cli.main", "run", "slow.yaml", "--run", "live"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    run = folder / "live"
    try:
        deadline = time.monotonic() + 120
        while '"TaskSubmitted"' not in _text(run / "logs" / "events.jsonl"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGSTOP)  # so that whatever changes now was changed by status
        time.sleep(0.2)
        before = contents(run)
        result = hpc_mlsm(folder, "status", "live")
        assert result.returncode == 0, result.stderr
        assert contents(run) == before
        assert f"in use by process {process.pid}" in result.stdout
        assert "simulate: " in result.stdout
        assert "patterns, begun" in result.stdout or "patterns/s of late" in result.stdout
        assert (run / "run.lock").exists()
    finally:
        os.killpg(process.pid, signal.SIGCONT)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""

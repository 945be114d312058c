"""``hpc-mlsm doctor`` as a user meets it: on this machine, and on a real cluster whose parts are broken one by one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from site_program import ROOT, hpc_mlsm, real

GOOD: dict[str, Any] = {"partition": "batch", "interface": "lo", "signal_before_s": 60}


def by_check(text: str) -> dict[str, list[dict[str, str]]]:
    """Findings of ``--json`` by what was checked."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in json.loads(text):
        found.setdefault(row["check"], []).append(row)
    return found


def test_this_machine_alone_is_checked_and_nothing_is_left(folder: Path) -> None:
    pytest.importorskip("cryptography")
    result = hpc_mlsm(folder, "doctor", "--json", slurm=False)
    found = by_check(result.stdout)
    assert {"python and packages", "network interface", "clock", "run folder: speed", "scratch: local"} <= found.keys()
    assert found["shared folder: rename"][0]["verdict"] == "ok"
    assert result.returncode == (1 if any(row["verdict"] == "failure" for row in json.loads(result.stdout)) else 0)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("width", ["80", "140"])
def test_what_is_printed_is_as_wide_as_the_terminal_at_most(folder: Path, width: str) -> None:
    shown = hpc_mlsm(folder, "doctor", slurm=False, COLUMNS=width).stdout.splitlines()
    assert max(map(len, shown)) <= int(width)
    assert shown[0] == "this machine"
    assert "not asked for" in shown[-1]


def test_a_folder_that_cannot_be_written_is_refused(folder: Path) -> None:
    (folder / "file").touch()
    result = hpc_mlsm(folder, "doctor", "--run", "file/runs")
    assert result.returncode == 1
    assert "--run" in result.stderr


def test_without_sbatch_a_site_cannot_be_checked(folder: Path) -> None:
    result = hpc_mlsm(folder, "doctor", "--site", "lab", "--json", slurm=False)
    assert result.returncode == 1
    assert by_check(result.stdout)["sbatch"][0]["remedy"].startswith("call doctor on a login node")


def test_mistakes_of_the_profile_are_shown_as_submit_shows_them(folder: Path) -> None:
    (folder / "bad.yaml").write_text("partitoin: batch\nstages: {train: {gpu: 1}}\n")
    said = [hpc_mlsm(folder, *words, "--site", "bad.yaml").stderr for words in (["doctor"], ["submit", "metals.yaml"])]
    assert said[0] == said[1]
    assert "unknown key partitoin; did you mean partition?" in said[0]
    assert "unknown key stages.train.gpu; did you mean gpus?" in said[0]


def test_what_sbatch_refuses_is_shown_with_its_line(folder: Path) -> None:
    refusing = (
        '#!/bin/bash\necho "sbatch: error: Invalid account or account/partition combination specified" >&2\nexit 1\n'
    )
    (folder / "bin" / "sbatch").write_text(refusing)
    result = hpc_mlsm(folder, "doctor", "--site", "site.yaml", "--json")
    found = by_check(result.stdout)
    assert result.returncode == 1
    for check in ("job of train", "probe job"):
        assert "Invalid account" in found[check][0]["figure"]
        assert "#SBATCH --account=crystals" in found[check][0]["figure"]
    assert list((folder / "runs").glob("*")) == [] if (folder / "runs").exists() else True


def examined(
    place: Path, conf: Path, profile: dict[str, Any], *words: str
) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Exit status and findings for a profile on the real cluster, which is left as it was."""
    pytest.importorskip("cryptography")
    (place / "mine.yaml").write_text(yaml.safe_dump(GOOD | profile))
    result = real(place, conf, "doctor", "--site", "mine.yaml", "--json", *words)
    assert result.stdout, result.stderr
    assert not queued()
    assert not (place / "runs").exists()
    return result.returncode, by_check(result.stdout)


@pytest.mark.slurm
def test_a_good_site_passes_every_check_on_two_nodes(folder: Path, slurm_lab: Path) -> None:
    stages = {"simulate": {"nodes": 2, "tasks_per_node": 2, "executor": "runner"}}
    status, found = examined(folder, slurm_lab, {"stages": stages})
    assert status == 0, [row for rows in found.values() for row in rows if row["verdict"] == "failure"]
    for check in (
        "same versions as here",
        "reaches the login node",
        "clock",
        "shared folder: seen",
        "Slurm's commands",
    ):
        assert {row["where"] for row in found[check]} == {"n1", "n2"}, check
    assert found["reaches n1"][0]["where"] == "n2"
    assert found["launch by srun"][0]["figure"] == "2 ranks see each other on n1, n2"
    assert found["shared folder: locks"][0]["verdict"] == "ok"
    assert found["GPU"][0]["verdict"] == "not asked for"


@pytest.mark.slurm
def test_an_interface_that_nodes_lack_is_named_with_those_that_they_have(folder: Path, slurm_lab: Path) -> None:
    status, found = examined(folder, slurm_lab, {"interface": "ib0"})
    assert status == 1
    assert "no interface ib0; there are lo (127.0.0.1)" in found["network interface"][0]["figure"]


@pytest.mark.slurm
def test_scratch_that_cannot_be_made_is_found_on_the_node(folder: Path, slurm_lab: Path) -> None:
    status, found = examined(folder, slurm_lab, {"scratch": "/proc/scratch/$SLURM_JOB_ID"})
    assert status == 1
    assert found["scratch"][0]["figure"].startswith("/proc/scratch/")
    assert found["scratch"][0]["where"] == "n1"


@pytest.mark.slurm
def test_an_environment_that_does_not_come_up_is_quoted(folder: Path, slurm_lab: Path) -> None:
    status, found = examined(folder, slurm_lab, {"activate": ["source /no/such/activate"]})
    assert status == 1
    words = found["environment of jobs"][0]["figure"]
    assert "this line of the site profile failed: source /no/such/activate" in words
    assert "No such file" in words


@pytest.mark.slurm
def test_resources_that_the_cluster_does_not_have_are_refused_with_their_line(folder: Path, slurm_lab: Path) -> None:
    stages = {"train": {"memory": "9000G"}, "group": {"gpus": 1}}
    status, found = examined(folder, slurm_lab, {"stages": stages})
    assert status == 1
    assert "#SBATCH --mem=9000G" in found["job of train"][0]["figure"]
    assert "#SBATCH --gres=gpu:1" in found["job of group"][0]["figure"]
    assert found["job of simulate"][0]["verdict"] == "ok"


@pytest.mark.slurm
def test_a_queue_that_does_not_move_is_waited_for_so_long_and_no_longer(folder: Path, slurm_lab: Path) -> None:
    status, found = examined(folder, slurm_lab, {"options": ["--begin=now+1hour"]}, "--wait", "3")
    assert status == 1
    assert "waited 3 s in the queue (BeginTime)" in found["probe job"][-1]["figure"]
    assert "--wait" in found["probe job"][-1]["remedy"]


@pytest.mark.slurm
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_doctor_that_is_stopped_takes_its_job_and_files_back(
    folder: Path,
    slurm_lab: Path,
    kind: signal.Signals,
) -> None:
    (folder / "mine.yaml").write_text(yaml.safe_dump(GOOD | {"options": ["--begin=now+1hour"]}))
    command = [sys.executable, "-m", "hpc_mlsm.cli.main", "doctor", "--site", "mine.yaml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SLURM_CONF": str(slurm_lab)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 100
    while not (waiting := queued()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(kind)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not waiting & queued()
    assert not (folder / "runs").exists()


def queued() -> set[str]:
    """Jobs of doctor that wait or run."""
    command = ["squeue", "-h", "-n", "hpc-mlsm.doctor", "-t", "PENDING,RUNNING", "-o", "%A"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.slurm
def test_a_login_node_that_nodes_may_not_reach_is_not_asked_for(folder: Path, slurm_lab: Path) -> None:
    status, found = examined(folder, slurm_lab, {"nodes_reach_login": False})
    assert status == 0
    assert "reaches the login node" not in found
    assert "by times of files" in found["clock"][0]["figure"]

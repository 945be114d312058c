"""A real Slurm cluster for tests: the project's own lab, started where it does not run and its programs are there."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CLUSTER = REPOSITORY / "slurm" / "lab" / "cluster.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")


def cluster(
    command: str, env: dict[str, str] | None = None, *, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Run ``cluster.sh command``."""
    done = subprocess.run(
        ["bash", str(CLUSTER), command], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def missing_programs() -> list[str]:
    """What of Slurm is not on this machine."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def require_programs() -> None:
    """Skip the test where it was not asked for, or Slurm is not installed."""
    if os.environ.get("HPC_MLSM_CLUSTER_TESTS") != "1":
        pytest.skip("tests on a real Slurm cluster take a quarter of an hour: HPC_MLSM_CLUSTER_TESTS=1 runs them")
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)} here: `sudo slurm/lab/cluster.sh install` brings them")


def queued(comment: str) -> set[str]:
    """Ids of the jobs in the queue that were submitted with this ``--comment``; others may use the cluster as well."""
    command = ["squeue", "-h", "-o", "%A %k"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.partition(" ")[0] for line in lines if line.partition(" ")[2] == comment}


def wait_until_empty(comment: str, patience_s: float = 30.0) -> None:
    """Wait until no job with this comment is in the queue."""
    deadline = time.monotonic() + patience_s
    while left := queued(comment):
        assert time.monotonic() < deadline, f"jobs {left} do not end"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def slurm_lab() -> Iterator[Path]:
    """The running cluster's configuration file, which ``SLURM_CONF`` names; stopped at the end if started here."""
    require_programs()
    was_running = cluster("status", check=False).returncode == 0
    cluster("start")
    conf = cluster("env").stdout.split("'")[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", conf)
        yield Path(conf)
        if not was_running:
            cluster("stop")

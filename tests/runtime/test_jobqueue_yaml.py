"""Dask's own ``jobqueue.yaml`` of a user fills in what a site's profile leaves open, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue")

ROOT = Path(__file__).resolve().parents[2]
FILE = """
jobqueue:
  slurm:
    queue: long
    account: from-dask
    memory: 3 GB
    walltime: "10:00:00"
    interface: eth9
    job-extra-directives: ["--exclusive"]
    job-script-prologue: ["module load of-dask"]
"""
PROGRAM = """
import sys
from pathlib import Path
from hpc_mlsm.runtime.settings import SlurmSettings
from hpc_mlsm.runtime.slurm_script import job_options
options = job_options(SlurmSettings({settings}folder=Path("/tmp/jobs")), None, 10.0)
print("\\n".join(f"{{key}}={{value}}" for key, value in options.items()))
"""


def options(folder: Path, settings: str = "") -> str:
    """What would be asked of Slurm in a process that finds such a file."""
    (folder / "jobqueue.yaml").write_text(FILE)
    environment = os.environ | {"DASK_CONFIG": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM.format(settings=settings)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_what_is_open_comes_from_the_file(tmp_path: Path) -> None:
    found = options(tmp_path)
    assert "walltime=10:00:00" in found
    assert "interface=eth9" in found
    assert "'--exclusive'" in found
    assert "module load of-dask" in found
    # Left out of the call, so that dask-jobqueue takes its own.
    assert "queue=None" in found
    assert "memory=" not in found


def test_what_the_profile_says_goes_before_the_file(tmp_path: Path) -> None:
    found = options(tmp_path, 'partition="short", walltime="01:00:00", ')
    assert "queue=short" in found
    assert "walltime=01:00:00" in found

"""The executor inside one Slurm allocation, under ``srun``."""

import json
import os
import signal
import stat
from pathlib import Path

import launch_scenarios
import pytest
from dask.distributed import Client, Security
from launch_scenarios import *  # noqa: F403
from launch_scenarios import Launch

from hpc_mlsm.runtime.security import load_security
from hpc_mlsm.runtime.signals import RESUME_STATUS

pytestmark = [*launch_scenarios.pytestmark, pytest.mark.slurm]


def srun(ranks: int) -> list[str]:
    # Two virtual nodes, so that ranks of different nodes meet.
    return ["srun", "--quiet", f"--ntasks={ranks}", "--nodes=2", "--mem-per-cpu=1500", "--oversubscribe"]


@pytest.fixture
def launch(tmp_path: Path, slurm_lab: Path) -> Launch:
    return Launch("runner", srun, tmp_path, {"SLURM_CONF": str(slurm_lab)})


def test_the_connection_files_are_private_and_go_with_the_launch(launch: Launch) -> None:
    process = launch.start("stopped")
    launch.await_files("started-*", 2)
    (folder,) = launch.folder.glob("launch-*")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(("scheduler.json", "tls-certificate.pem", "tls-key.pem"), 0o600)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    os.kill(launch.report["driver"], signal.SIGTERM)
    assert launch.ended(process, launch_scenarios.BOUND_S).returncode == RESUME_STATUS
    assert not folder.exists()


def test_only_a_client_with_the_certificate_of_the_launch_is_let_in(launch: Launch) -> None:
    process = launch.start("stopped")
    launch.await_files("started-*", 2)
    (folder,) = launch.folder.glob("launch-*")
    address = json.loads((folder / "scheduler.json").read_text())["address"]
    assert address.startswith("tls://")
    with pytest.raises(OSError, match="TLS certificate does not match"):
        Client(address, security=Security.temporary(), set_as_default=False, timeout=2)
    with Client(address, security=load_security(folder), set_as_default=False, timeout=10) as client:
        assert len(client.nthreads()) == 2
    os.kill(launch.report["driver"], signal.SIGTERM)
    assert launch.ended(process, launch_scenarios.BOUND_S).returncode == RESUME_STATUS

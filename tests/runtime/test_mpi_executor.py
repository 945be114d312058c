"""The executor under ``mpirun``."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import launch_scenarios
import pytest
from dask.distributed import Client, Security
from launch_scenarios import *  # noqa: F403
from launch_scenarios import Launch

from hpc_mlsm.runtime.signals import RESUME_STATUS

pytestmark = [
    *launch_scenarios.pytestmark,
    pytest.mark.mpi,
    pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed"),
]


def mpirun(ranks: int) -> list[str]:
    return ["mpirun", "-n", str(ranks), "--oversubscribe", *(["--allow-run-as-root"] if os.getuid() == 0 else [])]


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch("mpi", mpirun, tmp_path)


def test_a_client_without_the_certificate_of_the_launch_is_refused(launch: Launch) -> None:
    process = launch.start("stopped")
    launch.await_files("started-*", 2)
    address = launch.report["address"]
    assert address.startswith("tls://127.0.0.1:")
    with pytest.raises(OSError, match="TLS certificate does not match"):
        Client(address, security=Security.temporary(), set_as_default=False, timeout=2)
    plain = address.replace("tls://", "tcp://")
    program = f"from dask.distributed import Client; print(Client('{plain}', timeout=2).nthreads())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    os.kill(launch.report["driver"], signal.SIGTERM)
    assert launch.ended(process, launch_scenarios.BOUND_S).returncode == RESUME_STATUS
    launch.assert_nothing_left()


def test_without_mpirun_the_right_command_is_named(tmp_path: Path) -> None:
    driver = Path(__file__).with_name("launch_driver.py")
    command = [sys.executable, str(driver), "mpi", str(tmp_path), "results"]
    path = str(driver.parents[2])
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert ended.returncode == 1
    assert "this launch has 1 rank, and at least 3 are needed" in ended.stderr
    assert "mpirun -n 4" in ended.stderr


def test_ranks_that_are_all_alone_point_to_another_mpi(tmp_path: Path) -> None:
    driver = Path(__file__).with_name("launch_driver.py")
    command = [sys.executable, str(driver), "mpi", str(tmp_path), "results"]
    environment = {**os.environ, "PYTHONPATH": str(driver.parents[2]), "PMI_SIZE": "4"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert ended.returncode == 1
    assert "mpirun started 4 ranks, and each of them is alone" in ended.stderr


@pytest.mark.skipif(shutil.which("mpiexec.hydra") is None, reason="no mpiexec of MPICH is in PATH (pip has it)")
def test_ranks_that_another_mpi_starts_are_told_which_is_loaded(tmp_path: Path) -> None:
    driver = Path(__file__).with_name("launch_driver.py")
    command = ["mpiexec.hydra", "-n", "3", sys.executable, str(driver), "mpi", str(tmp_path), "results"]
    environment = {**os.environ, "PYTHONPATH": str(driver.parents[2])}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    library = subprocess.run(
        [sys.executable, "-c", "from mpi4py import MPI; print(MPI.Get_library_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    if "MPICH" in library.stdout:
        pytest.skip("mpi4py is one for MPICH here")
    assert ended.returncode == 1
    assert "mpirun started 3 ranks, and each of them is alone: mpi4py uses another MPI" in ended.stderr

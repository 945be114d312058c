"""What several test folders share: real data where it is, and a small real disk that can be filled."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads of XGBoost that wait for each other spin otherwise, which takes minutes where cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

PORTS = 16817
"""First port of the cluster of the first process, see slurm/lab/cluster.sh."""

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


DRIVERS = ("cli", "cluster", "runtime", "stages")
"""Folders of tests that start workers and kill them."""


def pytest_configure() -> None:
    """Give each process that runs tests, but the first, a Slurm cluster of its own: tests kill its nodes."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if number:
        lab = os.environ.get("HPC_MLSM_LAB", f"{tempfile.gettempdir()}/hpc_mlsm-lab-{os.getuid()}")
        os.environ["HPC_MLSM_LAB"] = f"{lab}-{number}"
        os.environ["HPC_MLSM_LAB_PORT"] = str(int(os.environ.get("HPC_MLSM_LAB_PORT", PORTS)) + 10 * number)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that need a cluster or a launcher: they take longest, most of it in waiting.

    On a machine that is as busy as they make it, workers that are killed on purpose do not always die at the moment
    that a test is about. Such a test is run once more when it fails, and its first failure is shown whatever comes of
    it; all other tests must pass at once.
    """
    long = {item.path for item in items if item.get_closest_marker("slurm") or item.get_closest_marker("mpi")}
    items.sort(key=lambda item: item.path not in long)
    for item in items:
        if item.path.parent.name in DRIVERS:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CIFs and measured patterns, which is not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"the collection of real data is not at {SHARED}")
    return SHARED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small file system cannot be mounted here: {error}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)

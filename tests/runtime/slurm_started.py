"""Executors on Slurm jobs for tests, and what tests need to know of them."""

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from slurm_lab import REPOSITORY

from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.settings import ExecutorSettings, SlurmSettings
from hpc_mlsm.runtime.slurm import SlurmExecutor


def settings(folder: Path, workers: int = 2, sbatch: tuple[str, ...] = (), **slurm: object) -> ExecutorSettings:
    """Small jobs that can be told from others by their comment, which is the folder."""
    asked = SlurmSettings(folder=folder, sbatch=(f"--comment={folder}", *sbatch), **slurm)  # type: ignore[arg-type]
    return ExecutorSettings(kind="slurm", workers=workers, memory_per_worker_mb=700, interface="lo", slurm=asked)


def started(folder: Path, workers: int = 2, **slurm: object) -> SlurmExecutor:
    """An executor all of whose workers are there."""
    made = make_executor(settings(folder, workers, **slurm))
    assert isinstance(made, SlurmExecutor)
    wait_for_workers(made, made.capacity)
    return made


def wait_for_workers(executor: SlurmExecutor, n: int, patience_s: float = 60) -> None:
    deadline = time.monotonic() + patience_s
    while len(executor.workers()) < n:
        assert time.monotonic() < deadline, executor.workers()
        time.sleep(0.1)


@pytest.fixture(scope="module", autouse=True)
def lab(slurm_lab: Path) -> Iterator[None]:
    """The cluster; jobs inherit the environment, and find the tests' functions by it."""
    if missing := [name for name in ("dask_jobqueue", "cryptography") if find_spec(name) is None]:
        pytest.skip(f"no {', '.join(missing)} here: pip install hpc_mlsm[cluster]")
    paths = [str(REPOSITORY), str(Path(__file__).parent), str(REPOSITORY / "tests")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
        yield

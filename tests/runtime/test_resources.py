import os

import psutil
import pytest

from hpc_mlsm.runtime.resources import usable_cores, usable_memory_mb

SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU")


@pytest.fixture(autouse=True)
def _no_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)


def test_cores_are_those_that_this_process_may_run_on() -> None:
    allowed = os.sched_getaffinity(0)
    assert 1 <= usable_cores() <= len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_an_allocation_limits_the_cores_and_never_adds_any(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = usable_cores()
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert usable_cores() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "100000")
    assert usable_cores() == cores
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "many")
    assert usable_cores() == 1


def test_memory_is_at_most_that_of_the_machine_and_of_the_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < usable_memory_mb() <= psutil.virtual_memory().total / 1e6
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    assert usable_memory_mb() == int(100 * usable_cores() * 1.048576)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1000")
    assert usable_memory_mb() == 1048

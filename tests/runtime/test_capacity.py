"""How many workers a plan counts with follows from the executor, not from the cores of the machine that plans."""

import pytest

from hpc_mlsm.runtime.capacity import planned_workers, sharing
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.runtime.settings import ExecutorSettings, SlurmSettings

VARIABLES = (
    "SLURM_STEP_NUM_TASKS SLURM_NTASKS SLURM_NTASKS_PER_NODE OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_LOCAL_SIZE PMI_SIZE "
    "MPI_LOCALNRANKS"
)


@pytest.fixture(autouse=True)
def _no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES.split():
        monkeypatch.delenv(name, raising=False)


def test_one_process_and_processes_of_this_machine() -> None:
    assert planned_workers(ExecutorSettings("inline", workers=9)) == 1
    assert planned_workers(ExecutorSettings("local")) == usable_cores()
    assert planned_workers(ExecutorSettings("local", workers=3)) == sharing(ExecutorSettings("local", workers=3)) == 3


def test_workers_of_a_launch_are_its_ranks_without_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "256")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "64")
    settings = ExecutorSettings("runner", workers=5)
    assert (planned_workers(settings), sharing(settings)) == (254, 64)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    assert (planned_workers(settings), sharing(settings)) == (1, 1)
    assert planned_workers(ExecutorSettings("mpi")) == 1


def test_workers_in_jobs_come_in_whole_jobs_and_share_nothing_here() -> None:
    settings = ExecutorSettings("slurm", workers=10, slurm=SlurmSettings(workers_per_job=4))
    assert (planned_workers(settings), sharing(settings)) == (12, 0)

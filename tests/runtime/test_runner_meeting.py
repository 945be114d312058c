"""How the tasks of a job step find their places, without Slurm."""

from pathlib import Path

import pytest
from dask.distributed import Security

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime import runner
from hpc_mlsm.runtime.meeting import Contact, Place
from hpc_mlsm.runtime.runner import SlurmMeeting, tasks_per_node

pytest.importorskip("cryptography")  # tasks meet over TLS only

STEP = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_JOB_ID": "41",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
    "SLURM_NODEID": "1",
}


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    return monkeypatch


def test_slurms_counts_of_tasks_are_written_out() -> None:
    assert tasks_per_node("4") == [4]
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]


@pytest.mark.usefixtures("step")
def test_a_task_knows_its_place(tmp_path: Path) -> None:
    place = SlurmMeeting(tmp_path).place
    assert place == Place(rank=3, ranks=7, ranks_here=2)
    assert place.workers == 5


def test_a_process_outside_a_job_step_is_told_how_to_start(step: pytest.MonkeyPatch, tmp_path: Path) -> None:
    step.delenv("SLURM_STEP_ID")
    with pytest.raises(ExecutorError, match=r"SLURM_STEP_ID is not set.*start it by srun --ntasks=4"):
        SlurmMeeting(tmp_path)


@pytest.mark.usefixtures("step")
def test_what_one_task_announces_another_learns_until_it_is_forgotten(tmp_path: Path) -> None:
    meeting = SlurmMeeting(tmp_path)
    security = meeting.security()
    meeting.announce(Contact("tls://127.0.0.1:8786", security))
    learned = SlurmMeeting(tmp_path).learn()
    assert learned.address == "tls://127.0.0.1:8786"
    assert isinstance(learned.security, Security)
    assert learned.security.tls_ca_file == security.tls_ca_file
    meeting.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_requeued_job_does_not_take_what_its_first_start_left(step: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = SlurmMeeting(tmp_path)
    first.announce(Contact("tls://127.0.0.1:1", first.security()))
    step.setenv("SLURM_RESTART_COUNT", "1")
    step.setattr(runner, "START_TIMEOUT_S", 0.3)
    with pytest.raises(ExecutorError, match="must be on a shared file system"):
        SlurmMeeting(tmp_path).learn()

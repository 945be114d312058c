"""A job that trains a network on two nodes of a real cluster and loses one of its ranks."""

import importlib.util
import signal
import sys
from pathlib import Path

import psutil
import pytest
from slurm_lab import REPOSITORY

sys.path.append(str(REPOSITORY / "tests" / "stages"))

from _slurm import ENDED, field, outcome, restarts, wait_for_end, wait_until
from network_runs import history, network_config, simulated

from hpc_mlsm.config.site import load_site
from hpc_mlsm.models.cnn_bundle import load_cnn
from hpc_mlsm.runtime.submit import submit_chain
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.submit import job_scripts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed (extra cnn)"
    ),
]

EPOCHS = 24


def test_a_job_that_loses_a_rank_comes_back_and_goes_on_from_the_checkpoint(slurm_lab: Path, folder: Path) -> None:
    changes = (f"train.cnn.epochs={EPOCHS}", f"train.cnn.patience={EPOCHS}", "train.cnn.stall_s=60")
    run = simulated(folder, *changes)
    jobs = job_scripts(RunDirectory(run, "powder"), network_config(*changes), load_site("lab"))
    (submitted,) = submit_chain([job for job in jobs if job.stage == "train"])
    number = submitted.job_id
    wait_until(lambda: len(history(run)) >= 2 or field(number, "JobState") in ENDED, "two epochs")
    before = len(history(run))
    rank_of(number, 1).send_signal(signal.SIGKILL)
    wait_until(lambda: restarts(number) > 0 or field(number, "JobState") in ENDED, "the job to come back")
    said = Path(submitted.log).read_text()
    assert restarts(number) == 1, said
    assert "rank 0 of 2 lost another one" in said
    assert "is back in the queue" in said
    wait_for_end(number)
    assert outcome(number) == "COMPLETED 0", Path(submitted.log).read_text()
    info = load_cnn(run / "models" / "cnn").info
    assert info.metrics["ranks"] == 2
    assert before - 1 <= info.metrics["resumed_from"] < EPOCHS
    assert [record["epoch"] for record in history(run)] == list(range(1, EPOCHS + 1))


def rank_of(job: str, rank: int) -> psutil.Process:
    """The process of a rank."""
    for process in psutil.process_iter():
        try:
            variables, words = process.environ(), process.cmdline()
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        own = (variables.get("SLURM_JOB_ID"), variables.get("SLURM_PROCID"))
        if own == (job, str(rank)) and "train" in words and "hpc_mlsm.cli.main" in words:
            return process
    raise AssertionError(f"job {job} has no rank {rank}")

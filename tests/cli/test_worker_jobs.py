"""What a stage's job, and jobs that its workers are in, are told of memory, walltime and GPUs."""

import json
from pathlib import Path

import pytest
from site_program import commands, hpc_mlsm


def test_workers_in_jobs_may_have_memory_walltime_and_scratch_of_their_own(folder: Path) -> None:
    (folder / "jobs.yaml").write_text(
        "scratch: /scratch/$USER\nstages: {simulate: {executor: slurm, workers: 8, memory: 2G, walltime: 2-00:00:00, "
        "worker_memory: 4G, worker_walltime: '03:00:00', workers_per_job: 4}}\n"
    )
    words = commands(folder, "jobs.yaml")["simulate"]
    asked = json.loads(next(word for word in words if word.startswith("executor.slurm=")).partition("=")[2])
    # Workers may wait in the queue as long as the job that asks for them runs.
    assert (asked["walltime"], asked["queue_s"], asked["workers_per_job"]) == ("03:00:00", 172_800, 4)
    assert asked["prologue"] == ['export TMPDIR=/scratch/"${USER}" && mkdir -p "$TMPDIR"']
    assert f"executor.memory_per_worker_mb={4 * 2**30 // 10**6 - 250}" in words


GPUS = "stages: {train: {gpus: 2}, evaluate: {gpus: 1}}\ngpu_type: a100\n"


def test_a_training_that_is_given_gpus_uses_them(folder: Path) -> None:
    (folder / "gpus.yaml").write_text(GPUS)
    words = commands(folder, "gpus.yaml")
    assert "train.boosted.device=cuda" in words["train"]
    assert [stage for stage in words if any("device" in word for word in words[stage])] == ["train"]
    assert not any("device" in word for word in commands(folder, "lab")["train"])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_device_that_the_configuration_names_is_kept(folder: Path, device: str) -> None:
    (folder / "gpus.yaml").write_text(GPUS)
    named = ("--set", f"train.boosted.device={device}")
    shown = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "gpus.yaml", "--dry-run", *named)
    assert shown.returncode == 0, shown.stderr
    assert "boosted.device=" not in shown.stdout
    assert "#SBATCH --gres=gpu:a100:2" in shown.stdout


def test_where_workers_are_jobs_of_their_own_the_gpus_are_theirs(folder: Path) -> None:
    (folder / "gpus.yaml").write_text(
        "gpu_type: a100\nqos: high\nstages: {train: {executor: slurm, workers: 2, memory: 8G, gpus: 1}}\n"
    )
    words = commands(folder, "gpus.yaml")["train"]
    asked = json.loads(next(word for word in words if word.startswith("executor.slurm=")).partition("=")[2])
    assert asked["sbatch"] == ["--qos=high", "--gres=gpu:a100:1"]
    assert "train.boosted.device=cuda" in words
    shown = hpc_mlsm(folder, "submit", "metals.yaml", "--site", "gpus.yaml", "--dry-run")
    assert "#SBATCH --gres" not in shown.stdout

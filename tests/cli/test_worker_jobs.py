"""What a stage whose workers are jobs of their own passes on to them."""

import json
from pathlib import Path

from site_program import commands


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

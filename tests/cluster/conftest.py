"""Runs on a real cluster, by what the benchmarks use for it, and one undisturbed run to compare with."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_lab import REPOSITORY, slurm_lab

sys.path.append(str(REPOSITORY / "benchmarks"))

from _disturbed import Reference, reference
from _lab_run import ELEMENTS, LabRun, config
from _slurm import slurm

from hpc_mlsm.runtime.submit import read_jobs


@pytest.fixture(scope="session")
def made(slurm_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A run that nothing happened to: begun, and whole."""
    pytest.importorskip("diffpy.pdffit2")
    return reference(tmp_path_factory.mktemp("undisturbed"), config(60, 120, ELEMENTS[:8]))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for one run, whose jobs do not outlive the test."""
    yield tmp_path / "it"
    for run in {path.parent for path in tmp_path.rglob("jobs.json")}:
        slurm("scancel", *(job.job_id for job in read_jobs(run)), check=False)


__all__ = ["LabRun", "folder", "made", "slurm_lab"]

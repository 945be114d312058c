"""A whole run under executors that need a cluster or a launcher gives what it gives in one process."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from same_results import differences, whole_run

pytestmark = [pytest.mark.slow]


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without coverage, which ranks that are ended would complain about on the standard error."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slurm
@pytest.mark.parametrize("kind", ["slurm", "runner"])
def test_workers_in_jobs_and_in_an_allocation_give_the_same_as_local(
    slurm_lab: Path, tmp_path: Path, kind: str
) -> None:
    agree(tmp_path, kind)


@pytest.mark.mpi
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
@pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed")
def test_ranks_under_mpirun_give_the_same_as_local(tmp_path: Path) -> None:
    agree(tmp_path, "mpi")


def agree(folder: Path, kind: str) -> None:
    rows = [whole_run(each, folder, 6, 3, small=True) for each in ("local", kind)]
    assert [row["status"] for row in rows] == [0, 0], rows
    assert not differences(rows), rows
    assert rows[1]["noise"] == 0, "something was written to the standard error"

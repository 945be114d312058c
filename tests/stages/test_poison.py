"""A structure that crashes its worker, or fills its memory: found, set aside, and the run goes on without it."""

from pathlib import Path

import pytest
from small_run import opened, small_config, write_cifs

from hpc_mlsm.runtime.events import Event, TaskSplit, WorkerLost
from hpc_mlsm.stages import group, ingest, simulate
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.simulate import quarantined
from hpc_mlsm.store.patterns import PatternStore

ROOT = Path(__file__).resolve().parents[2]
FORMULAE = ("Ni", "Cu", "Al", "Fe", "W", "Mg", "Si", "NaCl", "MgO", "CeO2", "ZnO", "TiO2", "CaO", "KCl", "LiF", "Ti")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["segfault", "memory"])
def test_a_structure_that_kills_its_worker_is_set_aside_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    overrides = ("executor.kind=local", "executor.workers=1", "executor.memory_per_worker_mb=600", "executor.retries=1")
    config = small_config(write_cifs(tmp_path / "cifs", FORMULAE), *overrides)
    run, heard = RunDirectory(tmp_path / "run"), list[Event]()
    with opened(run.path, config) as context:
        ingest.run(context)
        ids = [key for key, _ in simulate.selected_keys(run, config.select)]
    poison, record = ids[len(ids) // 2], tmp_path / "record"
    record.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'benchmarks' / '_recorder'}:{ROOT}")
    monkeypatch.setenv("HPC_MLSM_POISON", f"{how}:{poison}")
    monkeypatch.setenv("HPC_MLSM_RECORD", str(record))
    with opened(run.path, config, heard) as context:
        did = simulate.run(context)
    assert (did.simulated, did.quarantined) == (len(ids) - 1, 1)
    (aside,) = quarantined(run)
    assert (aside.id, aside.reason) == (poison, "killed_worker")
    assert "died 2 times in this task" in aside.detail
    assert any(isinstance(event, TaskSplit) for event in heard)
    assert any(isinstance(event, WorkerLost) for event in heard)
    begun = notes(record)
    with opened(run.path, config) as context:
        again = simulate.run(context)
        group.run(context)
    assert (again.simulated, again.already_there, again.quarantined) == (0, len(ids) - 1, 1)
    assert notes(record) == begun, "something was simulated again"
    with PatternStore.open(run.patterns, "r") as store:
        assert store.ids() == sorted(set(ids) - {poison})
        assert not store.verify(full=True).bad


def notes(record: Path) -> list[str]:
    return sorted(line for path in record.iterdir() for line in path.read_text().splitlines())

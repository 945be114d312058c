"""Grouping, and an update, in jobs on a real cluster, with a worker killed in the middle of each."""

import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from slurm_lab import REPOSITORY
from small_run import small_config, write_cifs

from hpc_mlsm.grouping.groups import load_groups
from hpc_mlsm.runtime.events import Event, TaskFinished, WorkerLost
from hpc_mlsm.stages import correlate, evaluate, group, ingest, simulate, train, update
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.starter import starter_set

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(600)]

FORMULAE = tuple(dict.fromkeys(one.formula for one in starter_set()))[:120]
SMALL = ("simulate.variants=10", "train.boosted.rounds=8", "train.boosted.max_depth=2", "group.threshold=0.9")


class Killer:
    """A listener that kills the worker of the second finished task of a stage; nodes of the lab share a machine."""

    def __init__(self, stage: str) -> None:
        self.stage, self.heard, self.done = stage, [], 0

    heard: list[Event]

    def __call__(self, event: Event) -> None:
        self.heard.append(event)
        if isinstance(event, TaskFinished) and event.stage == self.stage:
            self.done += 1
            if self.done == 2:
                os.kill(int(event.worker.rpartition(":")[2]), signal.SIGKILL)

    @property
    def lost(self) -> int:
        """Workers whose loss was told; none where the other one had done the rest before it was noticed."""
        return sum(isinstance(event, WorkerLost) for event in self.heard)


@pytest.fixture
def by_tasks(slurm_lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little work in many tasks, all of which go to workers."""
    if find_spec("dask_jobqueue") is None:
        pytest.skip("no dask_jobqueue here: pip install hpc_mlsm[cluster]")
    paths = [str(REPOSITORY), str(Path(__file__).parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(correlate, "HERE_S", 0.0)
    monkeypatch.setattr(correlate, "PANEL_ROWS", 8)


def test_grouping_and_an_update_are_the_same_with_a_killed_worker(by_tasks: None, tmp_path: Path) -> None:
    cifs = write_cifs(tmp_path / "cifs", FORMULAE)
    jobs = ("executor.kind=slurm", "executor.workers=2", "executor.interface=lo", "executor.memory_per_worker_mb=700")
    here, there = small_config(cifs, *SMALL), small_config(cifs, *SMALL, *jobs)
    run, plain = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "plain")
    with open_run(run, here, lambda _: None) as context:
        ingest.run(context)
        simulate.run(context)
    shutil.copytree(run.path, plain.path)
    with open_run(plain, here, lambda _: None) as context:
        group.run(context)
    killer = Killer("group")
    with open_run(run, there, killer) as context:
        did = group.run(context)
    assert killer.done > 2
    assert killer.lost <= 1
    assert did.pairs >= 120 * 119 // 2
    assert_same(run, plain)
    for directory in (run, plain):
        with open_run(directory, here, lambda _: None) as context:
            train.run(context)
            evaluate.run(context)
    for formula in FORMULAE[40:80]:
        text = (cifs / f"{formula}.cif").read_text()
        (cifs / f"{formula}.cif").unlink()
        (cifs / f"{formula}-moved.cif").write_text(text)
    killer = Killer("group")
    with open_run(run, there, killer) as context:
        summary = update.run(context)
    assert killer.done > 2
    assert killer.lost <= 1
    assert (len(summary.record.changes.added), len(summary.record.changes.withdrawn)) == (40, 40)
    with open_run(plain, here, lambda _: None) as context:
        assert update.run(context).simulated == summary.simulated == 40
    assert_same(run, plain)


def assert_same(one: RunDirectory, other: RunDirectory) -> None:
    """Equal patterns, edges and groups, ids and history too."""
    with PatternStore.open(one.patterns, "r") as a, PatternStore.open(other.patterns, "r") as b:
        assert a.fingerprint() == b.fingerprint()
    a_groups, b_groups = load_groups(one.groups), load_groups(other.groups)
    assert a_groups.history == b_groups.history
    for column in ("i", "j", "correlation"):
        np.testing.assert_array_equal(getattr(a_groups.edges, column), getattr(b_groups.edges, column))
    for x, y in zip(a_groups.groups, b_groups.groups, strict=True):
        assert (x.id, x.label, x.members, x.representative) == (y.id, y.label, y.members, y.representative)

"""Peaks of a store: those of the patterns one by one, whatever the tasks, and found once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from powder_runs import powder_config, simulated
from small_run import opened

from hpc_mlsm.archive.powder_prepare import subtract_and_scale
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.models.peak_features import find_peak_table
from hpc_mlsm.runtime.events import Event, TaskFinished
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.train_powder import peaks_of_run
from hpc_mlsm.store.patterns import PatternStore

CONFIG = powder_config(
    "simulate.background=[0.05, 0.2]", "source={starter: false, synthetic: {count: 12, max_atoms: 24}}"
)


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("peaks") / "run", CONFIG)


@pytest.fixture
def run(patterns: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(patterns, tmp_path / "run"))


def test_peaks_are_those_of_each_pattern_without_its_background(run: Path) -> None:
    with opened(run, CONFIG) as context:
        found = peaks_of_run(context)
    assert found.structures.tolist() == [k for k in range(12) for _ in range(2)]
    assert found.variants.tolist() == [0, 1] * 12
    with PatternStore.open(RunDirectory(run, "powder").patterns, "r") as store:
        grid, ids = store.axis().values, store.ids()
        for number, key in enumerate(ids):
            rows, _ = store.patterns_of(key)
            for variant, row in enumerate(rows):
                plain = subtract_and_scale(row.astype(float), grid[1] - grid[0], MeasuredPowderSettings())
                alone = find_peak_table(plain[None], grid, CONFIG.classify.peaks)
                np.testing.assert_array_equal(found.table.positions[2 * number + variant], alone.positions[0])
                assert found.table.count[2 * number + variant] == alone.count[0]


def test_tasks_of_another_size_give_the_same_and_an_altered_file_is_found_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(run, CONFIG) as context:
        whole = peaks_of_run(context)
    monkeypatch.setattr("hpc_mlsm.stages.forest_features.ROWS_PER_TASK", 6)
    heard: list[Event] = []
    with opened(run, CONFIG, heard) as context:
        pieces = peaks_of_run(context)
    assert sum(isinstance(event, TaskFinished) for event in heard) > 1
    np.testing.assert_array_equal(whole.table.positions, pieces.table.positions)
    one = sorted((run / "features").glob("peaks-*.npz"))[0]
    one.write_bytes(one.read_bytes()[:-9])
    heard.clear()
    with opened(run, CONFIG, heard) as context:
        again = peaks_of_run(context)
    assert sum(isinstance(event, TaskFinished) for event in heard) == 1
    np.testing.assert_array_equal(whole.table.count, again.table.count)

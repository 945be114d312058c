"""Every executor grows the same forest, and a run that was stopped goes on from its finished trees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.forest_rows import ForestRows
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.runtime.events import Event, TaskFinished
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.stages.forests import cross_validate_forest, train_forest

SETTINGS = ForestSettings(trees=12, trees_per_task=5)


def rows(n: int = 300) -> ForestRows:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    return ForestRows.of(rng.normal(size=(n, 12)) + labels[:, None], labels, (np.arange(n) // 3) % 5)


def test_local_workers_and_one_process_give_the_same_forest_and_votes(tmp_path: Path) -> None:
    data = rows()
    with InlineExecutor() as executor:
        one = train_forest(executor, data, SETTINGS, tmp_path / "inline")
        votes = cross_validate_forest(executor, data, SETTINGS, tmp_path / "inline")
    with make_executor(ExecutorSettings(kind="local", workers=2)) as executor:
        finer = replace(SETTINGS, trees_per_task=2)
        other = train_forest(executor, data, finer, tmp_path / "local")
        again = cross_validate_forest(executor, data, finer, tmp_path / "local")
    np.testing.assert_array_equal(one.predict_proba(data.features), other.predict_proba(data.features))
    np.testing.assert_array_equal(votes, again)


def test_held_out_rows_are_judged_as_by_scikit_learns_own_forest(tmp_path: Path) -> None:
    data = rows()
    with InlineExecutor() as executor:
        votes = cross_validate_forest(executor, data, replace(SETTINGS, trees=30), tmp_path)
    accuracy = (votes.argmax(axis=1) == data.labels).mean()
    expected = []
    for fold in range(5):
        outside = data.folds != fold
        own = RandomForestClassifier(30, max_depth=30, random_state=fold).fit(
            data.features[outside], data.labels[outside]
        )
        expected.append(own.score(data.features[~outside], data.labels[~outside]))
    # 300 rows at some 95 %: one standard deviation is 1.3 %.
    assert accuracy == pytest.approx(np.mean(expected), abs=0.04)
    training = RandomForestClassifier(30, random_state=0).fit(data.features, data.labels)
    assert accuracy < training.score(data.features, data.labels)


def test_a_later_run_grows_only_what_is_missing(tmp_path: Path) -> None:
    seconds: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished):
            seconds.append(event.task_id)

    with InlineExecutor() as executor:
        first = train_forest(executor, rows(), SETTINGS, tmp_path, listen)
        files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.trees")}
        lost = sorted(files)[1]
        lost.unlink()
        second = train_forest(executor, rows(), SETTINGS, tmp_path)
    assert len(seconds) == len(files) == 3
    kept = [path for path in files if path != lost]
    assert all(path.stat().st_mtime_ns == files[path] for path in kept)
    np.testing.assert_array_equal(first.predict_proba(rows().features), second.predict_proba(rows().features))


def test_rows_in_no_fold_have_no_answer(tmp_path: Path) -> None:
    data = rows()
    folds = np.where(np.arange(300) < 30, -1, data.folds)
    with InlineExecutor() as executor:
        votes = cross_validate_forest(executor, replace(data, folds=folds.astype(np.int16)), SETTINGS, tmp_path)
    assert np.isnan(votes[:30]).all()
    np.testing.assert_allclose(votes[30:].sum(axis=1), 1.0)


def test_a_full_disk_ends_the_training_with_its_name(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(900_000))
    with InlineExecutor() as executor, pytest.raises(StoreError, match="free some space"):
        train_forest(executor, rows(20_000), SETTINGS, small_disk / "trees")

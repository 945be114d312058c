"""The forest is that of scikit-learn's own trees, and does not depend on how its trees were shared out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forest_samples import Odd, rows
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from hpc_mlsm.errors import BundleError, StoreError
from hpc_mlsm.models import forest, forest_files
from hpc_mlsm.models.forest import TreeTask, grow, merge, merged_votes, plan_forest
from hpc_mlsm.models.forest_files import dump, load
from hpc_mlsm.models.forest_rows import ForestRows, read_rows, write_rows
from hpc_mlsm.models.forest_settings import ForestSettings

SMALL = ForestSettings(trees=7, trees_per_task=3)
ROWS = rows()


def tasks(
    tmp_path: Path, settings: ForestSettings, data: ForestRows = ROWS, folds: tuple[int, ...] = ()
) -> list[TreeTask]:
    path = tmp_path / "rows.npz"
    return plan_forest(path, write_rows(path, data), tmp_path, settings, data, folds)


def trees_of(estimator: object) -> list[tuple[bytes, ...]]:
    """What each tree consists of."""
    return [
        (t.tree_.feature.tobytes(), t.tree_.threshold.tobytes(), t.tree_.value.tobytes())
        for t in estimator.estimators_  # type: ignore[attr-defined]
    ]


def test_the_defaults_are_the_published_hyperparameters() -> None:
    settings = ForestSettings()
    assert (settings.trees, settings.max_depth, settings.criterion) == (250, 30, "gini")
    assert (settings.min_samples_leaf, settings.min_samples_split, settings.class_weight) == (1, 2, "none")
    (tree,) = plan_forest(Path("r"), "c", Path(), replace(settings, trees=1), ROWS)
    grown = forest._one_tree(tree.settings, 0, ROWS.features, ROWS.labels)
    assert (grown.max_depth, grown.max_features, grown.bootstrap) == (30, "sqrt", True)


@pytest.mark.parametrize("kind", ["random_forest", "extra_trees"])
@pytest.mark.parametrize("per_task", [1, 2, 3, 7, 100])
def test_the_forest_does_not_depend_on_how_trees_are_shared_out(tmp_path: Path, kind: str, per_task: int) -> None:
    data = rows(kind=kind)
    settings = replace(SMALL, kind=kind, trees_per_task=per_task)  # type: ignore[arg-type]
    grown = [grow(task) for task in tasks(tmp_path, settings, data)]
    merged = merge(grown[::-1], settings)
    assert type(merged) is {"random_forest": RandomForestClassifier, "extra_trees": ExtraTreesClassifier}[kind]
    expected = [forest._one_tree(settings, k, data.features, data.labels) for k in range(7)]
    assert trees_of(merged) == [tree for one in expected for tree in trees_of(one)]
    mean = np.mean([one.predict_proba(data.features) for one in expected], axis=0)
    np.testing.assert_allclose(merged.predict_proba(data.features), mean, atol=1e-12)
    assert len(set(trees_of(merged))) == 7


def test_another_seed_gives_another_forest(tmp_path: Path) -> None:
    one = merge([grow(task) for task in tasks(tmp_path, SMALL)], SMALL)
    seeded = replace(SMALL, seed=1)
    other = merge([grow(task) for task in tasks(tmp_path, seeded)], seeded)
    assert not set(trees_of(one)) & set(trees_of(other))


@pytest.mark.parametrize("per_task", [2, 7])
def test_votes_are_those_of_a_forest_that_never_saw_the_fold(tmp_path: Path, per_task: int) -> None:
    settings = replace(SMALL, trees_per_task=per_task)
    grown = [grow(task) for task in tasks(tmp_path, settings, folds=(0, 3))]
    outside = ROWS.folds != 3
    expected = [forest._one_tree(settings, k, ROWS.features[outside], ROWS.labels[outside]) for k in range(7)]
    mean = np.mean([one.predict_proba(ROWS.features[~outside]) for one in expected], axis=0)
    np.testing.assert_allclose(merged_votes(grown, settings, 3), mean, atol=1e-9)


def test_votes_add_up_to_the_last_bit_in_any_partition(tmp_path: Path) -> None:
    found = []
    for per_task in (1, 2, 5, 7):
        settings = replace(SMALL, max_depth=3, trees_per_task=per_task)  # leaves that are not pure
        found.append(merged_votes([grow(task) for task in tasks(tmp_path, settings, folds=(1,))], settings, 1))
    assert all((votes == found[0]).all() for votes in found)
    assert ((found[0] > 0) & (found[0] < 1)).any()


def test_finished_trees_are_not_grown_again_and_damaged_ones_are(tmp_path: Path) -> None:
    planned = tasks(tmp_path, SMALL)
    first = [grow(task) for task in planned]
    path = Path(first[1].path)
    path.write_bytes(path.read_bytes()[:-40])
    again = [grow(task) for task in planned]
    assert [part.reused for part in again] == [True, False, True]
    assert trees_of(merge(again, SMALL)) == trees_of(merge([first[0], again[1], first[2]], SMALL))


def test_altered_or_lost_trees_are_refused(tmp_path: Path) -> None:
    grown = [grow(task) for task in tasks(tmp_path, SMALL)]
    with pytest.raises(StoreError, match=r"1 of 7 trees are missing \(first: tree 6\)"):
        merge(grown[:2], SMALL)
    with pytest.raises(StoreError, match="others came twice"):
        merge([*grown, grown[0]], SMALL)
    Path(grown[0].path).write_bytes(b"no trees")
    with pytest.raises(StoreError, match="lost or altered"):
        merge(grown, SMALL)


def test_workers_with_other_data_or_versions_are_refused(tmp_path: Path) -> None:
    planned = tasks(tmp_path, SMALL)
    grown = [grow(task) for task in planned]
    with pytest.raises(StoreError, match=r"scikit-learn 0\.1 and .*one environment on all nodes"):
        merge([replace(grown[0], version="0.1"), *grown[1:]], SMALL)
    write_rows(tmp_path / "rows.npz", rows(seed=1))
    with pytest.raises(StoreError, match="this worker was told"):
        grow(replace(planned[0], first=3, count=1))
    (tmp_path / "rows.npz").unlink()
    with pytest.raises(StoreError, match="share this folder"):
        read_rows(tmp_path / "rows.npz", planned[0].checksum)


def test_a_task_splits_down_to_one_tree(tmp_path: Path) -> None:
    (task, *_) = tasks(tmp_path, SMALL)
    one, two = task.split()
    assert [(part.first, part.count) for part in (one, two)] == [(0, 1), (1, 2)]
    assert one.split() == ()
    rest = tasks(tmp_path, SMALL)[1:]
    merged = merge([grow(part) for part in (one, two, *rest)], SMALL)
    assert trees_of(merged) == trees_of(merge([grow(part) for part in (task, *rest)], SMALL))


def test_a_file_with_other_types_is_not_loaded() -> None:
    odd = dump(Odd())
    with pytest.raises(BundleError, match=r"the types forest_samples\.Odd, which no forest does"):
        load(odd)
    with pytest.raises(BundleError, match="cannot be read"):
        load(b"PK\x03\x04 nothing")
    assert forest_files.TRUSTED == ("sklearn.tree._tree.Tree",)


def test_rows_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(StoreError, match="do not belong together"):
        ForestRows.of(np.zeros((3, 2)), np.zeros(4, dtype=int))
    with pytest.raises(StoreError, match="NaN"):
        ForestRows.of(np.full((3, 2), np.nan), np.zeros(3, dtype=int))

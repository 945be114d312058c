"""Trees asked as bit masks give what XGBoost gives, to the last bit."""

import struct
from typing import Any

import numpy as np
import pytest
import xgboost
from blobs import CLASSES, blobs

from hpc_mlsm.models import trees as trees_module
from hpc_mlsm.models.boosted import margins_of
from hpc_mlsm.models.tree_kernels import ROWS
from hpc_mlsm.models.trees import Trees

TRAIN, TEST = blobs(600, 0), blobs(3 * ROWS + 7, 2)[0]
LABELS = np.where(np.arange(600) % 3, TRAIN[1], np.arange(600) % CLASSES)
"""A third has nothing to do with the rows, so that trees become large."""

LARGE = {"max_depth": 0, "max_leaves": 65, "grow_policy": "lossguide", "min_child_weight": 0.0, "reg_lambda": 0.0}


def trained(rounds: int = 6, n_classes: int = CLASSES, **more: Any) -> xgboost.Booster:
    settings = {
        "objective": "multi:softprob",
        "num_class": n_classes,
        "max_depth": 4,
        "nthread": 1,
        "verbosity": 0,
        **more,
    }
    return xgboost.train(settings | more, xgboost.DMatrix(TRAIN[0], label=LABELS % n_classes), rounds)


def image(booster: xgboost.Booster) -> bytes:
    return bytes(booster.save_raw("ubj"))


def found(booster: xgboost.Booster) -> Trees:
    trees = Trees.of(image(booster))
    assert trees is not None
    return trees


def asked(booster: xgboost.Booster, rows: Any) -> Any:
    return booster.inplace_predict(rows, predict_type="margin", validate_features=False)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_depth": 1},
        {"max_depth": 6, "min_child_weight": 0.0, "gamma": 0.0},
        {"max_depth": 0, "max_leaves": 40, "grow_policy": "lossguide", "min_child_weight": 0.0},
        {"max_depth": 5, "min_child_weight": 0.0, "subsample": 0.7, "colsample_bytree": 0.5},
        {"base_score": 0.3},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"gamma": 1e9},  # nothing is ever split: every tree is a leaf
        {"tree_method": "exact"},  # nodes are taken away again by pruning
        {"tree_method": "approx", "booster": "gbtree"},
        {"n_classes": 2},
    ],
    ids=str,
)
def test_scores_are_those_of_xgboost_to_the_last_bit(settings: dict[str, Any]) -> None:
    booster = trained(**settings)
    assert np.array_equal(found(booster).margins(TEST), asked(booster, TEST))


def test_the_first_rounds_of_a_model_and_a_model_of_no_rounds() -> None:
    booster = trained()
    assert np.array_equal(found(booster[:2]).margins(TEST), asked(booster[:2], TEST))
    nothing = found(trained(rounds=0))
    assert nothing.margins(TEST[:5]).shape == (5, CLASSES)
    assert np.array_equal(nothing.margins(TEST), asked(trained(rounds=0), TEST))


def test_values_that_equal_a_limit_go_the_same_way() -> None:
    booster = trained(max_depth=6, min_child_weight=0.0)
    trees = found(booster)
    rows = np.repeat(TEST[:1], len(trees.threshold), axis=0)
    rows[np.arange(len(rows)), trees.feature] = trees.threshold
    assert np.array_equal(trees.margins(rows), asked(booster, rows))


@pytest.mark.parametrize("rows", [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS])
def test_any_number_of_rows_can_be_asked(rows: int) -> None:
    booster = trained(rounds=2)
    assert np.array_equal(found(booster).margins(TEST[:rows]), asked(booster, TEST)[:rows])


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    booster = trained()
    for threads in (1, 2, 3, 64):
        monkeypatch.setattr(trees_module, "_threads", lambda threads=threads: threads)
        assert np.array_equal(found(booster).margins(TEST), asked(booster, TEST))


def test_as_many_threads_as_the_environment_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert trees_module._threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    assert trees_module._threads() >= 1


@pytest.mark.parametrize(("leaves", "width"), [(20, np.uint32), (32, np.uint32), (33, np.uint64), (64, np.uint64)])
def test_trees_of_up_to_64_leaves_are_masks_of_32_or_64_bits(leaves: int, width: type) -> None:
    booster = trained(**(LARGE | {"max_leaves": leaves}))
    trees = found(booster)
    assert np.diff(trees.first_leaf).max() == leaves
    assert trees.mask.dtype == width
    assert np.array_equal(trees.margins(TEST), asked(booster, TEST))


def test_rows_with_gaps_and_of_other_types_are_asked_too() -> None:
    booster = trained(rounds=2)
    wide = np.repeat(TEST, 2, axis=1)[:, ::2].astype(np.float64)
    assert np.array_equal(found(booster).margins(wide), asked(booster, TEST))


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="points"):
        found(trained(rounds=1)).margins(TEST[:, :-1])


VECTORS = {"rounds": 1, "multi_strategy": "multi_output_tree"}


@pytest.mark.parametrize(
    "settings",
    [LARGE, VECTORS, {"booster": "dart", "rate_drop": 0.5}, {"booster": "gblinear"}, {"objective": "multi:softmax"}],
    ids=str,
)
def test_other_models_are_left_to_xgboost(settings: dict[str, Any]) -> None:
    assert Trees.of(image(trained(**settings))) is None


def test_a_regression_is_left_to_xgboost() -> None:
    assert Trees.of(image(xgboost.train({"max_depth": 2}, xgboost.DMatrix(TRAIN[0], label=TRAIN[1]), 2))) is None


def test_choices_among_categories_are_left_to_xgboost() -> None:
    rows = xgboost.DMatrix(
        np.floor(np.abs(TRAIN[0]) * 3) % 5,
        label=TRAIN[1],
        feature_types=["c"] * TRAIN[0].shape[1],
        enable_categorical=True,
    )
    settings = {"objective": "multi:softprob", "num_class": CLASSES, "max_cat_to_onehot": 1}
    assert Trees.of(image(xgboost.train(settings, rows, 2))) is None


def test_scores_of_any_model_come_from_one_place() -> None:
    for booster in (trained(), trained(**LARGE), trained(**VECTORS)):
        scores = margins_of(image(booster), lambda booster=booster: booster, CLASSES)
        assert np.array_equal(scores(TEST), asked(booster, TEST))


def test_rows_with_a_missing_value_are_left_to_xgboost() -> None:
    booster, rows = trained(), TEST.copy()
    rows[::3, ::2] = np.nan
    assert np.array_equal(margins_of(image(booster), lambda: booster, CLASSES)(rows), asked(booster, rows))


def test_a_model_that_is_cut_short_or_altered_is_no_model() -> None:
    whole = image(trained(rounds=2))
    for stop in range(0, len(whole) - 1, 97):
        assert Trees.of(whole[:stop]) is None
    at = whole.index(b"left_children") + len(b"left_children[$l#L")
    assert Trees.of(whole[:at] + struct.pack(">q", 2**40) + whole[at + 8 :]) is None
    assert Trees.of(whole[:at] + struct.pack(">q", -1) + whole[at + 8 :]) is None
    # A node that is its own left branch.
    assert Trees.of(whole[: at + 8] + struct.pack(">i", 0) + whole[at + 12 :]) is None


def test_damage_anywhere_is_survived() -> None:
    whole = bytearray(image(trained(rounds=1)))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        other = whole.copy()
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            other[place] = rng.integers(0, 256)
        trees = Trees.of(bytes(other))
        if trees is not None and trees.points == TEST.shape[1]:
            assert trees.margins(TEST[:3]).shape == (3, len(trees.begin))

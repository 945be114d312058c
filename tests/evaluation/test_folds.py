"""Folds keep together what belongs together, and spread every class evenly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.evaluation.folds import OTHER, FoldSettings, assign_folds, composition_key

CLASSES = ("triclinic", "monoclinic", "cubic")


def members(counts: list[int], rows: int = 1) -> tuple[list[str], np.ndarray]:
    """``counts`` structures of each class with so many rows each."""
    names = [f"s{label}-{k}" for label, count in enumerate(counts) for k in range(count)]
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [name for name in names for _ in range(rows)], np.repeat(labels, rows)


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(4, 40), min_size=2, max_size=3),
    folds=st.integers(2, 4),
    rows=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_no_structure_is_on_both_sides_and_classes_are_even(
    counts: list[int], folds: int, rows: int, seed: int
) -> None:
    names, labels = members(counts, rows)
    found = assign_folds(names, labels, CLASSES, FoldSettings(folds=folds, seed=seed))
    where: dict[str, set[int]] = {}
    for name, fold in zip(names, found.fold_of.tolist(), strict=True):
        where.setdefault(name, set()).add(fold)
    assert all(len(each) == 1 for each in where.values())
    for label in range(len(counts)):
        sizes = np.bincount(found.fold_of[labels == label], minlength=folds)
        assert sizes.max() - sizes.min() <= rows
    np.testing.assert_array_equal(found.labels, labels)
    # Remainders of the classes go to different folds, so the folds themselves are even too.
    sizes = np.bincount(found.fold_of, minlength=folds)
    assert sizes.max() - sizes.min() <= rows * len(counts)


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does() -> None:
    names, labels = members([30, 25, 20], rows=2)
    order = np.random.default_rng(0).permutation(len(names))
    one = assign_folds(names, labels, CLASSES, FoldSettings())
    other = assign_folds([names[k] for k in order], labels[order], CLASSES, FoldSettings())
    np.testing.assert_array_equal(one.fold_of[order], other.fold_of)
    assert (one.fold_of != assign_folds(names, labels, CLASSES, FoldSettings(seed=1)).fold_of).any()


def test_one_composition_and_space_group_stays_together() -> None:
    formulae = [f"A{k // 4}B" for k in range(120)]
    groups = [1 if k % 2 else 225 for k in range(120)]
    labels = np.array([0 if group == 1 else 2 for group in groups])
    keys = [composition_key(formula, group) for formula, group in zip(formulae, groups, strict=True)]
    found = assign_folds(keys, labels, CLASSES, FoldSettings(disjoint="composition"))
    assert all(len({int(found.fold_of[k]) for k in range(120) if keys[k] == key}) == 1 for key in set(keys))
    assert len({int(found.fold_of[k]) for k in range(0, 120)}) == 10
    # The same composition in another space group is another compound.
    assert any(found.fold_of[4 * k] != found.fold_of[4 * k + 1] for k in range(30))


def test_a_big_member_is_balanced_by_many_small_ones() -> None:
    names = ["big"] * 20 + [f"s{k}" for k in range(60)]
    found = assign_folds(names, np.zeros(80, dtype=int), CLASSES, FoldSettings(folds=4))
    assert np.bincount(found.fold_of).tolist() == [20, 20, 20, 20]


def test_a_class_with_too_few_members_is_named_with_its_remedy() -> None:
    names, labels = members([30, 7, 12], rows=5)
    with pytest.raises(ConfigError, match=r"fewer of monoclinic \(7\); lower folds to 7.*set rare to merge or spread"):
        assign_folds(names, labels, CLASSES, FoldSettings())


def test_rare_classes_are_merged_where_that_is_asked_for() -> None:
    names, labels = members([30, 7, 5])
    found = assign_folds(names, labels, CLASSES, FoldSettings(rare="merge"))
    assert found.classes == ("triclinic", OTHER)
    np.testing.assert_array_equal(found.labels, np.minimum(labels, 1))
    assert (np.bincount(found.fold_of[found.labels == 1], minlength=10) >= 1).all()
    with pytest.raises(ConfigError, match=r"have 9 members together.*lower folds to 9"):
        assign_folds(*members([30, 5, 4]), CLASSES, FoldSettings(rare="merge"))


def test_rare_classes_are_spread_where_that_is_asked_for() -> None:
    names, labels = members([30, 7, 1], rows=2)
    found = assign_folds(names, labels, CLASSES, FoldSettings(rare="spread"))
    assert found.classes == CLASSES
    assert sorted(np.bincount(found.fold_of[labels == 1], minlength=10)) == [0, 0, 0, *[2] * 7]
    assert len(set(found.fold_of[labels == 2])) == 1


def test_a_class_without_any_member_is_kept_in_the_table() -> None:
    names, labels = members([12, 0, 12])
    assert assign_folds(names, labels, CLASSES, FoldSettings()).classes == CLASSES


def test_a_member_of_two_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="a has rows of the classes triclinic and cubic"):
        assign_folds(["a", "a", "b"], np.array([0, 2, 0]), CLASSES, FoldSettings(folds=2))


def test_training_is_stopped_by_another_fold_than_is_tested() -> None:
    found = assign_folds(*members([20, 20, 20]), CLASSES, FoldSettings())
    assert [found.validation_fold(k) for k in (0, 8, 9)] == [1, 9, 0]

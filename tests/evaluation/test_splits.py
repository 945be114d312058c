"""Every structure's variants are divided the same way, whatever other structures there are."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.evaluation.splits import PARTS, SplitSettings, split_variants


def counts(n_variants: int, settings: SplitSettings | None = None) -> tuple[int, ...]:
    parts = split_variants("NaCl", n_variants, settings or SplitSettings())
    return tuple(int((parts == PARTS.index(part)).sum()) for part in PARTS)


@pytest.mark.parametrize(
    ("n_variants", "expected"), [(100, (80, 10, 10)), (10, (8, 1, 1)), (40, (32, 4, 4)), (3, (1, 1, 1)), (7, (5, 1, 1))]
)
def test_shares_are_80_10_10_and_no_part_is_empty(n_variants: int, expected: tuple[int, ...]) -> None:
    assert counts(n_variants) == expected


def test_shares_can_be_chosen() -> None:
    assert counts(100, SplitSettings(validation=0.3, test=0.25)) == (45, 30, 25)


def test_every_variant_is_in_exactly_one_part() -> None:
    parts = split_variants("cod/1000041", 100, SplitSettings())
    assert parts.shape == (100,)
    assert set(parts.tolist()) == {0, 1, 2}


def test_structures_are_divided_differently_and_each_always_the_same() -> None:
    settings = SplitSettings()
    one, two = (split_variants(name, 100, settings) for name in ("NaCl", "MgO"))
    assert not np.array_equal(one, two)
    assert np.array_equal(split_variants("NaCl", 100, settings), one)
    assert not np.array_equal(split_variants("NaCl", 100, SplitSettings(seed=1)), one)


def test_a_variant_is_tested_about_as_often_as_any_other() -> None:
    tested = sum((split_variants(f"s{k}", 50, SplitSettings()) == 2).astype(int) for k in range(2000))
    # 5 of 50 variants in 2000 structures: 200 each, ± 13; six times that is beyond chance for 50 of them.
    assert np.abs(tested - 200).max() < 80


def test_the_split_is_the_same_in_another_process() -> None:
    code = (
        "from hpc_mlsm.evaluation.splits import SplitSettings, split_variants; "
        "print(split_variants('Fe3O4', 30, SplitSettings()).tolist())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "77"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == str(split_variants("Fe3O4", 30, SplitSettings()).tolist())


@pytest.mark.parametrize("n_variants", [1, 2])
def test_too_few_variants_are_refused(n_variants: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"{n_variants} variants a structure are too few .* set simulate\.variants to"
    ):
        split_variants("NaCl", n_variants, SplitSettings())


def test_shares_that_round_to_everything_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"to keep 6 for validation and 4 for test; .* lower split\.validation"):
        split_variants("NaCl", 10, SplitSettings(validation=0.6, test=0.38))


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"validation = 0\.5 and test = 0\.5 leave nothing"):
        SplitSettings(validation=0.5, test=0.5)

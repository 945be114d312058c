"""What a network reads from a pattern store."""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "store"))

from storemaker import R, add_shard, curve, make_content

from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.cnn_input import scale_patterns
from hpc_mlsm.models.cnn_rows import EpochOrder, read_rows
from hpc_mlsm.stages import store_rows
from hpc_mlsm.stages.store_rows import StoreRows
from hpc_mlsm.store.patterns import PatternStore

STRUCTURES = [[("a", 3), ("f", 2)], [("c", 4)], [("b", 1), ("e", 5), ("d", 2)]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PatternStore]:
    with PatternStore.open(tmp_path / "patterns", "a") as store:
        for structures in STRUCTURES:
            add_shard(store, make_content(structures))
        yield store


def targets(store: PatternStore) -> dict[str, np.ndarray]:
    return {"class": np.array([ord(key) - ord("a") for key in store.ids()])}


def test_every_row_has_the_pattern_and_the_class_of_its_structure(store: PatternStore) -> None:
    rows = StoreRows(store, targets(store), np.ones(6, dtype=bool), "sqrt")
    assert len(rows.rows) == 17
    assert rows.n_points == len(R)
    order = np.random.default_rng(0).permutation(17)
    patterns = read_rows(rows, order)
    seen = set()
    for pattern, label in zip(patterns, rows.targets["class"][order], strict=True):
        key, count = "abcdef"[label], dict(chain.from_iterable(STRUCTURES))["abcdef"[label]]
        candidates = [scale_patterns(curve(key, variant)[None], "sqrt")[0] for variant in range(count)]
        (variant,) = [k for k, one in enumerate(candidates) if np.array_equal(one, pattern)]
        seen.add((key, variant))
    assert len(seen) == 17


def test_some_structures_or_some_variants_can_be_taken(store: PatternStore) -> None:
    some = np.array([key in "ce" for key in store.ids()])
    rows = StoreRows(store, targets(store), some, "linear")
    assert sorted(rows.targets["class"]) == [2] * 4 + [4] * 5
    variants = np.zeros((6, 5), dtype=bool)
    variants[4, [1, 3]] = True
    rows = StoreRows(store, targets(store), variants, "linear")
    expected = scale_patterns(np.array([curve("e", 1), curve("e", 3)]), "linear")
    assert np.array_equal(read_rows(rows, np.arange(2)), expected)


def test_it_needs_the_store_no_more_and_keeps_few_files_open(
    store: PatternStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_rows, "OPEN_SHARDS", 1)
    rows = StoreRows(store, targets(store), np.ones(6, dtype=bool), "sqrt")
    store.close()
    order = EpochOrder.draw(rows, 4, oversample=True, seed=0, epoch=0)
    assert sum(len(batch.patterns) for batch in order.batches(rows, 0, 1)) == 5 * 6
    assert len(rows._open) == 1
    rows.close()
    assert not rows._open


def test_a_damaged_shard_and_other_structures_are_named(store: PatternStore) -> None:
    rows = StoreRows(store, targets(store), np.ones(6, dtype=bool), "sqrt")
    (path, *_) = sorted(store.folder.glob("shard-*.h5"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StoreError, match=r"shard-.*\.h5 is damaged.*run simulate again"):
        read_rows(rows, np.arange(17))
    with pytest.raises(StoreError, match="class is given for 5 structures, but the store has 6"):
        StoreRows(store, {"class": np.zeros(5, dtype=int)}, np.ones(6, dtype=bool), "sqrt")


def test_no_row_is_no_error(store: PatternStore) -> None:
    rows = StoreRows(store, targets(store), np.zeros(6, dtype=bool), "sqrt")
    assert len(rows.rows) == len(rows.targets["class"]) == 0

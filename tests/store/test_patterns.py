from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from storemaker import CONFIG, COUNTS, WANTED, R, add_shard, curve, make_content, rows_by_structure, u_iso

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.schema import Axis, ShardRecord, StructureRows
from hpc_mlsm.store.shard import write_shard


def test_a_store_tells_what_it_holds(store: PatternStore) -> None:
    assert store.ids() == sorted(COUNTS)
    assert (store.n_structures, store.n_rows) == (len(COUNTS), sum(COUNTS.values()))
    axis = store.axis()
    assert (axis.name, axis.unit) == ("r", "angstrom")
    np.testing.assert_array_equal(axis.values, R)


@pytest.mark.parametrize("max_rows", [1, 5, 13, 10_000])
def test_batches_hold_every_row_once_with_its_own_structure_and_parameters(store: PatternStore, max_rows: int) -> None:
    found = rows_by_structure(store, max_rows)
    assert found == {key: list(range(count)) for key, count in COUNTS.items() if count}
    for one, other in zip(store.iter_batches(max_rows), store.iter_batches(max_rows, store.ids()), strict=True):
        np.testing.assert_array_equal(one.structure_index, other.structure_index)
        np.testing.assert_array_equal(one.patterns, other.patterns)


def test_batches_come_in_the_same_order_every_time(store: PatternStore) -> None:
    def flat() -> list[tuple[int, int]]:
        batches = list(store.iter_batches(6))
        return [pair for b in batches for pair in zip(b.structure_index, b.variant, strict=True)]

    assert flat() == flat()


def test_batches_of_chosen_structures_count_in_the_order_chosen(store: PatternStore) -> None:
    chosen = ["Zn", "Ag", "Ca"]
    batches = list(store.iter_batches(4, chosen))
    pairs = [(chosen[s], int(v)) for b in batches for s, v in zip(b.structure_index, b.variant, strict=True)]
    assert sorted(pairs) == [("Ag", v) for v in range(5)] + [("Zn", v) for v in range(4)]
    expected = {pair: curve(*pair) for pair in pairs}
    for batch in batches:
        for s, variant, pattern in zip(batch.structure_index, batch.variant, batch.patterns, strict=True):
            np.testing.assert_array_equal(pattern, expected[chosen[s], int(variant)])
    assert list(store.iter_batches(4, [])) == []


def test_base_rows_follow_the_sorted_ids_in_any_blocks(store: PatternStore) -> None:
    expected = np.array([curve(identifier, -1) for identifier in sorted(COUNTS)])
    for step in (1, 3, 8):
        blocks = [store.base_rows(at, min(at + step, 8)) for at in range(0, 8, step)]
        np.testing.assert_array_equal(np.concatenate(blocks), expected)
    assert store.base_rows(2, 2).shape == (0, len(R))
    for start, stop in ((0, 9), (-1, 3), (5, 4)):
        with pytest.raises(StoreError, match="has 8 structures"):
            store.base_rows(start, stop)


def test_the_patterns_of_one_structure_come_with_their_parameters(store: PatternStore) -> None:
    patterns, parameters = store.patterns_of("Ni")
    np.testing.assert_array_equal(patterns, [curve("Ni", v) for v in range(12)])
    np.testing.assert_array_equal(parameters["u_iso"], [u_iso("Ni", v) for v in range(12)])
    assert np.isnan(parameters["diameter"]).all()
    assert store.patterns_of("Ca")[0].shape == (0, len(R))


def test_unknown_or_repeated_ids_and_empty_stores_are_clear_errors(store: PatternStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"1 of 1 structures are not in the pattern store.*Xx"):
        store.patterns_of("Xx")
    with pytest.raises(StoreError, match=r"1 of 2 structures.*Yy"):
        next(store.iter_batches(5, ["Fe", "Yy"]))
    with pytest.raises(StoreError, match="asked for twice"):
        next(store.iter_batches(5, ["Fe", "Fe"]))
    with pytest.raises(StoreError, match="at least 1 is needed"):
        next(store.iter_batches(0))
    with PatternStore.open(tmp_path / "empty", "a") as empty, pytest.raises(StoreError, match="is empty"):
        empty.axis()


def test_a_structure_done_again_replaces_its_older_rows(store: PatternStore) -> None:
    add_shard(store, make_content([("Ni", 2), ("Zn", 6)], content_hash="changed"))
    found = rows_by_structure(store)
    assert {key: len(rows) for key, rows in found.items()} == {
        key: count for key, count in (COUNTS | {"Ni": 2, "Zn": 6}).items() if count
    }
    assert store.missing(WANTED, CONFIG) == ["Zn", "Ni"]
    assert store.missing([("Ni", "changed"), ("Ag", "hash")], CONFIG) == []


def test_missing_is_what_is_wanted_less_what_is_there(store: PatternStore) -> None:
    assert store.missing(WANTED, CONFIG) == []
    wanted = [("new", "hash"), *WANTED, ("Fe", "other")]
    assert store.missing(wanted, CONFIG) == ["new", "Fe"]
    assert store.missing(WANTED, "config-2") == list(COUNTS)


def test_patterns_of_two_configurations_are_never_read_together(store: PatternStore) -> None:
    add_shard(store, make_content([("Ni", 3)], config="config-2"))
    for read in (store.axis, lambda: store.base_rows(0, 1), lambda: next(store.iter_batches(5))):
        with pytest.raises(StoreError, match=r"2 configurations .config-1, config-2.*simulate"):
            read()
    assert store.drop([("Ni", "hash")], "config-2") == 7
    assert rows_by_structure(store) == {"Ni": [0, 1, 2]}


def test_dropped_structures_are_not_seen_and_dead_shards_are_deleted(store: PatternStore) -> None:
    assert store.drop(WANTED, CONFIG) == 0
    keep = [("Al2O3", "hash"), ("W5O14-β", "hash"), ("Ag", "other")]
    assert store.drop(keep, CONFIG) == 6
    assert rows_by_structure(store) == {"Al2O3": list(range(9)), "W5O14-β": [0, 1]}
    np.testing.assert_array_equal(store.base_rows(0, 2), [curve("Al2O3", -1), curve("W5O14-β", -1)])
    assert len(list(store.folder.glob("*.h5"))) == 2


def test_compacting_rewrites_only_partly_live_shards_and_changes_nothing_for_readers(store: PatternStore) -> None:
    keep = [pair for pair in WANTED if pair[0] not in ("Zn", "Ag", "Ni", "Fe")]
    store.drop(keep, CONFIG)
    before, fingerprint = rows_by_structure(store), store.fingerprint()
    sizes = sum(path.stat().st_size for path in store.folder.glob("*.h5"))
    assert store.compact() == 2
    assert store.compact() == 0
    assert rows_by_structure(store) == before
    assert store.fingerprint() == fingerprint
    assert sum(path.stat().st_size for path in store.folder.glob("*.h5")) < sizes
    assert len(list(store.folder.glob("*.h5"))) == 2
    assert not store.verify(full=True).bad
    assert store.missing(keep, CONFIG) == []


def test_the_fingerprint_follows_the_patterns_and_not_their_spread_over_shards(
    store: PatternStore, tmp_path: Path
) -> None:
    before = store.fingerprint()
    with PatternStore.open(tmp_path / "other", "a") as other:
        for identifier, count in reversed(COUNTS.items()):
            add_shard(other, make_content([(identifier, count)]))
        assert other.fingerprint() == before
        changed = make_content([("Fe", 1)])
        changed.patterns[0, 100] += np.float32(1e-6)
        add_shard(other, replace(changed, structure_ids=("Fe",), content_hashes=("hash",)))
        other_print = other.fingerprint()
    assert other_print != before
    add_shard(store, make_content([("new", 1)]))
    assert store.fingerprint() not in (before, other_print)


def test_a_damaged_chunk_is_an_error_that_names_the_shard_and_the_way_out(store: PatternStore) -> None:
    content = make_content([("big", 300)])
    record = add_shard(store, content)
    path = store.folder / record.name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16  # nearly all of this file is compressed patterns
    path.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{record.name} is damaged.*run simulate again.*redoes it"):
        store.patterns_of("big")
    with pytest.raises(StoreError, match=record.name):
        rows_by_structure(store)
    path.unlink()
    with pytest.raises(StoreError, match=rf"{record.name} is missing, though the index lists it.*simulate"):
        store.patterns_of("big")


def test_a_shard_swapped_for_another_is_noticed_before_its_rows_are_used(store: PatternStore) -> None:
    shards = sorted(store.folder.glob("*.h5"))
    shards[0].replace(shards[1])
    with pytest.raises(StoreError, match=f"({shards[1].name} does not hold what the index says|{shards[0].name})"):
        rows_by_structure(store)
    shards[0].write_bytes(shards[2].read_bytes())
    with pytest.raises(StoreError, match=f"{shards[0].name} does not hold what the index says.*simulate"):
        rows_by_structure(store)


def test_a_shard_on_another_grid_under_the_same_configuration_is_noticed(store: PatternStore) -> None:
    content = make_content([("zzz", 2)])
    short = replace(
        content,
        axis=Axis("r", "angstrom", R[:100]),
        base=content.base[:, :100].copy(),
        patterns=content.patterns[:, :100].copy(),
    )
    store.record(write_shard(store.folder, "shard-zzz.h5", short))
    for read in (lambda: store.base_rows(0, 9), lambda: rows_by_structure(store)):
        with pytest.raises(StoreError, match=r"points a pattern, but the others have"):
            read()


def test_a_record_without_its_file_is_refused(store: PatternStore) -> None:
    record = write_shard(store.folder, "shard-x.h5", make_content([("x", 2)]))
    path = store.folder / "shard-x.h5"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"shard-x.h5 has .* bytes, but .* were written"):
        store.record(record)
    path.unlink()
    with pytest.raises(StoreError, match="has 0 bytes"):
        store.record(record)
    assert "x" not in store.ids()


def test_what_is_recorded_while_reading_is_left_for_the_next_reader(store: PatternStore) -> None:
    reader = PatternStore.open(store.folder, "r")
    batches: Iterator = reader.iter_batches(4)
    rows = len(next(batches).patterns)
    add_shard(store, make_content([("new", 50)]))
    rows += sum(len(batch.patterns) for batch in batches)
    assert rows == sum(COUNTS.values())
    assert reader.n_rows == rows + 50
    reader.close()


def test_a_store_of_ten_thousand_shards_opens_and_plans_without_touching_them(tmp_path: Path) -> None:
    # One transaction: 10 000 calls of record() would spend 20 s on waiting for the disk.
    with PatternStore.open(tmp_path, "a") as store, store._index._writing():
        for k in range(10_000):
            rows = tuple(StructureRows(f"{k}-{s}", "hash", 100 * s, 100, s, f"{k:032x}") for s in range(2))
            store._index._insert(ShardRecord(f"shard-{k}.h5", CONFIG, 200, 2, 1, "0" * 32, rows), rows)
    with PatternStore.open(tmp_path, "r") as store:
        assert (store.n_structures, store.n_rows) == (20_000, 2_000_000)
        ids = store.ids()
        assert store.missing([(key, "hash") for key in ids] + [("x", "y")], CONFIG) == ["x"]
        assert len(store.live_shards(ids)) == 10_000

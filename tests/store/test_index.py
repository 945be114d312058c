import sqlite3
from pathlib import Path

import numpy as np
import pytest
from storemaker import CONFIG, rows_by_structure, start_python

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store import index as index_module
from hpc_mlsm.store import journal as journal_module
from hpc_mlsm.store.index import INDEX_NAME, Index
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.schema import ShardRecord, StructureRows

RECORD = """
import sys
from pathlib import Path
from hpc_mlsm.store.patterns import PatternStore
from storemaker import add_shard, make_content
print("ready", flush=True)
sys.stdin.readline()
with PatternStore.open(Path(sys.argv[1]), "a") as store:
    for k in range(int(sys.argv[3])):
        add_shard(store, make_content([(f"{sys.argv[2]}-{k}", 3), (f"both-{k}", 2)]))
"""


def journal_mode(path: Path) -> str:
    db = sqlite3.connect(path)
    try:
        return str(db.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        db.close()


def fabricated(name: str, ids: list[str], config: str = CONFIG) -> ShardRecord:
    rows = tuple(StructureRows(key, "hash", 10 * k, 10, k, f"{k:032x}") for k, key in enumerate(ids))
    return ShardRecord(name, config, 10 * len(ids), len(ids), 100, "0" * 32, rows)


def test_an_index_of_another_version_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = tmp_path / INDEX_NAME
    Index(path, "a").close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()
    for mode in ("r", "a"):
        with pytest.raises(StoreError, match=r"index\.sqlite has schema version 9, but this program reads version 1"):
            PatternStore.open(tmp_path, mode)


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / INDEX_NAME
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE notes (text)")
    db.close()
    with pytest.raises(StoreError, match="not the index of a pattern store"):
        Index(path, "a")
    path.write_bytes(b"junk" * 3000)
    with pytest.raises(StoreError, match="delete it and run the stage that fills it again"):
        Index(path, "a")
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="empty: run the stage that fills it first"):
        Index(path, "r")
    path.unlink()
    with pytest.raises(StoreError, match=r"no pattern store in .*: run simulate first"):
        PatternStore.open(tmp_path, "r")


def test_an_index_damaged_inside_is_found_by_a_full_verification(store: PatternStore) -> None:
    for k in range(40):
        store._index.record(fabricated(f"shard-{k}.h5", [f"{k}-{s}" for s in range(20)]))
    store.close()
    path = store.folder / INDEX_NAME
    data = bytearray(path.read_bytes())
    data[2 * 4096 : 3 * 4096] = bytes(4096)
    path.write_bytes(data)
    message = r"index\.sqlite.*delete it and run the stage that fills it again"
    with PatternStore.open(store.folder, "a") as damaged, pytest.raises(StoreError, match=message):
        damaged.verify(full=True)


def test_a_flipped_bit_in_the_index_never_gives_wrong_rows_and_can_be_mended(store: PatternStore) -> None:
    before = rows_by_structure(store)
    store.close()
    path = store.folder / INDEX_NAME
    data, rng, refused = path.read_bytes(), np.random.default_rng(5), 0
    used = np.flatnonzero(np.frombuffer(data, np.uint8))
    for _ in range(60):
        broken = bytearray(data)
        broken[rng.choice(used)] ^= 1 << rng.integers(0, 8)
        path.write_bytes(broken)
        try:
            with PatternStore.open(store.folder, "r") as reader:
                assert rows_by_structure(reader) == before
        except StoreError:
            refused += 1
        try:
            with PatternStore.open(store.folder, "a") as writer:
                writer.verify(full=True)
                assert rows_by_structure(writer) == before
        except StoreError:
            path.unlink()
            with PatternStore.open(store.folder, "a") as writer:
                writer.adopt(CONFIG)
                assert rows_by_structure(writer) == before
    assert refused > 20


def test_a_deleted_index_is_rebuilt_from_the_shards(store: PatternStore) -> None:
    before, fingerprint = rows_by_structure(store), store.fingerprint()
    store.close()
    (store.folder / INDEX_NAME).unlink()
    with PatternStore.open(store.folder, "a") as again:
        assert again.ids() == []
        assert len(again.adopt(CONFIG).adopted) == 3
        assert rows_by_structure(again) == before
        assert again.fingerprint() == fingerprint


def test_recording_again_changes_nothing_even_after_the_structure_moved_on(tmp_path: Path) -> None:
    with Index(tmp_path / INDEX_NAME, "a") as index:
        old, new = fabricated("shard-1.h5", ["a", "b"]), fabricated("shard-2.h5", ["b", "c"])
        for record in (old, old, new, old):
            index.record(record)
        found = list(index.rows("SELECT id, shard FROM structures ORDER BY id"))
        assert found == [("a", "shard-1.h5"), ("b", "shard-2.h5"), ("c", "shard-2.h5")]


def test_recording_is_all_or_nothing(tmp_path: Path) -> None:
    with Index(tmp_path / INDEX_NAME, "a") as index:
        index.record(fabricated("shard-1.h5", ["a", "b"]))
        broken = fabricated("shard-2.h5", ["b", "c"])
        rows = (*broken.structures, StructureRows("d", "hash", 0, 0, 0, None))  # type: ignore[arg-type]
        record = ShardRecord("shard-2.h5", CONFIG, 20, 3, 100, "1" * 32, rows)
        with pytest.raises(StoreError, match="NOT NULL"):
            index.record(record)
        assert list(index.shards()) == ["shard-1.h5"]
        assert {row[0] for row in index.rows("SELECT shard FROM structures")} == {"shard-1.h5"}


def test_a_shard_recorded_with_other_structures_keeps_none_of_the_old(tmp_path: Path) -> None:
    with Index(tmp_path / INDEX_NAME, "a") as index:
        index.record(fabricated("shard-1.h5", ["a", "b"]))
        other = fabricated("shard-1.h5", ["c"])
        index.record(ShardRecord(other.name, CONFIG, 10, 1, 90, "2" * 32, other.structures))
        assert [row[0] for row in index.rows("SELECT id FROM structures")] == ["c"]
        assert index.shards() == {"shard-1.h5": (90, "2" * 32)}


def test_the_journal_is_a_write_ahead_log_only_on_a_local_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / INDEX_NAME
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "_file_system", lambda _: "lustre")
        Index(path, "a").close()
        assert journal_mode(path) == "delete"
        Index(path, "r").close()
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "_file_system", lambda _: "ext4")
        Index(path, "a").close()
        assert journal_mode(path) == "wal"
        with Index(path, "r"):  # another process has it open: the mode stays what it is
            patch.setattr(journal_module, "_file_system", lambda _: "nfs4")
            patch.setattr(index_module, "BUSY_TIMEOUT_S", 0.1)
            Index(path, "a").close()


def test_the_type_of_a_file_system_is_known_where_mounts_can_be_listed(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert journal_module._file_system(small_disk / "pdf") == "tmpfs"

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert journal_module._file_system(small_disk) == ""


def test_waiting_for_another_writer_ends_with_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "BUSY_TIMEOUT_S", 0.05)
    with Index(tmp_path / INDEX_NAME, "a") as one, Index(tmp_path / INDEX_NAME, "a") as other:
        with one._writing(), pytest.raises(StoreError, match="another process holds it"):
            other.record(fabricated("shard-1.h5", ["a"]))
        other.record(fabricated("shard-1.h5", ["a"]))


def test_two_processes_record_at_once_while_a_third_reads(tmp_path: Path) -> None:
    folder, count = tmp_path / "pdf", 12
    PatternStore.open(folder, "a").close()
    seen = [0]
    with start_python(RECORD, folder, "one", count) as first, start_python(RECORD, folder, "two", count) as second:
        for writer in (first, second):
            assert writer.stdout.readline() == "ready\n"
        for writer in (first, second):
            writer.stdin.write("go\n")
            writer.stdin.flush()
        with PatternStore.open(folder, "r") as one, PatternStore.open(folder, "r") as other:
            while first.poll() is None or second.poll() is None:
                for reader in (one, other):
                    if reader.n_structures:
                        found = rows_by_structure(reader)
                        assert all(rows == list(range(len(rows))) for rows in found.values())
                        seen.append(len(found))
        assert (first.wait(), second.wait()) == (0, 0)
    assert seen == sorted(seen)
    assert len(seen) > 2
    with PatternStore.open(folder, "a") as store:
        found = rows_by_structure(store)
        assert len(found) == store.n_structures == 3 * count
        assert {len(rows) for key, rows in found.items() if key.startswith("both")} == {2}
        assert not store.verify(full=True).bad

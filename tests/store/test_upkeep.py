import random
import signal
import socket
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from storemaker import CONFIG, COUNTS, WANTED, add_shard, make_content, rows_by_structure, start_python

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store import upkeep
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.shard import write_shard

GONE = 2**22 + 1
"""A process id that Linux never gives."""

WRITE_FOREVER = """
import sys, itertools
from pathlib import Path
from hpc_mlsm.store.patterns import PatternStore
from storemaker import add_shard, make_content
content = make_content([("template", 400)])
with PatternStore.open(Path(sys.argv[1]), "a") as store:
    add_shard(store, make_content([(f"{sys.argv[2]}-first", 2)]))
    print("ready", flush=True)
    for k in itertools.count():
        add_shard(store, make_content([(f"{sys.argv[2]}-{k}", 5), (f"{sys.argv[2]}-{k}b", 60)]))
"""


def names(store: PatternStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir() if not path.name.startswith("index"))


def test_a_sound_store_verifies(store: PatternStore) -> None:
    for full in (False, True):
        report = store.verify(full)
        assert report.checked == 3
        assert report.bad == ()


def test_missing_cut_emptied_and_altered_shards_are_found_put_aside_and_redone(store: PatternStore) -> None:
    altered = add_shard(store, make_content([("extra", 20)])).name
    missing, cut, emptied = (path.name for path in sorted(store.folder.glob("*.h5")) if path.name != altered)
    (store.folder / missing).unlink()
    (store.folder / cut).write_bytes((store.folder / cut).read_bytes()[:-1])
    (store.folder / emptied).write_bytes(b"")
    data = bytearray((store.folder / altered).read_bytes())
    data[-1] ^= 1
    (store.folder / altered).write_bytes(data)
    with PatternStore.open(store.folder, "r") as reader:
        report = reader.verify(full=True)
        assert (report.checked, report.missing, report.altered) == (4, (missing,), (altered,))
        assert sorted(report.truncated) == sorted((cut, emptied))
        assert reader.n_structures == 9  # a reader only reports
    assert store.verify(full=False).altered == ()
    assert store.verify(full=True).bad == (altered,)
    assert store.ids() == []
    assert names(store) == sorted(f"{name}.bad" for name in (cut, emptied, altered))
    assert store.missing(WANTED, CONFIG) == list(COUNTS)
    add_shard(store, make_content(list(COUNTS.items())))
    assert store.missing(WANTED, CONFIG) == []
    assert rows_by_structure(store) == {key: list(range(count)) for key, count in COUNTS.items() if count}


def test_any_flipped_bit_in_any_shard_is_found(store: PatternStore) -> None:
    rng = np.random.default_rng(7)
    paths = sorted(store.folder.glob("*.h5"))
    with PatternStore.open(store.folder, "r") as reader:
        for trial in range(200):
            path = paths[trial % len(paths)]
            data = path.read_bytes()
            broken = bytearray(data)
            broken[rng.integers(0, len(data))] ^= 1 << rng.integers(0, 8)
            path.write_bytes(broken)
            assert reader.verify(full=True).altered == (path.name,)
            path.write_bytes(data)
        assert reader.verify(full=True).bad == ()


def test_a_disk_that_does_not_read_is_an_error_and_no_shard_is_given_up(
    store: PatternStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(upkeep, "checksum", fail)
    with pytest.raises(StoreError, match=r"shard-.*\.h5 cannot be read .*Input/output error"):
        store.verify(full=True)
    assert store.n_structures == 8


def test_a_shard_that_vanishes_during_verification_counts_as_bad(
    store: PatternStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(upkeep, "checksum", vanish)
    assert len(store.verify(full=True).bad) == 3


def test_a_finished_shard_that_was_never_recorded_is_adopted_once(store: PatternStore) -> None:
    content = make_content([("late", 4), ("later", 3)])
    record = write_shard(store.folder, "shard-late.h5", content)
    report = store.adopt(CONFIG)
    assert (report.adopted, report.removed, report.set_aside) == (("shard-late.h5",), (), ())
    assert store.adopt(CONFIG).adopted == ()
    store.record(record)  # its task comes back after all
    assert len(rows_by_structure(store)["later"]) == 3
    assert not store.verify(full=True).bad


def test_adoption_puts_no_older_structure_in_place_of_a_recorded_one(store: PatternStore) -> None:
    write_shard(store.folder, "shard-stale.h5", make_content([("Ni", 2), ("more", 1)], content_hash="stale"))
    assert store.adopt(CONFIG).adopted == ("shard-stale.h5",)
    assert store.missing([("Ni", "hash"), ("more", "stale")], CONFIG) == []
    write_shard(store.folder, "shard-useless.h5", make_content([("Ni", 2)], content_hash="stale"))
    assert store.adopt(CONFIG).removed == ("shard-useless.h5",)
    assert len(store.patterns_of("Ni")[0]) == 12


def test_adoption_tells_useless_broken_and_foreign_files_apart_and_leaves_others_alone(
    store: PatternStore,
) -> None:
    before = names(store)
    write_shard(store.folder, "shard-other.h5", make_content([("x", 1)], config="config-2"))
    (store.folder / "shard-junk.h5").write_bytes(b"junk")
    with h5py.File(store.folder / "shard-foreign.h5", "w") as file:
        file["data"] = np.arange(3)
    whole = write_shard(store.folder, "shard-cut.h5", make_content([("y", 1)]))
    with (store.folder / "shard-cut.h5").open("r+b") as stream:
        stream.truncate(whole.size // 2)
    stale = f".shard-z.h5.{socket.gethostname()}~{GONE}~00ff.part"
    others = ["notes.txt", "view.h5", ".shard-z.h5.other-node~1~00ff.part"]
    for name in (stale, *others):
        (store.folder / name).write_bytes(b"x")
    report = store.adopt(CONFIG)
    assert report.adopted == ()
    assert sorted(report.removed) == sorted(["shard-other.h5", stale])
    bad = ["shard-cut.h5", "shard-foreign.h5", "shard-junk.h5"]
    assert sorted(report.set_aside) == bad
    assert names(store) == sorted([*before, *others, *(f"{name}.bad" for name in bad)])
    assert store.n_structures == 8


def test_a_recorded_shard_rewritten_with_other_content_is_looked_at_again(store: PatternStore) -> None:
    name = add_shard(store, make_content([("p", 3), ("q", 1)])).name
    write_shard(store.folder, name, make_content([("p", 30)]))
    assert store.adopt(CONFIG).adopted == (name,)
    assert "q" not in store.ids()
    assert len(rows_by_structure(store)["p"]) == 30


def test_a_kill_between_dropping_and_deleting_brings_nothing_back(
    store: PatternStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(upkeep, "bury", lambda *_: [])
        store.drop(WANTED[:3], CONFIG)
    assert len(list(store.folder.glob("*.h5"))) == 3
    store.close()
    with PatternStore.open(store.folder, "a") as again:
        assert len(list(store.folder.glob("*.h5"))) == 1
        assert again.adopt(CONFIG).adopted == ()
        assert again.ids() == sorted(key for key, _ in WANTED[:3])


def test_a_file_that_cannot_be_deleted_keeps_the_store_from_opening_but_not_for_good(
    store: PatternStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(upkeep, "bury", lambda *_: [])
        store.drop([], CONFIG)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(StoreError, match=r"shard-.*h5 cannot be deleted .*Permission denied.*writable"):
            PatternStore.open(store.folder, "a")
    PatternStore.open(store.folder, "a").close()
    assert not list(store.folder.glob("*.h5"))


def test_a_kill_during_compaction_costs_nothing(store: PatternStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = [pair for pair in WANTED if pair[0] != "Zn"]
    store.drop(keep, CONFIG)
    before = rows_by_structure(store)
    with monkeypatch.context() as patch:
        patch.setattr(store._index, "record", lambda _: None)  # killed after the new shard has its name
        patch.setattr(upkeep, "bury", lambda *_: [])
        store.compact()
    assert len(store.adopt(CONFIG).removed) == 1
    assert rows_by_structure(store) == before
    assert store.compact() == 1
    assert rows_by_structure(store) == before


def test_a_killed_writer_leaves_nothing_that_is_wrongly_believed(tmp_path: Path) -> None:
    folder, rng, recorded = tmp_path / "pdf", random.Random(3), 0
    for attempt in range(5):
        with start_python(WRITE_FOREVER, folder, f"run{attempt}") as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.0, 0.25))
            writer.send_signal(signal.SIGKILL)
            assert writer.wait() == -signal.SIGKILL
        with PatternStore.open(folder, "a") as store:
            assert store.n_structures > recorded  # what had been recorded survived
            on_disk = sorted(path.name for path in folder.glob("*.h5"))
            report = store.adopt(CONFIG)
            assert report.set_aside == ()
            assert names(store) == on_disk  # no partial file is left, every finished shard is kept
            assert sorted(store._index.shards()) == on_disk
            assert not store.verify(full=True).bad
            found = rows_by_structure(store)
            assert {len(rows) for rows in found.values()} <= {2, 5, 60}
            assert len(found) == 2 * len(on_disk) - (attempt + 1)
            recorded = store.n_structures

import errno
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from storemaker import add_shard, make_content, rows_by_structure

from hpc_mlsm.durable import STALE_AFTER_S, is_stale_part, remove_stale_parts, sync_folder, write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.schema import ShardContent
from hpc_mlsm.store.shard import read_shard, write_shard


def noise(structures: list[tuple[str, int]]) -> ShardContent:
    """Patterns that do not compress, so that their size on the disk is known."""
    content = make_content(structures)
    content.patterns[:] = np.random.default_rng(1).standard_normal(content.patterns.shape)
    return content


def fill(ballast: Path) -> None:
    """Write until not one byte more fits."""
    with ballast.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(1024))


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(small_disk: Path) -> None:
    with PatternStore.open(small_disk / "pdf", "a") as store:
        first = add_shard(store, make_content([("Fe", 10)]))
        content = noise([("Ni", 1000)])  # 1.2 MB
        with pytest.raises(StoreError, match=r"shard-2.h5 cannot be written: No space.*bytes are free.*free some"):
            write_shard(store.folder, "shard-2.h5", content)
        assert [path.name for path in store.folder.glob("*.h5")] == [first.name]
        assert not list(store.folder.glob(".*"))
        assert rows_by_structure(store) == {"Fe": list(range(10))}
        add_shard(store, make_content([("Ni", 10)]))
        assert not store.verify(full=True).bad


def test_an_index_on_a_full_disk_says_so_and_works_again_once_there_is_space(small_disk: Path) -> None:
    folder, ballast = small_disk / "pdf", small_disk / "ballast"
    with PatternStore.open(folder, "a") as store:
        add_shard(store, make_content([("Fe", 10)]))
        content = make_content([(f"id-{k:04d}", 0) for k in range(400)])
        record = write_shard(folder, "shard-many.h5", content)
        fill(ballast)
        with pytest.raises(StoreError, match=r"index\.sqlite.*disk is full"):
            store.record(record)
        assert store.ids() == ["Fe"]
        ballast.unlink()
        store.record(record)
        assert store.n_structures == 401
        assert not store.verify(full=True).bad


def test_a_store_cannot_be_made_on_a_full_disk_but_afterwards(small_disk: Path) -> None:
    folder, ballast = small_disk / "pdf", small_disk / "ballast"
    folder.mkdir()
    fill(ballast)
    with pytest.raises(StoreError, match=r"index\.sqlite"):
        PatternStore.open(folder, "a")
    ballast.unlink()
    with PatternStore.open(folder, "a") as store:
        assert store.ids() == []


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(
    tmp_path: Path, make_read_only: Callable[[Path], None]
) -> None:
    folder = tmp_path / "pdf"
    with PatternStore.open(folder, "a") as store:
        add_shard(store, make_content([("Fe", 3)]))
    make_read_only(folder)
    with pytest.raises(StoreError, match=r"shard-2.h5 cannot be written.*(that can be written|writable)"):
        write_shard(folder, "shard-2.h5", make_content([("Ni", 3)]))
    with pytest.raises(StoreError, match=r"index\.sqlite.*writable"):
        PatternStore.open(folder, "a")
    with PatternStore.open(folder, "r") as store:
        assert rows_by_structure(store) == {"Fe": [0, 1, 2]}
        assert not store.verify(full=True).bad
        with pytest.raises(StoreError, match="opened for reading only"):
            store.drop([], "config-1")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone/shard-1.h5 cannot be written.*folder exists"):
        write_shard(tmp_path / "gone", "shard-1.h5", make_content([("Fe", 1)]))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file/pdf cannot be written"):
        PatternStore.open(tmp_path / "file" / "pdf", "a")


def test_an_interrupt_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_durably(tmp_path / "x", b"abc")
    assert not list(tmp_path.iterdir())


def test_a_failed_rewrite_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(tmp_path, "shard-1.h5", make_content([("Fe", 1)]))

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(shutil, "disk_usage", fail)
    with pytest.raises(StoreError, match=r"Input/output error.*cannot be told") as caught:
        write_shard(tmp_path, "shard-1.h5", make_content([("Fe", 2)]))
    assert isinstance(caught.value.__cause__, OSError)
    assert len(read_shard(tmp_path / "shard-1.h5").patterns) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_system_that_synchronises_no_folders_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    sync_folder(tmp_path)


def test_a_partial_file_is_stale_once_its_process_is_gone_or_it_is_old(tmp_path: Path) -> None:
    here, gone = socket.gethostname(), 2**22 + 1  # beyond the largest process id that Linux gives
    cases = {
        f".shard-1.h5.{here}~{gone}~0a1b.part": True,
        f".shard-1.h5.{here}~{os.getpid()}~0a1b.part": False,
        ".shard-1.h5.other-node~7~0a1b.part": False,
        ".shard-1.h5.part": False,
        "shard-1.h5": False,
    }
    for name, stale in cases.items():
        path = tmp_path / name
        path.touch()
        assert is_stale_part(path) is stale
    old = time.time() - STALE_AFTER_S - 60
    for name in cases:
        os.utime(tmp_path / name, (old, old))
    assert [is_stale_part(tmp_path / name) for name in cases] == [True, True, True, False, False]
    assert not is_stale_part(tmp_path / ".shard-2.h5.other-node~7~0a1b.part")


def test_what_killed_processes_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "deep").mkdir()
    left = tmp_path / "deep" / f".table.csv.{socket.gethostname()}~{dead.pid}~0a1b2c3d.part"
    live = tmp_path / f".table.csv.{socket.gethostname()}~{os.getpid()}~0a1b2c3d.part"
    left.touch()
    live.touch()
    remove_stale_parts(tmp_path)
    assert (left.exists(), live.exists()) == (False, True)

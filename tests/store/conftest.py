"""A folder that cannot be written to, and a store to break."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storemaker import add_shard, make_content

from hpc_mlsm.store.patterns import PatternStore


@pytest.fixture
def make_read_only(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """A function that write-protects a folder: by its rights, or for root, whom they do not stop, by a mount."""

    def by_rights(folder: Path) -> None:
        folder.chmod(0o555)
        request.addfinalizer(lambda: folder.chmod(0o755))

    def by_mount(folder: Path) -> None:
        try:
            subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"root cannot be kept from writing here: {error}")
        request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(folder)], check=True))
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True, capture_output=True)

    return by_mount if os.geteuid() == 0 else by_rights


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PatternStore]:
    """Three shards with eight structures of unequal row counts, one of them with none."""
    with PatternStore.open(tmp_path / "pdf", "a") as store:
        add_shard(store, make_content([("Zn", 4), ("Al2O3", 9), ("Ca", 0)]))
        add_shard(store, make_content([("Fe", 1), ("Ni", 12)]))
        add_shard(store, make_content([("Bi2Fe4O9", 3), ("Ag", 5), ("W5O14-β", 2)]))
        yield store

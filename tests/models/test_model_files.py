"""Files of models appear whole, or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.writing import replace_file


def test_a_file_is_written_and_replaced_without_leftovers(tmp_path: Path) -> None:
    replace_file(tmp_path / "a.json", b"one")
    replace_file(tmp_path / "a.json", b"two")
    assert (tmp_path / "a.json").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_partial_file_of_a_killed_process_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".a.json.part").write_bytes(b"half of someth")
    replace_file(tmp_path / "a.json", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_old_file_and_says_how_much_is_needed(small_disk: Path) -> None:
    replace_file(small_disk / "a", b"old")
    with pytest.raises(BundleError, match=r"a cannot be written: No space left on device; 2\.0 MB are needed, 1\.0 MB"):
        replace_file(small_disk / "a", bytes(2_000_000))
    assert (small_disk / "a").read_bytes() == b"old"
    assert len(list(small_disk.iterdir())) == 1


@pytest.mark.parametrize(
    "spoil",
    [lambda folder: folder.rename(folder.with_name("moved")), lambda folder: (folder / "a").mkdir()],
    ids=["folder missing", "name taken by a folder"],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(BundleError, match=r"folder/a cannot be written"):
        replace_file(folder / "a", b"content")

"""Patterns are found in folders, in an order that people expect."""

from pathlib import Path

import pytest

from hpc_mlsm.archive import folders
from hpc_mlsm.archive.folders import find_patterns
from hpc_mlsm.errors import PatternError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_folders_are_searched_deeply_and_sorted_naturally(tmp_path: Path) -> None:
    touch(tmp_path, "s10.gr", "s2.gr", "S1.GR", "run10/a.xy", "run9/a.xye", "run9/b.csv", "notes.md", "x.cif")
    touch(tmp_path, ".hidden.gr", ".git/a.gr", "run9/._a.xye", "007.dat", "7.dat", "²7.txt")
    found = [str(path.relative_to(tmp_path)) for path in find_patterns([tmp_path])]
    assert found == [
        "007.dat", "7.dat", "run9/a.xye", "run9/b.csv", "run10/a.xy", "S1.GR", "s2.gr", "s10.gr", "²7.txt"
    ]  # fmt: skip


def test_named_files_are_taken_whatever_their_suffix_and_in_their_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.chi", "d/c.gr", "a.gr")
    files = [tmp_path / "b.chi", tmp_path / "d", str(tmp_path / "a.gr")]
    assert find_patterns(files) == [tmp_path / "b.chi", tmp_path / "d" / "c.gr", tmp_path / "a.gr"]


def test_no_file_comes_twice(tmp_path: Path) -> None:
    touch(tmp_path, "a.gr", "b.gr")
    (tmp_path / "c.gr").symlink_to(tmp_path / "a.gr")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert find_patterns([tmp_path / "b.gr", tmp_path]) == [tmp_path / "b.gr", tmp_path / "a.gr"]


@pytest.mark.parametrize("names", [[], ["notes.md"], [".a.gr"]])
def test_a_folder_without_patterns_is_named(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *names)
    with pytest.raises(PatternError, match=f"{tmp_path}: no measured patterns") as caught:
        find_patterns([tmp_path])
    assert caught.value.reason == "empty_folder"


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(PatternError, match="nowhere: there is no such file or folder") as caught:
        find_patterns([tmp_path / "nowhere"])
    assert caught.value.reason == "missing"


def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(PatternError, match="name one"):
        find_patterns([])


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.gr")

    def walk(top: Path, onerror: object) -> list[object]:
        assert callable(onerror)
        onerror(PermissionError(13, "Permission denied", f"{top}/closed"))
        return []

    monkeypatch.setattr(folders.os, "walk", walk)
    with pytest.raises(PatternError, match="closed: the folder cannot be listed") as caught:
        find_patterns([tmp_path])
    assert caught.value.reason == "unreadable"

"""Finding CIFs in folders as people keep them."""

import os
from pathlib import Path

import pytest

from hpc_mlsm.catalog.cif_folder import scan_folder
from hpc_mlsm.errors import CatalogueError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("data_x\n")


def test_cifs_are_found_in_all_subfolders_and_named_by_their_path(tmp_path: Path) -> None:
    touch(tmp_path, "b.cif", "a.CIF", "oxides/ZnO.cif", "oxides/deep/x.y.cif.gz", "notes.txt", "cif", "c.cif.bak")
    found = scan_folder(tmp_path)
    assert [(f.name, f.id) for f in found] == [
        ("a.CIF", "a"),
        ("b.cif", "b"),
        ("oxides/ZnO.cif", "oxides/ZnO"),
        ("oxides/deep/x.y.cif.gz", "oxides/deep/x.y"),
    ]
    assert all(f.size == 7 and f.mtime_ns > 0 and f.duplicate_of is None for f in found)
    assert Path(found[2].path).read_text() == "data_x\n"


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.cif", "._a.cif", ".git/b.cif")
    assert [f.name for f in scan_folder(tmp_path)] == ["a.cif"]


def test_of_files_with_one_id_the_first_by_name_has_it(tmp_path: Path) -> None:
    touch(tmp_path, "Ni.cif.gz", "Ni.cif", "Ni.CIF")
    assert [(f.name, f.duplicate_of) for f in scan_folder(tmp_path)] == [
        ("Ni.CIF", None),
        ("Ni.cif", "Ni.CIF"),
        ("Ni.cif.gz", "Ni.CIF"),
    ]


def test_links_are_followed_once_and_dangling_ones_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.cif")
    (tmp_path / "again").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.cif").symlink_to(tmp_path / "nowhere")
    found = scan_folder(tmp_path)
    assert [(f.name, f.size) for f in found] == [("again/a.cif", 7), ("dangling.cif", -1)]


def test_a_name_that_is_not_utf8_gets_one_that_is(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/Gr\xfcn.cif"
    with open(raw, "wb") as file:
        file.write(b"data_x\n")
    (found,) = scan_folder(tmp_path)
    assert found.name == "Gr\\xfcn.cif"
    found.name.encode("utf-8")
    assert os.path.exists(found.path)


def test_a_folder_without_cifs_says_what_was_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(CatalogueError, match=r"holds no CIFs: looked for \*\.cif and \*\.cif\.gz"):
        scan_folder(tmp_path)
    with pytest.raises(CatalogueError, match="does not exist"):
        scan_folder(tmp_path / "absent")
    with pytest.raises(CatalogueError, match="is not a folder"):
        scan_folder(tmp_path / "notes.txt")


def test_a_subfolder_that_cannot_be_read_stops_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passing it over would look as if all its files had vanished."""
    touch(tmp_path, "a.cif", "locked/b.cif")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CatalogueError, match="locked cannot be read: Permission denied"):
        scan_folder(tmp_path)

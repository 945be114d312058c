"""Opening a catalogue: made where it may be, refused with advice where it cannot be used."""

import sqlite3
from pathlib import Path

import pytest

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import FileRecord, FileResult
from hpc_mlsm.catalog.sqlite_file import VERSION, translated_errors
from hpc_mlsm.errors import CatalogueError
from hpc_mlsm.structures.structure import Reject


def test_a_new_catalogue_is_empty_and_marked_with_its_version(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Catalogue(path) as catalogue:
        assert catalogue.counts().structures == 0
        assert list(catalogue.structures()) == []
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    raw.close()


def test_reading_needs_a_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="run the ingest stage first"):
        Catalogue(tmp_path / "c.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(CatalogueError, match="not a structure catalogue"):
        Catalogue(tmp_path / "empty.sqlite", read_only=True)


def test_writing_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no folder"):
        Catalogue(tmp_path / "absent" / "c.sqlite")


@pytest.mark.parametrize("read_only", [True, False])
def test_another_version_is_refused_with_both_numbers(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "c.sqlite"
    Catalogue(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    raw.close()
    with pytest.raises(CatalogueError, match=f"version {VERSION + 1}, this program reads {VERSION}"):
        Catalogue(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
def test_another_database_is_left_alone(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "other.sqlite"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE photos (name TEXT)")
    raw.commit()
    raw.close()
    before = path.read_bytes()
    with pytest.raises(CatalogueError, match="not a structure catalogue"):
        Catalogue(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_refused_with_advice(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(CatalogueError, match="delete it and run the ingest stage again"):
        Catalogue(path, read_only=read_only)


def test_a_truncated_catalogue_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Catalogue(path) as catalogue:
        catalogue._connection.execute("INSERT INTO rejects SELECT hex(randomblob(3000)), '', '', '', '' FROM rejects")
        for _ in range(50):
            catalogue._connection.execute("INSERT INTO rejects VALUES (hex(randomblob(2000)), '', '', '', '')")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CatalogueError, match="delete it and run the ingest stage again"):  # noqa: SIM117
        with Catalogue(path, read_only=True) as catalogue:
            catalogue.rejects()


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("database is locked", "another process"),
        ("database or disk is full", "free some space"),
        ("attempt to write a readonly database", "can be written to"),
        ("unable to open database file", "can be written to"),
        ("database disk image is malformed", "delete it"),
    ],
)
def test_every_failure_comes_with_its_remedy(message: str, advice: str) -> None:
    with pytest.raises(CatalogueError, match=advice), translated_errors(Path("c.sqlite")):
        raise sqlite3.OperationalError(message)


def test_a_full_disk_is_named_and_what_was_stored_is_kept(tmp_path: Path) -> None:
    """SQLite's page limit fails in the same way and with the same words as a full disk."""

    def result(name: str, size: int) -> FileResult:
        record = FileRecord(name, "0", 1, 1, 1, "")
        return FileResult(record, rejects=(Reject(name, name, "empty", "x" * size),))

    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        catalogue.add([result("kept", 10)])
        pages = catalogue._connection.execute("PRAGMA page_count").fetchone()[0]
        catalogue._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(CatalogueError, match="free some space"):
            catalogue.add([result("too much", 1_000_000)])
        assert [reject.id for reject in catalogue.rejects()] == ["kept"]
        assert list(catalogue.files()) == ["kept"]

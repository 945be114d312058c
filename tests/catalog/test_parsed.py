"""No content is parsed twice, whatever its file is called, and what is remembered is what parsing would give."""

import hashlib
from pathlib import Path

import pytest
from cif_texts import cif, write

from hpc_mlsm.catalog import ingest
from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.ingest import PARSER_VERSION, parse_files, plan_ingest, scan_folder, store_result
from hpc_mlsm.catalog.parsed import KnownDigests, ParsedContents, parsed_beside


def run(folder: Path, path: Path) -> tuple[int, int]:
    """One ingest; returns how many files were read, and how many of them parsed."""
    read = parsed_count = 0
    with Catalogue(path) as catalogue, ParsedContents(path, PARSER_VERSION) as parsed:
        files = scan_folder(folder)
        catalogue.remove_missing([file.name for file in files])
        digests = parsed.write_digests(path.with_name("known"))
        for task in plan_ingest(files, catalogue.files(), digests):
            result = parse_files(task)
            store_result(catalogue, result, parsed)
            read += len(result.files)
            parsed_count += sum(not (file.unchanged or file.known) for file in result.files)
    return read, parsed_count


def contents(path: Path) -> tuple[list[object], list[object]]:
    with Catalogue(path, read_only=True) as catalogue:
        return [*catalogue.structures()], [*catalogue.rejects()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cifs"
    write(folder, "Ni.cif", cif("Ni", 3.52))
    write(folder, "two.cif", cif("Cu", 3.615) + cif("Ag", 4.086))
    write(folder, "empty.cif", "")
    write(folder, "named.cif", cif("Pd", 3.89) + "_journal_name_full 'Acta'\n_journal_year 1950\n")
    return folder


def test_renamed_and_copied_files_are_not_parsed_and_give_what_parsing_would(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    assert run(folder, path) == (4, 4)
    (folder / "old").mkdir()
    for name in ("Ni", "two", "empty", "named"):
        (folder / f"{name}.cif").rename(folder / "old" / f"{name}-1.cif")
    (folder / "again.cif").write_bytes((folder / "old" / "two-1.cif").read_bytes())
    assert run(folder, path) == (5, 0)
    afresh = tmp_path / "afresh" / "c.sqlite"
    afresh.parent.mkdir()
    assert run(folder, afresh) == (5, 5)
    assert contents(path) == contents(afresh)


def test_a_lost_catalogue_is_made_again_without_parsing(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    run(folder, path)
    before = contents(path)
    path.unlink()
    assert run(folder, path) == (4, 0)
    assert contents(path) == before


def test_other_rules_of_parsing_remember_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.sqlite"
    run(folder, path)
    monkeypatch.setattr("test_parsed.PARSER_VERSION", PARSER_VERSION + 1)
    monkeypatch.setattr(ingest, "PARSER_VERSION", PARSER_VERSION + 1)
    assert run(folder, path) == (4, 4)


def test_a_damaged_memory_is_put_aside_and_costs_only_parsing(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    run(folder, path)
    before = contents(path)
    parsed_beside(path).write_bytes(b"no database" * 1000)
    path.unlink()
    assert run(folder, path) == (4, 4)
    assert contents(path) == before
    assert parsed_beside(path).with_suffix(".sqlite.bad").exists()


def test_hashes_are_found_in_a_file_that_is_not_read_whole(tmp_path: Path) -> None:
    digests = sorted(hashlib.sha256(bytes([n])).hexdigest() for n in range(101))
    (tmp_path / "known").write_bytes(b"".join(bytes.fromhex(digest) for digest in digests[::2]))
    known = KnownDigests(tmp_path / "known")
    assert [digest in known for digest in digests] == [n % 2 == 0 for n in range(101)]

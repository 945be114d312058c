"""Ingest from a folder to the catalogue: only what is new or changed is parsed, and nothing is lost."""

import os
import pickle
from collections import Counter
from pathlib import Path

import pytest
from cif_texts import cif, write

from hpc_mlsm.catalog import ingest
from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.ingest import (
    STARTER,
    IngestTask,
    failed_result,
    parse_files,
    plan_ingest,
    scan_folder,
    store_result,
    store_starter,
)
from hpc_mlsm.structures.cif import parse_cif
from hpc_mlsm.structures.structure import Structure

COD = Path(__file__).parents[3] / "shared" / "data" / "cod"


def run(folder: Path, catalogue: Catalogue) -> int:
    """One ingest, through pickles as between processes; returns how many files were handed out."""
    files = scan_folder(folder)
    catalogue.remove_missing([file.name for file in files])
    tasks = plan_ingest(files, catalogue.files())
    for task in tasks:
        store_result(catalogue, pickle.loads(pickle.dumps(parse_files(pickle.loads(pickle.dumps(task))))))
    return sum(task.units for task in tasks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cifs"
    write(folder, "metals/Ni.cif", cif("Ni", 3.52))
    write(folder, "metals/Cu.cif", cif("Cu", 3.615))
    write(folder, "empty.cif", "")
    return folder


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "catalog.sqlite")


def ids(catalogue: Catalogue) -> list[str]:
    return [summary.id for summary in catalogue.summaries()]


def reasons(catalogue: Catalogue) -> dict[str, str]:
    return {reject.id: reject.reason for reject in catalogue.rejects()}


def test_a_folder_becomes_structures_and_rejects(folder: Path, catalogue: Catalogue) -> None:
    with catalogue:
        assert run(folder, catalogue) == 3
        assert ids(catalogue) == ["metals/Cu", "metals/Ni"]
        assert reasons(catalogue) == {"empty": "empty"}
        assert {f.path: f.outcome for f in catalogue.files().values()} == {
            "empty.cif": "1 reject",
            "metals/Cu.cif": "1 structure",
            "metals/Ni.cif": "1 structure",
        }
        assert catalogue.structure("metals/Ni").source == "metals/Ni.cif"


def test_a_second_run_has_nothing_to_do(folder: Path, catalogue: Catalogue) -> None:
    with catalogue:
        run(folder, catalogue)
        before = catalogue.fingerprint()
        assert run(folder, catalogue) == 0
        assert catalogue.fingerprint() == before


def test_a_file_with_a_new_time_and_the_old_content_is_not_parsed(
    folder: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with catalogue:
        run(folder, catalogue)
        write(folder, "metals/Ni.cif", cif("Ni", 3.52), age_s=30.0)
        monkeypatch.setattr(ingest, "parse_cif", lambda *_: pytest.fail("parsed again"))
        assert run(folder, catalogue) == 1
        assert run(folder, catalogue) == 0
        assert ids(catalogue) == ["metals/Cu", "metals/Ni"]


def test_changed_new_and_vanished_files_are_followed(folder: Path, catalogue: Catalogue) -> None:
    with catalogue:
        run(folder, catalogue)
        write(folder, "metals/Ni.cif", cif("Ni", 3.53))
        write(folder, "metals/Ag.cif", cif("Ag", 4.086))
        (folder / "metals/Cu.cif").unlink()
        (folder / "empty.cif").unlink()
        assert run(folder, catalogue) == 2
        assert ids(catalogue) == ["metals/Ag", "metals/Ni"]
        assert catalogue.structure("metals/Ni").cell.a == 3.53
        assert catalogue.rejects() == []


def test_a_change_within_the_clock_tick_of_the_last_run_is_seen(folder: Path, catalogue: Catalogue) -> None:
    """Same size, same modification time: only the content differs."""
    with catalogue:
        path = write(folder, "metals/Ni.cif", cif("Ni", 3.52), age_s=0.0)
        run(folder, catalogue)
        status = path.stat()
        path.write_text(cif("Ni", 3.53))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert run(folder, catalogue) == 1
        assert catalogue.structure("metals/Ni").cell.a == 3.53


def test_files_parsed_by_other_rules_are_parsed_again(
    folder: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with catalogue:
        run(folder, catalogue)
        monkeypatch.setattr(ingest, "PARSER_VERSION", ingest.PARSER_VERSION + 1)
        assert run(folder, catalogue) == 3
        assert run(folder, catalogue) == 0


def test_a_second_file_of_the_same_id_is_a_reject_until_the_first_is_gone(folder: Path, catalogue: Catalogue) -> None:
    with catalogue:
        write(folder, "metals/Ni.CIF", cif("Ni", 3.9))
        run(folder, catalogue)
        assert catalogue.structure("metals/Ni").cell.a == 3.9
        assert reasons(catalogue) == {"empty": "empty", "metals/Ni": "duplicate_id"}
        assert run(folder, catalogue) == 0
        (folder / "metals/Ni.CIF").unlink()
        run(folder, catalogue)
        assert catalogue.structure("metals/Ni").cell.a == 3.52
        assert reasons(catalogue) == {"empty": "empty"}
        write(folder, "metals/Ni.CIF", cif("Ni", 3.9))
        run(folder, catalogue)
        assert catalogue.structure("metals/Ni").cell.a == 3.9
        assert run(folder, catalogue) == 0


def test_a_file_that_cannot_be_read_is_tried_again(folder: Path, catalogue: Catalogue) -> None:
    with catalogue:
        link = folder / "link.cif"
        link.symlink_to(folder / "elsewhere")
        run(folder, catalogue)
        assert reasons(catalogue)["link"] == "unreadable"
        write(folder, "elsewhere", cif("Pd", 3.89))
        run(folder, catalogue)
        assert "link" in ids(catalogue)
        assert reasons(catalogue) == {"empty": "empty"}


def test_a_bug_in_the_parser_costs_one_file(
    folder: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_on_nickel(text: bytes, *rest: str) -> object:
        return 1 / 0 if b"Ni1" in text else parse_cif(text, *rest)

    monkeypatch.setattr(ingest, "parse_cif", fail_on_nickel)
    with catalogue:
        run(folder, catalogue)
        assert ids(catalogue) == ["metals/Cu"]
        (reject,) = [r for r in catalogue.rejects() if r.reason == "parser_error"]
        assert (reject.id, reject.detail) == ("metals/Ni", "ZeroDivisionError: division by zero")


def test_a_damaged_gzip_file_is_a_reject(folder: Path, catalogue: Catalogue) -> None:
    (folder / "cut.cif.gz").write_bytes(b"\x1f\x8b\x08\x00junk")
    with catalogue:
        run(folder, catalogue)
        assert reasons(catalogue)["cut"] == "unreadable"
        assert "gzip" in next(r.detail for r in catalogue.rejects() if r.id == "cut")


def test_tasks_are_bounded_named_and_can_be_split(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = scan_folder(folder)
    (task,) = plan_ingest(files, {})
    assert task.units == 3
    assert task.cost > 0
    first, second = task.split()
    assert (*first.files, *second.files) == task.files
    assert len({task.id, first.id, second.id}) == 3
    assert IngestTask(task.files).id == task.id
    assert first.split() == ()
    monkeypatch.setattr(ingest, "FILES_PER_TASK", 1)
    assert [t.units for t in plan_ingest(files, {})] == [1, 1, 1]
    monkeypatch.setattr(ingest, "FILES_PER_TASK", 10)
    monkeypatch.setattr(ingest, "BYTES_PER_TASK", files[1].size + 1)
    assert [t.units for t in plan_ingest(files, {})] == [3]
    assert plan_ingest([], {}) == []


def test_a_task_that_was_given_up_leaves_rejects_and_is_tried_again(folder: Path, catalogue: Catalogue) -> None:
    with catalogue:
        (task,) = plan_ingest(scan_folder(folder), {})
        store_result(catalogue, failed_result(task, "the worker was killed"))
        assert set(reasons(catalogue).values()) == {"parser_error"}
        assert run(folder, catalogue) == 3
        assert ids(catalogue) == ["metals/Cu", "metals/Ni"]


def starter(element: str, a: float) -> Structure:
    return parse_cif(cif(element, a), f"starter/{element}", "starter")[0][0]


def test_the_starter_set_is_stored_once_and_followed(folder: Path, catalogue: Catalogue) -> None:
    with catalogue:
        store_starter(catalogue, [starter("Ni", 3.52), starter("Cu", 3.615)])
        assert ids(catalogue) == ["starter/Cu", "starter/Ni"]
        changes = catalogue._connection.total_changes
        store_starter(catalogue, [starter("Ni", 3.52), starter("Cu", 3.615)])
        assert catalogue._connection.total_changes == changes
        store_starter(catalogue, [starter("Ni", 3.53)])
        assert ids(catalogue) == ["starter/Ni"]
        files = scan_folder(folder)
        assert catalogue.remove_missing([STARTER, *(file.name for file in files)]) == []
        assert catalogue.remove_missing([file.name for file in files]) == [STARTER]
        assert ids(catalogue) == []


@pytest.mark.reference
@pytest.mark.skipif(not COD.is_dir(), reason="the CIFs of ../shared/data/cod are not here")
def test_the_real_cifs_are_catalogued_and_each_has_an_outcome(catalogue: Catalogue) -> None:
    with catalogue:
        assert run(COD, catalogue) == 450
        counts = catalogue.counts()
        assert counts.files == 450
        assert counts.structures >= 440
        assert counts.structures + counts.rejects == 450
        assert counts.by_reason == Counter(r.reason for r in catalogue.rejects())
        assert run(COD, catalogue) == 0

"""The catalogue database: what goes in comes out, whole or not at all, and damage is noticed."""

import multiprocessing
import os
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path

import gemmi
import pytest

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import FileRecord, FileResult, stored
from hpc_mlsm.errors import CatalogueError
from hpc_mlsm.structures.structure import Cell, Reject, Site, Structure
from hpc_mlsm.structures.symmetry import operations_of

GROUP = gemmi.find_spacegroup_by_name("F m -3 m")


def metal(identity: str, element: str = "Ni", a: float = 3.52) -> Structure:
    cell = Cell(a, a, a, 90.0, 90.0, 90.0)
    site = Site(f"{element}1", element, 0.0, 0.0, 0.0, u_iso=0.005)
    operations = operations_of(GROUP)
    return Structure(identity, "métal", cell, 225, "F m -3 m", operations, (site,), 9008476, "Wyckoff", ("a", "ü"))


def result(path: str, *structures: Structure, rejects: tuple[Reject, ...] = (), sha256: str = "0") -> FileResult:
    record = FileRecord(path, sha256, 100, 200, 1, "1 structure")
    return FileResult(record, tuple(stored(s) for s in structures), rejects)


def filled(path: Path) -> Catalogue:
    catalogue = Catalogue(path)
    catalogue.add([result("ni.cif", metal("ni")), result("cu.cif", metal("cu", "Cu", 3.615))])
    catalogue.add([result("bad.cif", rejects=(Reject("bad", "bad.cif", "empty", "the file is empty"),))])
    return catalogue


def ids(catalogue: Catalogue) -> list[str]:
    return [summary.id for summary in catalogue.summaries()]


def test_structures_come_back_equal_and_ordered(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as catalogue:
        assert list(catalogue.structures()) == [metal("cu", "Cu", 3.615), metal("ni")]
        assert catalogue.structure("ni") == metal("ni")
        assert [s.id for s in catalogue.structures(["ni", "cu", "ni"])] == ["cu", "ni"]
        assert catalogue.keys() == [("cu", metal("x", "Cu", 3.615).content_hash), ("ni", metal("x").content_hash)]


def test_summaries_say_what_tables_need(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as catalogue:
        nickel = next(catalogue.summaries(["ni"]))
    assert (nickel.formula, nickel.elements, nickel.n_elements, nickel.n_sites, nickel.n_atoms) == (
        "Ni",
        ("Ni",),
        1,
        1,
        4,
    )
    assert (nickel.space_group, nickel.a, nickel.gamma, nickel.cod_id) == (225, 3.52, 90.0, 9008476)
    assert nickel.density == pytest.approx(8.91, abs=0.03)
    assert nickel.volume == pytest.approx(3.52**3)
    assert (nickel.name, nickel.notes, nickel.source, nickel.file) == ("métal", ("a", "ü"), "Wyckoff", "ni.cif")
    assert nickel.content_hash == metal("ni").content_hash


def test_rejects_and_counts(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as catalogue:
        counts = catalogue.counts()
        assert (counts.structures, counts.rejects, counts.files, counts.by_reason) == (2, 1, 3, {"empty": 1})
        assert catalogue.rejects() == [Reject("bad", "bad.cif", "empty", "the file is empty")]
        assert catalogue.files()["ni.cif"] == FileRecord("ni.cif", "0", 100, 200, 1, "1 structure")


def test_the_fingerprint_follows_content_and_not_the_order_of_arrival(tmp_path: Path) -> None:
    with filled(tmp_path / "a.sqlite") as first, Catalogue(tmp_path / "b.sqlite") as second:
        second.add([result("x", metal("cu", "Cu", 3.615)), result("y", replace(metal("ni"), name="nickel"))])
        assert first.fingerprint() == second.fingerprint()
        second.add([result("y", metal("ni", a=3.53))])
        assert first.fingerprint() != second.fingerprint()


def test_a_changed_file_replaces_what_it_gave(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as catalogue:
        catalogue.add([result("ni.cif", metal("ni#a"), metal("ni#b")), result("bad.cif", metal("bad", "Al", 4.05))])
        assert ids(catalogue) == ["bad", "cu", "ni#a", "ni#b"]
        assert catalogue.rejects() == []


def test_an_unchanged_file_only_gets_its_new_time(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as catalogue:
        touched = FileRecord("ni.cif", "0", 100, 999, 1, "")
        catalogue.add([FileResult(touched, unchanged=True)])
        assert catalogue.files()["ni.cif"] == FileRecord("ni.cif", "0", 100, 999, 1, "1 structure")
        assert catalogue.structure("ni") == metal("ni")


def test_vanished_files_take_their_structures_and_rejects_with_them(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as catalogue:
        assert catalogue.remove_missing(["cu.cif"]) == ["bad.cif", "ni.cif"]
        assert ids(catalogue) == ["cu"]
        assert catalogue.counts().rejects == 0
        assert catalogue.remove_missing(["cu.cif"]) == []


@pytest.mark.parametrize("order", [("a.cif", "b.cif"), ("b.cif", "a.cif")])
def test_of_two_files_with_one_id_the_first_by_name_wins_in_any_order(tmp_path: Path, order: tuple[str, str]) -> None:
    elements = {"a.cif": "Ni", "b.cif": "Cu"}
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        refused = [r for path in order for r in catalogue.add([result(path, metal("same", elements[path]))])]
        assert catalogue.structure("same").elements == {"Ni"}
        assert [(r.id, r.source, r.reason) for r in refused] == [("same", "b.cif", "duplicate_id")]
        assert catalogue.rejects() == refused
        # The loser is read again by the next ingest, when the winner may be gone.
        assert catalogue.files()["b.cif"].sha256 == ""
        assert catalogue.files()["a.cif"].sha256 == "0"


def test_unknown_ids_are_named(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as catalogue:
        with pytest.raises(CatalogueError, match="'zn'"):
            catalogue.structure("zn")
        with pytest.raises(CatalogueError, match="1 others"):
            list(catalogue.summaries(["zn", "ni", "hg"]))


def test_more_ids_than_sqlite_takes_at_once(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        names = [f"s{i:04d}" for i in range(1203)]
        entry = stored(metal("x"))
        many = tuple(replace(entry, summary=replace(entry.summary, id=name)) for name in names)
        catalogue.add([FileResult(FileRecord("f", "0", 1, 1, 1, ""), many)])
        assert [s.id for s in catalogue.summaries(names[::-1])] == names


def test_an_error_in_the_middle_leaves_the_catalogue_as_it_was(tmp_path: Path) -> None:
    with filled(tmp_path / "c.sqlite") as catalogue:
        before = catalogue.fingerprint()

        def results() -> object:
            yield result("zn.cif", metal("zn", "Zn", 3.9))
            raise RuntimeError("worker gone")

        with pytest.raises(RuntimeError):
            catalogue.add(results())  # type: ignore[arg-type]
        assert catalogue.fingerprint() == before
        catalogue.add([result("zn.cif", metal("zn", "Zn", 3.9))])
        assert catalogue.counts().structures == 3


def _write_until_killed(path: Path, started: object) -> None:
    with Catalogue(path) as catalogue:
        for number in range(100_000):
            catalogue.add([result(f"{number}.cif", metal(f"{number:06d}a"), metal(f"{number:06d}b"))])
            if number == 5:
                started.set()  # type: ignore[attr-defined]


def test_a_killed_writer_leaves_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_write_until_killed, args=(path, started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with Catalogue(path) as catalogue:
        counts = catalogue.counts()
        assert counts.files >= 6
        assert counts.structures == 2 * counts.files
        assert len(list(catalogue.structures())) == counts.structures


def test_a_reader_neither_waits_for_a_writer_nor_hinders_it(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with filled(path) as writer:
        with Catalogue(path, read_only=True) as reader:
            rows = reader.structures()
            next(rows)
            writer.add([result("zn.cif", metal("zn", "Zn", 3.9))])
            assert [s.id for s in rows] == ["ni"]
            assert reader.counts().structures == 3
        with pytest.raises(CatalogueError, match="reading only"), Catalogue(path, read_only=True) as reader:
            reader.add([result("al.cif", metal("al"))])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.sqlite"]


def test_a_second_writer_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpc_mlsm.catalog.sqlite_file.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "c.sqlite"
    with filled(path), Catalogue(path) as second:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogueError, match="another process"):
            second.add([result("al.cif", metal("al"))])
        blocker.execute("ROLLBACK")
        blocker.close()
        second.add([result("al.cif", metal("al"))])


def test_a_damaged_structure_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    filled(path).close()
    raw = sqlite3.connect(path)
    (original,) = raw.execute("SELECT sites FROM atoms JOIN structures ON structure = key WHERE id = 'ni'").fetchone()
    for damaged in (original.replace("0.005", "0.006"), original[:20], "{}", "[[1]]"):
        raw.execute("UPDATE atoms SET sites = ? WHERE sites LIKE '%Ni%' OR length(sites) < 25", (damaged,))
        raw.commit()
        with Catalogue(path, read_only=True) as catalogue, pytest.raises(CatalogueError, match="'ni' is damaged"):
            list(catalogue.structures())
    raw.execute("UPDATE structures SET a = 3.53 WHERE id = 'cu'")
    raw.commit()
    raw.close()
    with Catalogue(path, read_only=True) as catalogue, pytest.raises(CatalogueError, match="'cu' is damaged"):
        list(catalogue.structures(["cu"]))

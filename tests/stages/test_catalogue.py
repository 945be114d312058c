"""The catalogue of a run follows a mirror, survives kills and damage, and is nobody else's meanwhile."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from deadly_parser import parse_or_die
from slurm_lab import slurm_lab
from small_run import opened, small_config

sys.path.insert(0, str(Path(__file__).parents[1] / "catalog"))
from cif_texts import cif, write
from rsync_daemon import daemon, entry_path, make_tree, put

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.parsed import parsed_beside
from hpc_mlsm.catalog.rsync import Politeness
from hpc_mlsm.config.load import plain
from hpc_mlsm.errors import CatalogueError, ConfigError, RunError, StoreError
from hpc_mlsm.runtime.events import ignore
from hpc_mlsm.stages import catalogue, ingest, sync

__all__ = ["slurm_lab"]
QUICK = Politeness(0, 0.0, 10, 1)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str, Path]]:
    """The source's tree, its address, and the folder of the mirror."""
    with daemon(make_tree(tmp_path / "cod"), tmp_path / "daemon") as source:
        yield tmp_path / "cod", source, tmp_path / "mirror"


def ingested(run: Path, folder: Path, *overrides: str) -> ingest.IngestSummary:
    with opened(run, small_config(folder, *overrides)) as context:
        return ingest.run(context)


def test_two_revisions_of_a_mirror_give_the_differences_between_them(
    mirror: tuple[Path, str, Path], tmp_path: Path
) -> None:
    tree, source, folder = mirror
    request = sync.SyncRequest(source, folder, (), QUICK)
    sync.run(request, ignore)
    run = tmp_path / "run"
    assert ingested(run, folder).files_parsed == 5
    put(tree, "1000000", cif("Ni", 3.53), age_s=500)
    put(tree, "1000002", cif("Pt", 3.92))
    put(tree, "1000001", "<html>gone</html>", age_s=400)
    (tree / entry_path("2010500")).unlink()
    sync.run(request, ignore)
    second = ingested(run, folder)
    assert (second.files_parsed, second.files_removed, second.revision) == (3, 1, 2)
    found = catalogue.diff(f"{run}@1", str(run))
    assert (found.added, found.changed, found.withdrawn) == (("1000002",), ("1000000",), ("2010500",))
    assert (found.rejected, found.unchanged) == ((("1000001", "not_cif"),), 2)
    afresh = tmp_path / "afresh"
    ingested(afresh, folder)
    assert catalogue.diff(str(run), str(afresh)).is_empty
    (names, rows) = catalogue.query(run / "catalog.sqlite", "SELECT source FROM revisions ORDER BY number", 0)
    assert names == ["source"]
    assert [f"sync {number} of {source}" in row[0] for number, row in enumerate(rows, 1)] == [True, True]


def test_ids_that_clash_are_refused_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "cifs"
    write(folder, "a.cif", cif("Ni", 3.52) + cif("Cu", 3.6))
    write(folder, "a#Ni.cif", cif("Ag", 4.0))
    summary = ingested(tmp_path / "run", folder)
    assert (summary.structures, summary.rejects) == (2, 1)
    _, rows = catalogue.query(tmp_path / "run" / "catalog.sqlite", "SELECT id, reason, detail FROM rejects", 0)
    assert rows[0][:2] == ("a#Ni", "duplicate_id")
    assert "rename or remove one of the two" in str(rows[0][2])


def test_a_second_ingest_is_told_who_is_at_work(tmp_path: Path) -> None:
    write(tmp_path / "cifs", "a.cif", cif("Ni", 3.52))
    config = small_config(tmp_path / "cifs")
    with opened(tmp_path / "run", config), pytest.raises(RunError, match=rf"in use by .*{os.getpid()}"):
        ingested(tmp_path / "run", tmp_path / "cifs")


def test_a_killed_ingest_goes_on_without_losing_or_repeating(tmp_path: Path) -> None:
    folder, run = tmp_path / "cifs", tmp_path / "run"
    for number in range(700):
        write(folder, f"{number:04d}.cif", cif("Ni", 3.0 + number / 1000))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain(small_config(folder))))
    program = "from hpc_mlsm.cli.main import main; main()"
    command = [sys.executable, "-c", program, "catalog", "ingest", str(tmp_path / "c.yaml"), "--run", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path = run / "catalog.sqlite"
    while not _files(path):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = _files(path)
    assert 0 < done < 700
    summary = ingested(run, folder)
    assert (summary.structures, summary.files_parsed, summary.revision) == (700, 700 - done, 1)
    assert not catalogue.check(path).problems


def _files(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as database:
            return int(database.execute("SELECT count(*) FROM files").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_a_damaged_catalogue_is_found_and_made_again_without_parsing(tmp_path: Path) -> None:
    folder, run = tmp_path / "cifs", tmp_path / "run"
    for number in range(60):
        write(folder, f"{number}.cif", cif("Ni", 3.0 + number / 100))
    ingested(run, folder)
    path = run / "catalog.sqlite"
    assert catalogue.check(path) == catalogue.CheckSummary(60, 0, ())
    catalogue.backup(path, tmp_path / "copy.sqlite")
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(9 * 4096))
    assert catalogue.check(path).problems
    with opened(run, small_config(folder)) as context:
        summary, aside = catalogue.rebuild(context)
    assert (summary.structures, summary.files_parsed) == (60, 0)
    assert aside is not None
    assert aside.exists()
    assert catalogue.diff(str(tmp_path / "copy.sqlite"), str(run)).is_empty
    assert parsed_beside(path).exists()


def test_a_rebuilt_catalogue_keeps_revisions_that_can_still_be_read(tmp_path: Path) -> None:
    folder, run = tmp_path / "cifs", tmp_path / "run"
    write(folder, "a.cif", cif("Ni", 3.52))
    ingested(run, folder)
    write(folder, "b.cif", cif("Cu", 3.6))
    ingested(run, folder)
    with opened(run, small_config(folder)) as context:
        summary, _ = catalogue.rebuild(context)
    assert summary.revision == 2
    assert catalogue.diff(f"{run}@1", f"{run}@2").added == ("b",)


def test_a_changed_structure_is_seen_by_a_check(tmp_path: Path) -> None:
    write(tmp_path / "cifs", "a.cif", cif("Ni", 3.52))
    ingested(tmp_path / "run", tmp_path / "cifs")
    path = tmp_path / "run" / "catalog.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE structures SET a = 4")
    (problem,) = catalogue.check(path).problems
    assert "'a' is damaged" in problem


def test_queries_cannot_change_anything(tmp_path: Path) -> None:
    write(tmp_path / "cifs", "a.cif", cif("Ni", 3.52))
    ingested(tmp_path / "run", tmp_path / "cifs")
    path = tmp_path / "run" / "catalog.sqlite"
    before = path.read_bytes()
    for sql in ("DELETE FROM structures", "PRAGMA user_version = 9", "ATTACH 'x' AS y", "SELECT nothing", "WITH"):
        with pytest.raises(ConfigError, match="the query cannot be run"):
            catalogue.query(path, sql, 5)
    assert catalogue.query(path, "SELECT id FROM structures WHERE formula LIKE 'N%'", 5) == (["id"], [("a",)])
    assert path.read_bytes() == before
    with pytest.raises(CatalogueError, match="no revision 7"):
        catalogue.diff(f"{tmp_path / 'run'}@7", str(path))
    with pytest.raises(StoreError, match="cannot be written"):
        catalogue.backup(path, tmp_path / "nowhere" / "copy.sqlite")


@pytest.mark.slow
def test_a_file_that_kills_its_worker_is_found_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifs"
    for number in range(8):
        write(folder, f"{number}.cif", cif("Ni", 3.0 + number / 100) + ("# DEADLY\n" if number == 5 else ""))
    monkeypatch.setattr(ingest, "parse_files", parse_or_die)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    workers = ("executor.kind=local", "executor.workers=1", "executor.retries=0")
    summary = ingested(tmp_path / "run", folder, *workers)
    assert (summary.structures, summary.rejects) == (7, 1)
    _, rows = catalogue.query(tmp_path / "run" / "catalog.sqlite", "SELECT id, reason FROM rejects", 0)
    assert rows == [("5", "parser_error")]


def test_new_columns_come_with_every_structure(tmp_path: Path) -> None:
    text = cif("Ni", 3.52) + "_journal_year 1950\n_diffrn_ambient_temperature 90\n_cell_formula_units_Z 4\n"
    write(tmp_path / "cifs", "a.cif", text)
    ingested(tmp_path / "run", tmp_path / "cifs")
    with Catalogue(tmp_path / "run" / "catalog.sqlite", read_only=True) as found:
        (one,) = found.summaries()
        assert (one.year, one.temperature, one.z, one.flags) == (1950, 90.0, 4, ())


@pytest.mark.slow
@pytest.mark.slurm
def test_jobs_on_a_cluster_read_cifs_and_go_on_after_a_kill(slurm_lab: Path, tmp_path: Path) -> None:
    """Workers in Slurm jobs; the driver is killed, and the next one parses only what is missing."""
    folder, run = tmp_path / "cifs", tmp_path / "run"
    for number in range(2000):
        write(folder, f"{number:04d}.cif", cif("Ni", 3.0 + number / 1000))
    jobs = ("executor.kind=slurm", "executor.workers=2", "executor.interface=lo", "executor.memory_per_worker_mb=700")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain(small_config(folder, *jobs))))
    program = "from hpc_mlsm.cli.main import main; main()"
    command = [sys.executable, "-c", program, "catalog", "ingest", str(tmp_path / "c.yaml"), "--run", str(run)]
    process = subprocess.Popen(command)
    while not _files(run / "catalog.sqlite"):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = _files(run / "catalog.sqlite")
    assert subprocess.run(command, check=False).returncode == 0
    with Catalogue(run / "catalog.sqlite", read_only=True) as found:
        assert found.counts().structures == 2000
    assert done < 2000

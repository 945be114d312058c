"""The catalog commands from the user's side."""

import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "catalog"))
from cif_texts import cif, write
from rsync_daemon import daemon, make_tree

from hpc_mlsm.cli.main import app
from hpc_mlsm.errors import CatalogueError, ConfigError

CONFIG = """
name: metals
source: {{starter: false, cif_folder: {folder}}}
select: {{max_atoms: 4, one_of: [[transition_metals]]}}
executor: {{kind: inline}}
"""


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["catalog", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a catalogue of three metals, one of them twice."""
    write(tmp_path / "cifs", "Ni.cif", cif("Ni", 3.52))
    write(tmp_path / "cifs", "Ni-again.cif", cif("Ni", 3.521))
    write(tmp_path / "cifs", "Al.cif", cif("Al", 4.05))
    (tmp_path / "metals.yaml").write_text(CONFIG.format(folder=tmp_path / "cifs"))
    invoke("ingest", tmp_path / "metals.yaml", "--run", tmp_path / "run")
    return tmp_path / "run"


def test_selection_query_duplicates_and_differences_are_shown(run: Path, tmp_path: Path) -> None:
    shown = invoke("select", run, "--ids", tmp_path / "ids")
    assert [line.split()[1::2] for line in shown.splitlines() if "one_of" in line] == [["one_of", "1", "2"]]
    assert (tmp_path / "ids").read_text() == "Ni\nNi-again\n"
    assert invoke("query", run, "formula = 'Al'", "--csv").splitlines()[1].startswith("Al,Al,F m -3 m,4.05")
    assert invoke("query", run, "SELECT count(*) n FROM structures", "--csv").split() == ["n", "3"]
    assert "1 structures in 1 groups are there more than once" in " ".join(invoke("duplicates", run).split())
    assert invoke("duplicates", run, "--csv").splitlines()[1] == "Ni,225,Ni,Ni-again"
    write(tmp_path / "cifs", "Cu.cif", cif("Cu", 3.6))
    invoke("ingest", run)
    assert "Cu" in invoke("diff", f"{run}@1", run, "--ids")
    assert len(invoke("revisions", run).splitlines()) >= 5


def test_check_backup_and_rebuild(run: Path, tmp_path: Path) -> None:
    assert "all whole" in invoke("check", run)
    invoke("backup", run, tmp_path / "copy.sqlite")
    with pytest.raises(ConfigError, match="exists; name another file"):
        invoke("backup", run, tmp_path / "copy.sqlite")
    (run / "catalog.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(CatalogueError, match="is damaged"):
        invoke("check", run)
    assert "0 files read" in " ".join(invoke("rebuild", run).split())
    assert "all whole" in invoke("check", run)


def test_a_selection_that_selects_nothing_names_the_rule(run: Path) -> None:
    with pytest.raises(CatalogueError, match=r"select\.max_volume = 1 leaves none of 2 structures"):
        invoke("select", run, "--set", "select.max_volume=1")


@pytest.mark.skipif(shutil.which("rsync") is None, reason="the program rsync is not installed")
def test_sync_shows_first_and_mirrors_then(tmp_path: Path) -> None:
    with daemon(make_tree(tmp_path / "cod"), tmp_path / "daemon") as source:
        arguments = ("sync", source, tmp_path / "mirror", "--pause", "0", "--range", "1/00")
        assert "bring 3 files" in invoke(*arguments, "--dry-run")
        assert not (tmp_path / "mirror").exists()
        assert "3 files added" in " ".join(invoke(*arguments).split())

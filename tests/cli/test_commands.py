"""The command line as a user meets it: what is printed, and the exit status."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpc_mlsm.config.load import load_config
from hpc_mlsm.structures.starter import starter_set

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "run"


def hpc_mlsm(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would."""
    command = [sys.executable, "-m", "hpc_mlsm.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=_environment())


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "COLUMNS": "200", "TERM": "dumb"}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few metals and oxides, made by one command."""
    folder = tmp_path_factory.mktemp("cli")
    config = {
        "name": "metals",
        "select": {"allowed": ["Ni", "Cu", "Al", "Fe", "W", "Mg", "Si", "O"]},
        "simulate": {"variants": 12, "grid": {"r_max": 15.0}},
        "train": {"boosted": {"rounds": 5, "max_depth": 3}},
        "predict": {"samples": 2},
        "executor": {"kind": "inline"},
    }
    (folder / "metals.yaml").write_text(yaml.safe_dump(config))
    result = hpc_mlsm("run", "metals.yaml", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout
    (folder / "output.txt").write_text(result.stdout)
    return folder


def test_one_command_runs_everything_and_names_the_report(run_folder: Path) -> None:
    output = (run_folder / "output.txt").read_text()
    for stage in ("ingest", "simulate", "group", "train", "evaluate", "predict"):
        assert f"{stage}:" in output
    assert (run_folder / "runs" / "metals" / "reports" / "report.html").is_file()
    assert "Rank" in output
    assert "Traceback" not in output


def test_status_of_a_finished_run_is_done(run_folder: Path) -> None:
    result = hpc_mlsm("status", "runs/metals", cwd=run_folder)
    assert result.returncode == 0
    assert result.stdout.count("done") == 7


def test_plan_prints_the_projection(run_folder: Path) -> None:
    result = hpc_mlsm("plan", "metals.yaml", "--run", "planned", cwd=run_folder)
    assert result.returncode == 0, result.stderr
    for word in ("wall time", "core-hours", "memory of a worker", "disk", "gradients"):
        assert word in result.stdout


def test_predict_filters_by_elements(run_folder: Path) -> None:
    sample = run_folder / "runs" / "metals" / "predictions" / "samples" / "sample-1.gr"
    result = hpc_mlsm("predict", "runs/metals", sample, "--require", "O", "--out", "only-oxides", cwd=run_folder)
    assert result.returncode == 0, result.stderr
    rows = list(csv.DictReader((run_folder / "only-oxides" / "predictions.csv").read_text().splitlines()))
    assert rows
    assert all("O" in row["formula"] for row in rows)


def test_a_bundle_predicts_far_from_its_run(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder / "runs" / "metals" / "models" / "boosted", tmp_path / "bundle")
    sample = run_folder / "runs" / "metals" / "predictions" / "samples" / "sample-1.gr"
    result = hpc_mlsm("predict", "bundle", sample, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for name in ("predictions.csv", "predictions.parquet", "predictions.nxs", "rejects.csv"):
        assert (tmp_path / "predictions" / name).is_file()


def test_bad_patterns_are_set_aside_and_the_rest_goes_on(run_folder: Path, tmp_path: Path) -> None:
    sample = (run_folder / "runs" / "metals" / "predictions" / "samples" / "sample-1.gr").read_text()
    folder = tmp_path / "patterns"
    folder.mkdir()
    (folder / "good.gr").write_text(sample)
    (folder / "binary.gr").write_bytes(bytes(range(256)) * 20)
    (folder / "short.gr").write_text("\n".join(sample.splitlines()[:60]))
    result = hpc_mlsm("predict", run_folder / "runs" / "metals", folder, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rejects = (run_folder / "runs" / "metals" / "predictions" / "rejects.csv").read_text()
    assert "binary" in rejects
    assert "short.gr" in rejects


def test_no_usable_pattern_is_an_error(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.gr").write_text("")
    result = hpc_mlsm("predict", run_folder / "runs" / "metals", tmp_path / "empty.gr", cwd=tmp_path)
    assert result.returncode == 1
    assert "empty" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "nowhere.yaml"), "nowhere.yaml"),
        (("run", CONFIGS / "pdf.yaml", "--set", "simulate.variantz=3"), "did you mean variants"),
        (("run", CONFIGS / "pdf.yaml", "--set", "simulate.variants=many"), "simulate.variants"),
        (("run", CONFIGS / "pdf.yaml", "--set", "simulate.variants"), "key=value"),
        (("ingest", CONFIGS / "pdf.yaml", "--set", "source.cif_folder=nothing-here"), "nothing-here"),
        (("status", "."), "no run directory"),
        (("predict", "."), "no run directory"),
    ],
)
def test_a_mistake_gets_one_message_and_a_status(tmp_path: Path, arguments: tuple[object, ...], expected: str) -> None:
    result = hpc_mlsm(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_a_run_of_another_schema_is_refused(run_folder: Path, tmp_path: Path) -> None:
    text = (run_folder / "runs" / "metals" / "run.yaml").read_text()
    (tmp_path / "run.yaml").write_text(text.replace("schema: 1", "schema: 99"))
    for arguments in (("status", tmp_path), ("run", run_folder / "metals.yaml", "--run", tmp_path)):
        result = hpc_mlsm(*arguments, cwd=tmp_path)
        assert result.returncode == 1
        assert "schema 99" in result.stderr
    assert "99" in (tmp_path / "run.yaml").read_text()


def test_every_shipped_configuration_is_valid() -> None:
    files = sorted(CONFIGS.glob("*.yaml"))
    assert {file.stem for file in files} >= {"quickstart", "pdf", "pdf-paper", "pdf-repository"}
    assert load_config(CONFIGS / "pdf-paper.yaml").simulate.q_max == (25.0, 25.0)
    assert load_config(CONFIGS / "pdf-repository.yaml").simulate.q_max == (20.0, 20.0)
    assert all(load_config(file).name == file.stem for file in files)


def test_the_starter_set_is_the_default_source() -> None:
    assert len(starter_set()) >= 80

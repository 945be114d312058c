"""Nine models from one configuration, end to end, at a reduced size."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from network_runs import NETWORK
from powder_runs import GRID, write_molecules

CONFIG = Path(__file__).parents[2] / "configs" / "run" / "powder-nine.yaml"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed (extra cnn)")
def test_one_configuration_trains_and_cross_validates_nine_models(tmp_path: Path) -> None:
    smaller = {
        "source.cif_folder": str(write_molecules(tmp_path / "cifs", each=4)),
        "simulate.grid": GRID,
        "simulate.caglioti_w": 0.03,
        "classify.models": ["forest", "extra_trees", "cnn"],
        "classify.folds": {"folds": 3},
        "train.forest.trees": 5,
        "train.extra_trees.trees": 5,
        "train.cnn": NETWORK | {"epochs": 1},
        "executor.kind": "inline",
    }
    options = [word for key, value in smaller.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "hpc_mlsm.cli.main", "run", str(CONFIG), "--run", str(tmp_path / "run"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    parts = ("", "-organic", "-inorganic")
    bundles = {path.name for path in (tmp_path / "run" / "models").iterdir() if not path.name.endswith("-training")}
    assert bundles == {f"{model}{part}" for model in ("forest", "extra_trees", "cnn") for part in parts}
    tables = {path.stem for path in (tmp_path / "run" / "evaluation").glob("*.csv")}
    assert {"models-full", "models-organic", "models-inorganic", "class-organic-cnn", "confusion-full-forest"} <= tables
    rows = (tmp_path / "run" / "evaluation" / "models-organic.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["Model", "forest", "extra_trees", "cnn", "dummy"]
    assert (tmp_path / "run" / "reports" / "report.html").is_file()

"""A chain of jobs for powder patterns on a real cluster, from CIFs to the report, a network trained by two ranks."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from slurm_lab import REPOSITORY

sys.path.append(str(REPOSITORY / "tests" / "stages"))

import yaml
from _lab_run import hpc_mlsm
from _slurm import outcome, wait_for_end
from network_runs import NETWORK
from powder_archives import measured, write_columns
from powder_runs import GRID

from hpc_mlsm.models.cnn_bundle import load_cnn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed (extra cnn)"
    ),
]


def test_forests_and_a_network_of_two_ranks_run_to_their_report(slurm_lab: Path, folder: Path) -> None:
    folder.mkdir()
    write_columns(folder / "cube.xy", *measured(5.0, 5.0))
    config = {
        "name": "powder",
        "simulate": {"kind": "powder", "variants": 1, "grid": GRID, "caglioti_w": 0.03},
        "classify": {"models": ["forest", "extra_trees", "cnn"], "folds": {"folds": 3, "rare": "spread"}},
        "train": {"forest": {"trees": 8}, "extra_trees": {"trees": 8}, "cnn": NETWORK | {"epochs": 2}},
        "predict": {"patterns": [str(folder / "cube.xy")]},
    }
    (folder / "powder.yaml").write_text(yaml.safe_dump(config))
    done = hpc_mlsm("submit", folder / "powder.yaml", "--site", "lab", "--run", folder / "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    jobs = {job["stage"]: job for job in json.loads((folder / "run" / "jobs.json").read_text())}
    assert list(jobs) == ["ingest", "simulate", "train", "evaluate", "predict", "report"]
    for job in jobs.values():
        wait_for_end(job["job_id"])
        assert outcome(job["job_id"]) == "COMPLETED 0", Path(job["log"]).read_text()
    assert load_cnn(folder / "run" / "models" / "cnn").info.metrics["ranks"] == 2
    rows = (folder / "run" / "evaluation" / "models-full.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["Model", "forest", "extra_trees", "cnn", "dummy"]
    assert len((folder / "run" / "predictions" / "predictions.csv").read_text().splitlines()) == 1 + 3
    assert (folder / "run" / "reports" / "report.html").is_file()

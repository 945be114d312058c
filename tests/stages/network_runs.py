"""Runs of powder patterns that a small network learns within seconds, and commands that train it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from small_run import opened

from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.stages import ingest, simulate

NETWORK = {
    "widths": [8, 16],
    "epochs": 3,
    "batch": 64,
    "learning_rate": 5e-3,
    "warmup_epochs": 1.0,
    # Dropout differs between numbers of ranks; all else does not.
    "dropout": 0.0,
    "threads": 1,
    "device": "cpu",
}


def network_config(*overrides: str) -> RunConfig:
    """The starter set on a coarse grid, and a small network."""
    raw = {
        "name": "network",
        "simulate": {
            "kind": "powder",
            "variants": 1,
            "grid": {"two_theta_min": 10.0, "two_theta_max": 80.0, "two_theta_step": 0.2},
            "caglioti_w": 0.1,
        },
        "train": {"cnn": NETWORK},
        "classify": {"cross_validate": False},
        "executor": {"kind": "inline"},
    }
    return parse_config(raw, overrides)


def simulated(folder: Path, *overrides: str) -> Path:
    """A run that has its patterns."""
    with opened(folder, network_config(*overrides)) as context:
        ingest.run(context)
        simulate.run(context)
    return folder


def history(run: Path, name: str = "cnn") -> list[dict[str, Any]]:
    """Epochs of the training, so far."""
    path = run / "models" / f"{name}-training" / "history.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found


def command(run: Path, *overrides: str) -> list[str]:
    """What trains the network of a run."""
    options = [word for override in overrides for word in ("--set", override)]
    return [sys.executable, "-m", "hpc_mlsm.cli.main", "train", str(run), *options]


def ended(words: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(words, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=300, check=False)

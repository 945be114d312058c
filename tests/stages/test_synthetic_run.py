"""Made-up crystals as the source of a run: resumed, the same over any executor, and called what they are."""

import sqlite3
from pathlib import Path

import pytest
from small_run import opened

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.stages import evaluate, ingest, simulate, train
from hpc_mlsm.stages.ingest import IngestSummary

CRYSTALS = 24


def synthetic_config(*overrides: str) -> RunConfig:
    raw = {
        "name": "made-up",
        "source": {"starter": False, "synthetic": {"count": CRYSTALS, "max_atoms": 24}},
        "simulate": {
            "kind": "powder",
            "grid": {"two_theta_min": 10.0, "two_theta_max": 60.0, "two_theta_step": 0.2},
            "caglioti_w": 0.1,
        },
        "train": {"forest": {"trees": 4}},
        "classify": {"models": ["forest"], "folds": {"folds": 2, "rare": "spread"}},
        "executor": {"kind": "inline"},
    }
    return parse_config(raw, overrides)


def ingested(folder: Path, *overrides: str) -> IngestSummary:
    with opened(folder, synthetic_config(*overrides)) as context:
        return ingest.run(context)


def test_crystals_are_made_once_and_go_with_the_setting_that_asked_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpc_mlsm.catalog.synthetic.PER_TASK", 8)
    first = ingested(tmp_path)
    assert (first.structures, first.made_up) == (CRYSTALS, CRYSTALS)
    assert ingested(tmp_path).made_up == 0
    with sqlite3.connect(tmp_path / "catalog.sqlite") as connection:  # as if killed after two tasks
        (last,) = connection.execute("SELECT max(path) FROM files").fetchone()
        connection.execute("DELETE FROM structures WHERE file = ?", (last,))
        connection.execute("DELETE FROM files WHERE path = ?", (last,))
    assert ingested(tmp_path).made_up == 8
    fewer = ingested(tmp_path, "source.synthetic.count=16")
    assert (fewer.structures, fewer.made_up) == (16, 0)
    mixed = ingested(tmp_path, "source.synthetic.count=16", "source.starter=true")
    assert mixed.structures == 16 + 229


@pytest.mark.slow
def test_workers_make_the_crystals_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingested(tmp_path / "one")
    monkeypatch.setattr("hpc_mlsm.catalog.synthetic.PER_TASK", 5)
    ingested(tmp_path / "two", "executor.kind=local", "executor.workers=2")
    keys = []
    for name in ("one", "two"):
        with Catalogue(tmp_path / name / "catalog.sqlite", read_only=True) as catalogue:
            keys.append(catalogue.keys())
    assert keys[0] == keys[1]


def test_tables_and_catalogue_say_that_the_crystals_are_made_up(tmp_path: Path) -> None:
    config = synthetic_config()
    with opened(tmp_path, config) as context:
        ingest.run(context)
        simulate.run(context)
        train.run(context)
        evaluate.run(context)
    assert f"{CRYSTALS} of the structures are synthetic crystals" in (tmp_path / "evaluation/tables.txt").read_text()
    with Catalogue(tmp_path / "catalog.sqlite", read_only=True) as catalogue:
        found = list(catalogue.summaries())
    assert {one.source for one in found} == {"synthetic"}
    assert all(one.id.startswith("synthetic/") for one in found)


def test_a_source_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are no structures"):
        synthetic_config("source.synthetic.count=0")

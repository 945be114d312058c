"""Cross-validation as part of a run of powder patterns, from its configuration to its tables."""

import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from powder_runs import powder_config, simulated, write_molecules
from small_run import opened

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.errors import ConfigError, RunError
from hpc_mlsm.evaluation.fold_files import DUMMY, FoldStudy, read_study
from hpc_mlsm.models.forest_bundle import load_forest
from hpc_mlsm.runtime.events import Event, Note, TaskFinished
from hpc_mlsm.stages import evaluate, train
from hpc_mlsm.stages.data_sets import LEFT_OUT, labelled_sets
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.status import run_status
from hpc_mlsm.stages.submit import stages_of


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run before its training: the starter set and a few molecules, the two data sets of the paper in it."""
    folder = tmp_path_factory.mktemp("powder")
    molecules = write_molecules(folder / "cifs")
    config = powder_config(source={"starter": True, "cif_folder": str(molecules)})
    return simulated(folder / "run", config)


@pytest.fixture
def run(patterns: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(patterns, tmp_path / "run"))


def study_of(run: Path, *overrides: str, heard: list[Event] | None = None) -> FoldStudy:
    with opened(run, powder_config(*overrides), heard) as context:
        found = evaluate.run(context)
    assert isinstance(found, FoldStudy)
    return found


def test_both_forests_are_trained_and_cross_validated_on_all_data_sets_of_a_configuration(run: Path) -> None:
    wanted = "classify.data_sets=[full, organic, inorganic]"
    heard: list[Event] = []
    with opened(run, powder_config(wanted), heard) as context:
        trained = train.run(context)
    names = {path.parent.name for path in (run / "models").glob("*/forest.json")}
    assert names == {f"{model}{part}" for model in ("forest", "extra_trees") for part in ("", "-organic", "-inorganic")}
    assert load_forest(run / "models" / "forest-organic").info.metrics["structures"] == 18
    said = [event.text for event in heard if isinstance(event, Note)]
    assert any("data set organic: 18 structures (6 triclinic, 6 monoclinic, 6 orthorhombic" in text for text in said)
    study = study_of(run, wanted)
    assert [(one.data_set, one.model) for one in study.results] == [
        (part, model) for part in ("full", "organic", "inorganic") for model in ("forest", "extra_trees", DUMMY)
    ]
    assert study.excluded["organic"]["chemistry"] == 229
    full = {one.model: one for one in study.results if one.data_set == "full"}
    # Far above the dummy, which is right on the share of the cubic structures.
    assert full["forest"].mean_std("accuracy")[0] > full[DUMMY].mean_std("accuracy")[0] + 0.15
    folder = run / "evaluation"
    assert {"classes.csv", "models-full.csv", "class-organic-forest.csv", "confusion-full-extra_trees.csv"} <= {
        path.name for path in folder.glob("*.csv")
    }
    assert "18" in (folder / "tables.txt").read_text()
    with opened(run, powder_config(wanted)) as context:
        assert [one.reused for one in train.run(context).models] == [True] * 6  # type: ignore[union-attr]
    assert len(trained.models) == 6  # type: ignore[union-attr]
    states = {one.stage: one.state for one in run_status(RunDirectory(run, "powder"), powder_config(wanted))}
    assert (states["train"], states["evaluate"]) == ("done", "done")
    assert "group" not in {*states, *stages_of(powder_config())}


def test_no_structure_is_on_both_sides_nor_a_composition_where_the_configuration_says_so(run: Path) -> None:
    with Catalogue(run / "catalog.sqlite", read_only=True) as catalogue:
        found = list(catalogue.summaries())
    for disjoint in ("structure", "composition"):
        config = powder_config(f"classify.folds.disjoint={disjoint}", "classify.folds.rare=spread")
        (part,) = labelled_sets(RunDirectory(run, "powder"), config)
        folds = part.folds(config.classify.folds)
        assert set(folds.fold_of.tolist()) == {0, 1, 2}
        sides: dict[tuple[str, int], set[int]] = defaultdict(set)
        for one, fold in zip(found, folds.fold_of, strict=True):
            sides[one.formula, one.space_group].add(int(fold))
        # All molecules have one composition.
        assert (max(map(len, sides.values())) == 1) == (disjoint == "composition")


def test_structures_outside_a_data_set_are_in_no_fold(run: Path) -> None:
    config = powder_config("classify.data_sets=[inorganic]")
    (part,) = labelled_sets(RunDirectory(run, "powder"), config)
    with Catalogue(run / "catalog.sqlite", read_only=True) as catalogue:
        outside = np.array([one.chemistry != "inorganic" for one in catalogue.summaries()])
    assert outside.sum() == 18
    np.testing.assert_array_equal(part.folds(config.classify.folds).fold_of == LEFT_OUT, outside)


def test_a_study_that_is_there_is_read_and_another_seed_of_the_folds_is_another_study(run: Path) -> None:
    first = study_of(run)
    heard: list[Event] = []
    again = study_of(run, heard=heard)
    assert not any(isinstance(event, TaskFinished) for event in heard)
    np.testing.assert_array_equal(again.results[0].confusion, first.results[0].confusion)
    other = study_of(run, "classify.folds.seed=1")
    assert other.fingerprint != first.fingerprint
    assert read_study(run / "evaluation") is not None


def test_workers_give_the_scores_of_one_process(run: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "other"))
    one = study_of(run)
    two = study_of(copied, "executor.kind=local", "executor.workers=2", "train.forest.trees_per_task=3")
    for mine, other in zip(one.results, two.results, strict=True):
        np.testing.assert_array_equal(mine.confusion, other.confusion)


@pytest.mark.slow
def test_a_killed_cross_validation_goes_on_from_the_trees_that_are_done(run: Path) -> None:
    config = powder_config("train.forest.trees=3000", "train.forest.trees_per_task=2", "classify.models=[forest]")
    RunDirectory(run, "powder").save(config)
    votes = run / "evaluation" / "folds" / "forest"
    command = [sys.executable, "-m", "hpc_mlsm.cli.main", "evaluate", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(votes.glob("*.votes"))) < 20:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in votes.glob("*.votes")}
    fewer = "train.forest.trees=40"
    study_of(run, "classify.models=[forest]", fewer, "train.forest.trees_per_task=2")
    after = {path.name: path.stat().st_mtime_ns for path in votes.glob("*.votes")}
    assert {name: after[name] for name in done} == done


def test_a_class_with_fewer_members_than_folds_is_named_before_anything_is_trained(run: Path) -> None:
    with (
        opened(run, powder_config("classify.folds.folds=10")) as context,
        pytest.raises(ConfigError, match=r"data set full: 10 folds need as many.*triclinic \(6\).*lower folds to 6"),
    ):
        train.run(context)
    assert not (run / "models").exists()
    merged = study_of(run, "classify.folds.folds=14", "classify.folds.rare=merge", "classify.models=[forest]")
    assert merged.results[0].classes == ("orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic", "other")


def test_networks_need_a_fold_that_ends_the_training_besides_the_one_that_is_tested() -> None:
    with pytest.raises(ConfigError, match=r"classify.folds.folds = 2.*3 at least"):
        powder_config("classify.models=[cnn]", "classify.folds.folds=2")
    powder_config("classify.models=[forest]", "classify.folds.folds=2")


def test_a_data_set_of_one_crystal_system_is_refused_by_name(run: Path) -> None:
    config = powder_config("classify.data_sets=[organic]", "select.systems=[triclinic, cubic]")
    with opened(run, config) as context, pytest.raises(RunError, match="data set organic has 6 structures of fewer"):
        train.run(context)


def test_a_network_without_tensorflow_names_the_extra_before_anything_is_done(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        opened(run, powder_config("classify.models=[forest, cnn]")) as context,
        pytest.raises(ConfigError, match=r"hpc_mlsm\[cnn\]"),
    ):
        train.run(context)
    assert not (run / "models").exists()

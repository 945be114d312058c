"""An update of a run of powder patterns: counted, compared with a run of the new state alone, and its other answers."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from powder_runs import powder_config
from small_run import cif_text, opened
from test_update import scaled

from hpc_mlsm.archive.powder_answers_file import read_answers_nexus
from hpc_mlsm.config.load import plain
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.powder_models import bundle_hashes, load_powder_models
from hpc_mlsm.runtime.events import Event, Note
from hpc_mlsm.stages import (
    cross_validate,
    evaluate,
    ingest,
    predict_powder,
    predict_powder_archive,
    simulate,
    train,
    update,
)
from hpc_mlsm.stages.predict_archive import read_predictions
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.labels import system_index
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure

N = 60


def chosen() -> list[Structure]:
    """Structures of the starter set, of each crystal system in turn."""
    by_system: dict[int, list[Structure]] = {}
    for one in starter_set():
        by_system.setdefault(system_index(one.space_group), []).append(one)
    several = [own for own in by_system.values() if len(own) > 9]
    return [one for turn in zip(*several, strict=False) for one in turn]


def config_of(cifs: Path, *overrides: str) -> RunConfig:
    return powder_config(*overrides, source={"starter": False, "cif_folder": str(cifs)})


def cif_names(cifs: Path) -> list[str]:
    return sorted(path.stem for path in cifs.glob("*.cif"))


def second_revision(cifs: Path) -> None:
    """Two structures more, one changed, nine gone, and one broken."""
    names = cif_names(cifs)
    for structure in chosen()[N : N + 2]:
        (cifs / f"more-{structure.formula}.cif").write_text(cif_text(structure))
    scaled(cifs, chosen()[3].formula, 1.06, names[3])
    for name in names[10:19]:
        (cifs / f"{name}.cif").unlink()
    (cifs / f"{names[20]}.cif").write_text("<html>gone</html>")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 structures with its models, scores, and answers about mixtures of two of them."""
    folder = tmp_path_factory.mktemp("powder")
    (folder / "cifs").mkdir()
    for number, structure in enumerate(chosen()[:N]):
        (folder / "cifs" / f"{number:03d}.cif").write_text(cif_text(structure))
    with opened(folder / "run", config_of(folder / "cifs")) as context:
        for stage in (ingest, simulate, train, evaluate):
            stage.run(context)
        (folder / "night").mkdir()
        with PatternStore.open(context.run.patterns, "r") as store:
            for one, other in zip(store.ids()[::2], store.ids()[1::2], strict=True):  # of which models are not sure
                mixed = store.patterns_of(one)[0][1] + store.patterns_of(other)[0][1]
                rows = np.column_stack([store.axis().values, mixed])
                np.savetxt(folder / "night" / f"{one}-{other}.xy", rows, "%.6g")
    own = ("predict.powder.wavelength=1.54056", "predict.powder.min_peaks=3")
    asking = config_of(folder / "cifs", f"predict.patterns=[{folder / 'night'}]", *own)
    with opened(folder / "run", asking) as context:
        predict_powder.run(context)
    return folder


@pytest.fixture
def copied(first: Path, tmp_path: Path) -> Path:
    shutil.copytree(first, tmp_path / "copy")
    return tmp_path / "copy"


def updated(folder: Path, heard: list[Event] | None = None) -> update.UpdateSummary:
    with opened(folder / "run", config_of(folder / "cifs"), heard) as context:
        return update.run(context)


def assert_as_built_anew(folder: Path, anew: Path) -> None:
    """Equal patterns, forests and scores."""
    with opened(anew, config_of(folder / "cifs")) as context:
        for stage in (ingest, simulate, train, evaluate):
            stage.run(context)
        study = cross_validate.load_study(context.run)
        fresh = context.run
    with opened(folder / "run", config_of(folder / "cifs")) as context:
        updated_study = cross_validate.load_study(context.run)
        with PatternStore.open(context.run.patterns, "r") as one, PatternStore.open(fresh.patterns, "r") as two:
            assert one.fingerprint() == two.fingerprint()
    assert study is not None
    assert updated_study is not None
    assert updated_study.fingerprint == study.fingerprint
    assert [one.mean_std("accuracy") for one in updated_study.results] == [
        one.mean_std("accuracy") for one in study.results
    ]
    asked = read_answers_nexus(folder / "run" / "predictions" / "predictions.nxs").patterns
    models = [load_powder_models(run / "models") for run in (folder / "run", anew)]
    for ours, fresh_one in zip(*models, strict=True):
        np.testing.assert_array_equal(ours.probabilities(asked), fresh_one.probabilities(asked))


def test_an_update_simulates_what_changed_and_comes_to_what_a_rebuild_does(copied: Path, tmp_path: Path) -> None:
    before = bundle_hashes(copied / "run" / "models")
    second_revision(copied / "cifs")
    summary = updated(copied)
    assert_as_built_anew(copied, tmp_path / "anew")
    record = summary.record
    changes = record.changes
    assert (summary.simulated, summary.compared, summary.retrained) == (3, 0, True)
    assert (len(changes.added), len(changes.changed), len(changes.withdrawn)) == (2, 1, 9)
    assert [key for key, _ in changes.rejected] == ["020"]
    assert bundle_hashes(copied / "run" / "models").keys() == before.keys()
    assert record.before is not None
    assert record.after is not None
    assert record.before.bundle != record.after.bundle
    assert {"forest, full", "extra_trees, full"} <= record.before.top_k.keys() == record.after.top_k.keys()
    assert updated(copied).path is None


def test_patterns_that_a_model_now_answers_otherwise_are_named(copied: Path) -> None:
    stored = read_answers_nexus(copied / "run" / "predictions" / "predictions.nxs")
    assert len(stored.names) > 8
    second_revision(copied / "cifs")
    record = updated(copied).record
    expected = set()
    for model in load_powder_models(copied / "run" / "models"):
        old = stored.probabilities[:, stored.models.index(model.name)].argmax(axis=1)
        new = model.probabilities(stored.patterns).argmax(axis=1)
        rows = np.flatnonzero(old != new)
        expected |= {(model.name, stored.names[row], model.classes[old[row]], model.classes[new[row]]) for row in rows}
    assert record.frames == len(stored.names)
    assert {(one.model, one.frame, one.class_before, one.class_now) for one in record.answers} == expected
    assert expected


@pytest.mark.slow
def test_frames_of_archives_that_a_model_now_answers_otherwise_are_named(copied: Path, tmp_path: Path) -> None:
    own = ("predict.powder.wavelength=1.54056", "predict.powder.min_peaks=3")
    night = tmp_path / "night.zip"
    shutil.make_archive(str(night.with_suffix("")), "zip", copied / "night")
    archive = tmp_path / "archive"
    shutil.copytree(copied / "run" / "models", archive / "models")
    with opened(archive, config_of(copied / "cifs", f"predict.patterns=[{night}]", *own)) as context:
        predict_powder_archive.run(context, [night])
    old = {name: read_predictions(archive / "predictions" / "archive" / name) for name in ("forest", "extra_trees")}
    second_revision(copied / "cifs")
    with opened(copied / "run", config_of(copied / "cifs", f"update.archives=[{archive}]")) as context:
        record = update.run(context).record
    with opened(archive, config_of(copied / "cifs", f"predict.patterns=[{night}]", *own)) as context:
        shutil.rmtree(archive / "models")
        shutil.copytree(copied / "run" / "models", archive / "models")
        predict_powder_archive.run(context, [night], tmp_path / "again")
    expected = set()
    for name, (index, before) in old.items():
        after = read_predictions(tmp_path / "again" / name)[1]
        rows = np.flatnonzero(before.usable & after.usable & (before.classes[:, 0] != after.classes[:, 0]))
        expected |= {(name, index.name(int(before.frames[row]))) for row in rows}
    told = {(one.model, one.frame) for one in record.answers if one.predictions == str(archive)}
    assert told == expected
    assert expected


def test_a_file_of_other_predictions_is_passed_over_with_a_note(copied: Path) -> None:
    path = copied / "run" / "predictions" / "predictions.nxs"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(StoreError, match="predict its patterns anew"):
        read_answers_nexus(path)
    second_revision(copied / "cifs")
    heard: list[Event] = []
    assert updated(copied, heard).record.frames == 0
    assert any("predict its patterns anew" in event.text for event in heard if isinstance(event, Note))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["simulate", "train"])
def test_an_update_that_is_killed_is_finished_by_the_next_one(copied: Path, tmp_path: Path, stage: str) -> None:
    second_revision(copied / "cifs")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(config_of(copied / "cifs"))))
    program = (
        f"import os, sys, hpc_mlsm.stages.{stage} as one; usual = one.run\n"
        "def run(*values, **more):\n    usual(*values, **more)\n    os.kill(os.getpid(), 9)\n"
        "one.run = run\nfrom hpc_mlsm.cli.main import main\nmain()"
    )
    command = [sys.executable, "-c", program, "update", str(tmp_path / "config.yaml"), "--run", str(copied / "run")]
    assert subprocess.run(command, check=False, capture_output=True, env=os.environ).returncode == -signal.SIGKILL
    summary = updated(copied)
    assert summary.record.number == 1
    assert summary.simulated == 0
    assert (len(summary.record.changes.added), len(summary.record.changes.withdrawn)) == (2, 9)
    assert_as_built_anew(copied, tmp_path / "anew")

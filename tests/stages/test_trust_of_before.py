"""A model whose trust is missing, or was learned by an earlier version, gets it again and keeps its trees."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from small_run import opened, small_config, write_cifs

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.bundle import MANIFEST, bundle_hash, load_bundle
from hpc_mlsm.models.model_folder import checksum_of
from hpc_mlsm.runtime.events import Event, Note, TaskFinished
from hpc_mlsm.stages import group, ingest, simulate, train
from hpc_mlsm.stages.archive_input import adopt_model
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.status import run_status


def without_trust(manifest: dict, folder: Path) -> None:
    """As bundles of the first version were."""
    manifest["schema"] = 1
    (folder / manifest["files"].pop("trust")["name"]).unlink()


def other_trust(manifest: dict, folder: Path) -> None:
    """Trust of the first version."""
    path = folder / manifest["files"]["trust"]["name"]
    old = {key: value for key, value in json.loads(path.read_text()).items() if key != "version"}
    path.write_text(json.dumps(old))
    manifest["files"]["trust"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunConfig]:
    """A run with a model, and its configuration."""
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(write_cifs(folder / "cifs", ("Ni", "Cu", "W", "NaCl")))
    with opened(folder / "run", config) as context:
        for stage in (ingest, simulate, group, train):
            stage.run(context)
    return folder / "run", config


@pytest.mark.parametrize(
    ("aged", "said"),
    [
        (without_trust, "is a bundle of version 1.* carried no verdicts: run `hpc-mlsm train RUN`"),
        (other_trust, "trust of the model is of version 1, this program needs 2; run `hpc-mlsm train RUN`"),
    ],
)
def test_train_learns_only_trust_anew(trained: tuple[Path, RunConfig], tmp_path: Path, aged, said: str) -> None:
    whole, config = trained
    run, heard = RunDirectory(Path(shutil.copytree(whole, tmp_path / "run"))), list[Event]()
    before = load_bundle(run.model)
    manifest = json.loads((run.model / MANIFEST).read_text())
    del manifest["sha256"]
    aged(manifest, run.model)
    (run.model / MANIFEST).write_text(json.dumps(manifest | {"sha256": checksum_of(manifest)}))
    with pytest.raises(BundleError, match=said):
        load_bundle(run.model)
    assert {one.stage: one.state for one in run_status(run, config)}["train"] == "outdated"
    archive = RunDirectory(tmp_path / "archive")
    shutil.copytree(run.model, archive.model)
    with opened(run.path, config, heard) as context:
        did = train.run(context)
        again = train.run(context)
    after = load_bundle(run.model)
    assert (did.recalibrated, did.reused, again.reused) == (True, False, True)
    assert not [event for event in heard if isinstance(event, TaskFinished)], "rounds were trained"
    assert any(isinstance(event, Note) and "trees are kept" in event.text for event in heard)
    assert (after.model, after.trust, after.info.temperature) == (before.model, before.trust, before.info.temperature)
    assert after.info.metrics == before.info.metrics
    adopt_model(archive, run.path)  # what an archive was answered with before is replaced
    assert bundle_hash(archive.model) == bundle_hash(run.model)

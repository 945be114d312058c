"""What the archive stages of a run start from: its model, and where its predictions are."""

import shutil
from functools import lru_cache
from pathlib import Path

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.bundle import MANIFEST, Bundle, bundle_hash, load_bundle, read_manifest
from hpc_mlsm.stages.run_directory import RunDirectory


def predictions_folder(run: RunDirectory) -> Path:
    """Where the predictions of the run's archive are."""
    return run.predictions / "archive"


def model_of(run: RunDirectory) -> Bundle:
    """The run's model, loaded once."""
    return _loaded(run.model.resolve(), bundle_hash(run.model))


@lru_cache(maxsize=1)
def _loaded(folder: Path, _: str) -> Bundle:
    return load_bundle(folder)


def model_folder(source: Path) -> Path:
    """The folder of a model: as named, or that of the run which trained it."""
    trained = RunDirectory(source)
    return trained.model if trained.config_file.is_file() else source


def adopt_model(run: RunDirectory, source: Path) -> None:
    """Copy a trained model into a run, so that the run's answers stay those of this model whatever becomes of it.

    The manifest comes last, so a copy that was interrupted does not count and is made again.

    Raises
    ------
    BundleError
        If the folder holds no whole model.
    """
    folder = model_folder(source)
    manifest = read_manifest(folder)
    if _hash_of_copy(run) == bundle_hash(folder):
        return
    try:
        if run.model.exists():
            shutil.rmtree(run.model)
        run.model.mkdir(parents=True)
        for part in manifest["files"].values():
            write_durably(run.model / part["name"], (folder / part["name"]).read_bytes())
        write_durably(run.model / MANIFEST, (folder / MANIFEST).read_bytes())
    except OSError as error:
        raise BundleError(f"the model in {folder} cannot be copied to {run.model}: {error}") from error


def _hash_of_copy(run: RunDirectory) -> str:
    """Of the model that is in the run; empty where there is none, or one that cannot be used."""
    try:
        return bundle_hash(run.model)
    except BundleError:
        return ""

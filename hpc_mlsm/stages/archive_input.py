"""What the archive stages of a run start from: its model, and where its predictions are."""

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from hpc_mlsm.archive.classifier import Classifier
from hpc_mlsm.archive.frames import ArchiveKind
from hpc_mlsm.archive.load_classifier import load_classifier, model_hash
from hpc_mlsm.config.run_config import PredictSettings
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.bundle import MANIFEST, Bundle, bundle_hash, load_bundle, read_manifest
from hpc_mlsm.models.powder_models import is_powder_bundle, powder_files
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


def classifier_of(run: RunDirectory, settings: PredictSettings) -> Classifier:
    """What the run's archive is put to."""
    return load_classifier(archive_model(run, settings).resolve(), settings.powder)


def archive_model(run: RunDirectory, settings: PredictSettings) -> Path:
    """The folder in the run of the model that its archive is put to: a copy of the one that is named, or its own."""
    if settings.model is not None:
        copy = run.path / "models" / model_folder(settings.model).name
        if is_powder_bundle(copy):
            return copy
    return run.model


def archive_kind(settings: PredictSettings) -> ArchiveKind:
    """What patterns the named model is for."""
    named = settings.model is not None and is_powder_bundle(model_folder(settings.model))
    return "powder" if named else "pdf"


def model_folder(source: Path) -> Path:
    """The folder of a model: as named, or that of the run which trained it.

    Raises
    ------
    BundleError
        If the run trained several models of powder patterns.
    """
    trained = RunDirectory(source)
    if not trained.config_file.is_file():
        return source
    if (trained.model / MANIFEST).is_file() or not (source / "models").is_dir():
        return trained.model
    found = [path for path in sorted((source / "models").iterdir()) if is_powder_bundle(path)]
    if len(found) > 1:
        raise BundleError(
            f"{source} has trained {len(found)} models of powder patterns; an archive run takes one, such as "
            f"{found[0]} (the others: {', '.join(path.name for path in found[1:])})"
        )
    return found[0] if found else trained.model


def adopt_model(run: RunDirectory, source: Path) -> None:
    """Copy a trained model into a run, so that the run's answers stay those of this model whatever becomes of it.

    The manifest comes last, so a copy that was interrupted does not count and is made again.

    Raises
    ------
    BundleError
        If the folder holds no whole model.
    """
    folder = model_folder(source)
    if is_powder_bundle(folder):
        _copy(folder, run.path / "models" / folder.name, powder_files(folder))
        return
    names = [part["name"] for part in read_manifest(folder)["files"].values()]
    _copy(folder, run.model, [*names, MANIFEST])


def _copy(folder: Path, copy: Path, names: Sequence[str]) -> None:
    """Copy a model's files, its manifest last, unless they are there."""
    if _hash_of_copy(copy) == model_hash(folder):
        return
    try:
        if copy.exists():
            shutil.rmtree(copy)
        copy.mkdir(parents=True)
        for name in names:
            write_durably(copy / name, (folder / name).read_bytes())
    except OSError as error:
        raise BundleError(f"the model in {folder} cannot be copied to {copy}: {error}") from error


def _hash_of_copy(copy: Path) -> str:
    """Of the model that is in the run; empty where there is none, or one that cannot be used."""
    try:
        return model_hash(copy)
    except BundleError:
        return ""

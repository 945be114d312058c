"""The model in a folder as archives are put to it, whatever its kind."""

from functools import lru_cache
from pathlib import Path

from hpc_mlsm.archive.classifier import Classifier, PdfClassifier
from hpc_mlsm.archive.powder_classifier import PowderClassifier
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.models.bundle import bundle_hash, load_bundle
from hpc_mlsm.models.powder_models import is_powder_bundle, load_powder_model, powder_model_hash


def load_classifier(folder: Path, powder: MeasuredPowderSettings) -> Classifier:
    """The model in a folder; the last one stays in memory, so that a worker loads it once.

    Parameters
    ----------
    folder
        With boosted trees, a forest or a network.
    powder
        How measured powder patterns are treated, for models of these.

    Raises
    ------
    BundleError
        If there is none, or it is damaged or of another version.
    """
    return _loaded(folder, model_hash(folder), powder if is_powder_bundle(folder) else None)


def model_hash(folder: Path) -> str:
    """Names the content of a trained model; raises as ``load_classifier``."""
    return powder_model_hash(folder) if is_powder_bundle(folder) else bundle_hash(folder)


@lru_cache(maxsize=1)
def _loaded(folder: Path, _: str, powder: MeasuredPowderSettings | None) -> Classifier:
    if powder is None:
        return PdfClassifier(load_bundle(folder))
    return PowderClassifier(load_powder_model(folder), powder)

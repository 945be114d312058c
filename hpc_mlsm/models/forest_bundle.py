"""A trained forest with all that prediction needs, in one folder, without pickle."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.forest_files import dump, load, sklearn_version
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.models.model_folder import OneFile
from hpc_mlsm.models.peak_features import FEATURE_NAMES, PeakSettings, PeakTable, find_peak_table

MANIFEST = "forest.json"
FILES = OneFile("forest", MANIFEST, "forest", ".skops", version=1)


@dataclass(frozen=True)
class ForestInfo:
    """What a forest says of itself.

    ``classes`` are names by label; ``grid`` is 2θ (degree) as start, step and number of points; ``wavelength`` in Å is
    that of the training patterns; ``fingerprint`` names the training data and settings.
    """

    classes: tuple[str, ...]
    grid: tuple[float, float, int]
    wavelength: float
    settings: ForestSettings
    peaks: PeakSettings
    fingerprint: str
    rows_by_class: dict[str, int]
    metrics: dict[str, Any] = field(default_factory=dict)
    scikit_learn: str = field(default_factory=sklearn_version)
    code_version: str = __version__

    @property
    def two_theta(self) -> NDArray[np.float64]:
        """Grid points."""
        start, step, points = self.grid
        return start + step * np.arange(points, dtype=np.float64)


@dataclass(frozen=True)
class Forest:
    """A forest that was loaded or just trained."""

    info: ForestInfo
    estimator: Any

    def probabilities(self, patterns: NDArray[np.floating]) -> NDArray[np.float64]:
        """Class probabilities (rows, classes) of patterns on the forest's grid, in any scale.

        Raises
        ------
        PatternError
            If the patterns lie on another grid or are not finite.
        """
        return self.of_peaks(self.peaks(patterns))

    def peaks(self, patterns: NDArray[np.floating]) -> PeakTable:
        """Peaks of patterns on the forest's grid; ``few`` of it flags what the forest can say little of."""
        return find_peak_table(patterns, self._grid, self.info.peaks)

    def of_peaks(self, table: PeakTable) -> NDArray[np.float64]:
        """Class probabilities (rows, classes) from peaks; a class without training rows has none."""
        found = np.zeros((len(table.count), len(self.info.classes)))
        if len(found):
            found[:, self.estimator.classes_] = self.estimator.predict_proba(table.features(self.info.settings.kind))
        return found

    @cached_property
    def _grid(self) -> NDArray[np.float64]:
        return self.info.two_theta


def save_forest(forest: Forest, folder: Path) -> None:
    """Write a forest, in the place of the one that may be in the folder.

    Raises
    ------
    BundleError, StoreError
        If the folder cannot be made, or a file not be written; the old forest is still there then, whole.
    """
    _check(forest)
    FILES.save(folder, asdict(forest.info), dump(forest.estimator))


def load_forest(folder: Path) -> Forest:
    """Read a forest, checking that it is whole, unaltered, and of the scikit-learn that is installed.

    Raises
    ------
    BundleError
        If it is missing, of another version of this program or of scikit-learn, or a file was altered or lost.
    """
    manifest = FILES.read_manifest(folder)
    info = _info(manifest)
    if _release(info.scikit_learn) != _release(sklearn_version()):
        raise BundleError(
            f"{folder} was trained with scikit-learn {info.scikit_learn}, {sklearn_version()} is installed, and trees "
            f"may mean something else to another release; install scikit-learn {_release(info.scikit_learn)}, or train "
            "again"
        )
    forest = Forest(info, load(FILES.read_content(folder, manifest)))
    _check(forest)
    return forest


def read_forest_info(folder: Path) -> ForestInfo:
    """What a forest says of itself, without loading it.

    Raises
    ------
    BundleError
        If it is missing, of another version of this program, or was altered.
    """
    return _info(FILES.read_manifest(folder))


def _info(manifest: dict[str, Any]) -> ForestInfo:
    raw = manifest["info"]
    return ForestInfo(
        **{
            **raw,
            "classes": tuple(raw["classes"]),
            "grid": tuple(raw["grid"]),
            "settings": ForestSettings(**raw["settings"]),
            "peaks": PeakSettings(**raw["peaks"]),
        }
    )


def _check(forest: Forest) -> None:
    features = len(FEATURE_NAMES[forest.info.settings.kind])
    found = getattr(forest.estimator, "n_features_in_", None)
    if found != features or max(forest.estimator.classes_) >= len(forest.info.classes):
        raise BundleError(
            f"the forest takes {found} features and knows classes up to {max(forest.estimator.classes_)}, its "
            f"table says {features} features ({forest.info.settings.kind}) and {len(forest.info.classes)} classes; "
            "train again"
        )


def _release(version: str) -> str:
    return ".".join(version.split(".")[:2])

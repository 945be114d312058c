"""A trained network with all that prediction needs, in one folder, without pickle."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.errors import BundleError, PatternError
from hpc_mlsm.models.calibration import probabilities
from hpc_mlsm.models.cnn_model import CnnModel
from hpc_mlsm.models.model_folder import OneFile

MANIFEST = "cnn.json"
FILES = OneFile("network", MANIFEST, "network", ".keras", version=1)


@dataclass(frozen=True)
class CnnInfo:
    """What a network says of itself.

    ``classes`` are names by label; ``grid`` is 2θ (degree) as start, step and number of points; ``wavelength`` in Å is
    that of the training patterns; ``temperature`` turns scores into probabilities; ``fingerprint`` names the training
    data and settings.
    """

    classes: tuple[str, ...]
    grid: tuple[float, float, int]
    wavelength: float
    temperature: float
    fingerprint: str
    rows_by_class: dict[str, int]
    metrics: dict[str, Any] = field(default_factory=dict)
    code_version: str = __version__

    @property
    def two_theta(self) -> NDArray[np.float64]:
        """Grid points."""
        start, step, points = self.grid
        return start + step * np.arange(points, dtype=np.float64)


@dataclass(frozen=True)
class CnnBundle:
    """A network that was loaded or just trained; can be pickled."""

    info: CnnInfo
    model: CnnModel

    def probabilities(self, patterns: NDArray[np.floating]) -> NDArray[np.float32]:
        """Calibrated class probabilities (rows, classes) of patterns on the network's grid, in any scale.

        Raises
        ------
        PatternError
            If the patterns are not finite.
        BundleError
            If they are of another length.
        """
        if not np.isfinite(patterns).all():
            raise PatternError("not_finite", "a pattern holds values that are not finite; leave those points out")
        return probabilities(self.model.margins(patterns), self.info.temperature)


def save_cnn(bundle: CnnBundle, folder: Path) -> None:
    """Write a network, in the place of the one that may be in the folder.

    Raises
    ------
    BundleError, StoreError
        If the folder cannot be made, or a file not be written; the old network is still there then, whole.
    """
    _check(bundle)
    FILES.save(folder, asdict(bundle.info), bundle.model.image)


def load_cnn(folder: Path) -> CnnBundle:
    """Read a network, checking that it is whole and unaltered; nothing that the file says is run.

    Raises
    ------
    BundleError
        If it is missing, of another version, or a file was altered or lost.
    """
    manifest = read_cnn_manifest(folder)
    raw = manifest["info"]
    info = CnnInfo(**{**raw, "classes": tuple(raw["classes"]), "grid": tuple(raw["grid"])})
    bundle = CnnBundle(info, CnnModel.read(FILES.read_content(folder, manifest)))
    _check(bundle)
    return bundle


def read_cnn_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a network, its version and checksum checked.

    Raises
    ------
    BundleError
        If there is none, or it is altered or of another version.
    """
    return FILES.read_manifest(folder)


def _check(bundle: CnnBundle) -> None:
    info, model = bundle.info, bundle.model
    if len(info.classes) != model.n_classes or info.grid[2] != model.n_points:
        raise BundleError(
            f"the network takes {model.n_points} points and knows {model.n_classes} classes, its table says "
            f"{info.grid[2]} and {len(info.classes)}; train again"
        )

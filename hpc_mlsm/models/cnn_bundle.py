"""A trained network with all that prediction needs, in one folder, without pickle."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.durable import is_stale_part, write_durably
from hpc_mlsm.errors import BundleError, PatternError
from hpc_mlsm.models.calibration import probabilities
from hpc_mlsm.models.cnn_model import CnnModel

SCHEMA_VERSION = 1
MANIFEST = "cnn.json"


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"the folder {folder} cannot be made: {error}") from error
    checksum = hashlib.sha256(bundle.model.image).hexdigest()
    name = f"network-{checksum[:16]}.keras"
    described = {"schema": SCHEMA_VERSION, "info": asdict(bundle.info), "file": name, "sha256": checksum}
    try:
        write_durably(folder / name, bundle.model.image)
        manifest = json.loads(json.dumps(described))  # as it will be read back
        write_durably(folder / MANIFEST, json.dumps(manifest | {"checksum": _checksum(manifest)}, indent=1).encode())
    finally:
        _remove_unnamed(folder)


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
    path = folder / Path(manifest["file"]).name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}; train again, or copy the whole folder") from error
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise BundleError(f"{path} was altered since it was trained (its checksum differs); train again")
    bundle = CnnBundle(info, CnnModel.read(content))
    _check(bundle)
    return bundle


def read_cnn_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a network, its version and checksum checked.

    Raises
    ------
    BundleError
        If there is none, or it is altered or of another version.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{folder} holds no trained network ({MANIFEST} is missing); run the train stage") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}; train again") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA_VERSION:
        raise BundleError(
            f"{folder} is a network of version {schema}, this program needs {SCHEMA_VERSION}; train again"
        )
    described = {key: value for key, value in manifest.items() if key != "checksum"}
    if _checksum(described) != manifest.get("checksum"):
        raise BundleError(f"{path} was altered since it was trained (its checksum differs); train again")
    return described


def _check(bundle: CnnBundle) -> None:
    info, model = bundle.info, bundle.model
    if len(info.classes) != model.n_classes or info.grid[2] != model.n_points:
        raise BundleError(
            f"the network takes {model.n_points} points and knows {model.n_classes} classes, its table says "
            f"{info.grid[2]} and {len(info.classes)}; train again"
        )


def _checksum(described: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _remove_unnamed(folder: Path) -> None:
    """Remove the files of networks that were replaced, or were never finished."""
    try:
        kept = read_cnn_manifest(folder)["file"]
    except BundleError:
        if (folder / MANIFEST).exists():
            return  # of another version perhaps, and not ours to clear away
        kept = ""
    partial = [path for path in folder.glob(".*.part") if is_stale_part(path)]
    for path in (*folder.glob("network-*.keras"), *partial):
        if path.name != kept:
            with suppress(OSError):  # what is left over does no harm
                path.unlink()

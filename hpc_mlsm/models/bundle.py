"""A trained model with all that prediction needs, in one folder, without pickle."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.errors import BundleError
from hpc_mlsm.models import classes as class_table
from hpc_mlsm.models.boosted import predict_margins
from hpc_mlsm.models.calibration import probabilities
from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.models.retrieval import Retrieval
from hpc_mlsm.scattering.normalise import standardise
from hpc_mlsm.structures.structure import Structure

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"
_FILES = ("model.ubj", "classes.json", "structures.jsonl", "references.h5")


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself.

    ``axis`` is the grid as name, unit and values; ``q_range`` the momentum-transfer ranges it was trained with;
    ``fingerprint`` names the training data and settings; ``temperature`` turns scores into probabilities.
    """

    kind: str
    axis_name: str
    axis_unit: str
    axis_values: tuple[float, ...]
    n_classes: int
    temperature: float
    fingerprint: str
    catalogue_fingerprint: str
    settings: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=dict)
    code_version: str = __version__
    preprocessing: str = "standardise"

    @property
    def grid(self) -> NDArray[np.float64]:
        """Grid points."""
        return np.array(self.axis_values)


@dataclass(frozen=True)
class Bundle:
    """A model that was loaded or just trained. The booster is kept as bytes, so that bundles can be pickled."""

    info: BundleInfo
    classes: tuple[ClassEntry, ...]
    structures: tuple[Structure, ...]
    retrieval: Retrieval
    model: bytes

    @cached_property
    def booster(self) -> Any:
        """The XGBoost booster."""
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(self.model))
        return booster

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "booster"}

    def probabilities(self, patterns: NDArray[np.floating]) -> NDArray[np.float32]:
        """Calibrated class probabilities (rows, classes) of patterns on the bundle's grid, in any scale."""
        self._check(patterns)
        margins = predict_margins(self.booster, standardise(patterns), self.info.n_classes)
        return probabilities(margins, self.info.temperature)

    def correlations(self, patterns: NDArray[np.floating]) -> NDArray[np.float32]:
        """Pearson correlation (rows, classes) with the nearest training pattern of each class."""
        self._check(patterns)
        return self.retrieval.correlations(patterns)

    def structure(self, structure_id: str) -> Structure:
        """One of the structures that the classes are made of."""
        return self._by_id[structure_id]

    @cached_property
    def _by_id(self) -> dict[str, Structure]:
        return {structure.id: structure for structure in self.structures}

    def _check(self, patterns: NDArray[np.floating]) -> None:
        points = len(self.info.axis_values)
        if patterns.ndim != 2 or patterns.shape[1] != points:
            raise BundleError(
                f"patterns of shape {patterns.shape} do not fit the model, which needs {points} points from "
                f"{self.info.axis_values[0]} to {self.info.axis_values[-1]} {self.info.axis_unit}"
            )


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle so that the folder holds either the old one or the new one, whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        partial.chmod(0o755)
        (partial / "model.ubj").write_bytes(bundle.model)
        (partial / "classes.json").write_text(class_table.to_json(bundle.classes))
        lines = [structure.to_json() for structure in bundle.structures]
        (partial / "structures.jsonl").write_text("\n".join(lines) + "\n")
        _write_references(partial / "references.h5", bundle.retrieval)
        manifest = {
            "schema": SCHEMA_VERSION,
            "info": asdict(bundle.info),
            "files": {name: _checksum(partial / name) for name in _FILES},
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1))
        _swap(partial, folder)
    except OSError as error:
        free = shutil.disk_usage(folder.parent).free / 1e6
        raise BundleError(f"the bundle {folder} cannot be written: {error}; {free:.0f} MB are free there") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle, checking that it is whole and unaltered.

    Raises
    ------
    BundleError
        If it is missing, of another version, or a file was altered or lost.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{folder} is incomplete: {name} is missing; train again, or copy the whole folder")
        if _checksum(path) != expected:
            raise BundleError(f"{path} was altered since it was trained (its checksum differs); train again")
    info = bundle_info(manifest)
    lines = (folder / "structures.jsonl").read_text().splitlines()
    return Bundle(
        info=info,
        classes=class_table.from_json((folder / "classes.json").read_text()),
        structures=tuple(Structure.from_json(line) for line in lines if line),
        retrieval=_read_references(folder / "references.h5", info.n_classes),
        model=(folder / "model.ubj").read_bytes(),
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle, its version checked."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BundleError(f"{folder} holds no trained model ({MANIFEST} is missing); run the train stage") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}; train again") from error
    if manifest.get("schema") != SCHEMA_VERSION:
        raise BundleError(
            f"{folder} is a bundle of version {manifest.get('schema')}, this program needs {SCHEMA_VERSION}; train again"
        )
    return manifest


def bundle_info(manifest: dict[str, Any]) -> BundleInfo:
    """What a manifest says of its bundle."""
    raw = dict(manifest["info"])
    return BundleInfo(**{**raw, "axis_values": tuple(raw["axis_values"])})


def bundle_hash(folder: Path) -> str:
    """Short name of exactly this bundle, for the provenance of predictions."""
    return _checksum(folder / MANIFEST)[:16]


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _swap(partial: Path, folder: Path) -> None:
    """Put the new folder in the place of the old one; a kill in between leaves one of them whole."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        partial.rename(folder)


def _write_references(path: Path, retrieval: Retrieval) -> None:
    with h5py.File(path, "w", locking=False) as file:
        options = hdf5plugin.Blosc2(cname="zstd", clevel=3, filters=hdf5plugin.Blosc2.SHUFFLE)
        file.create_dataset("references", data=retrieval.references, chunks=True, compression=options, fletcher32=True)
        file.create_dataset("labels", data=retrieval.labels)


def _read_references(path: Path, n_classes: int) -> Retrieval:
    with h5py.File(path, "r", locking=False) as file:
        return Retrieval(file["references"][()], file["labels"][()], n_classes)

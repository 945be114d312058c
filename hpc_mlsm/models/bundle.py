"""A trained model with all that prediction needs, in one folder, without pickle.

The manifest names the other files, whose names contain their checksums. So a bundle is replaced in one moment, when its
manifest is: until then all files of the old one are there, and a reader gets either the old bundle or the new one.
"""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import BundleError
from hpc_mlsm.models import classes as class_table
from hpc_mlsm.models.boosted import margins_of
from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.models.model_folder import checksum_of, make_folder, read_part, remove_parts, write_part
from hpc_mlsm.models.retrieval import Retrieval
from hpc_mlsm.models.trust import RECALIBRATE, Answers, Neighbours, Trust, judge, pooled
from hpc_mlsm.scattering.normalise import standardise
from hpc_mlsm.structures.structure import Structure

SCHEMA_VERSION = 2
WITHOUT_TRUST = 1
"""Version of bundles whose predictions carried no verdicts; their trees are as good as any."""

WITH_TREES = (WITHOUT_TRUST, SCHEMA_VERSION)
MANIFEST = "bundle.json"
_PARTS = {"model": ".ubj", "classes": ".json", "structures": ".jsonl", "references": ".h5", "trust": ".json"}
"""What a bundle consists of besides its manifest, and the endings of the files' names."""


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself.

    ``axis`` is the grid as name, unit and values; ``settings`` what it was trained with, ranges of Q among it;
    ``fingerprint`` names the training data and settings; ``temperature``, with what ``Trust`` says,
    turns scores into probabilities.
    ``class_history`` tells which classes were added, split, merged and retired since the first grouping, and when, as
    ``grouping.groups.ClassEvent`` does; ``revision`` is the number of the grouping, ``catalogue_revision`` that of the
    catalogue (None where it was not written down).
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
    class_history: tuple[dict[str, Any], ...] = ()
    revision: int = 1
    catalogue_revision: int | None = None

    @property
    def grid(self) -> NDArray[np.float64]:
        """Grid points."""
        return np.array(self.axis_values)

    @property
    def origin(self) -> dict[str, str]:
        """What the model was made from, for the provenance of what is made with it."""
        revision = "not known" if self.catalogue_revision is None else str(self.catalogue_revision)
        return {
            "model_fingerprint": self.fingerprint,
            "catalogue_fingerprint": self.catalogue_fingerprint,
            "catalogue_revision": revision,
        }


@dataclass(frozen=True)
class Bundle:
    """A model that was loaded or just trained. The booster is kept as bytes, so that bundles can be pickled."""

    info: BundleInfo
    classes: tuple[ClassEntry, ...]
    structures: tuple[Structure, ...]
    retrieval: Retrieval
    model: bytes
    trust: Trust

    @cached_property
    def booster(self) -> Any:
        """The XGBoost booster."""
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(self.model))
        return booster

    @cached_property
    def margins(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Untransformed scores (rows, classes) of standardised patterns."""
        return margins_of(self.model, lambda: self.booster, self.info.n_classes)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("booster", "margins")}

    def probabilities(self, patterns: NDArray[np.floating]) -> NDArray[np.float32]:
        """Calibrated class probabilities (rows, classes) of patterns on the bundle's grid, in any scale."""
        return self._scored(self._standardised(patterns))[1]

    def answers(self, patterns: NDArray[np.floating], k: int, coverage: float) -> Answers:
        """The k likeliest classes of patterns on the bundle's grid, in any scale, with verdicts.

        ``coverage`` is the share of frames of the catalogue whose set of candidates is to hold the right class.
        """
        return self.judged(patterns, k, coverage)[1]

    def judged(self, patterns: NDArray[np.floating], k: int, coverage: float) -> tuple[NDArray[np.float32], Answers]:
        """Both ``probabilities`` and ``answers``."""
        values = self._standardised(patterns)
        near, found = self._scored(values)
        residuals = self.retrieval.residuals(values, found.argmax(axis=1))
        return found, judge(self.trust, values, near, found, residuals, k, coverage)

    def _scored(self, values: NDArray[np.float32]) -> tuple[Neighbours, NDArray[np.float32]]:
        """Nearest training patterns and calibrated probabilities of standardised patterns."""
        margins = self.margins(values)
        near = Neighbours.of(self.retrieval, values, margins)
        return near, pooled(margins, near, self.info.temperature, self.trust.correlation_weight)

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

    def _standardised(self, patterns: NDArray[np.floating]) -> NDArray[np.float32]:
        self._check(patterns)
        return standardise(patterns)

    def _check(self, patterns: NDArray[np.floating]) -> None:
        points = len(self.info.axis_values)
        if patterns.ndim != 2 or patterns.shape[1] != points:
            raise BundleError(
                f"patterns of shape {patterns.shape} do not fit the model, which needs {points} points from "
                f"{self.info.axis_values[0]} to {self.info.axis_values[-1]} {self.info.axis_unit}"
            )


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle, in the place of the one that may be in the folder.

    Raises
    ------
    BundleError, StoreError
        If the folder cannot be made, or a file not be written; the old bundle is still there then, whole.
    """
    make_folder(folder)
    contents = {
        "model": bundle.model,
        "classes": class_table.to_json(bundle.classes).encode(),
        "structures": "\n".join(structure.to_json() for structure in bundle.structures).encode(),
        "references": _references_image(bundle.retrieval),
        "trust": bundle.trust.to_json().encode(),
    }
    files = {}
    info = json.loads(json.dumps(asdict(bundle.info)))  # as it will be read back
    try:
        for part, content in contents.items():
            name, checksum = write_part(folder, part, _PARTS[part], content)
            files[part] = {"name": name, "sha256": checksum}
        described = {"schema": SCHEMA_VERSION, "info": info, "files": files}
        manifest = described | {"sha256": checksum_of(described)}
        write_durably(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    finally:
        _remove_unnamed(folder)


def _remove_unnamed(folder: Path) -> None:
    """Remove the files of bundles that were replaced, or were never finished."""
    try:
        kept = {file["name"] for file in read_manifest(folder)["files"].values()}
    except BundleError:
        if (folder / MANIFEST).exists():
            return  # of another version perhaps, and not ours to clear away
        kept = set()
    remove_parts(folder, _PARTS.items(), kept)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle, checking that it is whole and unaltered.

    Raises
    ------
    BundleError
        If it is missing, of another version, or a file was altered or lost.
    """
    manifest = read_manifest(folder)
    info = bundle_info(manifest)
    contents = {part: _read_part(folder, manifest["files"][part]) for part in _PARTS}
    lines = contents["structures"].decode().splitlines()
    trust = read_trust(folder, manifest)
    return Bundle(
        info=info,
        classes=class_table.from_json(contents["classes"].decode()),
        structures=tuple(Structure.from_json(line) for line in lines),
        retrieval=_references(contents["references"], info.n_classes),
        model=contents["model"],
        trust=trust,
    )


def load_trees(folder: Path) -> tuple[BundleInfo, bytes]:
    """What a bundle says of itself and its model, also where its trust is missing or of an earlier version.

    Raises
    ------
    BundleError
        If there is none, or it is of another version, or altered.
    """
    manifest = read_manifest(folder, WITH_TREES)
    return bundle_info(manifest), _read_part(folder, manifest["files"]["model"])


def read_trust(folder: Path, manifest: dict[str, Any]) -> Trust:
    """How far the bundle of this manifest can be trusted.

    Raises
    ------
    BundleError
        If that is of another version, or altered.
    """
    try:
        return Trust.from_json(_read_part(folder, manifest["files"]["trust"]).decode())
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error


def _read_part(folder: Path, file: dict[str, str]) -> bytes:
    return read_part(folder, file["name"], file["sha256"])


def read_manifest(folder: Path, versions: tuple[int, ...] = (SCHEMA_VERSION,)) -> dict[str, Any]:
    """The manifest of a bundle, its version and checksum checked.

    Raises
    ------
    BundleError
        If there is none, or it is altered or of another version.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{folder} holds no trained model ({MANIFEST} is missing); run the train stage") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}; train again") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema not in versions:
        remedy = f"its predictions carried no verdicts: {RECALIBRATE}" if schema == WITHOUT_TRUST else "train again"
        raise BundleError(f"{folder} is a bundle of version {schema}, this program needs {SCHEMA_VERSION}; {remedy}")
    described = {key: value for key, value in manifest.items() if key != "sha256"}
    if manifest.get("sha256") != checksum_of(described):
        raise BundleError(f"{path} was altered since it was trained (its checksum differs); train again")
    return described


def bundle_info(manifest: dict[str, Any]) -> BundleInfo:
    """What a manifest, as ``read_manifest`` gives it, says of its bundle."""
    raw = dict(manifest["info"])
    history = tuple(raw.get("class_history", ()))
    return BundleInfo(**{**raw, "axis_values": tuple(raw["axis_values"]), "class_history": history})


def bundle_hash(folder: Path) -> str:
    """Short name of exactly this bundle, for the provenance of predictions."""
    return checksum_of(read_manifest(folder))[:16]


def _references_image(retrieval: Retrieval) -> bytes:
    # In memory, because HDF5 ends the process with a segmentation fault when a disk fills up under it.
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        options = hdf5plugin.Blosc2(cname="zstd", clevel=3, filters=hdf5plugin.Blosc2.SHUFFLE)
        file.create_dataset("references", data=retrieval.references, chunks=True, compression=options, fletcher32=True)
        file.create_dataset("labels", data=retrieval.labels)
    return image.getvalue()


def _references(image: bytes, n_classes: int) -> Retrieval:
    with h5py.File(io.BytesIO(image), "r") as file:
        return Retrieval(file["references"][()], file["labels"][()], n_classes)

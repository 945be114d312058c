"""Trained models of powder patterns, forests and networks alike, as prediction uses them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import BundleError
from hpc_mlsm.models import cnn_bundle, forest_bundle
from hpc_mlsm.models.cnn_bundle import CnnBundle, load_cnn
from hpc_mlsm.models.forest_bundle import Forest, load_forest

Kind = Literal["random_forest", "extra_trees", "network"]
MANIFESTS = (forest_bundle.MANIFEST, cnn_bundle.MANIFEST)

LABELS: dict[Kind, str] = {
    "random_forest": "random forest",
    "extra_trees": "extremely randomised trees",
    "network": "network",
}


@dataclass(frozen=True)
class PowderModel:
    """One trained model with its name, and the hash of what it was loaded from."""

    name: str
    bundle: Forest | CnnBundle
    hash: str

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.bundle.info.settings.kind if isinstance(self.bundle, Forest) else "network"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label."""
        return self.bundle.info.classes

    @property
    def two_theta(self) -> NDArray[np.float64]:
        """Grid, degree."""
        return self.bundle.info.two_theta

    @property
    def wavelength(self) -> float:
        """Of the training patterns, Å."""
        return self.bundle.info.wavelength

    @property
    def knows_background(self) -> bool:
        """Whether it learnt patterns with their background, so that measured ones should keep theirs.

        Forests never do: their peaks are looked for above the background in training, too.
        """
        return isinstance(self.bundle, CnnBundle) and bool(self.bundle.info.metrics.get("background", False))

    @property
    def calibrated(self) -> bool:
        """Whether its probabilities were fitted to how often it is right; those of forests are shares of votes."""
        return isinstance(self.bundle, CnnBundle)

    def probabilities(self, patterns: NDArray[np.floating]) -> NDArray[np.float64]:
        """Of classes (rows, classes) for patterns on the model's grid, in any scale."""
        return np.asarray(self.bundle.probabilities(patterns), dtype=np.float64)


def is_powder_bundle(folder: Path) -> bool:
    """Whether a folder holds a forest or a network."""
    return any((folder / name).is_file() for name in MANIFESTS)


def bundle_hashes(folder: Path) -> dict[str, str]:
    """Hash of each model's manifest, by the names of the subfolders that hold one; nothing else is read."""
    places = sorted(path for path in folder.iterdir() if is_powder_bundle(path)) if folder.is_dir() else []
    manifests = {place.name: next(one for name in MANIFESTS if (one := place / name).is_file()) for place in places}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in manifests.items()}


def load_powder_model(folder: Path) -> PowderModel:
    """The forest or network in a folder.

    Raises
    ------
    BundleError
        If there is none, or it is damaged or of another version.
    """
    digest = powder_model_hash(folder)
    bundle = load_forest(folder) if (folder / forest_bundle.MANIFEST).is_file() else load_cnn(folder)
    return PowderModel(folder.name, bundle, digest)


def powder_files(folder: Path) -> tuple[str, ...]:
    """Names of the files of a forest or network, its manifest last.

    Raises
    ------
    BundleError
        If the manifest cannot be read.
    """
    manifest = next(name for name in MANIFESTS if (folder / name).is_file())
    try:
        return Path(json.loads((folder / manifest).read_bytes())["file"]).name, manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / manifest} cannot be read: {error}; train again") from error


def powder_model_hash(folder: Path) -> str:
    """Names the content of a forest or network: a hash of its manifest, which holds those of its files.

    Raises
    ------
    BundleError
        If there is none.
    """
    for manifest in MANIFESTS:
        if (folder / manifest).is_file():
            return hashlib.sha256((folder / manifest).read_bytes()).hexdigest()
    raise BundleError(f"{folder} holds no model of powder patterns ({' or '.join(MANIFESTS)}); train one, or check it")


def load_powder_models(folder: Path) -> tuple[PowderModel, ...]:
    """All models of powder patterns in the subfolders of a folder, by name.

    Raises
    ------
    BundleError
        If there is none, one is damaged, or they differ in their grid, wavelength or classes.
    """
    models = tuple(map(load_powder_model, powder_folders(folder)))
    refuse_differences(models)
    return models


def powder_folders(folder: Path) -> tuple[Path, ...]:
    """Subfolders of a folder that hold a forest or a network, by name.

    Raises
    ------
    BundleError
        If there is none.
    """
    places = sorted(path for path in folder.iterdir() if is_powder_bundle(path)) if folder.is_dir() else []
    if not places:
        raise BundleError(f"{folder} holds no model of powder patterns; run the train stage")
    return tuple(places)


def refuse_differences(models: tuple[PowderModel, ...]) -> None:
    """Refuse models that cannot be asked about one and the same prepared pattern."""
    first = models[0]
    for other in models[1:]:
        for what, one, two in (
            ("2θ grid", first.bundle.info.grid, other.bundle.info.grid),
            ("wavelength", first.wavelength, other.wavelength),
            ("classes", first.classes, other.classes),
        ):
            if one != two:
                raise BundleError(
                    f"the models {first.name} and {other.name} differ in their {what} ({one} and {two}); name the "
                    "folder of one of them instead of the run"
                )

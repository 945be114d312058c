"""A trained network as it is kept and used: a Keras file, which is read without running anything that it says."""

import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.cnn_cost import NetworkCost, network_cost
from hpc_mlsm.models.cnn_input import scale_patterns
from hpc_mlsm.models.cnn_networks import build_network, load_tensorflow
from hpc_mlsm.models.cnn_settings import CnnSettings

OWN = "hpc_mlsm.json"
"""Member of the Keras file that says how to build the network."""

WEIGHTS = "model.weights.h5"
PREDICT_ROWS = 256


@dataclass(frozen=True)
class CnnModel:
    """A trained network, as bytes, so that it can be pickled and sent to workers.

    The bytes are a ``.keras`` file of plain Keras layers, which other programs can open, with one more member. From
    it and the weights alone the network is built again here; what the file says of layers and classes is not looked at.
    """

    settings: CnnSettings
    n_points: int
    n_classes: int
    image: bytes

    @classmethod
    def of(cls, settings: CnnSettings, n_points: int, n_classes: int, weights: Sequence[NDArray]) -> "CnnModel":
        """From the weights that ``train_cnn`` gives."""
        network = build_network(settings, n_points, n_classes)
        network.set_weights(weights)
        described = {"settings": asdict(settings), "n_points": n_points, "n_classes": n_classes}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.keras"
            network.save(path)
            with zipfile.ZipFile(path, "a") as file:
                file.writestr(OWN, json.dumps(described))
            return cls(settings, n_points, n_classes, path.read_bytes())

    @classmethod
    def read(cls, image: bytes) -> "CnnModel":
        """From the bytes of a model (``image``).

        Raises
        ------
        BundleError
            If they are none, are damaged, or of another version of this program.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(image)) as file:
                described = json.loads(file.read(OWN))
            raw: dict[str, Any] = described["settings"]
            if different := {entry.name for entry in fields(CnnSettings)} ^ set(raw):
                raise KeyError(f"settings {sorted(different)}")
            settings = CnnSettings(**raw | {name: tuple(raw[name]) for name in ("widths", "heads")})
            return cls(settings, int(described["n_points"]), int(described["n_classes"]), image)
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            raise BundleError(
                f"this is no network that this version of the program saved ({type(error).__name__}: {error}); "
                "train again"
            ) from error

    @cached_property
    def network(self) -> Any:
        """The Keras network, in float32.

        Raises
        ------
        ConfigError
            If TensorFlow is missing.
        BundleError
            If the weights do not fit the network.
        """
        load_tensorflow()
        network = build_network(self.settings, self.n_points, self.n_classes)
        try:
            with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(self.image)) as file:
                path = Path(folder) / WEIGHTS
                path.write_bytes(file.read(WEIGHTS))
                with warnings.catch_warnings():
                    # Keras warns of weights that it does not find, and leaves fresh ones.
                    warnings.simplefilter("error", UserWarning)
                    network.load_weights(path)
        except (zipfile.BadZipFile, KeyError, ValueError, OSError, UserWarning) as error:
            raise BundleError(f"the weights of the network cannot be read ({error}); train again") from error
        return network

    @property
    def cost(self) -> NetworkCost:
        """Parameters and operations."""
        return network_cost(self.settings, self.n_points, self.n_classes)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "network"}

    def outputs(self, patterns: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """What the network gives for patterns (rows, n_points) in any scale; see ``build_network``.

        Raises
        ------
        BundleError
            If the patterns are of another length.
        """
        if patterns.ndim != 2 or patterns.shape[1] != self.n_points:
            raise BundleError(
                f"patterns of shape {patterns.shape} do not fit the network, which takes {self.n_points} points"
            )
        if not len(patterns):  # Keras' convolutions do not take nothing
            return {name: values[:0] for name, values in self.outputs(np.zeros((1, self.n_points))).items()}
        pieces: dict[str, list[NDArray[np.float32]]] = {name: [] for name in self.network.output}
        for start in range(0, len(patterns), PREDICT_ROWS):
            scaled = scale_patterns(patterns[start : start + PREDICT_ROWS], self.settings.scale)
            for name, values in self.network(scaled, training=False).items():
                pieces[name].append(np.asarray(values))
        return {name: np.concatenate(values) for name, values in pieces.items()}

    def margins(self, patterns: NDArray[np.floating]) -> NDArray[np.float32]:
        """Untransformed scores of the classes (rows, n_classes), for ``calibration.probabilities``."""
        return self.outputs(patterns)["class"]

"""The networks, built with Keras, and the device that they run on."""

import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.cnn_cost import (
    BLOCK_KERNEL,
    BLOCK_STRIDE,
    NECK,
    PAPER_BLOCKS,
    PAPER_DENSE,
    PAPER_POOL,
    PAPER_STRIDE,
    STEM_FILTERS,
    STEM_KERNEL,
    STEM_STRIDE,
)
from hpc_mlsm.models.cnn_settings import N_CELL, N_SPACE_GROUPS, CnnSettings

if TYPE_CHECKING:
    import keras

Dropout = Callable[[float, int], "keras.layers.Layer"]
"""Makes the layer that drops a share of values; the second argument tells the layers of a network apart."""


@dataclass(frozen=True)
class Device:
    """What a network runs on: ``cpu`` or ``gpu``, its name, and the Keras dtype policy."""

    kind: str
    name: str
    policy: str


def load_tensorflow() -> Any:
    """The module ``tensorflow``.

    Raises
    ------
    ConfigError
        If it is not installed, or Keras is set to compute with another library.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        import keras
        import tensorflow as tf
    except ImportError as error:
        raise ConfigError(
            f"convolutional networks need TensorFlow, which cannot be loaded ({error}): "
            'pip install "hpc_mlsm[cnn]", on GPUs pip install "tensorflow[and-cuda]" as well'
        ) from error
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"Keras is set to compute with {keras.backend.backend()}, but training needs TensorFlow: "
            "set KERAS_BACKEND=tensorflow"
        )
    return tf


def choose_device(settings: CnnSettings, local_rank: int = 0) -> Device:
    """Make one GPU, or none, visible to TensorFlow; to be called before anything is computed.

    Parameters
    ----------
    local_rank
        Number of this rank among those of its node; each takes another GPU.

    Raises
    ------
    ConfigError
        If a GPU was asked for and there is none.
    """
    tf = load_tensorflow()
    if settings.threads:
        with suppress(RuntimeError):  # a network ran in this process before, and with other threads
            tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    found = tf.config.list_physical_devices("GPU")
    if settings.device == "gpu" and not found:
        raise ConfigError(
            "train.cnn.device is gpu, but TensorFlow finds none here; set it to auto or cpu, ask the batch system for "
            'GPUs, or install TensorFlow with its CUDA libraries: pip install "tensorflow[and-cuda]"'
        )
    if settings.device == "cpu" or not found:
        tf.config.set_visible_devices([], "GPU")
        return Device("cpu", "CPU", "float32")
    own = found[local_rank % len(found)]
    try:
        tf.config.set_visible_devices([own], "GPU")
        tf.config.experimental.set_memory_growth(own, True)
    except RuntimeError:  # this process has computed before, on the GPU that it keeps
        own = tf.config.get_visible_devices("GPU")[0]
    details = tf.config.experimental.get_device_details(own)
    # bfloat16 has the range of float32, so that no loss needs scaling; units for it came with compute capability 8.
    modern = details.get("compute_capability", (0, 0)) >= (8, 0)
    mixed = settings.precision == "auto" and modern
    return Device("gpu", str(details.get("device_name", own.name)), "mixed_bfloat16" if mixed else "float32")


def build_network(
    settings: CnnSettings,
    n_points: int,
    n_classes: int,
    *,
    policy: str = "float32",
    dropout: Dropout | None = None,
) -> "keras.Model":
    """A network with fresh weights, which depend on ``settings.seed`` alone.

    It takes patterns (rows, n_points) with values from 0 to 1, and gives a dict of float32: ``class`` (rows,
    n_classes) and ``space_group`` (rows, 230) as logits, ``cell`` (rows, 6) as it is. The softmax of the published
    network is applied where probabilities are asked for.

    Batch normalisation takes its mean and variance over the patterns of all ranks (``synchronized``), so that the
    result does not depend on how a batch is spread over ranks.

    Raises
    ------
    ConfigError
        If patterns are too short for the network.
    """
    load_tensorflow()
    import keras

    make = _Layers(settings, policy, dropout or (lambda rate, number: keras.layers.Dropout(rate, dtype=policy)))
    patterns = keras.Input((n_points,), name="patterns")
    channels = keras.layers.Reshape((n_points, 1), dtype=policy)(patterns)
    features = make.paper(channels) if settings.network == "paper" else make.residual(channels)
    outputs = {"class": make.output(n_classes, "class")(features)}
    if "space_group" in settings.heads:
        outputs["space_group"] = make.output(N_SPACE_GROUPS, "space_group")(features)
    if "cell" in settings.heads:
        outputs["cell"] = make.output(N_CELL, "cell")(features)
    return keras.Model(patterns, outputs, name=settings.network)


class _Layers:
    def __init__(self, settings: CnnSettings, policy: str, dropout: Dropout) -> None:
        import keras

        self.settings, self.policy, self.dropout = settings, policy, dropout
        self.layers = keras.layers
        self.penalty = keras.regularizers.L2(settings.l2) if settings.l2 else None
        seeds = itertools.count(1_000_003 * settings.seed)
        self.weights = lambda: keras.initializers.GlorotUniform(seed=next(seeds))

    def output(self, units: int, name: str) -> Any:
        return self.layers.Dense(units, name=name, kernel_initializer=self.weights(), dtype="float32")

    def normalisation(self) -> Any:
        # Short trainings end before averages with the usual 0.99 have caught up.
        momentum = 0.99 if self.settings.network == "paper" else 0.95
        return self.layers.BatchNormalization(momentum=momentum, synchronized=True, dtype=self.policy)

    def convolution(self, filters: int, kernel: int, stride: int, **options: Any) -> Any:
        own = {"strides": stride, "padding": "same", "kernel_initializer": self.weights(), "dtype": self.policy}
        return self.layers.Conv1D(filters, kernel, **own, **options)

    def dense(self, units: int, **options: Any) -> Any:
        return self.layers.Dense(units, kernel_initializer=self.weights(), dtype=self.policy, **options)

    def paper(self, x: Any) -> Any:
        for number, (filters, kernel) in enumerate(PAPER_BLOCKS):
            x = self.convolution(filters, kernel, PAPER_STRIDE, activation="relu")(x)
            x = self.dropout(self.settings.dropout, number)(x)
            if x.shape[1] < PAPER_POOL:
                raise ConfigError(
                    f"patterns leave {x.shape[1]} points before the pooling of block {number + 1}, which takes "
                    f"{PAPER_POOL}: they are too short for the published network (4501 points); use network: residual"
                )
            x = self.layers.AveragePooling1D(PAPER_POOL, dtype=self.policy)(x)
        x = self.layers.Flatten(dtype=self.policy)(x)
        for units in PAPER_DENSE:
            activation = "tanh" if units == PAPER_DENSE[-1] else "relu"
            dense = self.dense(units, activation=activation, kernel_regularizer=self.penalty)
            x = self.normalisation()(dense(x))
        return x

    def residual(self, x: Any) -> Any:
        x = self.convolution(STEM_FILTERS, STEM_KERNEL, STEM_STRIDE, use_bias=False)(x)
        x = self.layers.ReLU(dtype=self.policy)(self.normalisation()(x))
        for width in self.settings.widths:
            x = self._block(x, width)
        x = self.layers.Flatten(dtype=self.policy)(x)
        x = self.dense(NECK, use_bias=False)(x)
        x = self.layers.ReLU(dtype=self.policy)(self.normalisation()(x))
        return self.dropout(self.settings.dropout, 0)(x)

    def _block(self, x: Any, width: int) -> Any:
        shortcut = self.normalisation()(self.convolution(width, 1, BLOCK_STRIDE, use_bias=False)(x))
        x = self.normalisation()(self.convolution(width, BLOCK_KERNEL, BLOCK_STRIDE, use_bias=False)(x))
        x = self.layers.ReLU(dtype=self.policy)(x)
        x = self.normalisation()(self.convolution(width, BLOCK_KERNEL, 1, use_bias=False)(x))
        return self.layers.ReLU(dtype=self.policy)(self.layers.Add(dtype=self.policy)([x, shortcut]))

"""The course of a training, epoch by epoch: as JSON for figures, and for TensorBoard."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_mlsm.durable import write_durably
from hpc_mlsm.models.cnn_networks import load_tensorflow
from hpc_mlsm.models.cnn_settings import CnnSettings

HISTORY = "history.json"


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Attributes
    ----------
    epoch
        From 1.
    loss, accuracy
        Over the training patterns while they were learnt from, without the penalty on weights.
    validation_loss, validation_accuracy
        Mean negative log-likelihood, and share of right answers, after the epoch.
    learning_rate
        At its end.
    steps, rows
        Steps, and patterns that all ranks together saw.
    seconds
        Of the training steps, in all runs of this epoch where it was interrupted.
    waiting
        Share of that for which this rank waited for its input.
    """

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    steps: int
    rows: int
    seconds: float
    waiting: float


@dataclass(frozen=True)
class Hooks:
    """Who is told and asked during a training; each is called on every rank.

    Attributes
    ----------
    on_epoch
        Told of each finished epoch.
    on_progress
        Called whenever something was done, at least once a step: what watches over the ranks learns that all is well.
    should_stop
        Asked at each step; when it says yes on any rank, all ranks stop together, and rank 0 writes a checkpoint.
    """

    on_epoch: Callable[[EpochRecord], None] = lambda _: None
    on_progress: Callable[[], None] = lambda: None
    should_stop: Callable[[], bool] = lambda: False


def best_epoch(history: Sequence[EpochRecord], min_delta: float) -> int:
    """Number of the epoch whose weights are kept: the last that lowered the validation loss by ``min_delta``; 0: none.

    A loss that is not a number never counts as lower.
    """
    best, lowest = 0, float("inf")
    for record in history:
        if record.validation_loss < lowest - (min_delta if best else 0.0):
            best, lowest = record.epoch, record.validation_loss
    return best


def is_finished(history: Sequence[EpochRecord], settings: CnnSettings) -> bool:
    """Whether all epochs are done, or the validation loss did not fall for long enough."""
    done = len(history)
    return done >= settings.epochs or done - best_epoch(history, settings.min_delta) >= settings.patience


def write_history(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Write ``history.json``: a list of the epochs' records.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    write_durably(folder / HISTORY, json.dumps([asdict(record) for record in history], indent=1).encode())


class TensorBoardLog:
    """Scalars of each epoch in a folder that ``tensorboard --logdir`` shows; TensorBoard itself is not needed.

    The file is made with the first epoch, so that starts that finish none leave nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def write(self, record: EpochRecord) -> None:
        """Add one epoch."""
        tf = load_tensorflow()
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._folder))
        # What tf.summary.scalar of the package tensorboard writes.
        scalar = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class=1
        )
        values = asdict(record)
        with self._writer.as_default(step=values.pop("epoch")):
            for name, value in values.items():
                tf.summary.write(name, np.float32(value), metadata=scalar)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

"""Labelled rows that a small model can tell apart: noise around one centre a class."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models.settings import BoostedSettings

CLASSES = 4
POINTS = 12
SETTINGS = BoostedSettings(
    rounds=7, max_depth=3, subsample=0.7, colsample_bytree=0.6, checkpoint_every=3, early_stopping_rounds=50
)

Table = tuple[NDArray[np.float32], NDArray[np.int64]]


def blobs(n: int, seed: int, *, noise: float = 0.9, classes: int = CLASSES, points: int = POINTS) -> Table:
    """n rows with labels 0 … classes - 1; the centres are the same for every seed."""
    centres = np.random.default_rng(99).normal(size=(classes, points))
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=n)
    return (centres[labels] + noise * generator.normal(size=(n, points))).astype(np.float32), labels


def streamed(table: Table, batch: int = 64) -> Callable[[], Iterator[Table]]:
    """The rows as a source that is read batch by batch, as often as wanted."""

    def batches() -> Iterator[Table]:
        for start in range(0, len(table[1]), batch):
            yield table[0][start : start + batch], table[1][start : start + batch]

    return batches

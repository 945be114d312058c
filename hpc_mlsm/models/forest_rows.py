"""The features that forests learn from, as one file that every worker reads."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError

KEPT = -1
"""Fold of a row that is in no test set."""


@dataclass(frozen=True, eq=False)
class ForestRows:
    """Features float32 (n, k), labels int64 (n,), and the test fold of each row int16 (n,), KEPT where in none."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    folds: NDArray[np.int16]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.labels) == len(self.folds) or self.features.ndim != 2:
            raise StoreError(
                f"{self.features.shape} features, {len(self.labels)} labels and {len(self.folds)} folds do not belong "
                "together"
            )
        if not np.isfinite(self.features).all():
            raise StoreError("features hold NaN or infinity; make them again")

    @classmethod
    def of(
        cls, features: NDArray[np.floating], labels: NDArray[np.integer], folds: NDArray[np.integer] | None = None
    ) -> "ForestRows":
        """Rows from arrays of any precision; without folds all rows are for training."""
        kept = np.full(len(labels), KEPT) if folds is None else folds
        return cls(features.astype(np.float32), labels.astype(np.int64), kept.astype(np.int16))

    def training(self, fold: int | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features and labels of all rows, or of those outside one fold."""
        kept = np.ones(len(self.labels), dtype=bool) if fold is None else self.folds != fold
        return self.features[kept], self.labels[kept]

    def test(self, fold: int) -> NDArray[np.intp]:
        """Indices of the rows in a fold."""
        return np.flatnonzero(self.folds == fold)


def write_rows(path: Path, rows: ForestRows) -> str:
    """Write rows; returns their checksum, by which workers know that they read the same.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    stream = io.BytesIO()
    np.savez(stream, features=rows.features, labels=rows.labels, folds=rows.folds)
    image = stream.getvalue()
    write_durably(path, image)
    return hashlib.sha256(image).hexdigest()


def read_rows(path: Path, checksum: str) -> ForestRows:
    """The rows that ``write_rows`` wrote.

    Raises
    ------
    StoreError
        If the file is missing, or not the one with this checksum.
    """
    try:
        image = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}; see that all nodes share this folder") from error
    found = hashlib.sha256(image).hexdigest()
    if found != checksum:
        raise StoreError(
            f"{path} has checksum {found[:12]}, this worker was told {checksum[:12]}: another file or an old copy; "
            "see that all nodes share this folder, and start again"
        )
    with np.load(io.BytesIO(image), allow_pickle=False) as arrays:
        return ForestRows(arrays["features"], arrays["labels"], arrays["folds"])

"""The predictions of an archive on the disk: shards, and the index that says which of them count."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from hpc_mlsm.archive.prediction_shard import inspect_prediction_shard, read_prediction_shard
from hpc_mlsm.archive.predictions import Predictions
from hpc_mlsm.durable import write_error
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store import upkeep
from hpc_mlsm.store.index import INDEX_NAME, Index, Mode
from hpc_mlsm.store.schema import ShardRecord

Piece = tuple[str, str]
"""Name of a run of frames, and a hash of what they are in the archive."""


class PredictionStore:
    """A folder of prediction shards; one process writes at a time, others may read. Use it as a context manager."""

    def __init__(self, folder: Path, mode: Mode) -> None:
        if mode == "a":
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise write_error(folder, error, 0) from error
        elif not (folder / INDEX_NAME).exists():
            raise StoreError(f"there are no predictions in {folder}: run predict first")
        self.folder = folder
        self._index = Index(folder / INDEX_NAME, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()

    def adopt(self, config_hash: str) -> tuple[str, ...]:
        """Take over finished shards that a killed run did not record; returns their names."""
        return upkeep.adopt(self.folder, self._index, config_hash, inspect_prediction_shard).adopted

    def verify(self) -> tuple[str, ...]:
        """Names of shards that are missing, cut or altered; they leave the index, so that they are done again."""
        return upkeep.verify(self.folder, self._index, full=True).bad

    def missing(self, wanted: Sequence[Piece], config_hash: str) -> list[str]:
        """Those of the wanted pieces that are not there under this configuration, in order."""
        return upkeep.missing(self._index, wanted, config_hash)

    def record(self, record: ShardRecord) -> None:
        """Make a finished shard count."""
        self._index.record(record)

    def drop(self, wanted: Sequence[Piece], config_hash: str) -> int:
        """Remove what is not wanted, or of another configuration."""
        return upkeep.drop(self.folder, self._index, wanted, config_hash)

    def read(self) -> Predictions:
        """All predictions that are there, in the order of the frames.

        Raises
        ------
        StoreError
            If there are none, or a shard is damaged.
        """
        names = list(self._index.shards())
        if not names:
            raise StoreError(f"there are no predictions in {self.folder}: run predict first")
        return Predictions.together([read_prediction_shard(self.folder / name) for name in names])

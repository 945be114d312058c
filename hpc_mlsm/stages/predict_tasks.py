"""What a worker does of the prediction over an archive, and what becomes of a task that had to be split."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_mlsm.archive.classifier import predict_block
from hpc_mlsm.archive.frames import FrameReject
from hpc_mlsm.archive.index_file import load_index
from hpc_mlsm.archive.load_classifier import load_classifier
from hpc_mlsm.archive.opening import read_frames
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.archive.prediction_shard import read_prediction_shard, write_prediction_shard
from hpc_mlsm.archive.predictions import Predictions
from hpc_mlsm.runtime.events import SetAside
from hpc_mlsm.store.schema import ShardRecord

STAGE = "predict"
TOLD = 20
"""So many frames that are set aside are told of one by one."""

KILLED = "killed_worker"
"""Reason of a frame that crashes its worker, or fills its memory."""


@dataclass(frozen=True)
class PredictTask:
    """Consecutive frames to predict into one shard, or into a part of it. Paths travel, not arrays."""

    start: int
    stop: int
    shard: tuple[int, int]
    content_hash: str
    config_hash: str
    index: Path
    model: Path
    folder: Path
    k: int
    coverage: float
    powder: MeasuredPowderSettings

    @property
    def id(self) -> str:
        """Name of the task."""
        return f"predict-{self.start}-{self.stop}-{self.content_hash[:8]}"

    @property
    def cost(self) -> float:
        """In frames."""
        return float(self.units)

    @property
    def units(self) -> int:
        """Frames."""
        return self.stop - self.start

    @property
    def is_part(self) -> bool:
        """Whether this is less than a shard."""
        return (self.start, self.stop) != self.shard

    def split(self) -> tuple["PredictTask", ...]:
        """Two halves, to find a frame that kills its worker."""
        if self.units < 2:
            return ()
        middle = (self.start + self.stop) // 2
        return replace(self, stop=middle), replace(self, start=middle)


def piece_name(start: int, stop: int) -> str:
    """What the frames of a shard, or of a part of one, are called in the store."""
    return f"frames-{start}-{stop}"


def predict_task(task: PredictTask) -> tuple[ShardRecord, tuple[SetAside, ...]]:
    """Predict the frames of one task and write their shard; runs on a worker."""
    index = load_index(task.index)
    classifier = load_classifier(task.model, task.powder)
    block = read_frames(index, task.start, task.stop)
    frames = np.arange(task.start, task.stop, dtype=np.int64)
    found = predict_block(classifier, index, block, frames, task.k, task.coverage)
    aside = tuple(
        SetAside(stage=STAGE, id=index.name(one.frame), reason=one.reason, detail=one.detail)
        for one in found.rejects[:TOLD]
    )
    return _write(task, (task.start, task.stop), found), aside


class SplitShards:
    """Shards whose tasks killed their workers and were split: put together again, without the frames to blame."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], list[Path]] = {}
        self._killers: dict[tuple[int, int], list[FrameReject]] = {}
        self._done: dict[tuple[int, int], int] = {}

    def add(self, task: PredictTask, record: ShardRecord) -> ShardRecord | None:
        """Take a part; the record of the whole shard if it was the last one."""
        self._parts.setdefault(task.shard, []).append(task.folder / record.name)
        return self._whole(task)

    def blame(self, task: PredictTask, name: str, detail: str) -> ShardRecord | None:
        """Take a frame that kills its worker; the record of the whole shard if it was the last part."""
        reject = FrameReject(task.start, KILLED, f"{name}: {detail}")
        self._killers.setdefault(task.shard, []).append(reject)
        return self._whole(task)

    def _whole(self, task: PredictTask) -> ShardRecord | None:
        shard = task.shard
        self._done[shard] = self._done.get(shard, 0) + task.units
        if self._done[shard] < shard[1] - shard[0]:
            return None
        parts = self._parts.get(shard, [])
        found = [read_prediction_shard(path) for path in parts]
        width = found[0].classes.shape[1] if found else task.k
        for reject in self._killers.get(shard, []):
            empty = Predictions.empty(np.array([reject.frame], dtype=np.int64), width)
            found.append(replace(empty, rejects=(reject,)))
        record = _write(task, shard, Predictions.together(found))
        for path in parts:
            path.unlink(missing_ok=True)
        return record


def _write(task: PredictTask, frames: tuple[int, int], found: Predictions) -> ShardRecord:
    return write_prediction_shard(task.folder, piece_name(*frames), task.content_hash, task.config_hash, found)

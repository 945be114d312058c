"""The frames of an archive on the model's grid, as shards that any executor makes; the first step of ``decompose``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.archive.frame_shards import (
    FrameSeries,
    frames_per_shard,
    prepare_frames,
    read_frame_shard,
    shard_path,
    write_frame_shard,
)
from hpc_mlsm.archive.frames import ArchiveIndex, FrameReject
from hpc_mlsm.archive.index_file import load_index
from hpc_mlsm.archive.load_classifier import load_classifier
from hpc_mlsm.archive.opening import frame_hash
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.durable import is_stale_part
from hpc_mlsm.errors import HpcMlsmError, RunError, StoreError
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.stages.archive_input import archive_model
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.predict_tasks import KILLED

STAGE = "decompose"
MAX_WRITE_FAILURES = 3
"""After so many shards that could not be written the stage stops."""


@dataclass(frozen=True)
class FramesTask:
    """Frames ``start`` to ``stop`` of the archive whose index is in a file, as a model takes them, into one shard."""

    index: Path
    model: Path
    shard: Path
    start: int
    stop: int
    powder: MeasuredPowderSettings
    skipped: tuple[FrameReject, ...] = ()

    @property
    def id(self) -> str:
        """Name of the task."""
        return f"frames-{self.start}-{self.stop}"

    @property
    def cost(self) -> float:
        """Frames."""
        return float(self.stop - self.start)

    @property
    def units(self) -> int:
        """Frames."""
        return self.stop - self.start


def frames_task(task: FramesTask) -> int:
    """Prepare the frames of a task and write their shard; runs on a worker. Returns how many can be used."""
    index, classifier = load_index(task.index), load_classifier(task.model, task.powder)
    prepared = prepare_frames(index, task.start, task.stop, classifier, task.skipped)
    write_frame_shard(task.shard, prepared)
    return len(prepared.frames)


def frame_series(
    context: RunContext, index: ArchiveIndex, index_file: Path, rejects: Sequence[FrameReject] = ()
) -> FrameSeries:
    """All usable frames of an archive, those that are missing, damaged or out of date made anew.

    Of the rejects of ``predict`` those that killed their worker are not read again.

    Raises
    ------
    RunError
        If a task failed.
    """
    folder, settings = (context.run.archive / "frames").resolve(), context.config.predict
    folder.mkdir(parents=True, exist_ok=True)
    model = archive_model(context.run, settings).resolve()
    classifier, hashes = load_classifier(model, settings.powder), frame_hash(index)
    size = frames_per_shard(len(classifier.grid))
    tasks = []
    for start in range(0, index.n_frames, size):
        stop = min(start + size, index.n_frames)
        skipped = tuple(one for one in rejects if one.reason == KILLED and start <= one.frame < stop)
        content = hashes(start, stop) + "".join(f" without {one.frame}" for one in skipped)
        shard = shard_path(folder, start, stop, content, classifier.preparation)
        tasks.append(FramesTask(index_file.resolve(), model, shard, start, stop, settings.powder, skipped))
    missing = [task for task in tasks if not _is_whole(task.shard, context)]
    if missing:
        _make(context, missing)
    wanted = {task.shard for task in tasks}
    for path in folder.iterdir():
        if path not in wanted and (path.suffix == ".h5" or is_stale_part(path)):
            path.unlink(missing_ok=True)
    return FrameSeries([task.shard for task in tasks])


def _is_whole(path: Path, context: RunContext) -> bool:
    if not path.exists():
        return False
    try:
        read_frame_shard(path)
    except StoreError as error:
        context.note(STAGE, str(error))
        return False
    return True


def _make(context: RunContext, tasks: list[FramesTask]) -> None:
    failures: list[HpcMlsmError] = []
    units = sum(task.units for task in tasks)
    with stage_events(
        context.on_event, STAGE, n_tasks=len(tasks), units="frames", n_units=units, **context.size
    ) as listener:
        for outcome in context.executor.map_tasks(frames_task, tasks, stage=STAGE, on_event=listener):
            if outcome.value is None:
                failures.append(outcome.error or RunError("the task ended without a result"))
            if sum(isinstance(failure, StoreError) for failure in failures) >= MAX_WRITE_FAILURES:
                break  # a disk that takes no more shards will take none of the rest
    if failures:
        raise RunError(
            f"{len(failures)} of {len(tasks)} tasks that read frames failed; the first failure: {failures[0]}"
        ) from failures[0]

"""Predict over an archive: every frame of it, in shards, resumable, on any executor."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm import __version__
from hpc_mlsm.archive.classifier import Classifier
from hpc_mlsm.archive.frames import ArchiveIndex
from hpc_mlsm.archive.index_file import load_index, save_index
from hpc_mlsm.archive.load_classifier import load_classifier, model_hash
from hpc_mlsm.archive.opening import frame_hash, open_archive
from hpc_mlsm.archive.prediction_shard import SCHEMA_VERSION
from hpc_mlsm.archive.prediction_store import Piece, PredictionStore
from hpc_mlsm.archive.predictions import NOT_JUDGED, Predictions
from hpc_mlsm.config.run_config import PredictSettings
from hpc_mlsm.errors import BundleError, ExecutorError, HpcMlsmError, RunError, StoreError
from hpc_mlsm.models.trust import VERDICTS
from hpc_mlsm.runtime.events import SetAside, stage_events
from hpc_mlsm.runtime.task_run import TaskError
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.predict_tasks import KILLED, STAGE, TOLD, PredictTask, SplitShards, piece_name, predict_task

INDEX = "archive.h5"
TASK_VALUES = 1_500_000
"""Values that one task reads, about 12 MB as float64; frames of 301 points come 4096 at a time."""

MOST_FRAMES = 4096
MAX_WRITE_FAILURES = 3


@dataclass(frozen=True)
class ArchiveSummary:
    """What the stage did, and where its predictions are.

    ``verdicts`` and ``systems`` count frames, the latter by the crystal system that comes first; it is empty for PDFs.
    ``calibrated`` is as in Predictions.
    """

    folder: Path
    frames: int
    already_there: int
    set_aside: int
    duplicates: int
    verdicts: dict[str, int]
    systems: dict[str, int]
    calibrated: bool
    notes: tuple[str, ...]


def run(
    context: RunContext, addresses: Sequence[str | Path], model: Path | None = None, folder: Path | None = None
) -> ArchiveSummary:
    """Predict what is missing of an archive, into a folder of shards: the run's ``predictions/archive`` by default.

    Shards of an earlier call that was killed are taken over, damaged ones redone; frames that were added to the archive
    since are predicted alone. Read the result with ``read_predictions``.

    Raises
    ------
    PatternError
        If the archive cannot be read.
    BundleError
        If the model is of another kind than the archive.
    RunError
        If tasks failed.
    """
    settings = context.config.predict
    model = (model or context.run.model).resolve()
    folder = (folder or context.run.predictions / "archive").resolve()
    classifier = load_classifier(model, settings.powder)
    # Powder patterns are written as bare columns often enough, and a model of these knows no others.
    index = open_archive(addresses, settings.archive, assumed="powder" if classifier.kind == "powder" else None)
    _refuse_other_kind(index, classifier, model)
    for note in index.notes:
        context.note(STAGE, f"{index.source}: {note}")
    config_hash = _config_hash(model, classifier, settings, index)
    with PredictionStore(folder, "a") as store:
        save_index(index, folder / INDEX)
        pieces = list(_pieces(index, classifier))
        wanted: list[Piece] = [(name, content) for name, _, _, content in pieces]
        store.adopt(config_hash)
        for name in store.verify():
            context.note(STAGE, f"shard {name} is damaged or missing and will be redone")
        missing = set(store.missing(wanted, config_hash))
        tasks = [
            PredictTask(
                start,
                stop,
                (start, stop),
                content,
                config_hash,
                folder / INDEX,
                model,
                folder,
                settings.top_k,
                settings.coverage,
                settings.powder,
            )
            for name, start, stop, content in pieces
            if name in missing
        ]
        _predict(context, store, tasks, index)
        store.drop(wanted, config_hash)
        found = store.read()
    return _summary(folder, index, classifier, found, sum(task.units for task in tasks))


def read_predictions(folder: Path) -> tuple[ArchiveIndex, Predictions]:
    """The archive that was predicted, and what was found.

    Raises
    ------
    StoreError
        If there are no predictions, or they are damaged.
    """
    index = load_index(folder / INDEX)
    with PredictionStore(folder, "r") as store:
        found = store.read()
    if len(found) != index.n_frames:
        raise StoreError(f"{folder} holds {len(found)} of {index.n_frames} frames: run predict again, it does the rest")
    return index, found


def _predict(context: RunContext, store: PredictionStore, tasks: list[PredictTask], index: ArchiveIndex) -> None:
    if not tasks:
        return
    failures: list[HpcMlsmError] = []
    units, told, split = sum(task.units for task in tasks), 0, SplitShards()
    with stage_events(
        context.on_event, STAGE, n_tasks=len(tasks), units="frames", n_units=units, **context.size
    ) as listener:
        for outcome in context.executor.map_tasks(predict_task, tasks, stage=STAGE, on_event=listener):
            aside: tuple[SetAside, ...] = ()
            if outcome.value is not None:
                record, aside = outcome.value
                whole = split.add(outcome.task, record) if outcome.task.is_part else record
            elif _kills(outcome.task, outcome.error):
                name, detail = index.name(outcome.task.start), str(outcome.error)
                aside = (SetAside(stage=STAGE, id=name, reason=KILLED, detail=detail),)
                whole = split.blame(outcome.task, name, detail)
            else:
                failures.append(outcome.error or RunError("the task ended without a result"))
                if sum(isinstance(one, StoreError) for one in failures) >= MAX_WRITE_FAILURES:
                    break
                continue
            if whole is not None:
                store.record(whole)
            for event in aside[: max(0, TOLD - told)]:
                context.on_event(event)
            told += len(aside)
    if failures:
        raise RunError(
            f"{len(failures)} of {len(tasks)} tasks of predict failed, the rest is kept; the first failure: "
            f"{failures[0]}"
        )


def _kills(task: PredictTask, error: HpcMlsmError | None) -> bool:
    """Whether a task ended because its only frame killed worker after worker."""
    return task.units == 1 and isinstance(error, ExecutorError) and not isinstance(error, TaskError)


def _pieces(index: ArchiveIndex, classifier: Classifier) -> Iterator[tuple[str, int, int, str]]:
    """Runs of consecutive frames, with name, beginning, end and content hash; the same whatever the executor."""
    size = max(1, min(MOST_FRAMES, TASK_VALUES // max(1, len(classifier.grid))))
    hashes = frame_hash(index)
    for start in range(0, index.n_frames, size):
        stop = min(start + size, index.n_frames)
        yield piece_name(start, stop), start, stop, hashes(start, stop)


def _config_hash(model: Path, classifier: Classifier, settings: PredictSettings, index: ArchiveIndex) -> str:
    how = (settings.top_k, settings.coverage, index.kind, index.axis, index.unit, index.unit_given, index.abscissa)
    text = repr((model_hash(model), classifier.preparation, how, SCHEMA_VERSION, __version__))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse_other_kind(index: ArchiveIndex, classifier: Classifier, model: Path) -> None:
    if index.kind != classifier.kind:
        words = {"pdf": "PDFs", "powder": "powder patterns"}
        raise BundleError(
            f"{index.source} holds {words[index.kind]}, and the model in {model} knows {words[classifier.kind]}; name "
            "a model of the archive's kind, or say what the archive is if that was read wrongly (predict.archive.kind)"
        )


def _summary(
    folder: Path, index: ArchiveIndex, classifier: Classifier, found: Predictions, done: int
) -> ArchiveSummary:
    counts = Counter(found.verdict.tolist())
    words = dict(enumerate(VERDICTS)) if classifier.kind == "pdf" else {NOT_JUDGED: "not judged"}
    return ArchiveSummary(
        folder=folder,
        frames=index.n_frames,
        already_there=index.n_frames - done,
        set_aside=int((~found.usable).sum()),
        duplicates=int((found.duplicates() >= 0).sum()),
        verdicts={name: counts.get(k, 0) for k, name in words.items()},
        systems=_systems(classifier, found) if classifier.kind == "powder" else {},
        calibrated=found.calibrated,
        notes=index.notes,
    )


def _systems(classifier: Classifier, found: Predictions) -> dict[str, int]:
    counts = Counter(found.classes[found.usable, 0].tolist())
    return {entry.class_id: counts.get(label, 0) for label, entry in enumerate(classifier.classes)}

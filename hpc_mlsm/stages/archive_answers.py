"""Frames of whole archives that were classified before: which would now get another answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpc_mlsm.archive.frames import ArchiveIndex
from hpc_mlsm.archive.predictions import Predictions
from hpc_mlsm.errors import HpcMlsmError, RunError
from hpc_mlsm.models.bundle import Bundle
from hpc_mlsm.stages import predict_archive
from hpc_mlsm.stages.archive_input import model_of, predictions_folder
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.update_record import ChangedAnswer

STAGE = "update"


def archive_answers(
    context: RunContext, archives: Sequence[Path], events: Sequence[Mapping[str, Any]]
) -> tuple[int, tuple[ChangedAnswer, ...]]:
    """Classify the frames of archive runs by the model of now, and compare with the answers that these runs hold.

    The archive is read anew, as its run was told to; the new predictions are kept with the updates, in shards, so that
    what was done before a kill is not done again. Archives that cannot be read are passed over with a note.

    Returns
    -------
    frames : int
        How many have an answer of both models.
    answers : tuple of ChangedAnswer
    """
    into = {event["class_id"]: set(event["others"]) for event in events if event["event"] == "merged"}
    frames, answers = 0, []
    for archive in archives:
        try:
            run = RunDirectory(archive)
            index, before = predict_archive.read_predictions(predictions_folder(run))
            again, after = _predicted_again(context, run)
            if again.n_frames < index.n_frames:
                raise RunError(f"{archive}: the archive has {again.n_frames} frames now, and had {index.n_frames}")
            both = before.usable & after.usable[: len(before)]
            frames += int(both.sum())
            models = model_of(run), model_of(context.run)
            answers += _different(archive, index, models, before, after, np.flatnonzero(both), into)
        except HpcMlsmError as error:
            context.note(STAGE, f"{archive} is passed over: {error}")
    return frames, tuple(answers)


def _predicted_again(context: RunContext, run: RunDirectory) -> tuple[ArchiveIndex, Predictions]:
    """Predictions of an archive run's archive by the model of now."""
    settings = run.load().predict
    if not settings.patterns:
        raise RunError(f"{run.path} does not say what archive it is of (predict.patterns)")
    name = hashlib.sha256(str(run.path.resolve()).encode()).hexdigest()[:12]
    folder = context.run.path / "updates" / "archives" / name
    usual = context.config
    context.config = replace(usual, predict=settings)
    try:
        predict_archive.run(context, settings.patterns, context.run.model, folder)
    finally:
        context.config = usual
    return predict_archive.read_predictions(folder)


def _different(
    archive: Path,
    index: ArchiveIndex,
    models: tuple[Bundle, Bundle],
    before: Predictions,
    after: Predictions,
    rows: Sequence[int] | np.ndarray,
    into: Mapping[str, set[str]],
) -> list[ChangedAnswer]:
    """Of these rows, those whose first class is another one."""
    found = []
    for row in rows:
        old = models[0].classes[before.classes[row, 0]]
        new = models[1].classes[after.classes[row, 0]]
        if new.class_id == old.class_id or new.class_id in into.get(old.class_id, ()):
            continue
        found.append(
            ChangedAnswer(
                predictions=str(archive),
                frame=index.name(int(before.frames[row])),
                class_before=old.class_id,
                formula_before=old.representative_member.formula,
                class_now=new.class_id,
                formula_now=new.representative_member.formula,
                probability_before=float(before.probabilities[row, 0]),
                probability_now=float(after.probabilities[row, 0]),
            )
        )
    return found

"""Frames of whole archives that were classified before: which would now get another answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
            found = answered_twice(context, run, predictions_folder(run), context.run.model)
            frames += len(found.rows)
            answers += _different(archive, found, (model_of(run), model_of(context.run)), into)
        except HpcMlsmError as error:
            context.note(STAGE, f"{archive} is passed over: {error}")
    return frames, tuple(answers)


@dataclass(frozen=True)
class TwoAnswers:
    """Predictions of an archive by two models, and the frames that have an answer of both."""

    index: ArchiveIndex
    before: Predictions
    after: Predictions
    rows: NDArray[np.int64]


def answered_twice(context: RunContext, run: RunDirectory, predictions: Path, model: Path) -> TwoAnswers:
    """The predictions that an archive run holds in a folder, and those by a model of now.

    Raises
    ------
    HpcMlsmError
        If there are none, or the archive cannot be read or has lost frames.
    """
    index, before = predict_archive.read_predictions(predictions)
    again, after = _predicted_again(context, run, predictions, model)
    if again.n_frames < index.n_frames:
        raise RunError(f"{run.path}: the archive has {again.n_frames} frames now, and had {index.n_frames}")
    both = before.usable & after.usable[: len(before)]
    return TwoAnswers(index, before, after, np.flatnonzero(both))


def _predicted_again(
    context: RunContext, run: RunDirectory, predictions: Path, model: Path
) -> tuple[ArchiveIndex, Predictions]:
    """Predictions of an archive run's archive by a model of now."""
    settings = run.load().predict
    if not settings.patterns:
        raise RunError(f"{run.path} does not say what archive it is of (predict.patterns)")
    name = hashlib.sha256(str(predictions.resolve()).encode()).hexdigest()[:12]
    folder = context.run.path / "updates" / "archives" / name
    usual = context.config
    context.config = replace(usual, predict=settings)
    try:
        predict_archive.run(context, settings.patterns, model, folder)
    finally:
        context.config = usual
    return predict_archive.read_predictions(folder)


def _different(
    archive: Path, twice: TwoAnswers, models: tuple[Bundle, Bundle], into: Mapping[str, set[str]]
) -> list[ChangedAnswer]:
    """The frames whose first class is another one."""
    found = []
    before, after = twice.before, twice.after
    for row in twice.rows:
        old = models[0].classes[before.classes[row, 0]]
        new = models[1].classes[after.classes[row, 0]]
        if new.class_id == old.class_id or new.class_id in into.get(old.class_id, ()):
            continue
        found.append(
            ChangedAnswer(
                predictions=str(archive),
                frame=twice.index.name(int(before.frames[row])),
                class_before=old.class_id,
                formula_before=old.representative_member.formula,
                class_now=new.class_id,
                formula_now=new.representative_member.formula,
                probability_before=float(before.probabilities[row, 0]),
                probability_now=float(after.probabilities[row, 0]),
            )
        )
    return found

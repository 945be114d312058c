"""What an update of a run of powder patterns has of its own: several models, and crystal systems for classes."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpc_mlsm.archive.powder_answers_file import StoredAnswers, read_answers_nexus
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.errors import HpcMlsmError
from hpc_mlsm.evaluation.fold_scores import CrossValidation
from hpc_mlsm.models.powder_models import (
    PowderModel,
    bundle_hashes,
    load_powder_model,
    load_powder_models,
    powder_folders,
)
from hpc_mlsm.stages.archive_answers import TwoAnswers, answered_twice
from hpc_mlsm.stages.archive_input import predictions_folder
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.cross_validate import load_study
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.update_record import ChangedAnswer, ModelState

STAGE = "update"


def powder_state(run: RunDirectory) -> ModelState | None:
    """The models on disk and their scores over all folds; None where there is no model."""
    hashes = bundle_hashes(run.path / "models")
    if not hashes:
        return None
    study = load_study(run)
    results = study.results if study else ()
    top_k = {f"{one.model}, {one.data_set}": _shares(one) for one in results}
    classes = max((int(np.count_nonzero(one.rows_by_class)) for one in results), default=0)
    rows = max((int(one.rows_by_class.sum()) for one in results), default=0)
    return ModelState(fingerprint(sorted(hashes.items())), classes, 0, top_k, rows)


def _shares(result: CrossValidation) -> dict[str, float]:
    """Accuracy with one candidate and with two; without what is undefined, which JSON does not hold."""
    shares = {"1": result.mean_std("accuracy")[0], "2": result.mean_std("top2")[0]}
    return {candidates: share for candidates, share in shares.items() if math.isfinite(share)}


def changed_powder_answers(context: RunContext, predictions: Sequence[Path]) -> tuple[int, tuple[ChangedAnswer, ...]]:
    """Ask the models of now about the patterns in files of predictions, each model on its own.

    Files that are not there, cannot be read or have another grid are passed over with a note, and so are models that
    learnt patterns with their background: the files hold them without.

    Returns
    -------
    frames : int
        How many were asked about again.
    answers : tuple of ChangedAnswer
    """
    present = [path for path in predictions if path.exists() or context.config.update.predictions]
    if not present:
        return 0, ()
    models = load_powder_models(context.run.path / "models")
    frames, found = 0, []
    for path in present:
        try:
            stored = read_answers_nexus(path)
        except HpcMlsmError as error:
            context.note(STAGE, str(error))
            continue
        asked = [model for model in models if _can_be_asked(context, path, stored, model)]
        frames += len(stored.names) if asked else 0
        for model in asked:
            found += _changed(path, stored, model)
    return frames, tuple(found)


def changed_archive_answers(context: RunContext, archives: Sequence[Path]) -> tuple[int, tuple[ChangedAnswer, ...]]:
    """Classify the frames of archive runs by the models of now, and compare with the answers of the same names there.

    Archives that cannot be read, and models that have no answers there, are passed over with a note.
    """
    frames, found = 0, []
    for archive in archives:
        run, most = RunDirectory(archive), 0
        for folder in powder_folders(context.run.path / "models"):
            try:
                twice = answered_twice(context, run, predictions_folder(run) / folder.name, folder)
            except HpcMlsmError as error:
                context.note(STAGE, f"{archive} is passed over by model {folder.name}: {error}")
                continue
            most = max(most, len(twice.rows))
            found += _changed_frames(archive, twice, load_powder_model(folder))
        frames += most
    return frames, tuple(found)


def _changed_frames(archive: Path, twice: TwoAnswers, model: PowderModel) -> list[ChangedAnswer]:
    before, after = twice.before, twice.after
    return [
        ChangedAnswer(
            predictions=str(archive),
            frame=twice.index.name(int(before.frames[row])),
            class_before=model.classes[before.classes[row, 0]],
            formula_before="",
            class_now=model.classes[after.classes[row, 0]],
            formula_now="",
            probability_before=float(before.probabilities[row, 0]),
            probability_now=float(after.probabilities[row, 0]),
            model=model.name,
        )
        for row in twice.rows
        if before.classes[row, 0] != after.classes[row, 0]
    ]


def _can_be_asked(context: RunContext, path: Path, stored: StoredAnswers, model: PowderModel) -> bool:
    if not np.array_equal(stored.two_theta, model.two_theta) or stored.classes != model.classes:
        why = f"the patterns in {path} have another grid, or the model other classes; predict them anew"
    elif model.name not in stored.models:
        why = f"{path} holds no answers of this model"
    elif model.knows_background:
        why = f"it learnt patterns with their background, which those in {path} no longer have; predict them anew"
    else:
        return True
    context.note(STAGE, f"model {model.name} is not asked again: {why}")
    return False


def _changed(path: Path, stored: StoredAnswers, model: PowderModel) -> list[ChangedAnswer]:
    if not stored.names:
        return []
    before = stored.probabilities[:, stored.models.index(model.name)]
    now = model.probabilities(stored.patterns)
    old, new = before.argmax(axis=1), now.argmax(axis=1)
    return [
        ChangedAnswer(
            predictions=str(path),
            frame=stored.names[row],
            class_before=model.classes[old[row]],
            formula_before="",
            class_now=model.classes[new[row]],
            formula_now="",
            probability_before=float(before[row, old[row]]),
            probability_now=float(now[row, new[row]]),
            model=model.name,
        )
        for row in np.flatnonzero(old != new)
    ]

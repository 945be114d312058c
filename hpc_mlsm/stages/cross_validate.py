"""Evaluate, for powder patterns: cross-validation of each model on each data set, as tables."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.evaluation.classify_settings import FORESTS, ModelName, model_folder
from hpc_mlsm.evaluation.fold_files import DUMMY, FoldStudy, read_study, write_study
from hpc_mlsm.evaluation.fold_scores import CrossValidation, cross_validation_scores, dummy_probabilities
from hpc_mlsm.evaluation.folds import Folds
from hpc_mlsm.models.cnn_agreement import settings_fingerprint
from hpc_mlsm.models.forest_files import read_checked, sklearn_version, write_checked
from hpc_mlsm.stages.cnn_folds import cross_validate_cnn
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.data_sets import LabelledSet, labelled_sets
from hpc_mlsm.stages.forest_features import StorePeaks
from hpc_mlsm.stages.forests import cross_validate_forest
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.train_powder import (
    background_of_run,
    forest_rows,
    forest_settings,
    peaks_of_run,
    refuse_missing_packages,
)
from hpc_mlsm.store.patterns import PatternStore

FOLDER = "evaluation"

Answers = tuple[NDArray[np.int64], NDArray[np.floating]]
"""Structure of each row (rows,), and its probabilities (rows, classes) by a model that had not seen its fold."""


def run(context: RunContext) -> FoldStudy | None:
    """Cross-validate what was not yet, and write scores and tables; None where the configuration wants none.

    Every fold that is finished stays, whatever happens to the others.
    """
    config = context.config
    if not config.classify.cross_validate:
        return None
    sets = labelled_sets(context.run, config)
    expected = study_fingerprint(sets, config)
    existing = read_study(context.run.path / FOLDER)
    if existing is not None and existing.fingerprint == expected:
        return existing
    refuse_missing_packages(config)
    folded = [(part, part.folds(config.classify.folds)) for part in sets]
    peaks = peaks_of_run(context) if any(name in FORESTS for name in config.models) else None
    results: list[CrossValidation] = []
    for part, folds in folded:
        results += _of_set(context, part, folds, peaks)
    study = FoldStudy(
        expected,
        tuple(results),
        {part.name: part.excluded for part in sets},
        {part.name: part.synthetic for part in sets},
        config.classify.folds.disjoint,
        tuple(sorted({one for part in sets for one in part.relabelled}, key=lambda one: one.id)),
    )
    write_study(study, context.run.path / FOLDER)
    return study


def study_fingerprint(sets: tuple[LabelledSet, ...], config: RunConfig) -> str:
    """Names everything that the scores depend on."""
    models = [_model_fingerprint(part, name, config) for part in sets for name in config.models]
    return fingerprint(models, config.models)


def load_study(run: RunDirectory) -> FoldStudy | None:
    """The scores that are there, if any."""
    return read_study(run.path / FOLDER)


def _model_fingerprint(part: LabelledSet, name: ModelName, config: RunConfig) -> str:
    if name in FORESTS:
        own = {key: value for key, value in vars(forest_settings(config, name)).items() if key != "trees_per_task"}
        what = [own, config.classify.peaks, background_of_run(config), sklearn_version()]
    else:
        what = [settings_fingerprint(config.networks[name])]
    return fingerprint(part.fingerprint, config.classify.folds, name, what)


def _of_set(context: RunContext, part: LabelledSet, folds: Folds, peaks: StorePeaks | None) -> list[CrossValidation]:
    results = []
    for name in context.config.models:
        folder = (context.run.path / FOLDER / "folds" / model_folder(name, part.name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        own = _model_fingerprint(part, name, context.config)
        if name in FORESTS and peaks is not None:
            answers = _of_forest(context, folder, part, folds, peaks, name)
        else:
            answers = _of_network(context, folder, folds, name, own)
        results.append(_scored(name, part, folds, answers))
    every = _rows_of_structures(context.run, part)
    dummy = dummy_probabilities(folds.labels[every], folds.fold_of[every], len(folds.classes))
    results.append(_scored(DUMMY, part, folds, (every, dummy)))
    return results


def _scored(name: str, part: LabelledSet, folds: Folds, answers: Answers) -> CrossValidation:
    structures, probabilities = answers
    labels, fold_of = folds.labels[structures], folds.fold_of[structures]
    return cross_validation_scores(name, part.name, folds.classes, labels, probabilities, fold_of)


def _rows_of_structures(run: RunDirectory, part: LabelledSet) -> NDArray[np.int64]:
    """Structure of every pattern of the data set."""
    with PatternStore.open(run.patterns, "r") as store:
        live = [one for _, one in store.live_shards(store.ids())]
    rows = np.concatenate([np.repeat(one["structure"], one["n_rows"]) for one in live])
    return np.sort(rows[part.inside[rows]]).astype(np.int64)


def _of_forest(
    context: RunContext, folder: Path, part: LabelledSet, folds: Folds, peaks: StorePeaks, name: ModelName
) -> Answers:
    settings = forest_settings(context.config, name)
    rows, chosen = forest_rows(peaks, settings, folds.labels, folds.fold_of, part.inside)
    found = cross_validate_forest(context.executor, rows, settings, folder, context.on_event)
    full = np.zeros((len(found), len(folds.classes)))
    full[:, : found.shape[1]] = found  # the last classes may have no members
    return peaks.structures[chosen], full


def _of_network(context: RunContext, folder: Path, folds: Folds, name: ModelName, own: str) -> Answers:
    """Every fold that is finished is written at once: it is hours of work."""
    parts = {fold: found for fold in range(folds.n_folds) if (found := _read_fold(folder, fold, own)) is not None}
    for result in cross_validate_cnn(
        context.executor,
        context.run.patterns.resolve(),
        folds.labels,
        folds.fold_of,
        len(folds.classes),
        context.config.networks[name],
        folder,
        own,
        context.on_event,
        done=parts.keys(),
    ):
        parts[result.fold] = (result.structures, result.probabilities)
        stream = io.BytesIO()
        np.savez(stream, own=np.array(own), structures=result.structures, probabilities=result.probabilities)
        write_checked(_fold_file(folder, result.fold), stream.getvalue())
    ordered = [parts[fold] for fold in sorted(parts)]
    return np.concatenate([one[0] for one in ordered]), np.concatenate([one[1] for one in ordered])


def _fold_file(folder: Path, fold: int) -> Path:
    return folder / f"fold-{fold}.answers"


def _read_fold(folder: Path, fold: int, own: str) -> Answers | None:
    content = read_checked(_fold_file(folder, fold))
    if content is None:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return (arrays["structures"], arrays["probabilities"]) if str(arrays["own"]) == own else None

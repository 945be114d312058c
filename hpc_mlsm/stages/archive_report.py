"""Everything that was found of an archive, put together: the result file, its tables, and the morning report."""

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.archive.classifier import Classifier, PdfClassifier
from hpc_mlsm.archive.frame_shards import FrameSeries
from hpc_mlsm.archive.frames import ArchiveIndex
from hpc_mlsm.archive.load_classifier import model_hash
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.archive.predictions import Predictions
from hpc_mlsm.config.load import plain
from hpc_mlsm.decomposition.decomposition import Decomposition
from hpc_mlsm.decomposition.result_file import load_decomposition
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.models.trust import VERDICTS as MODEL_VERDICTS
from hpc_mlsm.report.archive_answer import NOT_JUDGED, SET_ASIDE, VERDICTS, ArchiveAnswer, SeriesAxis, ShownFit
from hpc_mlsm.report.archive_nexus import archive_image
from hpc_mlsm.report.archive_tables import components_table, csv_bytes, frames_table, parquet_bytes
from hpc_mlsm.report.binning import Bins
from hpc_mlsm.stages.archive_fits import archive_fits
from hpc_mlsm.stages.archive_input import archive_model, classifier_of, predictions_folder
from hpc_mlsm.stages.archive_series import along
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.decompose import component_rankings, series_of
from hpc_mlsm.stages.predict_archive import read_predictions
from hpc_mlsm.stages.report import stage_summaries
from hpc_mlsm.stages.run_directory import RunDirectory

STAGE = "report"
PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "h5py", "xgboost")
MADE_UP = "synthetic"
"""Source of structures that were made up."""

_WORDS = {"confident": 0, "several": 1, "outside": 2, "amorphous": 3}
"""Verdicts of the model, as places in the report's list."""


@dataclass(frozen=True)
class ArchiveFiles:
    """What was written."""

    report: Path
    result: Path
    frames: int
    counts: dict[str, int]


def run(context: RunContext) -> ArchiveFiles:
    """Write ``archive.nxs``, ``frames.csv``, ``frames.parquet``, ``components.csv`` and the morning report."""
    from hpc_mlsm.report.archive_page import write_morning_report

    answer = gather_answer(context)
    folder, report = context.run.archive, context.run.morning_report
    folder.mkdir(parents=True, exist_ok=True)
    report.parent.mkdir(parents=True, exist_ok=True)
    table = frames_table(answer)
    write_durably(folder / "frames.csv", csv_bytes(table))
    write_durably(folder / "frames.parquet", parquet_bytes(table))
    if answer.decomposition is not None:
        write_durably(folder / "components.csv", csv_bytes(components_table(answer)))
    write_durably(folder / "archive.nxs", archive_image(answer))
    write_morning_report(answer, report)
    return ArchiveFiles(report, folder / "archive.nxs", answer.n, answer.counts)


def gather_answer(context: RunContext) -> ArchiveAnswer:
    """What is in the run of its archive."""
    run = context.run
    index, predictions = read_predictions(predictions_folder(run))
    classifier, series = classifier_of(run, context.config.predict), series_of(run)
    found = _decomposition(run, series)
    classes, top = _classes(predictions, classifier)
    name, unit, values = along(index)
    rankings = component_rankings(classifier, found) if found is not None else ()
    fits = archive_fits(context, index, series, classes, found)
    component_verdicts = _component_verdicts(classifier, found, context)
    return ArchiveAnswer(
        title=f"{context.config.name}: what is in the archive",
        archive=index.source,
        run=str(run.path),
        created=datetime.now().astimezone(),
        names=[index.name(frame) for frame in range(index.n_frames)],
        axis=SeriesAxis(name, unit, values),
        grid=classifier.grid,
        classes=classes,
        top=top,
        probability=predictions.probabilities,
        verdict=_PLACES[predictions.verdict],
        reason=_reasons(predictions, index),
        used=series.frames,
        patterns=_means(series, found),
        decomposition=found,
        component_candidates=rankings,
        component_verdicts=component_verdicts,
        fits=fits.gathered,
        component_fits=_worth_showing(fits.components, component_verdicts),
        best_fits=fits.best,
        worst_fits=fits.worst,
        rejects=_rejects(predictions, index),
        stages=stage_summaries(run),
        settings=_settings(context),
        provenance=_provenance(context, classifier, index),
        notes=(*_notes(index, predictions), *_weakness(classifier), *fits.notes),
        synthetic=_synthetic(index, classifier),
        kind=classifier.kind,
        calibrated=predictions.calibrated,
    )


def _decomposition(run: RunDirectory, series: FrameSeries) -> Decomposition | None:
    if not run.decomposition.exists():
        return None
    found = load_decomposition(run.decomposition)
    if found.n != len(series):
        raise StoreError(
            f"{run.decomposition} is of {found.n} frames, and {len(series)} can be used now; run: hpc-mlsm decompose "
            f"{run.path}"
        )
    return found


def _classes(predictions: Predictions, classifier: Classifier) -> tuple[tuple[ClassEntry, ...], NDArray[np.int32]]:
    """Classes that occur among the candidates, and each frame's candidates as places among them."""
    labels = np.unique(predictions.classes[predictions.classes >= 0])
    place = np.full(len(classifier.classes) + 1, -1, dtype=np.int32)
    place[labels] = np.arange(len(labels))
    return tuple(classifier.classes[label] for label in labels.tolist()), place[predictions.classes]


_PLACES = np.array([*(_WORDS[word] for word in MODEL_VERDICTS), SET_ASIDE, NOT_JUDGED], dtype=np.int8)
"""Places in the report's list of what predictions hold as verdicts."""


def _reasons(predictions: Predictions, index: ArchiveIndex) -> list[str]:
    """Why a frame is doubtful, in words; the frame's own note where there is one."""
    texts = np.full(len(predictions), "", dtype=object)
    for word, text in (
        ("several", "{size} classes are needed to hold the right one as often as asked for"),
        ("outside", "the nearest training pattern leaves {residual:.0%} unexplained"),
    ):
        for row in np.flatnonzero(predictions.verdict == MODEL_VERDICTS.index(word)):
            texts[row] = text.format(size=predictions.set_size[row], residual=float(predictions.residual[row]))
    for reject in predictions.rejects:
        texts[reject.frame] = reject.detail
    first = predictions.duplicates()
    for row in np.flatnonzero(first >= 0):
        texts[row] = "; ".join(filter(None, (texts[row], f"the same as frame {index.name(int(first[row]))}")))
    return list(texts)


def _rejects(predictions: Predictions, index: ArchiveIndex) -> tuple[PatternReject, ...]:
    return tuple(
        PatternReject(index.name(one.frame), index.source, one.reason, one.detail) for one in predictions.rejects
    )


def _means(series: FrameSeries, found: Decomposition | None) -> NDArray[np.float32]:
    """Mean patterns of the runs of the decomposition's Pearson matrix, or of as many without one."""
    bins = Bins(found.bounds) if found is not None else Bins.of(len(series), 1000)
    means = [series.rows(a, b).mean(axis=0) for a, b in zip(bins.bounds[:-1], bins.bounds[1:], strict=True)]
    return np.array(means, dtype=np.float32)


def _component_verdicts(classifier: Classifier, found: Decomposition | None, context: RunContext) -> tuple[str, ...]:
    if found is None:
        return ()
    answers = classifier.answers(found.components.curves, 1, context.config.predict.coverage)
    return tuple(VERDICTS[place] for place in _PLACES[answers.verdict].tolist())


def _worth_showing(fits: tuple[ShownFit, ...], verdicts: tuple[str, ...]) -> tuple[ShownFit, ...]:
    """Fits of components that are not amorphous: what these resemble most is a guess, and its fit means nothing."""
    amorphous = {f"component {k}" for k, word in enumerate(verdicts, start=1) if word == VERDICTS[_WORDS["amorphous"]]}
    return tuple(fit for fit in fits if fit.name not in amorphous)


def _notes(index: ArchiveIndex, predictions: Predictions) -> tuple[str, ...]:
    duplicates = int((predictions.duplicates() >= 0).sum())
    again = (f"{duplicates} frames are exactly like an earlier one",) if duplicates else ()
    assumed = tuple(f"{text} (some frames)" for text in predictions.notes)
    votes = () if predictions.calibrated else ("probabilities are shares of a forest's votes and not calibrated",)
    return (*index.notes, *votes, *again, *assumed)


def _weakness(classifier: Classifier) -> tuple[str, ...]:
    """What verdicts rest on, where that is little."""
    return tuple(filter(None, (classifier.bundle.trust.weakness,))) if isinstance(classifier, PdfClassifier) else ()


def _synthetic(index: ArchiveIndex, classifier: Classifier) -> tuple[str, ...]:
    """What of this was made up and not measured, in sentences."""
    archive = (f"The archive is synthetic ({index.synthetic}).",) if index.synthetic else ()
    if not isinstance(classifier, PdfClassifier):
        return archive
    structures = classifier.bundle.structures
    made_up, n = sum(one.source == MADE_UP for one in structures), len(structures)
    model = (f"{made_up} of {n} structures of the model are made up.",) if made_up else ()
    return archive + model


def _settings(context: RunContext) -> dict[str, object]:
    settings = plain(context.config)
    return {name: settings[name] for name in ("predict", "decompose", "refine", "executor")}


def _provenance(context: RunContext, classifier: Classifier, index: ArchiveIndex) -> dict[str, str]:
    model = archive_model(context.run, context.config.predict)
    return {
        "archive": index.source,
        "frames": str(index.n_frames),
        "model": str(model),
        "model_hash": model_hash(model),
        **classifier.origin,
        "hpc_mlsm": __version__,
    } | {name: version(name) for name in PACKAGES}

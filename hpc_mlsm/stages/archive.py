"""Archive: a whole beamtime archive in; classes, components, fits and the morning report out."""

from hpc_mlsm.archive.classifier import PdfClassifier
from hpc_mlsm.archive.frames import ArchiveIndex
from hpc_mlsm.archive.opening import read_frames
from hpc_mlsm.config.run_config import PredictSettings, RunConfig
from hpc_mlsm.decomposition.result_file import load_decomposition
from hpc_mlsm.errors import RunError
from hpc_mlsm.refinement.series import Series, write_series
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.stages import archive_report, decompose, predict_archive, refine
from hpc_mlsm.stages.archive_input import (
    adopt_model,
    archive_kind,
    archive_model,
    classifier_of,
    predictions_folder,
)
from hpc_mlsm.stages.archive_report import ArchiveFiles
from hpc_mlsm.stages.archive_series import USUAL_Q, archive_series
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.decompose import DecomposeSummary, component_rankings, series_of
from hpc_mlsm.stages.predict_archive import ArchiveSummary
from hpc_mlsm.stages.refine import RefineSummary
from hpc_mlsm.stages.run_directory import RunDirectory

STEPS = ("predict", "decompose", "refine", "report")
"""Steps of an archive run, in their order; each does only what is missing."""

LOOKED_AT = 100
"""Frames that are looked at for a header."""


def steps_of(settings: PredictSettings) -> tuple[str, ...]:
    """The steps of an archive run: structures are refined against PDFs only."""
    return STEPS if archive_kind(settings) == "pdf" else tuple(step for step in STEPS if step != "refine")


def run_step(context: RunContext, step: str) -> ArchiveSummary | DecomposeSummary | RefineSummary | ArchiveFiles:
    """One step of an archive run; those before it must have been done.

    Raises
    ------
    RunError
        If the run has not got so far, names no archive, or is to refine structures against powder patterns.
    """
    settings = context.config.predict
    if step == "predict":
        addresses = settings.patterns
        if not addresses:
            raise RunError(
                "no archive is named; set predict.patterns to a folder, a zip or tar file, or file.h5::/dataset"
            )
        if settings.model is not None:
            adopt_model(context.run, settings.model)
        model = archive_model(context.run, settings)
        return predict_archive.run(context, addresses, model, predictions_folder(context.run))
    if step == "decompose":
        return decompose.run(context)
    return _refine(context) if step == "refine" else archive_report.run(context)


def _refine(context: RunContext) -> RefineSummary:
    """Write the series of what can be refined, unless it is there, and refine it."""
    series = refinable(context.run, context.config)
    write_series(context.run.refinement / refine.SERIES, series)
    return refine.run(context)


def refinable(run: RunDirectory, config: RunConfig) -> Series:
    """What of a run's archive is to be refined: frames and components with their candidates.

    Raises
    ------
    StoreError
        If the archive has not been predicted, or not been taken apart.
    RunError
        If it holds powder patterns.
    """
    index, predictions = predict_archive.read_predictions(predictions_folder(run))
    classifier, fit = classifier_of(run, config.predict), config.refine.fit
    if not isinstance(classifier, PdfClassifier):
        raise RunError(
            f"{index.source} holds powder patterns: structures are refined against PDFs only; leave refine out"
        )
    bundle, found = classifier.bundle, load_decomposition(run.decomposition)
    return archive_series(
        index,
        series_of(run),
        predictions,
        found,
        component_rankings(classifier, found),
        bundle,
        fit,
        _q_range(index, fit),
    )


def _q_range(index: ArchiveIndex, fit: RefineSettings) -> tuple[float, float]:
    """Range of momentum transfer, Å⁻¹: as set, or else as the first usable frame says, or else the usual one."""
    low, high = fit.q_min, fit.q_max
    for frame in range(min(index.n_frames, LOOKED_AT)):
        if curves := read_frames(index, frame, frame + 1).curves:
            like = curves[0].like
            low = like.number("q_min") if low is None else low
            high = like.number("q_max") if high is None else high
            break
    return USUAL_Q[0] if low is None else low, high or USUAL_Q[1]

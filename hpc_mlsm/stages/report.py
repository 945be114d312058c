"""Report: everything that a run has found, as one HTML page."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.archive.candidates import Ranking
from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.config.load import plain
from hpc_mlsm.errors import BundleError, StoreError
from hpc_mlsm.evaluation.scores import ClassScore
from hpc_mlsm.grouping.groups import load_groups
from hpc_mlsm.models.bundle import Bundle, load_bundle
from hpc_mlsm.models.cnn_bundle import MANIFEST as CNN_MANIFEST
from hpc_mlsm.models.cnn_bundle import read_cnn_manifest
from hpc_mlsm.models.cnn_history import EpochRecord
from hpc_mlsm.models.forest_bundle import MANIFEST as FOREST_MANIFEST
from hpc_mlsm.models.forest_bundle import read_forest_info
from hpc_mlsm.refinement.refine import FitData, refine
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.report.content import (
    Calibration,
    CandidateFit,
    CatalogueSummary,
    ForestTraining,
    GroupSummary,
    ModelScore,
    NetworkTraining,
    PatternResult,
    ReportContent,
    StageSummary,
    TrainingSummary,
    WeakSpot,
)
from hpc_mlsm.runtime.event_log import read_events
from hpc_mlsm.runtime.events import StageFinished, StageStarted, TaskFinished
from hpc_mlsm.scattering.conditions import PdfGrid
from hpc_mlsm.scattering.normalise import standardise
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.cross_validate import load_study
from hpc_mlsm.stages.evaluate import BASELINE, DUMMY, Evaluation, load_evaluation
from hpc_mlsm.stages.predict import Classified
from hpc_mlsm.stages.predict_powder import PAGE
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.samples import expected_structure
from hpc_mlsm.stages.simulate import quarantined

STAGE = "report"
PACKAGES = ("numpy", "scipy", "numba", "gemmi", "h5py", "xgboost", "scikit-learn", "dask")
LARGEST_GROUPS = 15

QUICK_FIT = RefineSettings(size=True)
"""What is refined of each candidate to compare its curve with the pattern."""


def run(context: RunContext, classified: Classified | None = None, folder: Path | None = None) -> Path:
    """Write the report of what has been run so far, and of patterns that were just classified.

    It goes into the run's reports, or into ``folder``.
    """
    from hpc_mlsm.report.page import write_report
    from hpc_mlsm.report.picture import draw_overview

    content = gather(context, classified)
    path = context.run.report if folder is None else folder / context.run.report.name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(content, path, max_figures=context.config.report.max_figures)
    if content.groups is not None:
        draw_overview(content, path.with_name("overview.png"))
    return path


def gather(context: RunContext, classified: Classified | None = None) -> ReportContent:
    """What the report shows."""
    run = context.run
    try:
        bundle = load_bundle(run.model)
    except BundleError:
        bundle = None
    evaluation = load_evaluation(run) if bundle is not None else None
    return ReportContent(
        title=f"{context.config.name}: from structures to answers",
        run=str(run.path),
        created=datetime.now().astimezone(),
        versions={"hpc_mlsm": __version__} | {name: version(name) for name in PACKAGES},
        settings=plain(context.config),
        catalogue=_catalogue(run),
        stages=stage_summaries(run),
        groups=_groups(run),
        grouped=context.config.simulate.kind == "pdf",
        training=_training(bundle) if bundle else None,
        networks=tuple(_networks(run)),
        forests=tuple(_forests(run)),
        scores=_scores(evaluation) if evaluation else (),
        folds=load_study(run),
        calibration=_calibration(evaluation) if evaluation else None,
        weak_spots=tuple(_weak_spot(bundle, one) for one in evaluation.weakest) if bundle and evaluation else (),
        patterns=_patterns(context, bundle, classified) if bundle and classified else (),
        rejected_patterns=classified.rejects if classified else (),
        answers_page=_answers_page(run),
    )


def _answers_page(run: RunDirectory) -> str | None:
    page = run.predictions / PAGE
    return f"../{run.predictions.name}/{PAGE}" if page.exists() else None


def _catalogue(run: RunDirectory) -> CatalogueSummary | None:
    if not run.catalogue.exists():
        return None
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        rejects = catalogue.rejects() + quarantined(run)
        systems = Counter(structure.crystal_system for structure in catalogue.structures())
        return CatalogueSummary(
            n_structures=catalogue.counts().structures,
            n_rejected=len(rejects),
            rejects_by_reason=dict(Counter(reject.reason for reject in rejects)),
            rejects=rejects,
            crystal_systems=dict(systems),
        )


def stage_summaries(run: RunDirectory) -> tuple[StageSummary, ...]:
    """The last time each stage did anything, from the event log."""
    found: dict[str, StageSummary] = {}
    started: dict[str, StageStarted] = {}
    units: Counter[str] = Counter()
    for event in read_events(run.events):
        if isinstance(event, StageStarted):
            started[event.stage] = event
            units[event.stage] = 0
        elif isinstance(event, TaskFinished):
            units[event.stage] += event.n_units
        elif isinstance(event, StageFinished) and event.stage in started:
            status = "done" if not event.failed else "failed tasks"
            found[event.stage] = StageSummary(
                event.stage,
                status,
                event.seconds,
                event.done,
                event.failed,
                units[event.stage],
                started[event.stage].units,
            )
    return tuple(found.values())


def _groups(run: RunDirectory) -> GroupSummary | None:
    try:
        saved = load_groups(run.groups)
    except StoreError:
        return None
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        formulae = {summary.id: summary.formula for summary in catalogue.summaries()}
    ordered = sorted(saved.groups, key=lambda group: (-len(group), group.label))
    chained = [group for group in ordered[LARGEST_GROUPS:] if group.min_correlation < saved.settings.threshold - 0.05]
    return GroupSummary(
        threshold=saved.settings.threshold,
        linkage=saved.settings.linkage,
        sizes=tuple(len(group) for group in ordered),
        largest=tuple(
            (group.id, tuple(formulae.get(key, key) for key in group.members), group.min_correlation)
            for group in ordered[:LARGEST_GROUPS] + chained[:LARGEST_GROUPS]
        ),
    )


def _training(bundle: Bundle) -> TrainingSummary:
    metrics, trained = bundle.info.metrics, bundle.info.settings["train"]
    return TrainingSummary(
        n_classes=bundle.info.n_classes,
        train_rows=metrics["rows"]["train"],
        validation_rows=metrics["rows"]["validation"],
        test_rows=metrics["rows"]["test"],
        losses=tuple(metrics["validation_losses"]),
        best_round=metrics["best_round"] - 1,
        temperature=bundle.info.temperature,
        seconds=metrics["seconds"],
        device="cuda" if trained["boosted"]["device"] == "cuda" else "cpu",
        caution=bundle.trust.weakness,
    )


def _networks(run: RunDirectory) -> Iterator[NetworkTraining]:
    for path in sorted((run.path / "models").glob(f"*/{CNN_MANIFEST}")):
        try:
            raw = read_cnn_manifest(path.parent)["info"]
        except BundleError:
            continue  # of another version; the train stage says so
        metrics = raw["metrics"]
        yield NetworkTraining(
            name=path.parent.name,
            train_rows=metrics["rows"]["train"],
            validation_rows=metrics["rows"]["validation"],
            history=tuple(EpochRecord(**record) for record in metrics["history"]),
            best_epoch=metrics["best_epoch"],
            ranks=metrics["ranks"],
            device=metrics["device"],
            temperature=raw["temperature"],
        )


def _forests(run: RunDirectory) -> Iterator[ForestTraining]:
    for path in sorted((run.path / "models").glob(f"*/{FOREST_MANIFEST}")):
        try:
            info = read_forest_info(path.parent)
        except BundleError:
            continue  # of another version; the train stage says so
        settings = info.settings
        yield ForestTraining(path.parent.name, settings.kind, settings.trees, settings.max_depth, info.rows_by_class)


def _scores(evaluation: Evaluation) -> tuple[ModelScore, ...]:
    notes = {BASELINE: f"among {evaluation.references_per_structure} training patterns of each structure"}
    return tuple(
        ModelScore(name, score.top_k, score.n_rows, dummy=name == DUMMY, note=notes.get(name, ""))
        for name, score in evaluation.scores.items()
    )


def _calibration(evaluation: Evaluation) -> Calibration:
    confidence, accuracy, counts = evaluation.reliability
    return Calibration(np.array(confidence), np.array(accuracy), np.array(counts), evaluation.calibration_error)


def _weak_spot(bundle: Bundle, score: ClassScore) -> WeakSpot:
    entry = bundle.classes[score.label].representative_member
    mistaken = tuple((bundle.classes[k].representative_member.formula, share) for k, share in score.mistaken_for)
    return WeakSpot(
        bundle.classes[score.label].class_id,
        entry.formula,
        entry.space_group_symbol,
        score.n_rows,
        score.top1,
        mistaken,
    )


def _patterns(context: RunContext, bundle: Bundle, classified: Classified) -> tuple[PatternResult, ...]:
    settings, grid = context.config.report, context.config.pdf.grid
    results = []
    answered = zip(classified.patterns, classified.measured, classified.rankings, classified.verdicts, strict=True)
    for number, (pattern, measured, ranking, verdict) in enumerate(answered):
        fits: tuple[CandidateFit, ...] = ()
        expected = expected_structure(Path(pattern.source))
        if number < settings.max_figures:
            q_max = pattern.number("q_max") or float(np.mean(context.config.pdf.q_max))
            q_min = pattern.number("q_min") or float(np.mean(context.config.pdf.q_min))
            fits = _fits(bundle, ranking, measured, grid, (q_min, q_max), settings.fits)
        results.append(
            PatternResult(
                name=pattern.name,
                source=pattern.source,
                r=bundle.info.grid,
                measured=measured,
                ranking=ranking,
                fits=fits,
                notes=classified.notes[pattern.source],
                expected=expected,
                simulated=expected is not None,
                judgement=verdict,
            )
        )
    return tuple(results)


def _fits(
    bundle: Bundle,
    ranking: Ranking,
    measured: NDArray[np.float64],
    grid: PdfGrid,
    q_range: tuple[float, float],
    most: int,
) -> tuple[CandidateFit, ...]:
    fits = []
    for candidate in ranking.candidates[:most]:
        structure = bundle.structure(candidate.structure_ids[0])
        fit = refine([structure], FitData(grid, measured, *q_range), QUICK_FIT)
        label = f"{candidate.formula} ({candidate.space_group_symbol})"
        correlation = float(standardise(fit.calculated) @ standardise(measured))
        values = {one.name: (one.value, one.unit) for one in fit.parameters if np.isfinite(one.value)}
        scale, _ = values.pop("scale")
        fits.append(CandidateFit(label, fit.calculated, scale, fit.r_w, correlation, values, candidate.rank))
    return tuple(fits)

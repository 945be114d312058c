"""Predict: measured patterns in, ranked structures out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.archive.candidates import Ranking, rank_patterns
from hpc_mlsm.archive.classifier import PdfClassifier
from hpc_mlsm.archive.frames import ArchiveIndex, called
from hpc_mlsm.archive.opening import open_archive, read_frames
from hpc_mlsm.archive.pattern import Pattern, PatternReject
from hpc_mlsm.archive.prediction_file import write_predictions_nexus
from hpc_mlsm.archive.tables import write_predictions_csv, write_predictions_parquet, write_rejects_csv
from hpc_mlsm.config.run_config import PredictSettings
from hpc_mlsm.errors import RunError
from hpc_mlsm.models.bundle import Bundle, bundle_hash, load_bundle
from hpc_mlsm.models.trust import VERDICTS, Judgement
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.samples import write_samples
from hpc_mlsm.stages.simulate import selected_keys

STAGE = "predict"
FRAMES_AT_ONCE = 4096


@dataclass(frozen=True)
class Classified:
    """Patterns on the model's grid (n, points), their rankings, notes by source, what was refused, and verdicts."""

    patterns: tuple[Pattern, ...]
    measured: NDArray[np.float64]
    rankings: tuple[Ranking, ...]
    notes: dict[str, tuple[str, ...]]
    rejects: tuple[PatternReject, ...]
    verdicts: tuple[Judgement, ...] = ()


def run(context: RunContext, out: Path | None = None) -> Classified:
    """Classify the configured patterns, and sample patterns where asked for, and write the tables.

    The tables go into the run's predictions, or to ``out``.
    """
    run, settings = context.run, context.config.predict
    paths = [Path(path) for path in settings.patterns]
    if settings.samples:
        ids = [key for key, _ in selected_keys(run, context.config.select)]
        paths += write_samples(run, context.config, ids)
    if not paths:
        raise RunError("there is nothing to predict; name files or folders of patterns (predict.patterns)")
    bundle = load_bundle(run.model)
    classified = classify(bundle, paths, settings)
    write_tables(classified, out or run.predictions, bundle, run.model)
    for reject in classified.rejects:
        context.note(STAGE, f"{reject.source or reject.name} was set aside: {reject.detail}")
    return classified


def classify(bundle: Bundle, paths: Sequence[Path], settings: PredictSettings) -> Classified:
    """Read patterns, bring them onto the model's grid, and rank the classes.

    A pattern that cannot be used is set aside with its reason, and the rest goes on.

    Raises
    ------
    PatternError
        If no file is found.
    """
    classifier = PdfClassifier(bundle)
    index = open_archive(paths, settings.archive, assumed="pdf", one_by_one=True)
    rankings: list[Ranking] = []
    rejects: list[PatternReject] = []
    kept: list[_Frame] = []
    for start in range(0, index.n_frames, FRAMES_AT_ONCE):
        frames, refused = _prepared(classifier, index, start, min(start + FRAMES_AT_ONCE, index.n_frames))
        rejects += refused
        if not frames:
            continue
        values = np.stack([frame.values for frame in frames])
        probabilities, answers = bundle.judged(values, settings.top_k, settings.coverage)
        ranked, filtered = rank_patterns(
            [frame.pattern.source for frame in frames],
            probabilities,
            bundle.classes,
            settings.top_k,
            settings.filter,
            bundle.correlations(values),
        )
        rankings += ranked
        rejects += filtered
        passed = {ranking.pattern for ranking in ranked}
        judged = zip(frames, answers.verdict, strict=True)
        kept += [replace(one, verdict=VERDICTS[k]) for one, k in judged if one.pattern.source in passed]
    return Classified(
        patterns=tuple(frame.pattern for frame in kept),
        measured=np.array([frame.values for frame in kept]).reshape(len(kept), len(classifier.grid)),
        rankings=tuple(rankings),
        notes={frame.pattern.source: frame.notes for frame in kept},
        rejects=tuple(rejects),
        verdicts=tuple(frame.verdict for frame in kept),
    )


@dataclass(frozen=True, eq=False)
class _Frame:
    """A measured pattern, its values on the model's grid, notes on it, and the verdict on its answer."""

    pattern: Pattern
    values: NDArray[np.float64]
    notes: tuple[str, ...]
    verdict: Judgement = "several"


def _prepared(
    classifier: PdfClassifier, index: ArchiveIndex, start: int, stop: int
) -> tuple[list[_Frame], list[PatternReject]]:
    """Frames that can be used, in their order, and those that cannot."""
    block = read_frames(index, start, stop)
    rejects = list(block.rejects)
    found: dict[int, _Frame] = {}
    for curves in block.curves:
        prepared = classifier.prepare(curves, index.name)
        rejects += prepared.rejects
        place = {int(frame): row for row, frame in enumerate(curves.frames)}
        for frame, values, notes in zip(prepared.frames.tolist(), prepared.values, prepared.notes, strict=True):
            pattern = curves.pattern(place[frame], index.name(frame))
            found[frame] = _Frame(pattern, values, notes)
    refused = [
        PatternReject(called(index.name(one.frame)), index.name(one.frame), one.reason, one.detail)
        for one in sorted(rejects, key=lambda one: one.frame)
    ]
    return [found[frame] for frame in sorted(found)], refused


def write_tables(classified: Classified, folder: Path, bundle: Bundle, model: Path) -> None:
    """CSV, Parquet and NeXus of the candidates, and a table of the patterns that were set aside."""
    folder.mkdir(parents=True, exist_ok=True)
    provenance = {"model": str(model), "model_hash": bundle_hash(model), **bundle.info.origin, "hpc_mlsm": __version__}
    ranked, grid = classified.rankings, bundle.info.grid
    write_predictions_csv(folder / "predictions.csv", ranked)
    write_predictions_parquet(folder / "predictions.parquet", ranked, provenance)
    write_predictions_nexus(folder / "predictions.nxs", ranked, grid, classified.measured, provenance)
    write_rejects_csv(folder / "rejects.csv", classified.rejects)

"""Predict: measured patterns in, ranked structures out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm import __version__
from hpc_mlsm.archive.candidates import Ranking, rank_patterns
from hpc_mlsm.archive.folders import find_patterns
from hpc_mlsm.archive.pattern import Pattern, PatternReject
from hpc_mlsm.archive.prediction_file import write_predictions_nexus
from hpc_mlsm.archive.readers import read_patterns
from hpc_mlsm.archive.resample import to_grid
from hpc_mlsm.archive.tables import write_predictions_csv, write_predictions_parquet, write_rejects_csv
from hpc_mlsm.config.run_config import PredictSettings
from hpc_mlsm.errors import PatternError, RunError
from hpc_mlsm.models.bundle import Bundle, bundle_hash, load_bundle
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.samples import write_samples
from hpc_mlsm.stages.simulate import selected_keys

STAGE = "predict"
FRAMES_AT_ONCE = 4096


@dataclass(frozen=True)
class Classified:
    """Patterns on the model's grid (n, points), their rankings, notes by pattern name, and what was refused."""

    patterns: tuple[Pattern, ...]
    measured: NDArray[np.float64]
    rankings: tuple[Ranking, ...]
    notes: dict[str, tuple[str, ...]]
    rejects: tuple[PatternReject, ...]


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
    rankings: list[Ranking] = []
    rejects: list[PatternReject] = []
    usable: list[Pattern] = []
    values: list[NDArray[np.float64]] = []
    notes: dict[str, tuple[str, ...]] = {}
    files = find_patterns(paths)
    for start in range(0, len(files), FRAMES_AT_ONCE):
        patterns, refused = read_patterns(files[start : start + FRAMES_AT_ONCE])
        rejects += refused
        for pattern in patterns:
            try:
                resampled = to_grid(pattern, bundle.info.grid)
            except PatternError as error:
                rejects.append(PatternReject.from_error(pattern.name, pattern.source, error))
                continue
            usable.append(pattern)
            values.append(resampled.values)
            notes[pattern.source] = resampled.notes
    measured = np.array(values).reshape(len(values), len(bundle.info.axis_values))
    for start in range(0, len(usable), FRAMES_AT_ONCE):
        block = slice(start, start + FRAMES_AT_ONCE)
        ranked, filtered = rank_patterns(
            [pattern.source for pattern in usable[block]],
            bundle.probabilities(measured[block]),
            bundle.classes,
            settings.top_k,
            settings.filter,
            bundle.correlations(measured[block]),
        )
        rankings += ranked
        rejects += filtered
    kept = {ranking.pattern for ranking in rankings}
    rows = [k for k, pattern in enumerate(usable) if pattern.source in kept]
    return Classified(tuple(usable[k] for k in rows), measured[rows], tuple(rankings), notes, tuple(rejects))


def write_tables(classified: Classified, folder: Path, bundle: Bundle, model: Path) -> None:
    """CSV, Parquet and NeXus of the candidates, and a table of the patterns that were set aside."""
    folder.mkdir(parents=True, exist_ok=True)
    provenance = {"model": str(model), "model_hash": bundle_hash(model), "hpc_mlsm": __version__}
    ranked, grid = classified.rankings, bundle.info.grid
    write_predictions_csv(folder / "predictions.csv", ranked)
    write_predictions_parquet(folder / "predictions.parquet", ranked, provenance)
    write_predictions_nexus(folder / "predictions.nxs", ranked, grid, classified.measured, provenance)
    write_rejects_csv(folder / "rejects.csv", classified.rejects)

"""Decompose: the frames of an archive as a series, taken apart into components, which are classified like frames."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.candidates import Ranking, rank_patterns
from hpc_mlsm.archive.classifier import Classifier
from hpc_mlsm.archive.frame_shards import FrameSeries
from hpc_mlsm.archive.readers import read_pattern
from hpc_mlsm.archive.resample import to_grid
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.decomposition.decomposition import Decomposition, decompose
from hpc_mlsm.decomposition.result_file import decomposition_fingerprint, load_decomposition, save_decomposition
from hpc_mlsm.decomposition.settings import DecomposeSettings
from hpc_mlsm.errors import ConfigError, RunError, StoreError
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.stages.archive_frames import STAGE, frame_series
from hpc_mlsm.stages.archive_input import classifier_of, predictions_folder
from hpc_mlsm.stages.context import RunContext, finished
from hpc_mlsm.stages.predict_archive import INDEX, read_predictions
from hpc_mlsm.stages.run_directory import RunDirectory

WORK = "factorise"
"""What is told of after all frames are brought onto the grid, which is told of as STAGE."""

DECOMPOSITION_VERSION = 1
"""Raised when components come out differently, so that stored ones are made anew."""


@dataclass(frozen=True)
class DecomposeSummary:
    """What the stage did."""

    frames: int
    set_aside: int
    components: int
    proposed: int
    left: float
    candidates: tuple[str, ...]
    reused: bool


def run(context: RunContext) -> DecomposeSummary:
    """Take the archive of a run apart; what is there and up to date is not done again.

    Raises
    ------
    RunError
        If no frame can be used, or a task failed.
    """
    folder = predictions_folder(context.run)
    index, predictions = read_predictions(folder)
    settings = context.config.decompose
    classifier = classifier_of(context.run, context.config.predict)
    _refuse_pdf_settings(settings, classifier)
    series = frame_series(context, index, folder / INDEX, predictions.rejects)
    if not len(series):
        first = series.rejects[0].detail if series.rejects else "the archive is empty"
        raise RunError(f"none of the {index.n_frames} frames of {index.source} can be used; the first: {first}")
    known = known_curves(settings.known, classifier.grid)
    wanted = fingerprint(DECOMPOSITION_VERSION, settings, [path.name for path in series.shards], known.tolist())
    path = context.run.decomposition
    reused = decomposition_fingerprint(path) == wanted
    found = _loaded(context) if reused else None
    if found is None:
        reused, found = False, _taken_apart(context, series, classifier.grid, known)
        save_decomposition(path, found, wanted)
    candidates = component_rankings(classifier, found)
    return DecomposeSummary(
        frames=len(series),
        set_aside=len(series.rejects),
        components=len(found.components.curves),
        proposed=found.proposal.components,
        left=found.components.left,
        candidates=tuple(one.candidates[0].formula if one.candidates else "" for one in candidates),
        reused=reused,
    )


def _loaded(context: RunContext) -> Decomposition | None:
    try:
        return load_decomposition(context.run.decomposition)
    except StoreError as error:
        context.note(STAGE, str(error))
        return None


def _refuse_pdf_settings(settings: DecomposeSettings, classifier: Classifier) -> None:
    """Powder patterns are scaled one by one, and do not stretch evenly in 2θ."""
    if classifier.kind == "powder" and (settings.known or settings.method != "nmf"):
        raise ConfigError(
            "decompose.known and the method stretched-nmf are for PDFs; of powder patterns leave known empty, method "
            "nmf"
        )


def known_curves(files: Sequence[Path], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measured patterns of known phases on the model's grid, (f, points).

    Raises
    ------
    PatternError
        If a file cannot be read, or does not cover the grid.
    """
    return np.array([to_grid(read_pattern(path), grid).values for path in files]).reshape(len(files), len(grid))


def _taken_apart(
    context: RunContext, series: FrameSeries, grid: NDArray[np.float64], known: NDArray[np.float64]
) -> Decomposition:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    settings = context.config.decompose
    with stage_events(context.on_event, WORK, n_tasks=1, units="frames", n_units=len(series)) as listener:
        start = time.monotonic()
        with threadpool_limits(1):  # another number of threads rounds in another way
            found = decompose(series.rows, len(series), len(grid), settings, known if len(known) else None, r=grid)
        listener(finished(WORK, "components", len(series), time.monotonic() - start))
    return found


def component_rankings(classifier: Classifier, found: Decomposition) -> tuple[Ranking, ...]:
    """What each component is taken for."""
    curves = found.components.curves
    names = [f"component {number}" for number in range(1, len(curves) + 1)]
    probabilities, correlations = classifier.scores(curves)
    rankings, _ = rank_patterns(names, probabilities, classifier.classes, 5, correlations=correlations)
    by_name = {one.pattern: one for one in rankings}
    return tuple(by_name.get(name, Ranking(name, ())) for name in names)


def series_of(run: RunDirectory) -> FrameSeries:
    """The frames that were taken apart.

    Raises
    ------
    RunError
        If there are none.
    """
    shards = sorted((run.archive / "frames").glob("frames-*.h5"))
    if not shards:
        raise RunError(f"{run.path} has no frames on the model's grid yet; run: hpc-mlsm decompose {run.path}")
    return FrameSeries(shards)

"""The plan of an archive run: what it needs in time, memory and disk, with rates timed on some of its own frames."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.classifier import Classifier, PdfClassifier
from hpc_mlsm.archive.frame_shards import prepare_frames
from hpc_mlsm.archive.frames import ArchiveIndex, ArchiveKind
from hpc_mlsm.archive.load_classifier import load_classifier
from hpc_mlsm.archive.opening import open_archive
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import PatternError, RunError
from hpc_mlsm.plan.projection import disk_of
from hpc_mlsm.refinement.budget import BudgetPlan, offers, plan_budget
from hpc_mlsm.refinement.cost import seconds_per_fit
from hpc_mlsm.runtime.capacity import planned_workers
from hpc_mlsm.stages.archive_input import model_folder
from hpc_mlsm.stages.archive_series import WITH_CANDIDATES
from hpc_mlsm.stages.context import available_memory

TIMED_FRAMES = 512
"""Frames, spread over the archive in runs, whose reading and classification are timed."""

RUNS = 8
SUMMED_FLOPS = 4.0e9
"""Multiplications and additions a second of one reading that sums products of points, on one core, with its reading."""

FACTORISE_S = 20.0
"""Starts of the factorisation, and the number of components, at the usual sizes."""

WORKER_BYTES = 4.0e8
BYTES_PER_FRAME = 600.0
"""Of predictions, weights, scores, texts and refined values that the process which writes the results holds."""


@dataclass(frozen=True)
class ArchivePlan:
    """What an archive run needs; times in seconds of wall time, sizes in bytes.

    Attributes
    ----------
    kind, frames, points, workers
    timed, seconds_read, seconds_classify
        Frames that were timed, and seconds a frame and core.
    usable, with_candidates
        Shares of the timed frames that can be used, and that are worth a fit.
    predict_s, decompose_s
    budget
        What the refinement budget buys; None where no frame is worth a fit.
    offers
        What other budgets would buy, see ``refinement.budget.offers``.
    refine_s
    memory, disk, free
    refusals
        What cannot work, with figure and remedy.
    """

    kind: ArchiveKind
    frames: int
    points: int
    workers: int
    timed: int
    seconds_read: float
    seconds_classify: float
    usable: float
    with_candidates: float
    predict_s: float
    decompose_s: float
    budget: BudgetPlan | None
    offers: tuple[BudgetPlan, ...]
    refine_s: float
    memory: float
    disk: float
    free: int
    refusals: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return self.predict_s + self.decompose_s + self.refine_s


def plan_archive(config: RunConfig, run: Path, model: Path) -> ArchivePlan:
    """Time some frames of the archive, and project the rest.

    Raises
    ------
    PatternError, BundleError
        If archive or model cannot be read.
    RunError
        If no archive is named.
    """
    if not config.predict.patterns:
        raise RunError("no archive is named; set predict.patterns to a folder, a zip or tar file, or file.h5::/dataset")
    classifier = load_classifier(model_folder(model).resolve(), config.predict.powder)
    assumed: ArchiveKind | None = "powder" if classifier.kind == "powder" else None
    index = open_archive(list(config.predict.patterns), config.predict.archive, assumed=assumed)
    timed = _timed(index, classifier, config)
    n, points, workers = index.n_frames, len(classifier.grid), planned_workers(config.executor)
    predict_s = n * (timed.read + timed.classify) / workers
    decompose_s = n * timed.read / workers + 2 * n * points**2 / SUMMED_FLOPS + FACTORISE_S
    budget: BudgetPlan | None = None
    others: tuple[BudgetPlan, ...] = ()
    if timed.labels.size:
        seconds = float(np.mean([_fit_s(classifier, int(label), config) for label in np.unique(timed.labels)[:20]]))
        worth = max(1, round(n * timed.usable * timed.candidates))
        components = config.decompose.components or config.decompose.max_components
        budget = plan_budget(worth, components, config.refine.budget, seconds)
        others = offers(worth, components, config.refine.budget, seconds)
    memory = max(
        WORKER_BYTES + 8.0 * points**2 * 4 + 8.0 * points * config.decompose.fit_frames * 6
        + 4.0 * config.decompose.matrix_frames**2 * 3 + n * (BYTES_PER_FRAME + 8.0 * points),
        2 * WORKER_BYTES,
    )  # fmt: skip
    disk = n * (8.0 * points + BYTES_PER_FRAME)
    place, free = disk_of(run)
    return ArchivePlan(
        kind=classifier.kind,
        frames=n,
        points=points,
        workers=workers,
        timed=timed.frames,
        seconds_read=timed.read,
        seconds_classify=timed.classify,
        usable=timed.usable,
        with_candidates=timed.candidates,
        predict_s=predict_s,
        decompose_s=decompose_s,
        budget=budget,
        offers=others,
        refine_s=budget.least * budget.seconds_per_fit / workers if budget else 0.0,
        memory=memory,
        disk=disk,
        free=free,
        refusals=tuple(_refusals(memory, disk, free, str(place))),
    )


@dataclass(frozen=True, eq=False)
class _Timed:
    frames: int
    read: float
    classify: float
    usable: float
    candidates: float
    labels: NDArray[np.int32]


def _timed(index: ArchiveIndex, classifier: Classifier, config: RunConfig) -> _Timed:
    each = max(1, min(TIMED_FRAMES, index.n_frames) // RUNS)
    starts = np.unique(np.linspace(0, index.n_frames - each, RUNS).astype(int)).tolist()
    read = classify = 0.0
    seen = usable = worth = 0
    labels = [np.empty(0, dtype=np.int32)]
    for number, start in enumerate([starts[0], *starts]):
        begin = time.monotonic()
        prepared = prepare_frames(index, start, start + each, classifier)
        middle = time.monotonic()
        if len(prepared.frames):
            answers = classifier.answers(prepared.values.astype(float), config.predict.top_k, config.predict.coverage)
        if number == 0:
            continue  # the first call compiles and loads
        seen, usable = seen + each, usable + len(prepared.frames)
        read += middle - begin
        classify += time.monotonic() - middle
        if len(prepared.frames):
            good = np.isin(answers.verdict, WITH_CANDIDATES)
            worth += int(good.sum())
            labels.append(answers.classes[good, 0])
    if not usable:
        raise PatternError("none_usable", f"{index.source}: none of {seen} frames that were looked at can be used")
    return _Timed(seen, read / seen, classify / usable, usable / seen, worth / usable, np.concatenate(labels))


def _fit_s(classifier: Classifier, label: int, config: RunConfig) -> float:
    assert isinstance(classifier, PdfClassifier)
    structure = classifier.bundle.structure(classifier.classes[label].representative)
    return seconds_per_fit(structure, config.refine.fit)


def _refusals(memory: float, disk: float, free: int, place: str) -> list[str]:
    found = []
    if memory > (there := available_memory()):
        found.append(
            f"the archive needs {memory / 1e9:.1f} GB of memory, {there / 1e9:.1f} GB are free: use a larger node, or "
            "cut the archive into parts"
        )
    if disk > free:
        found.append(f"{disk / 1e9:.1f} GB are needed on {place}, {free / 1e9:.1f} GB are free: put the run elsewhere")
    return found

"""Evaluate: the model, the retrieval baseline and the majority class, on the same test rows."""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import RunError
from hpc_mlsm.evaluation.fold_files import FoldStudy
from hpc_mlsm.evaluation.scores import ClassScore, Scores, ScoreSheet
from hpc_mlsm.models.bundle import Bundle, bundle_hash, load_bundle
from hpc_mlsm.models.calibration import expected_calibration_error
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.stages.context import RunContext, finished
from hpc_mlsm.stages.group import current_groups
from hpc_mlsm.stages.rows import LabelledRows
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.train import expected_fingerprint
from hpc_mlsm.store.patterns import PatternStore

STAGE = "evaluate"
WEAK_SPOTS = 20
MODEL, BASELINE, DUMMY = "XGBoost", "nearest neighbour (Pearson)", "most frequent class"


@dataclass(frozen=True)
class Evaluation:
    """Scores by model name; the weakest classes and the calibration are those of the trained model."""

    bundle: str
    scores: dict[str, Scores]
    weakest: tuple[ClassScore, ...]
    reliability: tuple[list[float], list[float], list[int]]
    calibration_error: float
    references_per_structure: int


def run(context: RunContext) -> Evaluation | FoldStudy | None:
    """Score the models on the test rows, unless that was done for this bundle already.

    Models of powder patterns are cross-validated; None where the configuration wants that not.
    """
    config, run = context.config, context.run
    if config.simulate.kind == "powder":
        from hpc_mlsm.stages import cross_validate

        return cross_validate.run(context)
    with PatternStore.open(run.patterns, "r") as store:
        groups = current_groups(run, store, config)
        bundle = load_bundle(run.model)
        if bundle.info.fingerprint != expected_fingerprint(groups, config):
            raise RunError(f"the model in {run.model} was trained on other data or settings; run the train stage")
        existing = load_evaluation(run)
        if existing is not None:
            return existing
        rows = LabelledRows.of(store, groups.groups, config.split, config.simulate.variants)
        evaluation = _evaluate(context, bundle, rows)
    write_durably(run.evaluation, json.dumps(asdict(evaluation)).encode())
    return evaluation


def load_evaluation(run: RunDirectory) -> Evaluation | None:
    """The scores of the bundle that is there now, if it was evaluated."""
    try:
        raw: dict[str, Any] = json.loads(run.evaluation.read_text())
        if raw["bundle"] != bundle_hash(run.model):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return Evaluation(
        bundle=raw["bundle"],
        scores={
            name: Scores({int(k): value for k, value in score["top_k"].items()}, score["balanced"], score["n_rows"])
            for name, score in raw["scores"].items()
        },
        weakest=tuple(
            ClassScore(one["label"], one["n_rows"], one["top1"], tuple((a, b) for a, b in one["mistaken_for"]))
            for one in raw["weakest"]
        ),
        reliability=(raw["reliability"][0], raw["reliability"][1], raw["reliability"][2]),
        calibration_error=raw["calibration_error"],
        references_per_structure=raw["references_per_structure"],
    )


def _evaluate(context: RunContext, bundle: Bundle, rows: LabelledRows) -> Evaluation:
    n_classes = bundle.info.n_classes
    sheets = {name: ScoreSheet(n_classes) for name in (MODEL, BASELINE, DUMMY)}
    frequency = _frequencies(rows, n_classes)
    total = rows.count("test")
    cores = usable_cores()
    with stage_events(context.on_event, STAGE, n_tasks=1, units="patterns", n_units=total, cores=cores) as listener:
        start = time.monotonic()
        for patterns, labels in rows.batches("test"):
            sheets[MODEL].add(bundle.probabilities(patterns), labels)
            sheets[BASELINE].add(bundle.correlations(patterns), labels)
            sheets[DUMMY].add(np.broadcast_to(frequency, (len(labels), n_classes)), labels)
        listener(finished(STAGE, "test rows", total, time.monotonic() - start))
    confidence, accuracy, counts = sheets[MODEL].reliability()
    return Evaluation(
        bundle=bundle_hash(context.run.model),
        scores={name: sheet.scores() for name, sheet in sheets.items()},
        weakest=sheets[MODEL].weakest(WEAK_SPOTS),
        reliability=(confidence.tolist(), accuracy.tolist(), counts.tolist()),
        calibration_error=expected_calibration_error(
            np.concatenate(sheets[MODEL].confidence), np.concatenate(sheets[MODEL].correct)
        ),
        references_per_structure=bundle.info.metrics["references_per_structure"],
    )


def _frequencies(rows: LabelledRows, n_classes: int) -> NDArray[np.float64]:
    """Training rows of each class: what a guess without looking would go by."""
    return np.bincount(rows.labels, minlength=n_classes).astype(float)

"""Status: how far a run is, asked of what is on disk, without disturbing it."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import BundleError, HpcMlsmError, RunError
from hpc_mlsm.models.bundle import WITH_TREES, bundle_info, read_manifest
from hpc_mlsm.runtime.lock import LOCK_NAME
from hpc_mlsm.runtime.lock_holder import process_start, read_holder
from hpc_mlsm.stages import powder_status
from hpc_mlsm.stages.archive import steps_of
from hpc_mlsm.stages.archive_input import predictions_folder
from hpc_mlsm.stages.evaluate import MODEL, load_evaluation
from hpc_mlsm.stages.group import current_groups
from hpc_mlsm.stages.predict_archive import INDEX
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.simulate import config_hash, quarantined, selected_keys
from hpc_mlsm.stages.train import expected_fingerprint, trust_doubt
from hpc_mlsm.store.patterns import PatternStore


@dataclass(frozen=True)
class StageStatus:
    """One stage: "done", "partly", "outdated" or "not run", and what there is in words."""

    stage: str
    state: str
    detail: str


def run_status(run: RunDirectory, config: RunConfig) -> list[StageStatus]:
    """State of every stage, in their order."""
    if config.predict.model is not None:  # a run of an archive, which another one trained the model for
        made = {
            "predict": predictions_folder(run) / INDEX,
            "decompose": run.decomposition,
            "refine": run.refinement / "refinement.nxs",
            "report": run.morning_report,
        }
        return [_file_status(step, made[step]) for step in steps_of(config.predict)]
    return [
        _guarded("ingest", _ingest, run, config),
        _guarded("simulate", _simulate, run, config),
        *([_guarded("group", _group, run, config)] if config.simulate.kind == "pdf" else []),
        _guarded("train", _train, run, config),
        _guarded("evaluate", _evaluate, run, config),
        _file_status("predict", _answers(run)),
        _file_status("report", run.report),
    ]


def _answers(run: RunDirectory) -> Path:
    """Table of the answers on single patterns, or on the frames of an archive of powder patterns."""
    frames = run.predictions / "archive" / "frames.csv"
    return frames if frames.exists() else run.predictions / "predictions.csv"


def holder(run: RunDirectory) -> str | None:
    """Who is working on the run, or was when it died; None where nobody is."""
    found = read_holder(run.path / LOCK_NAME)
    if found is None:
        return None
    dead = found.host == platform.node() and process_start(found.pid) != found.started
    return f"left by {found}, which is dead; the next command takes it over" if dead else f"in use by {found}"


def _guarded(
    stage: str, ask: Callable[[RunDirectory, RunConfig], tuple[str, str]], run: RunDirectory, config: RunConfig
) -> StageStatus:
    try:
        return StageStatus(stage, *ask(run, config))
    except HpcMlsmError as error:
        return StageStatus(stage, "not run" if isinstance(error, RunError | BundleError) else "unusable", str(error))


def _ingest(run: RunDirectory, config: RunConfig) -> tuple[str, str]:
    if not run.catalogue.exists():
        return "not run", "no catalogue"
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        counts = catalogue.counts()
    return "done", f"{counts.structures} structures, {counts.rejects} rejects"


def _simulate(run: RunDirectory, config: RunConfig) -> tuple[str, str]:
    if not run.patterns.is_dir():
        return "not run", "no patterns"
    wanted = selected_keys(run, config.select)
    with PatternStore.open(run.patterns, "r") as store:
        missing = set(store.missing(wanted, config_hash(config.simulate)))
        rows = store.n_rows
    aside = {reject.id for reject in quarantined(run)} & missing
    done = len(wanted) - len(missing)
    state = "done" if missing == aside else "partly"
    return state, f"{done} of {len(wanted)} structures, {rows} patterns, {len(aside)} set aside"


def _group(run: RunDirectory, config: RunConfig) -> tuple[str, str]:
    if not (run.groups / "groups.json").exists():
        return "not run", "no groups"
    with PatternStore.open(run.patterns, "r") as store:
        groups = current_groups(run, store, config).groups
    return "done", f"{len(groups)} groups, the largest of {max(map(len, groups))} structures"


def _train(run: RunDirectory, config: RunConfig) -> tuple[str, str]:
    if config.simulate.kind == "powder":
        return powder_status.training_state(run, config)
    if not run.model.is_dir():
        checkpoint = (run.checkpoints / "state.json").exists()
        return ("partly", "a checkpoint to go on from") if checkpoint else ("not run", "no model")
    info = bundle_info(read_manifest(run.model, WITH_TREES))
    if doubt := trust_doubt(run):
        return "outdated", doubt
    with PatternStore.open(run.patterns, "r") as store:
        expected = expected_fingerprint(current_groups(run, store, config), config)
    state = "done" if info.fingerprint == expected else "outdated"
    return state, f"{info.n_classes} classes, best after {info.metrics['best_round']} rounds"


def _evaluate(run: RunDirectory, config: RunConfig) -> tuple[str, str]:
    if config.simulate.kind == "powder":
        return powder_status.evaluation_state(run, config)
    evaluation = load_evaluation(run)
    if evaluation is None:
        return "not run", "no scores of the present model"
    scores = evaluation.scores[MODEL]
    return "done", f"top-1 {scores.top_k[1]:.1%}, top-3 {scores.top_k[3]:.1%} of {scores.n_rows} test patterns"


def _file_status(stage: str, path: Path) -> StageStatus:
    return StageStatus(stage, "done", str(path)) if path.exists() else StageStatus(stage, "not run", f"no {path.name}")

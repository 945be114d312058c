"""Train: gradient-boosted trees and the retrieval baseline, as one bundle; models of powder patterns elsewhere."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.history import revisions
from hpc_mlsm.config.load import plain
from hpc_mlsm.errors import BundleError, RunError
from hpc_mlsm.grouping.groups import Group, SavedGroups
from hpc_mlsm.models.boosted import BoostedModel, Round, margins_of, train_boosted
from hpc_mlsm.models.bundle import Bundle, BundleInfo, load_trees, read_manifest, read_trust, save_bundle
from hpc_mlsm.models.checkpoints import load_checkpoint
from hpc_mlsm.models.classes import ClassEntry, MemberEntry
from hpc_mlsm.models.projection import boosted_memory
from hpc_mlsm.models.retrieval import Retrieval, references_per_structure
from hpc_mlsm.plan.projection import refuse_training_that_cannot_fit
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.stages.context import RunContext, available_memory, finished
from hpc_mlsm.stages.group import current_groups
from hpc_mlsm.stages.rows import LabelledRows
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.train_together import expected_fingerprint, fitting_workers, train_together, workers_asked
from hpc_mlsm.stages.warm_start import warm_start
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.structure import Structure

if TYPE_CHECKING:
    from hpc_mlsm.stages.train_powder import PowderTrained

STAGE = "train"
CALIBRATION_BYTES = 4e8
"""Scores that calibration looks at take at most about this much memory, a few times over."""


@dataclass(frozen=True)
class TrainSummary:
    """What the stage did; ``resumed_from`` is the number of rounds taken over from a checkpoint.

    Where ``recalibrated``, the trees are those of the bundle that was there, and only their trust was learned anew.
    """

    classes: int
    train_rows: int
    rounds: int
    best_round: int
    validation_loss: float
    temperature: float
    resumed_from: int
    reused: bool
    recalibrated: bool = False


def run(context: RunContext, *, warm: bool = False) -> "TrainSummary | PowderTrained":
    """Train until the validation loss stops falling, unless the bundle on disk is already the one asked for.

    Of one that is, but was made by an earlier version whose predictions carried no verdicts or others, the trees are
    kept and trust is learned anew. With ``warm``, trees go on from those of the bundle on disk, where this is possible;
    see ``warm_start``.
    """
    config, run = context.config, context.run
    if config.simulate.kind == "powder":
        from hpc_mlsm.stages import train_powder

        return train_powder.run(context)
    with PatternStore.open(run.patterns, "r") as store:
        groups = current_groups(run, store, config)
        expected = expected_fingerprint(groups, config)
        existing = _existing(run, expected)
        doubt = trust_doubt(run) if existing is not None else ""
        if existing is not None and not doubt:
            return _summary(existing[0], reused=True)
        rows = LabelledRows.of(store, groups.groups, config.split, config.simulate.variants)
        if len(groups.groups) < 2:
            raise RunError(
                f"there is {len(groups.groups)} class only; raise group.threshold, or ingest structures that differ, "
                "then train"
            )
        start = time.monotonic()
        if existing is not None:
            context.note(STAGE, f"only trust is learned anew, the trees are kept: {doubt}")
            model = _trees(*existing)
        else:
            if warm:
                warm_start(context, rows, groups, expected)
            model = _train(context, rows, len(groups.groups), expected)
        seconds = time.monotonic() - start if existing is None else existing[0].metrics["seconds"]
        bundle = _bundle(context, store, groups, rows, model, expected, seconds)
    if weakness := bundle.trust.weakness:
        context.note(STAGE, weakness)
    save_bundle(bundle, run.model)
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return _summary(bundle.info, reused=False, recalibrated=existing is not None)


def _existing(run: RunDirectory, expected: str) -> tuple[BundleInfo, bytes] | None:
    """The bundle on disk and its trees, if they are those asked for; their trust may be missing or outdated."""
    try:
        found = load_trees(run.model)
    except BundleError:
        return None
    return found if found[0].fingerprint == expected else None


def trust_doubt(run: RunDirectory) -> str:
    """Why the trust of the bundle on disk is of no use; empty if it is."""
    try:
        read_trust(run.model, read_manifest(run.model))
    except BundleError as error:
        return str(error)
    return ""


def _trees(info: BundleInfo, image: bytes) -> BoostedModel:
    """The trees of a bundle as training gives them."""
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(image))
    return BoostedModel(booster, tuple(info.metrics["validation_losses"]), info.metrics["resumed_from"])


def _train(context: RunContext, rows: LabelledRows, n_classes: int, expected: str) -> BoostedModel:
    saved = load_checkpoint(context.run.checkpoints, expected)
    units = context.config.train.boosted.rounds - (len(saved.history) if saved else 0)
    workers = _workers(context, rows)
    cores = _threads(context) if workers is None else workers * (context.config.train.together.threads or 1)
    with stage_events(context.on_event, STAGE, n_tasks=units, units="rounds", n_units=units, cores=cores) as listener:
        last = time.monotonic()

        def on_round(done: Round) -> None:
            nonlocal last
            now = time.monotonic()
            task_id = f"round {done.number}, validation loss {done.validation_loss:.4f}"
            listener(finished(STAGE, task_id, 1, now - last))
            last = now

        if workers is None:
            model = _train_here(context, rows, n_classes, expected, on_round)
        else:
            model = train_together(context, workers, expected, stage=STAGE, on_event=listener, on_round=on_round)
    if model.resumed_from:
        context.note(STAGE, f"training went on from the checkpoint after round {model.resumed_from}")
    return model


def _workers(context: RunContext, rows: LabelledRows) -> int | None:
    """Over how many workers to train; None for this process."""
    asked = workers_asked(context)
    if asked is None:
        return None
    fitting = fitting_workers(asked, rows)
    if fitting < asked:
        counts = f"{rows.count('train')} training and {rows.count('validation')} validation rows"
        context.note(STAGE, f"training uses {fitting} of {asked} workers: there are only {counts}")
    return fitting


def _train_here(
    context: RunContext, rows: LabelledRows, n_classes: int, expected: str, on_round: Callable[[Round], None]
) -> BoostedModel:
    config = context.config
    sizes = (rows.count("train"), rows.count("validation"), len(config.simulate.grid), n_classes)
    refuse_training_that_cannot_fit(boosted_memory(*sizes, config.train.boosted), available_memory())
    return train_boosted(
        partial(rows.batches, "train"),
        partial(rows.batches, "validation"),
        n_classes,
        config.train.boosted,
        context.run.checkpoints,
        expected,
        threads=_threads(context),
        on_round=on_round,
    )


def _threads(context: RunContext) -> int:
    """Cores for training in this process; how many workers a cluster has says nothing about them."""
    executor = context.config.executor
    asked = executor.workers if executor.kind in ("inline", "local") else None
    return asked or usable_cores()


def _bundle(
    context: RunContext,
    store: PatternStore,
    groups: SavedGroups,
    rows: LabelledRows,
    model: BoostedModel,
    expected: str,
    seconds: float,
) -> Bundle:
    from hpc_mlsm.models.trust_fit import fit_trust

    config, n_classes = context.config, len(groups.groups)
    axis = store.axis()
    train_variants = rows.count("train") // len(rows.labels)
    per_structure = references_per_structure(
        len(rows.labels), train_variants, len(axis.values), config.train.retrieval.memory_mb
    )
    retrieval = Retrieval.of(*rows.references(per_structure), n_classes)
    trees = bytes(model.booster.save_raw("ubj"))
    temperature, trust = fit_trust(
        margins_of(trees, lambda: model.booster, n_classes),
        retrieval,
        *_validation_rows(rows, n_classes),
        (axis.name, axis.values),
    )
    with Catalogue(context.run.catalogue, read_only=True) as catalogue:
        structures = tuple(catalogue.structures(store.ids()))
        catalogue_fingerprint = catalogue.fingerprint()
        made = [one.number for one in revisions(catalogue) if one.fingerprint == catalogue_fingerprint]
    info = BundleInfo(
        kind="boosted",
        axis_name=axis.name,
        axis_unit=axis.unit,
        axis_values=tuple(axis.values.tolist()),
        n_classes=n_classes,
        temperature=temperature,
        fingerprint=expected,
        catalogue_fingerprint=catalogue_fingerprint,
        settings={"simulate": plain(config.simulate), "group": plain(config.group), "train": plain(config.train)},
        metrics={
            "validation_losses": list(model.history),
            "best_round": model.best_round,
            "resumed_from": model.resumed_from,
            "rows": {part: rows.count(part) for part in ("train", "validation", "test")},
            "references_per_structure": per_structure,
            "seconds": seconds,
        },
        class_history=tuple(asdict(event) for event in groups.history),
        revision=groups.revision,
        catalogue_revision=made[-1] if made else None,
    )
    return Bundle(
        info=info,
        classes=class_entries(groups.groups, structures),
        structures=structures,
        retrieval=retrieval,
        model=trees,
        trust=trust,
    )


def _validation_rows(rows: LabelledRows, n_classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Patterns and labels that calibration rests on: of all structures alike, where memory does not hold all scores."""
    most = max(2000, int(CALIBRATION_BYTES / (4 * n_classes)))
    every = max(1, -(-rows.count("validation") // most))
    patterns: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    for batch, own in rows.batches("validation"):
        patterns.append(batch[::every])
        labels.append(own[::every])
    return np.concatenate(patterns), np.concatenate(labels)


def class_entries(groups: tuple[Group, ...], structures: tuple[Structure, ...]) -> tuple[ClassEntry, ...]:
    """The class table: one entry a group, in the order of the labels."""
    members = {structure.id: _member(structure) for structure in structures}
    return tuple(
        ClassEntry(group.id, tuple(members[key] for key in group.members), group.representative)
        for group in sorted(groups, key=lambda group: group.label)
    )


def _member(structure: Structure) -> MemberEntry:
    return MemberEntry(
        id=structure.id,
        formula=structure.formula,
        space_group=structure.space_group,
        space_group_symbol=structure.space_group_symbol,
        cod_id=structure.cod_id,
        elements=structure.elements,
        name=structure.name,
    )


def _summary(info: BundleInfo, *, reused: bool, recalibrated: bool = False) -> TrainSummary:
    losses = info.metrics["validation_losses"]
    best = info.metrics["best_round"]
    return TrainSummary(
        classes=info.n_classes,
        train_rows=info.metrics["rows"]["train"],
        rounds=len(losses),
        best_round=best,
        validation_loss=losses[best - 1],
        temperature=info.temperature,
        resumed_from=info.metrics["resumed_from"],
        reused=reused,
        recalibrated=recalibrated,
    )

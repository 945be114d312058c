"""Update: after structures came, changed or went, bring a run up to date at the cost of what is different.

All stages are those of a run: each does what is missing. What is added here is the order, the model that training goes
on from, and the account of what is different afterwards. Until the new model is complete the old one stays, and a
killed update is finished by the next one, which knows what was there before the first.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.diff import CatalogueState, diff_states
from hpc_mlsm.errors import BundleError, StoreError
from hpc_mlsm.models.bundle import bundle_hash, bundle_info, read_manifest
from hpc_mlsm.stages import evaluate, group, ingest, simulate, train
from hpc_mlsm.stages.changed_answers import changed_answers
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.update_record import ChangedAnswer, ModelState, UpdateFolder, UpdateRecord
from hpc_mlsm.store.patterns import PatternStore

STAGE = "update"

R = TypeVar("R")


@dataclass(frozen=True)
class UpdateSummary:
    """What an update did, and the file that says so; None where there was nothing to do."""

    record: UpdateRecord
    path: Path | None
    simulated: int
    compared: int
    retrained: bool


def run(context: RunContext) -> UpdateSummary:
    """Ingest, simulate what is missing, compare new structures with all, train, evaluate, and say what changed.

    Classes of powder patterns are crystal systems: nothing is compared, and all models are trained anew.
    """
    run, folder = context.run, UpdateFolder(context.run.path / "updates")
    powder = context.config.simulate.kind == "powder"
    clock = _Clock()
    record = _begun(context, folder)
    clock.time("ingest", lambda: ingest.run(context))
    simulated = clock.time("simulate", lambda: simulate.run(context, thorough=False))
    grouped = None if powder else clock.time("group", lambda: group.run(context))
    trained = clock.time("train", lambda: train.run(context, warm=True))
    clock.time("evaluate", lambda: evaluate.run(context))
    record = _compared(context, folder, record)
    compared = 0 if grouped is None or grouped.reused else grouped.pairs
    after = record.after
    if record.changes.is_empty and after is not None and record.before is not None and after == record.before:
        folder.forget(record)
        return UpdateSummary(record, None, simulated.simulated, compared, retrained=False)
    paths = context.config.update.predictions or (run.predictions / "predictions.nxs",)
    frames, answers = clock.time("answers", lambda: _answers(context, paths, record))
    warm = trained.resumed_from if isinstance(trained, train.TrainSummary) and not trained.reused else 0
    record = replace(
        record,
        frames=frames,
        answers=answers,
        warm_rounds=warm,
        seconds=clock.seconds,
        finished=True,
    )
    return UpdateSummary(record, folder.end(record), simulated.simulated, compared, not trained.reused)


def _answers(context: RunContext, paths: Sequence[Path], record: UpdateRecord) -> tuple[int, tuple[ChangedAnswer, ...]]:
    """Frames that were classified before: how many, and those that now get another answer."""
    archives = context.config.update.archives
    if context.config.simulate.kind == "powder":
        from hpc_mlsm.stages.update_powder import changed_archive_answers, changed_powder_answers

        frames, answers = changed_powder_answers(context, paths)
        more, others = changed_archive_answers(context, archives)
        return frames + more, (*answers, *others)
    frames, answers = changed_answers(context, paths, record.events)
    if archives:
        from hpc_mlsm.stages.archive_answers import archive_answers

        more, others = archive_answers(context, archives, record.events)
        frames, answers = frames + more, (*answers, *others)
    return frames, answers


class _Clock:
    """How long each part took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], R]) -> R:
        start = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - start
        return result


def _begun(context: RunContext, folder: UpdateFolder) -> UpdateRecord:
    """The record of the update that is going on: the one that was killed, or a new one with the state of now."""
    run = context.run
    last = folder.last()
    if last is not None and not last.finished:
        return last
    contents: dict[str, str] = {}
    with suppress(StoreError), PatternStore.open(run.patterns, "r") as store:
        contents = store.contents()
    if last is not None:
        number, rejects = last.number + 1, last.rejects
    else:  # what has patterns and is refused nevertheless was refused since
        known = _rejects(run) if contents else {}
        number, rejects = 1, {key: reason for key, reason in known.items() if key not in contents}
    saved = group.saved_groups(run)
    record = UpdateRecord(number, model_state(run), saved.revision if saved else 0, rejects=rejects)
    folder.begin(record, contents)
    return record


def model_state(run: RunDirectory) -> ModelState | None:
    """The model on disk, or models, and their scores; None where there is none."""
    if run.kind == "powder":
        from hpc_mlsm.stages.update_powder import powder_state

        return powder_state(run)
    try:
        info, bundle = bundle_info(read_manifest(run.model)), bundle_hash(run.model)
    except BundleError:
        return None
    scored = evaluate.load_evaluation(run)
    scores = scored.scores if scored else {}
    top_k = {name: {str(k): share for k, share in one.top_k.items()} for name, one in scores.items()}
    rows = scores[evaluate.MODEL].n_rows if evaluate.MODEL in scores else 0
    return ModelState(bundle, info.n_classes, info.revision, top_k, rows)


def _compared(context: RunContext, folder: UpdateFolder, record: UpdateRecord) -> UpdateRecord:
    """The record with what is different between then and now."""
    run = context.run
    rejects = _rejects(run)
    with PatternStore.open(run.patterns, "r") as store:
        contents = store.contents()
    now = CatalogueState(contents, {key: reason for key, reason in rejects.items() if key not in contents})
    changes = diff_states(folder.before(record), now)
    saved = group.saved_groups(run)
    history = saved.history if saved else ()
    events = tuple(asdict(event) for event in history if event.revision > record.revision and record.revision)
    return replace(record, changes=changes, after=model_state(run), events=events, rejects=rejects)


def _rejects(run: RunDirectory) -> dict[str, str]:
    """Reasons of everything that is refused by the catalogue or set aside by the simulation, by id."""
    found = {reject.id: reject.reason for reject in simulate.quarantined(run)}
    if run.catalogue.exists():
        with Catalogue(run.catalogue, read_only=True) as catalogue:
            found |= catalogue.state().rejects
    return found

"""Training divided over workers: one share of the rows each, one model, and another start where a worker is lost."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import ExecutorError, PeerError, RunError
from hpc_mlsm.grouping.groups import SavedGroups
from hpc_mlsm.models.boosted import BoostedModel, Round, settings_fingerprint, train_share, trained
from hpc_mlsm.models.boosted_setup import refuse_vector_leaves
from hpc_mlsm.models.checkpoints import Checkpoint, load_checkpoint
from hpc_mlsm.models.peers import joined
from hpc_mlsm.models.projection import boosted_memory
from hpc_mlsm.plan.projection import refuse_training_that_cannot_fit
from hpc_mlsm.plan.shape import DISTRIBUTED
from hpc_mlsm.runtime.events import Listener, TaskRetried
from hpc_mlsm.runtime.executor import MemberLost, Together, TooFewWorkers
from hpc_mlsm.runtime.member import Member
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.group import current_groups
from hpc_mlsm.stages.rows import LabelledRows
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore

MIN_ROWS = 50
"""Training rows below which a worker would mostly wait for the others."""

APPEAR_S = 60.0
"""How long a file written on another node may take to be seen here."""


@dataclass(frozen=True)
class Share:
    """One worker's part of a training. The run must be in a folder that all workers see."""

    id: str
    run: Path
    config: RunConfig
    fingerprint: str
    cost: float = 1.0
    units: int = 1


def expected_fingerprint(groups: SavedGroups, config: RunConfig) -> str:
    """Names the data, which class has which label, and the settings that a model is made from."""
    boosted = settings_fingerprint(config.train.boosted)
    classes = [group.id for group in groups.groups]
    return fingerprint(groups.fingerprint, classes, config.split, boosted, config.train.retrieval)


def workers_asked(context: RunContext) -> int | None:
    """Over how many workers to train; None for this process.

    By default those of a cluster's executor, if there are two; a process that submits jobs does not train itself.
    """
    config = context.config
    if config.train.workers != "auto":
        return config.train.workers if config.train.workers > 1 else None
    if config.executor.kind not in DISTRIBUTED or config.train.boosted.trees == "vector":
        return None
    capacity = context.executor.capacity
    return capacity if capacity > 1 or config.executor.kind == "slurm" else None


def fitting_workers(asked: int, rows: LabelledRows) -> int:
    """As many of the workers asked for as have enough rows each, at least one."""
    return max(1, min(asked, rows.count("train") // MIN_ROWS, rows.count("validation")))


def train_together(
    context: RunContext,
    workers: int,
    expected: str,
    *,
    stage: str,
    on_event: Listener,
    on_round: Callable[[Round], None],
) -> BoostedModel:
    """Train over workers, and again from the last checkpoint, with the workers that are there, when one is lost.

    Parameters
    ----------
    workers
        How many; fewer where they do not come in time.
    expected
        Fingerprint of the data and settings.
    on_round
        Told of every finished round once.

    Raises
    ------
    ExecutorError
        If no worker is there, or training starts again and again without getting further.
    Interrupted
        When told to stop; the last finished round is kept.
    HpcMlsmError
        What a worker's share raised for another reason than the loss of a worker.
    """
    settings = context.config.train
    refuse_vector_leaves(settings.boosted, "this process alone, by setting train.workers to 1")
    together = settings.together
    resumed_from = reached = len(_history(context, expected))
    told = _Told(on_round, resumed_from)
    how = Together(told, together.threads, together.wait_s, together.silence_s)
    fruitless, attempt, now = 0, 1, workers
    while True:
        shares = [Share(f"share-{rank}", context.run.path.absolute(), context.config, expected) for rank in range(now)]
        try:
            rounds = context.executor.run_together(train_on_share, shares, stage=stage, on_event=on_event, how=how)[0]
            last = _appeared(context, expected, rounds)
            told.catch_up(last.history)
            return trained(last, resumed_from)
        except TooFewWorkers as few:
            if not few.found:
                raise ExecutorError(
                    f"{few} after {how.wait_s:g} s; look at why they were lost, and run the same command again to go "
                    f"on after round {reached}"
                ) from few
            context.note(
                stage, f"{few.found} of {workers} workers are there after {how.wait_s:g} s: training uses these"
            )
            now = few.found
        except (MemberLost, PeerError) as loss:
            history = _history(context, expected)
            told.catch_up(history)
            before, reached = reached, len(history)
            fruitless = 0 if reached > before else fruitless + 1
            if fruitless > together.restarts:
                raise ExecutorError(
                    f"training was started {fruitless} times after round {reached} and came to no further checkpoint, "
                    f"the last time because {loss}. Look at the nodes, lower train.boosted.checkpoint_every, and run "
                    "the same command again to resume"
                ) from loss
            attempt, now = attempt + 1, workers
            reason = f"{loss}; training goes on after round {reached}"
            on_event(TaskRetried(stage=stage, task_id="training", attempt=attempt, reason=reason))


def train_on_share(share: Share, member: Member) -> int:
    """Train on one worker's rows, in step with the others, to the rounds returned; runs in a member's process."""
    config, run = share.config, RunDirectory(share.run)
    with joined(member, config.train.together.stall_s) as peers, PatternStore.open(run.patterns, "r") as store:
        groups = current_groups(run, store, config)
        if expected_fingerprint(groups, config) != share.fingerprint:
            raise RunError(f"{run.path} holds other data here than where training was started: is it a shared folder?")
        rows = LabelledRows.of(store, groups.groups, config.split, config.simulate.variants)
        n_classes = len(groups.groups)
        if member.memory:
            sizes = (rows.count("train"), rows.count("validation"), len(config.simulate.grid), n_classes)
            needed = boosted_memory(*sizes, config.train.boosted, workers=member.size)
            refuse_training_that_cannot_fit(needed, member.memory)
        rows = rows.share(member.rank, member.size)
        return train_share(
            partial(rows.batches, "train"),
            partial(rows.batches, "validation"),
            n_classes,
            config.train.boosted,
            run.checkpoints,
            share.fingerprint,
            peers=peers,
            threads=member.threads,
            on_round=member.tell if member.rank == 0 else lambda _: None,
        )


class _Told:
    """Passes on each round once, also where it is trained again after a loss, or its message was lost."""

    def __init__(self, on_round: Callable[[Round], None], last: int) -> None:
        self._on_round, self._last = on_round, last

    def __call__(self, rank: int, done: Round) -> None:
        if done.number > self._last:
            self._last = done.number
            self._on_round(done)

    def catch_up(self, history: tuple[float, ...]) -> None:
        """Tell of the rounds of a checkpoint of which nothing was heard, as from a frozen worker."""
        for number in range(self._last + 1, len(history) + 1):
            self(0, Round(number, history[number - 1]))


def _history(context: RunContext, expected: str) -> tuple[float, ...]:
    """Losses of the rounds of the last checkpoint."""
    found = load_checkpoint(context.run.checkpoints, expected)
    return found.history if found else ()


def _appeared(context: RunContext, expected: str, rounds: int) -> Checkpoint:
    """The last checkpoint, once this node sees it."""
    deadline = time.monotonic() + APPEAR_S
    while True:
        found = load_checkpoint(context.run.checkpoints, expected)
        if found and len(found.history) == rounds:
            return found
        if time.monotonic() > deadline:
            raise RunError(
                f"the workers have finished training, but its result is not in {context.run.checkpoints}: the run must "
                "be in a folder that all nodes share"
            )
        time.sleep(0.2)

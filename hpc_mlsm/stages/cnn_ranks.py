"""Training of a network by all ranks of this launch: they meet, compare what they have, train, and end together."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hpc_mlsm.errors import PeerError
from hpc_mlsm.models.cnn_agreement import refuse_differences, training_card
from hpc_mlsm.models.cnn_history import EpochRecord, Hooks
from hpc_mlsm.models.cnn_rows import PatternRows
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.cnn_strategy import RankInfo
from hpc_mlsm.models.cnn_train import TrainedCnn, train_cnn
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.runtime.signals import Interrupted, draining
from hpc_mlsm.runtime.stall_watch import StallWatch
from hpc_mlsm.runtime.training_ranks import Launcher, TrainingRanks, meet

START_S = 600.0
"""How long any step of the first epoch may take, on any rank: there is loading and compiling in it."""


def train_on_ranks(
    train: PatternRows,
    validation: PatternRows,
    n_classes: int,
    settings: CnnSettings,
    folder: Path,
    fingerprint: str,
    *,
    kind: Launcher | None = None,
    interface: str | None = None,
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
) -> TrainedCnn:
    """Train with all ranks of this launch, a single process too; each rank calls this, with the same arguments.

    A stop signal to any rank makes all ranks stop after a step or two and rank 0 write a checkpoint. A rank that is
    lost, or is silent for ``settings.stall_s``, ends the others, with the exit status that says "run me again".

    Parameters
    ----------
    folder
        Shared folder for checkpoints, logs, and for ranks to meet; see ``train_cnn``.
    kind
        How the ranks were started; None asks the environment.
    interface
        See ``meet``.
    on_epoch
        Told on rank 0 only.

    Raises
    ------
    Interrupted
        On every rank, if one was told to stop, and on those that are left, if one was lost; the same call resumes.
    ConfigError, ExecutorError, PlanError, StoreError
        See ``train_cnn``, ``meet`` and ``refuse_differences``.
    """
    found = meet(training_card(fingerprint, settings, folder), folder, kind=kind, interface=interface)
    refuse_differences(found.cards)
    ranks = RankInfo(found.rank, found.addresses, found.local_rank)
    message = (
        f"rank {ranks.rank} of {ranks.ranks} heard nothing from the others for {{waited:.0f}} s and ends. A node may "
        "be lost; run the same command again: training goes on from its last checkpoint"
    )
    begun = False

    def noted(record: EpochRecord) -> None:
        nonlocal begun
        begun = True
        if ranks.rank == 0:
            on_epoch(record)

    with draining() as drain, StallWatch(settings.stall_s, message, start_s=START_S) as watch:
        hooks = Hooks(
            on_epoch=noted,
            on_progress=lambda: watch.beat(starting=not begun),
            should_stop=lambda: drain.requested,
        )
        own = replace(settings, threads=settings.threads or _threads(found))
        try:
            trained = train_cnn(train, validation, n_classes, own, folder, fingerprint, ranks=ranks, hooks=hooks)
        except PeerError as error:
            raise Interrupted(str(error)) from error
    if ranks.rank == 0:
        for meeting in folder.glob("ranks-*"):
            shutil.rmtree(meeting, ignore_errors=True)
    if not trained.finished:
        drain.request("a signal to another rank")
        epochs, steps = trained.progress
        drain.check(f"{epochs} epochs and {steps} steps of the next are in the checkpoint")
    return trained


def _threads(found: TrainingRanks) -> int:
    """Cores of this rank: what the batch system gave it, or its share of the node."""
    sharing = 1 if "SLURM_CPUS_PER_TASK" in os.environ else found.ranks_here
    return max(1, usable_cores() // sharing)

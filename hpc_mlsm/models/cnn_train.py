"""Training of a convolutional network, by one process or by several ranks together."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_mlsm.errors import ConfigError, PeerError, PlanError
from hpc_mlsm.models.cnn_augment import refuse_unsuited_grid
from hpc_mlsm.models.cnn_checkpoint import Arrays, CnnCheckpoint, Progress, load_checkpoint, save_checkpoint
from hpc_mlsm.models.cnn_feed import Feed, epoch_order, plain_batches
from hpc_mlsm.models.cnn_history import EpochRecord, Hooks, TensorBoardLog, best_epoch, is_finished, write_history
from hpc_mlsm.models.cnn_networks import Device, choose_device, load_tensorflow
from hpc_mlsm.models.cnn_replica import CORRECT, COUNT, LOSS, STOP, Replica, refuse_missing_targets
from hpc_mlsm.models.cnn_rows import PatternRows, refuse_too_few_rows
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.cnn_strategy import RankInfo, lost_errors, reason_of


@dataclass(frozen=True, eq=False)
class TrainedCnn:
    """What ``train_cnn`` gives, the same on every rank.

    Attributes
    ----------
    weights
        Of the best epoch.
    history
        All epochs.
    resumed_from
        Epochs and steps of the next that were taken over from a checkpoint.
    finished
        False where the training was told to stop; the checkpoint is written then.
    device
        What this rank computed on.
    """

    weights: Arrays
    history: tuple[EpochRecord, ...]
    best_epoch: int
    resumed_from: tuple[int, int]
    finished: bool
    progress: tuple[int, int]
    device: Device


def train_cnn(
    train: PatternRows,
    validation: PatternRows,
    n_classes: int,
    settings: CnnSettings,
    folder: Path,
    fingerprint: str,
    *,
    ranks: RankInfo | None = None,
    hooks: Hooks | None = None,
) -> TrainedCnn:
    """Train until the validation loss stops falling.

    All ranks call this with the same arguments, but for ``ranks``. Rank 0 alone writes: checkpoints, ``history.json``
    and TensorBoard logs (``tensorboard/``) into ``folder``, which all ranks must see. A later call with the same
    fingerprint goes on from the checkpoint, with any number of ranks, seeing exactly the patterns that were left.

    Raises
    ------
    ConfigError
        If the settings do not fit the patterns or the machine.
    PeerError
        If another rank was lost; the checkpoint is what was last written.
    PlanError
        If the memory does not suffice.
    StoreError
        If patterns cannot be read, or a checkpoint cannot be written.
    """
    if n_classes < 2:
        raise ConfigError(f"training needs at least two classes, found {n_classes}; ingest more structures")
    if not len(validation.rows):
        raise ConfigError("there is no pattern for validation, by which training ends; raise split.validation")
    ranks, hooks = ranks or RankInfo(), hooks or Hooks()
    refuse_unsuited_grid(settings, train.two_theta)
    for part in (train, validation):
        refuse_missing_targets(settings, part.targets)
    order = epoch_order(train, settings, 0)
    refuse_too_few_rows(order, ranks.ranks, settings.batch)
    tf = load_tensorflow()
    try:
        training = _Training(train, validation, n_classes, settings, folder, fingerprint, order.n_steps, ranks, hooks)
        return training.run()
    except tf.errors.ResourceExhaustedError as error:
        raise PlanError(
            f"rank {ranks.rank} ran out of memory with batches of {settings.batch} patterns on {ranks.ranks} ranks; "
            "lower train.cnn.batch, use more ranks, or a device with more memory"
        ) from error
    except lost_errors(tf) as error:
        if ranks.ranks == 1:
            raise
        raise PeerError(
            f"rank {ranks.rank} of {ranks.ranks} lost another one ({reason_of(error)}). See what the others "
            "wrote, and run the same command again: training goes on from its last checkpoint"
        ) from error


class _Training:
    def __init__(
        self,
        train: PatternRows,
        validation: PatternRows,
        n_classes: int,
        settings: CnnSettings,
        folder: Path,
        fingerprint: str,
        n_steps: int,
        ranks: RankInfo,
        hooks: Hooks,
    ) -> None:
        self.train, self.validation, self.settings = train, validation, settings
        self.folder, self.fingerprint, self.n_steps = folder, fingerprint, n_steps
        self.ranks, self.hooks = ranks, hooks
        self.device = choose_device(settings, ranks.local_rank)
        saved = load_checkpoint(folder, fingerprint)
        self.replica = Replica(settings, train.two_theta, n_classes, n_steps, ranks, self.device)
        self.progress, self.best = Progress(), None if saved is None else saved.best
        if saved is not None:
            self.progress = saved.progress
            self.replica.restore(saved.weights, saved.optimizer)
        self.resumed_from = (self.progress.epoch, self.progress.step)
        self.saved_at = time.monotonic()

    def run(self) -> TrainedCnn:
        """Epoch after epoch."""
        self.hooks.on_progress()
        log = TensorBoardLog(self.folder / "tensorboard") if self.ranks.rank == 0 else None
        feed = Feed(self.train, self.settings, rank=self.ranks.rank, ranks=self.ranks.ranks, first=self.resumed_from)
        stopped = False
        try:
            while not stopped and not is_finished(self.progress.history, self.settings):
                stopped = self._steps(feed)
                if not stopped:
                    record = self._end_epoch()
                    if log is not None:
                        log.write(record)
                    self.hooks.on_epoch(record)
        finally:
            feed.close()
            if log is not None:
                log.close()
        # No rank leaves before all have come here.
        self.replica.sum_over_ranks(np.zeros(4))
        history = self.progress.history
        return TrainedCnn(
            weights=self.best if self.best is not None else self.replica.weights(),
            history=tuple(history),
            best_epoch=best_epoch(history, self.settings.min_delta),
            resumed_from=self.resumed_from,
            finished=not stopped,
            progress=(self.progress.epoch, self.progress.step),
            device=self.device,
        )

    def _steps(self, feed: Feed) -> bool:
        """The steps that are left of this epoch; True when a rank was told to stop."""
        progress, pending, stopped = self.progress, None, False
        feed.restart_clock()
        before, start = (progress.seconds, progress.waited_s), time.monotonic()
        while progress.step < self.n_steps and not stopped:
            batch = next(feed)
            running = self.replica.train_step(*batch, stop=self.hooks.should_stop())
            progress.step += 1
            # What a step found is looked at while the next one runs.
            stopped = pending is not None and self._note(pending)
            pending = running
            now = time.monotonic()
            progress.seconds, progress.waited_s = before[0] + now - start, before[1] + feed.waited_s
            if now - self.saved_at > 60 * self.settings.checkpoint_minutes and not stopped:
                self._note(pending)
                pending = None
                self._save()
        if pending is not None:
            stopped = self._note(pending) or stopped
        if stopped:
            self._save()
        return stopped

    def _note(self, result: object) -> bool:
        """Add the sums of a step to those of the epoch; True when a rank was told to stop."""
        sums = np.asarray(result, dtype=float)
        if not math.isfinite(sums[LOSS]):
            raise ConfigError(
                f"the training loss became {sums[LOSS]} in epoch {self.progress.epoch + 1}, step {self.progress.step}; "
                "lower train.cnn.learning_rate, and see that no pattern holds values that are not finite"
            )
        for name, place in (("loss", LOSS), ("correct", CORRECT), ("count", COUNT)):
            self.progress.sums[name] += float(sums[place])
        self.hooks.on_progress()
        return bool(sums[STOP] > 0)

    def _end_epoch(self) -> EpochRecord:
        progress, sums = self.progress, self.progress.sums
        found = self._validate()
        record = EpochRecord(
            epoch=progress.epoch + 1,
            loss=sums["loss"] / sums["count"],
            accuracy=sums["correct"] / sums["count"],
            validation_loss=float(found[LOSS] / found[COUNT]),
            validation_accuracy=float(found[CORRECT] / found[COUNT]),
            learning_rate=self.replica.learning_rate,
            steps=progress.step,
            rows=int(sums["count"]),
            seconds=progress.seconds,
            waiting=progress.waited_s / max(progress.seconds, 1e-9),
        )
        history = [*progress.history, record]
        if best_epoch(history, self.settings.min_delta) == record.epoch:
            self.best = self.replica.weights()
        self.progress = Progress(epoch=record.epoch, history=history)
        self._save()
        if self.ranks.rank == 0:
            write_history(self.folder, history)
        return record

    def _validate(self) -> np.ndarray:
        sums = np.zeros(4)
        for patterns, targets in plain_batches(self.validation, self.settings.batch, self.ranks.rank, self.ranks.ranks):
            sums += np.asarray(self.replica.evaluate_step(patterns, targets), dtype=float)
            self.hooks.on_progress()
        return self.replica.sum_over_ranks(sums)

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.ranks.rank == 0:
            state = CnnCheckpoint(self.progress, self.replica.weights(), self.replica.optimizer_state(), self.best)
            save_checkpoint(self.folder, state, self.fingerprint)
        self.hooks.on_progress()

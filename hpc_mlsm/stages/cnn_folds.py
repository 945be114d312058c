"""Cross-validation of a network: one fold is one task, on any executor."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.calibration import fit_temperature, probabilities
from hpc_mlsm.models.cnn_feed import plain_batches
from hpc_mlsm.models.cnn_history import EpochRecord
from hpc_mlsm.models.cnn_model import CnnModel
from hpc_mlsm.models.cnn_rows import PatternRows
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.cnn_strategy import RankInfo
from hpc_mlsm.models.cnn_train import train_cnn
from hpc_mlsm.runtime.events import Listener, ignore, stage_events
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.stages.store_rows import StoreRows
from hpc_mlsm.store.patterns import PatternStore

STAGE = "evaluate"


@dataclass(frozen=True)
class CnnFold:
    """Train on all structures but those of a fold and of another that training is stopped by; a picklable task.

    ``labels`` and ``folds`` name files of int64 (structures,), in the order of ``store.ids()``, with fold -1 for
    structures that are always trained on and lower ones for those that are left out; ``fingerprint`` names the
    patterns, labels and folds.
    """

    id: str
    store: Path
    labels: Path
    folds: Path
    fold: int
    validation_fold: int
    n_classes: int
    settings: CnnSettings
    folder: Path
    fingerprint: str
    cost: float = 1.0
    units: int = 1


@dataclass(frozen=True, eq=False)
class FoldResult:
    """Calibrated probabilities (rows, classes) of the test rows, whose structures (rows,) are counted as in the store.

    ``history`` is the course of the training.
    """

    fold: int
    structures: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    history: tuple[EpochRecord, ...]


def cross_validate_cnn(
    executor: Executor,
    store: Path,
    labels: NDArray[np.integer],
    folds: NDArray[np.integer],
    n_classes: int,
    settings: CnnSettings,
    folder: Path,
    fingerprint: str,
    on_event: Listener = ignore,
    done: Collection[int] = (),
) -> Iterator[FoldResult]:
    """Train and test on every fold, as workers come free; a fold that was interrupted goes on from its checkpoint.

    Parameters
    ----------
    labels, folds
        Of each structure, in the order of ``store.ids()``; see ``evaluation.folds``. The fold that follows the one
        tested (the first one after the last) stops the training.
    folder
        Shared with the workers, for checkpoints and histories.
    fingerprint
        Names the patterns, labels and folds.
    done
        Folds that are not wanted again.

    Raises
    ------
    HpcMlsmError
        What a fold failed with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labels.npy", labels.astype(np.int64))
    np.save(folder / "folds.npy", folds.astype(np.int64))
    n_folds = int(folds.max()) + 1
    tasks = [
        CnnFold(
            f"fold {fold}",
            store,
            folder / "labels.npy",
            folder / "folds.npy",
            fold,
            (fold + 1) % n_folds,
            n_classes,
            settings,
            folder / f"fold-{fold}",
            fingerprint,
        )
        for fold in range(n_folds)
        if fold not in done
    ]
    if not tasks:
        return
    with stage_events(on_event, STAGE, n_tasks=len(tasks), units="folds", n_units=len(tasks)) as listener:
        for outcome in executor.map_tasks(train_fold, tasks, stage=STAGE, on_event=listener):
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                yield outcome.value


def train_fold(task: CnnFold) -> FoldResult:
    """Train and test one fold, in this process.

    Raises
    ------
    HpcMlsmError
        See ``train_cnn``.
    """
    labels, folds = np.load(task.labels, allow_pickle=False), np.load(task.folds, allow_pickle=False)
    settings = replace(task.settings, heads=(), threads=task.settings.threads or 1)
    with PatternStore.open(task.store, "r") as store:
        if len(store.ids()) != len(labels):
            raise StoreError(f"{len(labels)} labels are for another store, which has {len(store.ids())} structures")
        chosen = [
            (folds != task.fold) & (folds != task.validation_fold) & (folds >= -1),
            folds == task.validation_fold,
            folds == task.fold,
        ]
        train, validation, test = (StoreRows(store, {"class": labels}, one, settings.scale) for one in chosen)
    name = f"{task.fingerprint}-{task.fold}"
    # Folds that run beside each other on a node take different GPUs, where a worker sees several.
    place = RankInfo(local_rank=task.fold)
    trained = train_cnn(train, validation, task.n_classes, settings, task.folder, name, ranks=place)
    model = CnnModel.of(settings, train.n_points, task.n_classes, trained.weights)
    temperature = fit_temperature(scaled_margins(model, validation), validation.targets["class"])
    found = probabilities(scaled_margins(model, test), temperature)
    structures = test.structures
    for rows in (train, validation, test):
        rows.close()
    return FoldResult(task.fold, structures, found, trained.history)


def scaled_margins(model: CnnModel, rows: PatternRows) -> NDArray[np.float32]:
    """Untransformed scores (rows, classes) of patterns as they are read for training."""
    found = [np.empty((0, model.n_classes), dtype=np.float32)]
    for patterns, _ in plain_batches(rows, 256):
        found.append(np.asarray(model.network(patterns, training=False)["class"]))
    return np.concatenate(found)

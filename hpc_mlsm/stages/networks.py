"""Networks as part of the train stage: by one process, or by all ranks of the launch that runs the command."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.calibration import fit_temperature
from hpc_mlsm.models.cnn_agreement import settings_fingerprint
from hpc_mlsm.models.cnn_bundle import CnnBundle, CnnInfo, load_cnn, read_cnn_manifest, save_cnn
from hpc_mlsm.models.cnn_checkpoint import epochs_done, remove_checkpoints
from hpc_mlsm.models.cnn_history import EpochRecord
from hpc_mlsm.models.cnn_model import CnnModel
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.cnn_train import TrainedCnn
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.runtime.factory import LAUNCHED
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.runtime.training_ranks import launcher, own_rank, ranks_started
from hpc_mlsm.stages.cnn_folds import scaled_margins
from hpc_mlsm.stages.cnn_ranks import train_on_ranks
from hpc_mlsm.stages.context import RunContext, finished
from hpc_mlsm.stages.store_rows import StoreRows
from hpc_mlsm.store.patterns import PatternStore

STAGE = "train"
TRAINING = "{name}-training"
"""Folder beside a network's bundle: checkpoints while it is trained, ``history.json`` and ``tensorboard`` for good."""


@dataclass(frozen=True, eq=False)
class NetworkData:
    """What a network is to learn; arrays go by the structures of the store, in the order of ``store.ids()``.

    Attributes
    ----------
    name
        Of the model: its bundle is ``models/NAME`` of the run.
    store
        Folder of the patterns.
    classes
        Names, by label.
    targets
        ``class`` (structures,), and where the settings have heads ``space_group`` (structures,), from 0, and ``cell``
        (structures, 6), as ``cell_targets`` gives it.
    train, validation
        Which structures are learnt from, and which end the training; (structures,), or (structures, variants).
    wavelength
        Of the patterns, Å.
    background
        Whether they have one; measured patterns then keep theirs.
    fingerprint
        Names the patterns, targets and parts.
    """

    name: str
    store: Path
    classes: tuple[str, ...]
    targets: dict[str, NDArray]
    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    wavelength: float
    fingerprint: str
    background: bool = False

    def folder(self, models: Path) -> Path:
        """Of checkpoints and logs."""
        return models / TRAINING.format(name=self.name)


@dataclass(frozen=True)
class NetworkSummary:
    """What was trained; ``resumed_from`` counts the epochs that were taken over from a checkpoint."""

    name: str
    classes: int
    train_rows: int
    epochs: int
    best_epoch: int
    validation_loss: float
    validation_accuracy: float
    ranks: int
    device: str
    resumed_from: int
    reused: bool


def train_network(context: RunContext, data: NetworkData, settings: CnnSettings) -> NetworkSummary:
    """Train a network and write its bundle, unless the one that is there is the one asked for.

    Where the command was started on several ranks, the others call ``help_training`` with the same data and settings,
    in the same order.

    Raises
    ------
    Interrupted
        If a rank was told to stop or was lost; the same command resumes.
    ConfigError, ExecutorError, PlanError, StoreError, BundleError
        See ``train_on_ranks`` and ``save_cnn``.
    """
    models = context.run.path / "models"
    existing = existing_network(models / data.name, data, settings)
    if existing is not None:
        return _summary(data.name, existing, reused=True)
    ranks = ranks_started() if _by_ranks(context.config.executor) else 1
    with (
        ExitStack() as files,
        stage_events(
            context.on_event, STAGE, n_tasks=settings.epochs, units="epochs", n_units=settings.epochs, workers=ranks
        ) as listener,
    ):
        train, validation = _rows(data, settings, files)

        def on_epoch(record: EpochRecord) -> None:
            words = f"{data.name}: epoch {record.epoch}, validation accuracy {record.validation_accuracy:.1%}"
            listener(finished(STAGE, words, 1, record.seconds))

        trained = _train(models, data, settings, context.config.executor, train, validation, on_epoch)
        bundle = _bundle(data, settings, trained, train, validation, ranks)
    save_cnn(bundle, models / data.name)
    remove_checkpoints(data.folder(models))
    summary = _summary(data.name, bundle.info, reused=False)
    if summary.resumed_from:
        context.note(STAGE, f"{data.name}: training went on from the checkpoint after epoch {summary.resumed_from}")
    return summary


def is_helper(executor: ExecutorSettings) -> bool:
    """Whether this process is one of several that train together, and not the first, which does all the rest."""
    return _by_ranks(executor) and own_rank() > 0


def help_training(run: Path, executor: ExecutorSettings, data: NetworkData, settings: CnnSettings) -> None:
    """What ranks other than the first do while that one is in ``train_network``; they write nothing.

    Raises
    ------
    HpcMlsmError
        As ``train_network``.
    """
    models = run / "models"
    if existing_network(models / data.name, data, settings) is not None:
        return
    with ExitStack() as files:
        train, validation = _rows(data, settings, files)
        _train(models, data, settings, executor, train, validation, lambda _: None)


def existing_network(folder: Path, data: NetworkData, settings: CnnSettings) -> CnnInfo | None:
    """What the bundle in a folder says of itself, if it is of these data and settings."""
    try:
        manifest = read_cnn_manifest(folder)
        if manifest["info"]["fingerprint"] != expected_fingerprint(data, settings):
            return None
        return load_cnn(folder).info
    except BundleError:
        return None


def network_state(models: Path, data: NetworkData, settings: CnnSettings) -> tuple[str, str]:
    """How far a network is, in words: its state and what there is."""
    info = existing_network(models / data.name, data, settings)
    if info is not None:
        found = _summary(data.name, info, reused=True)
        words = f"best after {found.best_epoch} epochs, validation accuracy {found.validation_accuracy:.1%}"
        return "done", f"{data.name}: {found.classes} classes, {words}"
    done = epochs_done(data.folder(models), expected_fingerprint(data, settings))
    if done is not None:
        return "partly", f"{data.name}: a checkpoint to go on from, after {done} of at most {settings.epochs} epochs"
    outdated = (models / data.name).is_dir()
    return ("outdated", f"{data.name}: of other data or settings") if outdated else ("not run", "no model")


def expected_fingerprint(data: NetworkData, settings: CnnSettings) -> str:
    """Names what a network is trained on, and how."""
    return fingerprint(data.fingerprint, settings_fingerprint(settings), data.classes)


def cell_targets(cells: NDArray[np.floating]) -> NDArray[np.float32]:
    """What a head learns of cells (n, 6), in Å and degrees: logarithms of lengths, cosines of angles."""
    return np.hstack([np.log(cells[:, :3]), np.cos(np.radians(cells[:, 3:]))]).astype(np.float32)


def _by_ranks(executor: ExecutorSettings) -> bool:
    # Under these, the ranks of the launch are scheduler, driver and workers.
    return executor.kind not in LAUNCHED and launcher() != "alone"


def _rows(data: NetworkData, settings: CnnSettings, files: ExitStack) -> tuple[StoreRows, StoreRows]:
    wanted = {name: data.targets[name] for name in ("class", *settings.heads)}
    with PatternStore.open(data.store, "r") as store:
        parts = [StoreRows(store, wanted, chosen, settings.scale) for chosen in (data.train, data.validation)]
    for part in parts:
        files.callback(part.close)
    return parts[0], parts[1]


def _train(
    models: Path,
    data: NetworkData,
    settings: CnnSettings,
    executor: ExecutorSettings,
    train: StoreRows,
    validation: StoreRows,
    on_epoch: Callable[[EpochRecord], None],
) -> TrainedCnn:
    asked = executor.workers if executor.kind in ("inline", "local") and not _by_ranks(executor) else None
    return train_on_ranks(
        train,
        validation,
        len(data.classes),
        replace(settings, threads=settings.threads or asked or 0),
        data.folder(models),
        expected_fingerprint(data, settings),
        kind=None if _by_ranks(executor) else "alone",
        interface=executor.interface,
        on_epoch=on_epoch,
    )


def _bundle(
    data: NetworkData,
    settings: CnnSettings,
    trained: TrainedCnn,
    train: StoreRows,
    validation: StoreRows,
    ranks: int,
) -> CnnBundle:
    model = CnnModel.of(settings, train.n_points, len(data.classes), trained.weights)
    labels = np.asarray(train.targets["class"])
    counts = np.bincount(labels, minlength=len(data.classes)).tolist()
    axis = train.two_theta
    metrics: dict[str, Any] = {
        "history": [asdict(record) for record in trained.history],
        "best_epoch": trained.best_epoch,
        "resumed_from": trained.resumed_from[0],
        "rows": {"train": len(labels), "validation": len(validation.rows)},
        "ranks": ranks,
        "device": trained.device.name,
        "background": data.background,
        "gflop_per_pattern": model.cost.training_flop / 1e9,
    }
    info = CnnInfo(
        classes=data.classes,
        grid=(float(axis[0]), float(axis[-1] - axis[0]) / (len(axis) - 1), len(axis)),
        wavelength=data.wavelength,
        temperature=fit_temperature(scaled_margins(model, validation), validation.targets["class"]),
        fingerprint=expected_fingerprint(data, settings),
        rows_by_class=dict(zip(data.classes, counts, strict=True)),
        metrics=metrics,
    )
    return CnnBundle(info, model)


def _summary(name: str, info: CnnInfo, *, reused: bool) -> NetworkSummary:
    metrics, best = info.metrics, info.metrics["history"][info.metrics["best_epoch"] - 1]
    return NetworkSummary(
        name=name,
        classes=len(info.classes),
        train_rows=metrics["rows"]["train"],
        epochs=len(metrics["history"]),
        best_epoch=metrics["best_epoch"],
        validation_loss=best["validation_loss"],
        validation_accuracy=best["validation_accuracy"],
        ranks=metrics["ranks"],
        device=metrics["device"],
        resumed_from=metrics["resumed_from"],
        reused=reused,
    )

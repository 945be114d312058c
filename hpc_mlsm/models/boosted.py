"""Gradient-boosted trees (XGBoost): training that streams its rows and resumes from checkpoints."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError, PlanError
from hpc_mlsm.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from hpc_mlsm.models.settings import BoostedSettings

if TYPE_CHECKING:
    import xgboost

Rows = Callable[[], Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]]
"""Called for each pass over the data; yields (patterns (rows, points), labels (rows,))."""

PREDICT_BYTES = 256e6
"""Margins of one batch take at most about this much memory."""


@dataclass(frozen=True)
class Round:
    """One finished boosting round and its validation loss (mean negative log-likelihood)."""

    number: int
    validation_loss: float


@dataclass(frozen=True)
class BoostedModel:
    """A trained booster, cut to its best round, and the course of its training."""

    booster: "xgboost.Booster"
    history: tuple[float, ...]
    resumed_from: int

    @property
    def best_round(self) -> int:
        """Number of rounds in the model."""
        return int(np.argmin(self.history)) + 1


def train_boosted(
    train: Rows,
    validation: Rows,
    n_classes: int,
    settings: BoostedSettings,
    checkpoints: Path,
    fingerprint: str,
    *,
    threads: int = 1,
    on_round: Callable[[Round], None] = lambda _: None,
) -> BoostedModel:
    """Train until the validation loss stops falling.

    The patterns are streamed once into XGBoost's binned form, so the memory needed does not include them as floats.
    A checkpoint is written every few rounds, at the end, and where an exception stops the training; a later call with
    the same fingerprint goes on from it, to exactly the model that an undisturbed training gives.

    Parameters
    ----------
    train, validation
        Sources of rows.
    n_classes
        Labels are 0 … n_classes - 1.
    checkpoints
        Folder for checkpoints; checkpoints of another fingerprint, and damaged ones, are ignored and replaced.
    fingerprint
        Names the data and settings.
    threads
        For XGBoost.
    on_round
        Told of every finished round; what it raises stops the training.

    Raises
    ------
    ConfigError
        If there are fewer than two classes, or the device is not there.
    PlanError
        If the memory does not suffice.
    BundleError
        If a checkpoint cannot be written.
    """
    if n_classes < 2:
        raise ConfigError(
            f"training needs at least two classes, found {n_classes}; raise group.threshold or ingest more structures"
        )
    if settings.device == "cuda":
        _refuse_missing_gpu()
    import xgboost

    train_matrix = _binned(train, settings, threads, reference=None)
    valid_matrix = _binned(validation, settings, threads, reference=train_matrix)
    saved = load_checkpoint(checkpoints, fingerprint) or Checkpoint((), b"")
    booster = xgboost.Booster(
        _parameters(settings, n_classes, threads),
        cache=[train_matrix, valid_matrix],
        model_file=bytearray(saved.booster) if saved.history else None,
    )
    training = _Training(booster, train_matrix, valid_matrix, list(saved.history))
    n_saved = len(saved.history)
    with xgboost.config_context(verbosity=1):
        try:
            while not training.is_finished(settings):
                on_round(training.round())
                if len(training.history) % settings.checkpoint_every == 0:
                    n_saved = training.save(checkpoints, fingerprint)
        finally:
            training.complete()
            if len(training.history) > n_saved:
                training.save(checkpoints, fingerprint)
    best = int(np.argmin(training.history)) + 1
    return BoostedModel(booster[:best], tuple(training.history), len(saved.history))


@dataclass
class _Training:
    """A booster, its data, and the validation loss after each of its rounds."""

    booster: "xgboost.Booster"
    train: "xgboost.QuantileDMatrix"
    validation: "xgboost.QuantileDMatrix"
    history: list[float]

    def is_finished(self, settings: BoostedSettings) -> bool:
        patience = settings.early_stopping_rounds
        stalled = len(self.history) > patience and int(np.argmin(self.history)) < len(self.history) - patience
        return stalled or len(self.history) >= settings.rounds

    def round(self) -> Round:
        """Grow the trees of one round, the same ones whatever was done in this process before.

        XGBoost seeds its generator anew for each round, but draws from it once more in the first round of a process,
        when it makes what grows trees (github.com/dmlc/xgboost/issues/10324). Switching to another tree method and
        back discards that, so that every round is a first one in this respect; trees and cached scores stay.
        """
        import xgboost

        self.booster.set_param({"tree_method": "approx"})
        self.booster.save_config()
        self.booster.set_param({"tree_method": "hist"})
        try:
            self.booster.update(self.train, len(self.history))
        except xgboost.core.XGBoostError as error:
            if "memory" not in str(error) and "bad_alloc" not in str(error):
                raise
            raise PlanError(
                f"XGBoost ran out of memory in round {len(self.history) + 1}; lower simulate.variants, lower "
                "group.threshold so that there are fewer classes, or use a machine with more memory"
            ) from error
        self.complete()
        return Round(len(self.history), self.history[-1])

    def complete(self) -> None:
        """Note the loss of a round that was grown: at once, or after a signal that came in between."""
        if self.booster.num_boosted_rounds() > len(self.history):
            self.history.append(float(self.booster.eval(self.validation, "validation").rsplit(":", 1)[1]))

    def save(self, folder: Path, fingerprint: str) -> int:
        """Write a checkpoint; returns the rounds that it holds."""
        checkpoint = Checkpoint(tuple(self.history), bytes(self.booster.save_raw("ubj")))
        save_checkpoint(folder, checkpoint, fingerprint)
        return len(self.history)


def predict_margins(booster: "xgboost.Booster", patterns: NDArray[np.float32], n_classes: int) -> NDArray[np.float32]:
    """Untransformed scores, shape (rows, classes); computed in batches so that buffers stay small."""
    batch = max(1, int(PREDICT_BYTES / (4 * n_classes)))
    out = np.empty((len(patterns), n_classes), dtype=np.float32)
    for start in range(0, len(patterns), batch):
        piece = np.ascontiguousarray(patterns[start : start + batch], dtype=np.float32)
        out[start : start + batch] = booster.inplace_predict(piece, predict_type="margin", validate_features=False)
    return out


def _parameters(settings: BoostedSettings, n_classes: int, threads: int) -> dict[str, Any]:
    strategy = {"per_class": "one_output_per_tree", "vector": "multi_output_tree"}[settings.trees]
    return {
        "objective": "multi:softprob",
        "num_class": n_classes,
        "eval_metric": "mlogloss",
        "tree_method": "hist",
        "multi_strategy": strategy,
        "device": settings.device,
        "learning_rate": settings.learning_rate,
        "max_depth": settings.max_depth,
        "min_child_weight": settings.min_child_weight,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample_bytree,
        "reg_lambda": settings.reg_lambda,
        "max_bin": settings.max_bin,
        "seed": settings.seed,
        # The random numbers of a round depend on the seed and the round alone, so a resumed run draws the same.
        "seed_per_iteration": True,
        "nthread": threads,
    }


def _binned(
    rows: Rows, settings: BoostedSettings, threads: int, reference: "xgboost.QuantileDMatrix | None"
) -> "xgboost.QuantileDMatrix":
    import xgboost

    class Batches(xgboost.DataIter):
        def __init__(self) -> None:
            self.source = rows()
            super().__init__()

        def next(self, input_data: Callable[..., Any]) -> bool:
            for patterns, labels in self.source:
                input_data(data=patterns, label=labels)
                return True
            return False

        def reset(self) -> None:
            self.source = rows()

    return xgboost.QuantileDMatrix(Batches(), max_bin=settings.max_bin, ref=reference, nthread=threads)


def _refuse_missing_gpu() -> None:
    """XGBoost trains on the CPU where it finds no GPU; whoever asked for one should rather know."""
    import xgboost

    matrix = xgboost.DMatrix(np.ones((2, 1)), label=np.zeros(2))
    with xgboost.config_context(verbosity=0):
        configured = json.loads(xgboost.Booster({"device": "cuda"}, cache=[matrix]).save_config())
    if not configured["learner"]["generic_param"]["device"].startswith("cuda"):
        raise ConfigError(
            "train.boosted.device is cuda, but XGBoost finds no GPU here; set it to cpu, or run on a node with a GPU "
            "and its driver"
        )


def settings_fingerprint(settings: BoostedSettings) -> dict[str, Any]:
    """What of the settings changes the model; how often checkpoints are written does not."""
    return {key: value for key, value in asdict(settings).items() if key not in ("checkpoint_every", "device")}

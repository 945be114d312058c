"""Gradient-boosted trees (XGBoost): training that streams its rows and resumes from checkpoints."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
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
    A checkpoint is written every few rounds; a later call with the same fingerprint goes on from the newest.

    Parameters
    ----------
    train, validation
        Sources of rows.
    n_classes
        Labels are 0 … n_classes - 1.
    checkpoints
        Folder for checkpoints; checkpoints of another fingerprint are ignored and replaced.
    fingerprint
        Names the data and settings.
    threads
        For XGBoost.
    on_round
        Told of every finished round.

    Raises
    ------
    ConfigError
        If there are fewer than two classes, or the device is not there.
    """
    if n_classes < 2:
        raise ConfigError(
            f"training needs at least two classes, found {n_classes}; raise group.threshold or ingest more structures"
        )
    import xgboost

    train_matrix = _binned(train, settings, threads, reference=None)
    valid_matrix = _binned(validation, settings, threads, reference=train_matrix)
    parameters = _parameters(settings, n_classes, threads)
    history = _resume(checkpoints, fingerprint)
    resumed_from = len(history)
    start = _checkpoint_file(checkpoints, resumed_from) if history else None
    booster = xgboost.Booster(parameters, cache=[train_matrix, valid_matrix], model_file=start)
    with xgboost.config_context(verbosity=1):
        while len(history) < settings.rounds and not _stalled(history, settings.early_stopping_rounds):
            try:
                booster.update(train_matrix, len(history))
            except xgboost.core.XGBoostError as error:
                if settings.device == "cuda" and not history:
                    first_line = str(error).splitlines()[0]
                    raise ConfigError(
                        f"XGBoost cannot use the GPU ({first_line}); set train.boosted.device to cpu, or run on a GPU node"
                    ) from error
                raise
            history.append(_loss(booster, valid_matrix, len(history)))
            on_round(Round(len(history), history[-1]))
            if len(history) % settings.checkpoint_every == 0:
                _save_checkpoint(checkpoints, booster, history, fingerprint)
    best = int(np.argmin(history)) + 1
    return BoostedModel(booster[:best], tuple(history), resumed_from)


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


def _loss(booster: "xgboost.Booster", matrix: "xgboost.QuantileDMatrix", iteration: int) -> float:
    return float(booster.eval(matrix, "validation", iteration).rsplit(":", 1)[1])


def _stalled(history: list[float], patience: int) -> bool:
    return len(history) > patience and int(np.argmin(history)) < len(history) - patience


def _checkpoint_file(folder: Path, rounds: int) -> Path:
    return folder / f"round-{rounds:05d}.ubj"


def _save_checkpoint(folder: Path, booster: "xgboost.Booster", history: list[float], fingerprint: str) -> None:
    """Write the booster, then the state that names it; only what the state names is ever read back."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _checkpoint_file(folder, len(history))
    _replace(path, bytes(booster.save_raw("ubj")))
    state = {"fingerprint": fingerprint, "history": history}
    _replace(folder / "state.json", json.dumps(state).encode())
    for older in folder.glob("round-*.ubj"):
        if older != path:
            older.unlink()


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _resume(folder: Path, fingerprint: str) -> list[float]:
    """Validation losses of the rounds that the newest usable checkpoint holds; empty where there is none."""
    try:
        state = json.loads((folder / "state.json").read_text())
        history = [float(loss) for loss in state["history"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    usable = state.get("fingerprint") == fingerprint and _checkpoint_file(folder, len(history)).is_file()
    return history if usable else []


def settings_fingerprint(settings: BoostedSettings) -> dict[str, Any]:
    """What of the settings changes the model; how often checkpoints are written does not."""
    return {key: value for key, value in asdict(settings).items() if key not in ("checkpoint_every", "device")}

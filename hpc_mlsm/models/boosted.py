"""Gradient-boosted trees (XGBoost): training that streams its rows and resumes from checkpoints."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.boosted_rounds import BoostedRounds, Round
from hpc_mlsm.models.boosted_setup import Rows, binned, parameters, refuse_missing_gpu, refuse_vector_leaves
from hpc_mlsm.models.checkpoints import Checkpoint, load_checkpoint
from hpc_mlsm.models.peers import ALONE, Peers
from hpc_mlsm.models.settings import BoostedSettings
from hpc_mlsm.models.trees import Trees

if TYPE_CHECKING:
    import xgboost

PREDICT_BYTES = 256e6
"""Margins of one batch take at most about this much memory."""


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
    training, resumed_from = _run(
        train, validation, n_classes, settings, checkpoints, fingerprint, threads=threads, on_round=on_round
    )
    return _best(training.booster, tuple(training.history), resumed_from)


def train_share(
    train: Rows,
    validation: Rows,
    n_classes: int,
    settings: BoostedSettings,
    checkpoints: Path,
    fingerprint: str,
    *,
    peers: Peers,
    threads: int = 1,
    on_round: Callable[[Round], None] = lambda _: None,
) -> int:
    """Train on this process's share of the rows, in step with its peers, until the end or until told to stop.

    Parameters are those of ``train_boosted``. The first peer writes the checkpoints, the last one at the end, in a
    folder that the caller can read: ``trained`` makes the model of it.

    Returns
    -------
    int
        Rounds that the last checkpoint holds.

    Raises
    ------
    PeerError
        If a peer is lost; what ``train_boosted`` raises.
    """
    refuse_vector_leaves(settings, "one process alone")
    training, _ = _run(
        train,
        validation,
        n_classes,
        settings,
        checkpoints,
        fingerprint,
        threads=threads,
        on_round=on_round,
        peers=peers,
    )
    return len(training.history)


def trained(checkpoint: Checkpoint, resumed_from: int) -> BoostedModel:
    """The model that a training came to, from its last checkpoint."""
    import xgboost

    return _best(xgboost.Booster(model_file=bytearray(checkpoint.booster)), checkpoint.history, resumed_from)


def _best(booster: "xgboost.Booster", history: tuple[float, ...], resumed_from: int) -> BoostedModel:
    return BoostedModel(booster[: int(np.argmin(history)) + 1], history, resumed_from)


def _run(
    train: Rows,
    validation: Rows,
    n_classes: int,
    settings: BoostedSettings,
    checkpoints: Path,
    fingerprint: str,
    *,
    threads: int,
    on_round: Callable[[Round], None],
    peers: Peers = ALONE,
) -> "tuple[BoostedRounds, int]":
    """Train, from the last checkpoint on; returns the course of the training and the rounds that were there before."""
    if n_classes < 2:
        raise ConfigError(
            f"training needs at least two classes, found {n_classes}; raise group.threshold or ingest more structures"
        )
    if settings.device == "cuda":
        refuse_missing_gpu()
    import xgboost

    train_matrix = binned(train, settings, threads, reference=None)
    valid_matrix = binned(validation, settings, threads, reference=train_matrix)
    saved = peers.share(lambda: load_checkpoint(checkpoints, fingerprint) or Checkpoint((), b""))
    booster = xgboost.Booster(
        parameters(settings, n_classes, threads),
        cache=[train_matrix, valid_matrix],
        model_file=bytearray(saved.booster) if saved.history else None,
    )
    training = BoostedRounds(booster, train_matrix, valid_matrix, list(saved.history), len(saved.history))
    with xgboost.config_context(verbosity=1):
        try:
            while not training.is_finished(settings) and not peers.told_to_stop():
                on_round(training.round())
                if peers.first and len(training.history) % settings.checkpoint_every == 0:
                    training.save(checkpoints, fingerprint)
        finally:
            # With a peer lost, the others cannot complete anything.
            if peers.alone:
                training.complete()
            if peers.first:
                training.save(checkpoints, fingerprint)
    return training, len(saved.history)


def predict_margins(booster: "xgboost.Booster", patterns: NDArray[np.float32], n_classes: int) -> NDArray[np.float32]:
    """Untransformed scores, shape (rows, classes); computed in batches so that buffers stay small."""
    batch = max(1, int(PREDICT_BYTES / (4 * n_classes)))
    out = np.empty((len(patterns), n_classes), dtype=np.float32)
    for start in range(0, len(patterns), batch):
        piece = np.ascontiguousarray(patterns[start : start + batch], dtype=np.float32)
        out[start : start + batch] = booster.inplace_predict(piece, predict_type="margin", validate_features=False)
    return out


def margins_of(
    model: bytes, booster: "Callable[[], xgboost.Booster]", n_classes: int
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """What computes the scores of a saved model, as ``predict_margins`` does and with the same result, but faster.

    ``booster`` gives the same model; it is only asked for where trees have too many leaves for ``Trees``, or rows have
    NaN.
    """
    trees = Trees.of(model)

    def margins(patterns: NDArray[np.float32]) -> NDArray[np.float32]:
        if trees is None or trees.points != patterns.shape[1] or np.isnan(patterns).any():
            return predict_margins(booster(), patterns, n_classes)
        return trees.margins(patterns)

    return margins


def staged_losses(booster: "xgboost.Booster", rows: Rows, n_classes: int) -> tuple[float, ...]:
    """Mean negative log-likelihood of labelled rows after each round of a booster, at the cost of one prediction.

    Margins are added up round by round. Each part that XGBoost predicts holds the starting scores once more, which
    are found as the difference of two parts and their sum.
    """
    rounds, total, losses = booster.num_boosted_rounds(), 0, np.zeros(booster.num_boosted_rounds())
    for patterns, labels in rows():
        batch = max(1, int(PREDICT_BYTES / (16 * n_classes)))
        for start in range(0, len(labels), batch):
            own = labels[start : start + batch]
            part = partial(_margins, booster, np.ascontiguousarray(patterns[start : start + batch], dtype=np.float32))
            margins = part(0, 1)
            begin = margins + part(1, 2) - part(0, 2) if rounds > 1 else margins
            for k in range(rounds):
                margins = margins if k == 0 else margins + part(k, k + 1) - begin
                losses[k] -= float(log_softmax(margins, axis=1)[np.arange(len(own)), own].sum())
            total += len(own)
    return tuple((losses / max(total, 1)).tolist())


def _margins(booster: "xgboost.Booster", patterns: NDArray[np.float32], first: int, last: int) -> NDArray[np.float64]:
    found = booster.inplace_predict(
        patterns, iteration_range=(first, last), predict_type="margin", validate_features=False
    )
    return np.asarray(found, np.float64)


def settings_fingerprint(settings: BoostedSettings) -> dict[str, Any]:
    """What of the settings changes the model; how often checkpoints are written does not."""
    return {key: value for key, value in asdict(settings).items() if key not in ("checkpoint_every", "device")}

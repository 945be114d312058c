"""The rounds of a training of boosted trees: grown, scored and saved one after the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpc_mlsm.errors import PlanError
from hpc_mlsm.models.checkpoints import Checkpoint, save_checkpoint
from hpc_mlsm.models.settings import BoostedSettings

if TYPE_CHECKING:
    import xgboost


@dataclass(frozen=True)
class Round:
    """One finished boosting round and its validation loss (mean negative log-likelihood)."""

    number: int
    validation_loss: float


@dataclass
class BoostedRounds:
    """A booster, its data, the validation loss after each of its rounds, and how many of them are on disk."""

    booster: "xgboost.Booster"
    train: "xgboost.QuantileDMatrix"
    validation: "xgboost.QuantileDMatrix"
    history: list[float]
    saved: int

    def is_finished(self, settings: BoostedSettings) -> bool:
        """Whether there are as many rounds as may be, or the last ones were no better."""
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

    def save(self, folder: Path, fingerprint: str) -> None:
        """Write a checkpoint, if there is anything new."""
        if len(self.history) > self.saved:
            n = len(self.history)
            # Where a peer was lost, there may be a round whose loss is not known.
            whole = self.booster if self.booster.num_boosted_rounds() == n else self.booster[:n]
            checkpoint = Checkpoint(tuple(self.history), bytes(whole.save_raw("ubj")))
            save_checkpoint(folder, checkpoint, fingerprint)
            self.saved = len(self.history)

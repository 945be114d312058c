"""What XGBoost is given: its parameters, and the rows in binned form."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.settings import BoostedSettings

if TYPE_CHECKING:
    import xgboost

Rows = Callable[[], Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]]
"""Called for each pass over the data; yields (patterns (rows, points), labels (rows,))."""


def parameters(settings: BoostedSettings, n_classes: int, threads: int) -> dict[str, Any]:
    """The settings in XGBoost's words."""
    strategy = {"per_class": "one_output_per_tree", "vector": "multi_output_tree"}[settings.trees]
    return {
        "objective": "multi:softprob",
        "num_class": n_classes,
        "eval_metric": "mlogloss",
        "tree_method": "hist",
        "multi_strategy": strategy,
        "device": "cuda" if settings.device == "cuda" else "cpu",
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


def binned(
    rows: Rows, settings: BoostedSettings, threads: int, reference: "xgboost.QuantileDMatrix | None"
) -> "xgboost.QuantileDMatrix":
    """The rows in binned form; with bins of their own, shared by all peers, or those of a reference."""
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


def refuse_missing_gpu() -> None:
    """XGBoost trains on the CPU where it finds no GPU; whoever asked for one should rather know.

    Raises
    ------
    ConfigError
        If there is none.
    """
    import xgboost

    matrix = xgboost.DMatrix(np.ones((2, 1)), label=np.zeros(2))
    with xgboost.config_context(verbosity=0):
        configured = json.loads(xgboost.Booster({"device": "cuda"}, cache=[matrix]).save_config())
    if not configured["learner"]["generic_param"]["device"].startswith("cuda"):
        raise ConfigError(
            "train.boosted.device is cuda, but XGBoost finds no GPU here; set it to cpu, or run on a node with a GPU "
            "and its driver"
        )


def refuse_vector_leaves(settings: BoostedSettings, instead: str) -> None:
    """Refuse what XGBoost cannot divide over processes.

    Raises
    ------
    ConfigError
        If the settings ask for vector leaves; ``instead`` is where these can be trained.
    """
    if settings.trees == "vector":
        raise ConfigError(
            "train.boosted.trees is vector, and XGBoost trains vector leaves in one process only; set it to per_class, "
            f"or train in {instead}"
        )

"""Settings of the models, as dataclasses that the configuration validates."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Le

Share = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True)
class BoostedSettings:
    """Gradient-boosted trees (XGBoost).

    Attributes
    ----------
    rounds
        Most boosting rounds; validation loss usually ends training earlier.
    early_stopping_rounds
        Rounds without a better validation loss after which training ends.
    learning_rate, max_depth, min_child_weight, subsample, colsample_bytree, reg_lambda, max_bin
        As in XGBoost.
    trees
        ``per_class`` grows one tree a class and round, ``vector`` one tree a round with a value per class in each leaf.
    device
        ``cpu`` or ``cuda``; ``auto`` is ``cuda`` in jobs for which the site asks for GPUs, and ``cpu`` elsewhere.
    checkpoint_every
        Rounds between checkpoints.
    """

    rounds: Annotated[int, Ge(1)] = 100
    early_stopping_rounds: Annotated[int, Ge(1)] = 5
    learning_rate: Annotated[float, Gt(0), Le(1)] = 0.3
    max_depth: Annotated[int, Interval(ge=1, le=20)] = 5
    min_child_weight: Annotated[float, Ge(0)] = 1.0
    subsample: Share = 0.8
    colsample_bytree: Share = 0.5
    reg_lambda: Annotated[float, Ge(0)] = 1.0
    max_bin: Annotated[int, Interval(ge=8, le=1024)] = 64
    trees: Literal["per_class", "vector"] = "per_class"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: Annotated[int, Ge(1)] = 5
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True)
class RetrievalSettings:
    """Nearest neighbour by Pearson correlation among training patterns; ``memory_mb`` bounds how many are kept."""

    memory_mb: Annotated[int, Ge(1)] = 256


@dataclass(frozen=True)
class TogetherSettings:
    """Training that is divided over workers; none of it changes what the model learns, but for rounding.

    Attributes
    ----------
    threads
        Of each worker; None takes its share of the cores.
    restarts
        How often training starts again from its last checkpoint, without having got further, before it gives up.
    wait_s
        How long to wait for workers that are not there (yet); then training goes on with those that are.
    silence_s
        How long a worker may give no sign of life.
    stall_s
        How long one worker may keep the others waiting for its part of a common step, such as reading its rows.
    """

    threads: Annotated[int, Ge(1)] | None = None
    restarts: Annotated[int, Ge(0)] = 3
    wait_s: Annotated[float, Ge(0)] = 60.0
    silence_s: Annotated[float, Ge(5)] = 60.0
    stall_s: Annotated[float, Ge(5)] = 1800.0

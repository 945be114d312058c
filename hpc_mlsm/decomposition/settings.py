"""What a user may choose about the decomposition of a series."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from hpc_mlsm.errors import ConfigError

Rule = Literal["parallel", "malinowski"]

MAX_COMPONENTS = 16
"""Weights are found by trying sets of components, of which there are 2^16 at most."""


@dataclass(frozen=True, slots=True)
class DecomposeSettings:
    """How a series is taken apart.

    Parameters
    ----------
    components : int or None
        How many components; None takes what ``rule`` proposes.
    rule : {"parallel", "malinowski"}
        How that number is proposed: see ``principal.propose``.
    max_components : int
        The most that a rule may propose.
    min_share : float
        Share of the series' variance that a component must explain to be proposed.
    starts : int
        Starts of the factorisation, of which the best is kept.
    seed : int
        Of the random starts, and of the permutations of the rule.
    fit_frames : int
        Components are found on this many patterns at most; of a longer series, on the means of as many runs of
        neighbouring frames. The weights are those of every frame all the same.
    matrix_frames : int
        The Pearson matrix has this many rows at most (4 bytes times its square, in memory and on disk); of a longer
        series, it is that of the means of neighbouring frames.
    iterations : int
        Of one start, at most.
    """

    components: Annotated[int, Interval(ge=1, le=MAX_COMPONENTS)] | None = None
    rule: Rule = "parallel"
    max_components: Annotated[int, Interval(ge=1, le=MAX_COMPONENTS)] = 8
    min_share: Annotated[float, Interval(ge=0, lt=1)] = 0.01
    starts: Annotated[int, Interval(ge=1, le=100)] = 6
    seed: Annotated[int, Ge(0)] = 0
    fit_frames: Annotated[int, Ge(10)] = 1000
    matrix_frames: Annotated[int, Interval(ge=2, le=20_000)] = 1000
    iterations: Annotated[int, Gt(0)] = 2000

    def __post_init__(self) -> None:
        if self.components and self.components > self.fit_frames:
            raise ConfigError(
                f"components: found {self.components}, which cannot be found on {self.fit_frames} patterns; raise "
                "fit_frames"
            )

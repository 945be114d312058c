"""What a user may choose about the decomposition of a series."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from hpc_mlsm.errors import ConfigError

Rule = Literal["parallel", "malinowski"]
Method = Literal["nmf", "stretched-nmf"]

MAX_COMPONENTS = 16
"""Weights are found by trying sets of components, of which there are 2^16 at most."""


@dataclass(frozen=True, slots=True)
class DecomposeSettings:
    """How a series is taken apart.

    Parameters
    ----------
    method : {"nmf", "stretched-nmf"}
        Whether components have one shape throughout, or may stretch along the series, as crystals do that expand; the
        latter needs the package diffpy.stretched-nmf and takes minutes.
    components : int or None
        How many components; None takes what ``rule`` proposes, or of stretching ones fewer that leave as little.
    known : tuple of Path
        Files of measured patterns of phases that are known to be there, such as a container or a substrate; they are
        components that are held fixed. They must be in the scale of the series.
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
    stretch_frames, stretch_iterations : int
        Stretching components are found on this many patterns, or means of neighbouring frames, at most, in this many
        iterations; between, their stretches are interpolated.
    """

    method: Method = "nmf"
    components: Annotated[int, Interval(ge=1, le=MAX_COMPONENTS)] | None = None
    known: tuple[Path, ...] = ()
    rule: Rule = "parallel"
    max_components: Annotated[int, Interval(ge=1, le=MAX_COMPONENTS)] = 8
    min_share: Annotated[float, Interval(ge=0, lt=1)] = 0.01
    starts: Annotated[int, Interval(ge=1, le=100)] = 6
    seed: Annotated[int, Ge(0)] = 0
    fit_frames: Annotated[int, Ge(10)] = 1000
    matrix_frames: Annotated[int, Interval(ge=2, le=20_000)] = 1000
    iterations: Annotated[int, Gt(0)] = 2000
    stretch_frames: Annotated[int, Interval(ge=5, le=200)] = 40
    stretch_iterations: Annotated[int, Interval(ge=5, le=500)] = 10

    def __post_init__(self) -> None:
        if self.known and self.method == "stretched-nmf":
            raise ConfigError("decompose.known: components that stretch cannot be held fixed; set method to nmf")
        if self.components and self.components > self.fit_frames:
            raise ConfigError(
                f"components: found {self.components}, which cannot be found on {self.fit_frames} patterns; raise "
                "fit_frames"
            )

"""Settings of the convolutional networks: the published one and a smaller, residual one."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Lt, MinLen

Head = Literal["space_group", "cell"]
N_SPACE_GROUPS = 230
N_CELL = 6


@dataclass(frozen=True)
class CnnSettings:
    """A network for powder patterns and how it is trained; the defaults are those of ``cnn``.

    Attributes
    ----------
    network
        ``paper`` is the published network, ``residual`` a smaller one of residual blocks.
    widths
        Filters of each block of the residual network; each block halves the number of points.
    heads
        What the residual network learns besides the class: ``space_group`` (1 to 230), ``cell`` (lengths and angles).
    head_weight
        Weight of each of those in the loss; the class has 1.
    scale
        How a pattern, whose largest value is made 1, enters: ``linear``, or ``sqrt``, in which weak peaks count more.
    epochs
        Most passes over the training patterns.
    batch
        Patterns of one step, of all ranks together: the same whatever the number of ranks.
    learning_rate, schedule, warmup_epochs
        ``constant``, or ``cosine``: rising over the first epochs, then falling to zero over all of them.
    weight_decay
        Of AdamW; with 0 the optimiser is Adam.
    dropout
        Share of values set to zero: in ``paper`` after each convolution, in ``residual`` before the last layer.
    l2
        Penalty on the weights of the dense layers of ``paper``. The publication gives no value.
    label_smoothing
        Probability that is spread over all classes.
    patience, min_delta
        Training ends when the validation loss was not lower by ``min_delta`` for ``patience`` epochs.
    stretch
        In training, cells are made larger or smaller by up to about this share, anew in each epoch.
    heights
        In training, heights of peaks are changed: the standard deviation of their logarithm.
    oversample
        Draw patterns of rarer classes several times an epoch, so that all classes are equally frequent.
    device
        ``auto`` takes a GPU where there is one.
    precision
        ``auto`` computes in bfloat16 on GPUs made for it (weights stay float32); on CPUs always ``float32``.
    threads
        For one rank on CPU; 0 takes all cores that the process may use.
    checkpoint_minutes
        Time between checkpoints within an epoch; one is written after each epoch anyway.
    stall_s
        A rank that waits this long for the others takes them for lost, and ends.
    """

    network: Literal["paper", "residual"] = "residual"
    widths: Annotated[tuple[Annotated[int, Interval(ge=4, le=2048)], ...], MinLen(1)] = (48, 64, 96, 128, 192)
    heads: tuple[Head, ...] = ()
    head_weight: Annotated[float, Gt(0)] = 0.2
    scale: Literal["linear", "sqrt"] = "sqrt"
    epochs: Annotated[int, Ge(1)] = 40
    batch: Annotated[int, Ge(2)] = 128
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[float, Ge(0)] = 2.0
    weight_decay: Annotated[float, Ge(0)] = 0.01
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    l2: Annotated[float, Ge(0)] = 0.0
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.05
    patience: Annotated[int, Ge(1)] = 15
    min_delta: Annotated[float, Ge(0)] = 1e-4
    stretch: Annotated[float, Interval(ge=0, le=0.5)] = 0.15
    heights: Annotated[float, Interval(ge=0, le=3)] = 0.5
    oversample: bool = True
    device: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["auto", "float32"] = "auto"
    threads: Annotated[int, Ge(0)] = 0
    checkpoint_minutes: Annotated[float, Gt(0)] = 10.0
    stall_s: Annotated[float, Ge(1)] = 300.0
    seed: Annotated[int, Ge(0), Lt(2**31)] = 0

    @staticmethod
    def paper(**changes: object) -> "CnnSettings":
        """``cnn-paper``: the network and training of CrystalMELA (J. Appl. Cryst. 2023)."""
        return PaperCnnSettings(**changes).plain_settings()  # type: ignore[arg-type]


@dataclass(frozen=True)
class PaperCnnSettings(CnnSettings):
    """The published network and its training; as ``CnnSettings``, with the defaults of ``CnnSettings.paper``."""

    network: Literal["paper", "residual"] = "paper"
    scale: Literal["linear", "sqrt"] = "linear"
    epochs: Annotated[int, Ge(1)] = 1000
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[float, Ge(0)] = 0.0
    weight_decay: Annotated[float, Ge(0)] = 0.0
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.3
    l2: Annotated[float, Ge(0)] = 1e-4
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    stretch: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    heights: Annotated[float, Interval(ge=0, le=3)] = 0.0
    patience: Annotated[int, Ge(1)] = 50
    min_delta: Annotated[float, Ge(0)] = 1e-7

    def plain_settings(self) -> CnnSettings:
        """The same settings as those of any network."""
        return CnnSettings(**{one.name: getattr(self, one.name) for one in fields(CnnSettings)})


NOT_OF_THE_RESULT = ("device", "precision", "threads", "checkpoint_minutes", "stall_s")
"""Settings that may change between a training and the one that resumes it."""

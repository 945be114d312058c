"""Parameters and floating-point operations of the networks, counted without TensorFlow."""

from dataclasses import dataclass

from hpc_mlsm.models.cnn_settings import N_CELL, N_SPACE_GROUPS, CnnSettings

PAPER_BLOCKS = ((80, 200), (160, 100), (240, 50))
"""Filters and kernel of each convolution of the published network."""

PAPER_DENSE = (2800, 1400, 700, 70)
PAPER_STRIDE = 2
PAPER_POOL = 3

STEM_FILTERS, STEM_KERNEL, STEM_STRIDE = 32, 16, 4
BLOCK_KERNEL = 5
BLOCK_STRIDE = 2
NECK = 256
"""Units of the dense layer between the last residual block and the heads."""

BACKWARD = 2.0
"""Gradients by weights and by inputs cost about as much again as the forward pass, each."""


@dataclass(frozen=True)
class NetworkCost:
    """What a network costs.

    Attributes
    ----------
    parameters
        All weights, statistics of batch normalisation included.
    forward_flop
        Floating-point operations to classify one pattern: a multiplication and an addition for each weight that
        meets a value. What is done value by value (activations, normalisation, pooling) is under 2 % and left out.
    outputs
        Values that come out of all convolutions and dense layers, for one pattern: what training has to remember.
    """

    parameters: int
    forward_flop: float
    outputs: int

    @property
    def training_flop(self) -> float:
        """Operations of one training step, per pattern."""
        return (1 + BACKWARD) * self.forward_flop

    def __str__(self) -> str:
        return (
            f"{self.parameters:,} parameters, {self.forward_flop / 1e9:.3g} GFLOP to classify a pattern, "
            f"{self.training_flop / 1e9:.3g} to train on it"
        )


def network_cost(settings: CnnSettings, n_points: int, n_classes: int) -> NetworkCost:
    """Cost of a network for patterns of ``n_points``."""
    count = _paper if settings.network == "paper" else _residual
    return count(settings, n_points, n_classes)


def strided(length: int, stride: int) -> int:
    """Points that a convolution with padding 'same' leaves."""
    return -(-length // stride)


class _Sum:
    def __init__(self) -> None:
        self.parameters, self.outputs, self.flop = 0, 0, 0.0

    def convolution(self, length: int, filters: int, kernel: int, channels: int, *, bias: bool = True) -> None:
        weights = filters * kernel * channels
        self.parameters += weights + filters * bias
        self.outputs += length * filters
        self.flop += 2.0 * length * weights

    def dense(self, inputs: int, units: int, *, bias: bool = True) -> None:
        self.convolution(1, units, 1, inputs, bias=bias)

    def normalisation(self, channels: int) -> None:
        self.parameters += 4 * channels

    def cost(self) -> NetworkCost:
        return NetworkCost(self.parameters, self.flop, self.outputs)


def _paper(settings: CnnSettings, n_points: int, n_classes: int) -> NetworkCost:
    total, length, channels = _Sum(), n_points, 1
    for filters, kernel in PAPER_BLOCKS:
        length = strided(length, PAPER_STRIDE)
        total.convolution(length, filters, kernel, channels)
        length, channels = length // PAPER_POOL, filters
    inputs = length * channels
    for units in PAPER_DENSE:
        total.dense(inputs, units)
        total.normalisation(units)
        inputs = units
    total.dense(inputs, n_classes)
    return total.cost()


def _residual(settings: CnnSettings, n_points: int, n_classes: int) -> NetworkCost:
    total, length, channels = _Sum(), strided(n_points, STEM_STRIDE), STEM_FILTERS
    total.convolution(length, STEM_FILTERS, STEM_KERNEL, 1, bias=False)
    total.normalisation(STEM_FILTERS)
    for width in settings.widths:
        length = strided(length, BLOCK_STRIDE)
        total.convolution(length, width, BLOCK_KERNEL, channels, bias=False)
        total.convolution(length, width, BLOCK_KERNEL, width, bias=False)
        total.convolution(length, width, 1, channels, bias=False)
        for _ in range(3):
            total.normalisation(width)
        channels = width
    total.dense(length * channels, NECK, bias=False)
    total.normalisation(NECK)
    outputs = {"space_group": N_SPACE_GROUPS, "cell": N_CELL}
    for units in (n_classes, *(outputs[head] for head in settings.heads)):
        total.dense(NECK, units)
    return total.cost()

"""What the training of a network needs on GPUs or cores: time, memory, and bytes read and written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpc_mlsm.models.cnn_cost import NetworkCost, network_cost
from hpc_mlsm.models.cnn_settings import CnnSettings

GPU_FLOPS = 1.5e13
"""Operations a second of one GPU in training: an assumption, about a tenth of what data-centre GPUs since 2020 name
for matrices in TF32, for convolutions in one dimension with few channels. A site's profile may name its own."""

CORE_FLOPS = {"paper": 1.6e11, "residual": 1.0e11}
"""Measured on one core with AVX-512, in batches of 32 to 64 patterns."""

READ_VALUES = 4.5e7
"""Points of patterns that the reading thread of one rank decompresses, scales and mixes in a second; measured."""

LINK_BYTES = 1.0e10
"""Bytes a second between ranks, of the gradients that they add up: an assumption, for the slower of usual links."""

KEPT_VALUES = 3.0
"""Values in memory for each output of a layer: itself, its normalised or activated form, and a gradient."""

RANK_BYTES = 1.2e9
"""TensorFlow, compiled steps, and what is read ahead, in the memory of a rank's process; measured."""

GPU_BYTES = 1.5e9
"""Of CUDA and its libraries, on a GPU."""

ROW_BYTES = 500.0
"""Of each pattern that every rank keeps: id, shard, row, label, place in the epoch's order, and what drawing that order
takes for a moment; measured from 20 000 to 40 000 patterns."""

STORED_SHARE = 0.5
"""Of 4 bytes a point, what compressed shards take."""

START_S = 60.0
"""Loading, meeting and compiling, of each training."""


@dataclass(frozen=True)
class Accelerator:
    """What ranks compute on: ``flops`` a second of one rank; ``memory`` in bytes where known; ``basis`` in words."""

    kind: str
    flops: float
    memory: float | None
    basis: str


def of_cores(settings: CnnSettings, number: int) -> Accelerator:
    """So many cores, as one rank."""
    each = CORE_FLOPS[settings.network]
    basis = f"{each / 1e9:.0f} GFLOP/s of a core, measured on one with AVX-512"
    return Accelerator("cpu", number * each, None, basis)


@dataclass(frozen=True)
class NetworkNeed:
    """Training of one network; times in seconds, sizes in bytes.

    Attributes
    ----------
    basis
        What the times rest on, in words.
    ranks
        How many compute, with one GPU each, or its cores.
    visits
        Patterns that one epoch takes, with those that come more than once.
    epoch_s, training_s
        Of one training on all ranks together; the latter for all epochs, where it does not end earlier.
    waiting
        Share of an epoch for which ranks wait for their input: those that compute faster than they can read.
    folds_s
        All folds, each on one rank, as ranks come free.
    device_bytes, rank_bytes
        On a GPU; in the memory of each rank's process.
    read_bytes, exchanged_bytes
        Of one epoch, from the disk by all ranks; of one step, by each rank to others.
    disk_bytes
        Checkpoint and model of one training.
    """

    network: str
    basis: str
    ranks: int
    patterns: int
    visits: int
    epochs: int
    folds: int
    epoch_s: float
    training_s: float
    waiting: float
    folds_s: float
    device_bytes: float
    rank_bytes: float
    read_bytes: float
    exchanged_bytes: float
    disk_bytes: float


def visits_of(counts: Sequence[int], settings: CnnSettings) -> int:
    """Patterns of an epoch, from how many there are of each class."""
    present = [count for count in counts if count]
    return len(present) * max(present, default=0) if settings.oversample else sum(counts)


def network_need(
    settings: CnnSettings, n_points: int, counts: Sequence[int], folds: int, on: Accelerator, ranks: int
) -> NetworkNeed:
    """Project the training of a network, and its cross-validation.

    Parameters
    ----------
    counts
        Patterns of each class, all folds together; one fold ends the training, and another tests in cross-validation.
    """
    cost = network_cost(settings, n_points, len(counts))
    patterns, all_visits = sum(counts), visits_of(counts, settings)

    def epoch(left_out: int, ranks: int) -> tuple[int, float, float]:
        """Visits, and seconds of computing and of reading."""
        visits = round(all_visits * max(1, folds - left_out) / folds)
        flop = visits * cost.training_flop + patterns / folds * cost.forward_flop
        sums = math.ceil(visits / settings.batch) * _exchanged(cost, ranks) / LINK_BYTES
        return visits, flop / on.flops / ranks + sums, visits * n_points / READ_VALUES / ranks

    visits, computing_s, reading_s = epoch(1, ranks)
    epoch_s, fold_s = max(computing_s, reading_s), max(epoch(2, 1)[1:])
    rows = math.ceil(settings.batch / ranks)
    return NetworkNeed(
        network="cnn-paper" if settings.network == "paper" else "cnn",
        basis=f"{cost.training_flop / 1e9:.3g} GFLOP a pattern and step, {on.basis}; a rank reads "
        f"{READ_VALUES / n_points:.0f} patterns/s, measured",
        ranks=ranks,
        patterns=patterns,
        visits=visits,
        epochs=settings.epochs,
        folds=folds,
        epoch_s=epoch_s,
        training_s=START_S + epoch_s * settings.epochs,
        waiting=1 - computing_s / epoch_s,
        folds_s=math.ceil(folds / ranks) * (START_S + fold_s * settings.epochs),
        device_bytes=0.0 if on.kind == "cpu" else GPU_BYTES + _device_bytes(cost, rows),
        rank_bytes=RANK_BYTES + ROW_BYTES * patterns + _rank_bytes(cost, on, rows),
        read_bytes=visits * n_points * 4.0 * STORED_SHARE,
        exchanged_bytes=_exchanged(cost, ranks),
        disk_bytes=(1 + 2 + 1 + 1) * 4.0 * cost.parameters,
    )


def _exchanged(cost: NetworkCost, ranks: int) -> float:
    """What a rank sends in a step, for gradients to be summed around a ring."""
    return 2 * 4.0 * cost.parameters * (ranks - 1) / ranks


def _rank_bytes(cost: NetworkCost, on: Accelerator, rows: int) -> float:
    """What is in the memory of the process besides: on CPUs all, with GPUs copies of weights and moments on their way
    to a checkpoint."""
    return 4 * 4.0 * cost.parameters + (_device_bytes(cost, rows) if on.kind == "cpu" else 0.0)


def _device_bytes(cost: NetworkCost, rows: int) -> float:
    """Weights, gradients and two moments; and what a step remembers of its rows."""
    return 4 * 4.0 * cost.parameters + 4 * KEPT_VALUES * cost.outputs * rows

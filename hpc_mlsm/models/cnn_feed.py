"""What a rank trains on, through tf.data: read ahead in the background, with the time measured that it waits."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models.cnn_augment import CHANCES, draw_chances
from hpc_mlsm.models.cnn_networks import load_tensorflow
from hpc_mlsm.models.cnn_rows import EpochOrder, PatternRows, read_rows
from hpc_mlsm.models.cnn_settings import N_CELL, CnnSettings

AHEAD_BYTES = 256e6
"""Batches that are ready before they are needed take at most about this much memory."""

SPECS = {"class": ((None,), np.int64), "space_group": ((None,), np.int64), "cell": ((None, N_CELL), np.float32)}

Element = tuple[Any, dict[str, Any], Any, Any]
"""As tensors: patterns (rows, points), targets (rows, …) by head, chances (rows, CHANCES), the rows of all ranks."""


class Feed:
    """The batches of one rank, epoch after epoch without a break.

    Attributes
    ----------
    waited_s
        Seconds that ``next`` had to wait since the last ``restart_clock``; the first batch of all is not counted,
        nor the time that reading it takes.
    """

    def __init__(
        self,
        source: PatternRows,
        settings: CnnSettings,
        *,
        rank: int = 0,
        ranks: int = 1,
        first: tuple[int, int] = (0, 0),
    ) -> None:
        self.source, self.settings, self.rank, self.ranks = source, settings, rank, ranks
        self.waited_s = 0.0
        self._begun = False
        ahead = max(2, min(32, int(AHEAD_BYTES * ranks / (4 * source.n_points * settings.batch))))
        self._elements: Iterator[Element] = _read_ahead(lambda: self._produce(*first), source, ahead)

    def order(self, epoch: int) -> EpochOrder:
        """The order of an epoch (from 0)."""
        return epoch_order(self.source, self.settings, epoch)

    def restart_clock(self) -> None:
        """Set the time waited to zero."""
        self.waited_s = 0.0

    def __next__(self) -> Element:
        """The next batch.

        Raises
        ------
        StoreError
            If the patterns cannot be read, as ``source`` says it.
        """
        start = time.perf_counter()
        element = next(self._elements)
        if self._begun:
            self.waited_s += time.perf_counter() - start
        self._begun = True
        return element

    def close(self) -> None:
        """Stop reading ahead."""
        self._elements = iter(())

    def _produce(self, first_epoch: int, first_step: int) -> Iterator[Element]:
        for epoch in range(first_epoch, self.settings.epochs):
            begin = first_step if epoch == first_epoch else 0
            for batch in self.order(epoch).batches(self.source, self.rank, self.ranks, begin):
                chances = draw_chances(self.settings, epoch, batch.step, batch.total)[batch.places]
                yield batch.patterns, batch.targets, chances, np.float32(batch.total)


def epoch_order(source: PatternRows, settings: CnnSettings, epoch: int) -> EpochOrder:
    """The order of an epoch (from 0): the same for any number of ranks."""
    return EpochOrder.draw(source, settings.batch, oversample=settings.oversample, seed=settings.seed, epoch=epoch)


def plain_batches(
    source: PatternRows, batch: int, rank: int = 0, ranks: int = 1
) -> Iterator[tuple[NDArray[np.float32], dict[str, NDArray]]]:
    """Every pattern once, in the order of the shards, spread over ranks; read ahead by tf.data."""
    own = np.array_split(np.arange(len(source.rows)), ranks)[rank]

    def produce() -> Iterator[Element]:
        for start in range(0, len(own), batch):
            numbers = own[start : start + batch]
            targets = {name: values[numbers] for name, values in source.targets.items()}
            unused = np.zeros((len(numbers), CHANCES), dtype=np.float32)
            yield read_rows(source, numbers), targets, unused, np.float32(len(numbers))

    for patterns, targets, _, _ in _read_ahead(produce, source, 4):
        yield patterns, targets


def _read_ahead(produce: Callable[[], Iterator[Element]], source: PatternRows, ahead: int) -> Iterator[Element]:
    """What is produced, as tensors; errors come as they are, where TensorFlow would wrap them."""
    tf = load_tensorflow()
    failures: list[Exception] = []

    def noted() -> Iterator[Element]:
        try:
            yield from produce()
        except Exception as error:
            failures.append(error)
            raise

    signature = (
        tf.TensorSpec((None, source.n_points), tf.float32),
        {name: tf.TensorSpec(*SPECS[name]) for name in source.targets},
        tf.TensorSpec((None, CHANCES), tf.float32),
        tf.TensorSpec((), tf.float32),
    )
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(noted, output_signature=signature).prefetch(ahead).with_options(options)
    try:
        yield from dataset
    except tf.errors.OpError as error:
        if failures:
            raise failures[0] from error
        raise

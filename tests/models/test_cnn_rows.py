"""The order in which networks see patterns."""

from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models import cnn_rows
from hpc_mlsm.models.cnn_rows import LANES, WINDOW_ROWS, EpochOrder, copies_of, read_rows, refuse_too_few_rows

SHARD = 100


@dataclass
class Numbered:
    """Patterns that say which row they are; notes how much is asked for."""

    n: int
    shares: tuple[float, ...] = (0.5, 0.3, 0.15, 0.05)
    n_points: int = 2
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shards = np.arange(self.n) // SHARD
        self.rows = np.arange(self.n) % SHARD
        self.two_theta = np.array([10.0, 20.0])
        self.targets = {"class": np.random.default_rng(0).choice(len(self.shares), self.n, p=self.shares)}

    def read(self, shard: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        assert (np.diff(rows) > 0).all()
        self.asked.append(len(rows))
        return np.repeat((SHARD * shard + rows)[:, None], 2, axis=1).astype(np.float32)


def drawn(source: Numbered, batch: int = 32, *, oversample: bool = False, seed: int = 0, epoch: int = 0) -> EpochOrder:
    return EpochOrder.draw(source, batch, oversample=oversample, seed=seed, epoch=epoch)


def batches(source: Numbered, order: EpochOrder, rank: int = 0, ranks: int = 1, first: int = 0) -> list[list[int]]:
    """Rows of each step; fails if a target or the total does not belong."""
    found = []
    for step, batch in enumerate(order.batches(source, rank, ranks, first), start=first):
        numbers = batch.patterns[:, 0].astype(int)
        assert (batch.targets["class"] == source.targets["class"][numbers]).all()
        assert (batch.total, batch.step) == (order.sizes(1)[0, step], step)
        assert len(batch.places) == len(numbers)
        found.append(numbers.tolist())
    return found


@pytest.mark.parametrize("n", [1, 7, 63, 64, 1000, 12345])
def test_every_row_comes_once_an_epoch(n: int) -> None:
    source = Numbered(n)
    found = batches(source, drawn(source))
    assert sorted(chain.from_iterable(found)) == list(range(n))
    assert len(found) == -(-n // 32)


def test_batches_are_as_large_as_each_other_to_one_row_and_never_larger_than_was_asked_for() -> None:
    source = Numbered(12345)
    sizes = drawn(source).sizes(1)[0]
    assert sizes.sum() == 12345
    assert sizes.max() <= 32
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ranks_together_take_the_batches_of_one_process(ranks: int) -> None:
    source = Numbered(3000)
    order = drawn(source, oversample=True)
    alone = batches(source, order)
    shared = [batches(source, order, rank, ranks) for rank in range(ranks)]
    assert [sorted(step) for step in alone] == [
        sorted(chain.from_iterable(parts)) for parts in zip(*shared, strict=True)
    ]
    places = [[batch.places for batch in order.batches(source, rank, ranks)] for rank in range(ranks)]
    for k, parts in enumerate(zip(*places, strict=True)):
        assert sorted(chain.from_iterable(parts)) == list(range(len(alone[k])))
    sizes = order.sizes(ranks)
    assert (sizes.max(axis=0) - sizes.min(axis=0)).max() <= 1 + (LANES % ranks > 0)


def test_an_epoch_can_be_entered_at_any_step() -> None:
    source = Numbered(2000)
    order = drawn(source, oversample=True)
    for rank, ranks in ((0, 1), (1, 2)):
        whole = batches(source, order, rank, ranks)
        for first in (1, 17, order.n_steps - 1, order.n_steps):
            assert batches(source, order, rank, ranks, first) == whole[first:]


def test_the_order_follows_from_seed_and_epoch() -> None:
    source = Numbered(500)
    same = [batches(source, drawn(source, seed=3, epoch=5)) for _ in range(2)]
    assert same[0] == same[1]
    assert batches(source, drawn(source, seed=3, epoch=6)) != same[0]
    assert batches(source, drawn(source, seed=4, epoch=5)) != same[0]


def test_oversampling_makes_classes_equally_frequent_and_leaves_no_row_out() -> None:
    labels = np.repeat([0, 1, 2, 4], [100, 33, 7, 1])
    copies = copies_of(labels, np.random.default_rng(0))
    assert [copies[labels == label].sum() for label in (0, 1, 2, 4)] == [100] * 4
    for label in (0, 1, 2, 4):
        own = copies[labels == label]
        assert own.min() >= 1
        assert own.max() - own.min() <= 1


def test_copies_of_a_row_do_not_come_together() -> None:
    source = Numbered(5000, shares=(0.97, 0.03))
    found = batches(source, drawn(source, oversample=True))
    rare = [[n for n in step if source.targets["class"][n] == 1] for step in found]
    repeated = sum(len(step) - len(set(step)) for step in rare)
    # About 150 rows fill half of each batch of 32: some meet by chance, 16² / 2 / 150 = 0.85 a batch.
    assert repeated / len(found) < 2


def test_neighbours_of_a_shard_are_spread_over_batches() -> None:
    source = Numbered(20_000)
    found = batches(source, drawn(source, batch=128))
    shards = [len({n // SHARD for n in step}) for step in found[:-1]]
    # Drawn freely, 128 rows would come from 95 of 200 shards.
    assert np.mean(shards) > 50


def test_few_rows_are_read_more_than_once_and_in_pieces_that_fit_in_memory() -> None:
    source = Numbered(20_000)
    sum(len(step) for step in batches(source, drawn(source, batch=128)))
    assert sum(source.asked) <= 20_000 * 1.05
    assert max(source.asked) <= WINDOW_ROWS


def test_rows_can_be_read_in_any_order_and_repeatedly() -> None:
    source = Numbered(450)
    wanted = np.array([399, 0, 17, 399, 101, 100])
    assert read_rows(source, wanted)[:, 0].tolist() == wanted.tolist()
    assert read_rows(source, wanted[:0]).shape == (0, 2)


def test_too_many_ranks_and_too_few_rows_are_refused_with_the_figures() -> None:
    order = drawn(Numbered(40), batch=4)
    refuse_too_few_rows(order, 2, 4)
    with pytest.raises(ConfigError, match=r"65 ranks, and more than 64 are not used"):
        refuse_too_few_rows(order, 65, 4)
    with pytest.raises(
        ConfigError, match=r"with 40 patterns an epoch, a batch of 4 and 8 ranks.*raise train.cnn.batch"
    ):
        refuse_too_few_rows(order, 8, 4)
    with pytest.raises(ConfigError, match="no pattern to train on"):
        refuse_too_few_rows(drawn(Numbered(0)), 1, 4)


def test_lanes_are_enough_for_the_ranks_of_large_machines() -> None:
    assert cnn_rows.LANES >= 64

"""In which order a network sees its training patterns: the same for any number of ranks, and never all in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError

LANES = 64
"""Sequences that are read side by side; each batch takes a few rows of every one. No more ranks than lanes."""

BLOCK_ROWS = 32
"""Rows that lie one after the other in a shard and are read together."""

WINDOW_ROWS = 64
"""Rows of one lane that are in memory at a time, and are mixed with each other."""


class PatternRows(Protocol):
    """Labelled patterns that are read when they are needed.

    Attributes
    ----------
    shards, rows : array (n,)
        Where each pattern lies: number of its shard, and its row in it, in ascending order.
    targets : dict of arrays (n, …)
        What is to be learnt: ``class`` (n,), and for the other heads ``space_group`` (n,), from 0, and ``cell`` (n, 6):
        logarithms of a, b, c (Å), and cosines of α, β, γ.
    two_theta : array (n_points,)
        The grid (degree).
    n_points : int
        Points of a pattern.
    """

    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    targets: dict[str, NDArray]
    two_theta: NDArray[np.float64]
    n_points: int

    def read(self, shard: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Patterns (rows, n_points), scaled for the network, of ascending rows of one shard."""


def read_rows(source: PatternRows, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
    """Patterns by number, in any order, numbers may repeat; each shard is asked once."""
    distinct, back = np.unique(wanted, return_inverse=True)
    patterns = np.empty((len(distinct), source.n_points), dtype=np.float32)
    shards = source.shards[distinct]
    edges = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), len(distinct)]
    for start, stop in pairwise(edges):
        if start < stop:
            patterns[start:stop] = source.read(int(shards[start]), source.rows[distinct[start:stop]])
    return patterns[back]


def copies_of(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each row is taken so that all classes are as frequent as the commonest, shape (n,).

    Rows of a class are taken equally often, but for a random part of them that is taken once more.
    """
    counts = np.bincount(labels)
    most = counts.max()
    copies = np.ones(len(labels), dtype=np.int64)
    for label in np.flatnonzero(counts):
        members = np.flatnonzero(labels == label)
        whole, rest = divmod(int(most), len(members))
        copies[members] = whole
        copies[rng.permutation(members)[:rest]] += 1
    return copies


@dataclass(frozen=True)
class EpochOrder:
    """One pass over the training patterns.

    ``order`` (visits,) holds row numbers, lane after lane; ``windows`` (visits,) numbers what is read together;
    ``starts`` (lanes + 1,) says where each lane begins.
    """

    order: NDArray[np.int64]
    windows: NDArray[np.int64]
    starts: NDArray[np.int64]
    n_steps: int

    @classmethod
    def draw(cls, source: PatternRows, batch: int, *, oversample: bool, seed: int, epoch: int) -> "EpochOrder":
        """The order of one epoch, which follows from ``seed`` and ``epoch`` alone."""
        rng = np.random.default_rng([seed, epoch])
        labels = source.targets["class"]
        copies = copies_of(labels, rng) if oversample else np.ones(len(labels), dtype=np.int64)
        # The first copies of all rows, then the second ones, so that copies of a row lie far from each other.
        passes = [np.flatnonzero(copies > k) for k in range(int(copies.max(initial=0)))]
        visits = np.concatenate([np.empty(0, dtype=np.int64), *passes])
        turn = np.repeat(np.arange(len(passes)), [len(one) for one in passes])
        visits = visits[_shuffled_blocks(turn, source.shards[visits], rng)]
        n = len(visits)
        starts = np.concatenate([[0], np.cumsum(_dealt(n, np.arange(LANES)))])
        lanes = np.repeat(np.arange(LANES), np.diff(starts))
        # Lanes come to the ends of their windows at different steps, so that reading is spread evenly.
        within = (np.arange(n) - starts[lanes] + WINDOW_ROWS * lanes // LANES) // WINDOW_ROWS
        windows = np.cumsum(np.diff(lanes * (n + 1) + within, prepend=-1) != 0)
        mixed = np.lexsort((rng.random(n), windows))
        return cls(visits[mixed], windows, starts, -(-n // batch))

    def spans(self, lane: int, first_step: int = 0) -> NDArray[np.int64]:
        """Where the steps from ``first_step`` on begin in ``order``, for one lane, and where the last ends."""
        taken = len(self.order) * np.arange(first_step, self.n_steps + 1) // self.n_steps
        return self.starts[lane] + _dealt(taken, lane)

    def sizes(self, ranks: int) -> NDArray[np.int64]:
        """Rows of each rank at each step, shape (ranks, n_steps)."""
        sizes = np.zeros((ranks, self.n_steps), dtype=np.int64)
        for lane in range(LANES):
            sizes[lane % ranks] += np.diff(self.spans(lane))
        return sizes

    def batches(self, source: PatternRows, rank: int, ranks: int, first_step: int = 0) -> Iterator["RankBatch"]:
        """What one rank has to do at each step from ``first_step`` on."""
        lanes = [_Lane(source, self, lane, first_step) for lane in range(rank, LANES, ranks)]
        dealt = len(self.order) * np.arange(self.n_steps + 1) // self.n_steps
        for step in range(first_step, self.n_steps):
            parts = [lane.take() for lane in lanes]
            numbers = np.concatenate([part[0] for part in parts])
            patterns = np.concatenate([part[1] for part in parts])
            targets = {name: values[numbers] for name, values in source.targets.items()}
            places = np.concatenate([part[2] for part in parts]) - dealt[step]
            yield RankBatch(patterns, targets, places, step, int(dealt[step + 1] - dealt[step]))


@dataclass(frozen=True, eq=False)
class RankBatch:
    """Patterns (rows, points) and targets (rows, …) of one rank and step.

    ``total`` counts the rows of all ranks, and ``places`` (rows,) says which of those the rank's are.
    """

    patterns: NDArray[np.float32]
    targets: dict[str, NDArray]
    places: NDArray[np.int64]
    step: int
    total: int


class _Lane:
    """One lane of an epoch: reads a window when a step comes to it."""

    def __init__(self, source: PatternRows, epoch: EpochOrder, lane: int, first_step: int) -> None:
        self.source, self.epoch, self.lane = source, epoch, lane
        self.edges = epoch.spans(lane, first_step)
        self.step = 0
        self.begin = self.end = 0
        self.patterns = np.empty((0, source.n_points), dtype=np.float32)

    def take(self) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Row numbers and patterns of the next step, and their places in the whole epoch as it is dealt to lanes."""
        at, stop = (int(edge) for edge in self.edges[self.step : self.step + 2])
        self.step += 1
        numbers, pieces = self.epoch.order[at:stop], [self.patterns[:0]]
        places = (np.arange(at, stop) - self.epoch.starts[self.lane]) * LANES + self.lane
        while at < stop:
            if not self.begin <= at < self.end:
                self._load(at)
            until = min(stop, self.end)
            pieces.append(self.patterns[at - self.begin : until - self.begin])
            at = until
        return numbers, np.concatenate(pieces), places

    def _load(self, at: int) -> None:
        """Read the window from ``at`` on, as far as this lane goes."""
        windows = self.epoch.windows
        self.begin = at
        self.end = int(np.searchsorted(windows, windows[at], side="right"))
        self.patterns = read_rows(self.source, self.epoch.order[self.begin : self.end])


def _dealt(rows: "int | NDArray[np.int64]", lane: "int | NDArray[np.int64]") -> NDArray[np.int64]:
    """How many of the first rows of an epoch a lane has, when they are dealt to lanes in turn."""
    return np.asarray((rows - lane + LANES - 1) // LANES, dtype=np.int64)


def _shuffled_blocks(turn: NDArray[np.int64], shards: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """An order of visits in which those of one block stay together, while blocks are in random order."""
    n = len(shards)
    if not n:
        return np.empty(0, dtype=np.int64)
    # Few patterns are cut into smaller blocks, lest a lane has only neighbours.
    size = int(np.clip(n // (8 * LANES), 1, BLOCK_ROWS))
    change = np.flatnonzero((np.diff(turn, prepend=-1) != 0) | (np.diff(shards, prepend=-1) != 0))
    run = np.repeat(np.arange(len(change)), np.diff(np.append(change, n)))
    in_run = np.arange(n) - change[run]
    block = np.cumsum(in_run % size == 0) - 1
    place = rng.permutation(int(block[-1]) + 1)
    order: NDArray[np.int64] = np.argsort(place[block], kind="stable")
    return order


def refuse_too_few_rows(order: EpochOrder, ranks: int, batch: int) -> None:
    """Refuse a batch or a set so small that a rank would have nothing to do at some step.

    Raises
    ------
    ConfigError
        Names the figures.
    """
    if ranks > LANES:
        raise ConfigError(f"training was started on {ranks} ranks, and more than {LANES} are not used; start fewer")
    n = len(order.order)
    if n == 0:
        raise ConfigError("there is no pattern to train on; simulate more structures, or leave less to other parts")
    least = int(order.sizes(ranks).min())
    if least < 1:
        raise ConfigError(
            f"with {n} patterns an epoch, a batch of {batch} and {ranks} ranks, a rank has no pattern at some steps: "
            f"raise train.cnn.batch, or start fewer ranks"
        )

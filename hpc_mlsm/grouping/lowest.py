"""The lowest correlation of any pair in a large group: exact in float64, from short vectors and a few whole patterns.

With the short vectors (p, q) of ``leading``, u·v ≥ p·p′ − q q′, the product of (p, q) and (p′, −q′). A pair whose bound
lies above a correlation that is known to occur is not the lowest. Such a correlation is found from a few members that
lie far out; what pairs are left then, of 10¹⁰ some thousands, are looked at in float64. Pairs of members that were
together in a group before need no look at all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.grouping.correlate import CHUNK_PAIRS, float32_margin
from hpc_mlsm.grouping.leading import leading_directions, shorten

NUMBERS = (16, 24, 32, 48, 64, 80, 96, 128)
"""Numbers of directions to choose from."""

SAMPLE = 2048
"""Members that directions are chosen from, and judged by."""

SEEDS = 64
"""Members that lie far out, which are correlated with all others."""

PAIR_COST = 100_000.0
"""Of looking at one pair in float64, in multiples of one multiplication and addition in a product of short vectors."""

FLOAT64_COST = 2.0
"""Of a multiplication and addition in a product of whole patterns, in the same unit."""

MOST_PAIRS = 2**20
"""That are looked at one by one (28 bytes each until then)."""

TILE_ROWS, TILE_COLUMNS = 512, 1024

Load = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Gives the unit vectors (k, points) of k members by their numbers."""


@dataclass(frozen=True, order=True, slots=True)
class Lowest:
    """A correlation, and the numbers of the two members that have it."""

    correlation: float
    first: int
    second: int


NONE_YET = Lowest(np.inf, -1, -1)


@dataclass(frozen=True, slots=True)
class Part:
    """Numbers, ascending, of members whose correlations with each other are known: the lowest of them."""

    members: NDArray[np.int64]
    lowest: Lowest


def mean_and_lowest(
    load: Load, n: int, block: int, parts: Sequence[Part] = ()
) -> tuple[NDArray[np.float64], Lowest | None]:
    """The mean correlation of each of n members to the others, and the lowest of any pair.

    Parameters
    ----------
    load : callable
        Gives unit vectors.
    n : int
        Number of members, at least 2.
    block : int
        Members whose unit vectors memory holds at once.
    parts : sequence of Part
        No member may be in two of them.

    Returns
    -------
    mean : array (n,)
    lowest : Lowest or None
        None where the short vectors exclude too little, and products of whole patterns are the better way.
    """
    sampled = np.unique(np.linspace(0, n - 1, min(SAMPLE, block, n)).astype(np.int64))
    sample = load(sampled)
    seeds = _lowest_rows(_correlations(sample, sampled, sample, sampled).min(axis=1))
    known = min((part.lowest for part in parts), default=NONE_YET)
    total, lowest, reach = _first_pass(load, n, block, sample[seeds], sampled[seeds])
    lowest = min(lowest, known)
    pairs = n * (n - 1) / 2 - sum(len(part.members) * (len(part.members) - 1) / 2 for part in parts)
    basis = _choose(sample, lowest.correlation, pairs)
    # Those that are far from a seed are seeds of the second pass.
    seeds = _lowest_rows(reach)
    mean, short, found = _second_pass(load, n, block, load(seeds), seeds, total, basis)
    lowest = min(lowest, found)
    if basis is None:
        return mean, None
    order = np.arange(n)
    if parts:
        order = np.concatenate([*(part.members for part in parts), _in_none(n, parts)])
        short = short[order]
    candidates = _candidates(short, [len(part.members) for part in parts], lowest.correlation)
    return mean, None if candidates is None else _look(load, order, candidates, lowest, block)


def _first_pass(
    load: Load, n: int, block: int, seed_units: NDArray[np.float64], seeds: NDArray[np.int64]
) -> tuple[NDArray[np.float64], Lowest, NDArray[np.float64]]:
    """The sum of all unit vectors; the lowest correlation with a seed, of all members and of each."""
    total, reach, lowest = np.zeros(seed_units.shape[1]), np.empty(n), NONE_YET
    for numbers in _blocks(n, block):
        units = load(numbers)
        total += units.sum(axis=0)
        product = _correlations(units, numbers, seed_units, seeds)
        reach[numbers] = product.min(axis=1)
        lowest = min(lowest, lowest_in(product, numbers, seeds))
    return total, lowest, reach


def _second_pass(
    load: Load,
    n: int,
    block: int,
    seed_units: NDArray[np.float64],
    seeds: NDArray[np.int64],
    total: NDArray[np.float64],
    basis: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float32], Lowest]:
    """The mean correlation and the short vector of each member, and the lowest correlation with a seed."""
    mean, lowest = np.empty(n), NONE_YET
    short = np.empty((n, 0 if basis is None else basis.shape[1] + 1), np.float32)
    for numbers in _blocks(n, block):
        units = load(numbers)
        # What each has in common with all is what it has in common with their sum.
        mean[numbers] = (units @ total - np.square(units).sum(axis=1)) / (n - 1)
        lowest = min(lowest, lowest_in(_correlations(units, numbers, seed_units, seeds), numbers, seeds))
        if basis is not None:
            short[numbers] = shorten(units, basis)
    return mean, short, lowest


def _blocks(n: int, block: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, n, block):
        yield np.arange(start, min(start + block, n))


def _in_none(n: int, parts: Sequence[Part]) -> NDArray[np.int64]:
    inside = np.zeros(n, bool)
    for part in parts:
        inside[part.members] = True
    return np.flatnonzero(~inside)


def _correlations(
    a: NDArray[np.float64], numbers_a: NDArray[np.int64], b: NDArray[np.float64], numbers_b: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Correlations of each of one set of members with each of another; of a member with itself, infinity."""
    product: NDArray[np.float64] = a @ b.T
    product[numbers_a[:, None] == numbers_b] = np.inf
    return product


def lowest_in(product: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Lowest:
    """The lowest of some correlations, with the numbers of the members that the rows and columns stand for."""
    i, j = divmod(int(product.argmin()), len(columns))
    first, second = sorted((int(rows[i]), int(columns[j])))
    return Lowest(float(product[i, j]), first, second)


def _lowest_rows(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """As many rows as there are seeds, of those with the lowest values."""
    rows: NDArray[np.int64] = np.sort(np.argpartition(values, min(SEEDS, len(values)) - 1)[:SEEDS])
    return rows


def _mirrored(short: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors whose products with the short ones bound correlations from below."""
    mirrored = short.copy()
    mirrored[:, -1] *= -1
    return mirrored


def _choose(sample: NDArray[np.float64], low: float, pairs: float) -> NDArray[np.float64] | None:
    """The directions that make the search of so many pairs cheapest; None where whole products cost less."""
    # Found in one half and judged by the other, see ``leading.choose_directions``.
    points = sample.shape[1]
    leading, others = leading_directions(sample[::2], min(max(NUMBERS), points // 2)), sample[1::2]
    costs = {}
    for k in NUMBERS:
        if k <= leading.shape[1] and len(others):
            short = shorten(others, leading[:, :k])
            share = np.count_nonzero(short @ _mirrored(short).T <= low + float32_margin(k + 1)) / len(others) ** 2
            if share * pairs <= MOST_PAIRS / 2:
                costs[k] = k + 1 + PAIR_COST * share
    best = min(costs, key=lambda k: costs[k], default=0)
    return leading[:, :best] if best and costs[best] < FLOAT64_COST * points else None


def _candidates(
    short: NDArray[np.float32], sizes: Sequence[int], low: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]] | None:
    """Bounds, rows and columns of all pairs that may lie below a correlation; None where there are too many.

    The first rows are those of parts of these sizes, inside which no pair is looked at.
    """
    n, margin = len(short), np.float32(float32_margin(short.shape[1]))
    floor = np.float32(low) + margin
    buffer = np.empty(TILE_ROWS * TILE_COLUMNS, np.float32)
    found: list[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]] = []
    count = 0
    for top, bottom, first in _strips(n, sizes):
        strip = _mirrored(short[top:bottom])
        for left in range(first, n, TILE_COLUMNS):
            right = min(left + TILE_COLUMNS, n)
            product = buffer[: (bottom - top) * (right - left)].reshape(bottom - top, right - left)
            np.matmul(strip, short[left:right].T, out=product)
            if product.min() > floor:
                continue
            i, j = np.divmod(np.flatnonzero(product <= floor), right - left)
            above = j + left > i + top
            i, j = i[above], j[above]
            found.append((product[i, j] - margin, i + top, j + left))
            count += len(i)
            if count > MOST_PAIRS:
                return None
    empty = np.empty(0, np.int64)
    joined = [np.concatenate(column) for column in zip(*found, strict=True)] or [np.empty(0, np.float32), empty, empty]
    return joined[0], joined[1], joined[2]


def _strips(n: int, sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Rows from and to, and the first column they are compared with: each pair of two parts, or of none, once."""
    start = 0
    for size in sizes:
        for top in range(start, start + size, TILE_ROWS):
            yield top, min(top + TILE_ROWS, start + size), start + size
        start += size
    for top in range(start, n, TILE_ROWS):
        yield top, min(top + TILE_ROWS, n), top


def _look(
    load: Load,
    order: NDArray[np.int64],
    candidates: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]],
    lowest: Lowest,
    block: int,
) -> Lowest:
    """The lowest of these pairs and of what was known, in float64; those with the lowest bounds are looked at first."""
    bound, row, column = candidates
    by_bound = np.argsort(bound, kind="stable")
    step = max(1, min(CHUNK_PAIRS // 16, block // 2))
    for start in range(0, len(by_bound), step):
        chosen = by_bound[start : start + step]
        if bound[chosen[0]] > lowest.correlation:
            break
        a, b = order[row[chosen]], order[column[chosen]]
        numbers, place = np.unique(np.concatenate([a, b]), return_inverse=True)
        units = load(numbers)
        values = (units[place[: len(a)]] * units[place[len(a) :]]).sum(axis=1)
        best = int(values.argmin())
        first, second = sorted((int(a[best]), int(b[best])))
        lowest = min(lowest, Lowest(float(values[best]), first, second))
    return lowest

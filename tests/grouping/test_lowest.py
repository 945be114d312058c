"""The lowest correlation in a large group, against the product of all with all."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.grouping.correlate import standardise_float64
from hpc_mlsm.grouping.groups import Group, build_groups
from hpc_mlsm.grouping.leading import leading_directions
from hpc_mlsm.grouping.lowest import Lowest, Part, mean_and_lowest

POINTS = 120


def chained(seed: int, n: int, noise: float = 0.02) -> NDArray[np.float32]:
    """Curves that change little by little, as in a class that single linkage has made."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(size=(n, 6)), axis=0) @ rng.normal(size=(6, POINTS))
    return (path + noise * rng.normal(size=(n, POINTS)) * path.std()).astype(np.float32)[rng.permutation(n)]


def reader(patterns: NDArray[np.float32]):
    return lambda start, stop: patterns[start:stop]


class Units:
    """Gives unit vectors, and counts how many."""

    def __init__(self, patterns: NDArray[np.float32]) -> None:
        self.units = standardise_float64(patterns)
        self.given = 0

    def __call__(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        self.given += len(numbers)
        return self.units[numbers]

    def lowest(self, members: NDArray[np.int64]) -> Lowest:
        """Of these members, by all products."""
        product = self.units[members] @ self.units[members].T
        np.fill_diagonal(product, np.inf)
        i, j = divmod(int(product.argmin()), len(members))
        return Lowest(float(product[i, j]), *sorted((int(members[i]), int(members[j]))))


def assert_right(units: Units, mean: NDArray[np.float64], lowest: Lowest | None) -> None:
    inside = units.units @ units.units.T
    np.testing.assert_allclose(mean, (inside.sum(axis=1) - np.diagonal(inside)) / (len(inside) - 1), atol=1e-12, rtol=0)
    np.fill_diagonal(inside, np.inf)
    assert lowest is not None
    assert lowest.correlation == pytest.approx(inside.min(), abs=1e-13)
    assert inside[lowest.first, lowest.second] == pytest.approx(lowest.correlation, abs=1e-13)
    assert lowest.first < lowest.second


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("block", [97, 700, 10_000])
def test_mean_and_lowest_are_those_of_all_products(seed: int, block: int):
    units = Units(chained(seed, 700 + 100 * seed))
    assert_right(units, *mean_and_lowest(units, len(units.units), block))


@pytest.mark.parametrize("n", [2, 3, 5, 70])
def test_small_groups_are_measured_as_well(n: int):
    units = Units(chained(1, n))
    mean, lowest = mean_and_lowest(units, n, 10)
    assert_right(units, mean, lowest or units.lowest(np.arange(n)))


@pytest.mark.parametrize("seed", range(8))
def test_parts_that_are_known_change_nothing_but_the_work(seed: int):
    units = Units(chained(seed, 2000))
    rng = np.random.default_rng(seed)
    owner = rng.choice([0, 0, 0, 0, 1, 1, 2, 3], 2000)
    members = [np.flatnonzero(owner == number) for number in range(3)]
    parts = [Part(own, units.lowest(own)) for own in members]
    assert_right(units, *mean_and_lowest(units, 2000, 400, parts))
    whole = [Part(np.arange(2000), units.lowest(np.arange(2000)))]
    assert_right(units, *mean_and_lowest(units, 2000, 400, whole))


def test_a_known_part_is_believed():
    units = Units(chained(3, 800))
    told = Lowest(-2.0, 5, 9)
    _, lowest = mean_and_lowest(units, 800, 800, [Part(np.arange(600), told)])
    assert lowest == told


def test_equal_and_constant_members_are_no_trouble():
    patterns = np.repeat(chained(4, 300), 4, axis=0)
    patterns[17], patterns[500:520] = 3.0, 0.0
    units = Units(patterns)
    assert_right(units, *mean_and_lowest(units, len(patterns), 500))
    same = Units(np.tile(patterns[0], (900, 1)))
    mean, lowest = mean_and_lowest(same, 900, 500)
    assert_right(same, mean, lowest or same.lowest(np.arange(900)))


def test_noise_that_no_direction_describes_is_left_to_whole_products(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hpc_mlsm.grouping.lowest.MOST_PAIRS", 2**10)
    noise = np.random.default_rng(5).normal(size=(3000, POINTS)).astype(np.float32)
    mean, lowest = mean_and_lowest(Units(noise), len(noise), 1000)
    assert lowest is None
    assert np.abs(mean).max() < 0.1
    (group,) = build_groups([f"{k:04d}" for k in range(3000)], np.zeros(3000, int), reader(noise))
    assert group.min_correlation == pytest.approx(np.corrcoef(noise.astype(np.float64)).min(), abs=1e-12)


def test_more_pairs_than_the_sample_promised_are_left_to_whole_products(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hpc_mlsm.grouping.lowest._choose", lambda sample, *_: leading_directions(sample, 16))
    monkeypatch.setattr("hpc_mlsm.grouping.lowest.MOST_PAIRS", 2**10)
    noise = np.random.default_rng(5).normal(size=(1000, POINTS)).astype(np.float32)
    assert mean_and_lowest(Units(noise), 1000, 1000)[1] is None


def test_most_members_of_a_large_group_are_read_three_times_at_most():
    units = Units(chained(6, 4000, noise=0.005))
    assert_right(units, *mean_and_lowest(units, 4000, 4000))
    assert units.given < 4000 * 3


def names(count: int, first: int = 0) -> list[str]:
    return [f"s{first + k:05d}" for k in range(count)]


@pytest.mark.parametrize("memory_mb", [66, 1024])  # read in blocks of some 400, and at once
def test_a_large_class_that_gains_loses_and_merges_is_as_if_measured_anew(memory_mb: int):
    patterns = chained(7, 7000)
    first = names(6000)
    before = build_groups(first, np.array([0] * 3500 + [1] * 2500), reader(patterns[:6000]))
    assert all(len(group.least_alike) == 2 for group in before)
    gone = set(before[0].least_alike[:1])
    kept = [k for k, name in enumerate(first) if name not in gone]
    ids = [*(first[k] for k in kept), *names(1000, 6000)]
    rows = np.concatenate([patterns[kept], patterns[6000:]])
    labels = np.zeros(len(ids), int)
    anew = build_groups(ids, labels, reader(rows))
    memory = memory_mb * 2**20
    followed = build_groups(ids, labels, reader(rows), memory_bytes=memory, before=before, known=set(first))
    assert followed[0].members == anew[0].members
    assert followed[0].representative == anew[0].representative
    assert followed[0].min_correlation == pytest.approx(anew[0].min_correlation, abs=1e-13)
    row = {name: k for k, name in enumerate(ids)}
    a, b = (rows[row[name]].astype(np.float64) for name in followed[0].least_alike)
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(followed[0].min_correlation, abs=1e-13)


def test_what_is_said_of_members_that_changed_is_not_believed():
    patterns = chained(8, 3000)
    (before,) = build_groups(names(3000), np.zeros(3000, int), reader(patterns))
    lying = Group(before.id, 0, before.members, before.representative, -2.0, before.least_alike)
    changed = set(names(3000)) - {before.least_alike[1]}
    (after,) = build_groups(names(3000), np.zeros(3000, int), reader(patterns), before=[lying], known=changed)
    assert after.min_correlation == pytest.approx(before.min_correlation, abs=1e-13)

"""How rows are divided over workers: equal, every class everywhere, nothing lost and nothing twice."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from small_run import opened, small_config, write_cifs

from hpc_mlsm.evaluation.splits import PARTS, Part
from hpc_mlsm.grouping.groups import Group
from hpc_mlsm.stages import ingest, simulate
from hpc_mlsm.stages.rows import OF_OTHERS, LabelledRows
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.train_together import MIN_ROWS, fitting_workers
from hpc_mlsm.store.patterns import PatternStore

FORMULAE = ("Ni", "Cu", "Al", "Fe", "W", "Si", "MgO", "CeO2")
DIVIDED: tuple[Part, ...] = ("train", "validation")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelledRows]:
    """Eight structures of 23 variants in three classes of five, two and one; the order of the store is not theirs."""
    folder = tmp_path_factory.mktemp("shares")
    config = small_config(write_cifs(folder / "cifs", FORMULAE), "simulate.variants=23")
    with opened(folder / "run", config) as context:
        ingest.run(context)
        simulate.run(context)
    with PatternStore.open(RunDirectory(folder / "run").patterns, "r") as store:
        ids = store.ids()
        members = ((ids[6], ids[0], ids[3], ids[2], ids[7]), (ids[5], ids[1]), (ids[4],))
        groups = tuple(
            Group(f"g{label}", label, own, own[0], 1.0)
            for label, own in enumerate(members)  # type: ignore[arg-type]
        )
        yield LabelledRows.of(store, groups, config.split, 23)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_the_shares_are_all_rows_once_and_equal_to_within_a_row(rows: LabelledRows, size: int) -> None:
    shares = [rows.share(rank, size) for rank in range(size)]
    for part in DIVIDED:
        number = PARTS.index(part)
        owners = sum((share.parts == number).astype(int) for share in shares)
        assert np.array_equal(owners, (rows.parts == number).astype(int))
        counts = [share.count(part) for share in shares]
        assert max(counts) - min(counts) <= 1
        assert min(counts) > 0
    assert all(share.count("test") == rows.count("test") for share in shares)
    assert all(set(np.unique(share.parts)) <= {OF_OTHERS, 0, 1, 2} for share in shares)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_every_class_is_on_every_worker_in_proportion(rows: LabelledRows, size: int) -> None:
    for part in DIVIDED:
        for label in range(3):
            own = rows.labels == label
            counts = [int((rows.share(rank, size).parts[own] == PARTS.index(part)).sum()) for rank in range(size)]
            assert max(counts) - min(counts) <= 1


def test_workers_read_what_one_process_reads(rows: LabelledRows) -> None:
    def read(source: LabelledRows) -> Counter[tuple[bytes, int]]:
        found: Counter[tuple[bytes, int]] = Counter()
        for patterns, labels in source.batches("train"):
            found.update((row.tobytes(), int(label)) for row, label in zip(patterns, labels, strict=True))
        return found

    together: Counter[tuple[bytes, int]] = Counter()
    for rank in range(3):
        share = rows.share(rank, 3)
        mine = read(share)
        assert sum(mine.values()) == share.count("train")
        together += mine
    assert together == read(rows)


def test_a_worker_of_many_reads_only_some_structures_of_a_large_class(rows: LabelledRows) -> None:
    share = rows.share(1, 4)
    large = rows.labels == 0
    touched = (share.parts[large] == PARTS.index("train")).any(axis=1)
    assert touched.sum() <= 3


def test_too_few_rows_are_not_divided_further() -> None:
    class Counted:
        def __init__(self, train: int, validation: int) -> None:
            self.counts = {"train": train, "validation": validation}

        def count(self, part: Part) -> int:
            return self.counts[part]

    def fitting(asked: int, train: int, validation: int) -> int:
        return fitting_workers(asked, Counted(train, validation))  # type: ignore[arg-type]

    assert fitting(4, 10_000, 1000) == 4
    assert fitting(4, 3 * MIN_ROWS, 1000) == 3
    assert fitting(4, 10_000, 2) == 2
    assert fitting(4, 1, 0) == 1

"""Labelled rows of a run's store: which pattern belongs to which class and part."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.evaluation.splits import PARTS, Part, SplitSettings, split_variants
from hpc_mlsm.grouping.groups import Group
from hpc_mlsm.scattering.normalise import standardise
from hpc_mlsm.store.patterns import PatternStore

BATCH_ROWS = 8192

OF_OTHERS = -1
"""In place of a part: rows that another worker has."""


@dataclass(frozen=True)
class LabelledRows:
    """Patterns of a store with their class labels, split into train, validation and test."""

    store: PatternStore
    labels: NDArray[np.int64]
    parts: NDArray[np.int8]

    @classmethod
    def of(
        cls, store: PatternStore, groups: tuple[Group, ...], split: SplitSettings, n_variants: int
    ) -> "LabelledRows":
        """Labels by structure, in the order of ``store.ids()``, and the part of each variant."""
        label_of = {member: group.label for group in groups for member in group.members}
        ids = store.ids()
        return cls(
            store,
            labels=np.array([label_of[key] for key in ids], dtype=np.int64),
            parts=np.stack([split_variants(key, n_variants, split) for key in ids]),
        )

    def count(self, part: Part) -> int:
        """Rows of a part."""
        return int((self.parts == PARTS.index(part)).sum())

    def share(self, rank: int, size: int) -> "LabelledRows":
        """The rows of one of ``size`` workers, which together have each row of training and validation once.

        Of each class, in the order in which the store is read, every worker has a run of consecutive rows. The runs of
        a class differ by one row at most, and so do the workers' rows of a part. A worker thus sees every class that
        has a row for each worker, and opens only some of the shards where classes are large.
        """
        parts = self.parts.copy()
        reading_order = np.concatenate([own["structure"] for _, own in self.store.live_shards(self.store.ids())])
        for part in ("train", "validation"):
            number = PARTS.index(part)
            chosen = self.parts == number
            first, last = _run_of(rank, size, chosen.sum(axis=1)[reading_order], self.labels[reading_order])
            within = np.cumsum(chosen, axis=1, dtype=np.int32)[reading_order] - 1
            mine = np.zeros_like(chosen)
            mine[reading_order] = (within >= first[:, None]) & (within < last[:, None])
            parts[chosen & ~mine] = OF_OTHERS
        return LabelledRows(self.store, self.labels, parts)

    def batches(self, part: Part) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Standardised patterns and labels of one part, batch by batch, in a fixed order."""
        ids = np.array(self.store.ids(), dtype=object)
        wanted = np.flatnonzero((self.parts == PARTS.index(part)).any(axis=1))
        for batch in self.store.iter_batches(BATCH_ROWS, ids[wanted].tolist()):
            structure = wanted[batch.structure_index]
            chosen = self.parts[structure, batch.variant] == PARTS.index(part)
            if chosen.any():
                yield standardise(batch.patterns[chosen]), self.labels[structure[chosen]]

    def references(self, per_structure: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The first ``per_structure`` training patterns of each structure, and their labels."""
        patterns, labels = [], []
        taken = np.cumsum(self.parts == PARTS.index("train"), axis=1)
        keep = (self.parts == PARTS.index("train")) & (taken <= per_structure)
        for batch in self.store.iter_batches(BATCH_ROWS):
            chosen = keep[batch.structure_index, batch.variant]
            patterns.append(batch.patterns[chosen])
            labels.append(self.labels[batch.structure_index[chosen]])
        return np.concatenate(patterns), np.concatenate(labels)


def _run_of(
    rank: int, size: int, counts: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of each structure's rows (first, and one past the last) a worker has, in any order of the structures."""
    order = np.argsort(labels, kind="stable")
    rows, classes = counts[order], labels[order]
    starts = np.flatnonzero(np.r_[True, np.diff(classes) != 0])
    totals = np.add.reduceat(rows, starts)
    # Rows that are left over go to the workers in turn, from one class to the next.
    turn = (np.cumsum(totals % size) - totals % size) % size
    place = (rank - turn) % size
    offset = np.zeros_like(totals)
    for other in range(size):
        before = other < rank
        offset += before * (totals // size + (((other - turn) % size) < totals % size))
    length = totals // size + (place < totals % size)
    which = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(rows)]))
    ahead = np.cumsum(rows) - rows
    ahead -= ahead[starts][which]
    first, last = np.empty_like(counts), np.empty_like(counts)
    first[order] = np.clip(offset[which] - ahead, 0, rows)
    last[order] = np.clip((offset + length)[which] - ahead, 0, rows)
    return first, last

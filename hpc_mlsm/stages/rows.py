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

    def batches(self, part: Part) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Standardised patterns and labels of one part, batch by batch, in a fixed order."""
        for batch in self.store.iter_batches(BATCH_ROWS):
            chosen = self.parts[batch.structure_index, batch.variant] == PARTS.index(part)
            if chosen.any():
                yield standardise(batch.patterns[chosen]), self.labels[batch.structure_index[chosen]]

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

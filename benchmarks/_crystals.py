"""Made-up crystals and their patterns, in a folder that keeps them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.labels import system_labels


@dataclass(frozen=True, eq=False)
class Crystals:
    folder: Path
    ids: list[str]
    labels: NDArray[np.int64]

    def store(self):
        return PatternStore.open(self.folder / "patterns", "r")


def crystals_at(folder: Path, n: int) -> Crystals:
    with PatternStore.open(folder / "patterns", "r") as store:
        ids = list(store.ids())
    assert len(ids) == n
    return Crystals(folder, ids, system_labels(np.load(folder / "space_groups.npy")))

"""Made-up crystals and their powder patterns, in a run that is kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.config.load import load_config
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.stages import ingest, simulate
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.labels import system_labels

CONFIG = Path(__file__).parents[1] / "configs" / "run" / "powder-paper.yaml"


@dataclass(frozen=True, eq=False)
class Crystals:
    """A folder with the patterns of crystals: their ids, and the crystal system (n,) of each."""

    folder: Path
    ids: list[str]
    labels: NDArray[np.int64]

    def store(self) -> PatternStore:
        """Their patterns."""
        return PatternStore.open(self.folder / "patterns" / "powder", "r")


def crystals_at(folder: Path, n: int) -> Crystals:
    """The first n made-up crystals, an equal chance for each crystal system, one undisturbed pattern each."""
    config = load_config(CONFIG, ["source.starter=false", f"source.synthetic={{count: {n}}}", "executor.kind=inline"])
    made(folder, config)
    with PatternStore.open(folder / "patterns" / "powder", "r") as store:
        ids = store.ids()
    with Catalogue(folder / "catalog.sqlite", read_only=True) as catalogue:
        groups = [one.space_group for one in catalogue.summaries(ids)]
    return Crystals(folder, ids, system_labels(groups))


def made(folder: Path, config: RunConfig) -> None:
    """Make what is missing of the run in a folder."""
    with open_run(RunDirectory(folder, config.simulate.kind), config, lambda _: None) as context:
        ingest.run(context)
        simulate.run(context)

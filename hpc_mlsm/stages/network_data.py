"""What the networks of a run learn: the crystal systems of its structures, and where asked space groups and cells."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import Summary
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.evaluation.classify_settings import model_folder
from hpc_mlsm.evaluation.folds import FoldSettings, assign_folds
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.stages.data_sets import LabelledSet, labelled_sets
from hpc_mlsm.stages.networks import NetworkData, cell_targets
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS


def networks_of(run: RunDirectory, config: RunConfig) -> Iterator[tuple[NetworkData, CnnSettings]]:
    """The networks that a configuration asks for, by data set, and their settings; the same on all ranks.

    Raises
    ------
    ConfigError
        If the run is not about powder patterns.
    RunError
        If the patterns of some structures are missing.
    """
    for one in labelled_sets(run, config):
        for name, settings in config.networks.items():
            yield network_data(run, config, one, name), settings


def network_data(run: RunDirectory, config: RunConfig, part: LabelledSet, name: str) -> NetworkData:
    """The data of one network.

    About ``split.validation`` of the structures end the training. They have their share of every crystal system, and no
    composition with the same space group is on both sides.

    Raises
    ------
    ConfigError
        If the run is not about powder patterns.
    """
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        summaries = list(catalogue.summaries(part.ids))
    validation = _ends_training(part, config)
    return NetworkData(
        name=model_folder(name, part.name),
        store=run.patterns,
        classes=CRYSTAL_SYSTEMS,
        targets={
            "class": part.labels,
            "space_group": part.space_groups - 1,
            "cell": cell_targets(np.array([_cell(one) for one in summaries])),
        },
        train=part.inside & ~validation,
        validation=validation,
        wavelength=mean_wavelength(config),
        fingerprint=fingerprint(part.fingerprint, config.split),
        background=max(config.powder.background) > 0.0,
    )


def mean_wavelength(config: RunConfig) -> float:
    """Of the patterns, Å."""
    radiation = config.powder.radiation
    return float(np.dot(radiation.fractions, radiation.wavelengths))


def _ends_training(part: LabelledSet, config: RunConfig) -> NDArray[np.bool_]:
    share = FoldSettings(max(2, round(1 / config.split.validation)), rare="spread", seed=config.split.seed)
    chosen = np.flatnonzero(part.inside)
    members = [part.compositions[k] for k in chosen]
    validation = np.zeros(len(part.ids), dtype=bool)
    validation[chosen] = assign_folds(members, part.labels[chosen], CRYSTAL_SYSTEMS, share).fold_of == 0
    return validation


def _cell(one: Summary) -> tuple[float, ...]:
    return one.a, one.b, one.c, one.alpha, one.beta, one.gamma

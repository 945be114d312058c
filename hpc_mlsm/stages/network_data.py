"""What the network of a run learns: the crystal systems of its structures, and where asked space groups and cells."""

import numpy as np

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import Summary
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import ConfigError, RunError
from hpc_mlsm.evaluation.folds import FoldSettings, assign_folds, composition_key
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.stages.networks import NetworkData, cell_targets
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, system_labels


def network_data(run: RunDirectory, config: RunConfig) -> tuple[NetworkData, CnnSettings]:
    """The data of the network that a configuration asks for, and its settings; the same on all ranks.

    A part of about ``split.validation`` of the structures ends the training. It has its share of every crystal system,
    and no composition with the same space group is on both sides.

    Raises
    ------
    ConfigError
        If the run asks for no network, or is not about powder patterns.
    RunError
        If the patterns of some structures are missing.
    """
    settings, simulate = config.train.cnn, config.simulate
    if settings is None or not isinstance(simulate, PowderSettings):
        raise ConfigError("networks learn powder patterns: set simulate.kind to powder, and train.cnn")
    with PatternStore.open(run.patterns, "r") as store, Catalogue(run.catalogue, read_only=True) as catalogue:
        ids = store.ids()
        summaries = list(catalogue.summaries(ids))
        content = store.fingerprint()
    if not ids:
        raise RunError(f"{run.patterns} holds no patterns; run the simulate stage")
    radiation = simulate.radiation
    groups = [one.space_group for one in summaries]
    labels = system_labels(groups)
    share = FoldSettings(max(2, round(1 / config.split.validation)), rare="spread", seed=config.split.seed)
    members = [composition_key(one.formula, one.space_group) for one in summaries]
    validation = assign_folds(members, labels, CRYSTAL_SYSTEMS, share).fold_of == 0
    data = NetworkData(
        name="cnn-paper" if settings.network == "paper" else "cnn",
        store=run.patterns,
        classes=CRYSTAL_SYSTEMS,
        targets={
            "class": labels,
            "space_group": np.array(groups, dtype=np.int64) - 1,
            "cell": cell_targets(np.array([_cell(one) for one in summaries])),
        },
        train=~validation,
        validation=validation,
        wavelength=float(np.dot(radiation.fractions, radiation.wavelengths)),
        fingerprint=fingerprint(content, config.split),
    )
    return data, settings


def _cell(one: Summary) -> tuple[float, ...]:
    return one.a, one.b, one.c, one.alpha, one.beta, one.gamma

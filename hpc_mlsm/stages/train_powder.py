"""Train, for powder patterns: each of the run's models on each of its data sets, as bundles side by side."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import BundleError
from hpc_mlsm.evaluation.classify_settings import FORESTS, ModelName, model_folder
from hpc_mlsm.models.cnn_networks import load_tensorflow
from hpc_mlsm.models.forest_bundle import Forest, ForestInfo, load_forest, save_forest
from hpc_mlsm.models.forest_files import sklearn_version
from hpc_mlsm.models.forest_rows import ForestRows
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.data_sets import LabelledSet, labelled_sets
from hpc_mlsm.stages.forest_features import StorePeaks, store_peaks
from hpc_mlsm.stages.forests import train_forest
from hpc_mlsm.stages.network_data import mean_wavelength, network_data
from hpc_mlsm.stages.networks import NetworkSummary, train_network
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.taught_symmetry import relabelling_note
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS

STAGE = "train"


@dataclass(frozen=True)
class ForestSummary:
    """A forest that was trained."""

    name: str
    train_rows: int
    trees: int
    reused: bool


@dataclass(frozen=True)
class PowderTrained:
    """All models of the run."""

    models: tuple[ForestSummary | NetworkSummary, ...]

    @property
    def reused(self) -> bool:
        """Whether all of them were there already."""
        return all(model.reused for model in self.models)


def run(context: RunContext) -> PowderTrained:
    """Train the models whose bundles are not those asked for already."""
    config = context.config
    refuse_missing_packages(config)
    sets = labelled_sets(context.run, config)
    if config.classify.cross_validate:
        for part in sets:
            part.folds(config.classify.folds)  # refuses what cannot be folded now, not after days of training
    note_what_is_learnt(context, sets)
    found: list[ForestSummary | NetworkSummary] = []
    peaks: StorePeaks | None = None
    for part in sets:  # networks first: other ranks wait for them
        for name, network in config.networks.items():
            found.append(train_network(context, network_data(context.run, config, part, name), network))
    for part in sets:
        for name in (name for name in config.models if name in FORESTS):
            settings = forest_settings(config, name)
            folder = context.run.path / "models" / model_folder(name, part.name)
            forest = _existing(folder, config, part, settings)
            if forest is None:
                peaks = peaks or peaks_of_run(context)
                forest = _train(context, part, name, settings, peaks)
            found.append(forest)
    return PowderTrained(tuple(found))


def refuse_missing_packages(config: RunConfig) -> None:
    """Say which extra to install, before anything is trained.

    Raises
    ------
    ConfigError
        If a network is asked for and TensorFlow is not installed.
    """
    from importlib.util import find_spec

    if config.networks and find_spec("tensorflow") is None:
        load_tensorflow()  # which says so


def note_what_is_learnt(context: RunContext, sets: tuple[LabelledSet, ...]) -> None:
    """Say what is in each data set, what was left out and why, what is made up, and what was relabelled."""
    for part in sets:
        counts = ", ".join(f"{number} {name}" for name, number in part.counts.items())
        left_out = ", ".join(f"{number} {reason}" for reason, number in part.excluded.items()) or "none"
        made_up = f"; {part.synthetic} of them are synthetic crystals" if part.synthetic else ""
        context.note(
            STAGE,
            f"data set {part.name}: {int(part.inside.sum())} structures ({counts}){made_up}; left out: {left_out}",
        )
        if part.relabelled:
            context.note(STAGE, f"data set {part.name}: {relabelling_note(part.relabelled)}")


def forest_settings(config: RunConfig, name: ModelName) -> ForestSettings:
    """Settings of one of the two forests."""
    return config.train.forest if name == "forest" else config.train.extra_trees


def background_of_run(config: RunConfig) -> MeasuredPowderSettings | None:
    """How the background is taken off simulated patterns before their peaks are looked for; None where there is none.

    As with measured patterns, so that a forest learns from what it is asked later.
    """
    simulate = config.powder
    return MeasuredPowderSettings() if max(simulate.background[1], simulate.hump[1]) > 0 else None


def peaks_of_run(context: RunContext) -> StorePeaks:
    """Peaks of all patterns of the run."""
    config = context.config
    folder = context.run.path / "features"
    background = background_of_run(config)
    return store_peaks(
        context.executor, folder.resolve(), context.run.patterns.resolve(), config.classify.peaks, background,
        context.on_event,
    )  # fmt: skip


def forest_rows(
    peaks: StorePeaks, settings: ForestSettings, labels: NDArray[np.int64], fold_of: NDArray[np.integer] | None,
    inside: NDArray[np.bool_],
) -> tuple[ForestRows, NDArray[np.intp]]:  # fmt: skip
    """Rows of the structures inside, with the labels and folds of their structures; and which rows they are."""
    chosen = np.flatnonzero(inside[peaks.structures])
    own = peaks.structures[chosen]
    features = peaks.table.features(settings.kind)[chosen]
    return ForestRows.of(features, labels[own], None if fold_of is None else fold_of[own]), chosen


def forest_state(run: RunDirectory, config: RunConfig, part: LabelledSet, name: ModelName) -> tuple[str, str]:
    """How far a forest is, in words: its state and what there is."""
    folder = run.path / "models" / model_folder(name, part.name)
    existing = _existing(folder, config, part, forest_settings(config, name))
    if existing is not None:
        return "done", f"{folder.name}: {existing.trees} trees on {existing.train_rows} patterns"
    if folder.with_name(f"{folder.name}-training").is_dir():
        return "partly", f"{folder.name}: some of its trees"
    state = "outdated" if folder.is_dir() else "not run"
    return state, f"{folder.name}: " + ("of other data or settings" if folder.is_dir() else "no model")


def _existing(folder: Path, config: RunConfig, part: LabelledSet, settings: ForestSettings) -> ForestSummary | None:
    try:
        info = load_forest(folder).info
    except BundleError:
        return None
    if info.fingerprint != _expected(config, part, settings):
        return None
    return ForestSummary(folder.name, sum(info.rows_by_class.values()), info.settings.trees, reused=True)


def _expected(config: RunConfig, part: LabelledSet, settings: ForestSettings) -> str:
    own = replace(settings, trees_per_task=1)
    return fingerprint(part.fingerprint, own, config.classify.peaks, background_of_run(config), sklearn_version())


def _train(
    context: RunContext, part: LabelledSet, name: ModelName, settings: ForestSettings, peaks: StorePeaks
) -> ForestSummary:
    config, folder = context.config, model_folder(name, part.name)
    trees = context.run.path.resolve() / "models" / f"{folder}-training"
    rows, _ = forest_rows(peaks, settings, part.labels, None, part.inside)
    estimator = train_forest(context.executor, rows, settings, trees, context.on_event)
    with PatternStore.open(context.run.patterns, "r") as store:
        axis = store.axis().values
    counts = np.bincount(rows.labels, minlength=len(CRYSTAL_SYSTEMS)).tolist()
    info = ForestInfo(
        classes=CRYSTAL_SYSTEMS,
        grid=(float(axis[0]), float(axis[-1] - axis[0]) / (len(axis) - 1), len(axis)),
        wavelength=mean_wavelength(config),
        settings=ForestSettings(**vars(settings)),
        peaks=config.classify.peaks,
        fingerprint=_expected(config, part, settings),
        rows_by_class=dict(zip(CRYSTAL_SYSTEMS, counts, strict=True)),
        metrics={"structures": int(part.inside.sum()), "synthetic": part.synthetic, "data_set": part.name},
    )
    save_forest(Forest(info, estimator), context.run.path / "models" / folder)
    shutil.rmtree(trees, ignore_errors=True)
    return ForestSummary(folder, len(rows.labels), settings.trees, reused=False)

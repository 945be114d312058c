"""Data sets of a run of powder patterns: which structures each has, what they are taught, and their test folds."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.select import exclusions, select_keys
from hpc_mlsm.catalog.selection import DATA_SETS, Selection, data_set
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import ConfigError, RunError
from hpc_mlsm.evaluation.folds import Folds, FoldSettings, assign_folds, composition_key
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.simulate import quarantined
from hpc_mlsm.stages.taught_symmetry import relabelled, taught_group
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, Relabelled, system_labels

LEFT_OUT = -2
"""Fold of a structure that is not in the data set: neither trained on nor tested."""


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """One data set; arrays go by the structures of the store, in the order of ``store.ids()``.

    Attributes
    ----------
    name
        ``full``, ``organic`` or ``inorganic``.
    ids
        Of the store.
    inside : bool (structures,)
        Which structures belong to it.
    space_groups : int64 (structures,)
        Numbers of the space groups that are taught.
    labels : int64 (structures,)
        Their crystal systems, as indices into CRYSTAL_SYSTEMS.
    compositions
        ``composition_key`` of each structure.
    synthetic
        How many of its structures are made up.
    excluded
        How many structures were left out, by reason.
    relabelled
        Structures of the set that are taught with another space group than their source states, by id.
    fingerprint
        Names the patterns, which of them are in the set, and what was relabelled.
    """

    name: str
    ids: tuple[str, ...]
    inside: NDArray[np.bool_]
    space_groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    compositions: tuple[str, ...]
    synthetic: int
    excluded: dict[str, int]
    relabelled: tuple[Relabelled, ...]
    fingerprint: str

    def folds(self, settings: FoldSettings) -> Folds:
        """Test folds, LEFT_OUT for structures outside, and the labels and classes that are left when rare are merged.

        Raises
        ------
        ConfigError
            If a class has fewer members than there are folds and the settings do not say what to do with it, or the
            folds cannot all be filled.
        """
        chosen = np.flatnonzero(self.inside)
        keys = self.compositions if settings.disjoint == "composition" else self.ids
        try:
            found = assign_folds([keys[k] for k in chosen], self.labels[chosen], CRYSTAL_SYSTEMS, settings)
        except ConfigError as error:
            raise ConfigError(f"classify.folds, data set {self.name}: {error}") from error
        filled = len(np.unique(found.fold_of))
        if filled < settings.folds:
            raise ConfigError(
                f"classify.folds, data set {self.name}: {len(chosen)} structures fill {filled} of {settings.folds} "
                f"folds; lower classify.folds.folds to {max(2, filled)}, or add structures"
            )
        fold_of = np.full(len(self.ids), LEFT_OUT, dtype=np.int16)
        labels = np.zeros(len(self.ids), dtype=np.int64)
        fold_of[chosen], labels[chosen] = found.fold_of, found.labels
        return replace(found, fold_of=fold_of, labels=labels)

    @property
    def counts(self) -> dict[str, int]:
        """Structures of each crystal system."""
        numbers = np.bincount(self.labels[self.inside], minlength=len(CRYSTAL_SYSTEMS))
        return {name: int(number) for name, number in zip(CRYSTAL_SYSTEMS, numbers, strict=True)}


def labelled_sets(run: RunDirectory, config: RunConfig) -> tuple[LabelledSet, ...]:
    """The data sets that a configuration names.

    Raises
    ------
    RunError
        If there are no patterns, or fewer than two crystal systems in a data set.
    """
    with PatternStore.open(run.patterns, "r") as store:
        ids, content = tuple(store.ids()), store.fingerprint()
    if not ids:
        raise RunError(f"{run.patterns} holds no patterns; run the simulate stage")
    aside = Counter(reject.reason for reject in quarantined(run))
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        summaries = list(catalogue.summaries(ids))
        chosen = {name: select_keys(catalogue, _narrowed(config.select, name)) for name in config.classify.data_sets}
        removed = {name: exclusions(catalogue, found) for name, found in chosen.items()}
        changed = relabelled(catalogue, summaries, config.classify.symmetry)
    groups = np.array([taught_group(one, changed) for one in summaries], dtype=np.int64)
    labels = system_labels(groups.tolist())
    compositions = tuple(composition_key(one.formula, int(own)) for one, own in zip(summaries, groups, strict=True))
    sets = []
    for name, found in chosen.items():
        members = set(found.ids)
        inside = np.array([key in members for key in ids])
        made_up = sum(one.source == "synthetic" for one, own in zip(summaries, inside, strict=True) if own)
        relabels = tuple(one for key, one in sorted(changed.items()) if key in members)
        sets.append(
            LabelledSet(
                name=name,
                ids=ids,
                inside=inside,
                space_groups=groups,
                labels=labels,
                compositions=compositions,
                synthetic=made_up,
                excluded={reason: number for reason, number in {**removed[name], **aside}.items() if number},
                relabelled=relabels,
                fingerprint=fingerprint(content, name, found.ids, *relabels),
            )
        )
        if len(np.unique(labels[inside])) < 2:
            raise RunError(
                f"data set {name} has {int(inside.sum())} structures of fewer than two crystal systems; there is "
                "nothing to tell apart: add structures, or take the set out of classify.data_sets"
            )
    return tuple(sets)


def _narrowed(selection: Selection, name: str) -> Selection:
    """The run's selection, narrowed to a data set; the full one is all that the run has."""
    if name == "full":
        return selection
    if selection.chemistry and not DATA_SETS[name] <= selection.chemistry:
        raise ConfigError(
            f"classify.data_sets: the {name} set needs {', '.join(sorted(DATA_SETS[name]))}, and select.chemistry is "
            f"{', '.join(sorted(selection.chemistry))}; leave select.chemistry empty"
        )
    return data_set(selection, name)

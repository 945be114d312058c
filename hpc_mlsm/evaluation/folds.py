"""Folds for cross-validation: stratified by class, and never parts of one structure on both sides.

With ``disjoint = composition`` structures of one composition and space group, which are mostly the same compound
measured again, stay together as well.
"""

import hashlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError

OTHER = "other"
"""Name of the class that rare ones are merged into."""


@dataclass(frozen=True)
class FoldSettings:
    """Cross-validation.

    Attributes
    ----------
    folds
        How many.
    disjoint
        What is never on both sides: a ``structure``, or also other ones of its ``composition`` and space group.
    rare
        What to do with a class that has fewer members than there are folds: ``refuse``; ``merge`` all such classes into
        one called "other"; or ``spread`` its members over as many folds as there are members, so that some folds do
        not test it.
    seed
        Another one gives other folds.
    """

    folds: Annotated[int, Interval(ge=2, le=1000)] = 10
    disjoint: Literal["structure", "composition"] = "structure"
    rare: Literal["refuse", "merge", "spread"] = "refuse"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Folds:
    """Test fold int16 (n,) and label int64 (n,) of each row, and the names of the classes, merged ones included."""

    fold_of: NDArray[np.int16]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
        return int(self.fold_of.max()) + 1

    def validation_fold(self, fold: int) -> int:
        """The fold to stop training by where ``fold`` is tested: the next one round."""
        return (fold + 1) % self.n_folds


def composition_key(formula: str, space_group: int) -> str:
    """What ``disjoint = composition`` keeps together."""
    return f"{formula}|{space_group}"


def assign_folds(
    members: Sequence[str], labels: NDArray[np.integer], classes: Sequence[str], settings: FoldSettings
) -> Folds:
    """Folds in which every class is spread as evenly as its members allow.

    Members with the most rows are placed first, each into the fold that has the fewest rows of its class (then the
    fewest rows at all), so that folds differ by one member of each class at most where all are of one size. The order
    of the rows does not matter.

    Parameters
    ----------
    members : sequence of str (n,)
        What each row belongs to and must not be torn apart: the id of its structure, or ``composition_key``.
    labels : integer (n,)
        Class of each row, an index into ``classes``; the same for all rows of a member.
    classes : sequence of str
        Their names.
    settings : FoldSettings
        How many folds, and what to do with rare classes. (``disjoint`` is the caller's, who gives the members.)

    Raises
    ------
    ConfigError
        If a class has fewer members than there are folds and is not to be merged, or a member has two classes.
    """
    names, first, of_row = np.unique(np.asarray(members, dtype=str), return_index=True, return_inverse=True)
    own = np.asarray(labels, dtype=np.int64)
    label_of = own[first]
    torn = np.flatnonzero(own != label_of[of_row])
    if len(torn):
        raise ConfigError(
            f"{members[torn[0]]} has rows of the classes {classes[label_of[of_row[torn[0]]]]} and "
            f"{classes[own[torn[0]]]}; folds need one class for each structure (or composition and space group)"
        )
    label_of, kept = _without_rare(label_of, tuple(classes), settings)
    sizes = np.bincount(of_row, minlength=len(names))
    fold_of = _spread(names, label_of, sizes, settings)
    return Folds(fold_of[of_row].astype(np.int16), label_of[of_row], kept)


def _without_rare(
    label_of: NDArray[np.int64], classes: tuple[str, ...], settings: FoldSettings
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels of the members and the classes, with rare ones merged, or refused."""
    counts = np.bincount(label_of, minlength=len(classes))
    rare = [k for k in range(len(classes)) if 0 < counts[k] < settings.folds]
    if not rare or settings.rare == "spread":
        return label_of, classes
    listed = ", ".join(f"{classes[k]} ({counts[k]})" for k in rare)
    if settings.rare == "refuse":
        raise ConfigError(
            f"{settings.folds} folds need as many members of each class, and there are fewer of {listed}; lower folds "
            f"to {max(2, min(int(counts[k]) for k in rare))}, add structures, or set rare to merge or spread"
        )
    together = int(counts[rare].sum())
    if together < settings.folds:
        raise ConfigError(
            f"the rare classes {listed} have {together} members together, {settings.folds} folds need as many; lower "
            f"folds to {max(2, together)}, add structures, or set rare to spread"
        )
    kept = [k for k in range(len(classes)) if k not in rare]
    new_label = np.full(len(classes), len(kept), dtype=np.int64)
    new_label[kept] = np.arange(len(kept))
    return new_label[label_of], (*(classes[k] for k in kept), OTHER)


def _spread(
    names: NDArray[np.str_], label_of: NDArray[np.int64], sizes: NDArray[np.int64], settings: FoldSettings
) -> NDArray[np.int64]:
    digests = [hashlib.blake2b(f"fold:{settings.seed}:{name}".encode(), digest_size=8).digest() for name in names]
    order = sorted(range(len(names)), key=lambda k: (label_of[k], -sizes[k], digests[k]))
    fold_of = np.empty(len(names), dtype=np.int64)
    rows = [0] * settings.folds
    current, heap = -1, list[tuple[int, int, int]]()
    for member in order:
        if label_of[member] != current:
            current = int(label_of[member])
            heap = [(0, rows[fold], fold) for fold in range(settings.folds)]
            heapq.heapify(heap)
        of_class, _, fold = heapq.heappop(heap)
        size = int(sizes[member])
        fold_of[member] = fold
        rows[fold] += size
        heapq.heappush(heap, (of_class + size, rows[fold], fold))
    return fold_of

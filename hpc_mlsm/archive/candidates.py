"""Class probabilities → ranked candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.class_filter import filter_mask
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.errors import BundleError, ConfigError
from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.models.largest import largest
from hpc_mlsm.structures.element_filter import ElementFilter

_BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of a table of candidates.

    Formula, space group and name are those of the class's representative, or of its first member that passes the
    filter where the representative does not; ``cod_ids``, ``structure_ids`` and ``others`` list that one first or,
    for ``others``, leave it out. ``correlation`` is the Pearson correlation of the pattern with the class in the
    nearest-neighbour baseline, NaN where it was not computed.
    """

    pattern: str
    rank: int
    probability: float
    class_id: str
    formula: str
    space_group: int
    space_group_symbol: str
    name: str
    cod_ids: tuple[int, ...]
    structure_ids: tuple[str, ...]
    others: tuple[str, ...]
    correlation: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranked candidates of one pattern, and the probability that a filter took away before renormalising."""

    pattern: str
    candidates: tuple[Candidate, ...]
    removed_probability: float = 0.0


def rank_classes(
    probabilities: NDArray[np.floating], mask: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k most probable admitted classes of each pattern, most probable first, the lower index first in a tie.

    Parameters
    ----------
    probabilities : floating (n, C)
        Probability of each class for each pattern.
    mask : bool (C,)
        Classes that may be answers; where fewer than ``k`` may, fewer come back.
    k : int
        How many to return, at least one.

    Returns
    -------
    indices : int64 (n, k)
        Class indices.
    values : float64 (n, k)
        Their probabilities; where the mask leaves classes out, divided by the sum over the admitted ones, and
        zero in rows where that sum is zero.

    Raises
    ------
    ConfigError
        If ``k`` is below one.
    BundleError
        If the shapes do not match, or a probability is negative or not finite.
    """
    if k < 1:
        raise ConfigError(f"top_k: {k} candidates were asked for, at least 1 is needed")
    if probabilities.ndim != 2 or mask.shape != probabilities.shape[1:]:
        raise BundleError(
            f"probabilities of shape {probabilities.shape} do not fit a class table of {mask.size} classes; the "
            "model and its class table do not belong together"
        )
    columns = np.flatnonzero(mask)
    k = min(k, len(columns))
    indices = np.empty((len(probabilities), k), dtype=np.int64)
    values = np.empty((len(probabilities), k), dtype=np.float64)
    for start in range(0, len(probabilities), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        block = probabilities[rows, columns].astype(np.float64)
        if not (np.isfinite(block).all() and block.min(initial=0.0) >= 0.0):
            raise BundleError("the model gave probabilities that are negative or not finite; train it again")
        order = largest(block, k)
        indices[rows] = columns[order]
        values[rows] = np.take_along_axis(block, order, axis=1)
        if len(columns) < len(mask):
            total = block.sum(axis=1, keepdims=True)
            values[rows] /= np.where(total > 0.0, total, 1.0)
    return indices, values


def rank_patterns(
    names: Sequence[str],
    probabilities: NDArray[np.floating],
    classes: Sequence[ClassEntry],
    k: int,
    chosen: ElementFilter | None = None,
    correlations: NDArray[np.floating] | None = None,
) -> tuple[list[Ranking], list[PatternReject]]:
    """Candidates of many patterns.

    Parameters
    ----------
    names : sequence of str (n,)
        Names of the patterns.
    probabilities : floating (n, C)
        Class probabilities, in the order of ``classes``.
    classes : sequence of ClassEntry (C,)
        The model's class table.
    k : int
        How many candidates to give for each pattern.
    chosen : ElementFilter, optional
        What is known of the sample. Probabilities of what passes are divided by their sum, and Ranking says how
        much was taken away: close to 1 means that the filter excluded what the pattern looks like.
    correlations : floating (n, C), optional
        Pearson correlation of each pattern with each class, for the table.

    Returns
    -------
    rankings : list of Ranking
        In the order of the patterns.
    rejects : list of PatternReject
        Patterns whose probability the filter took away wholly, with reason "filtered_out".

    Raises
    ------
    ConfigError
        If the filter admits no class at all.
    BundleError
        If shapes do not match.
    """
    chosen = chosen or ElementFilter()
    if len(names) != len(probabilities) or len(classes) != probabilities.shape[-1]:
        raise BundleError(
            f"probabilities of shape {probabilities.shape} do not fit {len(names)} patterns and "
            f"{len(classes)} classes; the model and its class table do not belong together"
        )
    mask = filter_mask(classes, chosen)
    indices, values = rank_classes(probabilities, mask, k)
    removed = probabilities @ (~mask).astype(probabilities.dtype)
    rankings: list[Ranking] = []
    rejects: list[PatternReject] = []
    for row, name in enumerate(names):
        if values[row, 0] == 0.0:
            detail = f"{name}: the filter ({chosen.describe()}) leaves classes of probability zero only; loosen it"
            rejects.append(PatternReject(name, "", "filtered_out", detail))
            continue
        matches = (
            _candidate(
                name,
                rank + 1,
                float(values[row, rank]),
                classes[index],
                chosen,
                float("nan") if correlations is None else float(correlations[row, index]),
            )
            for rank, index in enumerate(indices[row])
        )
        rankings.append(Ranking(name, tuple(matches), float(removed[row])))
    return rankings, rejects


def _candidate(
    pattern: str, rank: int, probability: float, entry: ClassEntry, chosen: ElementFilter, correlation: float
) -> Candidate:
    first = entry.representative_member
    if not chosen.admits(first.elements, first.space_group):
        first = next(member for member in entry.members if chosen.admits(member.elements, member.space_group))
    members = (first, *(member for member in entry.members if member is not first))
    return Candidate(
        pattern=pattern,
        rank=rank,
        probability=probability,
        class_id=entry.class_id,
        formula=first.formula,
        space_group=first.space_group,
        space_group_symbol=first.space_group_symbol,
        name=first.name,
        cod_ids=tuple(member.cod_id for member in members if member.cod_id is not None),
        structure_ids=tuple(member.id for member in members),
        others=tuple(f"{member.formula} ({member.space_group_symbol})" for member in members[1:]),
        correlation=correlation,
    )

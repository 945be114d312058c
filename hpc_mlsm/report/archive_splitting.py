"""Where along a series cell lengths that are nearly equal are told apart, as below a structural transition."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hpc_mlsm.refinement.gathered import GatheredFits
from hpc_mlsm.report.archive_answer import ArchiveAnswer
from hpc_mlsm.report.archive_rows import where_of
from hpc_mlsm.report.archive_values import RefinedValues, refined_values

NEARLY = 0.03
"""Lengths whose medians differ by less of themselves may be those of a cell that is nearly of higher symmetry."""

SURELY = 3.0
"""Standard uncertainties. Those of two such lengths are added, as errors of one are mostly made up by the other."""


@dataclass(frozen=True)
class Splitting:
    """Two lengths of a structure: in how many of its frames they are told apart, and from where to where."""

    structure: str
    first: str
    second: str
    frames: int
    apart: int
    where: str


def splittings(answer: ArchiveAnswer) -> list[Splitting]:
    """Pairs of nearly equal lengths that were refined independently of each other."""
    fits: GatheredFits | None = answer.fits
    if fits is None:
        return []
    lengths = [one for one in refined_values(fits, answer.classes) if one.name in ("a", "b", "c") and one.refined]
    pairs = [two for two in combinations(lengths, 2) if two[0].structure_id == two[1].structure_id]
    return [_splitting(answer, *two) for two in pairs if _nearly_equal(*two)]


def _nearly_equal(one: RefinedValues, other: RefinedValues) -> bool:
    known = one.known & other.known
    if not known.any() or np.array_equal(one.values, other.values, equal_nan=True):
        return False
    a, b = np.median(one.values[known]), np.median(other.values[known])
    return bool(abs(a - b) < NEARLY * a)


def _splitting(answer: ArchiveAnswer, one: RefinedValues, other: RefinedValues) -> Splitting:
    known = one.known & other.known
    with np.errstate(invalid="ignore"):
        apart = known & (np.abs(one.values - other.values) > SURELY * (one.errors + other.errors))
    places = np.flatnonzero(apart)
    where = where_of(answer, int(places[0]), int(places[-1])) if len(places) else ""
    return Splitting(one.structure, one.name, other.name, int(known.sum()), len(places), where)
